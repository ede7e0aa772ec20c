"""Whatever any public call accepts can be read back; what it does not accept, it refuses by name."""

from __future__ import annotations

import importlib
import itertools
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras_models import sequential
from odd_values import ODD, UNREADABLE, Endless, Pydantic, RaisesByItem, RefusalError, refuse
from omegaconf.errors import OmegaConfBaseException

import trackhooks
from trackhooks import InvalidValueError, Run, TrackhooksError, TrackhooksWarning
from trackhooks.event import FINAL, Event, File, Text
from trackhooks.recording import open_runs
from trackhooks.session.run import recorder_of
from trackhooks.storage import journal, run_folder

Call = Callable[[Run, Any], Any]


def metrics_of(run: Run, value: Any) -> None:
    """What a callback writes into the logs."""

    class Writes:
        def on_epoch_end(self, epoch: int, logs: dict[Any, Any]) -> None:
            logs["odd"] = value

        def on_train_batch_end(self, batch: int, logs: dict[Any, Any]) -> None:
            logs["odd"] = value

    writer = Writes()
    run.callbacks.append(writer)
    try:
        run.callbacks.on_train_batch_end(0, {"loss": 1.0})
        run.callbacks.on_epoch_end(0, {"loss": 1.0})
    finally:
        run.callbacks.remove(writer)


def step_by(run: Run, value: Any) -> None:
    run.step = value


def inside(run: Run, log: Callable[[], None]) -> None:
    for _ in run.train([torch.ones(2)]):
        log()


def file_of(run: Run) -> Path:
    found = run.path / "a.pt"
    found.write_bytes(b"")
    return found


def few(items: Any) -> None:
    """Iterates, but not forever. What the data of the user raise is raised."""
    with suppress(RefusalError, OmegaConfBaseException, RuntimeError):
        for _ in itertools.islice(items, 3):
            pass


def validating(run: Run, log: Callable[[], None]) -> None:
    for _ in run.validate([1]):
        log()


def predicting(run: Run, log: Callable[[], None]) -> None:
    for _ in run.predict([1]):
        log()


def keras_epoch(
    run: Run, *, epoch: Any = 0, logs: Any = None, batch: Any = 0, batch_logs: Any = None, params: Any = None
) -> None:
    """A training of one batch, as a loop of the user fires it with the callback of Keras."""
    callback = run.keras
    callback.set_params(params)
    callback.set_model(MODEL)
    callback.on_train_begin()
    try:
        callback.on_epoch_begin(epoch)
        callback.on_train_batch_begin(batch)
        callback.on_train_batch_end(batch, batch_logs)
        callback.on_epoch_end(epoch, logs)
    finally:
        callback.on_train_end()


def keras_mode(run: Run, mode: str, *, batch: Any = 0, batch_logs: Any = None, logs: Any = None) -> None:
    """An evaluation or a prediction of one batch."""
    callback = run.keras
    callback.set_params({})
    callback.set_model(MODEL)
    getattr(callback, f"on_{mode}_begin")()
    try:
        getattr(callback, f"on_{mode}_batch_begin")(batch)
        getattr(callback, f"on_{mode}_batch_end")(batch, batch_logs)
    finally:
        getattr(callback, f"on_{mode}_end")(logs)


