"""Record the trials of an Optuna study: a run for each trial, in a group for the study.

Optuna is not imported here: it calls the objective with a trial, which has everything that is recorded.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import trackhooks
from trackhooks.errors import InvalidValueError
from trackhooks.errors.foreign import shown

from .options import check, copies

if TYPE_CHECKING:
    from optuna import Study, Trial

_Returned = TypeVar("_Returned")
Objective = Callable[["Trial", trackhooks.Run], _Returned]
"""An objective that also gets the run of its trial."""

_UNNAMED = "no-name-"
"""How the names begin that Optuna gives to studies without a name."""


def record_trials(
    *trackers: Any,
    name: str | None = None,
    group: str | None = None,
    tags: Iterable[str] = (),
    **options: Any,
) -> Callable[[Objective[_Returned]], Callable[[Trial], _Returned]]:
    """Record each trial of an objective as a run, whichever thread or process Optuna calls it in.

    It decorates a function `objective(trial, run)`. What it returns is a function `objective(trial)` for
    `study.optimize`. The parameters that were suggested, the values that the objective returned and the status are
    recorded: finished; pruned, if `TrialPruned` was raised; or failed, after any other exception and if Optuna does
    not accept the returned value.

    The function also takes `study.best_trial` or a `FixedTrial`, which are recorded without a study, and None, which
    programs with `TorchDistributedTrial` pass on ranks above 0, and which is not recorded.

    Args:
        *trackers: as in `trackhooks.run`. Each trial gets a copy of a tracker that is passed as an object.
        name: what the names of the runs begin with. The number of the trial follows: `digits-0`. By default the name
            of the study, or `trial` if it has none.
        group: the group of the runs. By default the name of the study.
        tags: the tags of each run, besides one such as `trial-0`.
        **options: the other options of `trackhooks.run`.

    Raises:
        InvalidValueError: a function was passed (`@record_trials` instead of `@record_trials()`), or `resume`, since
            each trial is a new run; or `name` or `tags` have another type. The other options are checked when a trial
            starts.
    """
    check("record_trials", trackers, options, tags, name)
    all_tags = list(tags)

    def opened(trial: Trial) -> trackhooks.Run:
        study = _study(trial)
        named = study is not None and not study.study_name.startswith(_UNNAMED)
        first = name or (study.study_name if study and named else "trial")
        return trackhooks.run(
            *copies(trackers), name=f"{first}-{trial.number}", group=group or (study.study_name if study else None),
            tags=[*all_tags, f"trial-{trial.number}"], **options,
        )  # fmt: skip

    def decorate(objective: Objective[_Returned]) -> Callable[[Trial], _Returned]:
        if not callable(objective):
            raise InvalidValueError(f"the objective must be a function, got {shown(objective)}.")

        @functools.wraps(objective)
        def recorded(trial: Trial) -> _Returned:
            if trial is None:  # as `TorchDistributedTrial` is used on ranks above 0
                with trackhooks.run(*copies(trackers), **{**options, "rank": 1}) as run:
                    return objective(trial, run)
            _check_trial(trial)
            with opened(trial) as run:
                with _params_recorded(run, trial):
                    returned = objective(trial, run)
                _record_values(run, _study(trial), returned)
            return returned

        return recorded

    return decorate


def _check_trial(trial: Any) -> None:
    if not all(hasattr(trial, name) for name in ("number", "params")):
        raise InvalidValueError(
            f"an objective that record_trials decorates must be called with a trial of Optuna, got {shown(trial)}."
        )


def _study(trial: Trial) -> Study | None:
    """Return the study of a trial; None of a `FixedTrial`, and of a `FrozenTrial` such as `study.best_trial`."""
    return getattr(trial, "study", None)


@contextmanager
def _params_recorded(run: trackhooks.Run, trial: Trial) -> Iterator[None]:
    """Record the parameters that were suggested so far when a training starts, after each epoch, and at the end."""
    recorded: dict[str, Any] = {}

    def record(_: Any = None) -> None:
        new = {name: value for name, value in trial.params.items() if name not in recorded}
        if new:
            recorded.update(new)
            run.log_params(new)

    for hook in ("on_train_start", "on_fit_epoch_end"):
        run.add_callback(hook, record)
    try:
        yield
    finally:
        record()


def _record_values(run: trackhooks.Run, study: Study | None, returned: Any) -> None:
    """Record the values of a trial. The run has failed if Optuna does not accept them, as the trial has."""
    values = _numbers(returned)
    names = _names(study) if study else _numbered(["value"] * len(values))
    if values and len(values) == len(names) and all(value == value for value in values):
        run.log({f"objective/{name}": value for name, value in zip(names, values, strict=True)})
    else:
        run.close("failed", f"Optuna does not accept what the objective returned: {shown(returned)}")


def _names(study: Study) -> list[str]:
    """Return the names of the objectives. Those without a name get one that tells their better end."""
    return study.metric_names or _numbered([direction.name.lower() for direction in study.directions])


def _numbered(names: list[str]) -> list[str]:
    return names if len(names) == 1 else [f"{index}/{name}" for index, name in enumerate(names)]


def _numbers(returned: Any) -> list[float]:
    """Return the values as Optuna reads them; none if one of them is not a number."""
    try:
        return [float(value) for value in (returned if isinstance(returned, Sequence) else [returned])]
    except (TypeError, ValueError):
        return []
