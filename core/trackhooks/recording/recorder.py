"""`Recording`: a run while it is made. It hears the hooks, and what the user logs, and writes the journal."""

from __future__ import annotations

import math
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec

from ..errors import InvalidValueError, TrackhooksError, warn
from ..event import FINAL, File, Media, RunInfo, Text
from ..hooks.callback_list import CallbackList
from ..hooks.metric_goals import better
from ..hooks.vocabulary import BY_NAME, LOG
from ..storage import journal, run_folder
from ..storage.checkpoints import TrainingCopies
from ..storage.lost_runs import whole_info
from ..values import checks, media
from ..values.foreign import Failure, attempt, is_a, key_text, plain_text, shown
from ..values.numbers import Snapshot, split_numbers
from ..values.params import checked_fields, flat_params
from ..values.weak_dict import WeakIdentityDict
from . import record_checks
from .event_writer import EventWriter, Number, on_host
from .status import status_of
from .steps import StepCounter

_ALWAYS_JOURNALED = frozenset(hook.name for hook in BY_NAME.values() if hook.journaled)
_EDGES = frozenset({"on_train_start", "teardown"})
_EVALUATIONS = frozenset({"on_val_end", "on_predict_end"})
_SYNC_S = 10.0
"""A training syncs its journal after an epoch, at most this often: a disk takes some ms for it, or many."""


_Made = TypeVar("_Made")


class Collector(Protocol):
    """A loop that is inside of a batch: what the user logs there joins the batch's record."""

    thread: int
    """The thread that the loop is on."""

    def collect(self, metrics: Mapping[str, Any], weight: float) -> None:
        """Takes the metrics of the present batch."""


