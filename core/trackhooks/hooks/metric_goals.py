"""Which metrics have a best value, and whether it is the lowest or the highest."""

from __future__ import annotations

import re
from typing import Literal

Goal = Literal["min", "max", ""]

OF_TRAIN_BATCHES = ("train_batch/", "batch/")
"""Prefixes of the metrics of training batches; the second is that of old journals."""
_WITHOUT_BEST = (
    *OF_TRAIN_BATCHES, "val_batch/", "predict/", "lr/", "speed/", "system/", "model/", "gradients/", "weights/",
    "best/",
)  # fmt: skip
"""Prefixes of metrics that are not meant to be high or low, and of those that describe a single batch."""
_LOWER_ENDINGS = (
    "loss", "error", "errors", "mse", "mae", "mape", "msle", "perplexity", "crossentropy", "divergence", "hinge",
)  # fmt: skip
# These only count as whole words, because longer words end with them too: `power` and `cancer` are not error rates.
_LOWER_WORDS = frozenset({
    "wer", "cer", "fid", "nll", "ppl", "err", "poisson", "huber", "logcosh", "false", "minimize", "rank",
})  # fmt: skip


def goal(name: str) -> Goal:
    """Return `"min"` or `"max"`, the better end of a metric by its name; empty if the metric has no best value."""
    if name.startswith(_WITHOUT_BEST):
        return ""
    return "min" if lower_is_better(name) else "max"


def lower_is_better(name: str) -> bool:
    """Return whether the words of a name describe a loss or an error."""
    words = re.split(r"[^a-z]+", name.lower())
    if "neg" in words:  # as scikit-learn has it: `neg_mean_squared_error`
        return False
    return any(word.endswith(_LOWER_ENDINGS) or word in _LOWER_WORDS for word in words)


def better(name: str, new: float, old: float) -> bool:
    """Return whether `new` is a better value of this metric than `old`.

    NaN is never better, and every number is better than NaN. A metric without a best value has no better one.
    """
    direction = goal(name)
    if new != new or not direction:
        return False
    return old != old or (new < old if direction == "min" else new > old)
