"""`nearest`: the known name that a user probably meant."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches

_MEANINGS = {
    "end": "end ends ending ended finish finishes finished done complete completed stop stopped after over",
    "start": "start starts started begin begins beginning began before",
    "val": "val valid validation validate eval evaluation evaluate test testing",
    "train": "train training",
    "batch": "batch minibatch step iteration iter",
    "predict": "predict prediction inference infer",
}
_MEANING_OF = {word: meaning for meaning, words in _MEANINGS.items() for word in words.split()}
"""Words of several libraries → the word with the same meaning by which names are compared."""
_SAME_END = 0.15
"""The preference for a name with the same last word: `on_epoch_begin` and `on_epoch_end` differ in what matters."""
_LONGEST = 200


def nearest(name: str, known: Iterable[str], cutoff: float = 0.5) -> str | None:
    """Return the most similar of the known names, or None if none is similar.

    Words that mean the same are equal: `on_epoch_finish` is `on_epoch_end`, not `on_epoch_begin`.
    """
    words = [_MEANING_OF.get(_corrected(word), word) for word in _words(name)]
    best, found = (cutoff, 0.0), None
    for other in sorted(known):
        others = [_MEANING_OF.get(word, word) for word in _words(other)]
        score = _ratio("_".join(words), "_".join(others)) + _SAME_END * (words[-1] == others[-1])
        if score >= best[0] and (score, _ratio(name, other)) > best:
            best, found = (score, _ratio(name, other)), other
    return found


def _words(name: str) -> list[str]:
    return re.split(r"[_\W]+", name[:_LONGEST].lower())


def _corrected(word: str) -> str:
    return next(iter(get_close_matches(word, _MEANING_OF, n=1, cutoff=0.8)), word)


def _ratio(one: str, other: str) -> float:
    return SequenceMatcher(None, one[:_LONGEST], other[:_LONGEST]).ratio()
