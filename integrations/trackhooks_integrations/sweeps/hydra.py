"""Record the jobs of Hydra: a run for each job, in a group for the sweep that it is part of."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

import trackhooks
from trackhooks.errors import InvalidValueError
from trackhooks.errors.foreign import shown

from .options import check, copies

_Returned = TypeVar("_Returned")
Task = Callable[[Any, trackhooks.Run], _Returned]
"""A task that also gets the run of its job."""


def record_jobs(
    *trackers: Any,
    name: str | None = None,
    group: str | None = None,
    tags: Iterable[str] = (),
    **options: Any,
) -> Callable[[Task[_Returned]], Callable[[Any], _Returned]]:
    """Record each job of a Hydra application as a run, in whichever process its launcher starts it.

    It decorates a function `main(config, run)`, below `@hydra.main(…)`. The whole config, with the overrides of the
    job, and the choices from config groups are the parameters. The runs are in the directory in which the application
    was started, even if Hydra changes it for a job. What the function raises sets the status.

    Args:
        *trackers: as in `trackhooks.run`. Each job gets a copy of a tracker that is passed as an object.
        name: what the names of the runs of a sweep begin with. The number of the job follows: `train-0`. By default
            the name of the job, which is that of the program. Outside a sweep it is the name of the run, as in
            `trackhooks.run`.
        group: the group of the runs. By default that of a sweep is its directory: `multirun/2026-11-27/10-55-01`.
        tags: the tags of each run.
        **options: the other options of `trackhooks.run`, except `params`.

    Raises:
        InvalidValueError: a function was passed (`@record_jobs` instead of `@record_jobs()`), or `resume` or `params`;
            or `name` or `tags` have another type. The other options are checked when a job starts.
    """
    check("record_jobs", trackers, options, tags, name)
    if "params" in options:
        raise InvalidValueError("record_jobs does not take params: the config has the parameters.")
    given = {**options, "tags": list(tags)}

    def decorate(task: Task[_Returned]) -> Callable[[Any], _Returned]:
        if not callable(task):
            raise InvalidValueError(f"the task must be a function, got {shown(task)}.")

        @functools.wraps(task)
        def recorded(config: Any) -> _Returned:
            place = _of_job(name, group, options.get("dir")) if HydraConfig.initialized() else {}
            chosen = {"name": name, "group": group, **given, **place}
            with trackhooks.run(*copies(trackers), params=config, **chosen) as run:
                if place:
                    run.log_params(_choices())
                return task(config, run)

        return recorded

    return decorate


def _of_job(name: str | None, group: str | None, directory: Any) -> dict[str, Any]:
    """Return the options of the run of this job."""
    hydra = HydraConfig.get()
    home = directory or os.environ.get("TRACKHOOKS_DIR") or "runs"
    place = {"dir": Path(hydra.runtime.cwd, home)}
    if hydra.mode != RunMode.MULTIRUN:
        return place
    return {**place, "name": f"{name or hydra.job.name}-{hydra.job.num}", "group": group or hydra.sweep.dir}


def _choices() -> dict[str, Any]:
    """Return what was chosen from each config group: `optimizer=adam`. Hydra's own groups are left out."""
    choices = HydraConfig.get().runtime.choices
    return {group: choice for group, choice in choices.items() if not group.startswith("hydra/")}
