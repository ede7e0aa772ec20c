"""`Tracker`: 25 hooks in terms of few verbs, and how one is found by its name."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import math
import subprocess
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import trackhooks
from trackhooks import Event, InvalidValueError, MissingPackageError, Run, Tracker, UnknownNameError
from trackhooks.delivery import registry
from trackhooks.event import File, Graph, Histogram, Media, RunInfo, Scalar, Table, Text
from trackhooks.hooks import vocabulary
from trackhooks.tracker import Axis, EpochMetrics, axis_of


class Verbs(Tracker):
    """Notes which verbs are called."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.run = RunInfo("id", "name", path="/runs/name")

    def log_params(self, params: Mapping[str, Scalar], event: Event) -> None:
        self.calls.append(("params", params))

    def log_metrics(self, metrics: Mapping[str, float], axis: Axis, event: Event) -> None:
        self.calls.append(("metrics", metrics, axis))

    def log_file(self, file: File, path: Path | None, event: Event) -> None:
        self.calls.append(("file", file.name, path))

    def log_image(self, file: File, path: Path | None, event: Event) -> None:
        self.calls.append(("image", file.name, path))

    def log_text(self, text: Text, event: Event) -> None:
        self.calls.append(("text", text.name))

    def log_table(self, table: Table, event: Event) -> None:
        self.calls.append(("table", table.name))

    def log_histogram(self, histogram: Histogram, event: Event) -> None:
        self.calls.append(("histogram", histogram.name))

    def log_graph(self, graph: Graph, event: Event) -> None:
        self.calls.append(("graph", graph.name))


# --- The hooks


@pytest.mark.parametrize("hook", vocabulary.HOOKS, ids=lambda hook: hook.name)
def test_every_hook_calls_the_verbs_for_everything_in_its_event(hook: vocabulary.Hook) -> None:
    made = Verbs()
    event = Event(hook.name, 0, 0.0, 3, 1, metrics={"a": 1.0}, params={"lr": 0.5}, media=[Text("note", "x")])
    made.handle(event)
    made.handle(Event("on_fit_epoch_end", 1, 0.0, 3, 1))  # a validation waits for the end of its epoch
    assert sorted(made.calls, key=lambda call: call[0]) == [
        ("metrics", {"a": 1.0}, hook.axis), ("params", {"lr": 0.5}), ("text", "note"),
    ]  # fmt: skip
    assert (getattr(Tracker, hook.name).__doc__ or "").startswith(f"Called {hook.when}.")


def test_direct_logs_and_hooks_of_a_later_version_are_recorded_too() -> None:
    made = Verbs()
    made.handle(Event(vocabulary.LOG, 0, 0.0, metrics={"a": 1.0}))
    made.handle(Event("on_something_new", 0, 0.0, metrics={"b": 1.0}))
    made.handle(Event("flush", 0, 0.0, metrics={"c": 1.0}))  # no hook, though a method of this name is there
    assert made.calls == [("metrics", {name: 1.0}, "step") for name in "abc"]


def test_everything_is_passed_to_its_verb() -> None:
    made = Verbs()
    files = [
        File("/data/last.pt", "model", "last.pt"),
        File("/data/last.pt", "model", "kept.pt", kept="files/kept.pt"),
        File("/data/last.pt", "model", "gone.pt", superseded=True),
        File("/data/a.png", "image", "samples", kept="files/images/a.png"),
    ]
    media: list[Media] = [Table("t", ["a"], [[1]]), Histogram("h", [0, 1], [1]), Graph("g", [])]
    made.handle(Event(vocabulary.LOG, 0, 0.0, files=files, media=media))
    assert made.calls == [
        ("file", "last.pt", Path("/data/last.pt")), ("file", "kept.pt", Path("/runs/name/files/kept.pt")),
        ("file", "gone.pt", None), ("image", "samples", Path("/runs/name/files/images/a.png")),
        ("table", "t"), ("histogram", "h"), ("graph", "g"),
    ]  # fmt: skip


