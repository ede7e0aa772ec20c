"""`enable` and `disable`: record all trainings of all frameworks.

The integrations of frameworks are plugins (see `frameworks.registry`). None is imported before its framework is, and
no framework is imported here: its integration is installed when the user imports it.
"""

from __future__ import annotations

import sys
from typing import Any

from ..errors import InvalidValueError, warn
from ..errors.foreign import Failure, attempt
from ..frameworks import registry
from ..frameworks.interface import Framework
from ..frameworks.patching import when_imported
from ..frameworks.registry import Plugin
from .auto_runs import AutoRuns
from .settings import Trackers, settings


class Switch:
    """Install the integrations of the frameworks that are imported, now or later."""

    def __init__(self) -> None:
        self._runs: AutoRuns | None = None
        self._awaited: set[Plugin] = set()
        self._installed: list[Framework] = []

    @property
    def is_on(self) -> bool:
        """Whether trainings are recorded."""
        return self._runs is not None

    def turn_on(self, runs: AutoRuns) -> None:
        """Record into these runs from now on."""
        if self._runs is not None:
            runs.take_over(self._runs)
        self._uninstall()
        self._runs = runs
        for plugin in registry.plugins():
            self._install(plugin) if plugin.module in sys.modules else self._await(plugin)

    def _install(self, plugin: Plugin) -> None:
        framework = plugin.framework if self._runs is not None else None
        if framework is None or self._runs is None:
            return
        self._installed.append(framework)
        failed = attempt(framework.install, self._runs, plugin.module)
        if isinstance(failed, Failure):
            warn(
                f"nothing of {plugin.module!r} is recorded: {plugin.target} in the package {plugin.distribution!r}"
                f" could not be installed. {failed.why}"
            )

    def _await(self, plugin: Plugin) -> None:
        if plugin not in self._awaited:
            self._awaited.add(plugin)
            when_imported(plugin.module, lambda: self._install(plugin))

    def turn_off(self) -> None:
        """Restore every framework, and close the runs that are not training now."""
        if self._runs is not None:
            self._runs.close()
        self._uninstall()

    def _uninstall(self) -> None:
        runs, self._runs = self._runs, None
        installed, self._installed = self._installed, []
        for framework in installed:
            if runs is not None:
                framework.uninstall(runs)


_switch = Switch()


def enable(*trackers: Trackers, **options: Any) -> None:
    """Record every training, evaluation and prediction from now on in this process.

    This includes Keras, Ultralytics, and every framework for which an integration is installed. The framework may be
    imported and the model created before or after this call. Each training is a separate run; evaluations,
    predictions, saves and exports of its model belong to the same run. After another call, the new trackers and
    options apply to runs that are opened from then on.

    Args:
        *trackers: as in `run`.
        **options: as in `run`: `project`, `name`, `params`, `tags`, `notes`, `group`, `dir`, `every`, `keep`,
            `delivery`, `system`, `strict`, `rank`, `ranks`, `wait`, `resume="auto"`, and the options of a tracker by
            its name, as in `mlflow={"tracking_uri": …}`.

    Raises:
        UnknownNameError: a tracker or option does not exist; the message has the nearest name.
        InvalidValueError: a value is not accepted.
        MissingPackageError: a tracker's package is not installed; the message has the install command.
    """
    _switch.turn_on(_auto_runs("enable", trackers, options))


def enable_by_default() -> None:
    """Call `enable`, unless the program has called it. Raises what `enable` raises."""
    if not _switch.is_on:
        enable()


def disable() -> None:
    """Stop recording and restore the frameworks. Does nothing if `enable` was not called."""
    _switch.turn_off()


def keras_callback(*trackers: Trackers, **options: Any) -> Any:
    """Create a Keras callback that opens its own run: `model.fit(x, y, callbacks=[keras_callback("mlflow")])`.

    Each training is a separate run that ends with the training; later evaluations, predictions, saves and exports of
    the model belong to the same run. To log more into the run, use `run` and `run.keras`.

    Args:
        *trackers: as in `run`.
        **options: as in `enable`.

    Raises:
        UnknownNameError: a tracker or option does not exist; the message has the nearest name.
        InvalidValueError: a value is not accepted.
        MissingPackageError: Keras has not been imported, or a tracker's package is not installed.
    """
    return registry.callback("keras", _auto_runs("keras_callback", trackers, options))


def _auto_runs(call: str, trackers: tuple[Trackers, ...], options: dict[str, Any]) -> AutoRuns:
    chosen = settings(*trackers, **options)
    if chosen.resume is not None:
        raise InvalidValueError(
            f"{call}(resume=…): one run is resumed, and this opens many. Use trackhooks.run(resume=…), or"
            f" {call}(resume='auto') to continue the runs of the same job."
        )
    return AutoRuns(chosen)
