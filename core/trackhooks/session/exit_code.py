"""Find out whether `sys.exit` ended the program, and with which code.

When the exit handlers run, Python has forgotten the `SystemExit` that ended the program. So each call of `sys.exit`,
`exit` and `quit` is noted. Whether it ended the program or was caught can be seen in the outermost frame of the
program: after an exception, its last instruction is not a `return`. A `raise SystemExit(3)` is not seen.
"""

from __future__ import annotations

import _sitebuiltins
import functools
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from ..loop.early_exit import instruction


class ExitCode:
    """Notes the calls from now on."""

    def __init__(self) -> None:
        self._program = _outermost_frame()
        self._noted: SystemExit | None = None
        sys.exit = self._noting(sys.exit)
        _sitebuiltins.Quitter.__call__ = self._noting(_sitebuiltins.Quitter.__call__)  # type: ignore[method-assign]

    def _noting(self, call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def noting(*args: Any, **kwargs: Any) -> Any:
            try:
                return call(*args, **kwargs)
            except SystemExit as error:
                if threading.current_thread() is threading.main_thread():
                    self._noted = SystemExit(error.code)  # the other keeps frames alive, and may be caught
                raise

        return noting

    @property
    def error(self) -> SystemExit | None:
        """The exit that ended the program, as far as is known; for the exit handlers of the process."""
        returned = self._program is None or instruction(self._program).startswith("RETURN_")
        return None if returned else self._noted


def _outermost_frame() -> FrameType | None:
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None and frame.f_back is not None:
        frame = frame.f_back
    return frame
