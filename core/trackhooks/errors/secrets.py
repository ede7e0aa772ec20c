"""Redact secrets, which are recognized by their names or by their shapes.

Only strings are redacted, never numbers. A string is a secret if the last word of its name says so (`hf_token`,
`apiKey`; not `max_tokens`, `tokenizer` or `num_keys`), or if it is nested below such a name (`credentials/user`). In
all other strings, keys with a known shape, passwords in URLs, and values assigned to the name of a secret
(`password="…"`) are redacted.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TypeVar

from .secret_names import is_secret_name as is_secret_name
from .secret_values import REDACTED as REDACTED
from .secret_values import without_assigned

_Value = TypeVar("_Value")

_BEARER = r"(?i:(?<=\bbearer )[A-Z0-9._~+/=-]{16,})"
_SIGNATURE = r"""(?:(?<=[?&]sig=)|(?<=-Signature=))[^&#\s"']+"""
_AZURE = r"(?:(?<=\bAccountKey=)|(?<=\bSharedAccessKey=))[A-Za-z0-9+/=]{20,}"

# A substring, which is fast to find → the shape to look for if a string contains it.
_SHAPES = {
    hint: re.compile(shape)
    for hint, shape in {
        "PRIVATE KEY": r"-----BEGIN[ A-Z]*PRIVATE KEY-----(?:.|\n)*?(?:-----END[ A-Z]*PRIVATE KEY-----|\Z)",
        "gh": r"\bgh[pousr]_[A-Za-z0-9]{20,}",
        "github_pat_": r"\bgithub_pat_[A-Za-z0-9_]{20,}",
        "glpat-": r"\bglpat-[A-Za-z0-9_-]{16,}",  # GitLab
        "hf_": r"\bhf_[A-Za-z0-9]{20,}",  # Hugging Face
        "sk-": r"\bsk-[\w-]{16,}",  # OpenAI, Anthropic
        "k_live_": r"\b[sr]k_live_[A-Za-z0-9]{16,}",  # Stripe
        "xox": r"\bxox[abeprs]-[A-Za-z0-9-]{10,}",  # Slack
        "hooks.slack.com/": r"(?<=hooks\.slack\.com/services/)[A-Za-z0-9/]{20,}",
        "/api/webhooks/": r"(?<=/api/webhooks/)\d+/[\w-]{20,}",  # Discord
        "AKIA": r"\bAKIA[A-Z0-9]{16}\b",  # AWS
        "ASIA": r"\bASIA[A-Z0-9]{16}\b",
        "AIza": r"\bAIza[A-Za-z0-9_-]{30,}",  # Google
        "dapi": r"\bdapi[a-f0-9]{32}(?:-\d+)?\b",  # Databricks
        "wandb_v1_": r"\bwandb_v1_[A-Za-z0-9_]{20,}",
        "npm_": r"\bnpm_[A-Za-z0-9]{30,}",
        "pypi-": r"\bpypi-[A-Za-z0-9_-]{40,}",
        "Key=": _AZURE,
        # A JSON web token; the optional part prevents that the same characters are searched again and again.
        "eyJ": r"\beyJ[A-Za-z0-9_-]{10,}(?:\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{5,})?",
        "eyJhcGlfYWRkcmVzcyI6": r"\beyJhcGlfYWRkcmVzcyI6[A-Za-z0-9+/=]{20,}",  # Neptune
        "earer ": _BEARER,  # an HTTP header
        "EARER ": _BEARER,
        "sig=": _SIGNATURE,  # a signed URL
        "Signature=": _SIGNATURE,
        "@": r"(?<=://)[A-Za-z0-9_-]{32,}(?=@)",  # a token as the user of a URL
    }.items()
}
# A string of such a shape is a secret only if it contains each of these, too.
_CONTENTS = {
    "sk-": (re.compile(r"\d"), re.compile(r"[A-Z]|[0-9a-f]{32}")),
    "eyJ": (re.compile(r"\."),),
}
# The password ends at the last @ before the path, or, if it contains a slash, at the next @. A port is not a password,
# and neither is the path after `git@host:`.
_URL_PASSWORD = re.compile(
    r"""(?P<user>\b[a-zA-Z][a-zA-Z0-9+.-]{0,20}:/{1,2}
            (?: [^/?\#\s:"\[\]]{0,200}:(?=[^/?\#\s"]+@) | [^/?\#\s:"\[\]@]{0,200}:(?!\d+[/?\#]) ))
        (?P<password>[^/?\#\s"]+(?=@) | [^\s"@]+(?=@))""",
    re.VERBOSE,
)
# Passwords are searched only here: beyond the last @, each URL would be searched for one up to the end of the word.
_UP_TO_AT = re.compile(r"""(?<![^\s"])[^\s"]+@""")


def redact_text(text: str) -> str:
    """Redact keys with a known shape, passwords in URLs, and values assigned to the names of secrets."""
    if ":/" in text and "@" in text:
        text = _UP_TO_AT.sub(_without_passwords, text)
    text = without_assigned(text)
    for hint, shape in _SHAPES.items():
        if hint in text:
            text = shape.sub(partial(_without_key, _CONTENTS.get(hint, ())), text)
    return text


def _without_passwords(urls: re.Match[str]) -> str:
    return _URL_PASSWORD.sub(rf"\g<user>{REDACTED}", urls[0])


def _without_key(contents: tuple[re.Pattern[str], ...], found: re.Match[str]) -> str:
    return REDACTED if all(each.search(found[0]) for each in contents) else found[0]


def redact(name: str, value: _Value) -> _Value | str:
    """Redact a value if it is a string, by its name and its content."""
    if not isinstance(value, str) or not value:
        return value
    return REDACTED if is_secret_name(name) else redact_text(value)


def redact_command(words: list[str]) -> list[str]:
    """Redact the secrets of a command line: `--token x`, `--token=x`, `API_KEY=x`, and known shapes."""
    clean: list[str] = []
    secret_follows = False
    for word in words:
        clean.append(REDACTED if secret_follows and not word.startswith("-") else _redact_word(word))
        secret_follows = word.startswith("-") and "=" not in word and is_secret_name(word)
    return clean


def _redact_word(word: str) -> str:
    end = 0
    for name in re.split(r"[^\w=+./-]", word, maxsplit=1)[0].split("=")[:-1]:
        end += len(name) + 1
        if end < len(word) and is_secret_name(name):
            return f"{word[:end]}{REDACTED}"
    return redact_text(word)
