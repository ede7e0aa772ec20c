"""Recording of each mode: what is done around the call that trains, evaluates, predicts or exports."""

from __future__ import annotations

import contextvars
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from trackhooks.frameworks.helpers import flag
from trackhooks.frameworks.interface import Kind, RunHooks

from .engine import EXPORTER, MODEL, PREDICTOR, TRAINER, VALIDATOR, Target
from .loop import UltralyticsLoop

Call = functools.partial[Any]
"""The call of a method, with its object as the first argument."""
_benchmarking: contextvars.ContextVar[bool] = contextvars.ContextVar("benchmarking", default=False)


def _train(loop: UltralyticsLoop, call: Call) -> Any:
    """Record a training. With several datasets, each one gets a separate run."""
    with loop.training(apart=isinstance(call.keywords.get("data"), (list, tuple))):
        return call()


def _train_directly(loop: UltralyticsLoop, call: Call) -> Any:
    """Record a training without a model. Its trainer fired the first hook when it was made.

    One that launches processes does not fire hooks itself.
    """
    with loop.training(apart=False):
        if not flag(call.args[0], "ddp"):
            loop.announce(call.args[0])
        return call()


def _validate(loop: UltralyticsLoop, call: Call) -> Any:
    return call()


def _predict(loop: UltralyticsLoop, call: Call) -> Any:
    try:
        results = call()
    except BaseException:
        loop.record_left_prediction()
        raise
    if inspect.isgenerator(results):
        return _stream(loop, loop.run, call.args[0], results)
    return results


def _stream(loop: UltralyticsLoop, run: RunHooks, source: Any, results: Any) -> Iterator[Any]:
    """Yield the results. The user's code between two results is not part of the prediction."""
    try:
        while True:
            with loop.recording(run, source.callbacks):
                result = next(results, _END)
            if result is _END:
                return
            yield result
    finally:
        with loop.recording(run, source.callbacks):
            results.close()
            loop.record_left_prediction()


_END = object()


def _export(loop: UltralyticsLoop, call: Call) -> Any:
    try:
        path = call()
    except BaseException as error:
        loop.record_failed_export(_format(call), error)
        raise
    loop.record_export(path)
    return path


def _format(call: Call) -> str:
    exporter = call.args[0]
    return str(
        exporter.args.format if EXPORTER.made(exporter) else call.keywords.get("format", "torchscript")
    )


def _benchmark(loop: UltralyticsLoop, call: Call) -> Any:
    token = _benchmarking.set(True)
    try:
        table = call()
    finally:
        _benchmarking.reset(token)
    loop.record_table("benchmark", table)
    return table


class Mode(NamedTuple):
    """A method that runs a mode."""

    target: Target
    method: str
    kind: Kind
    """Those that are `other` are part of the training around them; the metrics of an evaluation have separate names."""
    record: Callable[[UltralyticsLoop, Call], Any]

    @property
    def in_benchmark(self) -> bool:
        """Whether it is called by a benchmark, which records only its table and its exports."""
        return _benchmarking.get() and self.record is not _export


MODES = (
    Mode(MODEL, "train", "train", _train),
    Mode(MODEL, "val", "other", _validate),
    Mode(MODEL, "predict", "predict", _predict),  # `track`, `embed` and calling the model use it
    Mode(MODEL, "export", "other", _export),
    Mode(MODEL, "benchmark", "other", _benchmark),
    Mode(TRAINER, "train", "train", _train_directly),
    Mode(VALIDATOR, "__call__", "other", _validate),
    Mode(PREDICTOR, "stream_inference", "predict", _predict),  # all of its ways to predict use it
    Mode(EXPORTER, "__call__", "other", _export),
)
