"""The answer of a report: which run was better, and what else differed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from .. import formats
from ..compared import Compared
from ..groups import Column, Spread
from ..summary import RunSummary
from .table_data import goal_of

_MOST_PARAMS, _MOST_OTHERS = 5, 4
_LONGEST_REASON = 120
_UNFINISHED = ("failed", "pruned", "killed", "lost", "running")


class Answer(NamedTuple):
    """The best run or group, and the sentences about it."""

    metric: str
    winner: str
    value: str
    sentences: list[str]


def answer(of: Compared) -> Answer | None:
    """Return which run or group is the best by the most important metric, or None if no metric has a best value."""
    metric = next((name for name in of.metrics if goal_of(of.runs, name)), None)
    ranked = [] if metric is None else _ranked(of, metric)
    if metric is None or not ranked:
        return None
    (winner, best), *others = ranked
    sentences = [_next(best, others), *_differences(of, winner), *_unfinished(of)]
    return Answer(
        formats.plain(metric),
        formats.plain(winner.label),
        _value(winner, metric, best, of.at),
        list(filter(None, sentences)),
    )


def _ranked(of: Compared, metric: str) -> list[tuple[Column, Spread]]:
    """Return the columns with their best values, or with those at the moment that the comparison is about."""
    spreads = [(column, column.spread(metric, "last" if of.at else "best")) for column in of.columns]
    found = [
        (column, spread) for column, spread in spreads if spread is not None and spread.mean == spread.mean
    ]
    return sorted(found, key=lambda pair: pair[1].mean, reverse=goal_of(of.runs, metric) == "max")


def _value(column: Column, metric: str, spread: Spread, at: str) -> str:
    value = formats.spread(spread.mean, spread.std)
    if column.run is None:
        return f"{value} over {spread.n} runs"
    if at:
        return f"{value} at the best {formats.plain(at)}"
    found = column.run.metrics[metric]
    place = f"epoch {found.best_epoch}" if found.axis == "epoch" else f"step {found.best_step:,}"
    return f"{value} at {place}"


def _next(best: Spread, others: Sequence[tuple[Column, Spread]]) -> str:
    if not others:
        return ""
    column, spread = others[0]
    if spread.mean == best.mean:
        return f"{formats.plain(column.label)} is equally good."
    change = formats.percent(formats.change(spread.mean, best.mean))
    value = formats.spread(spread.mean, spread.std)
    return f"Next: {formats.plain(column.label)} with {value}{change and f' ({change})'}."


def _differences(of: Compared, winner: Column) -> list[str]:
    """Say what the winner has, and what the others have."""
    found = []
    for name in of.params[:_MOST_PARAMS]:
        own = [formats.parameter(value) for value in winner.param(name)]
        others = Counter(
            formats.parameter(value)
            for column in of.columns
            if column is not winner
            for value in column.param(name)
        )
        different = [value for value in others if value not in own]
        if own and different:
            found.append(f"{formats.plain(name)}: {', '.join(own)} {_others(different, len(of.columns))}")
    return [f"What differs — {'; '.join(found)}."] if found else []


def _others(values: Sequence[str], columns: int) -> str:
    """Say which values the other column has, or the others have."""
    named = ", ".join(values[:_MOST_OTHERS]) + "…" * (len(values) > _MOST_OTHERS)
    return f"instead of {named}" if columns == 2 else f"(others {named})"


def _unfinished(of: Compared) -> list[str]:
    """Name the runs that did not finish, with the reason of a single one."""
    by_status = {status: [run for run in of.runs if run.status == status] for status in _UNFINISHED}
    return [_with_status(status, runs) for status, runs in by_status.items() if runs]


def _with_status(status: str, runs: Sequence[RunSummary]) -> str:
    names = ", ".join(formats.plain(run.name) for run in runs[:_MOST_OTHERS])
    more = f" and {len(runs) - _MOST_OTHERS} more" if len(runs) > _MOST_OTHERS else ""
    reason = (
        formats.shortened(formats.plain(runs[0].info.reason or ""), _LONGEST_REASON) if len(runs) == 1 else ""
    )
    return f"{status.capitalize()}: {names}{more}{reason and f' ({reason})'}."
