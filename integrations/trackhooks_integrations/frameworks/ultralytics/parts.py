"""Data read from Ultralytics' trainers, validators, predictors and exporters at their hooks, by their recorded names.

Each part has a method for every hook at which its objects provide data. The method gets the current object and returns
a `HookData`. The data come from documented attributes of Ultralytics 8.3 (losses are tensors) and 8.4 (dictionaries).
"""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from trackhooks.errors import InvalidValueError
from trackhooks.event import File
from trackhooks.frameworks import helpers
from trackhooks.frameworks.helpers import Lookups, flat_params, settings, sizes, status_of

from . import curves, data

_MOST_SAMPLES = 16
Found = TypeVar("Found")
Default = TypeVar("Default")
_OUTPUT = frozenset({"project", "name", "exist_ok", "save_dir"})
"""Arguments that say where the results are saved. They differ in every run, and change nothing about it."""
_STAGES = ("preprocess", "inference", "postprocess")


class HookData(msgspec.Struct):
    """Data of one hook, for the callbacks and for the record."""

    metrics: dict[str, Any] = {}
    """Metrics for the callbacks and for the record."""
    epoch: int | None = None
    batch: int | None = None
    more: dict[str, Any] = {}
    """Other data, only for the record: `params`, `defaults`, `facts`, `files`, `media`, `status`,
    `reason`."""
    besides: dict[str, Any] = {}
    """Metrics only for the record."""
    to_objects: bool = True
    """False if Keras callbacks would misinterpret the hook."""
    to_record: bool = True
    """False if there is nothing to record, or not yet."""


class _Part:
    """Reader for one kind of object. A custom trainer may lack or override any attribute that is read."""

    def __init__(self, lookups: Lookups) -> None:
        self._lookups = lookups

    def _of(
        self, source: Any, what: str, default: Default, call: Callable[..., Found], *arguments: Any
    ) -> Found | Default:
        """Return `call(source, …)`, or the default. Reports failures once per class."""
        what = f"the {what} of {type(source).__name__}"
        return self._lookups.find(what, default, call, source, *arguments)

    def _epoch(self, trainer: Any) -> int | None:
        return self._of(trainer, "epoch", None, _epoch)

    def _arguments(self, source: Any) -> dict[str, Any]:
        """Return the arguments of the mode as hyper-parameters, and those that name its output folder as facts."""
        found: dict[str, Any] = {}
        for name, value in self._of(source, "arguments", {}, _arguments).items():
            found |= self._lookups.find(f"the argument {name!r}", {}, flat_params, {name: value})
        params = {name: value for name, value in found.items() if name not in _OUTPUT}
        return {
            "params": params,
            "defaults": self._lookups.find("the default arguments of Ultralytics", [], _at_default, params),
            "facts": {name: value for name, value in found.items() if name in _OUTPUT},
        }