class Recording:
    """A run: its folder, its identity, its status, and everything that is written into its journal.

    Safe with threads. In a forked child it records nothing.

    Args:
        info: who the run is; `info.path` is its folder.
        writer: where it is written; None records nothing, and only the callbacks hear.
        extra_hooks: the hooks to journal besides those that always are.
        strict: raise what would be a warning otherwise.
    """

    def __init__(
        self,
        info: RunInfo,
        writer: journal.Writer | None,
        callbacks: CallbackList,
        extra_hooks: frozenset[str] = frozenset(),
        strict: bool = False,
    ) -> None:
        self.info = info
        self.callbacks = callbacks
        """Who listens, in either vocabulary."""
        self.extra_hooks = extra_hooks
        """The hooks that are journaled besides those that always are."""
        self.strict = strict
        self.collector: Collector | None = None
        self.place = StepCounter()
        """Where the run is: its step and epoch."""
        self.models: WeakIdentityDict[int] = WeakIdentityDict()
        """The models that were used in this run, each with its thread."""
        self.trained = False
        """Whether a training has started."""
        self.trains_since = 0.0
        self._pid = os.getpid()
        self._journaled = _ALWAYS_JOURNALED | extra_hooks
        self._mutex = threading.RLock()
        self._events = None if writer is None else EventWriter(writer, info.name, strict)
        self._epoch_started = 0.0
        self._synced_at = time.monotonic()
        self._best: dict[str, float] = {}
        self._signed = False
        """Whether the journal holds the identity, from which a damaged `run.json` is rebuilt."""
        self._pictures = 0
        self._not_prepared: set[str] = set()
        self._copies = TrainingCopies(info)
        self._updates = 0
        self._to_tear_down = False
        self.closed = False
        """Whether it has ended for good."""
        self._training_thread = 0
        self.automatic = False
        """Whether it was opened for a loop, rather than by the user: the end of a training is then its own."""
        self.loops: dict[type, Any] = {}
        """What feeds it, one of each framework."""
        if writer is not None and writer.last is not None:
            self._catch_up()
        callbacks.recorder = self
        callbacks.state.lookups.strict = strict
        callbacks.state.save_dir = self.path
        _recordings.add(self)

    def _catch_up(self) -> None:
        """Goes on where the journal ends."""
        assert self._events is not None
        models = 0
        with journal.Reader(self.path) as events:
            for event in events:
                self._events.index = self._pictures = event.index + 1
                models += sum(file.kind == "model" for file in event.files)
                self._updates += event.hook == "on_params_update"
                self.place.replay(event)
                if event.hook == "on_fit_epoch_end":
                    self._note_best(event.metrics)
        self._copies = TrainingCopies(self.info, models)

    # Identity

    @property
    def id(self) -> str:
        """The same in every tracker that takes ids, and after a move of the folder."""
        return self.info.id

    @property
    def name(self) -> str:
        """What people call it; the folder's name, too."""
        return self.info.name

    def __fspath__(self) -> str:
        return str(self.path)

    @property
    def path(self) -> Path:
        """The run's folder."""
        return Path(self.info.path)

    @property
    def status(self) -> str:
        """`"running"`, `"finished"`, `"failed"`, `"killed"` or `"lost"`."""
        return self.info.status

    @property
    def step(self) -> int:
        """The index of the last training batch, from 0, across epochs and resumes; −1 before the first."""
        return self.place.step

    @step.setter
    def step(self, value: int) -> None:
        self.place.jump(checks.index("run.step", value, least=-1))

    @property
    def epoch(self) -> int:
        """From 0, across trainings and resumes; −1 before the first."""
        return self.place.epoch

    @property
    def records(self) -> bool:
        """Whether anything is written: not on ranks beyond the first, when disabled, when closed, or in a fork."""
        return self._events is not None and self._events.journal.open

    @property
    def trains_here(self) -> bool:
        """Whether a training of this run is going on, on this thread."""
        return self.callbacks.state.training and self._training_thread == threading.get_ident()

    def adopt(self, model: Any) -> None:
        """Notes that a model is used in this run: evaluations, saves and exports of it belong here, too."""
        self.models[model] = threading.get_ident()

    # Hearing hooks

    def takes(self, hook: str) -> bool:
        """Whether anyone hears this hook, or it is journaled: a loop may leave out what nobody takes."""
        return self.callbacks.hears(hook) or (hook in self._journaled and self.records)

    def heard(
        self,
        hook: str,
        metrics: Mapping[str, Any],
        epoch: int | None = None,
        batch: int | None = None,
        **more: Any,
    ) -> None:
        """Takes an event from the callback list, which calls this last.

        Args:
            hook: its canonical name.
            metrics: by the names that are recorded.
            epoch: from 0, where the event tells it.
            batch: from 0 in each epoch, where the event tells it.
            **more: what else is stored: `params`, `files`, `media`, `status`, `reason`.
        """
        if hook == "on_train_batch_end":
            if self._events is not None:
                self._end_batch(self._events, metrics, batch, more)
            return
        if hook not in self._journaled:
            if hook == "on_train_batch_start":
                self.place.start_batch()
            return
        if hook in _EDGES:
            more |= self._cross_edge(hook)
        if not self.records:
            return
        if "files" in more:
            self._copies.take(more["files"])
        with self._mutex:
            self.place.hear(hook, epoch)
            if hook in _EVALUATIONS and not self.callbacks.state.training:
                more |= {"step": self.place.evaluate(hook), "epoch": -1}
            metrics = self._completed(hook, metrics)
            self._append(hook, metrics, self.place.step, -1 if batch is None else batch, more)
        if hook == "on_fit_epoch_end":
            self._end_epoch()

    def checked(self, hook: str, more: dict[str, Any]) -> dict[str, Any]:
        """Return what else a hook records, in the form in which it is recorded.

        Raises:
            InvalidValueError: A value cannot be recorded.
        """
        return record_checks.record(hook, more)

    def _end_batch(
        self, events: EventWriter, metrics: Mapping[str, Any], batch: int | None, more: dict[str, Any]
    ) -> None:
        """The hot path: entering and leaving a `with` takes twice as long."""
        try:  # around acquire as well: a signal handler may raise as soon as it returns
            self._mutex.acquire()
            place = self.place
            step = place.end_batch(batch)
            events.write(
                "on_train_batch_end", metrics, step, place.epoch, -1 if batch is None else batch, more
            )
        finally:
            self._mutex.release()

    def _cross_edge(self, hook: str) -> dict[str, str]:
        """A training starts or is cleaned up; a run that had its status already goes on."""
        self._to_tear_down = hook == "on_train_start"
        if not self._to_tear_down:
            return {}
        self.trained = True
        self.trains_since, self._training_thread = time.monotonic(), threading.get_ident()
        self.place.training_starts()
        return {"status": "running"} if self.info.status in FINAL else {}

    def _append(
        self, hook: str, metrics: Mapping[str, Any], step: int, batch: int, more: dict[str, Any]
    ) -> None:
        assert self._events is not None
        if not self._signed:
            self._signed = True
            more = {**more, "run": msgspec.structs.replace(self.info, path="")}
        self._events.write(hook, metrics, step, self.place.epoch, batch, more)
        if "status" in more:
            self._set_status(more["status"], more.get("reason", ""))

    def _completed(self, hook: str, metrics: Mapping[str, Any]) -> Mapping[str, Any]:
        """With what only the recording knows: how long it took, and the best so far."""
        if hook == "on_train_epoch_start":
            self._epoch_started = time.monotonic()
        elif hook == "on_train_epoch_end":
            return {**metrics, **self._speed()}
        elif hook == "on_fit_epoch_end":
            metrics = on_host(self.numbers(metrics))
            self._note_best(metrics)
        elif hook == "on_params_update":
            self._updates += 1
            return {**metrics, "model/updates": self._updates}
        elif hook == "on_train_end":
            return {f"best/{name}": value for name, value in self._best.items()} | dict(metrics)
        return metrics

    def _speed(self) -> dict[str, float]:
        seconds = time.monotonic() - self._epoch_started
        steps = self.place.batches
        return {"speed/train_s": seconds} | (
            {"speed/steps_per_s": steps / seconds} if steps and seconds else {}
        )

    def _note_best(self, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            if better(name, value, self._best.get(name, math.nan)):
                self._best[name] = value

    def _end_epoch(self) -> None:
        """What is done after each epoch, when its record is written."""
        if self._events is not None and time.monotonic() - self._synced_at > _SYNC_S:
            self._events.sync()
            self._synced_at = time.monotonic()

    def numbers(self, metrics: Mapping[str, Any]) -> Mapping[str, Number]:
        """The numbers among the metrics; of each that is none, a warning says so once."""
        return split_numbers(metrics)[0] if self._events is None else self._events.numbers(metrics)

    # What the user logs

    def log(
        self,
        metrics: Mapping[str, Any] | None = None,
        /,
        *,
        step: int | None = None,
        epoch: int | None = None,
        weight: float = 1.0,
        **named: Any,
    ) -> None:
        """Logs numbers: `run.log(loss=loss)` or `run.log({"loss": loss})`.

        Inside of `run.train` they join the batch's record as `batch/loss`, and their mean over the epoch becomes
        `train/loss`; inside of `run.validate` the mean becomes `val/loss`. Elsewhere the names stay as they are, and
        each call is a step of its own as long as there is no training loop that counts them.

        Args:
            metrics: name → number; nested mappings are flattened with `/`. Python, NumPy, torch, JAX, Keras or
                TensorFlow scalars; what lies on an accelerator is not waited for.
            step: where to draw them, instead of at the present step.
            epoch: likewise.
            weight: how much this batch counts in the epoch's mean, such as its number of samples.
            **named: more numbers.

        Raises:
            InvalidValueError: `metrics` is no mapping, or `step` or `epoch` no index. A value that is no number is
                left out with a warning, once a name, and the others are kept.
        """
        if metrics is not None and not is_a(metrics, Mapping):
            raise InvalidValueError(
                f"run.log({shown(metrics)}): a mapping from names to numbers is needed, or run.log(loss=…)."
            )
        found = {**_named_by_texts(metrics), **named} if metrics is not None else named
        if step is None and epoch is None and self._collects_here():
            self.collector.collect(found, weight)  # type: ignore[union-attr] # it does
            return
        if type(weight) is not float:
            checks.number("run.log(…): weight", weight)
        axes = _axes(step=step, epoch=epoch)
        if found:
            self._log(found, **axes)

    def _collects_here(self) -> bool:
        return self.collector is not None and self.collector.thread == threading.get_ident()

    def _log(self, metrics: Mapping[str, Any], **more: Any) -> None:
        if not self.records:
            return
        with self._mutex:
            if metrics and "step" not in more:
                step = self.place.log(self.callbacks.state.training)
            else:
                step = self.place.present
            self._append(LOG, metrics, step, -1, more)

    def log_params(self, params: Any = None, /, **named: Any) -> None:
        """Logs hyper-parameters; nested ones are flattened with `/`, and secrets are redacted.

        Args:
            params: a mapping (OmegaConf, too), a dataclass, an `argparse.Namespace`, a `SimpleNamespace`, or an object
                of pydantic, attrs or msgspec. A placeholder is recorded for a value that cannot be read.
            **named: more parameters.

        Raises:
            InvalidValueError: `params` is none of these.
        """
        given = [] if params is None else checked_fields("run.log_params(…): params", params)
        found = {**{key_text(name): value for name, value in given}, **named}
        recorded = flat_params(found, self._report)
        self.callbacks.state.args.update(
            {name: value for name, value in found.items() if type(value) is not Failure}
        )
        if recorded:
            self._log({}, params=recorded)

    def _report(self, message: str) -> None:
        if self.strict:
            raise InvalidValueError(message)
        warn(message)

    def log_text(self, name: str, text: str) -> None:
        """Logs a text; dashboards that can show it as Markdown.

        Raises:
            InvalidValueError: `name` is not a string or empty, or `text` cannot be read.
        """
        shown_as, found = checks.name("run.log_text(…): name", name), attempt(str, text)
        if isinstance(found, Failure):
            raise InvalidValueError(f"run.log_text({shown_as!r}, …): text cannot be read: {found.why}.")
        self.log_media(Text(shown_as, plain_text(found)))

    def log_table(self, name: str, data: Any, columns: Sequence[str] | None = None) -> None:
        """Logs a table.

        Args:
            name: what dashboards call it.
            data: rows (with `columns`), a list of dicts, a dict of columns, or a pandas DataFrame.
            columns: the names of the columns.

        Raises:
            InvalidValueError: the rows and the columns do not fit each other.
        """
        called = checks.name("run.log_table(…): name", name)
        self._log_made(self._prepared("table", called, lambda: media.table(called, data, columns)))

    def log_histogram(self, name: str, data: Any, bins: int = 64) -> None:
        """Logs how values are distributed.

        Args:
            name: what dashboards call it.
            data: an array or tensor of any shape, or numbers; those that are not finite are not counted.
            bins: how many, all of one width.

        Raises:
            InvalidValueError: there is no finite value.
        """
        called = checks.name("run.log_histogram(…): name", name)
        self._log_made(self._prepared("histogram", called, lambda: media.histogram(called, data, bins)))

    def log_media(self, item: Media) -> None:
        """Logs a text, a table, a histogram or a graph that has been made already."""
        self._log({}, media=[item])

    def _log_made(self, item: Media | None) -> None:
        if item is not None:
            self.log_media(item)

    def _prepared(self, kind: str, name: object, make: Callable[[], _Made]) -> _Made | None:
        """What is to be logged; None, with a warning, if the machine cannot make it now, such as for want of files.

        Raises:
            TrackhooksError: it is no failure of the machine, or the run is strict.
        """
        try:
            return make()
        except OSError as error:
            message = f"run {self.name!r}: the {kind} {name!r} is left out: {error}."
            if self.strict:
                raise TrackhooksError(message) from error
            if kind not in self._not_prepared:
                self._not_prepared.add(kind)
                warn(f"{message} Training goes on.")
            return None

    def log_image(self, name: str, image: Any) -> None:
        """Logs a picture, which is kept as PNG in the run's folder.

        Args:
            name: the series that it belongs to; one name may be logged at many steps.
            image: the path of an image file, a PIL image, a matplotlib figure, or an array or tensor of shape H×W,
                H×W×C or C×H×W with C one of 1, 3, 4: integers from 0 to 255, or floats from 0 to 1.

        Raises:
            InvalidValueError: it is none of these.
            MissingPackageError: Pillow is needed and not installed.
        """
        name = checks.name("run.log_image(…): name", name)
        series = run_folder.as_file_name(name)
        picture = self._prepared("picture", name, lambda: media.png(image))
        path = self._keep_picture(series, picture) if self.records and picture is not None else None
        if path is not None:
            kept = str(path.relative_to(self.path))
            self._log({}, files=[media.file(path, "image", name=name, kept=kept)])

    def _keep_picture(self, series: str, picture: bytes) -> Path | None:
        with self._mutex:  # two threads must not write one file; a run that goes on must not write over one
            number, self._pictures = self._pictures, self._pictures + 1
        path = self.path / "files" / "images" / series / f"{number:08d}.png"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture)
        except OSError as error:
            warn(f"run {self.name!r}: {path} could not be written: {error.strerror}. Training goes on.")
            return None
        return path

    def log_figure(self, name: str, figure: Any) -> None:
        """Logs a matplotlib figure as a picture.

        Raises:
            InvalidValueError: it has no `savefig`.
        """
        if attempt(hasattr, figure, "savefig") is not True:
            raise InvalidValueError(
                f"run.log_figure({shown(name)}, …): {type(figure).__name__} is no matplotlib figure."
            )
        self.log_image(name, figure)

    def log_file(self, path: str | os.PathLike[str], name: str | None = None) -> None:
        """Logs a file or a folder; delivery copies it into the run's folder and to the trackers.

        Raises:
            InvalidValueError: there is no such file.
        """
        more = checks.optional_name("run.log_file(…): name", name)
        file = self._prepared("file", path, lambda: media.file(path, "file", **more))
        if file is not None:
            self._log({}, files=[file])

    def note_files(self, files: Sequence[File]) -> None:
        """Records files that a loop has found."""
        if files:
            self._log({}, files=list(files))

    def log_model(
        self, path: str | os.PathLike[str], aliases: Iterable[str] = (), *, name: str | None = None
    ) -> None:
        """Logs a checkpoint that has been saved: fires `on_model_save`.

        Args:
            path: a file or a folder.
            aliases: names that move to the newest checkpoint that bears them, such as `"last"` and `"best"`.
            name: what trackers call it; by default the file's name.

        Raises:
            InvalidValueError: there is no such file, or an alias is no text.
        """
        more = {
            "aliases": _aliases(aliases),
            "metrics": _plain_numbers(self.callbacks.state.metrics),
            **checks.optional_name("run.log_model(…): name", name),
        }
        file = self._prepared("model", path, lambda: media.file(path, "model", **more))
        if file is not None:
            self.callbacks.state.file = file.path
            self.callbacks.run_callbacks("on_model_save", files=[file])

    def log_export(
        self,
        path: str | os.PathLike[str],
        format: str | None = None,  # noqa: A002 — what the frameworks call it
        *,
        parent: str | os.PathLike[str] | None = None,
        duration: float | None = None,
        name: str | None = None,
    ) -> None:
        """Logs a model that has been exported: fires `on_export_start` and `on_export_end`.

        Args:
            path: a file or a folder.
            format: `"onnx"`, …; by default the ending of the path.
            parent: the checkpoint that it was made from; by default the one that was logged last.
            duration: how long it took, in seconds.
            name: what trackers call it; by default the file's name.

        Raises:
            InvalidValueError: there is no such file.
        """
        call = "run.log_export(…): "
        source = self.callbacks.state.file
        if parent is not None:
            source = str(checks.path(f"{call}parent", parent).absolute())
        more = {
            "format": None if format is None else checks.text(f"{call}format", format),
            "parent": None if source is None else str(source),
            "duration": None if duration is None else checks.number(f"{call}duration", duration),
            **checks.optional_name(f"{call}name", name),
        }
        file = self._prepared("export", path, lambda: media.file(path, "export", **more))
        if file is None:
            return
        self.callbacks.run_callbacks("on_export_start")
        self.callbacks.run_callbacks("on_export_end", files=[file])

    # The end

    def settle(self, status: str, reason: str = "") -> None:
        """Gives the run its status, in the journal and in `run.json`; what is recorded later still belongs to it.

        Fires `teardown` where a training has started.

        Raises:
            InvalidValueError: it is no status of a run that has ended.
        """
        status, reason = ending(status, reason)
        if self._to_tear_down:
            self.callbacks.run_callbacks("teardown", status=status, reason=reason)
        else:
            self.tell(status, reason)

    def tell(self, status: str, reason: str = "") -> None:
        """Records a status of the run, in the journal and in `run.json`."""
        self._log({}, status=status, reason=reason)

    def _set_status(self, status: str, reason: str) -> None:
        self.info.status, self.info.reason = status, reason or None
        self.info.ended = time.time() if status in FINAL else None
        self.flush()
        try:
            run_folder.write_info(self.path, self.info)
        except OSError as error:
            warn(f"run {self.name!r}: {self.path / run_folder.INFO} could not be written: {error.strerror}.")

    def flush(self) -> None:
        """Writes what is held, and makes all of it survive a crash of the machine."""
        if self._events is not None:
            with self._mutex:
                self._events.fetch()
            self._events.sync()

    def status_at_exit(self, error: BaseException | None) -> tuple[str, str]:
        """The status of a run that is still open when the process ends; `error` is what ended it, if that is known."""
        if self.info.status in FINAL:
            return self.info.status, self.info.reason or ""
        if error is not None:
            return status_of(error)
        if self.callbacks.state.training:  # the code of sys.exit is not visible here
            return "failed", "the process ended inside of the training"
        return "finished", ""

    def close(self, status: str = "finished", reason: str = "") -> None:
        """Ends the run: fires `teardown` where a training has started, sets the status, closes the journal.

        Does not wait for delivery. Closing again does nothing.
        """
        status, reason = ending(status, reason)
        told = (status, reason or None) == (self.info.status, self.info.reason) and not self._to_tear_down
        try:
            if not told and (self._events is None or self.records):
                self.settle(status, reason)
        finally:
            self.closed = True
            self._let_go()

    def _let_go(self) -> None:
        if self._events is not None:
            with self._mutex:
                self._events.fetch()
                self._events.close()

    def release_journal(self) -> None:
        """Lets go of the journal, so that another process can go on with the run, until `take_back`."""
        if self.records:
            self._let_go()

    def reacquire_journal(self) -> bool:
        """Goes on behind what the other process recorded: did it have the journal?

        Raises:
            TrackhooksError: it is still being written, or its folder was removed.
        """
        if self._events is None or self.closed or self.records or self._pid != os.getpid():
            return False
        self._events.journal = journal.Writer(self.path)
        self._catch_up()
        known = whole_info(self.path)
        self.info.status, self.info.reason, self.info.ended = known.status, known.reason, known.ended
        return True


