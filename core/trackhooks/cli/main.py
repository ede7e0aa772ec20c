"""The command line: `trackhooks exec`, `runs`, `compare`, `sync`, `doctor`.

What is asked for goes to the standard output; messages and progress go to the standard error. The exit code is 1 when
something failed, and 2 when the command was not understood.
"""

from __future__ import annotations

import difflib
import errno
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from ..delivery.cursor import check_spec
from ..delivery.throttle import Throttle
from ..errors import TrackhooksError, TrackhooksWarning
from ..reading.comparison import compare_summaries
from ..reading.finding import find, runs_in
from ..reading.formats import plain
from ..reading.listing import read_runs
from ..reading.summary import summarize
from ..reading.table import Table, as_text, terminal_width
from ..recording import environment
from ..storage import run_folder
from ..storage.journal import path_of
from .doctor import examine
from .sync import parse_options, parse_value
from .sync import sync as sync_run

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

Progress = Callable[[int], None]

_SOON_READ = 10_000_000
"""Bytes that are read before a bar would be seen."""


class Commands(click.Group):
    """A group whose errors are one line, and which names the nearest command to one that does not exist."""

    def invoke(self, ctx: click.Context) -> Any:
        """Runs a command; what trackhooks or the file system refuses is a message rather than a traceback."""
        try:
            with _warnings_as_lines():
                return super().invoke(ctx)
        except TrackhooksError as error:
            raise click.ClickException(str(error)) from error
        except OSError as error:
            if error.errno == errno.EPIPE:  # a reader such as `head` has gone, which click handles
                raise
            raise click.ClickException(f"{error.filename or ''}: {error.strerror}".lstrip(": ")) from error

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which they are written below."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds the command that the first argument names."""
        known = self.list_commands(ctx)
        if args[0] not in known and not args[0].startswith("-"):
            close = difflib.get_close_matches(args[0], known, n=1, cutoff=0.5)
            hint = f"Did you mean {close[0]!r}?" if close else f"There are {', '.join(known)}."
            raise click.UsageError(f"unknown command {args[0]!r}. {hint}", ctx)
        return super().resolve_command(ctx, args)


@contextmanager
def _warnings_as_lines() -> Iterator[None]:
    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, TrackhooksWarning):
            click.echo(f"Warning: {message}", err=True)
        else:
            shown(message, category, *where, **more)

    with warnings.catch_warnings():
        shown, warnings.showwarning = warnings.showwarning, show
        warnings.simplefilter("always", TrackhooksWarning)
        yield


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(environment.own_version(), "-V", "--version", prog_name="trackhooks")
def main() -> None:
    """Lists, compares and delivers the runs that trackhooks has recorded."""
    for stream in (sys.stdout, sys.stderr):
        _replace_what_cannot_be_written(stream)


def _replace_what_cannot_be_written(stream: TextIO | Any) -> None:
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="replace")


_as_json = click.option("--json", "form", flag_value="json", help="As JSON.")
_as_csv = click.option("--csv", "form", flag_value="csv", help="As CSV, a row for each run.")