class Training(_Part):
    """Reader for the trainer of a training."""

    def __init__(self, pictures: Pictures, lookups: Lookups) -> None:
        super().__init__(lookups)
        self.trainer: Any = None
        """The trainer during a training, otherwise None."""
        self._pictures = pictures
        self._batch = -1
        self._epoch_metrics: dict[str, float] = {}
        self._best: dict[str, float] = {}
        self._ended = False
        self._around = id(None)
        """The identity of the exception that is handled around the training: it does not end it."""
        self._announced = False
        self.validated = False
        """Whether this epoch has been validated. If not, the trainer still has the metrics of an earlier epoch."""
        self.final = False
        """Whether the best checkpoint is being evaluated, after the last epoch."""

    def on_pretrain_routine_start(self, trainer: Any) -> HookData:
        """Return all arguments."""
        self._announced = True
        return HookData(more=self._arguments(trainer))

    def on_pretrain_routine_end(self, trainer: Any) -> HookData:
        """Return the size and layers of the model, facts about the data, and the optimizer's settings.

        The optimizer is known here even if `optimizer=auto` chose it.
        """
        optimizer = self._of(trainer, "optimizer", None, getattr, "optimizer", None)
        # If the run was attached after the trainer was created, the arguments have not been recorded yet.
        more = {} if self._announced else self._arguments(trainer)
        facts = (
            more.pop("facts", {}) | settings(optimizer, self._lookups) | data.facts(trainer, self._lookups)
        )
        model = self._of(trainer, "model", None, _model)
        if model is None:
            return HookData(more={**more, "facts": facts})
        facts |= sizes(model, self._lookups) | self._of(trainer, "GFLOPs", {}, _gflops, model)
        return HookData(more={**more, "facts": facts, "media": helpers.media(model, self._lookups)})

    def on_train_start(self, trainer: Any) -> HookData:
        """Keep the trainer until the training ends."""
        self.trainer = trainer
        self._around = id(sys.exc_info()[1])
        return HookData()

    def on_train_epoch_start(self, trainer: Any) -> HookData:
        """Reset the state of the epoch. Ultralytics repeats an epoch after NaN or if memory ran out."""
        self.trainer, self._batch = trainer, -1  # it may have been attached in its training
        self._epoch_metrics, self.validated = {}, False
        return HookData(epoch=self._epoch(trainer))

    def on_train_batch_start(self, trainer: Any) -> HookData:
        """Return the index of the batch."""
        self._batch += 1
        return HookData(batch=self._batch)

    def on_train_batch_end(self, trainer: Any) -> HookData:
        """Return the losses of this batch. The progress bar shows their running means instead."""
        return HookData(self._losses(trainer, "loss_items", "train_batch"), batch=self._batch)

    def on_train_epoch_end(self, trainer: Any) -> HookData:
        """Return the mean losses of the epoch and the learning rates."""
        rates = self._of(trainer, "learning rates", {}, learning_rates)
        metrics = self._losses(trainer, "tloss", "train") | rates
        self._epoch_metrics = metrics
        return HookData(dict(metrics), epoch=self._epoch(trainer))

    def _losses(self, trainer: Any, name: str, prefix: str) -> dict[str, float]:
        return self._of(trainer, f"{name} (losses)", {}, labelled, name, prefix, self._lookups)

    def on_model_save(self, trainer: Any) -> HookData:
        """Return `last.pt`, `best.pt` if this epoch is the best so far, and the epoch's checkpoint if one is kept."""
        metrics = self._epoch_metrics | self._validation(trainer)
        files = [self._of(trainer, "last checkpoint", None, checkpoint, "last", metrics)]
        if self._of(trainer, "fitness", False, _is_best):
            files.append(self._of(trainer, "best checkpoint", None, checkpoint, "best", metrics))
        files.append(self._of(trainer, "checkpoint of the epoch", None, _periodic, metrics))
        return HookData(epoch=self._epoch(trainer), more={"files": there(files)})

    def on_fit_epoch_end(self, trainer: Any) -> HookData:
        """Return the epoch's metrics. The evaluation of the best checkpoint also fires this hook, but is skipped."""
        if self.final:
            self.final = False
            return HookData(to_objects=False, to_record=False)
        self._epoch_metrics |= self._validation(trainer)
        files = self._new_pictures(trainer)
        return HookData(dict(self._epoch_metrics), epoch=self._epoch(trainer), more={"files": files})

    def _validation(self, trainer: Any) -> dict[str, float]:
        """Return the metrics of the epoch's validation, by Ultralytics' names, and the sum of its losses."""
        if not self.validated:
            return {}
        metrics = self._of(trainer, "metrics", {}, _metrics, self._lookups)
        losses = {name: value for name, value in metrics.items() if name.startswith("val/")}
        fitness = self._of(trainer, "fitness", {}, _fitness, self._lookups) if metrics else {}
        return metrics | with_sum(losses, "val") | fitness

    def _new_pictures(self, trainer: Any) -> list[File]:
        validator = self._of(trainer, "validator", None, getattr, "validator", None)
        return self._pictures.new(trainer, validator)

    def note_best(self, metrics: Mapping[str, float]) -> None:
        """Keep the metrics of the final evaluation of the best checkpoint, by their recorded names."""
        self._best = dict(metrics)

    def on_train_end(self, trainer: Any) -> HookData:
        """Return the final checkpoints, from which Ultralytics has removed the optimizer, and the plots."""
        self._ended = True
        of_best = self._best or self._epoch_metrics
        last = self._of(trainer, "last checkpoint", None, checkpoint, "last", self._epoch_metrics)
        best = self._of(trainer, "best checkpoint", None, checkpoint, "best", of_best)
        written = self._of(trainer, "files", [], _written)
        files = there([last, best, *written]) + self._new_pictures(trainer)
        return HookData(dict(self._epoch_metrics), besides=self._best, more={"files": files})

    def teardown(self, trainer: Any) -> HookData:
        """Return the status. Ultralytics 8.4 also fires this hook while an exception propagates."""
        error = sys.exc_info()[1]
        status, reason = status_of(None if id(error) == self._around else error)
        if not self._ended and status == "finished":
            status, reason = "failed", "the training was left before its end"
        self.trainer = None
        pictures = self._new_pictures(trainer)
        return HookData(more={"status": status, "reason": reason, "files": pictures})