def test_verbs_that_are_not_implemented_do_nothing() -> None:
    made = Tracker()
    made.run = RunInfo("id", "name")
    made.start(made.run, {})
    everything = [File("/a", "file", "a"), File("/b", "image", "b")]
    made.handle(
        Event("on_fit_epoch_end", 0, 0.0, 0, 0, 0, {"a": 1.0}, {"b": 2}, everything, [Text("c", "d")])
    )
    assert made.flush() == {}
    made.finish("finished", "")
    assert (made.destination, made.url) == ("", None)


@pytest.mark.parametrize(
    ("hook", "epoch", "axis"),
    [
        ("on_train_batch_end", 1, "step"), ("on_fit_epoch_end", 1, "epoch"), ("on_val_end", 1, "epoch"),
        ("on_val_end", -1, "step"), ("on_predict_end", 1, "step"), (vocabulary.LOG, 1, "step"),
    ],
)  # fmt: skip
def test_metrics_are_plotted_over_epochs_if_there_are_epochs(hook: str, epoch: int, axis: str) -> None:
    assert axis_of(Event(hook, 0, 0.0, 5, epoch)) == axis


def test_a_validation_that_has_a_batch_is_between_batches_and_plotted_over_steps() -> None:
    assert axis_of(Event("on_val_end", 0, 0.0, 5, epoch=1, batch=0)) == "step"


def test_a_tracker_that_uses_the_live_object_gets_an_error_with_a_remedy() -> None:
    event = Event("on_train_end", 0, 0.0)
    with pytest.raises(AttributeError, match=r"run\.add_callback\('on_train_end', function\)"):
        event.source  # noqa: B018


# --- Names


@pytest.mark.parametrize(
    "hook", [hook for hook in vocabulary.HOOKS if hook.keras], ids=lambda hook: hook.name
)
def test_a_method_may_be_named_in_either_vocabulary(hook: vocabulary.Hook) -> None:
    for name in (hook.name, str(hook.keras)):
        calls: list[Event] = []

        def method(self: Tracker, event: Event, calls: list[Event] = calls) -> None:
            calls.append(event)

        made = type("Named", (Tracker,), {name: method})()
        made.handle(event := Event(hook.name, 0, 0.0))
        assert calls == [event]


def test_a_method_may_be_named_by_an_alias_of_keras() -> None:
    class Aliased(Verbs):
        def on_batch_end(self, event: Event) -> None:
            self.calls.append(("alias",))

    made = Aliased()
    made.handle(Event("on_train_batch_end", 0, 0.0))
    assert made.calls == [("alias",)]


def test_super_calls_the_verbs_under_the_names_of_both_vocabularies() -> None:
    class Keras(Verbs):
        def on_epoch_end(self, event: Event) -> None:
            self.calls.append(("keras",))
            super().on_epoch_end(event)  # type: ignore[misc] # made from the table

    class Ultralytics(Keras):
        def on_fit_epoch_end(self, event: Event) -> None:
            self.calls.append(("ultralytics",))
            super().on_fit_epoch_end(event)  # type: ignore[misc]

    made = Ultralytics()
    made.handle(Event("on_fit_epoch_end", 0, 0.0, params={"a": 1}))
    assert made.calls == [("ultralytics",), ("keras",), ("params", {"a": 1})]


