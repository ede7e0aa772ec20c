"""Describe what a run was made with: program, host, Python, packages, and the state of the code."""

from __future__ import annotations

import functools
import getpass
import importlib.metadata
import os
import platform
import shlex
import sys
import time
from pathlib import Path

from ..errors.secrets import redact_command, redact_text
from ..event import Scalar
from ..storage.processes import host
from ..values.params import scalar
from . import git
from .hardware import hardware
from .packages import versions

_VARIABLES = (
    "CUDA_VISIBLE_DEVICES", "CUBLAS_WORKSPACE_CONFIG", "CUDA_LAUNCH_BLOCKING", "NVIDIA_TF32_OVERRIDE",
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "PYTHONHASHSEED", "KERAS_BACKEND", "TF_DETERMINISTIC_OPS", "XLA_FLAGS",
)  # fmt: skip
"""Variables that change the results or the speed of a training."""


def capture() -> dict[str, Scalar]:
    """Return the environment by name. Imports nothing, and redacts secrets on the command line."""
    here = directory()
    found = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": host(),
        "user": _user(),
        "program": program(),
        "command": " ".join(redact_command(sys.orig_argv[1:] or sys.argv)),
        "arguments": shlex.join(redact_command(sys.argv[1:])),
        "directory": here,
        **hardware(),
        **(repository(here) if here else {}),
        **{f"variable/{name}": redact_text(os.environ[name]) for name in _VARIABLES if name in os.environ},
        **versions(),
        "package/trackhooks": own_version(),
    }
    return {name: scalar(value) for name, value in found.items()}  # a file name may not be valid UTF-8


def directory() -> str | None:
    """Return the working directory, or None if it has been deleted."""
    try:
        return str(Path.cwd())
    except FileNotFoundError:
        return None


def program() -> str:
    """Return the path of the script, `-m module`, or `<interactive>`."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return f"-m {spec.name.removesuffix('.__main__')}"
    return getattr(main, "__file__", None) or (sys.argv[0] if sys.argv and sys.argv[0] else "<interactive>")


def _user() -> str | None:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # as in a container whose user has no name
        return None


@functools.cache
def own_version() -> str:
    """Return the version of trackhooks."""
    try:
        return importlib.metadata.version("trackhooks")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def repository(where: str) -> dict[str, Scalar]:
    """Return `git/commit`, `git/branch`, `git/dirty` and `git/remote` of the repository, or nothing outside of one.

    Of a repository that is so large that git needs too long to compare its files, only the commit is known.
    """
    since = time.monotonic()
    status = git.output_of(where, "status", "--porcelain=v2", "--branch", "--untracked-files=no")
    if status is None:
        commit = (
            git.output_of(where, "rev-parse", "HEAD") if time.monotonic() - since >= git.TIMEOUT_S else None
        )
        return {"git/commit": commit.strip()} if commit else {}
    lines = status.splitlines()
    heads = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# ") and " " in line[2:])
    remote = git.output_of(where, "config", "--get", "remote.origin.url")
    return {
        "git/commit": _unless(heads.get("branch.oid"), "(initial)"),
        "git/branch": _unless(heads.get("branch.head"), "(detached)"),
        "git/dirty": any(not line.startswith("#") for line in lines),
        **({"git/remote": redact_text(remote.strip())} if remote else {}),
    }


def _unless(value: str | None, placeholder: str) -> str | None:
    return None if value == placeholder else value
