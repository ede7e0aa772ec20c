"""The command line: `trackhooks runs`, `compare`, `sync`, `doctor`."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import lines
import pytest
from click.testing import CliRunner, Result
from folders import ROOT, SUPPORT, importing

import trackhooks
from trackhooks.cli.main import main
from trackhooks.delivery.cursor import cursors
from trackhooks.storage.run_folder import read_info

DEADLINE_S = 120
PAGE = ROOT / "docs" / "reference" / "command-line.md"
TRACKHOOKS = [sys.executable, "-c", "from trackhooks.cli.main import main; main(prog_name='trackhooks')"]
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test its own working directory, with its own `runs`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRACKHOOKS_DELIVERY", "off")
    for name in ("TRACKHOOKS", "TRACKHOOKS_DIR", "NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", importing(SUPPORT)["PYTHONPATH"])
    return tmp_path


def train(name: str, *trackers: Any, lr: float = 0.1, **more: Any) -> Path:
    with trackhooks.run(*trackers, name=name, params={"lr": lr}, **more) as run:
        for epoch in run.epochs(2):
            for _ in run.train(range(5)):
                run.log(loss=lr / (epoch + 1))
            for _ in run.validate(range(2)):
                run.log(loss=lr)
    return run.path


def call(*arguments: str | Path) -> Result:
    """Call the command line in this process."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="trackhooks")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result


def good(*arguments: str | Path) -> str:
    """Return the output of a command that succeeds."""
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def error(*arguments: str | Path, code: int = 1) -> str:
    """Return the message of a command that fails, without the usage before it."""
    result = call(*arguments)
    assert result.exit_code == code, result.output
    return result.stderr.splitlines()[-1]


def in_terminal(columns: int, *arguments: str, **environment: str) -> str:
    """Return what a command sends to a terminal of this width."""
    pid, terminal = pty.fork()
    if pid == 0:  # pragma: no cover — the child
        os.environ.update(environment, TERM="xterm-256color", COLUMNS=str(columns))
        os.execv(sys.executable, [*TRACKHOOKS, *arguments])
    sent = b""
    with contextlib.suppress(OSError):  # the terminal is closed when the child ends
        while chunk := os.read(terminal, 65536):
            sent += chunk
    os.close(terminal)
    assert os.waitpid(pid, 0)[1] == 0, sent.decode()
    return sent.decode().replace("\r\n", "\n")


# The group


def test_without_a_command_the_commands_are_listed_in_their_order() -> None:
    shown = call().output
    places = [shown.index(f"\n  {name} ") for name in ("exec", "runs", "compare", "sync", "doctor")]
    assert places == sorted(places)


def test_the_version_is_printed() -> None:
    assert good("--version") == f"trackhooks, version {read_version()}\n"


def read_version() -> str:
    from importlib.metadata import version

    return version("trackhooks")


@pytest.mark.parametrize(
    ("given", "nearest"),
    [("run", "runs"), ("comapre", "compare"), ("snyc", "sync"), ("history", "export"), ("ls", "runs")],
)
def test_an_unknown_command_suggests_the_nearest(given: str, nearest: str) -> None:
    assert error(given, code=2) == f"Error: unknown command {given!r}. Did you mean {nearest!r}?"


def test_an_unknown_command_unlike_any_other_lists_all() -> None:
    assert error("qqq", code=2).startswith("Error: unknown command 'qqq'. Commands: exec, runs, compare,")


@pytest.mark.parametrize("name", main.commands)
def test_every_command_and_option_is_documented(name: str) -> None:
    command = main.commands[name]
    assert command.help
    assert len(command.get_short_help_str(100)) > 10
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
    assert f"\n## trackhooks {name}\n" in PAGE.read_text(encoding="utf-8")


# runs


def test_runs_lists_the_runs_of_the_directory() -> None:
    train("lr=0.1")
    train("lr=0.2", lr=0.2)
    rows = good("runs").splitlines()
    assert [row.split()[:2] for row in rows[-2:]] == [["lr=0.2", "finished"], ["lr=0.1", "finished"]]
    assert good("runs", "runs") == good("runs")


