"""Describe what a run was made with: program, host, Python, packages, and the state of the code."""

from __future__ import annotations

import getpass
import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path

from ..errors.secrets import redact_command, redact_text
from ..event import Scalar
from ..storage.processes import host
from ..values.params import scalar

_PACKAGES = (
    "torch", "torchvision", "keras", "tensorflow", "jax", "ultralytics", "numpy", "sklearn", "pandas", "transformers",
    "lightning", "timm", "cv2", "PIL", "xgboost",
)  # fmt: skip
_GIT_TIMEOUT_S = 2.0


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
        "cpus": os.cpu_count(),
        **(git(here) if here else {}),
        **{f"package/{name}": version for name, version in _versions().items()},
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


def _versions() -> dict[str, str]:
    """Return the versions of those relevant packages that the program has imported so far."""
    found = {name: getattr(sys.modules.get(name), "__version__", None) for name in _PACKAGES}
    versions = {name: str(version) for name, version in found.items() if version is not None}
    return versions | {"trackhooks": own_version()}


def own_version() -> str:
    """Return the version of trackhooks."""
    try:
        return importlib.metadata.version("trackhooks")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def git(where: str) -> dict[str, Scalar]:
    """Return `git/commit`, `git/branch`, `git/dirty` and `git/remote` of the repository, or nothing outside of one."""
    status = _run_git(where, "status", "--porcelain=v2", "--branch", "--untracked-files=no")
    if status is None:
        return {}
    lines = status.splitlines()
    heads = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# ") and " " in line[2:])
    remote = _run_git(where, "config", "--get", "remote.origin.url")
    return {
        "git/commit": _unless(heads.get("branch.oid"), "(initial)"),
        "git/branch": _unless(heads.get("branch.head"), "(detached)"),
        "git/dirty": any(not line.startswith("#") for line in lines),
        **({"git/remote": redact_text(remote.strip())} if remote else {}),
    }


def _unless(value: str | None, placeholder: str) -> str | None:
    return None if value == placeholder else value


def _run_git(where: str, *words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", *words],
            cwd=where,
            capture_output=True,
            timeout=_GIT_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None
