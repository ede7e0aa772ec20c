"""Open a run: make its folder, start its delivery, and join what is active in the backends of its trackers."""

from __future__ import annotations

import copy
import functools
import os
import threading
import time
from pathlib import Path

import msgspec

from ..delivery.cursor import Spec
from ..delivery.registry import find
from ..errors import say
from ..event import FINAL, RunInfo, Scalar
from ..hooks.callback_list import CallbackList
from ..recording import environment, identity, jobs, open_runs, ranks, run_names
from ..recording.job_array import array_group
from ..recording.log_verbs import LogVerbs
from ..recording.recorder import Owner, Recorder
from ..recording.status import status_of
from ..recording.uncommitted import Uncommitted
from ..storage import job_runs
from ..storage.journal import Writer
from ..storage.lost_runs import REASONS
from ..storage.run_folder import as_file_name
from ..tracker import Tracker
from ..values import checks
from ..values.params import flat_params
from .notebook_cells import cells
from .process_end import delivery_manager, wait_at_end
from .settings import Settings, machine_failures_as_errors, optional_text

_CHECK_S = 1.0
"""How often a run looks for errors of its trackers between two epochs."""


def open_recorder(chosen: Settings, resume: Path | None = None, parent: Recorder | None = None) -> Recorder:
    """Open a run.

    Args:
        chosen: its settings.
        resume: the folder of a run to continue.
        parent: the run that it is part of.

    Raises:
        TrackhooksError: the directory cannot be written, no file can be opened, or `resume` is not the folder of a run.
    """
    if not _records(chosen):
        return silent_recorder(chosen)
    cells.close_earlier()
    with machine_failures_as_errors():
        opened = _opened(chosen, resume, parent)
    cells.add(opened)
    return opened


def _records(chosen: Settings) -> bool:
    silent = "" if ranks.disabled() or chosen.ranks == "all" else ranks.silent_rank(chosen.rank)
    if silent:
        ranks.say_silent(silent)
    return not (silent or ranks.disabled())


def _of_rank(chosen: Settings, rank: int) -> Settings:
    """Return the settings as one rank needs them: only rank 0 feeds trackers, and describes the code."""
    if chosen.ranks == "all":
        # The time between two batches tells a rank apart that the others wait for.
        chosen = msgspec.structs.replace(chosen, extra_hooks=chosen.extra_hooks | {"on_train_batch_start"})
    return msgspec.structs.replace(chosen, specs=[], objects=[], patch=False) if rank else chosen


def _opened(chosen: Settings, resume: Path | None, parent: Recorder | None) -> Recorder:
    group = chosen.group or _group_around(resume, parent)
    info, writer = _folder_of(_info(chosen, group, parent), chosen, resume)
    resumes = resume is not None or writer.last is not None
    here = _of_rank(chosen, info.rank)
    changes = Uncommitted.of(environment.directory(), info.environment) if here.patch else None
    owner = Delivered(chosen, changes)
    opened = Recorder(info, writer, CallbackList(), here.extra_hooks, here.strict, owner)
    open_runs.add(opened)
    try:
        _begin(opened, here, resumes)
    except BaseException as error:
        opened.close(*status_of(error))
        raise
    return opened


def _group_around(resume: Path | None, parent: Recorder | None) -> str | None:
    """Return the group of a run for which none was chosen. One that is resumed has its own."""
    if resume is not None:
        return None
    return (parent.info.group if parent is not None else None) or array_group()


def _begin(opened: Recorder, chosen: Settings, resumes: bool) -> None:
    if not opened.info.rank:
        _announce(opened)
    specs, objects = _joining(chosen, opened.name)
    wait_at_end(chosen.wait)
    delivery_manager().follow(opened.info, specs, [*chosen.objects, *objects], chosen.delivery)
    if resumes:
        if opened.status not in FINAL:  # its process died, and so did its delivery
            opened.record_status("killed", REASONS["killed"])
        opened.record_status("running")
    if chosen.params:
        LogVerbs(opened).log_params(chosen.params)


def silent_recorder(chosen: Settings) -> Recorder:
    """Return a run that calls its callbacks and records nothing."""
    name = as_file_name(chosen.name or "silent")
    info = RunInfo(
        id=f"silent-{os.getpid()}-{time.monotonic_ns()}", name=name, path=str((chosen.dir / name).absolute()),
        trackers=chosen.tracker_names,
    )  # fmt: skip
    return Recorder(info, None, CallbackList(), chosen.extra_hooks, chosen.strict, Delivered(chosen))


