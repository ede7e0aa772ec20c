"""`trackhooks exec`: run a program with `enable` switched on."""

from __future__ import annotations

import runpy
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import InvalidValueError
from ..session.enable import enable

_INTERRUPTED = 128 + signal.SIGINT


def execute(command: Sequence[str], *trackers: str, module: bool = False, **options: Any) -> None:
    """Run a program as `python` would: as `__main__`, with its arguments and its import path.

    Args:
        command: the path of a script or the name of a module, followed by its arguments.
        *trackers: the trackers, as in `enable`.
        module: whether the command names a module, as in `python -m`.
        **options: the options, as in `enable`.

    Raises:
        InvalidValueError: if the script does not exist.
        SystemExit: if the program exits, or with code 1 (130 after Ctrl-C) if it raises another exception, which is
            printed first.
    """
    if not command or not (module or Path(command[0]).exists()):
        raise InvalidValueError(f"no such script: {command[0] if command else ''!r}. Use -m to run a module.")
    enable(*trackers, **options)
    program, *_ = sys.argv[:] = list(command)
    with _ExceptionsAsInInterpreter():
        if module:
            sys.path[0] = str(Path.cwd())
            runpy.run_module(program, run_name="__main__", alter_sys=True)
        else:
            sys.path[0] = str(Path(program).absolute().parent)
            runpy.run_path(program, run_name="__main__")


class _ExceptionsAsInInterpreter:
    """Print an exception as the interpreter does, and set `sys.last_value`, which decides the status of open runs."""

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, SystemExit):
            return
        error = error.with_traceback(_without_runpy(trace))
        sys.last_type, sys.last_value, sys.last_traceback = type(error), error, error.__traceback__
        sys.excepthook(type(error), error, error.__traceback__)
        sys.exit(_INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1)


def _without_runpy(trace: TracebackType | None) -> TracebackType | None:
    """Return only the frames of the program, or all frames if the program has none."""
    names, found = {__name__, runpy.__name__, "importlib._bootstrap"}, trace
    while found is not None and found.tb_frame.f_globals.get("__name__") in names:
        found = found.tb_next
    return found or trace
