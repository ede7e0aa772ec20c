"""`TrackerSuite`: what every topic of `TrackerPromises` shares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

import pytest

from ...errors import InvalidValueError, unknown
from ...event import RunInfo
from ..sample_runs import among, repeated
from ..trial import Seen, Trial

ABILITIES: Final = {
    "status": "how a run ended",
    "params": "hyperparameters",
    "facts": "facts about a run that are not hyperparameters",
    "files": "the hash of a file",
    "images": "images",
    "texts": "texts",
    "tables": "tables",
    "histograms": "histograms",
    "nan": "NaN as a metric",
    "infinity": "infinities as metrics",
    "doubles": "metrics in full 64-bit precision",
    "repeats": "several values of a metric at one step",
    "rewind": "new values in place of those of steps that are trained again",
    "earlier": "metrics of earlier steps that arrive after those of later steps",
}
"""What a backend may be unable to hold."""

Test = TypeVar("Test", bound=Callable[..., None])


def needs(*abilities: str) -> Callable[[Test], Test]:
    """Mark a test with the abilities that a backend needs to pass it."""

    def mark(test: Test) -> Test:
        test.__dict__["needs"] = abilities
        return test

    return mark


class TrackerSuite:
    """The interface between a tracker under test and the tests."""

    tracker: ClassVar[str]
    """The name of the tracker, or `"module:Class"`."""
    cannot: ClassVar[Mapping[str, str]] = {}
    """The abilities (keys of `ABILITIES`) that the backend lacks, each with the reason."""

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        """Options to create the tracker with. Override this fixture if the tracker needs any."""
        return {}

    def read(self, run: RunInfo, options: Mapping[str, Any]) -> Seen:
        """Return what the backend holds of a run, read with the backend's own reader.

        Args:
            run: the run; identify it by its `id`, `name` or `path`.
            options: the options that the tracker was created with.
        """
        raise NotImplementedError(
            f"{type(self).__name__}.read is missing: it must return what the backend of {self.tracker!r} holds of a run"
        )

    def called(self, name: str) -> str:
        """Return the backend's name for a metric or parameter, by the rule that the tracker documents."""
        return name

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for ability, reason in cls.cannot.items():
            if ability not in ABILITIES:
                raise unknown("ability", ability, ABILITIES, f"{cls.__name__}.cannot: ")
            if not reason:
                raise InvalidValueError(
                    f"{cls.__name__}.cannot[{ability!r}] must give the reason, got {reason!r}."
                )

    @pytest.fixture
    def trial(self, tmp_path: Path, options: Mapping[str, Any]) -> Trial:
        """Record runs for the tracker, deliver them, and read them back."""
        return Trial(self.tracker, options, tmp_path / "runs", self.read, self.called)

    @pytest.fixture(autouse=True)
    def _expect_failure_without_the_ability(self, request: pytest.FixtureRequest) -> None:
        """Expect a test to fail if the backend lacks an ability. If it passes after all, that is a failure."""
        for ability in getattr(request.function, "needs", ()):
            if ability in self.cannot:
                reason = f"{self.tracker} cannot hold {ABILITIES[ability]}: {self.cannot[ability]}"
                request.applymarker(pytest.mark.xfail(reason=reason, raises=AssertionError, strict=True))

    @pytest.fixture(autouse=True)
    def _without_the_code(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Record no uncommitted changes: the files of a run do not depend on the repository that runs the tests."""
        monkeypatch.setenv("TRACKHOOKS_PATCH", "0")

    def assert_all_once(self, seen: Seen, expected: Seen, status: str = "finished") -> None:
        """Assert that everything the backend can hold arrived, and that no metric has a point twice."""
        for kind in ("params", "files", "images", "texts", "tables"):
            if kind not in self.cannot:
                assert getattr(seen, kind) == getattr(expected, kind)
        assert seen.facts.items() >= expected.facts.items() or "facts" in self.cannot
        assert among(seen.metrics, expected.metrics) == expected.metrics
        assert repeated(seen.metrics) == {}
        assert seen.status == status or "status" in self.cannot
