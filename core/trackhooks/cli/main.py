"""The commands `trackhooks exec`, `runs`, `compare`, `ranks`, `report`, `export`, `sync` and `doctor`.

Results go to standard output; messages and progress go to standard error. The exit code is 1 on failure, and 2 if the
command line is not valid.
"""

from __future__ import annotations

import errno
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar, get_args

import click

from ..delivery.cursor import check_spec, journal_size
from ..delivery.registry import names_in
from ..delivery.throttle import Throttle
from ..errors import TrackhooksError, TrackhooksWarning, nearest
from ..reading import formats, packages
from ..reading.columns import Form, Over
from ..reading.comparison import Comparison, Options, baseline_run, compare_summaries
from ..reading.export import TEXT
from ..reading.finding import find, is_one_run, runs_in
from ..reading.formats import plain
from ..reading.groups import SEEDS
from ..reading.listing import RunList, read_runs
from ..reading.ranks import ranks as ranks_of
from ..reading.sources import checked
from ..reading.summary import RunSummary, summarize
from ..reading.table import Table, as_text, terminal_width
from ..recording import environment
from ..storage import run_folder
from .doctor import examine
from .export import STDOUT, output_of
from .export import export as export_runs
from .sync import damage_of, parse_options, parse_value
from .sync import sync as sync_run

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

Progress = Callable[[int], None]
_Command = TypeVar("_Command", bound=Callable[..., Any])

_SYNONYMS = {
    "history": "export",
    "list": "runs",
    "ls": "runs",
    "diff": "compare",
    "upload": "sync",
    "check": "doctor",
}
"""What people call our commands: names in our Python API, in git, or in other trackers."""

_SHORT = 10_000_000
"""Journals of this many bytes are read too fast for a progress bar."""


class Commands(click.Group):
    """A group that prints errors in one line, and suggests the nearest command if one does not exist."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command. Errors of trackhooks and of the file system become messages instead of tracebacks."""
        try:
            with _warnings_as_lines():
                return super().invoke(ctx)
        except TrackhooksError as error:
            raise click.ClickException(str(error)) from error
        except OSError as error:
            if error.errno == errno.EPIPE:  # a reader such as `head` has exited, which click handles
                raise
            raise click.ClickException(f"{error.filename or ''}: {error.strerror}".lstrip(": ")) from error

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of their definition."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the first argument names."""
        known = self.list_commands(ctx)
        if args[0] not in known and not args[0].startswith("-"):
            close = _SYNONYMS.get(args[0]) or nearest(args[0], known)
            hint = f"Did you mean {close!r}?" if close is not None else f"Commands: {', '.join(known)}."
            raise click.UsageError(f"unknown command {args[0]!r}. {hint}", ctx)
        return super().resolve_command(ctx, args)


@contextmanager
def _warnings_as_lines() -> Iterator[None]:
    def show(message: Warning | str, category: type[Warning], *location: Any, **more: Any) -> None:
        if issubclass(category, TrackhooksWarning):
            click.echo(f"Warning: {message}", err=True)
        else:
            shown(message, category, *location, **more)

    with warnings.catch_warnings():
        shown, warnings.showwarning = warnings.showwarning, show
        warnings.simplefilter("always", TrackhooksWarning)
        yield


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(environment.own_version(), "-V", "--version", prog_name="trackhooks")
def main() -> None:
    """Record, list, compare and deliver training runs."""
    for stream in (sys.stdout, sys.stderr):
        _replace_unsupported_characters(stream)


def _replace_unsupported_characters(stream: TextIO | Any) -> None:
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="replace")


_as_json = click.option("--json", "form", flag_value="json", help="Print JSON.")
_as_csv = click.option("--csv", "form", flag_value="csv", help="Print CSV, with one row per run.")
_where = click.option(
    "--where", metavar="FILTER", help="Only runs that match, such as 'params.lr < 0.1 and tag:baseline'."
)


_group_by = click.option(
    "--group-by", metavar="NAMES", default=SEEDS,
    help="Show the mean ± std of runs with the same values of these parameters or fields, such as lr,batch_size. By"
    " default, of runs that differ only in their seed, if there are more than two runs; none shows each run.",
)  # fmt: skip

