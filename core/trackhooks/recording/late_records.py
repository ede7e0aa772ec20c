"""Report what is logged after the end of a run, or in a forked process."""

from __future__ import annotations

from ..errors import InvalidValueError, warn
from ..event import RunInfo


class LateRecords:
    """Reports once that what is logged is lost.

    Args:
        is_recorded: whether the run was ever recorded; otherwise nothing is lost.
        strict: raise errors instead of warnings, each time.
    """

    def __init__(self, is_recorded: bool, strict: bool) -> None:
        self._is_recorded = is_recorded
        self._strict = strict
        self._reported = False

    def report(self, run: RunInfo, closed: bool, in_fork: bool) -> None:
        """Say why this run does not take records any more.

        Raises:
            InvalidValueError: the run is strict.
        """
        why = why_not_open(run, closed, in_fork) if self._is_recorded else ""
        if why and (self._strict or not self._reported):
            self._reported = True
            report(why, self._strict)


def report(message: str, strict: bool) -> None:
    """Warn.

    Raises:
        InvalidValueError: if strict.
    """
    if strict:
        raise InvalidValueError(message)
    warn(message)


def why_not_open(run: RunInfo, closed: bool, in_fork: bool) -> str:
    """Return why nothing more is recorded in a run, for a warning; empty if another process continues the run.

    Args:
        run: the run.
        closed: whether it has been closed.
        in_fork: whether this is a forked child of the process that opened it.
    """
    if closed:
        how = "" if run.status == "finished" else f" ({run.status})"
        return (
            f"run {run.name!r} is finished{how}: what is logged after its end is not recorded. Log it before the run is"
            f" closed, or continue the run with trackhooks.run(resume={run.path!r})."
        )
    if in_fork:
        return (
            f"run {run.name!r} belongs to the process that opened it, and this process was forked from it: what is"
            " logged here is not recorded. Open a run in this process, for example with run.child(name)."
        )
    return ""