class Validation(_Part):
    """Reader for validations: during a training, of its best checkpoint at the end, and separate ones."""

    def __init__(self, training: Training, pictures: Pictures, lookups: Lookups) -> None:
        super().__init__(lookups)
        self._training = training
        self._pictures = pictures
        self._batch = -1

    def _prefix(self, validator: Any) -> str:
        """Return the prefix of the recorded metrics."""
        trainer = self._training.trainer
        of_training = self._of(trainer, "validator", None, getattr, "validator", None)
        if validator is not of_training:
            return "test/"
        return "" if self._of(validator, "state", True, _is_training) else "best/"

    def on_val_start(self, validator: Any) -> HookData:
        """Start a validation. Keras callbacks do not get the one after the last epoch: Keras has no such hook."""
        self._batch = -1
        self._training.final = self._prefix(validator) == "best/"
        return HookData(to_objects=not self._training.final)

    def on_val_batch_start(self, validator: Any) -> HookData:
        """Return the index of the batch."""
        self._batch += 1
        return HookData(batch=self._batch, to_objects=not self._training.final)

    def on_val_batch_end(self, validator: Any) -> HookData:
        """Return the index of the batch."""
        return HookData(batch=self._batch, to_objects=not self._training.final)

    def on_val_end(self, validator: Any) -> HookData:
        """Return the metrics and the time per image. In a training, metrics are rounded as the trainer rounds them."""
        prefix = self._prefix(validator)
        digits = 5 if prefix == "" else None
        metrics = self._of(validator, "metrics", {}, _results, self._lookups, digits)
        part, before = ("test", "") if prefix == "test/" else ("val", prefix)
        taken = self._of(validator, "speed", {}, _speed, self._lookups)
        speed = {f"{before}speed/{part}_{stage}_ms": value for stage, value in taken.items()}
        named = {prefix + name: value for name, value in metrics.items()} | speed
        if prefix == "":
            self._training.validated = True
        elif prefix == "best/":
            self._training.note_best(named)
        more: dict[str, Any] = {"files": self._pictures.new(validator)}
        if prefix:  # the curves of every epoch would be too many
            before = "" if prefix == "best/" else prefix
            more["media"] = self._of(validator, "curves", [], curves.tables, before)
        return HookData(named, to_objects=prefix != "best/", more=more)


def _pictures(folder: Path | None) -> dict[Path, int]:
    """Return the pictures in a folder, with the times when they were last changed."""
    try:
        return {path: path.stat().st_mtime_ns for path in folder.glob("*.jpg")} if folder else {}
    except OSError:  # the files are being removed, or the folder cannot be opened
        return {}


class Prediction(_Part):
    """Reader for predictions, tracking and embeddings."""

    def __init__(self, lookups: Lookups) -> None:
        super().__init__(lookups)
        self.running = False
        self._batch = -1
        self._started = 0.0
        self._images = 0
        self._results: Iterable[Any] = ()
        self._milliseconds: dict[str, float] = {}
        self._saved_in: Path | None = None
        self._earlier: dict[Path, int] = {}
        """The pictures that were there before, and when they were last changed."""

    def on_predict_start(self, predictor: Any) -> HookData:
        """Reset the counters and start the clock."""
        self.running, self._batch, self._images, self._milliseconds = True, -1, 0, {}
        self._started = time.monotonic()
        self._saved_in = self._of(predictor, "folder", None, _folder_if_saved)
        self._earlier = _pictures(self._saved_in)
        return HookData()

    def on_predict_batch_start(self, predictor: Any) -> HookData:
        """Count the images of the batch. The first item of `predictor.batch` is the list of their paths."""
        self._batch += 1
        self._images += self._of(predictor, "batch", 0, _image_count)
        return HookData(batch=self._batch)

    def on_predict_postprocess_end(self, predictor: Any) -> HookData:
        """Keep the results. Their times are set later, when a callback may already have replaced the results."""
        results = self._of(predictor, "results", (), getattr, "results")
        self._results = results if isinstance(results, list) else ()
        return HookData(batch=self._batch)

    def on_predict_batch_end(self, predictor: Any) -> HookData:
        """Add the times of the batch."""
        for result in self._results:
            for stage, value in self._of(result, "speed", {}, _speed, self._lookups).items():
                self._milliseconds[stage] = self._milliseconds.get(stage, 0.0) + value
        self._results = ()
        return HookData(batch=self._batch)

    def on_predict_end(self, predictor: Any) -> HookData:
        """Return the number of images and the time per image."""
        return self.end()

    def end(self) -> HookData:
        """Return the data of the prediction so far. A stream may be closed before its end."""
        self.running, self._results = False, ()
        return HookData(self._counted(), more={"files": self._samples()})

    def _samples(self) -> list[File]:
        """Return the first images that Ultralytics drew, if the user saves them (`save=True`)."""
        found = _pictures(self._saved_in)
        drawn = [path for path, changed in found.items() if self._earlier.get(path) != changed]
        first = sorted(drawn, key=lambda path: (found[path], path.name))[:_MOST_SAMPLES]
        return there(file_if_there(path, "image", name="predict/images") for path in first)

    def _counted(self) -> dict[str, float]:
        seconds = time.monotonic() - self._started
        found = {"predict/samples": float(self._images)}
        if self._images and seconds > 0:
            found["predict/samples_per_s"] = self._images / seconds
            found["predict/ms_per_sample"] = 1000 * seconds / self._images
        return found | {
            f"predict/{stage}_ms": self._milliseconds[stage] / self._images
            for stage in _STAGES
            if stage in self._milliseconds
        }


