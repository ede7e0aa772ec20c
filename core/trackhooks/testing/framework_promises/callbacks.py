"""Promises about the framework's own callbacks: those of the user, ours among them, and those of other loggers."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from typing import Any, Final

import pytest

from ...errors import TrackhooksWarning
from ...frameworks import double_logging, registry
from ...frameworks.one_run import OneRun
from ...frameworks.run_hooks import hooks_of
from ...session.run import Run, recorder_of
from ...storage.run_folder import read_info
from .base import FrameworkTrial, events, needs
from .ending import HOOKS, raising

COPIES: Final[dict[str, Callable[[Any], Any]]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda made: pickle.loads(pickle.dumps(made)),
}


class CallbackPromises(FrameworkTrial):
    """Promises about the framework's own callbacks."""

    @needs("callbacks")
    @pytest.mark.parametrize("hook", HOOKS)
    def test_what_a_callback_of_the_framework_raises_is_raised_and_its_hook_is_recorded(
        self, hook: str, open_run: Callable[[], Run]
    ) -> None:
        if self.hooks and hook not in self.hooks:
            pytest.skip(f"the framework calls no functions at {hook}")
        error = RuntimeError(f"of {hook}")
        with pytest.raises(RuntimeError) as raised, open_run() as run:
            self.train(self.make(), 2, run=run, at={hook: raising(error)})
        assert raised.value is error
        assert (run.status, read_info(run.path).reason) == ("failed", f"RuntimeError: of {hook}")
        assert len(events(run.path, hook)) == 1
        assert len(events(run.path, "teardown")) == 1

    @needs("callbacks")
    def test_the_metrics_of_an_epoch_are_recorded_if_a_callback_of_the_framework_raises_at_its_end(
        self, open_run: Callable[[], Run]
    ) -> None:
        own = self.train(self.make(), 1)
        with pytest.raises(RuntimeError), open_run() as run:
            self.train(self.make(), 2, run=run, at={"on_fit_epoch_end": raising(RuntimeError())})
        (end,) = events(run.path, "on_fit_epoch_end")
        assert own.keys() <= end.metrics.keys()

    @needs("callback objects")
    @pytest.mark.parametrize("make_copy", COPIES.values(), ids=COPIES)
    def test_a_copy_of_its_callback_records_into_the_same_run(
        self, make_copy: Callable[[Any], Any], open_run: Callable[[], Run]
    ) -> None:
        with open_run() as run:
            callback = registry.callback(self.framework, OneRun(hooks_of(recorder_of(run))))
            self.train_with(self.make(), make_copy(callback))
        assert [event.step for event in events(run.path, "on_train_batch_end")] == list(range(self.batches))
        assert len(events(run.path, "on_fit_epoch_end")) == 1

    @needs("own loggers")
    def test_a_logger_of_the_framework_for_the_same_tracker_is_warned_about_once(
        self, open_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(double_logging, "_warned", set())
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(2):
                with open_run(self.own_logger) as run:
                    self.train_with_own_logger(self.make(), run)
        messages = [str(warning.message) for warning in caught if warning.category is TrackhooksWarning]
        (message,) = [text for text in messages if "logs this training by itself as well" in text]
        assert message.startswith(f"{self.own_logger} ")
