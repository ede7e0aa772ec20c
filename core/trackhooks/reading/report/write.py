"""Write the report of a comparison."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...errors import InvalidValueError
from ...errors.foreign import shown
from ...values import checks
from .. import formats
from ..compared import Compared
from ..figures import pages
from .data import page_data
from .page import render


def report(
    of: Compared,
    path: str | os.PathLike[str],
    title: Any,
    picture_mb: Any,
    force: Any,
    progress: Callable[[], None] = lambda: None,
) -> Path:
    """Write a report: see `Comparison.report`."""
    target = pages.checked(path, checks.switch("force", force))  # before everything is read
    if not of.runs:
        raise InvalidValueError(f"there are no runs to report, got {shown(of)}.")
    named = _default_title(of) if title is None else checks.name("title", title)
    most = int(checks.number("picture_mb", picture_mb) * 1_000_000)
    return pages.write(target, render(page_data(of, formats.plain(named), most, progress)), force)


def _default_title(of: Compared) -> str:
    projects = formats.unique(run.project for run in of.runs if run.project)
    return f"Comparison of {formats.counted(len(of.runs), 'run')}{' of ' + projects[0] if len(projects) == 1 else ''}"
