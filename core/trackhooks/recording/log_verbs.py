"""`LogVerbs`: what a user can log in a run, besides the hooks of the loop."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from threading import get_ident
from typing import Any, TypeVar

from ..errors import InvalidValueError, TrackhooksError, warn
from ..errors.foreign import Failure, attempt, is_a, key_text, plain_text, shown
from ..event import Media, Text
from ..storage import run_folder
from ..values import checks, media, pictures
from ..values.numbers import Snapshot, split_numbers
from ..values.params import checked_fields, flat_params
from .recorder import Recorder

Made = TypeVar("Made")

_NO_WEIGHT = 1.0


class LogVerbs:
    """The methods `log` and `log_…`.

    Args:
        recorder: writes what is logged.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._collector = recorder.collector
        self._failed: set[str] = set()
        """The kinds of things for which a failure of the machine has been reported."""
        self._reported: set[str] = set()
        """The pictures about which a warning has been given."""

    def log(
        self,
        metrics: Mapping[str, Any] | None = None,
        /,
        *,
        step: int | None = None,
        epoch: int | None = None,
        weight: float = _NO_WEIGHT,
        **named: Any,
    ) -> None:
        """Log numbers: `run.log(loss=loss)` or `run.log({"loss": loss})`.

        Inside `run.train` they are recorded with the batch as `train_batch/loss`, and their mean over the epoch as
        `train/loss`. Inside `run.validate` the mean is recorded as `val/loss`. Elsewhere names stay as they are. If no
        training loop counts the steps, each call is a step.

        Args:
            metrics: name → number; nested mappings are flattened with `/`. Numbers may be scalars of Python, NumPy,
                torch, JAX, Keras or TensorFlow. Values on an accelerator are fetched later, without waiting.
            step: the step to record them at, instead of the current one.
            epoch: the epoch to record them at, instead of the current one.
            weight: the weight of this batch in the mean of the epoch, such as its number of samples.
            **named: more numbers.

        Raises:
            InvalidValueError: `metrics` is not a mapping, or `step` or `epoch` is not an index. Values that are not
                numbers are left out with a warning, once for each name, and the others are recorded.
        """
        if metrics is not None:
            named = {**_named_by_strings(metrics), **named} if named else _named_by_strings(metrics)
        if weight is not _NO_WEIGHT:
            weight = checks.number("run.log(…): weight", weight)
        collector = self._collector
        if collector.thread == get_ident() and step is None and epoch is None:
            collector.collect(named, weight)
            return
        axes = _axes(step=step, epoch=epoch)
        if named:
            self._recorder.record(named, **axes)

    def log_params(self, params: Any = None, /, **named: Any) -> None:
        """Log hyper-parameters. Nested ones are flattened with `/`, and secrets are redacted.

        Args:
            params: a mapping (also of OmegaConf), a dataclass, an `argparse.Namespace`, a `SimpleNamespace`, or an
                object of pydantic, attrs or msgspec. A placeholder is recorded for a value that cannot be read.
            **named: more parameters.

        Raises:
            InvalidValueError: `params` is none of these.
        """
        given = [] if params is None else checked_fields("run.log_params(…): params", params)
        found = {**{key_text(name): value for name, value in given}, **named}
        recorded = flat_params(found, self._recorder.report)
        readable = {name: value for name, value in found.items() if type(value) is not Failure}
        self._recorder.callbacks.state.add_args(readable)
        if recorded:
            self._recorder.record({}, params=recorded)

    def _report_once(self, what: str, message: str) -> None:
        if what not in self._reported:
            self._reported.add(what)
            self._recorder.report(f"run {self._recorder.name!r}: {what}: {message}")

    def log_text(self, name: str, text: str) -> None:
        """Log a string. Dashboards that can show Markdown render it.

        Raises:
            InvalidValueError: `name` is not a string, or empty, or `text` cannot be read.
        """
        checked, found = checks.name("run.log_text(…): name", name), attempt(str, text)
        if isinstance(found, Failure):
            raise InvalidValueError(f"run.log_text({checked!r}, …): text cannot be read: {found.why}.")
        self._log_media(Text(checked, plain_text(found)))

    def log_table(self, name: str, data: Any, columns: Sequence[str] | None = None) -> None:
        """Log a table.

        Args:
            name: the name of the table.
            data: rows (with `columns`), a list of dicts, a dict of columns, or a pandas or polars DataFrame. The
                index of a DataFrame becomes a column, unless it only counts the rows.
            columns: the names of the columns.

        Raises:
            InvalidValueError: the rows do not match the columns.
        """
        checked = checks.name("run.log_table(…): name", name)
        self._log_media(self._made("table", checked, lambda: media.table(checked, data, columns)))

    def log_histogram(self, name: str, data: Any, bins: int = 64) -> None:
        """Log the distribution of values.

        Args:
            name: the name of the histogram.
            data: an array or tensor of any shape, or numbers. Values that are not finite are not counted.
            bins: the number of bins, all of the same width.

        Raises:
            InvalidValueError: all values are infinite or NaN, or `data` is empty.
        """
        checked = checks.name("run.log_histogram(…): name", name)
        self._log_media(self._made("histogram", checked, lambda: media.histogram(checked, data, bins)))

    def _log_media(self, item: Media | None) -> None:
        if item is not None:
            self._recorder.record({}, media=[item])

    def _made(self, kind: str, name: object, make: Callable[[], Made]) -> Made | None:
        """Return what is to be logged, or None with a warning if the machine fails, for lack of files for example.

        Raises:
            TrackhooksError: the value is not accepted, or the machine fails and the run is strict.
        """
        run = self._recorder
        try:
            return make()
        except OSError as error:
            message = f"run {run.name!r}: the {kind} {name!r} is left out: {error}."
            if run.strict:
                raise TrackhooksError(message) from error
            if kind not in self._failed:
                self._failed.add(kind)
                warn(f"{message} The training continues.")
            return None

    def log_image(self, name: str, image: Any) -> None:
        """Log an image. It is saved as PNG in the folder of the run.

        Args:
            name: the name of the image; the same name may be logged at many steps.
            image: the path of an image file, a PIL image, a matplotlib figure, or an array or tensor of shape H×W,
                H×W×C or C×H×W with 1, 3 or 4 channels: integers from 0 to 255 or of 16 bits, or floats from 0 to 1,
                −1 to 1, or 0 to 255. Values of another range are scaled, with a warning, once for each name.

        Raises:
            InvalidValueError: `image` is none of these.
            MissingPackageError: Pillow is needed, and is not installed.
        """
        checked = checks.name("run.log_image(…): name", name)
        report = functools.partial(self._report_once, f"picture {checked!r}")
        png = self._made("picture", checked, lambda: pictures.png(image, report))
        path = self._save_image(checked, png) if self._recorder.is_open() and png is not None else None
        if path is not None:
            kept = str(path.relative_to(self._recorder.path))
            self._recorder.record({}, files=[media.file(path, "image", name=checked, kept=kept)])

    def _save_image(self, name: str, png: bytes) -> Path | None:
        run = self._recorder
        folder = run.path / "files" / "images" / run_folder.as_file_name(name)
        path = folder / f"{run.next_file_number():08d}.png"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png)
        except OSError as error:
            warn(
                f"run {run.name!r}: {path} could not be written: {error.strerror}. The training continues without it."
            )
            return None
        return path

    def log_figure(self, name: str, figure: Any) -> None:
        """Log a matplotlib figure as an image.

        Raises:
            InvalidValueError: `figure` has no method `savefig`.
        """
        if attempt(hasattr, figure, "savefig") is not True:
            raise InvalidValueError(
                f"run.log_figure(…): figure must be a matplotlib figure, got {type(figure).__name__}."
            )
        self.log_image(name, figure)

    def log_file(self, path: str | os.PathLike[str], name: str | None = None) -> None:
        """Log a file or a folder. It is copied into the folder of the run and to the trackers in the background.

        Raises:
            InvalidValueError: the file does not exist.
        """
        more = checks.optional_name("run.log_file(…): name", name)
        file = self._made("file", path, lambda: media.file(path, "file", **more))
        if file is not None:
            self._recorder.record({}, files=[file])

    def log_model(
        self, path: str | os.PathLike[str], aliases: Iterable[str] = (), *, name: str | None = None
    ) -> None:
        """Log a checkpoint that has been saved. Fires `on_model_save`.

        Args:
            path: a file or a folder.
            aliases: names that always refer to the newest checkpoint logged with them, such as `"last"` and `"best"`.
            name: the name of the model in the trackers; by default the name of the file.

        Raises:
            InvalidValueError: the file does not exist, or an alias is not a string.
        """
        callbacks = self._recorder.callbacks
        more = {
            "aliases": _aliases(aliases),
            "metrics": _plain_numbers(callbacks.state.metrics),
            **checks.optional_name("run.log_model(…): name", name),
        }
        file = self._made("model", path, lambda: media.file(path, "model", **more))
        if file is not None:
            callbacks.state.set_file(file.path)
            callbacks.run_callbacks("on_model_save", files=[file])

    def log_export(
        self,
        path: str | os.PathLike[str],
        format: str | None = None,  # noqa: A002 — the name that the frameworks use
        *,
        parent: str | os.PathLike[str] | None = None,
        duration: float | None = None,
        name: str | None = None,
    ) -> None:
        """Log a model that has been exported. Fires `on_export_start` and `on_export_end`.

        Args:
            path: a file or a folder.
            format: `"onnx"`, …; by default the suffix of the path.
            parent: the checkpoint that was exported; by default the last one that was logged.
            duration: the time that the export took, in seconds.
            name: the name of the export in the trackers; by default the name of the file.

        Raises:
            InvalidValueError: the file does not exist.
        """
        call, callbacks = "run.log_export(…): ", self._recorder.callbacks
        source = callbacks.state.file
        if parent is not None:
            source = checks.absolute(f"{call}parent", parent)
        more = {
            "format": None if format is None else checks.text(f"{call}format", format),
            "parent": None if source is None else str(source),
            "duration": None if duration is None else checks.number(f"{call}duration", duration),
            **checks.optional_name(f"{call}name", name),
        }
        file = self._made("export", path, lambda: media.file(path, "export", **more))
        if file is not None:
            callbacks.run_callbacks("on_export_start")
            callbacks.run_callbacks("on_export_end", files=[file])


def _plain_numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    accepted, _ = split_numbers(metrics)
    return {name: value for name, value in accepted.items() if not isinstance(value, Snapshot)}


def _axes(**given: Any) -> dict[str, int]:
    return {
        axis: checks.index(f"run.log(…): {axis}", value) for axis, value in given.items() if value is not None
    }


def _named_by_strings(metrics: Any) -> dict[str, Any]:
    """Return a copy of metrics whose names are strings."""
    if type(metrics) is dict:
        return {name if type(name) is str else key_text(name): value for name, value in metrics.items()}
    if not is_a(metrics, Mapping):
        raise InvalidValueError(
            f"run.log(…): metrics must be a mapping from names to numbers, as in run.log({{'loss': loss}}), got"
            f" {shown(metrics)}."
        )
    return {key_text(name): value for name, value in checked_fields("run.log(…): metrics", metrics)}


def _aliases(aliases: Iterable[str]) -> tuple[str, ...]:
    return tuple(checks.name("each of aliases", alias) for alias in checks.listed("aliases", aliases))
