"""`trackhooks sync`: delivers what is recorded and not delivered yet, to the trackers of the run or to others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ..delivery import registry
from ..delivery.catch_up import deliver, specs_of
from ..delivery.cursor import Cursor, Spec, cursors
from ..errors import InvalidValueError
from ..event import FINAL, RunInfo
from ..reading.formats import counted
from ..storage import run_folder
from ..storage.lost_runs import whole_info

Options = Mapping[str, Mapping[str, Any]]
"""The options of each tracker by its name."""


class Delivery(NamedTuple):
    """How delivering one run to one tracker went."""

    run: str
    tracker: str
    new: bool
    """Whether there was anything to deliver."""
    running: bool
    """Whether the run goes on, so that there will be more."""
    url: str
    """Where to look at it; empty where the tracker does not say."""
    error: str
    """Why it failed; empty where it did not."""

    def __str__(self) -> str:
        what = "delivered" if self.new else "nothing new"
        so_far = ", and the run goes on" if self.running else ""
        return (
            f"{self.run} → {self.tracker}: {self.error or what + so_far + f' ({self.url})' * bool(self.url)}"
        )


def sync(
    path: Path,
    to: Iterable[str],
    options: Options,
    every: int | str | None,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Delivery]:
    """Delivers one run, in this process; see `trackhooks.delivery.catch_up.deliver`.

    Args:
        path: the run's folder.
        to: the trackers; where there is none, those that the run was made with.
        options: more options than the run was made with, by tracker.
        every: how often the trackers take the metrics of batches; None for as often as the run was made with. Those
            that were held back before are delivered, too.
        progress: called with the tracker's name, the bytes of the journal that are delivered, and all of them.

    Raises:
        TrackhooksError: there is no run in this folder.
    """
    run = whole_info(path)
    specs = _specs(run, list(to), options, every)
    known = [spec for spec in specs if ":" in spec.name or spec.name in registry.entry_points()]
    before = {spec.name: cursors(run.path, spec.name) for spec in specs}
    failed = {spec.name: _OBJECT for spec in specs if spec not in known and not _is_done(run, spec.name)}
    failed |= deliver(path, known, progress, from_start=every is not None)
    running = run_folder.read_info(path).status not in FINAL
    return [_outcome(run, spec.name, running, before[spec.name], failed.get(spec.name, "")) for spec in specs]


def _outcome(run: RunInfo, name: str, running: bool, before: list[Cursor], error: str) -> Delivery:
    after = cursors(run.path, name)
    skipped = sum(cursor.left_out for cursor in after) - sum(cursor.left_out for cursor in before)
    if skipped and not error:
        error = f"delivered, but for {counted(skipped, 'record')} that it could not take: trackhooks doctor {run.path}"
    return Delivery(
        run=run.name,
        tracker=name,
        new=list(map(_place, after)) != list(map(_place, before)),
        running=running,
        url=next((cursor.url for cursor in after if cursor.url), ""),
        error=error,
    )


_OBJECT = "it was an object of the program; name its class to deliver to another: --to module:Class"


def _specs(run: RunInfo, to: list[str], options: Options, every: int | str | None) -> list[Spec]:
    """The run's own options, and over them those that are given."""
    own = {spec.name: spec for spec in specs_of(run)}
    specs = []
    for name in dict.fromkeys([*(to or own), *options]):
        stored = own.get(name, Spec(name))
        specs.append(Spec(name, {**stored.options, **options.get(name, {})}, every or stored.every))
    return specs


def _place(cursor: Cursor) -> tuple[str, int, str, int]:
    return cursor.destination, cursor.offset, cursor.status, cursor.held_back


def _is_done(run: RunInfo, name: str) -> bool:
    return any(cursor.status in FINAL and not cursor.error for cursor in cursors(run.path, name))


def parse_options(given: Iterable[str]) -> dict[str, dict[str, Any]]:
    """`mlflow.tracking_uri=http://…` as `{"mlflow": {"tracking_uri": "http://…"}}`; numbers and true/false as such.

    Raises:
        InvalidValueError: it is not of this form.
    """
    options: dict[str, dict[str, Any]] = {}
    for text in given:
        where, equals, value = text.partition("=")
        name, dot, option = where.rpartition(".")
        if not (name and dot and option and equals):
            raise InvalidValueError(f"--option {text}: TRACKER.OPTION=VALUE is needed, as in csv.dir=tables.")
        options.setdefault(name, {})[option] = parse_value(value)
    return options


def parse_value(text: str) -> Any:
    """A number, `true`, `false` or `null` as JSON has them; anything else is a text."""
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
    return text if isinstance(value, (list, dict)) else value