def test_a_base_that_is_not_a_tracker_may_define_hooks() -> None:
    class Mixin:
        calls: list[Any]

        def on_epoch_end(self, event: Event) -> None:
            self.calls.append(("mixin",))

        def on_train_batch_begin(self, event: Event) -> None:
            self.calls.append(("begin",))

    class Mixed(Mixin, Verbs):
        pass

    class Derived(Mixed):
        def on_fit_epoch_end(self, event: Event) -> None:
            self.calls.append(("derived",))

    for cls, called in ((Mixed, "mixin"), (Derived, "derived")):
        made = cls()
        made.handle(Event("on_fit_epoch_end", 0, 0.0))
        made.handle(Event("on_train_batch_start", 0, 0.0))
        assert made.calls == [(called,), ("begin",)]
        assert made.extra_hooks == {"on_train_batch_start"}

    class Misspelt:
        def on_epoch_ends(self, event: Event) -> None:
            pass

    with pytest.raises(UnknownNameError, match=r"Wrong\.on_epoch_ends: .*'on_epoch_end'"):
        type("Wrong", (Misspelt, Tracker), {})


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("on_fit_epoch_ends", "on_fit_epoch_end"), ("on_epoch_ends", "on_epoch_end"),
        ("on_train_stop", "on_train_end"), ("on_before_zerograd", "on_before_zero_grad"),
        ("tear_down", "teardown"), ("optimiser_step", "optimizer_step"),
    ],
)  # fmt: skip
def test_a_misspelt_hook_is_an_error_when_the_class_is_defined(name: str, nearest: str) -> None:
    def method(self: Tracker, event: Event) -> None:
        pass

    with pytest.raises(
        UnknownNameError, match=rf"Wrong\.{name}: unknown hook '{name}'\. Did you mean '{nearest}'\?"
    ):
        type("Wrong", (Tracker,), {name: method})


def test_other_methods_may_have_any_name() -> None:
    def method(self: Tracker) -> None:
        pass

    names = ["_teardown", "_on_line", "online", "step", "optimize", "on"]
    type("Right", (Tracker,), dict.fromkeys(names, method) | {"on_what": "a value, no method"})


@pytest.mark.parametrize(
    "names",
    [
        ("on_epoch_end", "on_fit_epoch_end"), ("on_batch_end", "on_train_batch_end"),
        ("on_batch_begin", "on_train_batch_begin"), ("on_test_end", "on_val_end"),
    ],
)  # fmt: skip
def test_two_methods_for_one_hook_are_an_error_when_the_class_is_defined(names: tuple[str, str]) -> None:
    members = {name: types.FunctionType((lambda self, event: None).__code__, {}) for name in names}
    with pytest.raises(
        UnknownNameError, match=f"Wrong defines both '{names[0]}' and '{names[1]}', which are the same hook"
    ):
        type("Wrong", (Tracker,), members)


def test_a_dataclass_with_slots_may_be_a_tracker() -> None:
    @dataclass(slots=True)
    class Slotted(Tracker):
        channel: str = "general"

        def on_epoch_end(self, event: Event) -> None:
            pass

    assert Slotted("random").channel == "random"


def test_the_name_of_a_tracker_is_that_of_its_class_by_default() -> None:
    class Slack(Tracker):
        pass

    class Other(Tracker):
        name = "slack-2"

    assert [Slack.name, Other.name] == ["slack", "slack-2"]


def test_overriding_a_hook_requests_that_it_is_journaled(tmp_path: Path) -> None:
    class Wants(Verbs):
        def optimizer_step(self, event: Event) -> None:
            pass

        def on_test_batch_begin(self, event: Event) -> None:
            pass

        def on_epoch_end(self, event: Event) -> None:
            pass

    class More(Wants):
        def on_before_zero_grad(self, event: Event) -> None:
            pass

    assert Verbs.extra_hooks == frozenset()
    assert Wants.extra_hooks == {"optimizer_step", "on_val_batch_start"}
    assert More.extra_hooks == {"optimizer_step", "on_val_batch_start", "on_before_zero_grad"}
    with trackhooks.run(More(), dir=tmp_path, delivery="off") as run:
        fire_all(run)
    hooks = {event.hook for event in trackhooks.journal.read(run.path)}
    assert More.extra_hooks <= hooks
    assert "on_train_batch_start" not in hooks


def fire_all(run: Run) -> None:
    for hook in vocabulary.HOOKS:
        run.run_callbacks(hook.name)


