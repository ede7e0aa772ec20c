"""What is logged into a run that has ended, or in a forked process, is lost: one warning says so, and names the run."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy
import pytest

import trackhooks
from trackhooks import Run, TrackhooksWarning

FORKS = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")


def over(batches: Iterable[Any]) -> None:
    for _ in batches:
        pass


def in_train(run: Run) -> None:
    for _ in run.train(range(2)):
        run.log(loss=1.0)


def enter(run: Run) -> None:
    with run:
        pass


CALLS: dict[str, Callable[[Run], Any]] = {
    "log": lambda run: run.log(a=1.0),
    "log at a step": lambda run: run.log({"a": 1.0}, step=3),
    "log_params": lambda run: run.log_params(a=1),
    "log_text": lambda run: run.log_text("a", "b"),
    "log_table": lambda run: run.log_table("a", [[1]], ["a"]),
    "log_histogram": lambda run: run.log_histogram("a", [1.0]),
    "log_image": lambda run: run.log_image("a", numpy.zeros((2, 2))),
    "log_file": lambda run: run.log_file(__file__),
    "log_model": lambda run: run.log_model(__file__),
    "log_export": lambda run: run.log_export(__file__),
    "epochs": lambda run: over(run.epochs(2)),
    "train": in_train,
    "validate": lambda run: over(run.validate(range(2))),
    "predict": lambda run: over(run.predict(range(2))),
    "with": enter,
    "a hook": lambda run: run.run_callbacks("on_train_batch_end", None, {"loss": 1.0}),
    "Keras' hook": lambda run: run.callbacks.on_train_batch_end(0, {"loss": 1.0}),
}


def warned(call: Callable[[], Any]) -> list[str]:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        call()
    return [str(one.message) for one in found if issubclass(one.category, TrackhooksWarning)]


def ended(directory: Path, **options: Any) -> Run:
    with trackhooks.run(dir=directory, name="digits", delivery="off", **options) as run:
        run.log(loss=1.0)
    return run


@pytest.mark.parametrize("name", CALLS)
def test_a_call_after_the_end_warns_once_and_names_the_run(tmp_path: Path, name: str) -> None:
    run = ended(tmp_path)
    before = (run.path / "journal").read_bytes()
    (message,) = warned(lambda: [CALLS[name](run) for _ in range(2)])
    assert message.startswith("run 'digits' is finished: ")
    assert f"trackhooks.run(resume={str(run.path)!r})" in message
    assert warned(lambda: [call(run) for call in CALLS.values()]) == []
    assert (run.path / "journal").read_bytes() == before


def test_a_model_that_is_watched_or_attached_after_the_end_is_reported(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    ultralytics = pytest.importorskip("ultralytics")
    (message,) = warned(lambda: ended(tmp_path).watch(torch.nn.Linear(1, 1)))
    assert "is finished" in message
    (message,) = warned(lambda: ended(tmp_path).attach(ultralytics.YOLO("yolo11n.yaml")))
    assert "is finished" in message


def test_keras_that_trains_with_a_run_that_has_ended_is_reported(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    with trackhooks.run(dir=tmp_path, name="digits", delivery="off") as run:
        callback = run.keras
        model.fit(numpy.zeros((2, 1)), numpy.zeros(2), verbose=0, callbacks=[callback])
    (message,) = warned(
        lambda: model.fit(numpy.zeros((2, 1)), numpy.zeros(2), verbose=0, callbacks=[callback])
    )
    assert message.startswith("run 'digits' is finished: ")


def test_the_message_has_the_status(tmp_path: Path) -> None:
    run = trackhooks.run(dir=tmp_path, name="digits", delivery="off")
    run.close("failed", "no")
    (message,) = warned(lambda: run.log(a=1.0))
    assert message.startswith("run 'digits' is finished (failed): ")


def test_closing_flushing_waiting_and_leaving_after_the_end_lose_nothing_and_say_nothing(
    tmp_path: Path,
) -> None:
    def leave() -> None:
        with trackhooks.run(dir=tmp_path, delivery="off") as run:
            over(run.epochs(1))
            run.close()
            run.flush()
            run.wait()
        run.close("failed")

    assert warned(leave) == []


def test_a_strict_run_raises(tmp_path: Path) -> None:
    run = ended(tmp_path, strict=True)
    for _ in range(2):
        with pytest.raises(trackhooks.InvalidValueError, match="run 'digits' is finished"):
            run.log(a=1.0)


def test_a_run_that_never_recorded_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKHOOKS_DISABLED", "1")
    run = ended(tmp_path)
    assert warned(lambda: [call(run) for call in CALLS.values()]) == []


def test_a_run_that_is_resumed_after_the_warning_records(tmp_path: Path) -> None:
    run = ended(tmp_path)
    assert warned(lambda: run.log(a=1.0))
    with trackhooks.run(resume=run.path, delivery="off") as again:
        assert warned(lambda: again.log(a=2.0)) == []


@pytest.mark.slow  # starts a program
def test_an_exit_handler_that_logs_after_the_run_was_closed_is_reported(
    program: Callable[..., str], tmp_path: Path
) -> None:
    said = program(
        """
        import atexit, sys, warnings
        sys.stderr = sys.stdout
        atexit.register(lambda: run.log(late=1.0))
        import trackhooks
        run = trackhooks.run(dir=sys.argv[1], name="digits", delivery="off")
        run.log(a=1.0)
        """,
        tmp_path,
    )
    assert said.count("TrackhooksWarning: run 'digits' is finished: ") == 1


@FORKS
@pytest.mark.slow  # starts a program
def test_a_forked_process_that_logs_is_reported_once_and_its_parent_is_not(
    program: Callable[..., str], tmp_path: Path
) -> None:
    said = program(
        """
        import os, sys
        sys.stderr = sys.stdout
        import trackhooks
        with trackhooks.run(dir=sys.argv[1], name="digits", delivery="off") as run:
            run.log(a=1.0)
            sys.stdout.flush()
            if not os.fork():
                run.log(child=1.0)
                for _ in run.train(range(2)):
                    run.log(child=1.0)
                sys.stdout.flush()
                os._exit(0)
            os.wait()
            run.log(a=2.0)
        """,
        tmp_path,
    )
    assert said.count("TrackhooksWarning") == 1
    assert "run 'digits' belongs to the process that opened it" in said
    names = [name for event in trackhooks.journal.read(tmp_path / "digits") for name in event.metrics]
    assert names == ["a", "a"]


def test_epochs_inside_epochs_lose_nothing_and_are_reported_once(tmp_path: Path) -> None:
    def train() -> None:
        with trackhooks.run(dir=tmp_path, name="digits", delivery="off") as run:
            for _ in run.epochs(2):
                for _ in run.epochs(3):
                    for batch in run.train(range(2)):
                        run.log(loss=float(batch))
                run.log(outer=1.0)

    (message,) = warned(train)
    assert message.startswith("run 'digits': run.epochs inside run.epochs.")
    found = list(trackhooks.journal.read(tmp_path / "digits"))
    assert [event.hook for event in found].count("on_train_start") == 1
    assert [event.step for event in found if event.hook == "on_train_batch_end"] == list(range(12))
    ends = [event for event in found if event.hook == "on_fit_epoch_end"]
    assert [(event.epoch, event.metrics["train/loss"], event.metrics["outer"]) for event in ends] == [
        (0, 0.5, 1.0),
        (1, 0.5, 1.0),
    ]
