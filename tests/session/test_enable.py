"""`enable` and `disable`: which run each training belongs to, and that everything is restored."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any, ClassVar

import keras
import pytest
from folders import SUPPORT
from keras_models import X, Y, events, infos, names, runs, sequential
from warm import WarmProgram

import trackhooks
from trackhooks.event import Event, RunInfo
from trackhooks.recording import open_runs
from trackhooks.tracker import State

ENVIRONMENT = os.environ | {"KERAS_BACKEND": "torch"}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The folder with the runs, while `enable` is on."""
    trackhooks.enable(dir=tmp_path / "runs", delivery="off")
    yield tmp_path / "runs"
    trackhooks.disable()


@pytest.fixture
def nothing_open() -> None:
    """Closes the runs that earlier tests have left open, as a `keras_callback` does until its model is gone."""
    for run in open_runs.every():
        run.close()


def fit(model: Any, **more: Any) -> Any:
    return model.fit(X, Y, **{"verbose": 0, "batch_size": 10, **more})


def callback(event: str, what: Callable[[], Any]) -> Any:
    """A callback of Keras that does something at an event."""
    made = keras.callbacks.Callback()
    setattr(made, event, lambda *_, **__: what())
    return made


# Every training


def test_a_fit_is_recorded_without_a_callback(folder: Path) -> None:
    fit(sequential(), epochs=2)
    (info,) = infos(folder)
    assert info.status == "finished"
    assert len(events(Path(info.path), "on_fit_epoch_end")) == 2


def test_a_model_that_exists_already_is_recorded(tmp_path: Path) -> None:
    model = sequential()
    fit(model)
    trackhooks.enable(dir=tmp_path, delivery="off")
    fit(model)
    trackhooks.disable()
    assert len(infos(tmp_path)) == 1


def test_the_callbacks_of_the_user_stay_as_they_are(folder: Path) -> None:
    given: list[Any] = [keras.callbacks.EarlyStopping(monitor="loss")]
    history = fit(sequential(), callbacks=given)
    assert len(given) == 1
    assert isinstance(history, keras.callbacks.History)


def test_a_list_of_keras_own_may_be_given(folder: Path) -> None:
    model = sequential()
    given = keras.callbacks.CallbackList([], add_history=True, model=model, epochs=1, steps=2)
    fit(model, callbacks=given)
    assert len(infos(folder)) == 1
    assert [type(callback).__name__ for callback in given.callbacks] == ["History"]


def test_each_model_has_its_run(folder: Path) -> None:
    first, second = sequential(), sequential()
    fit(first)
    fit(second)
    first.evaluate(X, Y, verbose=0)
    assert [names(path).count("on_val_end") for path in runs(folder)] == [1, 0]


def test_a_model_that_is_trained_again_gets_a_new_run(folder: Path) -> None:
    model = sequential()
    fit(model)
    fit(model)
    model.evaluate(X, Y, verbose=0)
    assert [names(path).count("on_val_end") for path in runs(folder)] == [0, 1]


def test_a_training_that_resumes_continues_its_run(folder: Path) -> None:
    model = sequential()
    fit(model, epochs=2)
    fit(model, epochs=3, initial_epoch=2)
    (info,) = infos(folder)
    assert [event.epoch for event in events(Path(info.path), "on_fit_epoch_end")] == [0, 1, 2]
    told = [event.status for event in events(Path(info.path)) if event.status]
    assert told == ["finished", "running", "finished"]
    assert info.status == "finished"


def test_a_training_that_is_restored_from_its_backup_continues_its_run(folder: Path, tmp_path: Path) -> None:
    model = sequential()
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup", delete_checkpoint=False)
    fit(model, epochs=2, callbacks=[backup])
    fit(model, epochs=4, callbacks=[backup])
    (info,) = infos(folder)
    assert [event.epoch for event in events(Path(info.path), "on_fit_epoch_end")] == [0, 1, 2, 3]


