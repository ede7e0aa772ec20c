"""How long the end of a program waits for delivery, and what it says."""

from __future__ import annotations

import os
import pty
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from folders import SUPPORT, importing

from trackhooks.errors import InvalidValueError
from trackhooks.session import exit_wait as rules
from trackhooks.session.exit_wait import ExitWait, checked_wait, exit_wait
from trackhooks.session.settings import settings

ELSEWHERE = ExitWait(60.0)


# Where the program runs


def test_these_tests_are_not_at_a_prompt() -> None:
    assert exit_wait(None, None) == ELSEWHERE


@pytest.mark.parametrize("code", [143, -15])
def test_after_sigterm_there_is_little_time(code: int) -> None:
    assert exit_wait(None, SystemExit(code)) == ExitWait(5.0)
    assert exit_wait(None, SystemExit(1)) == ELSEWHERE


def test_a_kernel_of_a_notebook_has_little_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    assert exit_wait(None, None) == ExitWait(2.0, only_for_files=True)


@pytest.mark.parametrize("seconds", [0.0, 300.0])
def test_what_the_user_set_counts_everywhere(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    assert exit_wait(seconds, SystemExit(143)) == ExitWait(seconds)


# The setting


@pytest.mark.parametrize(("given", "seconds"), [(None, None), (0, 0.0), (2.5, 2.5), ("30", 30.0)], ids=str)
def test_a_number_of_seconds_is_accepted(given: Any, seconds: float | None) -> None:
    assert checked_wait(given) == seconds
    assert settings(wait=given).wait == seconds


@pytest.mark.parametrize("given", [-1, "soon", float("nan"), float("inf"), True, [], object], ids=str)
def test_anything_else_is_refused_with_what_is_accepted(given: Any) -> None:
    with pytest.raises(InvalidValueError, match="wait must be a number of seconds, such as 30 or 0, got"):
        settings(wait=given)


def test_the_environment_sets_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKHOOKS_WAIT", "7")
    assert checked_wait(None) == 7.0
    assert checked_wait(3) == 3.0
    monkeypatch.setenv("TRACKHOOKS_WAIT", "long")
    with pytest.raises(InvalidValueError, match=r"TRACKHOOKS_WAIT must be a number of seconds.*'long'"):
        checked_wait(None)


# Programs

PROGRAM = """
import sys, trackhooks
for name in sys.argv[2:]:
    with trackhooks.run("csv", name=name, **{"lines:Lines": {"slow": 0.3}}) as run:
        for step in range(20):
            run.log(x=step)
print("END OF THE PROGRAM")
"""


@pytest.fixture
def program(tmp_path: Path) -> list[str]:
    """Records runs, whose second tracker needs six seconds for each."""
    (tmp_path / "program.py").write_text(PROGRAM)
    return [sys.executable, str(tmp_path / "program.py"), "--", "a", "b"]


def environment(**more: str) -> dict[str, str]:
    found = importing(SUPPORT)
    return {name: value for name, value in found.items() if name not in rules._JOBS} | more


def rows(run: Path) -> int:
    return len((run / "metrics.csv").read_text().splitlines()) - 1


@pytest.mark.slow
def test_without_a_terminal_a_line_says_what_the_program_waits_for(
    tmp_path: Path, program: list[str]
) -> None:
    done = subprocess.run(
        program, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=100
    )
    (line,) = [line for line in done.stderr.splitlines() if "waiting" in line]
    assert line.startswith("trackhooks: waiting up to 60 s for ")
    assert line.endswith("lines:Lines; Ctrl-C is safe")
    assert "trackhooks sync" not in done.stderr  # all is delivered
    assert (tmp_path / "runs/b/lines.jsonl").read_text().count("metrics") == 20


@pytest.mark.slow
def test_a_program_that_must_not_wait_says_in_one_line_what_is_left(
    tmp_path: Path, program: list[str]
) -> None:
    done = subprocess.run(
        program,
        cwd=tmp_path,
        env=environment(TRACKHOOKS_WAIT="0"),
        capture_output=True,
        text=True,
        timeout=100,
    )
    (line,) = [line for line in done.stderr.splitlines() if "trackhooks sync" in line]
    assert line.startswith("trackhooks: not everything of a and b is in ")
    runs = shlex.join(str(tmp_path / "runs" / name) for name in "ab")
    assert line.endswith(f"To deliver the rest: trackhooks sync {runs}")


@pytest.mark.slow
def test_a_program_that_imports_ray_without_using_it_is_at_its_prompt(
    tmp_path: Path, program: list[str]
) -> None:
    Path(program[1]).write_text(f"import ray\n{PROGRAM}")  # as Ultralytics does if Ray is installed
    said, _ = at_a_terminal(["bash", "-m", "-c", f"{shlex.join(program)}; echo PROMPT"], tmp_path)
    assert "lines:Lines will get the rest in the background" in said


@pytest.mark.slow
def test_at_a_prompt_the_program_ends_when_the_files_are_written(tmp_path: Path, program: list[str]) -> None:
    said, left = at_a_terminal(["bash", "-m", "-c", f"{shlex.join(program)}; echo PROMPT"], tmp_path)
    assert "END OF THE PROGRAM" in said.partition("PROMPT")[0]
    assert "a and b are recorded; lines:Lines will get the rest in the background" in said
    assert "trackhooks sync runs/a runs/b" in said
    assert left == 20  # csv has the last run, as soon as the program has ended


@pytest.mark.slow
def test_a_program_that_leads_its_session_waits_and_shows_a_bar(tmp_path: Path, program: list[str]) -> None:
    said, _ = at_a_terminal(program, tmp_path)
    assert "trackhooks delivers" in said
    assert "in the background" not in said
    assert (tmp_path / "runs/b/lines.jsonl").read_text().count("metrics") == 20


def at_a_terminal(command: list[str], folder: Path) -> tuple[str, int]:
    """Run a command that leads the session of a terminal. Return what it printed, and the rows of run b at its end."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(folder)
        os.execvpe(command[0], command, environment(TERM="xterm", COLUMNS="200"))
    said = b""
    while True:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # the terminal is closed: everybody who had it open has ended
            break
        if not part or b"PROMPT" in (said := said + part):
            break
    left = rows(folder / "runs" / "b")
    os.waitpid(child, 0)
    os.close(terminal)
    return said.decode(errors="replace"), left
