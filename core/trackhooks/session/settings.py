"""The options of `run`, `enable` and `keras_callback`: their names, their defaults, and their checks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from ..delivery.cursor import Spec, check_spec
from ..delivery.registry import entry_points, exists, names_in
from ..delivery.throttle import seconds
from ..errors import InvalidValueError, TrackhooksError, UnknownNameError, unknown
from ..errors.foreign import Failure, attempt, is_a, items, key_text, shown
from ..hooks.callback import KERAS_METHODS
from ..storage.checkpoints import Policy
from ..storage.run_folder import home
from ..tracker import Tracker
from ..values import checks
from ..values.params import checked_fields
from .exit_wait import checked_wait
from .other_names import OPTIONS

Trackers = str | Tracker | Sequence[str | Tracker]
"""Names of trackers, separated by commas, or instances, or a list of both."""

_MODES = ("process", "inline", "off")
_RANKS = ("zero", "all")
AUTO = "auto"
"""The value of `resume` that continues the runs of earlier attempts of the same job."""
_MOST_OPTIONS = 1000
_SWITCHES = {"": True, "1": True, "true": True, "0": False, "false": False}


class Options(msgspec.Struct, kw_only=True):
    """The options, as users pass them. `run` documents each of them; its signature has the same names and defaults."""

    project: str | None = None
    name: str | None = None
    params: Any = None
    tags: Iterable[str] = ()
    notes: str | None = None
    group: str | None = None
    dir: str | os.PathLike[str] | None = None
    every: int | str | None = None
    keep: str = "best,last"
    delivery: str | None = None
    system: str | None = "10s"
    strict: bool = False
    rank: int | None = None
    ranks: str | None = None
    wait: float | None = None
    resume: str | os.PathLike[str] | None = None


class Settings(Options, kw_only=True):
    """The options after the checks, and the trackers."""

    params: dict[str, Any]
    tags: list[str]
    dir: Path
    delivery: str
    ranks: str
    resume: Path | None
    resumes_job: bool
    """Whether the runs of earlier attempts of the same job are continued."""
    measured_every: float | None
    """Seconds between two measurements of the system; None if it is not measured."""
    specs: list[Spec]
    """The trackers that were given by name."""
    objects: list[Tracker]
    """The trackers that were given as objects."""
    extra_hooks: frozenset[str]
    """The hooks that these trackers need besides those that are always recorded."""
    patch: bool
    """Whether the uncommitted changes of the code are recorded."""

    @property
    def tracker_names(self) -> list[str]:
        """The names of all trackers."""
        return [*(spec.name for spec in self.specs), *(made.name for made in self.objects)]


def settings(*trackers: Trackers, **options: Any) -> Settings:
    """Check trackers and options.

    Args:
        *trackers: as in `run`.
        **options: the fields of `Options`, and the options of a tracker by its name.

    Raises:
        UnknownNameError: a tracker or option does not exist.
        InvalidValueError: a value is not accepted.
        MissingPackageError: the package of a tracker is not installed.
    """
    known = {name: options.pop(name) for name in Options.__struct_fields__ if name in options}
    given = Options(**known)
    Policy(given.keep)
    params = [] if given.params is None else checked_fields("params", given.params)
    resumes_job = _resumes_job(given.resume)
    names, objects = _split(trackers)
    with machine_failures_as_errors():
        specs, made = _specs(names, options, given.every)
    return Settings(
        **{name: optional_text(name, getattr(given, name)) for name in ("project", "name", "notes", "group")},
        params={key_text(key): value for key, value in params},
        tags=[key_text(tag) for tag in checks.listed("tags", given.tags)],
        dir=home(None if given.dir is None else checks.path("dir", given.dir)),
        every=given.every,
        keep=given.keep,
        delivery=_choice("delivery", given.delivery, "TRACKHOOKS_DELIVERY", _MODES),
        system=given.system,
        strict=checks.switch("strict", given.strict),
        rank=_rank(given.rank),
        ranks=_choice("ranks", given.ranks, "TRACKHOOKS_RANKS", _RANKS),
        wait=checked_wait(given.wait),
        resume=None if given.resume is None or resumes_job else checks.path("resume", given.resume),
        resumes_job=resumes_job,
        measured_every=None if given.system is None else seconds("system", given.system),
        specs=specs,
        objects=objects,
        extra_hooks=frozenset[str]().union(*(tracker.extra_hooks for tracker in [*made, *objects])),
        patch=_records_patch(),
    )


def _split(trackers: Sequence[Any]) -> tuple[list[str], list[Tracker]]:
    """Return the names and the instances among the trackers, which may be in lists, and names separated by commas."""
    names: list[str] = []
    objects: list[Tracker] = []
    for tracker in trackers:
        if is_a(tracker, str):
            names += names_in(tracker) or [tracker]
        elif is_a(tracker, Tracker):
            objects.append(tracker)
        elif is_a(tracker, (list, tuple)):
            inner_names, inner_objects = _split(tracker)
            names, objects = names + inner_names, objects + inner_objects
        else:
            raise InvalidValueError(
                f"trackers must be names or instances of a Tracker, got {shown(tracker)}.{_remedy(tracker)}"
            )
    return names, objects


def _remedy(tracker: Any) -> str:
    """Return what to do with something that is not a tracker."""
    if is_a(tracker, type):
        return f" Pass an instance: {tracker.__name__}()"
    if is_a(tracker, Mapping):
        return " Pass options by the name of the tracker: mlflow={'tracking_uri': …}"
    members = attempt(dir, tracker)
    if isinstance(members, list) and not KERAS_METHODS.isdisjoint(members):
        return " It is a callback: run.callbacks.append(callback)"
    return (
        " A function is a callback: run.add_callback('on_fit_epoch_end', function)"
        if callable(tracker)
        else ""
    )


def _specs(
    names: list[str], options: Mapping[str, Any], every: int | str | None
) -> tuple[list[Spec], list[Tracker]]:
    options = {name: _options_of(name, given) for name, given in options.items()}
    chosen = [*names, *options] or names_in(os.environ.get("TRACKHOOKS", "")) or ["csv"]
    common = {} if every is None else {"every": every}
    pairs = [check_spec(name, {**common, **options.get(name, {})}) for name in dict.fromkeys(chosen)]
    return [spec for spec, _ in pairs], [made for _, made in pairs]


def _options_of(tracker: str, given: Any) -> dict[str, Any]:
    if not exists(tracker):
        if tracker in OPTIONS:
            raise UnknownNameError(f"unknown option {tracker!r}. Use {OPTIONS[tracker]}")
        raise unknown("option or tracker", tracker, [*entry_points(), *Options.__struct_fields__])
    found = items(given, _MOST_OPTIONS) if is_a(given, Mapping) else None
    if not isinstance(found, list) or not all(is_a(name, str) for name, _ in found):
        raise InvalidValueError(
            f"the options of a tracker must be a mapping, as in {tracker}={{}}, got {tracker}={shown(given)}."
        )
    for name, value in found:
        if type(value) is Failure:
            raise InvalidValueError(f"{tracker}={{{name!r}: …}} could not be read: {value.why}.")
    return dict(found)


def optional_text(what: str, value: Any) -> Any:
    """Return a string or None as it is. (A name becomes that of a folder, which omits what UTF-8 cannot encode.)

    Raises:
        InvalidValueError: it is something else.
    """
    if value is not None:
        checks.text(what, value)
    return value


@contextmanager
def machine_failures_as_errors() -> Iterator[None]:
    """Raise a `TrackhooksError` if no run can be opened because of the machine, for lack of files for example."""
    try:
        yield
    except OSError as error:
        raise TrackhooksError(f"no run can be opened: {error}.") from error


def _rank(rank: Any) -> int | None:
    if rank is not None:
        return checks.index("rank", rank, least=-1)
    given = os.environ.get("TRACKHOOKS_RANK", "").strip()
    if not given:
        return None
    if not given.removeprefix("-").isdecimal():
        raise InvalidValueError(f"TRACKHOOKS_RANK must be a whole number, got {shown(given)}.")
    return int(given)


def _records_patch() -> bool:
    given = os.environ.get("TRACKHOOKS_PATCH", "").strip().lower()
    if given not in _SWITCHES:
        raise InvalidValueError(f"TRACKHOOKS_PATCH must be 0 or 1, got {shown(given)}.")
    return _SWITCHES[given]


def _choice(option: str, given: Any, variable: str, accepted: Sequence[str]) -> str:
    """Return the value of an option, of the variable if it is not given, or else the first that is accepted."""
    value = given if given is not None else os.environ.get(variable) or accepted[0]
    if not is_a(value, str) or value not in accepted:
        raise unknown(option, value, accepted)
    return str(value)


def _resumes_job(resume: Any) -> bool:
    if resume is not None:
        return bool(is_a(resume, str) and resume == AUTO)
    variable = os.environ.get("TRACKHOOKS_RESUME", "").strip()
    if variable not in ("", AUTO):
        raise InvalidValueError(
            f"TRACKHOOKS_RESUME must be {AUTO!r}, got {shown(variable)}. One run is resumed by its folder:"
            " trackhooks.run(resume=folder)"
        )
    return variable == AUTO
