"""trackhooks."""

from . import journal
from .tracker import Tracker