def test_runs_prints_json_and_csv() -> None:
    train("a")
    assert json.loads(good("runs", "--json"))[0]["metrics"]["val/loss"]["best"] == 0.1
    assert next(csv.DictReader(io.StringIO(good("runs", "--csv"))))["best/val/loss"] == "0.1"


def test_runs_filters_by_project_and_sorts_by_a_metric() -> None:
    train("worse", lr=0.2, project="digits")
    train("better", lr=0.1, project="digits")
    train("other", project="faces")
    names = [
        run["name"] for run in json.loads(good("runs", "--project", "digits", "--sort", "val/loss", "--json"))
    ]
    assert names == ["better", "worse"]


def test_without_runs_people_get_a_message_and_programs_an_empty_list() -> None:
    assert "No runs found in runs." in call("runs").stderr
    assert json.loads(good("runs", "--json")) == []
    assert good("runs", "--csv") == ""
    assert "No runs of project 'x'" in call("runs", "--project", "x").stderr


@pytest.mark.parametrize(("arguments", "message"), [
    (["runs", "nope"], "Error: no such directory: nope"),
    (["runs", "--sort", "val/los"], "Error: unknown field, metric or parameter 'val/los'. Did you mean 'val/loss'?"),
    (["compare", "b", "aa"], "Error: unknown run 'b'. List the runs in runs: trackhooks runs runs"),
    (["compare", "a", "--metrics", "val/los"], "Error: unknown metric 'val/los'. Did you mean 'val/loss'?"),
    (["compare", "a", "--at", "val/loss"], "Error: at must be 'best:METRIC', such as 'best:val/loss', got 'val/loss'."),
    (["compare", "a", "--where", "lr > 1"], "Error: no run matches the filter 'lr > 1'."),
    (["compare", "--baseline", "aa"], "Error: unknown run 'aa'. Did you mean 'a'?"),
    (["sync", "a", "--to", "cvs"], "Error: unknown tracker 'cvs'. Did you mean 'csv'?"),
    (["sync", "a", "--every", "0"], "Error: every must be a positive number of steps or a time such as '1s', got 0."),
    (["sync", "a", "--option", "x=1"],
     "Error: --option must be TRACKER.OPTION=VALUE, as in csv.dir=tables, got 'x=1'."),
])  # fmt: skip
def test_a_mistake_gets_a_message_in_one_line(arguments: list[str], message: str) -> None:
    train("a")
    assert error(*arguments) == message


def test_a_run_that_cannot_be_read_is_skipped_with_a_warning(here: Path) -> None:
    train("good")
    (train("bad") / "run.json").write_text("{")
    result = call("runs")
    assert "Warning: run skipped: " in result.stderr
    assert "good" in result.stdout
    assert "bad" not in result.stdout


def test_missing_permissions_are_an_error_in_one_line(here: Path) -> None:
    (train("a") / "journal").chmod(0)
    (here / "runs" / "a" / "run.json").chmod(0)
    result = call("compare", "a")
    if os.access(here / "runs" / "a" / "run.json", os.R_OK):
        pytest.skip("this user may read everything")
    assert "Permission denied" in result.stderr


# compare


def test_compare_shows_two_runs_side_by_side() -> None:
    train("a")
    train("b", lr=0.2)
    shown = good("compare", "a", "runs/b")
    assert re.search(r"^ +a +b$", shown, re.MULTILINE)
    assert re.search(r"^lr +0\.1 +0\.2$", shown, re.MULTILINE)
    assert re.search(r"^val/loss ↓ +0\.1 \(0\) \* +0\.2 \(0\)$", shown, re.MULTILINE)


