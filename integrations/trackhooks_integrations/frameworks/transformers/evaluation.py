"""Evaluations and predictions apart from the validation of a training."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from trackhooks.frameworks.interface import RunHooks

from . import names
from .listening import Part


class Evaluation(Part):
    """Record one call of `Trainer.evaluate`.

    Args:
        run: where it is recorded.
        trainer: the Trainer.
        data: the argument `eval_dataset`.
        prefix: the argument `metric_key_prefix`.
    """

    def __init__(self, run: RunHooks, trainer: Any, data: Any, prefix: str) -> None:
        self._run = run
        self._trainer = trainer
        self._prefix = prefix
        self._several = isinstance(trainer.eval_dataset if data is None else data, dict)
        self._batch = -1
        self._ended = False

    @property
    def includes_evaluate(self) -> bool:
        """Whether there are several data sets: `evaluate` calls itself for each."""
        return self._several and not self._ended

    def begin(self) -> None:
        """Start the evaluation."""
        _begin(self._run, self._trainer)
        self._run.fire("on_val_start")

    def on_prediction_step(self, state: Any, control: Any, given: Mapping[str, Any]) -> None:
        """Count the batches."""
        self._batch += 1
        for hook in ("on_val_batch_start", "on_val_batch_end"):
            if self._run.takes(hook):
                self._run.fire_batch(hook, {}, self._batch)

    def on_evaluate(self, state: Any, control: Any, given: Mapping[str, Any]) -> None:
        """End the evaluation of one data set."""
        if not self._several:
            self.end(given["metrics"])

    def end(self, metrics: Mapping[str, Any]) -> None:
        """End the evaluation."""
        if not self._ended:
            self._ended = True
            self._run.fire("on_val_end", None, names.of_evaluation(metrics, "test", self._prefix))


class Prediction(Part):
    """Record one call of `Trainer.predict`.

    Args:
        run: where it is recorded.
        trainer: the Trainer.
        prefix: the argument `metric_key_prefix`.
    """

    def __init__(self, run: RunHooks, trainer: Any, prefix: str) -> None:
        self._run = run
        self._trainer = trainer
        self._prefix = prefix
        self._batch = -1
        self._started = 0.0

    def begin(self) -> None:
        """Start the prediction."""
        _begin(self._run, self._trainer)
        self._started = time.monotonic()
        self._run.fire("on_predict_start")

    def on_prediction_step(self, state: Any, control: Any, given: Mapping[str, Any]) -> None:
        """Count the batches."""
        self._batch += 1
        for hook in ("on_predict_batch_start", "on_predict_batch_end"):
            if self._run.takes(hook):
                self._run.fire_batch(hook, {}, self._batch)

    def end(self, output: Any) -> None:
        """Record how many samples were predicted, how fast, and the metrics if they have labels."""
        samples = self._run.lookups.find("the number of predictions", 0, _count, output)
        self._run.saw(samples)
        seconds = time.monotonic() - self._started
        found: dict[str, Any] = {"predict/samples": float(samples)}
        if samples and seconds:
            found["predict/samples_per_s"] = samples / seconds
            found["predict/ms_per_sample"] = 1000 * seconds / samples
        metrics = names.of_evaluation(getattr(output, "metrics", None) or {}, "test", self._prefix)
        found |= {name: value for name, value in metrics.items() if not name.startswith("speed/")}
        self._run.fire("on_predict_end", None, found)


def _begin(run: RunHooks, trainer: Any) -> None:
    run.describe("a Trainer of transformers")
    run.set_model(trainer.model, {})


def _count(output: Any) -> int:
    predictions = output.predictions
    while isinstance(predictions, (tuple, list)):
        predictions = predictions[0]
    return len(predictions)
