"""`Source`: a run whose points are read, with what its rows have in common."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast, get_args

import msgspec

from ..errors import InvalidValueError
from ..errors.foreign import shown
from ..event import RunInfo, Scalar
from ..storage import run_folder
from ..values import checks
from . import formats, frames, rank_points
from .blocks import Wanted
from .columns import PARAM, RUN, Columns, Form, Over, constant, length_of, long, wide
from .differences import all_params
from .finding import RunLike, find, is_one_run
from .groups import labels
from .points import Points, everything
from .query import where as matching_runs
from .rank_points import Rank
from .selection import matching
from .summary import RunSummary, summarize


class Options(msgspec.Struct, kw_only=True, frozen=True):
    """The options of `history`, which documents them."""

    metrics: str = "*"
    form: Form = "wide"
    over: Over = "step"
    params: str | None = None
    rank: Rank | None = None
    named: bool = True
    """Whether the wide form has the column `run`."""


def checked(
    *, metrics: Any, form: Any, over: Any, params: Any, rank: Any = None, named: bool = True
) -> Options:
    """Return the options.

    Raises:
        InvalidValueError: if one of them is not accepted.
    """
    return Options(
        metrics=checks.name("metrics", metrics),
        form=_one_of("form", form, Form),
        over=_one_of("over", over, Over),
        params=None if params is None else checks.name("params", params),
        rank=None if rank is None else rank_points.checked(rank, over),
        named=named,
    )


def _one_of(name: str, value: Any, kind: Any) -> Any:
    accepted = get_args(kind)
    if not isinstance(value, str) or value not in accepted:
        raise InvalidValueError(f"{name} must be one of {', '.join(accepted)}, got {shown(value)}.")
    return value


class Constant(NamedTuple):
    """A parameter, which is the same in all rows of a run."""

    value: Scalar
    kind: type


class Source(NamedTuple):
    """A run whose points are read."""

    path: Path
    label: str
    """The name in the column `run`."""
    params: dict[str, Constant]
    rank: Rank | None = None
    """Which rank is read, or what is computed over all ranks."""
    axis: Over = "step"
    """At what the values of the ranks are combined."""

    def points(self, wanted: Wanted = everything, *, system: bool = False) -> dict[str, Points]:
        """Return the points of the metrics: see `points.points`."""
        return rank_points.points_of(self.path, self.rank, self.axis, wanted, system=system)

    def columns(self, found: Mapping[str, Points], names: Sequence[str], options: Options) -> Columns:
        """Return the columns of these metrics, with the name and the parameters of the run."""
        columns = long(found, names) if options.form == "long" else wide(found, names, options.over)
        rows = length_of(columns)
        if options.rank == rank_points.EVERY:
            columns = {rank_points.RANK: constant(self.rank, rows, int)} | columns
        if options.named or options.form == "long":
            columns = {RUN: constant(self.label, rows)} | columns
        params = {
            f"{PARAM}{name}": constant(value, rows, kind) for name, (value, kind) in self.params.items()
        }
        return columns | params


def choose(
    runs: RunLike | Iterable[RunLike], options: Options, where: str | None
) -> tuple[list[Source], Options]:
    """Return the runs to read, and the options with `named`: one run that is named by itself needs no name.

    Raises:
        UnknownNameError: if a run or parameter does not exist.
        InvalidValueError: if there are no runs, or if the filter cannot be read.
    """
    alone = isinstance(runs, (str, os.PathLike, RunSummary))
    given = [cast(RunLike, runs)] if alone else list(checks.iterator("runs", runs))
    paths = find(given, newest_first=True)
    options = msgspec.structs.replace(options, named=not (alone and is_one_run(given[0])))
    if where is None and options.params is None:
        return sources([run_folder.read_info(path) for path in paths], options), options
    return filtered([summarize(path) for path in paths], where, options), options


def filtered(runs: Sequence[RunSummary], where: str | None, options: Options) -> list[Source]:
    """Return the runs that match a filter as sources.

    Raises:
        UnknownNameError: if a pattern matches no parameter, or if no run has a value that the filter names.
        InvalidValueError: if there are no runs, or if the filter cannot be read.
    """
    found = matching_runs(runs, where)
    if runs and not found:
        raise InvalidValueError(f"no run matches the filter {where!r}.")
    return sources(found, options)


def sources(runs: Sequence[RunInfo | RunSummary], options: Options) -> list[Source]:
    """Return runs as sources. If parameters are wanted, they must be summaries.

    Raises:
        UnknownNameError: if a pattern matches no parameter.
        InvalidValueError: if there are no runs.
    """
    if not runs:
        raise InvalidValueError("there are no runs to read. Name some, as in history(['runs/a', 'runs/b']).")
    params: list[dict[str, Constant]] = [{} for _ in runs]
    if options.params is not None:
        summaries = [run for run in runs if isinstance(run, RunSummary)]
        for name in matching(all_params(summaries), options.params, "parameter"):
            constants = _constants([run.params.get(name) for run in summaries])
            for found, value in zip(params, constants, strict=True):
                found[name] = value
    return [
        Source(Path(run.path), label, found, rank, options.over)
        for run, label, found in zip(runs, labels(runs), params, strict=True)
        for rank in rank_points.chosen(Path(run.path), options.rank)
    ]


def _constants(values: Sequence[Scalar]) -> list[Constant]:
    """Return the values of a parameter in all runs, with one type that holds them."""
    found = frames.of_one_type(list(values))
    missing = None in found
    types = {type(value) for value in found if value is not None}
    if types in ({int}, {float}) or (types == {bool} and not missing):
        kind: type = float if missing else types.pop()
        return [Constant(value, kind) for value in found]
    return [Constant(None if value is None else formats.parameter(value), object) for value in found]