MODEL = sequential()
CALLS: dict[str, Call] = {
    "step": step_by,
    "log": lambda run, value: run.log(value),
    "log a value": lambda run, value: run.log(a=value, b=1.0),
    "log step": lambda run, value: run.log({"a": 1.0}, step=value),
    "log epoch": lambda run, value: run.log({"a": 1.0}, epoch=value),
    "log weight": lambda run, value: run.log({"a": 1.0}, weight=value),
    "log inside": lambda run, value: inside(run, lambda: run.log(a=value, b=1.0)),
    "log weight inside": lambda run, value: inside(run, lambda: run.log(a=1.0, weight=value)),
    "log_params": lambda run, value: run.log_params(value),
    "log_params named": lambda run, value: run.log_params(a=value),
    "log_text": lambda run, value: run.log_text("a", value),
    "log_text name": lambda run, value: run.log_text(value, "a"),
    "log_table": lambda run, value: run.log_table("a", value),
    "log_table with columns": lambda run, value: run.log_table("a", value, ["a", "b"]),
    "log_table columns": lambda run, value: run.log_table("a", [[1, 2]], value),
    "log_table name": lambda run, value: run.log_table(value, [[1]], ["a"]),
    "log_table cell": lambda run, value: run.log_table("a", [[value]], ["a"]),
    "log_histogram": lambda run, value: run.log_histogram("a", value),
    "log_histogram bins": lambda run, value: run.log_histogram("a", [1.0, 2.0], value),
    "log_histogram name": lambda run, value: run.log_histogram(value, [1.0]),
    "log_image": lambda run, value: run.log_image("a", value),
    "log_image name": lambda run, value: run.log_image(value, np.ones((2, 2))),
    "log_figure": lambda run, value: run.log_figure("a", value),
    "log_file": lambda run, value: run.log_file(value),
    "log_file name": lambda run, value: run.log_file(file_of(run), value),
    "log_model": lambda run, value: run.log_model(value),
    "log_model aliases": lambda run, value: run.log_model(file_of(run), value),
    "log_model name": lambda run, value: run.log_model(file_of(run), name=value),
    "log_export": lambda run, value: run.log_export(value),
    "log_export format": lambda run, value: run.log_export(file_of(run), value),
    "log_export parent": lambda run, value: run.log_export(file_of(run), parent=value),
    "log_export duration": lambda run, value: run.log_export(file_of(run), duration=value),
    "log_export name": lambda run, value: run.log_export(file_of(run), name=value),
    "epochs": lambda run, value: next(iter(run.epochs(value)), None),
    "epochs start": lambda run, value: next(iter(run.epochs(1, start=value)), None),
    "watch": lambda run, value: run.watch(value),
    "watch optimizer": lambda run, value: run.watch(torch.nn.Linear(1, 1), value),
    "watch gradient_norm": lambda run, value: run.watch(torch.nn.Linear(1, 1), gradient_norm=value),
    "watch histograms": lambda run, value: run.watch(torch.nn.Linear(1, 1), histograms=value),
    "attach": lambda run, value: run.attach(value),
    "callback": lambda run, value: run.callback(value),
    "child": lambda run, value: run.child(value).close(),
    "settle status": lambda run, value: recorder_of(run).settle(value),
    "settle reason": lambda run, value: recorder_of(run).settle("failed", value),
    "add_callback": lambda run, value: run.add_callback(value, print),
    "add_callback function": lambda run, value: run.add_callback("teardown", value) if not callable(value) else None,
    "run_callbacks": lambda run, value: run.run_callbacks(value),
    "run_callbacks metrics": lambda run, value: run.run_callbacks("on_fit_epoch_end", None, value),
    "run_callbacks a metric": lambda run, value: run.run_callbacks("on_val_end", None, {"a": value}),
    "run_callbacks source": lambda run, value: run.run_callbacks("on_fit_epoch_end", value),
    "run_callbacks epoch": lambda run, value: run.run_callbacks("on_fit_epoch_end", epoch=value),
    "run_callbacks batch": lambda run, value: run.run_callbacks("on_train_batch_end", batch=value),
    "run_callbacks params": lambda run, value: run.run_callbacks("on_pretrain_routine_start", params=value),
    "run_callbacks files": lambda run, value: run.run_callbacks("on_model_save", files=value),
    "run_callbacks a file": lambda run, value: run.run_callbacks("on_model_save", files=[File(value, "model", "a")]),
    "run_callbacks media": lambda run, value: run.run_callbacks("on_val_end", media=[Text("a", value)]),
    "run_callbacks status": lambda run, value: run.run_callbacks("teardown", status=value),
    "run_callbacks reason": lambda run, value: run.run_callbacks("teardown", reason=value),
    "run_callbacks unknown": lambda run, value: run.run_callbacks("on_val_end", step=value),
    "batch": lambda run, value: run.callbacks.on_train_batch_end(value, {"loss": 1.0}),
    "batch logs": lambda run, value: run.callbacks.on_train_batch_end(0, value),
    "batch value": lambda run, value: run.callbacks.on_train_batch_end(0, {"loss": value, "b": 1.0}),
    "batch begins": lambda run, value: run.callbacks.on_train_batch_begin(value),
    "epoch": lambda run, value: run.callbacks.on_epoch_end(value, {"loss": 1.0}),
    "epoch begins": lambda run, value: run.callbacks.on_epoch_begin(value),
    "epoch logs": lambda run, value: run.callbacks.on_epoch_end(0, value),
    "epoch value": lambda run, value: run.callbacks.on_epoch_end(0, {"loss": value, "val_b": 1.0}),
    "test logs": lambda run, value: run.callbacks.on_test_end(value),
    "test batch": lambda run, value: run.callbacks.on_test_batch_end(value, {"loss": 1.0}),
    "predict logs": lambda run, value: run.callbacks.on_predict_batch_end(0, value),
    "train ends": lambda run, value: run.callbacks.on_train_end(value),
    "what a callback writes": metrics_of,
    "validate": lambda run, value: few(run.validate(value)),
    "validate a batch": lambda run, value: few(run.validate([value])),
    "validate and log": lambda run, value: validating(run, lambda: run.log(a=value, b=1.0)),
    "validate and log weight": lambda run, value: validating(run, lambda: run.log({"a": 1.0}, weight=value)),
    "predict": lambda run, value: few(run.predict(value)),
    "predict a batch": lambda run, value: few(run.predict([value])),
    "train on a batch": lambda run, value: few(run.train([value])),
    "train": lambda run, value: few(run.train(value)),
    "predict and log": lambda run, value: predicting(run, lambda: run.log(a=value, b=1.0)),
    "predict and log weight": lambda run, value: predicting(run, lambda: run.log({"a": 1.0}, weight=value)),
    "keras params": lambda run, value: keras_epoch(run, params=value),
    "keras epoch": lambda run, value: keras_epoch(run, epoch=value),
    "keras logs": lambda run, value: keras_epoch(run, logs=value),
    "keras value": lambda run, value: keras_epoch(run, logs={"loss": value, "mae": 1.0}),
    "keras batch": lambda run, value: keras_epoch(run, batch=value),
    "keras batch logs": lambda run, value: keras_epoch(run, batch_logs=value),
    "keras batch value": lambda run, value: keras_epoch(run, batch_logs={"loss": value, "mae": 1.0}),
    "keras test logs": lambda run, value: keras_mode(run, "test", logs=value),
    "keras test batch logs": lambda run, value: keras_mode(run, "test", batch_logs=value),
    "keras predict batch": lambda run, value: keras_mode(run, "predict", batch=value),
    "keras predict batch logs": lambda run, value: keras_mode(run, "predict", batch_logs=value),
    "keras predict logs": lambda run, value: keras_mode(run, "predict", logs=value),
    "wait": lambda run, value: run.wait(value),
    "url": lambda run, value: run.url(value),
}  # fmt: skip

