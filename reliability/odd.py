"""Odd values in every call of a training: it continues, and nothing else is lost."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, suppress
from typing import Any, NamedTuple

from odd_values import ODD

import trackhooks
from trackhooks import Run, TrackhooksError

from .result import Found, Result, tried
from .runs import audit, final_status, place

CALLS: dict[str, Callable[[Run, Any], Any]] = {
    "a metric": lambda run, value: run.log(odd=value),
    "all metrics": lambda run, value: run.log(value),
    "a step": lambda run, value: run.log({"odd": 1.0}, step=value),
    "a weight": lambda run, value: run.log({"odd": 1.0}, weight=value),
    "a parameter": lambda run, value: run.log_params(odd=value),
    "all parameters": lambda run, value: run.log_params(value),
    "a text": lambda run, value: run.log_text("odd", value),
    "a table": lambda run, value: run.log_table("odd", value),
    "a cell": lambda run, value: run.log_table("odd", [[value]], ["odd"]),
    "a histogram": lambda run, value: run.log_histogram("odd", value),
    "an image": lambda run, value: run.log_image("odd", value),
    "a file": lambda run, value: run.log_file(value),
    "a checkpoint": lambda run, value: run.log_model(value),
    "a name": lambda run, value: run.log_text(value, "odd"),
    "a hook": lambda run, value: run.add_callback(value, print),
    "the metrics of a hook": lambda run, value: run.run_callbacks("on_val_end", None, value),
}
_BATCHES = 3


class Odd(NamedTuple):
    """What is given to which call."""

    call: str
    value: str


def odd(short: bool, scale: float, seed: int) -> Iterator[Result]:
    """Yield a result for a custom loop: each call with each value."""
    each = [Odd(call, value) for call in CALLS for value in ODD]
    note = f"{len(CALLS)} calls with {len(ODD)} kinds of values"
    kind = "wrong names, values and types, in the middle of a training"
    with redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = tried("Bad input", kind, _given, each[:: 37 if short else 1], note)
    yield result


def _given(odd: Odd) -> Found:
    with place() as folder:
        run = trackhooks.run(dir=folder, name="r", delivery="off", system=None)
        for _ in run.epochs(1):
            for batch in run.train(range(_BATCHES)):
                if batch == 1:
                    with suppress(
                        TrackhooksError
                    ):  # which names the value; the training goes on if it is caught
                        CALLS[odd.call](run, ODD[odd.value]())
                run.log(loss=(batch + 1) / 8)
        run.close()
        found = audit(run.path, {}, _BATCHES, "finished")
        found.wrong += final_status(run.path) != "finished"
        found.why = f"{odd.call}, {odd.value}: {found.why}"
        return found
