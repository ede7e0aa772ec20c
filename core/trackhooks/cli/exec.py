"""`trackhooks exec`: run a program with `enable` switched on in every Python process that it starts.

This process is replaced by the program. The environment variable PYTHONPATH makes each Python process of the program
import `startup/sitecustomize.py`, which calls `record_from_now_on` after the import of a framework.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import sys
import sysconfig
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from ..errors import InvalidValueError, TrackhooksError, warn
from ..frameworks import registry
from ..session.enable import enable_by_default
from ..session.settings import settings

_FLAGS = re.compile("-[bBdEiIOPqsSuvx]+")
"""Options of Python without a value; several may be in one word."""
_STARTUP = str(Path(__file__).with_name("startup"))


def execute(command: Sequence[str], trackers: Sequence[str] = (), module: bool = False) -> None:
    """Replace this process by a program, as a shell's `exec` does.

    Args:
        command: the name or path of the program, followed by its arguments. See `command_line`.
        trackers: the names of the trackers. Without any, those of `TRACKHOOKS` are used.
        module: whether the command names a module, as in `python -m`.

    Raises:
        UnknownNameError: a tracker does not exist.
        MissingPackageError: the package of a tracker is not installed.
        InvalidValueError: there is no such program.
        OSError: the program cannot be executed.
    """
    _check(trackers or os.environ.get("TRACKHOOKS", "").split(","))
    program, *arguments = [sys.executable, "-m", *command] if module else command_line(command)
    if _ignores_the_environment(program, arguments):
        warn("nothing will be recorded: Python ignores PYTHONPATH with its options -E, -I and -S.")
    os.environ.update(_environment(trackers))
    sys.stdout.flush()
    try:
        os.execv(program, [program, *arguments])
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
        shell = sys.executable if program.endswith(".py") else "/bin/sh"
        os.execv(shell, [shell, program, *arguments])


def _check(trackers: Sequence[str]) -> None:
    """Raise what `enable` would raise, but leave out trackers that only the program may be able to import."""
    settings(*[name for name in trackers if name and ":" not in name] or ["csv"])


def command_line(command: Sequence[str]) -> list[str]:
    """Return the path of a program, followed by its arguments.

    A program is looked up as in a shell: a name in PATH, and a path as it is. What is not found is looked up next to
    this Python, in case its environment is not activated. Any other file is a Python script, which this Python runs.

    Raises:
        InvalidValueError: there is no such program.
    """
    name, *arguments = command
    found = shutil.which(name) or shutil.which(name, path=sysconfig.get_path("scripts"))
    if found is not None:
        return [found, *arguments]
    if Path(name).is_file() or Path(name, "__main__.py").is_file():
        return [sys.executable, name, *arguments]
    raise InvalidValueError(f"no such program: {name!r} is neither a command nor a file.{_hint(name)}")


def _ignores_the_environment(program: str, arguments: Sequence[str]) -> bool:
    """Whether the program is a Python with an option that makes it ignore `sitecustomize` or PYTHONPATH."""
    options = takewhile(_FLAGS.fullmatch, arguments)
    return Path(program).name.startswith("python") and bool(set("EIS").intersection("".join(options)))


def _hint(name: str) -> str:
    script = Path(f"{name}.py")
    return f" Did you mean {str(script)!r}?" if script.is_file() else " Use -m to run a module."


def _environment(trackers: Sequence[str]) -> dict[str, str]:
    paths = [_STARTUP, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
        "TRACKHOOKS_EXEC": " ".join(plugin.module for plugin in registry.plugins()),
        **({"TRACKHOOKS": ",".join(trackers)} if trackers else {}),
    }


def record_from_now_on() -> None:
    """Call `enable`, unless the program has called it. A program whose trackers do not exist ends here."""
    try:
        enable_by_default()
    except TrackhooksError as error:
        sys.exit(f"trackhooks exec: {error}")