_at = click.option(
    "--at", metavar="best:METRIC", help="Show all metrics at the epoch at which this one was best."
)


def _baseline(text: str) -> Callable[[_Command], _Command]:
    return click.option("--baseline", metavar="RUN", help=text)


def _sort(default: str | None) -> Callable[[_Command], _Command]:
    text = "Sort by a metric (best first), a parameter, or created, duration, epochs, steps, name, project or status."
    return click.option("--sort", metavar="KEY", default=default, help=text)


@main.command(name="exec", context_settings={"allow_interspersed_args": False})
@click.option("--to", metavar="TRACKERS", default="", help="Trackers, such as csv,mlflow or module:Class.")
@click.option("-m", "module", is_flag=True, help="Run PROGRAM as a module, as in python -m.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="PROGRAM [ARGUMENTS]…")
def execute(to: str, module: bool, command: Sequence[str]) -> None:
    """Run a program and record what it trains.

    The program needs no changes: all trainings, evaluations and predictions with Keras or Ultralytics are recorded, in
    every Python process that it starts. PROGRAM is looked up as in a shell, such as yolo, python or torchrun; a file
    that is not executable is a Python script. Without --to, the trackers come from TRACKHOOKS, or csv is used.
    """
    from .exec import execute as run_program

    run_program(command, names_in(to), module=module)


@main.command()
@click.argument("directory", required=False)
@_as_json
@_as_csv
@click.option("--project", metavar="NAME", help="List only the runs of this project.")
@_where
@_sort(default="created")
def runs(directory: str | None, form: str | None, project: str | None, where: str | None, sort: str) -> None:
    """List runs, newest first.

    DIRECTORY defaults to TRACKHOOKS_DIR, or to runs if that is not set. Metrics are shown with their best value: the
    lowest for losses and errors (↓), the highest for others (↑).
    """
    paths = runs_in(directory)
    with _reading(paths) as progress:
        found = read_runs(paths, project, progress)
    found = (found if where is None else found.where(where)).sorted_by(sort)
    if form:
        _print_as(form, found)
    elif found:
        width = terminal_width()
        _print(found.table(width, "" if sort == "created" else sort))
    else:
        of = f" of project {project!r}" if project else ""
        matching = f" that match {where!r}" if where else ""
        click.echo(f"No runs{of}{matching} found in {run_folder.home(directory)}.", err=True)


@main.command()
@click.argument("runs", nargs=-1, metavar="[RUN | DIRECTORY]…")
@_as_json
@_as_csv
@click.option("--all-params", is_flag=True, help="Show all parameters, not only those that differ.")
@click.option(
    "--metrics", metavar="GLOB", help="Show only matching metrics, such as 'val/*' or 'val/*,lr/0'."
)
@_where
@_at
@_group_by
@_baseline("Show how the others differ from this run, in per cent.")
@click.option(
    "--why", is_flag=True,
    help="Show where the curves of each run part from those of the baseline, or of the first run. By default, that is"
    " shown for two runs whose journals are not too large.",
)  # fmt: skip
@_sort(default=None)
def compare(runs: Sequence[str], form: str | None, baseline: str | None, **options: Any) -> None:
    """Compare parameters and metrics of runs.

    Shows the parameters that differ, the best and the last value of each metric, and differences in the model, the
    data, the code, the machine and the packages. The best value of each row is marked with *. With more than six runs,
    each run is a row. Of two runs, it also shows the first step or epoch at which each of their curves differs.

    RUN is the folder of a run, or the name of a run in TRACKHOOKS_DIR (or runs); DIRECTORY compares all runs in it,
    newest first. Without either, all runs of TRACKHOOKS_DIR (or runs) are compared. Some metrics are only shown on
    request with --metrics: speed/…, system/…, best/…, train_batch/x if there is train/x, and lr/… if the learning rate
    is a parameter.
    """
    found = _compared(runs, baseline, options)
    if form:
        _print_as(form, found)
    else:
        _print(found.table(None if options["all_params"] else 100))


def _compared(runs: Sequence[str], baseline: str | None, options: Mapping[str, Any]) -> Comparison:
    summaries = _summaries(runs)
    base = None if baseline is None else baseline_run(baseline)
    return compare_summaries(summaries, Options(**options), base)


@main.command()
@click.argument("run")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def ranks(run: str, as_json: bool) -> None:
    """Show the ranks of a distributed training, and the one that the others wait for.

    All ranks are recorded with trackhooks.run(ranks="all") or TRACKHOOKS_RANKS=all. RUN is the folder of a run, or the
    name of a run in TRACKHOOKS_DIR (or runs). Times are medians: a step is the time from the end of one batch to the
    end of the next; the time between steps is the part of it before the next batch starts, such as for loading data.
    """
    found = ranks_of(run)
    if as_json:
        click.echo(formats.as_json(found.to_dict()))
    else:
        _print(found.table())


@main.command()
@click.argument("runs", nargs=-1, metavar="[RUN | DIRECTORY]…")
@click.option(
    "-o", "--output", metavar="FILE", default="report.html", show_default=True, help="The file to write."
)
@click.option("--title", metavar="TEXT", help="The title. By default, the number of runs and their project.")
@click.option(
    "--metrics", metavar="GLOB", help="Show only matching metrics, such as 'val/*' or 'val/*,lr/0'."
)
@_where
@_at
@_group_by
@_baseline("Show this run first, and where the curves of the others part from its curves.")
@_sort(default=None)
@click.option(
    "--pictures", metavar="MB", type=float, default=10.0, show_default=True,
    help="How many megabytes of pictures to include, the latest first.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Replace the file even if trackhooks did not make it.")
def report(
    runs: Sequence[str],
    output: str,
    title: str | None,
    pictures: float,
    force: bool,
    baseline: str | None,
    **options: Any,
) -> None:
    """Write a report of runs: one HTML file, which needs no network.

    It shows which run was best and what else differed: a table to sort, filter and group, the curves, the parameters,
    pictures side by side, checkpoints, and differences in the code and the environment.

    RUN is the folder of a run, or the name of a run in TRACKHOOKS_DIR (or runs); DIRECTORY means all runs in it,
    newest first. Without either, all runs of TRACKHOOKS_DIR (or runs) are shown. A report that exists is replaced;
    any other file is not.
    """
    packages.for_figures()
    from ..reading.figures import pages
    from ..reading.report import write

    pages.target(output, force)
    found = _compared(runs, baseline, options)
    with _bar() as bar:
        task = bar.add_task("drawing", total=len(found.runs))
        path = write.report(
            found,
            output,
            title=title,
            picture_mb=pictures,
            overwrite=force,
            progress=lambda: bar.advance(task),
        )
    click.echo(f"{plain(str(path))} ({formats.size(path.stat().st_size)})")


@main.command()
@click.argument("runs", nargs=-1, metavar="[RUN | DIRECTORY]…")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    required=True,
    help="The file, which ends in .parquet, .arrow, .csv or .jsonl; - for standard output.",
)
@click.option(
    "--metrics", metavar="GLOB", default="*", help="Only matching metrics, such as 'val/*' or 'val/*,lr/0'."
)
@click.option(
    "--params",
    metavar="GLOB",
    help="Add matching parameters as columns param/…, such as lr,batch_size or '*'.",
)
@click.option(
    "--form",
    type=click.Choice(get_args(Form)),
    default="wide",
    show_default=True,
    help="One column per metric, or one row per recorded value.",
)
@click.option(
    "--over",
    type=click.Choice(get_args(Over)),
    default="step",
    show_default=True,
    help="The rows of the wide form.",
)
@_where
@click.option(
    "--format", "form_of_text", type=click.Choice(TEXT), help="The format on standard output; by default csv."
)
@click.option("--force", is_flag=True, help="Replace an existing file.")
def export(
    runs: Sequence[str],
    output: str,
    where: str | None,
    form_of_text: str | None,
    force: bool,
    **options: str | None,
) -> None:
    """Write all points of runs to a file: Parquet, Arrow, CSV or JSON Lines.

    The columns are run, step, epoch, time, and one for each metric. A value that a metric does not have at a step is
    null, or empty in CSV; of several values at the same step, the last one is written. With --form long, there is one
    row for each recorded value, with the columns run, metric, step, epoch, time and value.

    RUN is the folder of a run, or the name of a run in TRACKHOOKS_DIR (or runs); DIRECTORY exports all runs in it. If
    one run is named by itself, there is no column run in the wide form. Without either, all runs of TRACKHOOKS_DIR (or
    runs) are exported. Parquet and Arrow need pyarrow: pip install 'trackhooks[columns]'.
    """
    if form_of_text is not None and output != STDOUT:
        raise click.UsageError(f"--format is for -o {STDOUT}; the suffix of a file names its format.")
    target = output_of(output, form_of_text, force)
    summaries = _summaries(runs)
    named = len(runs) != 1 or not is_one_run(runs[0])
    written = export_runs(summaries, where, checked(**options, named=named), target)
    click.echo(written, nl=bool(written), err=True)