class Export(_Part):
    """Reader for exports. The path is known only when the call returns."""

    def __init__(self, lookups: Lookups) -> None:
        super().__init__(lookups)
        self.running = False
        """Whether an export has started and its result is not known yet."""
        self._exporter: Any = None
        self._seconds: float | None = None
        self._started = 0.0

    def on_export_start(self, exporter: Any) -> HookData:
        """Keep the exporter and start the clock."""
        self.running, self._exporter, self._started = True, exporter, time.monotonic()
        return HookData()

    def on_export_end(self, exporter: Any) -> HookData:
        """Keep the duration. The export is recorded when its path is known."""
        self._seconds = time.monotonic() - self._started
        return HookData(to_record=False)

    def file(self, path: Any) -> list[File]:
        """Return the exported file or folder, with the checkpoint that it was made from."""
        exporter, self._exporter = self._exporter, None
        if not isinstance(path, (str, Path)) or not str(path):
            return []
        parent = self._of(exporter, "file", None, _source)
        fmt = self._of(exporter, "format", "", _format)
        return there([file_if_there(path, "export", format=fmt, parent=parent, duration=self._seconds)])


class Pictures(_Part):
    """Reader for plots drawn since the last call. Ultralytics draws some of them in threads, so they may be late."""

    def __init__(self, lookups: Lookups) -> None:
        super().__init__(lookups)
        self._plots: list[dict[Path, dict[str, Any]]] = []
        self._seen: dict[Path, float] = {}

    def new(self, *sources: Any) -> list[File]:
        """Return the new plots of these trainers or validators, as images named `plots/<name>`."""
        found = [self._of(source, "plots", None, getattr, "plots", None) for source in sources]
        self._plots = [plots for plots in found if plots is not None]
        return self.late()

    def late(self) -> list[File]:
        """Return the plots that were finished since the last call."""
        return self._lookups.find("the plots", [], self._late)

    def _late(self) -> list[File]:
        sources, self._plots = self._plots, []  # sources that fail are not read again
        found = [item for plots in sources for item in list(plots.items())]
        new = [path for path, plot in found if self._seen.get(path) != plot["timestamp"]]
        self._seen |= {path: plot["timestamp"] for path, plot in found}
        self._plots = sources
        return there(file_if_there(path, "image", name=f"plots/{path.stem}") for path in new)


# Shared by several readers


def unwrapped(model: Any) -> Any:
    """Return the model without the wrappers of torch's DDP and compiler."""
    inner = _INNER.get(type(model).__name__)
    while inner is not None:
        model = getattr(model, inner)
        inner = _INNER.get(type(model).__name__)
    return model


_INNER = {"OptimizedModule": "_orig_mod", "DistributedDataParallel": "module"}
"""torch's wrapper classes → the attribute that holds the model."""


def labelled(trainer: Any, name: str, prefix: str, lookups: Lookups) -> dict[str, float]:
    """Return the losses in this attribute, by Ultralytics' names, and their sum as `<prefix>/loss`."""
    losses = getattr(trainer, name)
    if losses is None:
        return {}
    found = trainer.label_loss_items(losses, prefix=prefix)
    return with_sum(floats(found, lookups), prefix) if isinstance(found, Mapping) else {}


def with_sum(losses: dict[str, float], prefix: str) -> dict[str, float]:
    """Add the sum of the losses, unless a loss already has that name: a classification has a single loss."""
    return {f"{prefix}/loss": sum(losses.values()), **losses} if losses else {}


