"""Runs in notebooks: the live display of a run, and cells that are run again. A real kernel executes the cells."""

from __future__ import annotations

import queue
import random
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import trackhooks
from trackhooks.reading.curve import Curve

DEADLINE_S = 120

Message = dict[str, Any]


class Notebook:
    """A kernel, and what its cells put out."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def run(self, code: str, cell: str = "") -> list[Message]:
        """Execute a cell, and return its messages. Jupyter sends the id of the cell; some programs do not."""
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}}
        metadata = {"cellId": cell} if cell else {}
        request = self._client.session.msg("execute_request", content, metadata=metadata)
        self._client.shell_channel.send(request)
        found: list[Message] = []
        for message in self.messages():
            if message["parent_header"].get("msg_id") != request["header"]["msg_id"]:
                continue
            if message["content"].get("execution_state") == "idle":
                return found
            assert message["msg_type"] != "error", message["content"]
            found.append(message)
        raise AssertionError(f"the cell did not end: {code}")

    def messages(self) -> Iterator[Message]:
        """Yield all messages until the deadline."""
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            try:
                yield self._client.get_iopub_msg(timeout=1)
            except queue.Empty:
                continue


def html(messages: list[Message]) -> list[str]:
    return [
        found["content"]["data"]["text/html"] for found in messages if found["msg_type"] == "display_data"
    ]


def said(messages: list[Message]) -> str:
    return "".join(found["content"]["text"] for found in messages if found["msg_type"] == "stream")


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Notebook]:
    pytest.importorskip("ipykernel", reason="ipykernel is one of requirements/dev.txt")
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(
        startup_timeout=DEADLINE_S, cwd=str(tmp_path_factory.mktemp("notebook"))
    )
    made = Notebook(client)
    made.run("import os; os.environ['TRACKHOOKS_DELIVERY'] = 'off'; import trackhooks")
    yield made
    client.stop_channels()
    manager.shutdown_kernel(now=True)


@pytest.fixture
def name() -> str:
    return f"run-{uuid.uuid4().hex[:8]}"


# The display


@pytest.mark.slow
def test_a_run_is_shown_live_until_it_ends(notebook: Notebook, name: str) -> None:
    opened = f"run = trackhooks.run(name={name!r}, params={{'lr': 0.25}}, project='digits'); run"
    (shown,) = html(notebook.run(opened, "first"))
    for text in (name, "running", "lr", "0.25", "digits"):
        assert text in shown
    notebook.run(
        "for epoch in run.epochs(3):\n"
        "    for _ in run.train(range(2)): run.log(loss=3)\n"
        "    for _ in run.validate(range(2)): run.log(loss=[0.5, 0.125, 0.75][epoch])\n"
        "run.close()",
        "second",
    )
    updates = (
        message["content"]["data"]["text/html"]
        for message in notebook.messages()
        if message["msg_type"] == "update_display_data"
    )
    last = next(update for update in updates if "finished" in update and name in update)
    assert "<td>val/loss ↓</td><td>0.75</td><td>0.125 (1)</td>" in last
    assert "val/loss ↓ over the epochs" in last
    assert "<polyline" in last


@pytest.mark.slow
def test_tables_print_as_text_in_a_notebook(notebook: Notebook, name: str) -> None:
    """Rich would display them instead, and leave the printed text empty."""
    notebook.run(f"with trackhooks.run(name={name!r}) as run: run.log(loss=0.5)")
    messages = notebook.run(f"print(trackhooks.compare([{name!r}])); trackhooks.compare([{name!r}])")
    assert html(messages) == []
    assert "loss ↓" in said(messages)
    (result,) = [found for found in messages if found["msg_type"] == "execute_result"]
    assert "loss ↓" in result["content"]["data"]["text/plain"]
    assert "<table>" in result["content"]["data"]["text/html"]


def test_a_run_that_is_closed_is_shown_with_its_last_state(run: trackhooks.Run) -> None:
    run.log(loss=0.5)
    run.close("failed", "ValueError: no")
    shown = run._repr_html_()
    assert shown is not None
    assert "failed" in shown
    assert "ValueError: no" in shown


def test_a_run_that_is_read_back_is_shown_like_an_open_one(tmp_path: Path) -> None:
    with trackhooks.run(dir=tmp_path, delivery="off", params={"lr": 0.1}) as run:
        for loss in (1.0, 0.5):
            run.log(loss=loss)
    (found,) = trackhooks.runs(tmp_path)
    shown = found._repr_html_()
    assert shown == run._repr_html_()
    assert "<polyline" in shown
    shutil.rmtree(run.path)
    assert "finished" in found._repr_html_()  # its curve is gone


def test_what_users_write_is_escaped(tmp_path: Path) -> None:
    odd = "<b>&amp;</b>"
    with trackhooks.run(dir=tmp_path, delivery="off", params={odd: odd}, tags=[odd], project=odd) as run:
        run.log({odd: 1.0})
        run.log({odd: 2.0})
    assert odd not in (run._repr_html_() or odd)


def test_a_run_that_records_nothing_has_no_html(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRACKHOOKS_DISABLED", "1")
    with trackhooks.run(dir=tmp_path) as run:
        assert run._repr_html_() is None


def test_links_of_trackers_are_shown(tmp_path: Path) -> None:
    with trackhooks.run("tensorboard", dir=tmp_path, delivery="inline", name="a") as run:
        run.log(loss=1.0)
    assert run.wait(DEADLINE_S)
    assert f"<code>tensorboard --logdir {tmp_path}</code>" in (run._repr_html_() or "")


def test_a_curve_keeps_its_extremes_with_limited_points() -> None:
    curve, values = Curve(), random.Random(0)
    for step in range(20_000):
        curve.add(step, 99.0 if step == 7_777 else -99.0 if step == 3_333 else values.random())
    curve.add(20_000, float("nan"))
    curve.add(20_001, 0.5)
    assert len(curve.points) <= 401
    assert {(7_777, 99.0), (3_333, -99.0), (20_001, 0.5)} <= set(curve.points)
    assert curve.points == sorted(curve.points)


# Cells that are run again


@pytest.mark.slow
@pytest.mark.parametrize(("cell", "change"), [("opens", "  # changed"), ("", "")])
def test_a_cell_that_is_run_again_closes_its_earlier_run_and_says_so(
    notebook: Notebook, name: str, cell: str, change: str
) -> None:
    """With an id, also if its code has changed; without one, a cell is recognized by its code."""
    opens = f"run = trackhooks.run(name={name!r})"
    assert "is closed" not in said(notebook.run(opens, cell))
    notebook.run("first = run")
    assert f"run {name} is closed: the cell that opened it was run again" in said(
        notebook.run(opens + change, cell)
    )
    assert "finished running" in said(notebook.run("print(first.status, run.status); run.close()"))


@pytest.mark.slow
def test_the_runs_of_other_cells_and_of_the_same_execution_stay_open(notebook: Notebook, name: str) -> None:
    several = f"many = [trackhooks.run(name={name!r}) for _ in range(3)]"
    notebook.run(several, f"a-{name}")
    notebook.run(f"other = trackhooks.run(name={name!r})", f"b-{name}")
    status = "print(*(run.status for run in [*many, other]))"
    assert "running running running running" in said(notebook.run(status))
    notebook.run("before = many")
    assert said(notebook.run(several, f"a-{name}")).count("is closed") == 3
    closing = "print(*(run.status for run in [*before, other])); [run.close() for run in [*many, other]]"
    assert "finished finished finished running" in said(notebook.run(closing))


@pytest.mark.slow
def test_a_run_whose_training_was_interrupted_can_be_resumed_by_running_the_cell_again(
    notebook: Notebook, name: str
) -> None:
    notebook.run(f"run = trackhooks.run(name={name!r}); run.log(loss=1)", name)
    resumed = notebook.run(f"run = trackhooks.run(resume='runs/{name}'); run.log(loss=2); run.close()", name)
    assert "is closed" in said(resumed)


@pytest.mark.slow
def test_in_ipython_a_line_that_is_entered_again_closes_its_earlier_run(
    program: Callable[..., str], tmp_path: Path
) -> None:
    pytest.importorskip("IPython", reason="ipykernel is one of requirements/dev.txt")
    lines = program(
        """
        import os, sys
        os.chdir(sys.argv[1])
        sys.stderr = sys.stdout
        from IPython.core.interactiveshell import InteractiveShell
        shell = InteractiveShell.instance()
        for line in ("import trackhooks", "run = trackhooks.run(name='a', delivery='off')", "run", "first = run"):
            shell.run_cell(line, store_history=True)
        shell.run_cell("run = trackhooks.run(name='a', delivery='off')", store_history=True)
        shell.run_cell("print(first.status, run.status)")
        """,
        tmp_path,
    )
    assert lines.count("<trackhooks run 'a', running, in ") == 1
    assert "run a is closed: the cell that opened it was run again" in lines
    assert lines.splitlines()[-1] == "finished running"
