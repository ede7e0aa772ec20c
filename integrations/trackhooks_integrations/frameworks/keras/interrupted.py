"""Find the events that Keras did not finish, because a callback raised.

Keras calls its callbacks in their order. If one raises, those after it are not called. What they would have been called
with is still in the frames of Keras' `CallbackList`.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any, NamedTuple

from trackhooks.frameworks.helpers import attempt


class Event(NamedTuple):
    """An event of Keras: its frame, the name of the method, and its arguments."""

    frame: FrameType
    method: str
    arguments: Sequence[Any]


def interrupted(error: BaseException, lists: type, callback: Any) -> Iterator[Event]:
    """Yield the events that a callback missed because one before it raised, the innermost first.

    Args:
        error: what was raised.
        lists: the class of Keras' lists of callbacks.
        callback: the callback.
    """
    for frame in reversed([frame for frame, _ in traceback.walk_tb(error.__traceback__)]):
        found = frame.f_locals.get("self")
        if isinstance(found, lists) and _comes_later(callback, found, frame.f_locals.get("callback")):
            attempt(getattr(found, "_flush_futures", list))  # earlier batches may still end on other threads
            yield _event(frame)


def _comes_later(callback: Any, found: Any, raising: Any) -> bool:
    order = [id(listed) for listed in found.callbacks]
    return {id(callback), id(raising)} <= set(order) and order.index(id(raising)) < order.index(id(callback))


def _event(frame: FrameType) -> Event:
    code = frame.f_code
    names = code.co_varnames[1 : code.co_argcount]
    return Event(frame, code.co_name.lstrip("_"), [frame.f_locals[name] for name in names])
