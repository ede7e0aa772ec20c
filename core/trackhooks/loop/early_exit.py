"""Find out how a `for` loop left a generator: by `break` or `return`, or by an exception.

Python closes the generator in all of these cases, with the same `GeneratorExit`. The frame of the loop shows the
difference: after a `break`, its current instruction is one that drops the iterator; after an exception, it is still
the one that raised.

This works only if the loop holds the only reference to the generator. If a variable refers to it too, the generator is
closed when the variable goes away. An exception then looks like a `break`, and the end of a function looks like an
exception, as does an explicit `close()`. Exceptions that a callback raises while a generator is closed are printed by
Python and ignored.
"""

from __future__ import annotations

import dis
import sys
from types import FrameType

# Instructions of Python 3.10 to 3.14 that can drop a generator and cannot raise, unlike STORE_SUBSCR.
_VARIABLES = ("FAST", "NAME", "GLOBAL", "DEREF")
_DROPPING = (
    "POP_TOP", "POP_BLOCK", "POP_EXCEPT", "POP_ITER", "END_FOR", "SWAP", "ROT_", "RETURN_", "COPY", "NOP",
    *(f"STORE_{kind}" for kind in _VARIABLES), *(f"DELETE_{kind}" for kind in _VARIABLES),
)  # fmt: skip
_SUSPENDED = ("YIELD_VALUE", "RESUME", "SEND", "YIELD_FROM", "GEN_START")


def left_by_exception() -> bool:
    """Whether an exception left the loop. Call it in a generator that has caught its `GeneratorExit`."""
    frame = sys._getframe(1).f_back
    # A generator around this one, such as a progress bar, is being closed too.
    while frame is not None and instruction(frame).startswith(_SUSPENDED):
        frame = frame.f_back
    return frame is not None and not instruction(frame).startswith(_DROPPING)


def instruction(frame: FrameType) -> str:
    """Return the name of the instruction at which a frame is, or has ended; empty before the first."""
    return dis.opname[frame.f_code.co_code[frame.f_lasti]] if frame.f_lasti >= 0 else ""
