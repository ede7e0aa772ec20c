"""A test suite for trackers: inherit from `TrackerPromises` to test with pytest that yours keeps every promise.

Name the tracker, and read its runs back with the backend's own reader::

    from trackhooks.testing import Seen, TrackerPromises


    class TestMine(TrackerPromises):
        tracker = "mine"                      # or "my_package.trackers:Mine"
        cannot = {"images": "the backend stores only numbers"}

        def read(self, run, options):
            rows = my_package.load(run.id)
            return Seen(
                status=rows.status,
                params=rows.params,
                metrics={name: [(row.x, row.value) for row in rows.of(name)] for name in rows.names},
            )

Each test checks one promise: steps and epochs, NaN and infinities, unusual names, parameters, files, images, every
status, outages, deliveries that are killed, runs that are resumed. The tests record runs as users do, and deliver them
as trackhooks does, sometimes in separate processes. `ABILITIES` lists what a backend may be unable to hold. Tests that
need such an ability are expected to fail (`pytest -rx` shows the reasons); if one passes, it is reported as a failure.

Raises:
    MissingPackageError: on import, if pytest is not installed.
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

# This must come before the imports: it makes pytest show both sides of an assertion that fails.
pytest.register_assert_rewrite("trackhooks.testing.tracker_promises", "trackhooks.testing.framework_promises")

from .framework_promises import FrameworkPromises  # noqa: E402
from .tracker_promises import TrackerPromises  # noqa: E402
from .tracker_promises.suite import ABILITIES  # noqa: E402
from .trial import Seen  # noqa: E402

__all__ = ["ABILITIES", "FrameworkPromises", "Seen", "TrackerPromises"]