OPTIONS = (
    "project", "name", "params", "tags", "notes", "group", "dir", "every", "keep", "delivery", "system", "strict",
    "resume", "csv",
)  # fmt: skip


@contextmanager
def opened(**options: Any) -> Iterator[Run]:
    """A run in a separate directory; Ctrl-C and others pass, and what is refused is not an error."""
    # A run may still be delivered, by another process, while its folder is removed.
    kept = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    with kept as directory, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with trackhooks.run(**{"dir": directory, "delivery": "off", **options}) as run:
            yield run


def try_call(name: str, run: Run, value: Any) -> None:
    """Makes a call, which may be refused."""
    with suppress(TrackhooksError):
        CALLS[name](run, value)


def check_readable(run: Run | Path) -> list[Event]:
    """Everything that was recorded is read, nothing is skipped or lost, and the status is there."""
    path = Path(run)
    with journal.Reader(path) as reader:
        events = list(reader)
        assert reader.skipped == reader.behind == 0
    assert [event.index for event in events] == list(range(len(events)))
    assert max([abs(event.step) for event in events] + [abs(event.epoch) for event in events]) < 2**63
    assert next(event.status for event in reversed(events) if event.status) in FINAL
    assert run_folder.read_info(path).status in FINAL
    return events


@pytest.mark.parametrize("call", CALLS)
def test_what_a_call_accepts_is_read_back_and_the_rest_is_refused(call: str) -> None:
    with opened() as run:
        for number, (description, make) in enumerate(ODD.items()):
            try_call(call, run, make())
            run.log({"after": float(number)}, step=number)
            assert run.records, description
        run.close()
        events = check_readable(run)
    after = [event.metrics["after"] for event in events if "after" in event.metrics]
    assert after == [float(number) for number in range(len(ODD))]