def test_hooks_without_data_are_not_journaled_by_default(run: Run) -> None:
    fire_all(run)
    journaled = {event.hook for event in trackhooks.journal.read(run.path)} - {vocabulary.LOG}
    assert journaled == {hook.name for hook in vocabulary.HOOKS if hook.journaled}


# --- The metrics of an epoch, each once


def fresh(*events: Event) -> list[dict[str, float]]:
    metrics = EpochMetrics()
    return [added(metrics, event) for event in events]


def added(metrics: EpochMetrics, event: Event) -> dict[str, float]:
    return {
        name: value
        for axis, due in metrics.add(event)
        if axis == "epoch"
        for name, value in due.metrics.items()
    }


def epoch_event(epoch: int, **metrics: float) -> Event:
    return Event("on_fit_epoch_end", 0, 0.0, 0, epoch, metrics=metrics)


def test_a_metric_of_an_epoch_is_passed_once_unless_it_changes() -> None:
    assert fresh(
        epoch_event(0, a=1.0, b=math.nan), epoch_event(0, a=1.0, b=math.nan, c=2.0), epoch_event(0, a=3.0),
        epoch_event(1, a=3.0), epoch_event(1, a=math.nan), epoch_event(1, a=math.nan),
    ) == [{"a": 1.0, "b": pytest.approx(math.nan, nan_ok=True)}, {"c": 2.0}, {"a": 3.0}, {"a": 3.0},
          {"a": pytest.approx(math.nan, nan_ok=True)}, {}]  # fmt: skip


def test_the_metrics_that_a_tracker_has_are_the_same_after_a_round_trip_through_json() -> None:
    metrics, restored = EpochMetrics(), EpochMetrics()
    metrics.add(epoch_event(3, a=1.0, b=math.nan, c=-math.inf))
    restored.restore(json.loads(json.dumps(metrics.state(), allow_nan=False)))
    assert added(restored, epoch_event(3, a=1.0, b=math.nan, c=-math.inf, d=0.0)) == {"d": 0.0}
    restored.restore({})
    assert added(restored, epoch_event(3, a=1.0)) == {"a": 1.0}


def test_a_tracker_gets_the_metrics_of_an_epoch_once_even_without_calling_super() -> None:
    made = Verbs()
    made.handle(Event("on_train_epoch_end", 0, 0.0, 0, 0, metrics={"train/loss": 1.0}))
    made.handle(Event("on_val_end", 0, 0.0, 0, 0, metrics={"val/loss": 2.0}))
    made.handle(Event("on_fit_epoch_end", 0, 0.0, 0, 0, metrics={"train/loss": 1.0, "val/loss": 2.0}))
    assert made.calls == [
        ("metrics", {"train/loss": 1.0}, "epoch"), ("metrics", {"val/loss": 2.0}, "epoch"),
    ]  # fmt: skip


def validation(step: int, epoch: int = 0, **metrics: float) -> Event:
    return Event("on_val_end", step, 100.0 + step, step, epoch, metrics=metrics)


def passed(*events: Event) -> list[tuple[str, int, dict[str, float]]]:
    """What a tracker is passed for these events: the axis, the position on it, and the metrics."""
    metrics = EpochMetrics()
    found = []
    for event in events:
        found += metrics.add(event)
        metrics.restore(json.loads(json.dumps(metrics.state(), allow_nan=False)))  # as after a restart
    return [(axis, getattr(due, axis), due.metrics) for axis, due in [*found, *metrics.settle()]]


def test_the_last_of_several_validations_is_that_of_the_epoch_and_all_are_points_over_the_steps() -> None:
    assert passed(validation(4, a=1.0), validation(9, a=2.0), epoch_event(0, a=2.0), epoch_event(0, a=2.0)) == [
        ("step", 4, {"a": 1.0}), ("step", 9, {"a": 2.0}), ("epoch", 0, {"a": 2.0}),
    ]  # fmt: skip
    assert passed(validation(4, a=math.inf, b=1.0), validation(4, a=2.0), epoch_event(0, c=0.0)) == [
        ("step", 4, {"a": math.inf}), ("epoch", 0, {"b": 1.0}), ("epoch", 0, {"a": 2.0}), ("epoch", 0, {"c": 0.0}),
    ]  # fmt: skip
    assert passed(validation(4, a=1.0, b=1.0), epoch_event(0, a=3.0)) == [
        ("epoch", 0, {"b": 1.0}), ("epoch", 0, {"a": 3.0}),
    ]  # fmt: skip


