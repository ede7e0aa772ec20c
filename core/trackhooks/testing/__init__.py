"""`TrackerPromises`: the tests that a tracker passes which keeps what trackhooks promises. For pytest.

Inherit it, say which tracker it is, and how to read a run back with the backend's own reader::

    from trackhooks.testing import Seen, TrackerPromises


    class TestMine(TrackerPromises):
        tracker = "mine"                      # or "my_package.trackers:Mine"
        cannot = {"images": "a table of numbers has no place for pictures"}

        def read(self, run, options):
            rows = my_package.load(run.id)
            return Seen(
                status=rows.status,
                params=rows.params,
                metrics={name: [(row.x, row.value) for row in rows.of(name)] for name in rows.names},
            )

Each promise is a test: steps and epochs, NaN and infinities, odd names, parameters, files, pictures, every status,
outages, a delivery that is killed, a run that goes on. They make runs as users do, and deliver them as trackhooks
does, some in a process of their own. `ABILITIES` lists what a backend may be unable to hold: those tests are expected
to fail, are shown with the reason (`pytest -rx`), and fail where they pass.

Raises:
    MissingPackageError: on import, where pytest is not installed.
"""

from __future__ import annotations

from ..errors import MissingPackageError

try:
    import pytest
except ImportError as error:
    raise MissingPackageError(
        "trackhooks.testing needs the package 'pytest', which is not installed. Run: pip install pytest",
        name="pytest",
    ) from error

# Before the import: then a promise that fails shows the values on both sides.
pytest.register_assert_rewrite("trackhooks.testing.promises")

from .promises import ABILITIES, TrackerPromises  # noqa: E402
from .trial import Seen  # noqa: E402

__all__ = ["ABILITIES", "Seen", "TrackerPromises"]
