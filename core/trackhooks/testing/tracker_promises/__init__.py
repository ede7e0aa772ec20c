"""`TrackerPromises`: the promises of a tracker as tests, one module per topic.

Import it from `trackhooks.testing`.
"""

from __future__ import annotations

from .files import FilePromises
from .kills import KillPromises
from .media import MediaPromises
from .metrics import MetricPromises
from .outages import OutagePromises
from .params import ParamPromises
from .resume import ResumePromises
from .runs import RunPromises
from .status import StatusPromises


class TrackerPromises(
    MetricPromises,
    ParamPromises,
    FilePromises,
    MediaPromises,
    StatusPromises,
    RunPromises,
    ResumePromises,
    OutagePromises,
    KillPromises,
):
    """Tests of everything that trackhooks promises about a tracker.

    Inherit from it, set `tracker`, implement `read`, and list in `cannot` what the backend cannot hold.
    """
