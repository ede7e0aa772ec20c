"""A training that is killed and resumed in another process continues its run, in all four trackers.

What was trained since the checkpoint is trained again: at the same steps, and in the place of what was there, where the
backend can replace anything.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import backends
import msgspec
import pytest
from backends import BACKENDS
from folders import SUPPORT
from warm import WarmPython

import trackhooks
from trackhooks.event import Event
from trackhooks.storage.run_folder import read_info
from trackhooks.testing import Seen

pytestmark = pytest.mark.slow

EPOCHS = 3
BEGIN = """
import json, os, signal, sys
sys.path.insert(0, {here!r})
import trackhooks

folder, options, resumes = json.loads(sys.argv[1])
settings = dict(dir=folder + "/runs", name="resumed", every=1, system=None, **options)

def die():
    if not resumes:
        os.kill(os.getpid(), signal.SIGKILL)
"""
"""Of a program that is killed amid its second epoch when it runs first, and then comes to its end."""

PYTORCH = """
path = folder + "/runs/resumed"
with trackhooks.run(**settings, **({"resume": path} if resumes else {})) as run:
    for epoch in run.epochs(3, start=1 if resumes else 0):
        for batch in run.train(range(4)):
            run.log(loss=4 * epoch + batch + 0.5 * resumes)
            if (epoch, batch) == (1, 2):
                die()
        for _ in run.validate(range(2)):
            run.log(loss=epoch + 0.5)
"""

KERAS = """
import keras
from keras_models import X, Y, sequential

class Die(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == (1, 2):
            die()

trackhooks.enable(**settings)
callbacks = [keras.callbacks.BackupAndRestore(folder + "/backup"), Die()]
sequential().fit(X, Y, batch_size=4, epochs=3, validation_split=0.2, verbose=0, callbacks=callbacks)
"""

ULTRALYTICS = """
from collections.abc import Callable
from pathlib import Path
from ultralytics import YOLO
from yolo import Shapes

def die_in_second_epoch(trainer):
    if trainer.epoch == 1:
        die()

trackhooks.enable(**settings)
if resumes:
    YOLO(folder + "/ultralytics/train/weights/last.pt").train(resume=True)
else:
    shapes = Shapes(Path(folder))
    model = shapes.model()
    model.add_callback("on_train_epoch_end", die_in_second_epoch)
    shapes.train(model, epochs=3)
"""

PROGRAMS = {"pytorch": PYTORCH, "keras": KERAS, "ultralytics": ULTRALYTICS}


class Resumed:
    """The run of a program that was killed and run again, and the status that it had in between."""

    def __init__(self, loop: str, folder: Path, store: str, python: WarmPython) -> None:
        self._python = python
        self.path = folder / "runs" / "resumed"
        self.options: dict[str, dict[str, Any]] = {
            "csv": {},
            "tensorboard": {},
            "mlflow": {"tracking_uri": store},
            "wandb": {"mode": "offline"},
        }
        program = folder / "program.py"
        program.write_text(dedent(BEGIN.format(here=str(SUPPORT)) + PROGRAMS[loop]))
        assert self.call(program, folder, resumes=False) == -signal.SIGKILL
        self.between = {name: self.seen(name).status for name in self.options}
        self.first = list(trackhooks.journal.read(self.path))
        assert self.call(program, folder, resumes=True) == 0
        self.events = list(trackhooks.journal.read(self.path))
        self.runs = [path.parent.name for path in (folder / "runs").glob("*/run.json")]

    def call(self, program: Path, folder: Path, resumes: bool) -> int:
        order = msgspec.json.encode([str(folder), self.options, resumes]).decode()
        started = self._python.start(program, order, cwd=folder)
        code = started.wait(timeout=300)
        if code not in (0, -signal.SIGKILL):
            pytest.fail(started.errors)
        return code

    def seen(self, tracker: str) -> Seen:
        return backends.delivered(self.path, tracker, self.options[tracker])


@pytest.fixture(scope="module", params=PROGRAMS)
def resumed(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    new_store: Callable[[Path], str],
    warm_python: WarmPython,
) -> Resumed:
    folder = tmp_path_factory.mktemp(request.param)
    return Resumed(request.param, folder, new_store(folder / "mlflow.db"), warm_python)


def batches(events: list[Event]) -> dict[int, float]:
    """Step → the loss that was recorded there last."""
    return {
        event.step: event.metrics["train_batch/loss"]
        for event in events
        if event.hook == "on_train_batch_end"
    }


def test_it_stays_one_run_and_each_epoch_is_whole(resumed: Resumed) -> None:
    assert resumed.runs == ["resumed"]
    assert read_info(resumed.path).status == "finished"
    told = [event.status for event in resumed.events if event.status]
    assert told == ["killed", "running", "finished"]
    epochs = [event.epoch for event in resumed.events if event.hook == "on_fit_epoch_end"]
    assert epochs == [0, 1, 2]


def test_the_steps_are_those_of_a_training_without_interruption(resumed: Resumed) -> None:
    before, after = batches(resumed.first), batches(resumed.events)
    steps = list(after)
    again = [event.step for event in resumed.events if event.hook == "on_train_batch_end"][len(before) :]
    per_epoch = len(steps) // EPOCHS
    assert steps == list(range(EPOCHS * per_epoch))
    assert again == list(range(per_epoch, EPOCHS * per_epoch))
    assert len(before) > per_epoch  # something was trained twice


@pytest.mark.parametrize("tracker", BACKENDS)
def test_every_tracker_has_one_run_with_all_of_it(tracker: str, resumed: Resumed) -> None:
    seen, number = resumed.seen(tracker), BACKENDS[tracker].number
    assert (resumed.between[tracker], seen.status) == ("killed", "finished")
    expected = {step: number(loss) for step, loss in batches(resumed.events).items()}
    assert dict(seen.metrics["train_batch/loss"]) == expected
    for name in ("train/loss", "val/loss"):
        assert [epoch for epoch, _ in seen.metrics[name]] == [0, 1, 2]


@pytest.mark.parametrize("tracker", ["csv", "tensorboard"])
def test_repeated_steps_replace_the_earlier_ones(tracker: str, resumed: Resumed) -> None:
    steps = [step for step, _ in resumed.seen(tracker).metrics["train_batch/loss"]]
    assert steps == list(batches(resumed.events))


@pytest.mark.parametrize("tracker", ["mlflow", "wandb"])
def test_rows_that_cannot_be_replaced_are_kept_beside_the_new_ones(tracker: str, resumed: Resumed) -> None:
    steps = [step for step, _ in resumed.seen(tracker).metrics["train_batch/loss"]]
    told = [event.step for event in resumed.events if event.hook == "on_train_batch_end"]
    assert sorted(steps) == sorted(told)