def learning_rates(trainer: Any) -> dict[str, float]:
    """Return the learning rates. Ultralytics' `lr/pg0` is recorded as `lr/0`."""
    return {name.replace("lr/pg", "lr/"): float(rate) for name, rate in trainer.lr.items()}


def floats(numbers: Mapping[str, Any], lookups: Lookups, digits: int | None = None) -> dict[str, float]:
    """Convert the numbers to Python floats. None values are left out."""
    found = {
        name: lookups.find(f"the metric {name!r}", None, _rounded, value, digits)
        for name, value in numbers.items()
    }
    return {name: value for name, value in found.items() if value is not None}


def _rounded(value: Any, digits: int | None) -> float | None:
    if value is None:
        return None
    return float(value) if digits is None else round(float(value), digits)


def checkpoint(trainer: Any, alias: str, metrics: Mapping[str, float]) -> File | None:
    """Return the checkpoint `last` or `best` in its current state."""
    return file_if_there(getattr(trainer, alias), "model", aliases=(alias,), metrics=dict(metrics))


def _periodic(trainer: Any, metrics: Mapping[str, float]) -> File | None:
    """Return the checkpoint of this epoch, if Ultralytics keeps one (`save_period`)."""
    if trainer.save_period <= 0 or trainer.epoch % trainer.save_period:
        return None
    path = trainer.wdir / f"epoch{trainer.epoch}.pt"
    return file_if_there(path, "model", aliases=(), metrics=dict(metrics))


def file_if_there(path: Any, kind: str, **more: Any) -> File | None:
    """Return a file, or None if it does not exist. A missing file must not stop a training."""
    try:
        return helpers.file(path, kind, **more)
    except (InvalidValueError, OSError):  # the file cannot be read at the moment
        return None


def there(files: Iterable[File | None]) -> list[File]:
    """Return the files that exist."""
    return [file for file in files if file is not None]


# Each of these functions reads one value, and may raise any exception that the user's class raises


def _arguments(source: Any) -> dict[str, Any]:
    return dict(source.args if isinstance(source.args, Mapping) else vars(source.args))


def _at_default(arguments: Mapping[str, Any]) -> list[str]:
    """Return the names of the arguments that the user left at their default. The learning rate is always shown."""
    known: Mapping[str, Any] = sys.modules["ultralytics.cfg"].DEFAULT_CFG_DICT
    given = known.keys() & arguments.keys() - {"lr0"}
    return sorted(name for name in given if arguments[name] == flat_params({name: known[name]})[name])


def _epoch(trainer: Any) -> int:
    return int(trainer.epoch)


def _model(trainer: Any) -> Any:
    return unwrapped(trainer.model)


def _gflops(trainer: Any, model: Any) -> dict[str, float]:
    """Return the GFLOPs of one image, which Ultralytics counts by running the model: here a copy of it."""
    import torch
    from ultralytics.utils.torch_utils import get_flops

    with torch.random.fork_rng():
        found = get_flops(copy.deepcopy(model), trainer.args.imgsz)
    return {"model/gflops": round(float(found), 3)} if found else {}


def _written(trainer: Any) -> list[File | None]:
    """Return the arguments and the results of the training, as Ultralytics has written them."""
    return [file_if_there(Path(trainer.save_dir) / name, "file") for name in ("args.yaml", "results.csv")]


def _is_best(trainer: Any) -> bool:
    return bool(trainer.best_fitness == trainer.fitness)


def _fitness(trainer: Any, lookups: Lookups) -> dict[str, float]:
    return floats({"fitness": trainer.fitness}, lookups)


def _metrics(trainer: Any, lookups: Lookups) -> dict[str, float]:
    return floats(trainer.metrics, lookups) if isinstance(trainer.metrics, Mapping) else {}


def _is_training(validator: Any) -> bool:
    return bool(validator.training)


def _results(validator: Any, lookups: Lookups, digits: int | None) -> dict[str, float]:
    return floats(getattr(validator.metrics, "results_dict", {}), lookups, digits)


def _speed(source: Any, lookups: Lookups) -> dict[str, float]:
    return floats(getattr(source, "speed", None) or {}, lookups)


def _folder_if_saved(predictor: Any) -> Path | None:
    return Path(predictor.save_dir) if predictor.args.save else None


def _image_count(predictor: Any) -> int:
    return len(predictor.batch[0])


def _source(exporter: Any) -> str | None:
    source = Path(exporter.file).absolute()
    return str(source) if source.is_file() else None


def _format(exporter: Any) -> str:
    return str(exporter.args.format)