def test_compare_prints_json_and_csv_with_selected_metrics() -> None:
    train("a")
    train("b", lr=0.2)
    found = json.loads(good("compare", "a", "b", "--metrics", "val/*", "--json"))
    assert (found["params"], list(found["metrics"])) == ({"lr": [0.1, 0.2]}, ["val/loss"])
    rows = list(csv.DictReader(io.StringIO(good("compare", "a", "b", "--csv"))))
    assert [row["param/lr"] for row in rows] == ["0.1", "0.2"]


def test_compare_filters_sorts_groups_and_takes_a_baseline() -> None:
    for lr, seed in ((0.1, 1), (0.1, 2), (0.1, 3), (0.5, 1)):
        with trackhooks.run(name=f"lr={lr}-seed={seed}", params={"lr": lr, "seed": seed}) as run:
            run.log(loss=lr * seed)
    assert json.loads(good("compare", "--json"))["runs"] == ["lr=0.5-seed=1", "lr=0.1"]
    each = good("compare", "runs", "--where", "lr < 0.2", "--group-by", "none", "--sort", "loss", "--json")
    assert json.loads(each)["runs"] == [f"lr=0.1-seed={seed}" for seed in (1, 2, 3)]
    at = good("compare", "--group-by", "lr", "--baseline", "lr=0.5-seed=1", "--at", "best:loss")
    assert re.search(r"^ +lr=0\.5 \(baseline\) +lr=0\.1 \(n=3\)$", at, re.MULTILINE)
    assert re.search(r"^loss ↓ +0\.5 +0\.20 ± 0\.10 −60% \*$", at, re.MULTILINE)
    assert [run["params"]["seed"] for run in json.loads(good("runs", "--where", "lr > 0.2", "--json"))] == [1]
    assert "No runs that match 'lr > 5' found in runs." in call("runs", "--where", "lr > 5").stderr


def test_compare_without_runs_says_where_it_looked() -> None:
    assert error("compare") == "Error: No runs found in runs."


def test_compare_shows_all_parameters_on_request() -> None:
    train("a")
    train("b")
    assert "lr " not in good("compare", "a", "b")
    assert re.search(r"^lr +0\.1 +0\.1$", good("compare", "a", "b", "--all-params"), re.MULTILINE)


# The terminal


@pytest.mark.slow
@pytest.mark.parametrize("columns", [80, 140])
def test_a_terminal_gets_lines_that_fit_and_colors(columns: int) -> None:
    for number in range(6):
        train(f"a-rather-long-name-{number}", lr=number / 10)
    for arguments in (["runs"], ["compare", "runs"]):
        shown = in_terminal(columns, *arguments)
        assert "\x1b[32mfinished" in shown
        assert max(map(len, ESCAPE.sub("", shown).splitlines())) <= columns


@pytest.mark.slow
def test_no_color_is_respected() -> None:
    train("a")
    assert "\x1b[32m" not in in_terminal(80, "runs", NO_COLOR="1")


def test_a_pipe_gets_full_lines_without_colors(here: Path) -> None:
    name = "a-long-name-" * 8
    train(name)
    done = subprocess.run([*TRACKHOOKS, "runs"], capture_output=True, text=True, check=True)
    assert "\x1b" not in done.stdout + done.stderr
    assert name.strip("-") in done.stdout


def test_a_pipe_without_unicode_gets_replacement_characters() -> None:
    train("a")
    environment = os.environ | {"PYTHONIOENCODING": "latin-1"}
    done = subprocess.run([*TRACKHOOKS, "compare", "a"], capture_output=True, env=environment, check=True)
    assert b"val/loss ?" in done.stdout


@pytest.mark.slow
def test_a_reader_that_leaves_early_sees_no_traceback() -> None:
    for number in range(3):
        train(f"run-{number}")
    command = f"{subprocess.list2cmdline(TRACKHOOKS)} runs --json | head -c 10"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert "Traceback" not in done.stderr


# sync


def test_sync_delivers_a_recorded_run_and_finds_nothing_new_the_second_time() -> None:
    path = train("a", "csv")
    assert "a → csv: delivered" in good("sync", "a")
    table = (path / "epochs.csv").read_bytes()
    assert table.count(b"\n") == 3
    assert "a → csv: nothing new" in good("sync", path)
    assert (path / "epochs.csv").read_bytes() == table


