"""`trackhooks exec`: runs a program that knows nothing of trackhooks, with `enable` on."""

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
    """Runs a program as `python` would: as `__main__`, with its arguments and its import path.

    Args:
        command: the path of a script, or the name of a module, and its arguments.
        *trackers: as in `enable`.
        module: the first word names a module, as in `python -m`.
        **options: as in `enable`.

    Raises:
        InvalidValueError: there is no such script.
        SystemExit: the program has raised it, or (with 1, or 130 after Ctrl-C) another exception, which has been shown.
    """
    if not command or not (module or Path(command[0]).exists()):
        raise InvalidValueError(
            f"{command[0] if command else ''!r} is no script. A module is run with -m before its name."
        )
    enable(*trackers, **options)
    program, *_ = sys.argv[:] = list(command)
    with _EndAsOfInterpreter():
        if module:
            sys.path[0] = str(Path.cwd())
            runpy.run_module(program, run_name="__main__", alter_sys=True)
        else:
            sys.path[0] = str(Path(program).absolute().parent)
            runpy.run_path(program, run_name="__main__")


class _EndAsOfInterpreter:
    """Shows an exception as the interpreter does, and remembers it there: the end of the runs looks for it."""

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, SystemExit):
            return
        error = error.with_traceback(_behind_runpy(trace))
        sys.last_type, sys.last_value, sys.last_traceback = type(error), error, error.__traceback__
        sys.excepthook(type(error), error, error.__traceback__)
        sys.exit(_INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1)


def _behind_runpy(trace: TracebackType | None) -> TracebackType | None:
    """The frames of the program itself; all of them where it has none."""
    names, found = {__name__, runpy.__name__, "importlib._bootstrap"}, trace
    while found is not None and found.tb_frame.f_globals.get("__name__") in names:
        found = found.tb_next
    return found or trace
