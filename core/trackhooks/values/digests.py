"""SHA-256 of short data, without `hashlib`: that loads OpenSSL, 4 MB of every training process.

Python's own `random` takes the small module, too. To hash files, use `hashlib`: OpenSSL is several times as fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import sha256
else:
    try:
        from _sha2 import sha256  # Python 3.12 and newer
    except ImportError:
        try:
            from _sha256 import sha256
        except ImportError:  # a Python that was built without it
            from hashlib import sha256

__all__ = ["sha256"]