@pytest.mark.slow
def test_sync_without_arguments_delivers_all_runs_of_the_directory() -> None:
    train("a")
    train("b")
    assert good("sync").splitlines() == good("sync", "runs").replace("nothing new", "delivered").splitlines()


def test_sync_can_deliver_to_other_trackers() -> None:
    path = train("a", "csv")
    assert "a → lines:Lines: delivered" in good("sync", "a", "--to", "lines:Lines")
    assert lines.steps(path) == list(range(10))
    assert lines.read(path)[-1]["finish"] == "finished"
    assert not (path / "epochs.csv").exists()


def test_sync_can_deliver_every_few_steps() -> None:
    path = train("a")
    good("sync", "a", "--to", "lines:Lines", "--every", "5")
    assert lines.steps(path) == [0, 5]


def test_sync_with_a_higher_rate_delivers_what_was_held_back_once() -> None:
    path = train("a", "csv")
    good("sync", "a", "--every", "5")
    assert [row[0] for row in columns(path / "batches.csv")] == ["step", "0", "5"]
    assert "a → csv: nothing new" in good("sync", "a")
    assert "a → csv: delivered" in good("sync", "a", "--every", "1")
    assert [row[0] for row in columns(path / "batches.csv")] == ["step", *map(str, range(10))]
    assert "a → csv: nothing new" in good("sync", "a", "--every", "1")


def columns(table: Path) -> list[list[str]]:
    return [row.split(",") for row in table.read_text().splitlines()]


def test_sync_reports_a_tracker_that_does_not_accept_earlier_steps() -> None:
    train("a")
    good("sync", "a", "--to", "lines:OnlyLater", "--every", "5")
    result = call("sync", "a", "--to", "lines:OnlyLater", "--every", "1")
    assert result.exit_code == 1
    assert "8 batches were held back" in result.output


def test_sync_uses_the_options_of_the_run(here: Path) -> None:
    path = train("a", "lines:Lines", csv={"dir": "tables", "every": 5})
    good("sync", "a")
    rows = list(csv.DictReader((here / "tables" / "a" / "batches.csv").read_text().splitlines()))
    assert [row["step"] for row in rows] == ["0", "5"]
    assert not (path / "batches.csv").exists()
    assert lines.steps(path) == list(range(10))


def test_sync_with_another_destination_delivers_again(here: Path) -> None:
    train("a", "csv")
    good("sync", "a")
    assert "delivered" in good("sync", "a", "--option", f"csv.dir={here / 'tables'}")
    assert (here / "tables" / "a" / "epochs.csv").exists()


def test_sync_asks_for_a_secret_option_instead_of_delivering_elsewhere(here: Path) -> None:
    options: dict[str, Any] = {"lines:Lines": {"token": "hunter2"}}
    path = train("a", **options)
    message = call("sync", "a").stderr
    assert "the option 'token' is a secret" in message
    assert lines.read(path) == []
    assert "delivered" in good("sync", "a", "--option", "lines:Lines.token=hunter2")
    assert lines.steps(path) == list(range(10))


def test_a_tracker_that_fails_is_reported_and_does_not_stop_the_others(here: Path) -> None:
    (here / "down").touch()
    path = train("a")
    result = call("sync", "a", "--to", "csv,lines:Lines", "--option", f"lines:Lines.down={here / 'down'}")
    assert result.exit_code == 1
    assert f"a → lines:Lines: ConnectionError: {here / 'down'} is down" in result.stderr
    assert "a → csv: delivered" in result.stdout
    assert (path / "epochs.csv").exists()
    (here / "down").unlink()
    good("sync", "a", "--to", "csv,lines:Lines", "--option", f"lines:Lines.down={here / 'down'}")
    assert lines.steps(path) == list(range(10))