def test_a_validation_of_an_epoch_without_an_end_is_passed_when_another_epoch_starts_or_the_run_ends() -> (
    None
):
    assert passed(validation(4, a=1.0), validation(9, epoch=1, a=2.0)) == [
        ("epoch", 0, {"a": 1.0}), ("epoch", 1, {"a": 2.0}),
    ]  # fmt: skip
    made = Verbs()
    made.handle(validation(4, a=1.0))
    made.handle(Event(vocabulary.LOG, 5, 0.0, 4, 0, status="killed"))
    assert made.calls == [("metrics", {"a": 1.0}, "epoch")]


# --- Found by name


def test_the_bundled_ones_are_found_by_their_entry_points() -> None:
    for name in ("csv", "tensorboard", "mlflow", "wandb"):
        assert registry.find(name).name == name
        assert registry.exists(name)
    assert set(registry.entry_points()) >= {"csv", "tensorboard", "mlflow", "wandb"}
    assert not registry.exists("nothing")


def test_one_may_be_found_by_module_and_class() -> None:
    made = registry.load("tests_of_tracker:Mine", channel="general")
    assert isinstance(made, Tracker)
    assert vars(made) == {"channel": "general"}
    assert registry.exists("tests_of_tracker:Mine")


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "tests_of_tracker.py").write_text(
        "from trackhooks import Tracker\n"
        "class Mine(Tracker):\n"
        "    def __init__(self, channel='', limit=3):\n"
        "        self.channel = channel\n"
        "class Other(Tracker):\n"
        "    requires = {'surely_not_installed': 'surely[all]'}\n"
        "class Takes(Tracker):\n"
        "    def __init__(self, **options): self.options = options\n"
        "class No: pass\n"
    )
    (tmp_path / "tests_of_broken.py").write_text("import surely_not_installed\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("tests_of_tracker", None)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tensorbord", r"unknown tracker 'tensorbord'\. Did you mean 'tensorboard'\?"),
        ("neptune", r"unknown tracker 'neptune'\. Known: csv, mlflow, tensorboard, wandb"),
        ("", "Known: csv"),
        (
            "tests_of_tracker:Mina",
            r"tracker 'tests_of_tracker:Mina': unknown class 'Mina'\. Did you mean 'Mine'\?",
        ),
        ("tests_of_tracker:Zzz", r"Known: Mine, Other, Takes, Tracker\."),
        (
            "no_such_module:Mine",
            r"unknown tracker 'no_such_module:Mine': module 'no_such_module' was not found\.",
        ),
        ("os.no_such:Mine", r"module 'os\.no_such' was not found"),
        (":Mine", "use the form 'module:Class'"),
        ("tests_of_tracker:", "use the form 'module:Class'"),
        (".tests_of_tracker:Mine", "use the form 'module:Class'"),
    ],
)
def test_an_unknown_tracker_is_an_error_with_the_nearest(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        registry.load(name)
    if name:
        with pytest.raises(UnknownNameError, match=message):
            trackhooks.run(name, dir=tmp_path / "runs", delivery="off")
    assert not (tmp_path / "runs").exists()


def test_an_object_that_is_not_a_tracker_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match=r"not a subclass of trackhooks\.Tracker"):
        registry.load("tests_of_tracker:No")
    for wrong, message in (
        (Verbs, r"Pass an instance: Verbs\(\)"),
        (3, "names or instances of a Tracker, got 3"),
    ):
        with pytest.raises(InvalidValueError, match=message):
            trackhooks.run(wrong, dir=tmp_path, delivery="off")  # type: ignore[arg-type]