@pytest.mark.parametrize("option", OPTIONS)
def test_what_an_option_of_a_run_accepts_is_read_back_and_the_rest_is_refused(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = open_runs.every()  # another test may have left one
    for description, make in ODD.items():
        value = make()
        with suppress(TrackhooksError), opened(**{option: value}) as run:
            run.log(a=1.0)
            run.close()
            check_readable(run)
        assert [run for run in open_runs.every() if run not in before] == [], description


def evaluate_by_enable(**options: Any) -> None:
    trackhooks.enable(**options)
    try:
        importlib.import_module("toytrainer").Trainer().evaluate([(1.0, 2.0)])
    finally:
        trackhooks.disable()


def evaluate_by_callback(**options: Any) -> None:
    callback = trackhooks.keras_callback(**options)
    callback.set_params({})
    callback.set_model(MODEL)
    callback.on_test_begin()
    callback.on_test_end({"loss": 1.0})


AUTOMATIC = {"enable": evaluate_by_enable, "keras_callback": evaluate_by_callback}


@pytest.mark.usefixtures("third_party")
@pytest.mark.parametrize("evaluate", AUTOMATIC.values(), ids=AUTOMATIC)
@pytest.mark.parametrize("option", OPTIONS)
def test_what_an_option_of_automatic_runs_accepts_is_read_back_and_the_rest_is_refused(
    option: str, evaluate: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for description, make in ODD.items():
        with warnings.catch_warnings(), suppress(TrackhooksError):
            warnings.simplefilter("ignore")
            evaluate(**{"dir": tmp_path / "runs", "delivery": "off", option: make()})
        recorded = open_runs.every()
        for recorder in recorded:
            recorder.close()
            if recorder.has_journal:
                check_readable(recorder.path)
        assert not open_runs.every(), description


@pytest.mark.slow
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(st.sampled_from(sorted(CALLS)), st.sampled_from(sorted(ODD))), min_size=2, max_size=12)
)
def test_calls_in_any_order_leave_a_run_that_is_read_back(calls: list[tuple[str, str]]) -> None:
    with opened() as run:
        for name, value in calls:
            try_call(name, run, ODD[value]())
        run.close()
        check_readable(run)


@pytest.mark.parametrize("make", UNREADABLE.values(), ids=UNREADABLE)
def test_a_parameter_that_cannot_be_read_gets_a_placeholder_and_the_others_are_kept(
    make: Callable[[], Any], tmp_path: Path
) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with trackhooks.run(dir=tmp_path, delivery="off", params={"cfg": make(), "x": 1}) as run:
            for _ in run.epochs(1):  # which records the parameters once more
                run.log(a=1.0)
    recorded = [event.params for event in check_readable(run) if event.params]
    assert recorded[0].items() <= recorded[-1].items()  # one of them grows
    assert recorded[0]["x"] == 1
    assert len([warning for warning in caught if warning.category is TrackhooksWarning]) <= 1
    if any("<unreadable" in str(value) for value in recorded[0].values()):
        (warning,) = caught
        assert "could not be read" in str(warning.message)


@pytest.mark.parametrize(
    "description",
    [
        "a missing value of OmegaConf",
        "an interpolation of OmegaConf",
        "a mapping that raises by item",
        "a dataclass that raises",
    ],
)
def test_a_field_that_raises_takes_no_other_along(description: str, run: Run) -> None:
    with pytest.warns(TrackhooksWarning, match="params 'cfg/a' could not be read"):
        run.log_params(cfg=ODD[description]())
    (recorded,) = [event.params for event in journal.read(run.path)]
    assert recorded["cfg/b"] == 2
    assert str(recorded["cfg/a"]).startswith("<unreadable: ")


@pytest.mark.parametrize("given_as", ["run", "log_params", "run_callbacks"])
@pytest.mark.parametrize(
    "description", ["namespace", "simple namespace", "attrs", "struct", "pydantic", "omegaconf"]
)
def test_parameters_may_come_in_whatever_has_fields(description: str, given_as: str, tmp_path: Path) -> None:
    params = ODD[description]()
    with trackhooks.run(dir=tmp_path, delivery="off", params=params if given_as == "run" else None) as run:
        if given_as == "log_params":
            run.log_params(params)
        elif given_as == "run_callbacks":
            run.run_callbacks("on_pretrain_routine_start", params=params)
    recorded = journal.read(run.path)[0].params
    assert recorded["b"] == 2
    assert recorded.keys() <= {"b", "c", "password"}


@pytest.mark.slow
def test_what_pydantic_hides_stays_hidden_and_what_it_allows_is_recorded(run: Run) -> None:
    run.log_params(cfg=Pydantic.model_validate({"extra": [Pydantic()]}))
    recorded = journal.read(run.path)[0].params
    assert recorded.keys() == {"cfg/b", "cfg/password", "cfg/extra"}
    assert "hunter2" not in str(recorded)


def test_an_unreadable_parameter_of_a_strict_run_is_an_error_and_leaves_no_open_run(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match="could not be read: RefusalError"):
        trackhooks.run(dir=tmp_path, delivery="off", strict=True, params={"cfg": RaisesByItem()})
    assert not open_runs.every()
    (path,) = run_folder.paths(tmp_path)
    assert run_folder.read_info(path).status == "failed"


class Interrupts:
    def __str__(self) -> str:
        raise KeyboardInterrupt


