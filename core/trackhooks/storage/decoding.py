"""What decoding the bytes of a file may raise, whatever they are. The files of a run may come from anybody."""

from __future__ import annotations

from typing import Final

import msgspec

UNDECODABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises: `UnicodeDecodeError` for strings that are not UTF-8 is not one of its own errors."""
