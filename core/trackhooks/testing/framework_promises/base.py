"""What the author of a framework integration fills in, and what the promises need to read runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

import pytest

from ...errors import InvalidValueError, unknown
from ...event import Event, RunInfo
from ...session.run import Run, run
from ...storage import journal
from ...storage.run_folder import paths, read_info

ABILITIES: Final = {
    "enable": "record a program that does not know trackhooks, as a plugin does",
    "batches": "train in batches, rather than in rounds over all data",
    "steps": "run a function of the user in each training batch or round",
    "evaluation": "evaluate a model outside of a training",
    "inner evaluation": "evaluate a model inside of a training, apart from the validation of the epoch",
    "prediction": "predict",
    "save": "save a model",
    "stop": "end a training early by itself",
    "resume": "continue an earlier training",
    "exceptions of callbacks": "raise what a callback raises",
    "callbacks": "call functions of the user at hooks of its own",
    "callback objects": "take an object into a list of its own callbacks",
    "skipped validations": "train an epoch without a validation",
    "own loggers": "log to a tracker by itself",
    "processes": "launch processes for a training",
    "batches without waiting": "leave the losses of a batch on the accelerator",
}
"""What a framework may be unable to do."""

Test = TypeVar("Test", bound=Callable[..., None])
NOTHING: Final[Mapping[str, Any]] = {}
Numbers = Mapping[str, Sequence[float]]
"""The recorded name of a metric → its value in each epoch."""


def needs(*abilities: str) -> Callable[[Test], Test]:
    """Name what a framework must be able to do for this promise."""

    def mark(test: Test) -> Test:
        test.__dict__["needs"] = abilities
        return test

    return mark


class FrameworkTrial:
    """What the author of an integration fills in."""

    framework: ClassVar[str] = ""
    """The name of its entry point: the module that the integration waits for."""
    batches: ClassVar[int]
    """How many training batches an epoch has; at least two, or 0 if it cannot train in batches."""
    params: ClassVar[Mapping[str, Any]] = {}
    """Some of the hyper-parameters that the training has, by their recorded names."""
    own_logger: ClassVar[str] = ""
    """The tracker to which the framework can log by itself."""
    hooks: ClassVar[Sequence[str]] = ()
    """The hooks at which the framework itself calls functions of the user: those that `train` accepts in `at`."""
    cannot: ClassVar[Mapping[str, str]] = {}
    """What the framework cannot do, one of `ABILITIES` → why."""

    def make(self) -> Any:
        """A new model, with the same weights each time."""
        raise NotImplementedError

    def train(
        self,
        model: Any,
        epochs: int,
        *,
        run: Run | None = None,
        in_batch: Callable[[], None] | None = None,
        at: Mapping[str, Callable[[], None]] = NOTHING,
        resume: bool = False,
        validate: bool = True,
    ) -> Numbers:
        """Train with a validation in each epoch.

        Args:
            model: that `make` has made.
            epochs: how many; with `resume` together with those of the earlier training.
            run: record into this run; None trains as a program that does not know trackhooks.
            in_batch: must be called in each training batch or round, in the way in which a user's own code would be.
            at: hook → a function to call then, in the framework's own way. The hooks are among `self.hooks`.
            resume: continue the earlier training of this model.
            validate: False to leave out the validation, at least of all epochs but the last.

        Returns:
            What the framework itself says of each epoch, such as `{"train/loss": [0.5, 0.25]}`.
        """
        raise NotImplementedError

    def evaluate(self, model: Any, run: Run | None = None) -> Mapping[str, float]:
        """Evaluate, and return what the framework says, such as `{"test/loss": 0.5}`."""
        raise NotImplementedError

    def predict(self, model: Any, run: Run | None = None) -> int:
        """Predict, and return for how many samples."""
        raise NotImplementedError

    def save(self, model: Any, path: Path) -> Path:
        """Save a model in the framework's own way, and return the path of the file or folder."""
        raise NotImplementedError

    def stop(self, model: Any) -> None:
        """End the training that is in progress in the framework's own way; called in a batch."""
        raise NotImplementedError

    def train_with(self, model: Any, callback: Any) -> None:
        """Train for an epoch with an object in the framework's own list of callbacks."""
        raise NotImplementedError

    def train_with_own_logger(self, model: Any, run: Run) -> None:
        """Train for an epoch while the framework itself logs to the tracker `self.own_logger`."""
        raise NotImplementedError

    def launch(self, model: Any, epochs: int, run: Run) -> None:
        """Train in two processes that the framework launches."""
        raise NotImplementedError

    def weights(self, model: Any) -> bytes:
        """The weights, to the last bit."""
        raise NotImplementedError

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for ability, reason in cls.cannot.items():
            if ability not in ABILITIES:
                raise unknown("ability", ability, ABILITIES, f"{cls.__name__}.cannot: ")
            if not reason:
                raise InvalidValueError(f"{cls.__name__}.cannot[{ability!r}] must say why.")

    @pytest.fixture(autouse=True)
    def _expect_what_cannot_be(self, request: pytest.FixtureRequest) -> None:
        """Expect a test to fail if it needs what the framework cannot do; it fails if it passes."""
        for ability in getattr(request.function, "needs", ()):
            if ability in self.cannot:
                reason = f"it cannot {ABILITIES[ability]}: {self.cannot[ability]}"
                request.applymarker(pytest.mark.xfail(reason=reason, strict=True))

    @pytest.fixture(autouse=True)
    def _without_the_code(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Record no uncommitted changes: the files of a run do not depend on the repository that runs the tests."""
        monkeypatch.setenv("TRACKHOOKS_PATCH", "0")

    @pytest.fixture
    def home(self, tmp_path: Path) -> Path:
        """The directory of the runs."""
        return tmp_path / "runs"

    @pytest.fixture
    def open_run(self, home: Path) -> Callable[..., Run]:
        """Opens runs that are only recorded, for trackers that may be named."""
        return lambda *trackers: run(*trackers, dir=home, delivery="off", system=None)


class Once:
    """Calls a function the first time only."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call: Callable[[], Any] | None = call

    def __call__(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call()


def events(path: Path | str, *hooks: str) -> list[Event]:
    """What was recorded at these hooks, or at all."""
    return [event for event in journal.read(Path(path)) if not hooks or event.hook in hooks]


def infos(home: Path) -> list[RunInfo]:
    """The runs, in the order in which they were opened."""
    found = [read_info(path) for path in paths(home)]
    return sorted(found, key=lambda info: info.created)


def assert_numbers(path: Path | str, own: Numbers) -> None:
    """What was recorded of each epoch is what the framework says."""
    ends = events(path, "on_fit_epoch_end")
    recorded = {name: [event.metrics.get(name) for event in ends] for name in own}
    assert recorded == {name: pytest.approx(list(values), rel=1e-4, abs=1e-4) for name, values in own.items()}
