"""A headless browser, for the tests of pages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_NAMES = ("chromium-headless-shell", "chromium")
"""The one without a user interface takes half of the processor time."""
CHROMIUM = next((path for name in _NAMES if (path := Path("/usr/bin", name)).exists()), None)


@contextmanager
def chromium(*arguments: str) -> Iterator[Any]:
    """Start Chromium; without it, or without playwright, the test is skipped."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no /usr/bin/chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", *arguments])
        yield browser
        browser.close()
