"""Moved to `errors.secrets`."""

from ..errors.secrets import REDACTED as REDACTED
from ..errors.secrets import is_secret_name as is_secret_name
from ..errors.secrets import redact as redact
from ..errors.secrets import redact_command as redact_command
from ..errors.secrets import redact_text as redact_text
