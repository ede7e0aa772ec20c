"""`trackhooks sync`: deliver what the trackers of a run, or others, do not have yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ..delivery import registry
from ..delivery.catch_up import deliver, specs_of
from ..delivery.cursor import Cursor, Spec, cursors, is_delivered_to
from ..errors import InvalidValueError
from ..event import FINAL, RunInfo
from ..reading.formats import counted
from ..reading.summary import summarize
from ..storage import run_folder
from ..storage.lost_runs import end_if_dead, whole_info
from ..storage.rank_folders import ranks_of

Options = Mapping[str, Mapping[str, Any]]
"""The options of trackers, by tracker name."""


class Delivery(NamedTuple):
    """The result of delivering one run to one tracker."""

    run: str
    tracker: str
    new: bool
    """Whether anything was delivered."""
    running: bool
    """Whether the run is still running, so that there will be more to deliver."""
    url: str
    """The URL of the run in the tracker, if the tracker has one."""
    error: str
    """The reason why the delivery failed; empty on success."""
    not_held: Mapping[str, int] = {}
    """What the tracker's backend cannot hold → how often the run has it."""

    def __str__(self) -> str:
        return f"{self.run} → {self.tracker}: {self.error or self._success()}"

    def _success(self) -> str:
        result = "delivered" if self.new else "nothing new"
        so_far = " so far; the run is still running" if self.running else ""
        not_held = "".join(f"; it cannot hold {count} {what}" for what, count in self.not_held.items())
        url = f" ({self.url})" if self.url else ""
        return result + so_far + not_held + url


def sync(
    path: Path,
    to: Iterable[str],
    options: Options,
    every: int | str | None,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Delivery]:
    """Deliver one run in this process.

    Args:
        path: the folder of the run.
        to: the trackers; if empty, those that the run was created with.
        options: options of trackers, added to those that the run was created with.
        every: how often the trackers get the metrics of batches; by default, as often as the run was created with.
            Metrics that were held back before are delivered as well.
        progress: called with the name of the tracker, and the delivered and the total number of bytes of the journal.

    Raises:
        TrackhooksError: if the folder contains no run.
    """
    run = whole_info(path)
    specs = _specs(run, list(to), options, every)
    known = [spec for spec in specs if ":" in spec.name or spec.name in registry.entry_points()]
    before = {spec.name: cursors(run.path, spec.name) for spec in specs}
    failed = {
        spec.name: _OBJECT for spec in specs if spec not in known and not is_delivered_to(run.path, spec.name)
    }
    failed |= deliver(path, known, progress, from_start=every is not None)
    for folder in ranks_of(path).values():
        end_if_dead(folder)
    running = run_folder.read_info(path).status not in FINAL
    return [_outcome(run, spec.name, running, before[spec.name], failed.get(spec.name, "")) for spec in specs]


def _outcome(run: RunInfo, name: str, running: bool, before: list[Cursor], error: str) -> Delivery:
    after = cursors(run.path, name)
    skipped = sum(cursor.left_out for cursor in after) - sum(cursor.left_out for cursor in before)
    if skipped and not error:
        error = f"delivered except for {counted(skipped, 'rejected record')}. For details: trackhooks doctor {run.path}"
    return Delivery(
        run=run.name,
        tracker=name,
        new=list(map(_progress, after)) != list(map(_progress, before)),
        running=running,
        url=next((cursor.url for cursor in after if cursor.url), ""),
        error=error,
        not_held={what: count for cursor in after for what, count in cursor.not_held.items()},
    )


def damage_of(path: Path) -> list[str]:
    """Return what is wrong with the journal of a run: these records are in no tracker, and are not failures of one."""
    run = summarize(path)
    return [f"{run.name}: {text}" for text in run.journal.damage]


_OBJECT = (
    "this tracker was an object in the program. To deliver to a new one, name its class: --to module:Class"
)


def _specs(run: RunInfo, to: list[str], options: Options, every: int | str | None) -> list[Spec]:
    """Combine the options of the run with the given ones, which take precedence."""
    own = {spec.name: spec for spec in specs_of(run)}
    specs = []
    for name in dict.fromkeys([*(to or own), *options]):
        stored = own.get(name, Spec(name))
        specs.append(Spec(name, {**stored.options, **options.get(name, {})}, every or stored.every))
    return specs


def _progress(cursor: Cursor) -> tuple[str, int, str, int]:
    return cursor.destination, cursor.offset, cursor.status, cursor.held_back


def parse_options(given: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Parse options such as `mlflow.tracking_uri=http://…` into a dict per tracker.

    Raises:
        InvalidValueError: if an option does not have the form `TRACKER.OPTION=VALUE`.
    """
    options: dict[str, dict[str, Any]] = {}
    for text in given:
        key, equals, value = text.partition("=")
        name, dot, option = key.rpartition(".")
        if not (name and dot and option and equals):
            raise InvalidValueError(
                f"--option must be TRACKER.OPTION=VALUE, as in csv.dir=tables, got {text!r}."
            )
        options.setdefault(name, {})[option] = parse_value(value)
    return options


def parse_value(text: str) -> Any:
    """Parse a number, `true`, `false` or `null` as in JSON. Anything else is a string."""
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
    return text if isinstance(value, (list, dict)) else value