def test_a_tracker_that_was_an_object_must_be_named() -> None:
    train("a", lines.Lines())
    assert "To deliver to a new one, name its class: --to module:Class" in call("sync", "a").stderr
    assert "delivered" in good("sync", "a", "--to", "lines:Lines")


def test_sync_sets_the_status_of_a_killed_run(here: Path) -> None:
    with running(here) as process:
        process.send_signal(signal.SIGKILL)
        process.wait(DEADLINE_S)
    good("sync", "alive")
    assert read_info(here / "runs" / "alive").status == "killed"
    facts = dict(csv.reader((here / "runs" / "alive" / "run.csv").read_text().splitlines()))
    assert facts["status"] == "killed"


def test_a_running_run_is_delivered_so_far(here: Path) -> None:
    with running(here):
        assert "a" in good("sync", "alive")
        assert "delivered so far; the run is still running" in good("sync", "alive", "--to", "lines:Lines")
    assert [line["metrics"] for line in lines.read(here / "runs" / "alive") if "metrics" in line] == [
        {"loss": 3.0}, {"loss": 2.0}, {"loss": 1.0},
    ]  # fmt: skip


def test_sync_does_not_interfere_with_a_delivery_by_another_process(here: Path) -> None:
    with running(here, delivery="inline"):
        path = here / "runs" / "alive"
        until(lambda: cursors(path))
        message = call("sync", "alive").stderr
    assert "run 'alive' is being delivered to 'csv' by another process." in message


@contextlib.contextmanager
def running(here: Path, delivery: str = "off") -> Iterator[subprocess.Popen[str]]:
    """Start a process with the run `alive`, which logs three losses and then waits until it is killed."""
    source = f"""
        import time, trackhooks
        run = trackhooks.run("csv", name="alive", delivery={delivery!r})
        for loss in (3, 2, 1):
            run.log(loss=loss)
        print("ready", flush=True)
        time.sleep({DEADLINE_S})
    """
    command = [sys.executable, "-c", textwrap.dedent(source)]
    with subprocess.Popen(command, cwd=here, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.kill()


def until(reached: Any) -> None:
    end = time.monotonic() + DEADLINE_S
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.05)


# doctor


def test_doctor_reports_if_there_are_no_problems() -> None:
    train("a")
    good("sync", "a")
    shown = good("doctor")
    assert "✓ csv" in shown
    assert re.search(r"^✓ 1 of 1 +intact and delivered$", shown, re.MULTILINE)
    assert shown.endswith("\nNo problems found.\n")


def test_doctor_shows_what_is_installed() -> None:
    shown = good("doctor")
    assert re.search(rf"^· trackhooks +{re.escape(read_version())}$", shown, re.MULTILINE)
    assert f"Python       {sys.version.split()[0]} on" in shown
    assert "torch 2" in shown
    assert re.search(r"^✓ tensorboard +from trackhooks .*, with tensorboard 2", shown, re.MULTILINE)


def test_doctor_shows_the_settings_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKHOOKS", "tensorboard,csv")
    monkeypatch.setenv("TRACKHOOKS_DIR", "elsewhere")
    shown = good("doctor")
    assert re.search(r"^✓ trackers +tensorboard, csv \(TRACKHOOKS\)$", shown, re.MULTILINE)
    assert re.search(r"^✓ directory +elsewhere \(TRACKHOOKS_DIR\)$", shown, re.MULTILINE)
    assert re.search(r"^✓ delivery +off \(TRACKHOOKS_DELIVERY\)$", shown, re.MULTILINE)


