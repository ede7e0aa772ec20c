"""Moved to `hooks.lookups`."""

from ..hooks.lookups import Default as Default
from ..hooks.lookups import Found as Found
from ..hooks.lookups import Lookups as Lookups
