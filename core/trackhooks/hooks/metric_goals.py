"""Which metrics have a best value, and whether lower or higher is better."""

from __future__ import annotations

import re

_LOWER_ENDINGS = (
    "loss", "error", "errors", "mse", "mae", "mape", "msle", "perplexity", "crossentropy", "divergence", "hinge",
)  # fmt: skip
# Too short or too common to be looked for at the end of longer words: `power` and `cancer` are no error rates.
_LOWER_WORDS = frozenset({"wer", "cer", "fid", "nll", "ppl", "err", "poisson", "huber", "logcosh", "false"})


def lower_is_better(name: str) -> bool:
    """Whether less is better, as far as a name tells: losses and errors."""
    words = re.split(r"[^a-z]+", name.lower())
    return any(word.endswith(_LOWER_ENDINGS) or word in _LOWER_WORDS for word in words)


def better(name: str, new: float, old: float) -> bool:
    """Whether `new` is a better value of this metric than `old`; NaN is never better."""
    if new != new:
        return False
    return old != old or (new < old if lower_is_better(name) else new > old)