def test_a_module_that_fails_itself_is_not_called_unknown() -> None:
    with pytest.raises(ModuleNotFoundError, match="surely_not_installed") as caught:
        registry.load("tests_of_broken:Mine")
    assert not isinstance(caught.value, trackhooks.TrackhooksError)


def test_an_unknown_option_is_an_error_with_the_nearest_and_all_that_are_accepted(tmp_path: Path) -> None:
    message = r"unknown option 'chanel'\. Did you mean 'channel'\? It accepts: channel, limit, every\."
    with pytest.raises(UnknownNameError, match=message):
        registry.load("tests_of_tracker:Mine", chanel="general")
    with pytest.raises(
        UnknownNameError, match=r"tracker 'csv': unknown option 'directory'.* It accepts: .*every\."
    ):
        trackhooks.run(csv={"directory": "tables"}, dir=tmp_path, delivery="off")
    made = registry.load("tests_of_tracker:Takes", anything=1)
    assert vars(made) == {"options": {"anything": 1}}


def test_a_missing_package_is_an_error_with_the_line_that_installs_it() -> None:
    with pytest.raises(
        MissingPackageError, match=r"'surely_not_installed', .* Run: pip install 'surely\[all\]'"
    ) as caught:
        registry.load("tests_of_tracker:Other")
    assert isinstance(caught.value, ImportError)
    assert caught.value.name == "surely_not_installed"


LIGHT = ("msgspec", "psutil", "wrapt", "trackhooks", "trackhooks_integrations")


@pytest.fixture
def bare(tmp_path: Path) -> Callable[[str], str]:
    """Runs a program which can import trackhooks, what it needs, what lies in the directory, and nothing else."""
    packages = tmp_path / "packages"
    packages.mkdir()
    for name in LIGHT:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        (packages / name).symlink_to(Path(spec.origin).parent)
    metadata = next(Path(str(file.locate())).parent for file in importlib.metadata.files("trackhooks") or ()
                    if file.name == "METADATA")  # fmt: skip
    (packages / metadata.name).symlink_to(metadata)

    def run(source: str) -> str:
        start = f"import sys; sys.path[:0] = ['', {str(packages)!r}]; import trackhooks.delivery.registry as registry\n"
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", start + source],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout + done.stderr

    return run


@pytest.mark.parametrize("name", ["mlflow", "wandb", "tensorboard"])
def test_a_backend_that_is_not_installed_is_reported_with_the_command_that_installs_it(
    bare: Callable[[str], str], name: str
) -> None:
    shown = bare(f"registry.load({name!r})")
    assert f"trackhooks.errors.MissingPackageError: tracker {name!r} needs the package {name!r}" in shown
    assert f"Run: pip install 'trackhooks[{name}]'" in shown


@pytest.mark.parametrize("imported", [False, True])
@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_a_folder_with_the_name_of_a_package_is_not_mistaken_for_it(
    bare: Callable[[str], str], tmp_path: Path, name: str, imported: bool
) -> None:
    """W&B writes its runs into `wandb/`, which Python imports as an empty package."""
    (tmp_path / name / "run-1").mkdir(parents=True)
    source = (
        f"import {name}\n" * imported + f"assert not registry.is_installed({name!r})\nregistry.load({name!r})"
    )
    assert f"Run: pip install 'trackhooks[{name}]'" in bare(source)


def test_an_installed_package_is_found_next_to_a_folder_with_its_name(
    tmp_path: Path, program: Callable[..., str]
) -> None:
    for name in ("mlflow", "wandb", "tensorboard"):
        (tmp_path / name).mkdir()
    program(
        """
        import os, sys
        os.chdir(sys.argv[1])
        from trackhooks.delivery import registry
        for name in ("mlflow", "wandb", "tensorboard"):
            registry.load(name)
            assert name not in sys.modules, name
        """,
        tmp_path,
    )
