"""Write the report of a comparison."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ...values import checks
from .. import formats
from ..compared import Compared
from ..figures import pages
from .data import page_data
from .page import render

PICTURE_MB: Final = 10.0
"""How many megabytes of pictures a report has at most, unless another limit is chosen."""


def report(
    of: Compared,
    path: str | os.PathLike[str],
    *,
    title: str | None = None,
    picture_mb: float = PICTURE_MB,
    overwrite: bool = False,
    progress: Callable[[], None] = lambda: None,
) -> Path:
    """Write a report: see `Comparison.report`. `progress` is called after each run."""
    pages.target(path, overwrite)  # before everything is read
    named = _default_title(of) if title is None else checks.name("title", title)
    most = int(checks.number("picture_mb", picture_mb) * 1_000_000)
    return pages.write(render(page_data(of, formats.plain(named), most, progress)), path, overwrite)


def _default_title(of: Compared) -> str:
    projects = formats.unique(run.project for run in of.runs if run.project)
    runs = formats.counted(len(of.runs), "run")
    return f"Comparison of {runs}{' of ' + projects[0] if len(projects) == 1 else ''}"
