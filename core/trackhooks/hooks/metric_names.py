"""The names of metrics, which are the same in every framework, and their translation from and to Keras' words.

| recorded | Keras' word | what it is |
|---|---|---|
| `train_batch/x` | `x` in the logs of a batch | a training batch |
| `train/x` | `x` in the logs of an epoch | the training part of an epoch |
| `val/x` | `val_x` in the logs of an epoch, `x` in those of a validation | the validation of an epoch |
| `test/x` | `x` in the logs of an evaluation | a separate evaluation |
| `lr/0` | `learning_rate`, `lr` | the learning rate of the first parameter group |

Names that start with another known prefix are the same in both.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ..errors.foreign import key_text
from ..errors.secrets import redact_text

PREFIXES = (
    "train/", "val/", "test/", "train_batch/", "val_batch/", "predict/", "lr/", "system/", "metrics/", "best/",
    "model/", "speed/", "gradients/", "weights/",
)  # fmt: skip

_LEARNING_RATE = {"lr": "lr/0", "learning_rate": "lr/0"}


class Prefixed(dict[Any, str]):
    """A cache from names to names with a prefix: `Prefixed("train_batch/")["loss"]` is `"train_batch/loss"`."""

    _MOST = 10_000  # names that are new at every step must not fill the memory

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self.prefix = prefix

    def __missing__(self, name: Any) -> str:
        if len(self) >= self._MOST:
            self.clear()
        found = prefixed(self.prefix, name)
        self[name] = found
        return found


class CleanNames(Prefixed):
    """The same, without the secrets that a name may contain: for names that are recorded without another look."""

    def __missing__(self, name: Any) -> str:
        found = self[name] = redact_text(super().__missing__(name))
        return found


def prefixed(prefix: str, name: Any) -> str:
    """Return the name with the prefix, unless it has a known prefix already or is a learning rate."""
    text = key_text(name)
    if text in _LEARNING_RATE:
        return _LEARNING_RATE[text]
    return text if text.startswith(PREFIXES) else prefix + text


def from_keras(
    hook: str, logs: Mapping[str, Any], validated: Collection[str], training: bool
) -> dict[str, Any]:
    """Return the logs of a hook by the names under which they are recorded.

    Args:
        hook: Its canonical name. Only the ends of batches, epochs and modes record metrics.
        logs: In Keras' words.
        validated: The names of the metrics that the validation of this epoch returned.
        training: Whether a training is running, so that a validation belongs to it.
    """
    names = _PREFIXES.get(hook)
    if names is None:
        return from_keras_epoch(logs, validated) if hook in _EPOCH_LOGS else {}
    if hook == "on_val_end" and not training:
        names = _TEST
    return {names[name]: value for name, value in logs.items()}


def from_keras_epoch(logs: Mapping[str, Any], validated: Collection[str]) -> dict[str, Any]:
    """Return the logs of an epoch by the names under which they are recorded.

    `val_x` is a metric of the validation only if the validation returned `x`: a metric may be called `val_gap`.
    """
    return {_from_keras_epoch(name, validated): value for name, value in logs.items()}


def _from_keras_epoch(name: str, validated: Collection[str]) -> str:
    name = key_text(name)
    if name.startswith("val_") and name[4:] in validated:
        return prefixed("val/", name[4:])
    return prefixed("train/", name)


BATCH, _TEST = CleanNames("train_batch/"), Prefixed("test/")
_EPOCH_LOGS = frozenset({"on_fit_epoch_end", "on_train_end"})
_PREFIXES = {
    "on_train_batch_end": BATCH,
    "on_val_batch_end": Prefixed("val_batch/"),
    "on_val_end": Prefixed("val/"),
    "on_predict_end": Prefixed("predict/"),
}


def to_keras(hook: str, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return recorded metrics in Keras' words, as the logs of this hook."""
    own = _OWN_PREFIXES.get(hook, ("train/",))
    return {_to_keras(name, own): value for name, value in metrics.items()}


_OWN_PREFIXES: dict[str, tuple[str, ...]] = {
    "on_train_batch_end": ("train_batch/", "train/"),
    "on_val_batch_end": ("val_batch/", "val/", "test/"),
    "on_val_end": ("val/", "test/"),
    "on_predict_batch_end": ("predict/",),
    "on_predict_end": ("predict/",),
}


def _to_keras(name: str, own: Iterable[str]) -> str:
    for prefix in own:
        if name.startswith(prefix):
            return name[len(prefix) :]
    return f"val_{name[4:]}" if name.startswith("val/") else name