@pytest.mark.parametrize("give", [dict, lambda **params: Interrupts()], ids=["dict", "itself"])
def test_ctrl_c_passes_while_parameters_are_read(give: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), trackhooks.run(dir=tmp_path, delivery="off") as run:
        run.log_params(cfg=give(a=Interrupts()))
    assert run.status == "killed"
    assert not open_runs.every()


@pytest.mark.slow
def test_a_mapping_that_never_ends_is_cut_off(run: Run) -> None:
    with pytest.warns(TrackhooksWarning, match="more than 100000 values"):
        run.log_params(cfg=Endless())
    assert journal.read(run.path)[0].params["cfg/0"] == 1


def test_the_digits_of_a_huge_integer_are_not_written_out_whatever_python_allows(run: Run) -> None:
    limit = sys.get_int_max_str_digits()
    for digits in (640, 0, limit):
        sys.set_int_max_str_digits(digits)
        try:
            run.log_params(a=10**5000, b=[10**5000], c={10**5000: 1})
        finally:
            sys.set_int_max_str_digits(limit)
    for event in journal.read(run.path):
        assert event.params["a"] == "an integer of 16610 bits"


@pytest.mark.parametrize("seven", [7, np.int64(7), np.uint8(7), torch.tensor(7), np.array(7)], ids=repr)
def test_an_index_may_be_an_integer_of_any_library(seven: Any, run: Run) -> None:
    run.step = seven
    run.log({"a": 1.0}, step=seven)
    run.log({"a": 1.0}, epoch=seven)
    assert type(run.step) is int
    assert [(event.step, event.epoch) for event in journal.read(run.path)] == [(7, -1), (7, 7)]


@pytest.mark.parametrize(
    "wrong", [7.0, "7", None, -2, 2**53 + 1, 2**70, 10**5000, torch.ones(2)], ids=lambda _: ""
)
def test_what_is_not_an_index_is_refused_with_the_limit(wrong: Any, run: Run) -> None:
    with pytest.raises(
        InvalidValueError, match=r"run\.step must be a whole number from -1 to 9007199254740992"
    ):
        run.step = wrong
    assert run.step == -1
    if wrong is not None:
        with pytest.raises(
            InvalidValueError, match=r"step must be a whole number from 0 to 9007199254740992"
        ):
            run.log({"a": 1.0}, step=wrong)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"format": 1}, "format must be a string, got 1"), ({"name": 1}, "name must be a non-empty string, got 1"),
        ({"parent": 1}, "parent must be a path, got 1"), ({"duration": -1}, "duration must be a finite number"),
        ({"duration": "1 s"}, "duration must be a finite number from 0, got '1 s'"),
    ],
)  # fmt: skip
def test_a_wrong_field_of_an_export_is_refused_by_name(arguments: Any, message: str, run: Run) -> None:
    with pytest.raises(InvalidValueError, match=message):
        run.log_export(file_of(run), **arguments)
    run.log_export(file_of(run), duration=torch.tensor(1.5))  # type: ignore[arg-type]
    (export,) = [event for event in journal.read(run.path) if event.files]
    assert export.files[0].duration == 1.5


def test_a_status_that_is_refused_leaves_the_run_open(run: Run) -> None:
    with pytest.raises(
        InvalidValueError, match="status must be one of failed, finished, killed, lost, pruned, got 'done'"
    ):
        run.close("done")
    with pytest.raises(InvalidValueError, match="reason must be a string, got 5"):
        run.close("failed", 5)  # type: ignore[arg-type]
    assert run.records
    run.close("failed")
    check_readable(run)


class SilentError(Exception):
    def __str__(self) -> str:
        raise ValueError


@pytest.mark.parametrize(
    "error", [SilentError(), SystemExit(np.ones(2)), SystemExit(ODD["raises everywhere"]())]
)
def test_an_error_that_cannot_be_read_ends_the_run_all_the_same(error: BaseException, tmp_path: Path) -> None:
    with pytest.raises(type(error)), trackhooks.run(dir=tmp_path, delivery="off") as run:
        raise error
    assert run.status == "failed"
    check_readable(run)


def test_a_record_that_no_reader_could_read_is_not_written(tmp_path: Path) -> None:
    with journal_of(tmp_path) as writer:
        writer.append(Event("log", 0, 1.0))
        for wrong in (Event("log", 1, 1.0, step=2**70), Event("log", 1, 1.0, metrics={"a": refuse})):  # type: ignore[dict-item]
            with pytest.raises(InvalidValueError, match="cannot be stored: "):
                writer.append(wrong)
    assert len(journal.read(tmp_path)) == 1


@contextmanager
def journal_of(path: Path) -> Iterator[journal.Writer]:
    writer = journal.Writer(path)
    yield writer
    writer.close()