@main.command(
    name="exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
@click.option(
    "--to", metavar="TRACKERS", default="", help="Record to these, as in csv,mlflow or module:Class."
)
@click.option("-m", "module", is_flag=True, help="PROGRAM is the name of a module, as in python -m.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="PROGRAM [ARGUMENTS]…")
def execute(to: str, module: bool, command: Sequence[str]) -> None:
    """Runs a program and records what it trains.

    The program need not know of trackhooks: every training, evaluation and prediction of Keras and Ultralytics in it
    is recorded, to the trackers of --to, or those of TRACKHOOKS, or csv. It gets the arguments behind its name, and
    ends with its own exit code.
    """
    from .exec import execute as run

    run(command, *(name.strip() for name in to.split(",") if name.strip()), module=module)


@main.command()
@click.argument("directory", required=False)
@_as_json
@_as_csv
@click.option("--project", metavar="NAME", help="Only the runs of this project.")
@click.option(
    "--sort", metavar="KEY", default="created",
    help="By a metric (the best first), a parameter, or created, duration, epochs, steps, name, project, status.",
)  # fmt: skip
def runs(directory: str | None, form: str | None, project: str | None, sort: str) -> None:
    """Lists the runs of DIRECTORY, newest first.

    DIRECTORY is that of TRACKHOOKS_DIR by default, and runs where it is not set. Metrics are shown with their best
    value: the least where the name says a loss or an error (↓), the greatest otherwise (↑).
    """
    paths = runs_in(directory)
    with _reading(paths) as progress:
        found = read_runs(paths, project, progress).sorted_by(sort)
    if form:
        click.echo(found.to_json() if form == "json" else found.to_csv(), nl=form == "json")
    elif found:
        width = terminal_width()
        _print(found.table(width, "" if sort == "created" else sort))
    else:
        of = f" of project {project!r}" if project else ""
        click.echo(f"There are no runs{of} in {run_folder.home(directory)}.", err=True)


@main.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN…")
@_as_json
@_as_csv
@click.option("--all-params", is_flag=True, help="Show the parameters that are the same in all runs, too.")
@click.option("--metrics", metavar="GLOB", help="Only the metrics that match, as in 'val/*' or 'val/*,lr/0'.")
def compare(runs: Sequence[str], form: str | None, all_params: bool, metrics: str | None) -> None:
    """Compares runs: parameters that differ, metrics.

    Of each metric, the last and the best value are shown. RUN is the folder of a run, the name of one in
    TRACKHOOKS_DIR (or runs), or a directory: then all runs in it. Not shown unless --metrics asks for them: speed/…,
    system/…, best/…, and batch/x where there is train/x.
    """
    paths = find(runs)
    with _reading(paths) as progress:
        found = compare_summaries([summarize(path, progress) for path in paths], all_params, metrics)
    if form:
        click.echo(found.to_json() if form == "json" else found.to_csv(), nl=form == "json")
    else:
        _print(found.table(None if all_params else 100))


@main.command()
@click.argument("runs", nargs=-1, metavar="[RUN | DIRECTORY]…")
@click.option(
    "--to", metavar="TRACKERS", default="", help="Deliver to these, as in csv,mlflow or module:Class."
)
@click.option("--every", metavar="N", help="Metrics of batches: every N steps, or a time such as 1s.")
@click.option(
    "--option", "options", multiple=True, metavar="TRACKER.OPTION=VALUE", help="An option of a tracker."
)
def sync(runs: Sequence[str], to: str, every: str | None, options: Sequence[str]) -> None:
    """Delivers what is recorded and not delivered yet.

    To the trackers that the run was made with, or to those of --to. Each gets every record once, however often this
    is done. The status of a run whose process is gone is set.
    """
    names = [name.strip() for name in to.split(",") if name.strip()]
    given = parse_options(options)
    often = None if every is None else parse_value(every)
    if often is not None:
        Throttle(often)
    for name in {*names, *given}:
        check_spec(name, given.get(name, {}))
    failures = 0
    for path in find(runs) if runs else runs_in():
        with _delivering(path) as progress:
            found = sync_run(path, names, given, often, progress)
        for delivery in found:
            failures += bool(delivery.error)
            click.echo(plain(str(delivery)), err=bool(delivery.error))
    if failures:
        raise click.ClickException(f"{failures} of the deliveries failed; sync again to repeat them.")


@main.command()
@click.argument("directory", required=False)
def doctor(directory: str | None) -> None:
    """Looks for what is wrong.

    Says what is installed, what would be used, and what waits for delivery in DIRECTORY. Exits with 1 when something
    is wrong: a journal that is damaged, records that no tracker gets, a tracker that cannot be loaded, an environment
    variable that names none.
    """
    paths = runs_in(directory)
    with _reading(paths) as progress:
        report = examine(paths, progress)
    _print(report.table())
    if report.problems:
        raise click.exceptions.Exit(1)


def _print(table: Table) -> None:
    click.echo(as_text(table, terminal_width(), colour=sys.stdout.isatty()))


@contextmanager
def _reading(paths: Sequence[Path]) -> Iterator[Progress]:
    """A bar over the bytes of the journals of these runs, where there are many."""
    size = sum(journal.stat().st_size for journal in map(path_of, paths) if journal.is_file())
    with _bar(shown=size > _SOON_READ) as bar:
        task = bar.add_task("reading", total=size)
        yield lambda count: bar.advance(task, count)


@contextmanager
def _delivering(path: Path) -> Iterator[Callable[[str, int, int], None]]:
    """A bar over the bytes of the journal that are delivered to one tracker after the other."""
    with _bar() as bar:
        name = plain(path.name).replace("[", "\\[")
        task = bar.add_task(name, total=None)
        yield lambda tracker, offset, size: bar.update(
            task, description=f"{name} → {tracker}", completed=offset, total=size
        )


def _bar(shown: bool = True) -> Bar:
    """Where no person looks on, nothing is shown."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    return Bar(console=Console(stderr=True), transient=True, disable=not (shown and sys.stderr.isatty()))
