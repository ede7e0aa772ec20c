"""Notices, warnings and bars on a broken terminal: the training continues, and everything is recorded."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

import lines
import pytest
from folders import SUPPORT, importing

import trackhooks
from trackhooks.errors import Notices, say, warn
from trackhooks.storage.run_folder import read_info

pytestmark = pytest.mark.slow  # each starts a program

DEADLINE_S = 300

PROGRAM = """
    import os, signal, sys
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    {before}
    import trackhooks
    from trackhooks.errors import warn
    for number in range(2):
        with trackhooks.run(delivery={delivery!r}, name=f"r{{number}}", **{{"lines:Lines": {options!r}}}) as run:
            for epoch in run.epochs(2, progress=True):
                for batch in run.train(range(3)):
                    run.log(loss=0.5, text="not a number")
                warn(f"a warning in epoch {{epoch}}")
        {between}
    open("done", "w").close()
"""

IN_PROGRAM = {
    "closed by its descriptor": "os.close(2)",
    "both streams closed by their descriptors": "os.closerange(1, 3)",
    "closed": "sys.stderr.close()",
    "none": "sys.stderr = None",
    "both none": "sys.stdout = sys.stderr = None",
    "not a stream": "sys.stderr = type('Other', (), {'flush': lambda self: None})()",
    "closed without a duplicate": "sys.stderr.close(); sys.__stderr__ = None",
    "takes bytes": "import io; sys.stderr = io.BytesIO()",
    "takes ASCII": "import io; sys.stderr = io.TextIOWrapper(io.BytesIO(), 'ascii')",
}


def program(
    tmp_path: Path, before: str = "", between: str = "", delivery: str = "process", **options: Any
) -> list[str]:
    path = tmp_path / "train.py"
    body = PROGRAM.format(before=before, between=between, delivery=delivery, options=options)
    path.write_text(dedent(body))
    return [sys.executable, "-X", "dev", str(path)]


def environment() -> dict[str, str]:
    return importing(SUPPORT)


def check(tmp_path: Path, returncode: int) -> None:
    """Both runs are recorded and delivered."""
    assert (tmp_path / "done").exists()
    assert returncode == 0
    for name in ("r0", "r1"):
        assert read_info(tmp_path / "runs" / name).status == "finished"
        assert lines.steps(tmp_path / "runs" / name) == list(range(6))
        assert journal_is_whole(tmp_path / "runs" / name)


def journal_is_whole(run: Path) -> bool:
    with trackhooks.journal.Reader(run) as reader:
        list(reader)
        return reader.skipped == 0


@pytest.mark.parametrize("delivery", ["process", "inline"])
@pytest.mark.parametrize("kind", IN_PROGRAM)
def test_a_stderr_that_the_program_broke_ends_no_training(tmp_path: Path, kind: str, delivery: str) -> None:
    done = subprocess.run(
        program(tmp_path, IN_PROGRAM[kind], delivery=delivery),
        cwd=tmp_path, env=environment(), check=False, capture_output=True, timeout=DEADLINE_S,
    )  # fmt: skip
    check(tmp_path, done.returncode)


@pytest.mark.parametrize("kind", IN_PROGRAM)
def test_a_stderr_that_breaks_between_two_runs_ends_no_training(tmp_path: Path, kind: str) -> None:
    done = subprocess.run(
        program(tmp_path, between=f"if number == 0: {IN_PROGRAM[kind]}"),
        cwd=tmp_path, env=environment(), check=False, capture_output=True, timeout=DEADLINE_S,
    )  # fmt: skip
    check(tmp_path, done.returncode)


@pytest.mark.parametrize(
    "redirection", ["2>&-", ">&- 2>&-", "<&- >&- 2>&-", "2>/dev/full", ">/dev/full 2>&1"]
)
def test_a_stderr_that_the_shell_broke_ends_no_training(tmp_path: Path, redirection: str) -> None:
    command = " ".join(program(tmp_path))
    done = subprocess.run(
        ["sh", "-c", f"{command} {redirection}"],
        cwd=tmp_path,
        env=environment(),
        check=False,
        timeout=DEADLINE_S,
    )
    # Python itself exits with 120 if it cannot flush standard output.
    check(tmp_path, 0 if done.returncode == 120 and ">/dev/full 2>&1" in redirection else done.returncode)


@contextmanager
def without_reader() -> Iterator[int]:
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


@contextmanager
def without_terminal() -> Iterator[int]:
    master, terminal = pty.openpty()
    os.close(master)
    yield terminal
    os.close(terminal)


@pytest.mark.parametrize("delivery", ["process", "inline"])
@pytest.mark.parametrize("broken", [without_reader, without_terminal])
def test_a_stderr_without_a_reader_does_not_end_a_training(
    tmp_path: Path, broken: Any, delivery: str
) -> None:
    with broken() as stderr:
        done = subprocess.run(
            program(tmp_path, delivery=delivery),
            cwd=tmp_path, env=environment(), check=False, stderr=stderr, timeout=DEADLINE_S,
        )  # fmt: skip
    check(tmp_path, done.returncode)


@pytest.mark.parametrize("both", [False, True])
def test_a_terminal_that_closes_between_two_runs_ends_no_training(tmp_path: Path, both: bool) -> None:
    master, terminal = pty.openpty()
    between = "os.write(int(sys.argv[1]), b'.'); os.read(int(sys.argv[2]), 1)"
    told, tells = os.pipe()
    waits, goes_on = os.pipe()
    command = [*program(tmp_path, between=between), str(tells), str(waits)]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment(), pass_fds=(tells, waits), stderr=terminal,
        stdout=terminal if both else subprocess.DEVNULL, start_new_session=True,
    ) as process:  # fmt: skip
        os.close(terminal)
        os.read(told, 1)
        os.close(master)
        os.write(goes_on, b"..")
        os.read(told, 1)
        process.wait(DEADLINE_S)
    for fd in (told, tells, waits, goes_on):
        os.close(fd)
    check(tmp_path, 0 if process.returncode == 120 and both else process.returncode)


def test_a_wait_at_the_end_survives_a_broken_terminal(tmp_path: Path) -> None:
    down = tmp_path / "down"
    down.touch()
    with without_terminal() as stderr:
        done = subprocess.run(
            program(tmp_path, down=str(down)),
            cwd=tmp_path, env=environment(), check=False, stderr=stderr, timeout=DEADLINE_S,
        )  # fmt: skip
    assert (tmp_path / "done").exists()
    assert done.returncode == 0
    down.unlink()


class Broken:
    """A stream that raises."""

    encoding = None

    def __init__(self, error: Exception) -> None:
        self._error = error

    def write(self, text: str) -> int:
        raise self._error

    def flush(self) -> None:
        raise self._error

    def isatty(self) -> bool:
        raise self._error

    def fileno(self) -> int:
        raise self._error


ERRORS = [
    OSError(28, "No space left on device"), BrokenPipeError(), OSError(5, "Input/output error"), OSError(9, "Bad file"),
    ValueError("I/O operation on closed file"), UnicodeEncodeError("ascii", "→", 0, 1, "ordinal not in range"),
    RuntimeError("reentrant call"), AttributeError("write"), TypeError("a bytes-like object is required"),
]  # fmt: skip


@pytest.mark.parametrize("error", [*ERRORS, None], ids=repr)
def test_a_notice_never_raises(monkeypatch: pytest.MonkeyPatch, error: Exception | None) -> None:
    monkeypatch.setattr(sys, "stderr", Broken(error) if error else None)
    say("a line")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        # As Python's own does for a closed stream, and pytest's, which records, does not.
        monkeypatch.setattr(warnings, "showwarning", lambda *_, **__: sys.stderr.write("shown"))
        warn("a warning")
    stream = Notices(sys.stderr)
    stream.flush()
    assert not stream.isatty()
    with pytest.raises(OSError, match="no file descriptor"):
        stream.fileno()


def test_a_warning_that_the_user_turns_into_an_error_is_raised() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", trackhooks.TrackhooksWarning)
        with pytest.raises(trackhooks.TrackhooksWarning, match="a warning"):
            warn("a warning")


def test_what_c_libraries_write_to_a_closed_stderr_is_not_written_into_the_journal(tmp_path: Path) -> None:
    program = """
        import os, trackhooks
        os.closerange(0, 3)
        run = trackhooks.run(dir="runs", name="r", delivery="off")
        run.log(x=1)
        for fd in range(3):
            try:
                os.write(fd, b"A MESSAGE OF A LIBRARY".lower())  # the command line is recorded
            except OSError:
                pass
        run.close()
    """
    subprocess.run([sys.executable, "-c", dedent(program)], cwd=tmp_path, env=environment(), check=True)
    assert journal_is_whole(tmp_path / "runs" / "r")
    assert b"a message" not in (tmp_path / "runs" / "r" / "journal").read_bytes()


def test_a_broken_standard_output_hides_the_bar_and_ends_no_training(tmp_path: Path) -> None:
    with without_reader() as stdout:
        subprocess.run(
            program(tmp_path, "os.environ['FORCE_COLOR'] = '1'"),
            cwd=tmp_path, env=environment(), check=False, stdout=stdout, timeout=DEADLINE_S,
        )  # fmt: skip
    check(tmp_path, 0)