@main.command()
@click.argument("runs", nargs=-1, metavar="[RUN | DIRECTORY]…")
@click.option("--to", metavar="TRACKERS", default="", help="Trackers, such as csv,mlflow or module:Class.")
@click.option(
    "--every", metavar="N", help="Deliver metrics of batches every N steps, or at intervals such as 1s."
)
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="TRACKER.OPTION=VALUE",
    help="Set an option of a tracker (repeatable).",
)
def sync(runs: Sequence[str], to: str, every: str | None, options: Sequence[str]) -> None:
    """Deliver recorded runs to trackers.

    Each tracker gets what it does not have yet, so the command is safe to repeat. By default, all runs of
    TRACKHOOKS_DIR (or runs) are delivered, each to the trackers that it was created with. If the process of a run has
    died, the status of the run is set first.
    """
    names = names_in(to)
    given = parse_options(options)
    rate = None if every is None else parse_value(every)
    if rate is not None:
        Throttle(rate)
    for name in {*names, *given}:
        check_spec(name, given.get(name, {}))
    failures = 0
    for path in find(runs) if runs else runs_in():
        with _delivering(path) as progress:
            found = sync_run(path, names, given, rate, progress)
        for delivery in found:
            failures += bool(delivery.error)
            click.echo(plain(str(delivery)), err=bool(delivery.error))
        for text in damage_of(path):
            click.echo(plain(text), err=True)
    if failures:
        raise click.ClickException(
            f"{failures} of the deliveries failed. To retry them, run the command again."
        )


