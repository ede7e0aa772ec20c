"""`Recording`: a run while it is made. It hears the hooks, and what the user logs, and writes the journal."""

from __future__ import annotations

import os
import threading
import time
import uuid
import weakref
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec
import psutil

from . import environment, folder, journal, media, values
from .errors import InvalidValueError, warn
from .event import FINAL, Event, File, Media, RunInfo, Scalar, Text
from .hooks import CallbackList
from .names import better
from .redaction import redact_text
from .vocabulary import BY_NAME, LOG

_HELD_S = 0.1
"""How long values that lie on an accelerator are held before they are fetched together, in seconds."""

_ALWAYS_JOURNALED = frozenset(hook.name for hook in BY_NAME.values() if hook.journaled)


class Collector(Protocol):
    """A loop that is inside of a batch: what the user logs there joins the batch's record."""

    def collect(self, metrics: Mapping[str, Any], weight: float) -> None:
        """Takes the metrics of the present batch."""


class Recording:
    """A run: its folder, its identity, its status, and everything that is written into its journal.

    Safe with threads. In a forked child it records nothing.

    Args:
        info: who the run is; `info.path` is its folder.
        writer: where it is written; None records nothing, and only the callbacks hear.
        wants: the hooks to journal besides those that always are.
        strict: raise what would be a warning otherwise.
    """

    def __init__(
        self,
        info: RunInfo,
        writer: journal.Writer | None,
        callbacks: CallbackList,
        wants: frozenset[str] = frozenset(),
        strict: bool = False,
    ) -> None:
        self.info = info
        self.callbacks = callbacks
        """Who listens, in either vocabulary."""
        self.strict = strict
        self.collector: Collector | None = None
        self.step = -1
        """The index of the last training batch, from 0, across epochs and resumes; −1 before the first."""
        self.epoch = -1
        self.lost = 0
        """Records that could not be written."""
        self._writer = writer
        self._pid = os.getpid()
        self._journaled = _ALWAYS_JOURNALED | wants
        self._mutex = threading.RLock()
        self._index = 0
        self.before_epoch = -1
        """The last step before the present epoch."""
        self._epoch_started = 0.0
        self._steps_before = -1
        self._held: list[Event] = []
        self._best: dict[str, float] = {}
        self._left_out: set[str] = set()
        self._own_steps = -1
        self._outside = {"on_val_end": -1, "on_predict_end": -1}
        self._epochs_before = self._epochs_done = 0
        self._in_first_epoch = False
        self._to_tear_down = False
        self.models: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
        """The models that were used in this run, each with its thread."""
        self.trained = False
        """Whether a training has started."""
        self.trains_since = 0.0
        self._training_thread = 0
        if writer is not None and writer.last is not None:
            self._continue(writer.last)
        callbacks.recorder = self
        callbacks.state.save_dir = self.path

    def _continue(self, last: Event) -> None:
        self._index, self.step, self.epoch = last.index + 1, last.step, last.epoch
        self.before_epoch = self.step
        self._epochs_done = self.epoch + 1

    # Identity

    @property
    def id(self) -> str:
        """The same in every tracker that takes ids, and after a move of the folder."""
        return self.info.id

    @property
    def name(self) -> str:
        """What people call it; the folder's name, too."""
        return self.info.name

    @property
    def path(self) -> Path:
        """The run's folder."""
        return Path(self.info.path)

    @property
    def status(self) -> str:
        """`"running"`, `"finished"`, `"failed"`, `"killed"` or `"lost"`."""
        return self.info.status

    @property
    def records(self) -> bool:
        """Whether anything is written: not on ranks beyond the first, when disabled, when closed, or in a fork."""
        return self._writer is not None and self._writer.open and self._pid == os.getpid()

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
        if hook in ("on_train_start", "teardown"):
            self._to_tear_down = hook == "on_train_start"
            if self._to_tear_down:
                more |= self._start_training()
        if self._writer is None:
            return
        with self._mutex:
            if hook == "on_train_batch_end":
                self.step = self.step + 1 if batch is None else self.before_epoch + 1 + batch
            else:
                if epoch is not None:
                    self._count_epoch(hook, epoch)
                metrics = self._at_epoch_hook(hook, metrics)
                if hook in self._outside and not self.callbacks.state.training:
                    more |= {"step": self._step_outside(hook), "epoch": -1}
            if hook in self._journaled:
                self._record(hook, metrics, -1 if batch is None else batch, **more)
            if hook == "on_fit_epoch_end":
                self._writer.sync()

    def _start_training(self) -> dict[str, str]:
        """A run that had its status already goes on."""
        self.trained, self._in_first_epoch = True, True
        self.trains_since, self._training_thread = time.monotonic(), threading.get_ident()
        if self.info.status not in FINAL or not self.records:
            return {}
        self.info.status, self.info.reason, self.info.ended = "running", None, None
        self._write_info()
        return {"status": "running"}

    def _count_epoch(self, hook: str, epoch: int) -> None:
        """A training that counts from 0 again goes on behind the epochs that the run already has."""
        if hook == "on_train_epoch_start" and self._in_first_epoch:
            self._in_first_epoch = False
            self._epochs_before = self._epochs_done if epoch == 0 else 0
        self.epoch = epoch + self._epochs_before

    def _step_outside(self, hook: str) -> int:
        """Where an evaluation or prediction outside of a training is drawn: each at a step of its own."""
        self._outside[hook] = max(self.step, self._outside[hook] + 1)
        return self._outside[hook]

    def _at_epoch_hook(self, hook: str, metrics: Mapping[str, Any]) -> Mapping[str, Any]:
        """Adds what only the recording knows: how long it took, and the best so far."""
        if hook == "on_train_epoch_start":
            self.before_epoch = self._steps_before = self.step
            self._epoch_started = time.monotonic()
        elif hook == "on_train_epoch_end":
            return {**metrics, **self._speed()}
        elif hook == "on_fit_epoch_end":
            self._epochs_done = self.epoch + 1
            for name, value in _plain_numbers(metrics).items():
                if not name.startswith(("lr/", "speed/")) and better(
                    name, value, self._best.get(name, float("nan"))
                ):
                    self._best[name] = value
        elif hook == "on_train_end":
            return {f"best/{name}": value for name, value in self._best.items()} | dict(metrics)
        return metrics

    def _speed(self) -> dict[str, float]:
        seconds = time.monotonic() - self._epoch_started
        steps = self.step - self._steps_before
        return {"speed/train_s": seconds} | (
            {"speed/steps_per_s": steps / seconds} if steps and seconds else {}
        )

    # Writing

    def _record(
        self,
        hook: str,
        metrics: Mapping[str, Any],
        batch: int = -1,
        *,
        step: int | None = None,
        epoch: int | None = None,
        params: Mapping[str, Scalar] | None = None,
        files: Sequence[File] = (),
        media: Sequence[Media] = (),
        status: str = "",
        reason: str = "",
    ) -> None:
        numbers = metrics if _all_floats(metrics) else self.numbers(metrics)
        with self._mutex:
            event = Event(
                hook,
                self._index,
                time.time(),
                self.step if step is None else step,
                self.epoch if epoch is None else epoch,
                batch,
                numbers,  # type: ignore[arg-type] # snapshots are replaced before the event is written
            )
            if params or files or media or status:
                event.params, event.files, event.media = dict(params or {}), list(files), list(media)
                event.status, event.reason = status, reason
            self._index += 1
            if self._held or numbers is not metrics:
                self._hold(event)
            else:
                self._append(event)
        if status and self.records:
            self._set_status(status, reason)
            self.flush()
            self._write_info()

    def numbers(self, metrics: Mapping[str, Any]) -> dict[str, float | values.Snapshot]:
        """The numbers among the metrics; of each that is none, a warning says so once."""
        accepted, refused = values.numbers(metrics)
        for name, why in refused.items():
            self._leave_out(name, why)
        return accepted

    def _leave_out(self, name: str, why: str) -> None:
        message = f"metric {name!r} is left out: it is {why}."
        if self.strict:
            raise InvalidValueError(message)
        if name not in self._left_out:
            self._left_out.add(name)
            warn(f"{message} The rest of the record is kept.")

    def _hold(self, event: Event) -> None:
        """Values on an accelerator are not waited for at every step: a copy of them is, together with later ones."""
        self._held.append(event)
        due = event.time - self._held[0].time >= _HELD_S or event.hook not in ("on_train_batch_end", LOG)
        if due or not any(_has_snapshots(held) for held in self._held):
            self._fetch()

    def _fetch(self) -> None:
        held, self._held = self._held, []
        waiting = [
            value for event in held for value in event.metrics.values() if isinstance(value, values.Snapshot)
        ]
        fetched = iter(values.to_host(waiting))
        for event in held:
            event.metrics = {
                name: next(fetched) if isinstance(value, values.Snapshot) else value
                for name, value in event.metrics.items()
            }
            self._append(event)

    def _append(self, event: Event) -> None:
        if not self.records:
            return
        assert self._writer is not None
        try:
            self._writer.append(event)
        except OSError as error:
            self.lost += 1
            if self.lost == 1:
                warn(
                    f"run {self.name!r}: a record could not be written to {self.path / journal.FILE_NAME}:"
                    f" {error.strerror}. Training goes on; recording does so as soon as writing works again."
                )

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
            InvalidValueError: `metrics` is no mapping. A value that is no number is left out with a warning, once a
                name, and the others are kept.
        """
        if metrics is not None and not isinstance(metrics, Mapping):
            raise InvalidValueError(
                f"run.log({metrics!r}): a mapping from names to numbers is needed, or run.log(loss=…)."
            )
        found = {**(metrics or {}), **named}
        if self.collector is not None and step is None and epoch is None:
            self.collector.collect(found, weight)
        elif found and self.records:
            self._record(LOG, found, step=self._log_step() if step is None else step, epoch=epoch)

    def _log_step(self) -> int:
        """Where no loop counts the steps, every call of `log` is one."""
        if self.step >= 0 or self.callbacks.state.training:
            return self.step
        self._own_steps += 1
        return self._own_steps

    def log_params(self, params: Mapping[str, Any] | None = None, /, **named: Any) -> None:
        """Logs hyper-parameters; nested mappings are flattened with `/`, and secrets are redacted.

        Raises:
            InvalidValueError: `params` is no mapping.
        """
        if params is not None and not isinstance(params, Mapping):
            raise InvalidValueError(
                f"run.log_params({params!r}): a mapping is needed, or run.log_params(lr=0.1)."
            )
        found = {**(params or {}), **named}
        self.callbacks.state.args.update(found)
        if found and self.records:
            self._record(LOG, {}, params=values.params(found))

    def log_text(self, name: str, text: str) -> None:
        """Logs a text; dashboards that can show it as Markdown."""
        self._log_media(Text(_checked_name(name), str(text)))

    def log_table(self, name: str, data: Any, columns: Sequence[str] | None = None) -> None:
        """Logs a table.

        Args:
            name: what dashboards call it.
            data: rows (with `columns`), a list of dicts, a dict of columns, or a pandas DataFrame.
            columns: the names of the columns.

        Raises:
            InvalidValueError: the rows and the columns do not fit each other.
        """
        self._log_media(media.table(_checked_name(name), data, columns))

    def log_histogram(self, name: str, data: Any, bins: int = 64) -> None:
        """Logs how values are distributed.

        Args:
            name: what dashboards call it.
            data: an array or tensor of any shape, or numbers; those that are not finite are not counted.
            bins: how many, all of one width.

        Raises:
            InvalidValueError: there is no finite value.
        """
        self._log_media(media.histogram(_checked_name(name), data, bins))

    def _log_media(self, item: Media) -> None:
        if self.records:
            self._record(LOG, {}, media=[item], step=self._media_step())

    def _media_step(self) -> int:
        return max(self.step, self._own_steps)

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
        picture = media.png(image)
        if not self.records:
            return
        series = self.path / "files" / "images" / folder.as_file_name(_checked_name(name))
        series.mkdir(parents=True, exist_ok=True)
        with self._mutex:
            path = series / f"{self._index:08d}.png"
        path.write_bytes(picture)
        kept = str(path.relative_to(self.path))
        self._record(
            LOG, {}, files=[media.file(path, "image", name=name, kept=kept)], step=self._media_step()
        )

    def log_figure(self, name: str, figure: Any) -> None:
        """Logs a matplotlib figure as a picture.

        Raises:
            InvalidValueError: it has no `savefig`.
        """
        if not hasattr(figure, "savefig"):
            raise InvalidValueError(
                f"run.log_figure({name!r}, …): {type(figure).__name__} is no matplotlib figure."
            )
        self.log_image(name, figure)

    def log_file(self, path: str | os.PathLike[str], name: str | None = None) -> None:
        """Logs a file or a folder; delivery copies it into the run's folder and to the trackers.

        Raises:
            InvalidValueError: there is no such file.
        """
        file = media.file(path, "file", **({"name": name} if name else {}))
        if self.records:
            self._record(LOG, {}, files=[file], step=self._media_step())

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
        file = media.file(
            path,
            "model",
            aliases=_aliases(aliases),
            metrics=_plain_numbers(self.callbacks.state.metrics),
            **({"name": name} if name else {}),
        )
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
        source = str(Path(parent).absolute()) if parent is not None else self.callbacks.state.file
        file = media.file(
            path,
            "export",
            format=format,
            parent=source,
            duration=duration,
            **({"name": name} if name else {}),
        )
        self.callbacks.run_callbacks("on_export_start")
        self.callbacks.run_callbacks("on_export_end", files=[file])

    # The end

    def settle(self, status: str, reason: str = "") -> None:
        """Gives the run its status, in the journal and in `run.json`; what is recorded later still belongs to it.

        Fires `teardown` where a training has started.

        Raises:
            InvalidValueError: it is no status of a run that has ended.
        """
        if status not in FINAL:
            raise InvalidValueError(f"status {status!r}: one of {', '.join(sorted(FINAL))} is needed.")
        if self.records:
            self._set_status(status, reason)
        if self._to_tear_down:
            self.callbacks.run_callbacks("teardown", status=status, reason=reason)
        elif self.records:
            self._record(LOG, {}, status=status, reason=reason)

    def _set_status(self, status: str, reason: str) -> None:
        self.info.status, self.info.reason = status, reason or None
        self.info.ended = time.time() if status in FINAL else None

    def _write_info(self) -> None:
        try:
            folder.write_info(self.path, self.info)
        except OSError as error:
            warn(f"run {self.name!r}: {self.path / folder.INFO} could not be written: {error.strerror}.")

    def flush(self) -> None:
        """Writes what is held, and makes all of it survive a crash of the machine."""
        with self._mutex:
            self._fetch()
            if self._writer is not None:
                self._writer.sync()

    def status_at_exit(self, error: BaseException | None) -> tuple[str, str]:
        """The status of a run that is still open when the process ends; `error` is what ended it, if that is known."""
        if self.info.status in FINAL:
            return self.info.status, self.info.reason or ""
        if error is not None:
            return "failed", f"{type(error).__name__}: {error}"
        if (
            self.callbacks.state.training
        ):  # sys.exit is not visible here, but a training that has not ended is
            return "failed", "the process ended inside of the training"
        return "finished", ""

    def close(self, status: str = "finished", reason: str = "") -> None:
        """Ends the run: fires `teardown` where a training has started, sets the status, closes the journal.

        Does not wait for delivery. Closing again does nothing.
        """
        told = (status, reason or None) == (self.info.status, self.info.reason) and not self._to_tear_down
        if not told and (self._writer is None or self._writer.open):
            self.settle(status, reason)
        self.closed = True
        if self._writer is not None:
            self._writer.close()

    def lend(self) -> None:
        """Lets go of the journal, so that another process can go on with the run, until `take_back`."""
        if self.records:
            assert self._writer is not None
            self.flush()
            self._writer.close()

    def take_back(self) -> None:
        """Goes on behind what the other process recorded.

        Raises:
            JournalError: it is still being written.
        """
        if self._writer is None or self.closed or self.records or self._pid != os.getpid():
            return
        self._writer = journal.Writer(self.path)
        if self._writer.last is not None:
            self._continue(self._writer.last)
        known = folder.read_info(self.path)
        self.info.status, self.info.reason, self.info.ended = known.status, known.reason, known.ended


def status_of(error: BaseException | None) -> tuple[str, str]:
    """The status, and the reason for it, of a run that this exception ended."""
    if error is None or isinstance(error, GeneratorExit):
        return "finished", ""
    if isinstance(error, SystemExit):
        return ("finished", "") if error.code in (None, 0) else ("failed", f"sys.exit({error.code!r})")
    if isinstance(error, KeyboardInterrupt):
        return "killed", "KeyboardInterrupt"
    lines = str(error).strip().splitlines()
    return "failed", redact_text(f"{type(error).__name__}: {lines[0] if lines else ''}".rstrip(": "))[:500]


def _all_floats(metrics: Mapping[str, Any]) -> bool:
    for value in metrics.values():  # noqa: SIM110 — in the hot path a generator costs more than the check
        if type(value) is not float:
            return False
    return True


def _has_snapshots(event: Event) -> bool:
    return any(isinstance(value, values.Snapshot) for value in event.metrics.values())


def _plain_numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    accepted, _ = values.numbers(metrics)
    return {name: value for name, value in accepted.items() if not isinstance(value, values.Snapshot)}


def _checked_name(name: str) -> str:
    if not isinstance(name, str) or not name:
        raise InvalidValueError(f"{name!r} is no name: a text that is not empty is needed.")
    return name


def _aliases(aliases: Iterable[str]) -> tuple[str, ...]:
    found = (aliases,) if isinstance(aliases, str) else tuple(aliases)
    for alias in found:
        _checked_name(alias)
    return found


def new_info(**more: Any) -> RunInfo:
    """Who a new run of this process is, but for its name and folder."""
    process = psutil.Process()
    captured = environment.capture()
    return RunInfo(
        id=uuid.uuid4().hex[:12],
        created=time.time(),
        pid=process.pid,
        pid_created=process.create_time(),
        host=str(captured["host"]),
        boot=environment.boot_id(),
        environment=captured,
        version=environment.own_version(),
        **more,
    )


def create(directory: Path, name: str | None, info: RunInfo) -> tuple[RunInfo, journal.Writer]:
    """A new run in a folder of its own.

    Raises:
        TrackhooksError: the directory cannot be written.
    """
    path = folder.make(directory, name)
    info.name, info.path = path.name, str(path.absolute())
    writer = journal.Writer(path)
    folder.write_info(path, info)
    return info, writer


def resume(path: Path, info: RunInfo) -> tuple[RunInfo, journal.Writer]:
    """A run that goes on in its folder; `info` says who goes on with it.

    Raises:
        TrackhooksError: there is no run in this folder.
        JournalError: another process still writes it.
    """
    old = folder.read_info(path)
    writer = journal.Writer(path)
    kept = {"id": old.id, "name": old.name, "path": old.path, "created": old.created, "parent": old.parent}
    info = msgspec.structs.replace(
        info, **kept, project=info.project or old.project, notes=info.notes or old.notes, group=info.group or old.group,
        tags=list(dict.fromkeys([*old.tags, *info.tags])),
    )  # fmt: skip
    folder.write_info(path, info)
    return info, writer