@pytest.mark.parametrize(("name", "value", "message"), [
    ("TRACKHOOKS", "cvs", "unknown tracker 'cvs'. Did you mean 'csv'?"),
    ("TRACKHOOKS_DELIVERY", "inlin", "unknown delivery 'inlin'. Did you mean 'inline'?"),
    ("TRACKHOOKS_DIR", "/proc/runs", "/proc is not writable"),
])  # fmt: skip
def test_doctor_reports_invalid_environment_variables(
    name: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    if value == "/proc/runs" and os.access("/proc", os.W_OK):
        pytest.skip("this user may write anywhere")
    assert message in wrong()


def test_doctor_says_if_nothing_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKHOOKS_DISABLED", "1")
    assert "nothing is recorded" in good("doctor")


def test_doctor_reports_an_undelivered_run_with_the_command_to_deliver_it() -> None:
    path = train("a")
    shown = wrong()
    assert re.search(
        r"^✗ a +\d.* of the journal is not delivered to csv\n +trackhooks sync ", shown, re.MULTILINE
    )
    assert str(path) in shown
    assert "1 problem found." in shown


def test_doctor_reports_a_failed_delivery_with_the_reason(here: Path) -> None:
    (here / "down").touch()
    train("a")
    good("sync", "a")
    call("sync", "a", "--to", "lines:Lines", "--option", f"lines:Lines.down={here / 'down'}")
    assert f"is not delivered to lines: ConnectionError: {here / 'down'} is down" in wrong()


def test_doctor_reports_records_that_a_tracker_rejected(here: Path) -> None:
    with trackhooks.run("csv", name="a") as run:
        run.log(loss=1.0, poison=2.0)
        run.log(loss=0.5)
    good("sync", "a")
    result = call("sync", "a", "--to", "lines:Lines", "--option", "lines:Lines.poison=poison")
    assert "delivered except for 1 rejected record" in result.stderr
    assert "lines rejected the records 0" in wrong()


def test_doctor_and_sync_report_a_damaged_journal() -> None:
    path = train("a")
    good("sync", "a")
    content = bytearray((path / "journal").read_bytes())
    content[200:204] = b"\0\0\0\0"
    (path / "journal").write_bytes(content)
    shown = wrong()
    assert "bytes of the journal cannot be read" in shown
    assert "missing: 1 record" in shown
    synced = call("sync", "a")
    assert synced.exit_code == 0
    assert "a: missing: 1 record" in synced.stderr


def test_doctor_reports_a_missing_journal() -> None:
    (train("a") / "journal").unlink()
    assert "no journal" in wrong()


def test_doctor_does_not_report_a_running_run_as_a_problem(here: Path) -> None:
    with running(here):
        assert "is not delivered to csv yet; the run is still running" in good("doctor")


def test_doctor_reports_a_killed_run_until_it_is_delivered(here: Path) -> None:
    with running(here) as process:
        process.send_signal(signal.SIGKILL)
        process.wait(DEADLINE_S)
    assert "is not delivered to csv" in wrong()
    good("sync", "alive")
    assert "No problems found." in good("doctor")


def test_doctor_shows_trackers_of_other_packages_and_reports_broken_ones(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata = here / "site" / "theirs-1.2.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.2\n")
    (metadata / "entry_points.txt").write_text(
        "[trackhooks.trackers]\ntheirs = lines:Lines\nbroken = nowhere:Tracker\ncsv = lines:Lines\n"
        "needy = needy:Needy\n"
    )
    (here / "site" / "needy.py").write_text(
        "import trackhooks\n"
        "class Needy(trackhooks.Tracker):\n"
        "    requires = {'absent_package': 'theirs[needy]'}\n"
    )
    monkeypatch.syspath_prepend(here / "site")
    shown = wrong()
    assert re.search(r"^✓ theirs +from theirs 1\.2$", shown, re.MULTILINE)
    assert "from theirs 1.2 cannot be loaded: ModuleNotFoundError: No module named 'nowhere'" in shown
    assert re.search(
        r"^· needy +from theirs 1\.2, needs absent_package\n +pip install 'theirs\[needy\]'$",
        shown,
        re.MULTILINE,
    )
    assert (
        "from theirs 1.2 is hidden by trackhooks_integrations.trackers.csv:CSV, which has the same name"
        in shown
    )


def wrong() -> str:
    """Return what doctor prints if there are problems."""
    result = call("doctor")
    assert result.exit_code == 1, result.output
    return result.stdout
