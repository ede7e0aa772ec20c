"""Moved to `errors.foreign`."""

from ..errors.foreign import Failure as Failure
from ..errors.foreign import attempt as attempt
from ..errors.foreign import described as described
from ..errors.foreign import is_a as is_a
from ..errors.foreign import items as items
from ..errors.foreign import key_text as key_text
from ..errors.foreign import plain_text as plain_text
from ..errors.foreign import shown as shown
