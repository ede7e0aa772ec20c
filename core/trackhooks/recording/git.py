"""Run git so that neither the configuration of the user nor variables of git change what it prints."""

from __future__ import annotations

import itertools
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping
from typing import IO

TIMEOUT_S = 2.0
_CONFIG = {
    "core.fsmonitor": "false",  # it may be a program
    "core.quotepath": "false",
    "core.bigFileThreshold": "10m",  # larger files count as binary
    "diff.orderFile": "/dev/null",  # also on Windows, where git knows this path
    "diff.noprefix": "false",
    "diff.mnemonicPrefix": "false",
    "diff.srcPrefix": "a/",
    "diff.dstPrefix": "b/",
    "diff.relative": "false",
    "diff.interHunkContext": "0",
    "diff.suppressBlankEmpty": "false",
    "diff.algorithm": "default",
    "diff.indentHeuristic": "true",
}
_OPTIONS = itertools.chain(*(("-c", f"{key}={value}") for key, value in _CONFIG.items()))
_COMMAND = ("git", "--no-optional-locks", "--no-pager", *_OPTIONS)
_REMOVED = frozenset(
    {"GIT_DIFF_OPTS", "GIT_LITERAL_PATHSPECS", "GIT_GLOB_PATHSPECS", "GIT_NOGLOB_PATHSPECS", "GIT_ICASE_PATHSPECS"}
)  # fmt: skip
_ADDED = {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1"}


def output_of(where: str, *words: str) -> str | None:
    """Return what a git command prints; None if it fails, takes too long, or git is not installed."""
    try:
        done = subprocess.run(
            [*_COMMAND, *words], cwd=where, env=_environment(), stdin=subprocess.DEVNULL, capture_output=True,
            timeout=TIMEOUT_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None


class Background:
    """A git command that runs while the program continues. Its output is kept in a file without a name.

    Args:
        where: the folder to run it in.
        *words: the command and its arguments.

    Raises:
        OSError: git is not installed, or no file can be opened.
    """

    def __init__(self, where: str, *words: str) -> None:
        self._output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 — open until `close`
        self._since = time.monotonic()
        try:
            self._process = subprocess.Popen(
                [*_COMMAND, *words], cwd=where, env=_environment(), stdin=subprocess.DEVNULL, stdout=self._output,
                stderr=subprocess.DEVNULL,
            )  # fmt: skip
        except OSError:
            self._output.close()
            raise

    @property
    def seconds(self) -> float:
        """How long ago the command was started."""
        return time.monotonic() - self._since

    @property
    def has_ended(self) -> bool:
        """Whether the command has ended."""
        return self._process.poll() is not None

    def wait(self, timeout: float) -> bool:
        """Wait for the end of the command. One that takes longer is killed. Returns whether it succeeded."""
        try:
            return self._process.wait(max(timeout, 0.0)) == 0
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return False

    @property
    def output(self) -> IO[bytes]:
        """What the command has printed, from the start."""
        self._output.seek(0)
        return self._output

    def close(self) -> None:
        """Stop the command, and delete the output."""
        self.wait(0.0)
        self._output.close()


def _environment() -> Mapping[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in _REMOVED}
    return {**kept, **_ADDED}
