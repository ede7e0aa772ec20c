"""Promises about programs that do not know trackhooks: `enable`, and what belongs to which run."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ...frameworks import registry
from ...recording import open_runs
from ...session.enable import disable, enable
from ...session.run import Run
from .base import FrameworkTrial, Once, assert_numbers, events, infos, needs
from .ending import ERRORS, raising
from .hooks import seed

IMPORTING = """
import sys
from trackhooks.frameworks import registry

found = [plugin for plugin in registry.plugins() if plugin.module == sys.argv[1]]
print([plugin.framework is not None for plugin in found], sys.argv[1] in sys.modules)
"""


class EnablingPromises(FrameworkTrial):
    """Promises about `enable`."""

    @pytest.fixture
    def enabled(self, home: Path) -> Iterator[Path]:
        """`enable` is on; the directory of its runs."""
        enable(dir=home, delivery="off", system=None)
        yield home
        disable()
        for run in open_runs.every():
            run.close()

    @needs("enable")
    def test_it_is_found_by_its_entry_point_and_imports_no_framework(self) -> None:
        done = subprocess.run(
            [sys.executable, "-c", IMPORTING, self.framework],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout == "[True] False\n", done.stderr

    @needs("enable")
    def test_every_training_is_a_run_that_ends_with_it(self, enabled: Path) -> None:
        own = self.train(self.make(), 2)
        self.train(self.make(), 1)
        first, second = infos(enabled)
        assert [first.status, second.status] == ["finished", "finished"]
        assert_numbers(first.path, own)
        assert len(events(first.path, "teardown")) == 1
        assert [event.step for event in events(first.path, "on_train_batch_end")] == list(
            range(2 * self.batches)
        )

    @needs("enable")
    def test_enabling_twice_records_once(self, enabled: Path) -> None:
        enable(dir=enabled, delivery="off", system=None)
        self.train(self.make(), 1)
        (info,) = infos(enabled)
        assert [event.step for event in events(info.path, "on_train_batch_end")] == list(range(self.batches))

    @needs("enable")
    def test_disabling_ends_the_recording_of_models_that_exist_too(self, enabled: Path) -> None:
        model = self.make()
        self.train(model, 1)
        disable()
        self.train(self.make(), 1)
        self.train(model, 1)
        assert len(infos(enabled)) == 1

    @needs("enable")
    def test_a_model_that_exists_already_is_recorded(self, home: Path) -> None:
        model = self.make()
        enable(dir=home, delivery="off", system=None)
        self.train(model, 1)
        disable()
        assert [info.status for info in infos(home)] == ["finished"]

    @needs("enable")
    def test_disabling_restores_the_class_of_a_model(self, home: Path) -> None:
        classes = type(self.make()).__mro__
        before = [dict(vars(cls)) for cls in classes]
        enable(dir=home, delivery="off", system=None)
        self.train(self.make(), 1)
        disable()
        assert len(infos(home)) == 1
        for run in open_runs.every():
            run.close()
        assert [dict(vars(cls)) for cls in classes] == before

    @needs("enable")
    def test_enabling_does_not_change_a_bit_of_a_training(self, home: Path) -> None:
        seed()
        plain = self.make()
        plain_numbers = self.train(plain, 2)
        enable(dir=home, delivery="off", system=None)
        seed()
        recorded = self.make()
        numbers = self.train(recorded, 2)
        disable()
        assert len(infos(home)) == 1
        assert self.weights(recorded) == self.weights(plain)
        assert numbers == plain_numbers

    @needs("enable", "evaluation", "save")
    def test_evaluations_and_saves_belong_to_the_run_of_the_model(
        self, enabled: Path, tmp_path: Path
    ) -> None:
        model = self.make()
        self.train(model, 1)
        (info,) = infos(enabled)
        saves = len(events(info.path, "on_model_save"))
        self.evaluate(model)
        self.save(model, tmp_path / "saved")
        (info,) = infos(enabled)
        assert info.status == "finished"
        assert [event.epoch for event in events(info.path, "on_val_end")][-1] == -1
        assert len(events(info.path, "on_model_save")) == saves + 1

    @needs("enable", "resume")
    def test_a_training_that_resumes_continues_its_run(self, enabled: Path) -> None:
        model = self.make()
        self.train(model, 1)
        self.train(model, 3, resume=True)
        (info,) = infos(enabled)
        assert [event.epoch for event in events(info.path, "on_fit_epoch_end")] == [0, 1, 2]
        steps = [event.step for event in events(info.path, "on_train_batch_end")]
        assert steps == list(range(3 * self.batches))
        assert info.status == "finished"

    @needs("enable", "steps")
    def test_a_training_inside_a_training_is_a_child_of_it(self, enabled: Path) -> None:
        inner = Once(lambda: self.train(self.make(), 1))
        own = self.train(self.make(), 2, in_batch=inner)
        outer, child = infos(enabled)
        assert (outer.parent, child.parent) == (None, outer.id)
        assert [outer.status, child.status] == ["finished", "finished"]
        assert_numbers(outer.path, own)
        assert len(events(child.path, "on_fit_epoch_end")) == 1

    @needs("enable", "steps")
    def test_an_exception_of_an_inner_training_that_is_caught_does_not_end_the_outer(
        self, enabled: Path
    ) -> None:
        def inner() -> None:
            with pytest.raises(ValueError, match="inner"):
                self.train(self.make(), 1, in_batch=raising(ValueError("inner")))

        self.train(self.make(), 2, in_batch=Once(inner))
        outer, child = infos(enabled)
        assert (outer.status, child.status) == ("finished", "failed")
        assert [event.epoch for event in events(outer.path, "on_fit_epoch_end")] == [0, 1]

    @needs("enable", "steps")
    @pytest.mark.parametrize(("error", "status", "reason"), ERRORS)
    def test_an_exception_gives_the_status_at_once(
        self, error: BaseException, status: str, reason: str, enabled: Path
    ) -> None:
        with pytest.raises(type(error)) as raised:
            self.train(self.make(), 2, in_batch=raising(error))
        (info,) = infos(enabled)
        assert raised.value is error
        assert (info.status, info.reason) == (status, reason)
        assert len(events(info.path, "teardown")) == 1

    @needs("enable")
    def test_a_run_of_the_user_is_the_parent_of_trainings_inside_it(
        self, enabled: Path, open_run: Callable[[], Run]
    ) -> None:
        with open_run() as run:
            self.train(self.make(), 1)
        assert len(infos(enabled)) == 2
        assert run.status == "finished"

    @needs("enable")
    def test_a_model_is_collected_after_its_run(self, enabled: Path) -> None:
        model = self.make()
        self.train(model, 1)
        assert len(infos(enabled)) == 1
        collected = weakref.ref(model)
        del model
        gc.collect()
        assert collected() is None

    @needs("enable")
    def test_it_is_one_plugin_of_this_interface(self) -> None:
        found = [plugin for plugin in registry.plugins() if plugin.module == self.framework]
        assert [plugin.framework is None for plugin in found] == [False]
