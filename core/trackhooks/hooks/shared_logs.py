"""`SharedLogs`: the logs that the Keras objects of one event get, converted as Keras converts them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..errors.foreign import Failure, attempt, is_a, key_text
from .callback import Logs
from .metric_names import to_keras


class SharedLogs:
    """One dict for all objects that hear an event, made when the first of them is called.

    Keras converts logs for every event: numbers and tensors of one element to floats, other tensors to arrays, nested
    dicts to their items, in the order of their names. Nothing is converted if no object listens, because reading a
    tensor waits for its device.

    Args:
        hook: The canonical name of the event.
        metrics: By the names under which they are recorded.
        logs: The same in Keras' words, if the loop has them.
    """

    def __init__(self, hook: str, metrics: dict[str, Any], logs: Logs | None) -> None:
        self.metrics = metrics
        self._hook = hook
        self._logs = logs
        self._given: dict[str, Any] | None = None
        self._before: dict[str, Any] = {}

    def get(self) -> dict[str, Any]:
        """Return the dict, in which every object sees what the earlier ones wrote."""
        if self._given is None:
            logs = to_keras(self._hook, self.metrics) if self._logs is None else self._logs
            self._given = converted(logs)
            self._before = dict(self._given)
        return self._given

    def changes(self) -> tuple[set[str], dict[str, Any]]:
        """Return the names that objects have removed, and the items that they wrote, since the last call.

        The loop's own logs are changed in the same way.
        """
        given, before = self._given or {}, self._before
        removed = before.keys() - given.keys()
        written = {
            name: value for name, value in given.items() if name not in before or before[name] is not value
        }
        self._before = dict(given)
        if self._logs is not None:
            for name in removed:
                self._logs.pop(name, None)
            self._logs.update(written)
        return removed, written


def converted(logs: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return logs as Keras converts them."""
    return dict(_converted(logs))


def _converted(logs: Mapping[Any, Any]) -> Iterator[tuple[Any, Any]]:
    for name, value in sorted(logs.items(), key=lambda item: key_text(item[0])):
        if type(value) is float:
            yield name, value
        elif is_a(value, Mapping):
            yield from _converted(value)
        else:
            yield name, _plain(value)


def _plain(value: Any) -> Any:
    """Return a number as a float, and a tensor as an array; anything else as it is."""
    detached = attempt(value.detach) if attempt(hasattr, value, "detach") is True else value
    if isinstance(detached, Failure):
        return value
    number = attempt(_number, detached)
    if not isinstance(number, Failure):
        return number
    array = attempt(_array, detached)
    return detached if isinstance(array, Failure) else array


def _number(value: Any) -> float:
    is_array_of_one = getattr(value, "size", None) == 1
    return float(value.item() if is_array_of_one else value)


def _array(tensor: Any) -> Any:
    on_host = tensor.cpu() if hasattr(tensor, "cpu") else tensor
    return on_host.__array__()
