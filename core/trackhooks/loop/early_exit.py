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

# What drops a generator and cannot raise itself, in Python 3.10 to 3.14: STORE_SUBSCR or POP_JUMP_IF_TRUE could.
_VARIABLES = ("FAST", "NAME", "GLOBAL", "DEREF")
_DROPPING = (
    "POP_TOP", "POP_BLOCK", "POP_EXCEPT", "POP_ITER", "END_FOR", "SWAP", "ROT_", "RETURN_", "COPY", "NOP",
    *(f"STORE_{kind}" for kind in _VARIABLES), *(f"DELETE_{kind}" for kind in _VARIABLES),
)  # fmt: skip
_SUSPENDED = ("YIELD_VALUE", "RESUME", "SEND", "YIELD_FROM", "GEN_START")


def left_by_exception() -> bool:
    """To be called where a generator has caught its `GeneratorExit`."""
    frame = sys._getframe(1).f_back
    # A generator around this one, such as a progress bar, is being closed as well.
    while frame is not None and _instruction(frame).startswith(_SUSPENDED):
        frame = frame.f_back
    return frame is not None and not _instruction(frame).startswith(_DROPPING)


def _instruction(frame: FrameType) -> str:
    return dis.opname[frame.f_code.co_code[frame.f_lasti]] if frame.f_lasti >= 0 else ""
