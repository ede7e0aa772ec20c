"""Names that users of other trackers type: the error says what to use here."""

from __future__ import annotations

import copy
import pickle
import re
from typing import Any

import pytest

import trackhooks
from trackhooks import CallbackList, InvalidValueError, Run, UnknownNameError
from trackhooks.session.other_names import MODULE, OPTIONS, RUN
from trackhooks.session.settings import Options


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("finish", "run.close()"),
        ("config", "run.log_params"),
        ("log_artifact", "run.log_file"),
        ("log_metric", "run.log("),
        ("add_scalar", "run.log("),
        ("summary", "trackhooks.runs()"),
        ("tags", "tags=["),
        ("dir", "run.path"),
        ("scan_history", "trackhooks.history("),
        ("log_hyperparams", "run.log_params"),
        ("statuss", "'status'"),
        ("log_pictures", "'log_figure'"),
    ],
)
def test_a_run_says_what_to_use_instead(name: str, ours: str, run: Run) -> None:
    with pytest.raises(AttributeError, match=f"A run has no attribute '{name}'") as caught:
        getattr(run, name)
    assert ours in str(caught.value)
    assert not hasattr(run, name)
    assert getattr(run, name, 5) == 5


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("init", "trackhooks.run("),
        ("start_run", "trackhooks.run("),
        ("log", "run.log("),
        ("autolog", "trackhooks.enable("),
        ("set_experiment", "project="),
        ("WandbLogger", "trackhooks.run("),
        ("enabel", "'enable'"),
        ("Image", "run.log_image"),
        ("get_metric_history", "trackhooks.history("),
    ],
)
def test_the_package_says_what_to_use_instead(name: str, ours: str) -> None:
    with pytest.raises(AttributeError, match=f"trackhooks has no attribute '{name}'") as caught:
        getattr(trackhooks, name)
    assert ours in str(caught.value)
    assert not hasattr(trackhooks, name)


@pytest.mark.parametrize("name", [*OPTIONS, "projekt"])
def test_an_option_of_another_tracker_is_named_as_ours(name: str) -> None:
    with pytest.raises(UnknownNameError, match=f"unknown option .*{name!r}.*"):
        trackhooks.run(**dict[str, Any]({name: "x"}))


def test_what_the_tables_recommend_exists_and_what_they_replace_does_not(run: Run) -> None:
    for table, owner in ((RUN, run), (MODULE, trackhooks)):
        assert [name for name in table if name in dir(owner)] == []
    assert not OPTIONS.keys() & set(Options.__struct_fields__)
    advice = " ".join({*RUN.values(), *MODULE.values(), *OPTIONS.values()})
    assert [name for name in re.findall(r"\brun\.(\w+)", advice) if name not in dir(run)] == []
    assert [
        name for name in re.findall(r"\btrackhooks\.(\w+)", advice) if not hasattr(trackhooks, name)
    ] == []
    assert [
        name
        for name in re.findall(r"\brun\((\w+)=", advice)
        if name not in (*Options.__struct_fields__, "mlflow", "wandb")
    ] == []


def test_a_private_name_has_no_advice(run: Run) -> None:
    with pytest.raises(AttributeError, match=r"A run has no attribute '_nothing'\.$"):
        getattr(run, "_nothing")  # noqa: B009 — a type checker knows that it does not exist


class Holder:
    def __init__(self, run: Run) -> None:
        self.run = run


@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.deepcopy])
@pytest.mark.parametrize("hold", [lambda run: run, lambda run: [run], Holder, lambda run: run.callbacks])
def test_a_run_is_neither_pickled_nor_copied(duplicate: Any, hold: Any, run: Run) -> None:
    with pytest.raises(InvalidValueError, match=rf"run '{run.name}' cannot be pickled or copied.*run\.path"):
        duplicate(hold(run))
    assert run.records


# Trackers


@pytest.mark.parametrize(
    "given",
    [
        ("csv", "tensorboard"),
        (["csv", "tensorboard"],),
        ("csv,tensorboard",),
        ("csv, tensorboard",),
        (("csv",), ["tensorboard"]),
    ],
)
def test_trackers_may_come_in_a_list_or_separated_by_commas(
    given: Any, tmp_path: Any, monkeypatch: Any
) -> None:
    with trackhooks.run(*given, dir=tmp_path, delivery="off") as run:
        pass
    monkeypatch.setenv("TRACKHOOKS", "csv, tensorboard")
    with trackhooks.run(dir=tmp_path, delivery="off") as from_environment:
        pass
    assert [trackers(path) for path in (run.path, from_environment.path)] == [["csv", "tensorboard"]] * 2


def trackers(path: Any) -> list[str]:
    from trackhooks.storage.run_folder import read_info

    return read_info(path).trackers


class Stops(trackhooks.Callback):
    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        pass


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        (Stops(), r"got a value of type Stops\. It is a callback: run\.callbacks\.append\(callback\)"),
        (print, r"got the function print\. A function is a callback: run\.add_callback\("),
        (trackhooks.Tracker, r"got the class Tracker\. Pass an instance: Tracker\(\)"),
        ({"mlflow": {}}, r"got a dict of 1 item\. Pass options by the name of the tracker: mlflow="),
        (5, "got 5"),
        ([5], "got 5"),
        (["csv", ["csv", None]], "got None"),
    ],
)
def test_an_object_that_is_not_a_tracker_is_refused_with_what_it_is(given: Any, remedy: str) -> None:
    for call in (trackhooks.run, trackhooks.enable):
        with pytest.raises(
            InvalidValueError, match=f"trackers must be names or instances of a Tracker, {remedy}"
        ):
            call(given)


@pytest.mark.parametrize("given", ["", " ", ",", ["csv", ""]])
def test_an_empty_name_is_not_a_tracker(given: Any) -> None:
    with pytest.raises(UnknownNameError, match="unknown tracker"):
        trackhooks.run(given)


def test_a_list_of_callbacks_is_shown_by_its_type() -> None:
    with pytest.raises(InvalidValueError, match="a value of type object has no method of Keras' names"):
        CallbackList([object()])
