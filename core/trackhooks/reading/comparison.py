"""`compare`: compare the parameters and metrics of runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ..errors import InvalidValueError
from ..event import Scalar
from ..values import checks
from . import best_moment, formats, frames, packages
from .columns import Form, Over
from .compared import Compared, Shown
from .comparison_table import table_of
from .differences import all_params as all_params_of
from .differences import differing_environment, differing_facts, differing_params, given_params
from .finding import RunLike, find
from .groups import SEEDS, Column, Which, columns
from .history import History
from .listing import RunList
from .query import where as matching
from .selection import all_metrics, is_hidden, matching_metrics, shown_metrics
from .summary import Metric, RunSummary, summarize
from .table import Table, as_text, terminal_width

if TYPE_CHECKING:
    import pandas
    import polars

    from .figures.axes import XAxis
    from .figures.figure import Figure

_MOST_PARAMS = 100
"""Maximum number of parameters in a printed table."""


class Options(msgspec.Struct, kw_only=True):
    """The options of `compare`, which documents them."""

    all_params: bool = False
    metrics: str | None = None
    where: str | None = None
    at: str | None = None
    group_by: str | Sequence[str] | None = SEEDS
    sort: str | None = None
    why: bool = False


class Comparison(Compared):
    """A comparison of runs. It prints as a table."""

    @property
    def labels(self) -> list[str]:
        """The headers of the columns: the names of the runs, or their folders if two runs have the same name."""
        return [column.label for column in self.columns]

    def to_dict(self) -> dict[str, Any]:
        """Return a dict of lists with one value per run, or None for runs that have no value.

        `{"runs": …, "status": …, "duration": …, "params": {name: …}, "metrics": {name: {"last": …, "best": …}}}`

        A group of runs has one value too: its mean, with `last_std`, `best_std`, and the number of runs as `n`.
        Parameters with several values in a group are lists. With a baseline, there are differences in per cent, as
        `last_change` and `best_change`.

        `uncommitted` has the files whose uncommitted changes differ. `partings` says for each metric where its curve
        parts from that of the baseline, or else of the first run: see `Parting`.
        """
        columns = self.columns
        return {
            "runs": self.labels,
            "n": [len(column.runs) for column in columns],
            "status": [column.status for column in columns],
            **{name: [column.field(name) for column in columns] for name in _NUMBERS},
            "params": _by_name(columns, self.params, Column.param),
            "metrics": {name: self._metric(name) for name in self.metrics},
            "environment": _by_name(columns, self.shown.environment, Column.environment),
            "facts": _by_name(columns, self.shown.facts, Column.param),
            "uncommitted": {
                name: [None if change is None else str(change) for change in changes]
                for name, changes in self.uncommitted.items()
            },
            "partings": self._partings_by_metric(),
        }

    def _partings_by_metric(self) -> dict[str, list[Any]]:
        found = [
            {parting.metric: msgspec.to_builtins(parting) for parting in of_run} for of_run in self.partings
        ]
        names = formats.unique(name for by_name in found for name in by_name)
        return {name: [by_name.get(name) for by_name in found] for name in names}

    def _metric(self, name: str) -> dict[str, list[Any]]:
        found = [None if column.run is None else column.run.metrics.get(name) for column in self.columns]
        places = {
            field: [None if metric is None else getattr(metric, field) for metric in found]
            for field in Metric.__struct_fields__
        }
        return places | self._values(name, "last") | self._values(name, "best")

    def _values(self, name: str, which: Which) -> dict[str, list[Any]]:
        spreads = [column.spread(name, which) for column in self.columns]
        found: dict[str, list[Any]] = {which: [None if spread is None else spread.mean for spread in spreads]}
        if any(column.run is None for column in self.columns):
            found[f"{which}_std"] = [None if spread is None else spread.std for spread in spreads]
        if self.baseline is not None:
            found[f"{which}_change"] = self.changes(name, which)
        return found

    def to_json(self) -> str:
        """Return `to_dict()` as JSON. NaN and infinities become `"NaN"`, `"Infinity"` and `"-Infinity"`."""
        return formats.as_json(self.to_dict())

    def to_rows(self) -> list[dict[str, Any]]:
        """Return one dict per run or group.

        The keys are `param/…`, and for each metric `last/…`, `best/…` and `best_epoch/…` or `best_step/…`; for a group
        the means and `last_std/…`, `best_std/…`.
        """
        return [column.to_row(self.params, self.metrics) for column in self.columns]

    def to_csv(self) -> str:
        """Return `to_rows()` as CSV."""
        return formats.as_csv(self.to_rows())

    def to_pandas(self) -> pandas.DataFrame:
        """Return `to_rows()` as a DataFrame of pandas. `created` is a time stamp.

        Raises:
            MissingPackageError: if pandas is not installed.
        """
        return frames.to_pandas(self.to_rows())

    def to_polars(self) -> polars.DataFrame:
        """Return `to_rows()` as a DataFrame of polars. `created` is a time stamp. A column of mixed types is text.

        Raises:
            MissingPackageError: if polars is not installed.
        """
        return frames.to_polars(self.to_rows())

    def history(
        self, metrics: str = "*", *, form: Form = "wide", over: Over = "step", params: str | None = None
    ) -> History:
        """Return all points of the metrics of the runs, also of those inside of groups, as `trackhooks.history` does.

        Raises:
            UnknownNameError: if a pattern matches no metric or parameter; the message suggests the nearest name.
            InvalidValueError: if an argument has another form.
            MissingPackageError: if NumPy is not installed.
        """
        return self.runs.history(metrics, form=form, over=over, params=params)

    def plot(
        self, metrics: str, *, over: XAxis = "step", smoothing: float = 0.0, log: bool = False
    ) -> Figure:
        """Draw the curves of metrics, one chart for each. Groups of runs are their mean with a band of ± std.

        Args:
            metrics: a metric, or a comma-separated list of patterns, such as `"val/*"`.
            over: the horizontal axis: `"step"`, `"epoch"`, `"time"`, or `"relative"` for the time since the start.
            smoothing: from 0 to below 1, the weight of the past in a moving average, as in TensorBoard. The raw curves
                are shown behind it.
            log: whether the vertical axis is logarithmic.

        Returns:
            a figure that notebooks display, with `.save("file.html")` and `.figure`, the object of Bokeh.

        Raises:
            UnknownNameError: if a pattern matches no metric, or if there is no such axis.
            InvalidValueError: if an argument has another form.
            MissingPackageError: if Bokeh is not installed.
        """
        packages.for_figures()
        from .figures import draw

        return draw.plot(self, metrics, over, smoothing, log)

    def parallel(self, *names: str) -> Figure:
        """Draw parallel coordinates: a line for each run, with one axis for each parameter or metric.

        Args:
            names: the axes, named as in filters: `"params.lr"`, `"best.val/loss"`. By default, the parameters that
                differ and the most important metrics.

        Raises:
            UnknownNameError: if no run has such a value; the message suggests the nearest name.
            InvalidValueError: if there are fewer than two axes.
            MissingPackageError: if Bokeh is not installed.
        """
        packages.for_figures()
        from .figures import draw

        return draw.parallel_coordinates(self, names)

    def scatter(self, x: str, y: str) -> Figure:
        """Draw a point for each run over two values, named as in filters: `scatter("params.lr", "best.val/loss")`.

        Raises:
            UnknownNameError: if no run has such a value; the message suggests the nearest name.
            MissingPackageError: if Bokeh is not installed.
        """
        packages.for_figures()
        from .figures import draw

        return draw.scatter_plot(self, x, y)

    def report(
        self,
        path: str | os.PathLike[str] = "report.html",
        *,
        title: str | None = None,
        picture_mb: float = 10.0,
        overwrite: bool = False,
    ) -> Path:
        """Write a report: one HTML file with the table, the curves, the parameters, and the pictures of the runs.

        It needs no network and opens in any browser. Returns its absolute path.

        Args:
            path: the file. An existing file is only replaced if it is a page that trackhooks made.
            title: the title; by default, the number of runs and their project.
            picture_mb: how many megabytes of pictures are included, the latest first.
            overwrite: whether to replace any file.

        Raises:
            InvalidValueError: if the path does not end with `.html`, or if another argument has another form.
            TrackhooksError: if the file exists and trackhooks did not make it, or if it cannot be written.
            MissingPackageError: if Bokeh is not installed.
        """
        packages.for_figures()
        from .report import write

        return write.report(self, path, title=title, picture_mb=picture_mb, overwrite=overwrite)

    def table(self, most_params: int | None = None) -> Table:
        """Return the table that is printed, with one column per run; with more than six runs, one row per run.

        Args:
            most_params: the maximum number of parameters; by default all are shown.
        """
        return table_of(self, most_params)

    def __str__(self) -> str:
        return as_text(self.table(_MOST_PARAMS), terminal_width())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from .html import as_html  # only notebooks need it

        return as_html(self.table(_MOST_PARAMS))


_NUMBERS = ("created", "duration", "epochs", "steps")


def _by_name(
    columns: Sequence[Column], names: Sequence[str], read: Callable[[Column, str], list[Scalar]]
) -> dict[str, list[Any]]:
    return {name: [_one(read(column, name)) for column in columns] for name in names}


def _one(values: list[Scalar]) -> Any:
    """Return the only value, None if there is none, or all values of a group."""
    return values if len(values) > 1 else values[0] if values else None


def compare(
    runs: RunLike | Iterable[RunLike],
    *,
    all_params: bool = False,
    metrics: str | None = None,
    where: str | None = None,
    at: str | None = None,
    group_by: str | Sequence[str] | None = SEEDS,
    baseline: RunLike | None = None,
    sort: str | None = None,
    why: bool = False,
) -> Comparison:
    """Compare runs: the parameters that differ, and the last and the best value of each metric.

    The best value of each row is marked. Of more than two runs, those that differ only in their seed are one group,
    with the mean and the standard deviation of each metric. Output folders, generated names, and settings of the
    optimizer that repeat a parameter do not count as differences.

    Args:
        runs: the runs to compare: folders, names of runs in `TRACKHOOKS_DIR` (by default `runs`), run objects, or
            directories of runs, whose runs are ordered as in `runs()`: newest first.
        all_params: whether to include parameters that are the same in all runs or do not count as differences.
        metrics: a comma-separated list of patterns for the names of the metrics, such as `"val/*"` or `"val/*,lr/0"`.
            By default, all metrics are included except for `speed/…`, `system/…`, `best/…`, `train_batch/x` if
            there is `train/x`, and `lr/…` if the learning rate is a parameter.
        where: compare only the runs that match a filter, such as `"params.lr < 0.1 and tag:baseline"`.
        at: `"best:val/loss"` compares all metrics at the epoch of each run in which `val/loss` was best.
        group_by: names of parameters or fields, such as `"lr,batch_size"` or `["group"]`: the runs that share their
            values become one column of means. None compares every run by itself.
        baseline: a run that the metrics of the others are compared with, in per cent. It is shown first.
        sort: the order of the runs, as in `RunList.sorted_by`.
        why: whether to compare the curves of all runs with those of the baseline, or of the first run, point by point.
            By default, that is done for two runs whose journals have at most 16 MB.

    Raises:
        UnknownNameError: if a run, metric, parameter or field does not exist; the message suggests the nearest name.
        InvalidValueError: if no run is left to compare, or if an argument has another form.
        TrackhooksError: if a run cannot be read.
    """
    if isinstance(runs, (str, os.PathLike, RunSummary)):
        runs = [runs]
    found = [summarize(path) for path in find(runs, newest_first=True)]
    base = None if baseline is None else baseline_run(baseline)
    options = Options(
        all_params=all_params,
        metrics=metrics,
        where=where,
        at=at,
        group_by=group_by,
        sort=sort,
        why=checks.switch("why", why),
    )
    return compare_summaries(found, options, base)


def baseline_run(baseline: RunLike) -> RunSummary:
    """Return the run that is the baseline.

    Raises:
        InvalidValueError: if it is a directory of several runs.
        UnknownNameError: if it does not exist.
    """
    found = find([baseline])
    if len(found) > 1:
        raise InvalidValueError(f"the baseline must be one run, but {baseline!s} contains {len(found)}.")
    return summarize(found[0])


def compare_summaries(
    runs: Sequence[RunSummary], options: Options, baseline: RunSummary | None = None
) -> Comparison:
    """Compare runs that are already summarized: see `compare`."""
    if not runs:
        raise InvalidValueError("there are no runs to compare. Name some: compare(['runs/a', 'runs/b'])")
    chosen = _chosen(runs, options, baseline)
    shown = _shown(chosen, options)
    grouped = columns(chosen, options.group_by)
    at = "" if options.at is None else best_moment.metric_of(options.at)
    if at:
        best_moment.check(chosen, at)
        grouped = [
            Column(column.label, [best_moment.at_best(run, at) for run in column.runs]) for column in grouped
        ]
    base = None if baseline is None else _column_of(baseline, grouped)
    ordered = sorted(grouped, key=lambda column: column is not base)
    return Comparison(ordered, shown, at, base, options.why)


def _chosen(runs: Sequence[RunSummary], options: Options, baseline: RunSummary | None) -> list[RunSummary]:
    """Return the runs that match the filter, in order, and the baseline in any case."""
    chosen = matching(runs, options.where)
    if not chosen:
        raise InvalidValueError(f"no run matches the filter {options.where!r}.")
    if options.sort is not None:
        chosen = RunList(chosen).sorted_by(options.sort)
    if baseline is not None and not any(run.path == baseline.path for run in chosen):
        chosen = [baseline, *chosen]
    return chosen


def _shown(runs: Sequence[RunSummary], options: Options) -> Shown:
    names = shown_metrics(runs) if options.metrics is None else matching_metrics(runs, options.metrics)
    curves = (
        names if options.metrics is not None else [name for name in all_metrics(runs) if not is_hidden(name)]
    )
    environment = differing_environment(runs)
    if options.all_params:
        return Shown(all_params_of(runs), names, environment, [], curves)
    params = given_params(runs[0]) if len(runs) == 1 else differing_params(runs)
    return Shown(params, names, environment, differing_facts(runs), curves)


def _column_of(run: RunSummary, columns: Sequence[Column]) -> Column:
    return next(column for column in columns if any(member.path == run.path for member in column.runs))