_recordings: weakref.WeakSet[Recording] = weakref.WeakSet()


def _renew_mutexes() -> None:
    """In a forked child: whoever held one is in the parent. The journal does not write here."""
    for recording in list(_recordings):
        recording._mutex = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_mutexes)


def _plain_numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    accepted, _ = split_numbers(metrics)
    return {name: value for name, value in accepted.items() if not isinstance(value, Snapshot)}


def _axes(**given: Any) -> dict[str, int]:
    return {
        axis: checks.index(f"run.log(…): {axis}", value) for axis, value in given.items() if value is not None
    }


def _named_by_texts(metrics: Mapping[Any, Any]) -> dict[str, Any]:
    if type(metrics) is dict:
        return {name if type(name) is str else key_text(name): value for name, value in metrics.items()}
    found = checked_fields("run.log(…): metrics", metrics)
    return {key_text(name): value for name, value in found}


def ending(status: Any, reason: Any) -> tuple[str, str]:
    """The status and the reason that `close` got.

    Raises:
        InvalidValueError: it is not a status of a run that has ended, or the reason is not a string.
    """
    return checks.status("status", status), "" if reason is None else checks.text("reason", reason)


def _aliases(aliases: Iterable[str]) -> tuple[str, ...]:
    return tuple(checks.name("each of aliases", alias) for alias in checks.listed("aliases", aliases))
