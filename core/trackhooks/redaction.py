"""Secrets stay in the process: what is redacted, by its name or by its shape."""

from __future__ import annotations

import re

REDACTED = "<redacted>"

_SECRET_LAST_WORDS = frozenset(
    {
        "token", "secret", "password", "passwd", "passphrase", "pwd", "apikey", "credential", "credentials",
        "accesskey", "secretkey", "privatekey", "authtoken", "authorization", "bearer",
    }
)  # fmt: skip
_SECRET_LAST_PAIRS = frozenset(
    {("api", "key"), ("access", "key"), ("secret", "key"), ("private", "key"), ("auth", "key"), ("account", "key"),
     ("encryption", "key"), ("signing", "key"), ("access", "keys")}
)  # fmt: skip
# Names whose last word is of the list, and which are no secrets: what a tokenizer calls its special tokens.
_TOKEN_KINDS = frozenset(
    {"pad", "eos", "bos", "unk", "mask", "sep", "cls", "special", "image", "start", "end", "stop", "max", "min", "per",
     "next", "first", "last", "new", "prompt", "decoder", "added", "additional"}
)  # fmt: skip

_SHAPES = re.compile(
    r"""
      \bgh[pousr]_[A-Za-z0-9]{20,}            # GitHub
    | \bgithub_pat_[A-Za-z0-9_]{20,}
    | \bglpat-[A-Za-z0-9_-]{16,}              # GitLab
    | \bhf_[A-Za-z0-9]{20,}                   # Hugging Face
    | \bsk-[A-Za-z0-9_-]{16,}                 # OpenAI, Anthropic
    | \bxox[abprs]-[A-Za-z0-9-]{10,}          # Slack
    | \b(?:AKIA|ASIA)[A-Z0-9]{16}\b           # AWS
    | \bAIza[A-Za-z0-9_-]{30,}                # Google
    | \bdapi[a-f0-9]{32}\b                    # Databricks
    | \bwandb_v1_[A-Za-z0-9_]{20,}            # W&B
    | \beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{5,}  # a JSON web token
    | -----BEGIN[ A-Z]*PRIVATE\ KEY-----(?:.|\n)*?(?:-----END[ A-Z]*PRIVATE\ KEY-----|\Z)
    """,
    re.VERBOSE,
)
_URL_PASSWORD = re.compile(r"(?P<scheme>\b[a-zA-Z][a-zA-Z0-9+.-]*://[^/\s:@]*):(?P<password>[^/\s@]+)@")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def is_secret_name(name: str) -> bool:
    """Whether a value of this name is a secret: its last word says so (`hf_token`, `apiKey`; not `max_tokens`)."""
    words = [word for word in re.split(r"[^a-z0-9]+", _CAMEL.sub("_", name).lower()) if word]
    if not words:
        return False
    if words[-1] == "token" and len(words) > 1 and words[-2] in _TOKEN_KINDS:
        return False
    return words[-1] in _SECRET_LAST_WORDS or tuple(words[-2:]) in _SECRET_LAST_PAIRS


def redact_text(text: str) -> str:
    """The text without known key shapes and without the passwords of URLs."""
    if "://" in text:
        text = _URL_PASSWORD.sub(rf"\g<scheme>:{REDACTED}@", text)
    return _SHAPES.sub(REDACTED, text)


def redact(name: str, value: object) -> object:
    """The value as it may leave the process: only strings are ever secrets."""
    if not isinstance(value, str) or not value:
        return value
    return REDACTED if is_secret_name(name) else redact_text(value)


def redact_command(words: list[str]) -> list[str]:
    """A command line without the secrets in it: `--token x`, `--token=x`, `API_KEY=x`, and known shapes."""
    clean: list[str] = []
    secret_follows = False
    for word in words:
        flag, equals, value = word.partition("=")
        if secret_follows and not word.startswith("-"):
            clean.append(REDACTED)
        elif equals and value and is_secret_name(flag):
            clean.append(f"{flag}={REDACTED}")
        else:
            clean.append(redact_text(word))
        secret_follows = word.startswith("-") and not equals and is_secret_name(word)
    return clean
