"""The recorded names of what a Trainer logs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_BY_NAME = {"learning_rate": "train_batch/lr", "grad_norm": "gradients/norm"}
"""Names in the logs of a training → recorded names."""
_SPEED = "samples_per_second"
_LEFT_OUT = (
    "runtime", "steps_per_second", "jit_compilation_time", "model_preparation_time",
)  # fmt: skip
"""Ends of names that say how long an evaluation took, in a way that its speed says already."""


def of_logs(logs: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was logged within a training, besides the loss, which is recorded for each batch."""
    return {
        _BY_NAME.get(name, f"train_batch/{name}"): value
        for name, value in logs.items()
        if name not in {"loss", "epoch"} and not isinstance(value, str)
    }


def of_totals(logs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the totals that are logged at the end of a training."""
    names = {
        "train_samples_per_second": "speed/train_samples_per_s",
        "total_flos": "train/total_flos",
    }
    return {names[name]: value for name, value in logs.items() if name in names}


def of_evaluation(metrics: Mapping[str, Any], part: str, prefix: str = "eval") -> dict[str, Any]:
    """Return the metrics of an evaluation.

    Args:
        metrics: by the names that the Trainer gives them: each starts with the prefix.
        part: `"val"` or `"test"`.
        prefix: the `metric_key_prefix` of the evaluation. One that the user chose is a part of the names.
    """
    found: dict[str, Any] = {}
    own = "" if prefix in {"eval", "test"} else f"{prefix}_"
    for name, value in metrics.items():
        short = name.removeprefix(f"{prefix}_")
        if name == "epoch" or short.endswith(_LEFT_OUT) or isinstance(value, str):
            continue
        if short.endswith(_SPEED):
            before = own + short.removesuffix(_SPEED)
            found[f"speed/{part}_{before}samples_per_s"] = value
        else:
            found[f"{part}/{own}{short}"] = value
    return found
