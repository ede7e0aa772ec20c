"""What the integrations of libraries for gradient boosting share: a boosting round is an epoch."""

from .bridge import Bridge
from .call import Call
from .framework import Boosting
from .rounds import Listener, Rounds
from .sets import Score

__all__ = ["Boosting", "Bridge", "Call", "Listener", "Rounds", "Score"]
