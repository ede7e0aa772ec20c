"""How a `for` loop left a generator: by `break`, `return` or its end, or by an exception.

Python closes the generator in all of these cases, with the same `GeneratorExit`. The difference shows in the frame
that drops it: after a `break` it stands at an instruction that drops the iterator, after an exception still at the
one that raised.

So it can only be told of a generator that nothing but the loop holds. One that a variable holds as well is dropped
when the variable is, whatever happened before: after an exception this looks like a choice, and at the end of a
function like an exception, and so does an explicit `close()`. What a callback raises while a generator is dropped,
Python prints and ignores.
"""

from __future__ import annotations

import dis
import sys
from types import FrameType

_DROPPING = ("POP_", "END_FOR", "SWAP", "ROT_", "STORE_", "DELETE_", "RETURN_", "COPY", "NOP")
_SUSPENDED = ("YIELD_VALUE", "RESUME", "SEND", "YIELD_FROM", "GEN_START")


def left_by_exception() -> bool:
    """To be called where a generator has caught its `GeneratorExit`."""
    frame = sys._getframe(1).f_back
    while frame is not None and _instruction(frame).startswith(_SUSPENDED):
        frame = (
            frame.f_back
        )  # of a generator around this one, such as a progress bar: it is being closed, too
    return frame is not None and not _instruction(frame).startswith(_DROPPING)


def _instruction(frame: FrameType) -> str:
    return dis.opname[frame.f_code.co_code[frame.f_lasti]] if frame.f_lasti >= 0 else ""
