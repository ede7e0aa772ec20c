"""The options of `run`, `enable` and `keras_callback`, checked."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from ..delivery.cursor import Spec, check_spec
from ..delivery.registry import entry_points, exists
from ..delivery.throttle import seconds
from ..errors import InvalidValueError, TrackhooksError, unknown
from ..storage.checkpoints import Policy
from ..storage.run_folder import home
from ..tracker import Tracker
from ..values import checks
from ..values.foreign import Failure, is_a, items, key_text, shown
from ..values.params import checked_fields

_MODES = ("process", "inline", "off")


class Settings(msgspec.Struct, kw_only=True):
    """What `run`, `enable` and `keras_callback` take, checked."""

    specs: list[Spec] = []
    objects: list[Tracker] = []
    project: str | None = None
    name: str | None = None
    params: dict[str, Any] = {}
    tags: list[str] = []
    notes: str | None = None
    group: str | None = None
    dir: Path
    keep: str = "best,last"
    delivery: str = "process"
    system: float | None = None
    """Seconds between two measurements; None for none."""
    strict: bool = False
    extra_hooks: frozenset[str] = frozenset()

    @property
    def tracker_names(self) -> list[str]:
        """What the trackers are called."""
        return [*(spec.name for spec in self.specs), *(made.name for made in self.objects)]


def settings(
    *trackers: str | Tracker,
    project: str | None = None,
    name: str | None = None,
    params: Any = None,
    tags: Iterable[str] = (),
    notes: str | None = None,
    group: str | None = None,
    dir: str | os.PathLike[str] | None = None,  # noqa: A002 — the name that users know from other trackers
    every: int | str | None = None,
    keep: str = "best,last",
    delivery: str | None = None,
    system: str | None = "10s",
    strict: bool = False,
    **options: Mapping[str, Any],
) -> Settings:
    """What a user asked for, checked: see `run`.

    Raises:
        UnknownNameError: there is no such tracker or option.
        InvalidValueError: a value is not accepted.
        MissingPackageError: a tracker's package is not installed.
    """
    Policy(keep)
    given = [] if params is None else checked_fields("params", params)
    names, objects = _split(trackers)
    with _exhaustion_as_own_error():
        specs, made = _specs(names, options, every)
    extra_hooks = frozenset[str]().union(*(tracker.extra_hooks for tracker in [*made, *objects]))
    return Settings(
        specs=specs,
        objects=objects,
        project=_text("project", project),
        name=_text("name", name),
        params={key_text(key): value for key, value in given},
        tags=[key_text(tag) for tag in checks.listed("tags", tags)],
        notes=_text("notes", notes),
        group=_text("group", group),
        dir=home(None if dir is None else checks.path("dir", dir)),
        keep=keep,
        delivery=_mode(delivery),
        system=None if system is None else seconds("system", system),
        strict=checks.switch("strict", strict),
        extra_hooks=extra_hooks,
    )


def _split(trackers: tuple[Any, ...]) -> tuple[list[str], list[Tracker]]:
    names: list[str] = []
    objects: list[Tracker] = []
    for tracker in trackers:
        if is_a(tracker, str):
            names.append(tracker)
        elif is_a(tracker, Tracker):
            objects.append(tracker)
        else:
            hint = f" Pass an object of it: {tracker.__name__}()" if is_a(tracker, type) else ""
            raise InvalidValueError(
                f"{shown(tracker)} is no tracker: a name or an object of a Tracker is needed.{hint}"
            )
    return names, objects


def _specs(
    names: list[str], options: Mapping[str, Any], every: int | str | None
) -> tuple[list[Spec], list[Tracker]]:
    for name in options:
        if not exists(name):
            raise unknown("option or tracker", name, [*entry_points(), *_OPTIONS])
    options = {name: _options_of(name, given) for name, given in options.items()}
    chosen = (
        [*names, *options]
        or [name for name in os.environ.get("TRACKHOOKS", "").split(",") if name]
        or ["csv"]
    )
    common = {} if every is None else {"every": every}
    pairs = [check_spec(name.strip(), {**common, **options.get(name, {})}) for name in dict.fromkeys(chosen)]
    return [spec for spec, _ in pairs], [made for _, made in pairs]


def _options_of(tracker: str, given: Any) -> dict[str, Any]:
    found = items(given, _MOST_OPTIONS) if is_a(given, Mapping) else None
    if not isinstance(found, list) or not all(is_a(name, str) for name, _ in found):
        raise InvalidValueError(
            f"{tracker}={shown(given)}: the options of a tracker are a mapping, as in {tracker}={{}}."
        )
    for name, value in found:
        if type(value) is Failure:
            raise InvalidValueError(f"{tracker}={{{name!r}: …}} could not be read: {value.why}.")
    return dict(found)


_MOST_OPTIONS = 1000
_OPTIONS = (
    "project", "name", "params", "tags", "notes", "group", "dir", "every", "keep", "delivery", "system", "strict",
    "resume",
)  # fmt: skip


def _text(option: str, value: str | None) -> str | None:
    if value is not None:
        checks.text(option, value)
    return value  # as it is: a name becomes a folder's, which leaves out what UTF-8 cannot hold


def _mode(delivery: str | None) -> str:
    mode = delivery if delivery is not None else os.environ.get("TRACKHOOKS_DELIVERY") or "process"
    if not is_a(mode, str) or mode not in _MODES:
        raise unknown("delivery", mode, _MODES)
    return mode


@contextmanager
def _exhaustion_as_own_error() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TrackhooksError(f"no run can be opened: {error}.") from error