class Delivered(Owner):
    """Delivers a run while it is recorded.

    Args:
        chosen: the settings of the run, and of the runs that are part of it.
        changes: the uncommitted changes of the code, to be recorded; None if there are none.
    """

    def __init__(self, chosen: Settings, changes: Uncommitted | None = None) -> None:
        self._chosen = chosen
        self._changes = changes
        self._unused = [copy.copy(made) for made in chosen.objects]
        self._checking = threading.Lock()
        self._checked_at = time.monotonic()

    def recorded(self, recorder: Recorder) -> None:
        """Record the uncommitted changes as soon as git has listed them. Report errors of the trackers now and then."""
        if self._changes is not None and self._changes.is_ready:
            self.settling(recorder)
        if time.monotonic() - self._checked_at > _CHECK_S:
            self.epoch_recorded(recorder)

    def epoch_recorded(self, recorder: Recorder) -> None:
        """Report errors of the trackers, unless another thread or an interrupted line of this one is doing so."""
        if self._checking.acquire(blocking=False):
            try:
                self._checked_at = time.monotonic()
                delivery_manager().check(recorder.info, recorder.strict)
            finally:
                self._checking.release()

    def settling(self, recorder: Recorder) -> None:
        """Record the uncommitted changes of the code, once."""
        changes, self._changes = self._changes, None
        if changes is not None:
            changes.record(recorder)

    def closed(self, recorder: Recorder, recorded: bool) -> None:
        """Tell the delivery that nothing more is recorded."""
        open_runs.remove(recorder)
        if self._changes is not None:
            self._changes.discard()
        if recorded:
            delivery_manager().end(recorder.info)

    def wait(self, recorder: Recorder, timeout: float | None) -> bool:
        """Wait until every tracker has all that was recorded so far."""
        if not recorder.has_journal or self._chosen.delivery == "off" or recorder.info.rank:
            return True
        if recorder.records:
            recorder.flush()
        return delivery_manager().wait(recorder.info, self._chosen.tracker_names, timeout)

    def url(self, recorder: Recorder, tracker: str, timeout: float) -> str | None:
        """Return the address of the run in a tracker, after waiting for the tracker to report it."""
        if not recorder.has_journal:
            return None
        if recorder.records:
            recorder.flush()
        return delivery_manager().url(recorder.info, tracker, timeout)

    def child(self, recorder: Recorder, name: str) -> Recorder:
        """Open a run with the same settings. Each run has its own trackers, since a tracker holds one run at a time."""
        checked = optional_text("run.child(…): name", name)
        trackers = [copy.copy(made) for made in self._unused]
        chosen = msgspec.structs.replace(self._chosen, name=checked, params={}, objects=trackers)
        return open_recorder(chosen, parent=recorder)


def _info(chosen: Settings, group: str | None, parent: Recorder | None) -> RunInfo:
    return identity.new_info(
        name="", project=chosen.project, tags=chosen.tags, notes=chosen.notes, group=group, keep=chosen.keep,
        trackers=chosen.tracker_names, system=chosen.measured_every,
        parent=None if parent is None else _run_id(parent.info), ranks=chosen.ranks, world_size=ranks.world_size(),
        rank=ranks.number(chosen.rank) if chosen.ranks == "all" else 0,
        options={spec.name: options for spec in chosen.specs if (options := _stored_options(spec))},
    )  # fmt: skip


def _run_id(info: RunInfo) -> str:
    """Return the id of a run, given the identity of one of its ranks."""
    return info.parent if info.rank and info.parent else info.id


def _stored_options(spec: Spec) -> dict[str, Scalar]:
    """Return the options that `run.json` keeps, so that `sync` delivers to the same place, equally often."""
    every = {} if spec.every is None else {"every": spec.every}
    return flat_params({**spec.options, **every})


def _folder_of(info: RunInfo, chosen: Settings, resume: Path | None) -> tuple[RunInfo, Writer]:
    directory = checks.absolute("dir", chosen.dir)
    name = chosen.name
    if name is None and resume is None:
        name = run_names.from_params(chosen.dir, chosen.params)
    if _is_shared(chosen):
        job = jobs.job(chosen.rank is not None)
        if resume is None:
            empty = msgspec.structs.replace(info, rank=0)
            make = functools.partial(identity.create_empty, directory, name, empty)
            resume = job_runs.join(
                directory, job, info.rank, chosen.name, resumes=chosen.resumes_job, make=make
            )
        else:
            job_runs.note(directory, job, info.rank, resume)
    if resume is None:
        return identity.create(directory, name, info)
    return identity.open_rank(resume, info) if info.rank else identity.resume(resume, info)


def _is_shared(chosen: Settings) -> bool:
    """Whether other processes may open the same run: other ranks, or this rank after a restart of the job."""
    return chosen.ranks == "all" or (chosen.resumes_job and jobs.can_restart())


def _announce(opened: Recorder) -> None:
    here = environment.directory()
    inside = here is not None and opened.path.is_relative_to(here)
    path = os.path.relpath(opened.path) if inside else str(opened.path)
    say(f"run {opened.name} → {path} ({', '.join(opened.info.trackers)})")


def _joining(chosen: Settings, run: str) -> tuple[list[Spec], list[Tracker]]:
    """Return the trackers given by name, with options to join what the program has active in their backends.

    The second list has those of them that must then run in this process.
    """
    specs: list[Spec] = []
    objects: list[Tracker] = []
    for spec in chosen.specs:
        active = find(spec.name).active()
        if active and all(spec.options.get(name, value) == value for name, value in active.items()):
            spec = Spec(spec.name, {**active, **spec.options}, spec.every)
            say(f"run {run} joins the active run of {spec.name}, and leaves it open")
        made = spec.make()
        if made.in_place:
            objects.append(made)
        else:
            specs.append(spec)
    return specs, objects
