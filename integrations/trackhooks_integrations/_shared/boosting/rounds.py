"""`Rounds`, which forwards the rounds of one training to a run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from trackhooks.event import Scalar
from trackhooks.frameworks.helpers import flat_params
from trackhooks.frameworks.interface import RunHooks

from .sets import Score, metrics_of

Facts = Callable[[], Mapping[str, Scalar]]


class Listener:
    """A callback that forwards a training. A call that has one is recorded already.

    Args:
        rounds: what it forwards the training to.
    """

    def __init__(self, rounds: Rounds) -> None:
        super().__init__()
        self._rounds = rounds


class Rounds:
    """One training: each round is an epoch without batches.

    An epoch ends (`on_fit_epoch_end`) when the framework has called all of its other callbacks: by then it is known
    whether one of them stops the training, and what they have saved.

    Args:
        run: the run.
        loop: what error messages call the training.
        params: the hyper-parameters.
        train: the names of the sets that are the training data itself.
    """

    def __init__(self, run: RunHooks, loop: str, params: Mapping[str, Any], train: Collection[str]) -> None:
        self._run = run
        self._loop = loop
        self._params = params
        self._train = train
        self._epoch = 0
        self._end = 0
        self._trains = False
        self._unfinished: Mapping[str, Any] | None = None
        """The metrics of the last round, while its epoch has not ended."""
        self._facts: Facts = dict

    @property
    def begun(self) -> bool:
        """Whether the training has begun."""
        return self._end > 0

    @property
    def stop(self) -> bool:
        """Whether the training is to stop before the next round: a callback of the run asked for it."""
        return self._run.stop and self._unfinished is None and self._epoch + 1 < self._end

    def begin(self, model: Any, first: int, rounds: int, data: Facts, facts: Facts) -> None:
        """Start the training.

        Args:
            model: the booster; None if there are several.
            first: the number of rounds that the booster has already.
            rounds: how many are to follow.
            data: returns facts about the data.
            facts: returns facts about the trained model; called at the end.
        """
        self._end, self._facts, self._trains = first + rounds, facts, True
        lookups = self._run.lookups
        self._run.describe(self._loop)
        self._run.set_model(model, {"epochs": self._end, "verbose": 0})
        params = flat_params(self._params)
        self._run.introduce(model, params, lambda: {"facts": lookups.find("the data", {}, data)})
        self._run.fire("on_train_start")

    def start_round(self, epoch: int) -> None:
        """Start a round."""
        self._epoch = epoch
        self._run.fire("on_train_epoch_start", epoch=epoch)

    def end_round(self, scores: Sequence[Score]) -> None:
        """Record what was evaluated in a round."""
        metrics = metrics_of(scores, self._train)
        train = {name: value for name, value in metrics.items() if name.startswith("train/")}
        others = {name: value for name, value in metrics.items() if name not in train}
        self._run.fire("on_train_epoch_end", None, train, epoch=self._epoch)
        if others:
            self._run.fire("on_val_start")
            self._run.fire("on_val_end", None, others)
        self._unfinished = metrics

    def finish_round(self) -> None:
        """End the epoch of the last round, unless that has been done."""
        metrics, self._unfinished = self._unfinished, None
        if metrics is not None:
            self._run.fire("on_fit_epoch_end", None, metrics, epoch=self._epoch)

    def end(self, returned: Any = None) -> None:
        """End the training, unless that has been done.

        Args:
            returned: the booster that the user gets, if it is known yet: it may be a copy of the one that was trained.
        """
        if self._trains:
            self._end_training()
        if returned is not None:
            self._run.set_model(returned)

    def _end_training(self) -> None:
        """End the training. If rounds are missing, the framework has stopped it."""
        if self._epoch + 1 < self._end:
            self._run.ask_stop()
        self.finish_round()
        self._trains = False
        facts = self._run.lookups.find("the trained model", {}, self._facts)
        self._run.fire("on_train_end", facts=facts)

    def fail(self) -> None:
        """Record the end of the last round, after which a callback of the framework has raised."""
        self._trains = False
        with self._run.without_callbacks():
            self.finish_round()
