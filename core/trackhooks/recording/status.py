"""How a run ends: the status that an exception gives it, and the status in its `run.json`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ..errors import warn
from ..errors.foreign import attempt, shown
from ..errors.secrets import redact_text
from ..event import FINAL, RunInfo
from ..storage import run_folder
from ..storage.lost_runs import whole_info
from ..values import checks

_PRUNED = "TrialPruned"
"""The name of the exception by which a search ends a trial that is not promising, such as Optuna's."""
_TERMINATED = "SIGTERMException"
"""The name of the exception by which a framework that handles SIGTERM, such as Lightning, ends a training."""


def status_of(error: BaseException | None) -> tuple[str, str]:
    """Return the status of a run that this exception ended, and the reason for it."""
    if error is None or isinstance(error, GeneratorExit):
        return "finished", ""
    if type(error).__name__ == _TERMINATED:
        return "killed", "SIGTERM"
    if isinstance(error, SystemExit):
        code = error.code
        well = code is None or attempt(lambda: code == 0) is True
        if not well and isinstance(error.__context__, KeyboardInterrupt):  # how Lightning answers Ctrl-C
            return status_of(error.__context__)
        return ("finished", "") if well else ("failed", f"sys.exit({shown(code)})")
    if isinstance(error, KeyboardInterrupt):
        return "killed", "KeyboardInterrupt"
    pruned = any(kind.__name__ == _PRUNED for kind in type(error).__mro__)
    text = attempt(str, error)
    lines = text.strip().splitlines() if isinstance(text, str) else []
    reason = redact_text(f"{type(error).__name__}: {lines[0] if lines else ''}".rstrip(": "))[:500]
    return "pruned" if pruned else "failed", reason


def ending(status: Any, reason: Any) -> tuple[str, str]:
    """Check the arguments of `Run.close`.

    Raises:
        InvalidValueError: `status` is not the status of a run that has ended, or `reason` is not a string.
    """
    return checks.status("status", status), "" if reason is None else checks.text("reason", reason)


class RunStatus:
    """The status of one run, kept in its `RunInfo` and in `run.json`.

    Args:
        info: the run.
    """

    def __init__(self, info: RunInfo) -> None:
        self._info = info

    @property
    def final(self) -> bool:
        """Whether the run has ended."""
        return self._info.status in FINAL

    def equals(self, status: str, reason: str) -> bool:
        """Whether the run has this status already, for this reason."""
        return (self._info.status, self._info.reason or "") == (status, redact_text(reason))

    def set(self, status: str, reason: str) -> None:
        """Set the status and write `run.json`."""
        info = self._info
        info.status, info.reason = status, redact_text(reason) or None
        info.ended = time.time() if status in FINAL else None
        path = Path(info.path)
        try:
            run_folder.write_info(path, info)
        except OSError as error:
            warn(f"run {info.name!r}: {path / run_folder.INFO} could not be written: {error.strerror}.")

    def reload(self) -> None:
        """Adopt the status that another process wrote to `run.json`."""
        known = whole_info(self._info.path)
        self._info.status, self._info.reason, self._info.ended = known.status, known.reason, known.ended
        self._info.records = known.records

    def at_exit(self, error: BaseException | None, training: bool) -> tuple[str, str]:
        """Return the status that the run gets if it is still open when the process ends.

        Args:
            error: the exception that ends the process, if it is known.
            training: whether a training is running.
        """
        if self.final:
            return self._info.status, self._info.reason or ""
        if error is not None:
            return status_of(error)
        if training:  # the code of sys.exit is not visible here
            return "failed", "the process ended inside of the training"
        return "finished", ""