@main.command()
@click.argument("directory", required=False)
def doctor(directory: str | None) -> None:
    """Check the installation, the settings and the runs.

    Shows what is installed, which trackers and settings are in use, and which runs of DIRECTORY are damaged or not
    delivered yet, with commands that solve the problems. The exit code is 1 if there are problems.
    """
    paths = runs_in(directory)
    with _reading(paths) as progress:
        report = examine(paths, progress)
    _print(report.table())
    if report.problems:
        raise click.exceptions.Exit(1)


def _summaries(runs: Sequence[str]) -> list[RunSummary]:
    """Summarize the named runs, or all of them."""
    if not runs and not runs_in():
        raise click.ClickException(f"No runs found in {run_folder.home()}.")
    paths = find(runs or [run_folder.home()], newest_first=True)
    with _reading(paths) as progress:
        return [summarize(path, progress) for path in paths]


def _print_as(form: str, found: RunList | Comparison) -> None:
    click.echo(found.to_json() if form == "json" else found.to_csv(), nl=form == "json")


def _print(table: Table) -> None:
    click.echo(as_text(table, terminal_width(), color=sys.stdout.isatty()))


@contextmanager
def _reading(paths: Sequence[Path]) -> Iterator[Progress]:
    """Show a progress bar if the journals are large."""
    size = sum(map(journal_size, paths)) if sys.stderr.isatty() else 0
    if size <= _SHORT:
        yield lambda count: None
        return
    with _bar() as bar:
        task = bar.add_task("reading", total=size)
        yield lambda count: bar.advance(task, count)


@contextmanager
def _delivering(path: Path) -> Iterator[Callable[[str, int, int], None]]:
    """Show a progress bar for the delivery of a run, one tracker after the other."""
    with _bar() as bar:
        name = plain(path.name).replace("[", "\\[")
        task = bar.add_task(name, total=None)
        yield lambda tracker, offset, size: bar.update(
            task, description=f"{name} → {tracker}", completed=offset, total=size
        )


def _bar() -> Bar:
    """Create a progress bar. It is hidden if standard error is not a terminal."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    return Bar(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
