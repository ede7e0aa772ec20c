"""System metrics: what the training's process and its children use, measured by the process that delivers the run."""

from __future__ import annotations

import csv
import itertools
import math
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lines
import psutil
import pytest
from folders import SUPPORT, importing

import trackhooks
from trackhooks.delivery.catch_up import deliver
from trackhooks.delivery.cursor import Spec, cursors
from trackhooks.delivery.system_meter import Meter
from trackhooks.event import Event
from trackhooks.session.run import recorder_of
from trackhooks.storage import journal
from trackhooks.storage.run_folder import read_info

DEADLINE_S = 120
"""How long anything may take before a test gives up; no test measures time by it."""
ALWAYS = {"system/memory_mib", "system/threads"}


def until(reached: Callable[[], Any]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not reached():
        if time.monotonic() > end:
            pytest.fail(f"not reached in {DEADLINE_S} s")
        time.sleep(0.02)


def is_closed(run: Path) -> bool:
    """Whether every tracker of the run has all of it, and its status."""
    found = cursors(run)
    return bool(found) and all(cursor.status for cursor in found)


def run_program(folder: Path, source: str) -> None:
    """Run a training in a separate process, and wait for its delivery."""
    env = importing(SUPPORT)
    subprocess.run([sys.executable, "-c", source], cwd=folder, check=True, env=env, timeout=DEADLINE_S)


def measured(run: Path) -> list[Event]:
    path = run / journal.SYSTEM
    return list(journal.read(path)) if path.exists() else []


def highest(events: list[Event], name: str) -> float:
    return max(event.metrics.get(name, -math.inf) for event in events)


TRAINING = """
import subprocess, sys, time, trackhooks
with trackhooks.run("lines:Lines", name="r", system="200ms") as run:
    system = run.path / "system"
    def wait_for_samples():
        size = system.stat().st_size if system.exists() else 0
        while not system.exists() or system.stat().st_size < size + 500: time.sleep(0.05)
    {work}
    wait_for_samples()
"""
WORK = """
import psutil
held = b"x" * (300 << 20)
start = psutil.Process().cpu_times().user
while psutil.Process().cpu_times().user < start + 2: pass
"""
BY_ITSELF = f"exec({WORK!r})"
BY_A_CHILD = f"""
    child = subprocess.Popen(
        [sys.executable, "-c", {WORK + "print(flush=True); input()"!r}],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )
    child.stdout.readline()
"""


@pytest.mark.slow
@pytest.mark.parametrize("work", [BY_ITSELF, BY_A_CHILD], ids=["by itself", "by a child"])
def test_what_a_training_and_its_children_use_is_measured(tmp_path: Path, work: str) -> None:
    run_program(tmp_path, TRAINING.format(work=work.strip()))
    run = tmp_path / "runs" / "r"
    events = measured(run)
    assert (
        300 < highest(events, "system/memory_mib") < 600
    )  # the delivery process, 60 MiB and more, is not in it
    assert highest(events, "system/cpu_percent") > 1
    assert highest(events, "system/threads") >= 1
    assert lines.samples(run) == list(range(len(events)))


def test_a_sample_is_a_log_event_with_its_own_number_and_time(tmp_path: Path) -> None:
    with trackhooks.run("lines:Lines", dir=tmp_path, delivery="inline", system="100ms") as run:
        run.log(x=1)
        until(lambda: len(measured(run.path)) > 3)
        run.log(x=2)
    events = measured(run.path)
    assert {event.hook for event in events} == {"log"}
    assert [event.step for event in events] == list(range(len(events)))
    assert all(earlier.time < later.time for earlier, later in itertools.pairwise(events))
    assert all(event.metrics.keys() >= ALWAYS for event in events)
    assert {name for event in events for name in event.metrics} >= {"system/cpu_percent"}
    assert [event.step for event in journal.read(run.path) if event.metrics] == [0, 1]


def test_a_run_that_is_shorter_than_the_interval_has_a_sample(tmp_path: Path) -> None:
    with trackhooks.run("lines:Lines", dir=tmp_path, system="10min") as run:
        run.log(x=1)
    until(lambda: is_closed(run.path))
    assert lines.samples(run.path) == [0]


@pytest.mark.slow
def test_a_run_with_a_final_status_is_not_measured_until_it_continues(tmp_path: Path) -> None:
    run = trackhooks.run("lines:Lines", dir=tmp_path, delivery="inline", system="100ms")
    until(lambda: measured(run.path))
    recorder_of(run).settle("finished")
    until(lambda: is_closed(run.path))
    count = len(measured(run.path))
    time.sleep(0.5)
    assert len(measured(run.path)) == count
    recorder_of(run).record_status("running")
    until(lambda: len(measured(run.path)) > count + 1)
    run.close()
    until(lambda: lines.samples(run.path) == list(range(len(measured(run.path)))))


@pytest.mark.parametrize("settings", [{"system": None}, {"delivery": "off"}], ids=str)
def test_it_can_be_switched_off(tmp_path: Path, settings: dict[str, Any]) -> None:
    with trackhooks.run("lines:Lines", dir=tmp_path, **settings) as run:
        run.log(x=1)
    assert run.wait(DEADLINE_S)
    deliver(run.path)
    assert lines.steps(run.path) == [0]
    assert lines.samples(run.path) == []
    assert not (run.path / journal.SYSTEM).exists()


KILLS = """
import os, signal, time, lines, trackhooks
def wait_for_samples(count):
    while len(lines.samples(run.path)) < count: time.sleep(0.02)
with trackhooks.run("lines:Lines", name="r", system="100ms") as run:
    for _ in range(3):
        wait_for_samples(len(lines.samples(run.path)) + 3)
        pid = [line["pid"] for line in lines.read(run.path) if "pid" in line][-1]
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        run.log(x=1)
        assert run.wait(120)  # starts it again
"""


@pytest.mark.slow
def test_each_sample_arrives_once_when_the_delivery_process_dies(tmp_path: Path) -> None:
    run_program(tmp_path, KILLS)
    run = tmp_path / "runs" / "r"
    assert len(measured(run)) > 9
    assert lines.samples(run) == list(range(len(measured(run))))


def test_a_run_that_continues_keeps_counting(tmp_path: Path) -> None:
    with trackhooks.run("lines:Lines", dir=tmp_path, delivery="inline") as first:
        first.log(x=1)
    assert first.wait(DEADLINE_S)
    with trackhooks.run("lines:Lines", resume=first.path, delivery="inline") as second:
        second.log(x=2)
    assert second.wait(DEADLINE_S)
    assert lines.samples(first.path) == [event.step for event in measured(first.path)] == [0, 1]


def test_trackers_in_the_process_and_in_threads_get_the_same_samples(tmp_path: Path) -> None:
    trackers, one = 'lines.Lines(), "csv"', '"lines:Lines"'
    source = "import lines\n" + TRAINING.format(work="wait_for_samples()").replace(one, trackers)
    run_program(tmp_path, source.replace("200ms", "100ms"))  # it waits until everything is delivered
    run = tmp_path / "runs" / "r"
    events = measured(run)
    steps = [event.step for event in events]
    with (run / "system.csv").open() as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == steps
    in_threads = lines.samples(
        run
    )  # these end with the run, and one sample may be being written at that moment
    assert in_threads == steps[: len(in_threads)]
    end = read_info(run).ended or 0.0
    assert len(in_threads) >= sum(event.time < end for event in events) - 1


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with some samples."""
    with trackhooks.run("csv", dir=tmp_path_factory.mktemp("runs"), delivery="inline", system="150ms") as run:
        run.log(x=0)
        until(lambda: len(measured(run.path)) > 3)
        run.log(x=1)
    until(lambda: is_closed(run.path))
    return run.path


def curves(events: list[Event]) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for event in events:
        for name, value in event.metrics.items():
            found.setdefault(name, []).append((event.step, value))
    return found


def test_csv_has_a_separate_table_for_them(recorded: Path) -> None:
    with (recorded / "system.csv").open() as file:
        rows = list(csv.DictReader(file))
    found = [
        (
            int(row["step"]),
            float(row["time"]),
            {name: float(row[name]) for name in row if name[6:7] == "/" and row[name]},
        )
        for row in rows
    ]
    assert found == [(event.step, event.time, event.metrics) for event in measured(recorded)]
    with (recorded / "metrics.csv").open() as file:
        assert [row["x"] for row in csv.DictReader(file)] == ["0.0", "1.0"]


def test_tensorboard_shows_them_as_scalars(recorded: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = shutil.copytree(recorded, tmp_path / "copy")
    assert deliver(run, [Spec("tensorboard")]) == {}
    read = EventAccumulator(str(run)).Reload()
    for name, curve in curves(measured(run)).items():
        scalars = read.Scalars(name)
        assert [scalar.step for scalar in scalars] == [step for step, _ in curve]
        assert [scalar.value for scalar in scalars] == pytest.approx([value for _, value in curve], rel=1e-6)
    assert [scalar.step for scalar in read.Scalars("x")] == [0, 1]


@pytest.mark.slow
def test_mlflow_has_them_as_metrics(recorded: Path, tmp_path: Path, new_store: Callable[[Path], str]) -> None:
    mlflow = pytest.importorskip("mlflow", reason="MLflow is not installed")
    uri = new_store(tmp_path / "mlflow.db")
    assert deliver(recorded, [Spec("mlflow", {"tracking_uri": uri})]) == {}
    client = mlflow.MlflowClient(uri)
    (found,) = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    for name, curve in curves(measured(recorded)).items():
        history = client.get_metric_history(found.info.run_id, name)
        assert sorted((point.step, point.value) for point in history) == curve


def test_samples_that_a_tracker_cannot_take_are_skipped_and_all_else_arrives(
    recorded: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(recorded, tmp_path / "copy")
    assert deliver(run, [Spec("lines:Lines", {"poison": "system/threads"})]) == {}
    assert lines.samples(run) == []
    assert lines.steps(run) == [0, 1]
    (cursor,) = cursors(run, "lines:Lines")
    assert cursor.system.skipped == [event.index for event in measured(run)]


@pytest.mark.parametrize("system", ["10", "fast", "1ms", 10, True, ""])
def test_an_interval_that_is_not_a_time_is_an_error_with_what_is_accepted(
    tmp_path: Path, system: Any
) -> None:
    with pytest.raises(trackhooks.InvalidValueError, match="system must be a time of at least '100ms'"):
        trackhooks.run(dir=tmp_path, system=system)


def test_a_misspelled_option_gets_the_right_name(tmp_path: Path) -> None:
    options: dict[str, Any] = {"sytem": "10s"}
    with pytest.raises(trackhooks.UnknownNameError, match="'system'"):
        trackhooks.run(dir=tmp_path, **options)


def test_gpus_are_measured() -> None:
    nvml = pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        pytest.skip(f"no GPU here: {error}")
    me = psutil.Process()
    metrics = Meter(me.pid, me.create_time()).measure()
    assert 0 <= metrics["system/gpu0_percent"] <= 100
    assert metrics["system/gpu0_memory_mib"] >= 0
