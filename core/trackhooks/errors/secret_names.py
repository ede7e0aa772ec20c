"""Recognize the names of secrets: `hf_token`, `apiKey`; not `max_tokens`, `tokenizer` or `num_keys`."""

from __future__ import annotations

import functools
import re

_SECRET_WORDS = frozenset(
    {"token", "authtoken", "accesstoken", "hftoken", "credential", "accesskey", "secretkey", "privatekey", "pwd",
     "authorization", "bearer", "jwt"}
)  # fmt: skip
_SECRET_ENDINGS = (
    "password", "passwords", "passwd", "passphrase", "secret", "secrets", "apikey", "apikeys", "credentials",
)  # fmt: skip
# Whether a key is a secret depends on the word before it.
_SECRET_KEYS = frozenset(
    {"api", "access", "secret", "private", "auth", "account", "encryption", "signing", "subscription", "service",
     "consumer", "master", "session", "ssh", "deploy", "wandb", "openai", "anthropic"}
)  # fmt: skip
# Tokens that are not secrets: the special ones of a tokenizer, and those that are counted.
_TOKEN_KINDS = frozenset(
    {"pad", "eos", "bos", "sos", "eot", "eom", "unk", "mask", "sep", "cls", "special", "image", "video", "audio",
     "vision", "text", "start", "end", "stop", "max", "min", "num", "per", "next", "first", "last", "new", "prompt",
     "decoder", "added", "additional", "prefix", "suffix", "middle", "blank"}
)  # fmt: skip
_STEMS = ("pass", "pwd", "secret", "token", "credential", "key", "authorization", "bearer", "jwt")
"""Every name of a secret contains one of these."""
_LONGEST_REMEMBERED = 200
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def is_secret_name(name: str) -> bool:
    """Return whether a string of this name is a secret, by the last word of the name or of one that it is nested in."""
    return _remembered(name) if len(name) <= _LONGEST_REMEMBERED else _is_secret(name)


def _is_secret(name: str) -> bool:
    words: list[str] = []
    for part in name.split("/"):
        words += (word for word in re.split(r"[^a-z]+", _CAMEL.sub("_", part).lower()) if word)
        if _end_secret(words):
            return True
    return False


_remembered = functools.lru_cache(maxsize=4096)(_is_secret)


def _end_secret(words: list[str]) -> bool:
    before, last = ["", "", *words[-2:]][-2:]
    if last in ("key", "keys"):
        return before in _SECRET_KEYS
    return last.endswith(_SECRET_ENDINGS) or (last in _SECRET_WORDS and before not in _TOKEN_KINDS)


def may_name_a_secret(text: str) -> bool:
    """Return whether a string may contain the name of a secret. Fast: most strings contain none."""
    lower = text.lower()
    return any(stem in lower for stem in _STEMS)
