"""`enable`: every training from then on is recorded, whichever framework runs it, until `disable`.

Each module of `loops` that records a framework by itself says which module of it (`MODULE`) it needs, and has
`install` and `uninstall`. No framework is imported here: what is not imported yet is installed when the user does so.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Protocol

from trackhooks_integrations.frameworks.keras import framework as keras
from trackhooks_integrations.frameworks.ultralytics import framework as ultralytics

from ..errors import InvalidValueError
from ..tracker import Tracker
from .auto_runs import AutoRuns
from .settings import settings


class Loop(Protocol):
    """A module that records what a framework does."""

    MODULE: str

    def install(self, opener: AutoRuns) -> None:
        """Records everything from now on, into runs of this opener."""

    def uninstall(self, opener: AutoRuns) -> None:
        """Ends what `install` has begun, and restores the framework."""


LOOPS: Sequence[Loop] = (keras, ultralytics)


class Switch:
    """Installs the loops of the frameworks that are imported, and of those that will be."""

    def __init__(self, loops: Sequence[Loop]) -> None:
        self._loops = loops
        self._opener: AutoRuns | None = None
        self._awaited: set[str] = set()

    def turn_on(self, opener: AutoRuns) -> None:
        """From now on, into runs of this opener."""
        if self._opener is not None:
            opener.take_over(self._opener)
        self._uninstall()
        self._opener = opener
        for loop in self._loops:
            self._install(loop) if loop.MODULE in sys.modules else self._await(loop)

    def _install(self, loop: Loop) -> None:
        if self._opener is not None:
            loop.install(self._opener)

    def _await(self, loop: Loop) -> None:
        from wrapt import register_post_import_hook

        if loop.MODULE not in self._awaited:
            self._awaited.add(loop.MODULE)
            register_post_import_hook(lambda _: self._install(loop), loop.MODULE)

    def turn_off(self) -> None:
        """Restores every framework, and closes the runs that are not training now."""
        if self._opener is not None:
            self._opener.close()
        self._uninstall()

    def _uninstall(self) -> None:
        opener, self._opener = self._opener, None
        for loop in self._loops:
            if opener is not None:
                loop.uninstall(opener)


_switch = Switch(LOOPS)


def enable(*trackers: str | Tracker, **options: Any) -> None:
    """Records every training, evaluation and prediction of Keras and Ultralytics from now on, in this process.

    It does not matter whether the framework has been imported, and whether the model has been made, before or
    afterwards. Each training is a run of its own; evaluations, predictions, saves and exports of its model belong to
    it, too. Called again, the new trackers and options hold for the runs that are opened from then on.

    Args:
        *trackers: as in `run`.
        **options: as in `run`, but for `resume`: `project`, `name`, `params`, `tags`, `notes`, `group`, `dir`,
            `every`, `keep`, `delivery`, `system`, `strict`, and the options of a tracker by its name, as in
            `mlflow={"tracking_uri": …}`.

    Raises:
        UnknownNameError: there is no such tracker or option; the message holds the nearest name.
        InvalidValueError: a value is not accepted.
        MissingPackageError: a tracker's package is not installed; the message holds the install line.
    """
    _switch.turn_on(_opener("enable", trackers, options))


def disable() -> None:
    """Ends what `enable` began, and restores the frameworks. Without `enable` before it, it does nothing."""
    _switch.turn_off()


def keras_callback(*trackers: str | Tracker, **options: Any) -> Any:
    """A callback of Keras that opens its run by itself: `model.fit(x, y, callbacks=[keras_callback("mlflow")])`.

    Each training is a run of its own, which ends with it; evaluations, predictions, saves and exports of the model
    afterwards belong to it, too. To write more into the run: `run` and `run.keras`.

    Args:
        *trackers: as in `run`.
        **options: as in `enable`.

    Raises:
        UnknownNameError: there is no such tracker or option; the message holds the nearest name.
        InvalidValueError: a value is not accepted.
        MissingPackageError: Keras has not been imported, or a tracker's package is not installed.
    """
    return keras.callback_of_opener(_opener("keras_callback", trackers, options))


def _opener(call: str, trackers: tuple[str | Tracker, ...], options: dict[str, Any]) -> AutoRuns:
    if "resume" in options:
        raise InvalidValueError(
            f"{call}(resume=…): one run is resumed, and this opens many. Use trackhooks.run(resume=…)."
        )
    return AutoRuns(settings(*trackers, **options))
