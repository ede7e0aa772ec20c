"""Put figures into HTML files that need no network: Bokeh's script is a part of the file, compressed."""

from __future__ import annotations

import base64
import functools
import gzip
import hashlib
import json
from collections.abc import Iterable
from importlib.resources import files
from typing import Any, Final

GENERATOR: Final = '<meta name="generator" content="trackhooks">'
"""Is in the head of every page, which may therefore be replaced by another one."""


@functools.cache
def bokeh_script() -> str:
    """Return the script of Bokeh."""
    return (files("bokeh") / "server" / "static" / "js" / "bokeh.min.js").read_text("utf-8")


@functools.cache
def compressed_bokeh() -> str:
    """Return the script of Bokeh, compressed and encoded in base64."""
    return compressed(bokeh_script().encode())


def compressed(data: bytes) -> str:
    """Return bytes compressed with gzip and encoded in base64. The same bytes always give the same result."""
    return base64.b64encode(gzip.compress(data, 6, mtime=0)).decode()


def policy(scripts: Iterable[str]) -> str:
    """Return the content security policy of a page that runs these scripts and loads nothing."""
    hashes = " ".join(f"'sha256-{_hash(script)}'" for script in scripts)
    return f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:"


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def as_data(value: Any) -> str:
    """Return a value as JSON that can be the text of a `<script>`. It must not contain NaN or infinities."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