def test_a_training_joins_the_run_of_an_evaluation_before_it(folder: Path) -> None:
    model = sequential()
    model.evaluate(X, Y, verbose=0)
    model.predict(X, verbose=0)
    fit(model)
    (path,) = runs(folder)
    found = names(path)
    assert found.index("on_val_end") < found.index("on_predict_end") < found.index("on_train_start")


def test_later_evaluations_saves_and_predictions_belong_to_the_run_that_has_ended(
    folder: Path, tmp_path: Path
) -> None:
    model = sequential()
    fit(model)
    model.evaluate(X, Y, verbose=0)
    model.save(tmp_path / "model.keras")
    model.predict(X, verbose=0)
    (info,) = infos(folder)
    assert names(Path(info.path))[-5:] == [
        "on_val_start", "on_val_end", "on_model_save", "on_predict_start", "on_predict_end",
    ]  # fmt: skip
    assert info.status == "finished"


def test_saving_alone_opens_no_run(folder: Path, tmp_path: Path) -> None:
    sequential().save(tmp_path / "model.keras")
    assert not folder.exists()


# Inside of a training


def test_a_fit_within_a_fit_is_a_child_run(folder: Path) -> None:
    fit(sequential(), callbacks=[callback("on_epoch_end", lambda: fit(sequential()))])
    outer, inner = infos(folder)
    assert (outer.parent, inner.parent) == (None, outer.id)
    assert [names(Path(info.path)).count("on_train_start") for info in (outer, inner)] == [1, 1]


def test_a_fit_within_a_run_of_the_user_is_a_child_of_it(folder: Path) -> None:
    with trackhooks.run(dir=folder, delivery="off") as run:
        for _ in run.epochs(1):
            fit(sequential())
    outer, inner = infos(folder)
    assert inner.parent == outer.id == run.id


@pytest.mark.parametrize("mode", ["evaluate", "predict"])
def test_what_a_callback_does_belongs_to_the_run_around_it(mode: str, folder: Path) -> None:
    other = sequential()
    does = {
        "evaluate": lambda: other.evaluate(X, Y, verbose=0),
        "predict": lambda: other.predict(X, verbose=0),
    }
    fit(sequential(), callbacks=[callback("on_epoch_end", does[mode])])
    (path,) = runs(folder)
    assert {"evaluate": "on_val_end", "predict": "on_predict_end"}[mode] in names(path)
    assert names(path)[-2:] == ["on_train_end", "teardown"]


def test_an_exception_in_the_inner_training_may_be_caught_in_the_outer(folder: Path) -> None:
    def fails() -> None:
        with pytest.raises(ZeroDivisionError):
            fit(sequential(), callbacks=[callback("on_epoch_end", lambda: 1 / 0)])

    fit(sequential(), callbacks=[callback("on_epoch_end", fails)])
    assert [info.status for info in infos(folder)] == ["finished", "failed"]


# Runs of the user's own


def test_a_run_of_the_user_is_used_instead(folder: Path) -> None:
    model = sequential()
    with trackhooks.run(dir=folder, delivery="off") as run:
        fit(model, callbacks=[run.keras])
        model.evaluate(X, Y, verbose=0)
    assert [info.id for info in infos(folder)] == [run.id]
    assert names(run).count("on_val_end") == 1


def test_a_callback_that_opens_runs_is_used_instead(folder: Path) -> None:
    fit(sequential(), callbacks=[trackhooks.keras_callback(dir=folder, name="own", delivery="off")])
    assert [info.name for info in infos(folder)] == ["own"]


# Many


@pytest.mark.slow
def test_every_fold_of_a_cross_validation_is_a_run_and_keeps_nothing_alive(folder: Path) -> None:
    models = []
    for _ in range(20):
        model = sequential()
        fit(model)
        models.append(weakref.ref(model))
    del model
    gc.collect()
    assert [info.status for info in infos(folder)] == ["finished"] * 20
    assert [reference for reference in models if reference() is not None] == []
    fit(sequential())
    held = [path.resolve() for path in Path("/proc/self/fd").iterdir() if path.exists()]
    assert (
        len([path for path in held if path.name == "journal" and path.is_relative_to(folder.resolve())]) <= 2
    )


