"""The status that an exception gives to a run."""

from __future__ import annotations

from ..values.foreign import attempt, shown
from ..values.secrets import redact_text


def status_of(error: BaseException | None) -> tuple[str, str]:
    """The status, and the reason for it, of a run that this exception ended."""
    if error is None or isinstance(error, GeneratorExit):
        return "finished", ""
    if isinstance(error, SystemExit):
        code = error.code
        well = code is None or attempt(lambda: code == 0) is True
        return ("finished", "") if well else ("failed", f"sys.exit({shown(code)})")
    if isinstance(error, KeyboardInterrupt):
        return "killed", "KeyboardInterrupt"
    text = attempt(str, error)
    lines = text.strip().splitlines() if isinstance(text, str) else []
    return "failed", redact_text(f"{type(error).__name__}: {lines[0] if lines else ''}".rstrip(": "))[:500]