@pytest.mark.slow
def test_twenty_fits_are_delivered_by_one_process(
    warm_program: Callable[..., WarmProgram], tmp_path: Path
) -> None:
    done = warm_program(
        f"""
        import sys
        sys.path.insert(0, {str(SUPPORT)!r})
        import psutil, trackhooks
        trackhooks.enable(dir={str(tmp_path / "runs")!r})
        from keras_models import X, Y, sequential
        for _ in range(20):
            sequential().fit(X, Y, verbose=0)
            assert len(psutil.Process().children()) == 1
        """
    )
    assert (done.poll(), done.output) == (0, ""), done.errors
    assert len(list(tmp_path.glob("runs/*/epochs.csv"))) == 20


def test_each_thread_has_separate_runs(folder: Path) -> None:
    def train() -> None:
        fit(sequential(), epochs=2)

    threads = [threading.Thread(target=train) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [info.parent for info in infos(folder)] == [None, None]
    for path in runs(folder):
        assert [event.step for event in events(path, "on_train_batch_end")] == [0, 1, 2, 3]


class Seen(trackhooks.Tracker):
    """Notes which of its objects gets which run."""

    finished: ClassVar[list[tuple[str, int, str]]] = []

    def start(self, run: RunInfo, state: State) -> None:
        self.epochs = 0

    def on_fit_epoch_end(self, event: Event) -> None:
        self.epochs += 1

    def finish(self, status: str, reason: str) -> None:
        self.finished.append((self.run.name, self.epochs, status))


def test_a_tracker_that_is_an_object_takes_every_run(tmp_path: Path) -> None:
    trackhooks.enable(Seen(), dir=tmp_path, name="fold")
    for epochs in (1, 2, 3):
        fit(sequential(), epochs=epochs)
    trackhooks.disable()
    while len(Seen.finished) < 3:
        time.sleep(0.01)
    assert sorted(Seen.finished) == [
        ("fold", 1, "finished"),
        ("fold-2", 2, "finished"),
        ("fold-3", 3, "finished"),
    ]


# The end


def test_the_status_is_final_at_the_exception(folder: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        fit(sequential(), callbacks=[callback("on_epoch_end", lambda: 1 / 0)])
    (info,) = infos(folder)
    assert (info.status, info.reason) == ("failed", "ZeroDivisionError: division by zero")


def test_a_training_that_fails_before_its_first_hook_is_not_a_run(folder: Path) -> None:
    with pytest.raises(TypeError):
        sequential().fit(X, Y, no_such_argument=1)
    with pytest.raises(ValueError, match="cardinality"):
        sequential().fit(X, Y[:3], verbose=0)
    assert not folder.exists()


def test_a_run_of_an_evaluation_alone_is_finished_when_it_is_closed(folder: Path) -> None:
    sequential().evaluate(X, Y, verbose=0)
    assert [info.status for info in infos(folder)] == ["running"]
    trackhooks.disable()
    assert [info.status for info in infos(folder)] == ["finished"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ending", "status"),
    [
        ("model.fit(X, Y, verbose=0, callbacks=[Exits()])", "failed"),
        ("model.evaluate(X, Y, verbose=0); 1 / 0", "failed"),
        ("model.fit(X, Y, verbose=0); 1 / 0", "finished"),
    ],
)
def test_a_process_that_ends_leaves_its_runs_with_their_status(
    ending: str, status: str, warm_program: Callable[..., WarmProgram], tmp_path: Path
) -> None:
    source = f"""
import sys
sys.path.insert(0, {str(SUPPORT)!r})
import trackhooks
trackhooks.enable(dir={str(tmp_path / "runs")!r}, delivery="off")
from keras_models import X, Y, keras, sequential

class Exits(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        sys.exit(3)

model = sequential()
{ending}
"""
    assert warm_program(source, env=ENVIRONMENT).poll() == (
        3 if "Exits" in ending else 1 if "1 / 0" in ending else 0
    )
    assert [info.status for info in infos(tmp_path / "runs")] == [status]


# On and off


def test_off_restores_keras_and_ends_the_recording(tmp_path: Path, nothing_open: None) -> None:
    def state() -> list[Any]:
        methods = [getattr(keras.Model, name) for name in ("fit", "evaluate", "predict", "save", "export")]
        return [methods, [[cell.cell_contents for cell in method.__closure__ or ()] for method in methods]]

    before = state()
    trackhooks.enable(dir=tmp_path, delivery="off")
    model = sequential()
    fit(model)
    assert state() != before
    trackhooks.disable()
    assert state() == before
    fit(model)
    model.evaluate(X, Y, verbose=0)
    (info,) = infos(tmp_path)
    assert names(Path(info.path))[-1] == "teardown"


def test_on_twice_is_on_once(tmp_path: Path) -> None:
    before = keras.Model.fit, keras.Model.export
    for _ in range(2):
        trackhooks.enable(dir=tmp_path, delivery="off")
    fit(sequential())
    trackhooks.disable()
    trackhooks.disable()
    assert len(infos(tmp_path)) == 1
    assert before == (keras.Model.fit, keras.Model.export)


def test_on_again_with_other_options_holds_for_the_runs_from_then_on(tmp_path: Path) -> None:
    for name in ("first", "second"):
        trackhooks.enable(dir=tmp_path, name=name, delivery="off")
        fit(sequential())
    trackhooks.disable()
    assert [info.name for info in infos(tmp_path)] == ["first", "second"]


def test_a_training_resumes_its_run_although_enable_was_called_again(tmp_path: Path) -> None:
    """As when the cell of a notebook is run again."""
    model = sequential()
    for first, last in ((0, 1), (1, 2)):
        trackhooks.enable(dir=tmp_path, delivery="off")
        fit(model, initial_epoch=first, epochs=last)
    trackhooks.disable()
    model.evaluate(X, Y, verbose=0)
    (path,) = runs(tmp_path)
    assert names(path).count("on_fit_epoch_end") == 2
    assert names(path)[-1] == "teardown"


def test_on_again_after_off(tmp_path: Path) -> None:
    for _ in range(2):
        trackhooks.enable(dir=tmp_path, delivery="off")
        fit(sequential())
        trackhooks.disable()
    assert len(infos(tmp_path)) == 2


def test_a_wrong_option_changes_nothing(tmp_path: Path) -> None:
    with pytest.raises(trackhooks.UnknownNameError, match="mlfow"):
        trackhooks.enable("mlfow", dir=tmp_path)
    with pytest.raises(trackhooks.InvalidValueError, match="resume"):
        trackhooks.enable(resume="runs/a")
    fit(sequential())
    assert infos(tmp_path) == []


def test_a_directory_that_cannot_be_written_does_not_stop_a_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    trackhooks.enable(dir=tmp_path / "file", delivery="off")
    with pytest.warns(trackhooks.TrackhooksWarning, match="Nothing is recorded"):
        fit(sequential())
    trackhooks.enable(dir=tmp_path / "file", delivery="off", strict=True)
    with pytest.raises(trackhooks.TrackhooksError, match="no run can be recorded"):
        fit(sequential())
    trackhooks.disable()


def test_if_recording_is_disabled_everything_runs_and_nothing_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nothing_open: None
) -> None:
    monkeypatch.setenv("TRACKHOOKS_DISABLED", "1")
    trackhooks.enable(dir=tmp_path)
    model = sequential()
    for _ in range(3):
        model.predict(X, verbose=0)
    fit(model)
    assert len(open_runs.every()) == 1
    trackhooks.disable()
    assert open_runs.every() == []
    assert list(tmp_path.iterdir()) == []


def test_disabling_within_a_training_lets_it_continue(folder: Path) -> None:
    history = fit(sequential(), epochs=2, callbacks=[callback("on_epoch_end", trackhooks.disable)])
    assert len(history.history["loss"]) == 2


# Wherever the program runs


def run_python(source: str, *command: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, *command] if command else [sys.executable, "-c", dedent(source)],
        cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


SCRIPT = """
import keras, numpy, sys
model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
model.fit(numpy.zeros((4, 2)), numpy.zeros(4), epochs=2, verbose=0)
"""


@pytest.mark.slow
def test_it_may_be_called_before_the_import_of_keras(
    warm_program: Callable[..., WarmProgram], tmp_path: Path
) -> None:
    program = warm_program("import trackhooks\ntrackhooks.enable(delivery='off')\n" + SCRIPT, env=ENVIRONMENT)
    assert program.poll() == 0, program.errors
    assert [info.status for info in infos(tmp_path / "runs")] == ["finished"]


def test_a_cell_of_a_notebook_may_train(folder: Path) -> None:
    exec(SCRIPT, {"__name__": "__main__"})
    assert [info.status for info in infos(folder)] == ["finished"]


def test_it_imports_no_framework_and_no_tracker(tmp_path: Path) -> None:
    said = run_python(
        """
        import sys, trackhooks
        trackhooks.enable("csv", "tensorboard", "mlflow", "wandb")
        heavy = ("keras", "ultralytics", "torch", "tensorflow", "mlflow", "wandb", "tensorboard", "numpy")
        print([name for name in heavy if name in sys.modules])
        trackhooks.disable()
        """,
        cwd=tmp_path,
    )
    assert said == "[]\n"


def test_a_training_process_loads_neither_openssl_nor_what_reads_runs(tmp_path: Path) -> None:
    said = run_python(
        """
        import sys, trackhooks
        run = trackhooks.run("csv", "tensorboard", "mlflow", "wandb", delivery="off")
        for batch in run.train(range(2)):
            run.log(loss=0.5)
        run.log_params({"lr": 0.1})
        run.close()
        print(*sorted({"hashlib", "trackhooks.reading"} & sys.modules.keys()))
        print(trackhooks.runs is trackhooks.runs, "trackhooks.reading" in sys.modules)
        """,
        cwd=tmp_path,
    )
    assert said == "\nTrue True\n"


@pytest.mark.slow
def test_it_works_under_pytest(tmp_path: Path) -> None:
    body = "".join(f"    {line}\n" for line in SCRIPT.strip().splitlines())
    test = "import trackhooks\n\ndef test_training():\n    trackhooks.enable(delivery='off')\n" + body
    (tmp_path / "test_training.py").write_text(test)
    run_python("", "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_training.py", cwd=tmp_path)
    assert [info.status for info in infos(tmp_path / "runs")] == ["finished"]


@pytest.mark.slow
def test_mlflow_that_logs_keras_by_itself_is_warned_about_once(
    warm_program: Callable[..., WarmProgram], tmp_path: Path
) -> None:
    done = warm_program(
        f"""
        import warnings
        import mlflow, trackhooks
        mlflow.set_tracking_uri("sqlite:///mlflow.db")
        mlflow.keras.autolog(log_models=False, log_datasets=False)
        trackhooks.enable("mlflow", delivery="off")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", trackhooks.TrackhooksWarning)
            for _ in range(2):
                exec({SCRIPT!r})
        print([str(warning.message) for warning in caught if warning.category is trackhooks.TrackhooksWarning])
        """,
        env=ENVIRONMENT,
    )
    assert done.poll() == 0, done.errors
    assert done.output.count("mlflow logs this training by itself as well") == 1
    assert len(infos(tmp_path / "runs")) == 2
