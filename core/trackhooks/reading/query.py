"""Filters of runs: `params.lr < 0.1 and tag:baseline`.

| Filter | Runs for which |
|---|---|
| `params.lr < 0.1` | the value is smaller; also `<=`, `>`, `>=`, `==`, `!=` |
| `tag:baseline`, `name:lr=*` | the text matches a pattern with `*` and `?`; for `tag`, that of any tag |
| `A and B`, `A or B`, `not A`, `(A)` | combinations |

The names are those of `fields`. Values with spaces, and names with spaces or any of `< > = ! :`, are put in quotes. A
run that does not have the value does not match, except for `!=`.
"""

from __future__ import annotations

import fnmatch
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from ..errors import InvalidValueError
from . import fields
from .fields import Field
from .formats import parameter
from .summary import RunSummary

Test = Callable[[RunSummary], bool]

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<compare><=|>=|==|!=|<|>|=)
    |(?P<bracket>[()])
    |(?P<quoted>"[^"]*"|'[^']*')
    |(?P<word>[^\s()<>=!:"']+(?:\([^\s()<>=!:"']*\)[^\s()<>=!:"']*)*)  # with brackets inside, as in `mAP50(B)`
    |(?P<colon>:)
    )""",
    re.VERBOSE,
)
_VALUE = re.compile(
    r"""\s*(?:
    (?P<quoted>"[^"]*"|'[^']*')
    |(?P<word>[^\s()"']+(?:\([^\s()]*\)[^\s()]*)*)  # may contain what separates names: `2026-11-20T10:30`, `lr=0.1`
    )""",
    re.VERBOSE,
)
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_CONSTANTS = {"true": True, "false": False, "none": None, "null": None}


def where(runs: Sequence[RunSummary], text: str | None) -> list[RunSummary]:
    """Return the runs that match a filter, in the same order. Without a filter, all match.

    Raises:
        InvalidValueError: if the filter cannot be read.
        UnknownNameError: if no run has a value that it names.
    """
    if text is None:
        return list(runs)
    if not isinstance(text, str):
        raise InvalidValueError(
            f"where must be a string such as 'params.lr < 0.1', got {type(text).__name__}."
        )
    test = _Parser(text, runs).parse()
    return [run for run in runs if test(run)]


class _Parser:
    """A recursive-descent parser: one method for each level of precedence."""

    def __init__(self, text: str, runs: Sequence[RunSummary]) -> None:
        self._text = text
        self._runs = runs
        self._tokens = self._split()
        self._next = 0

    def _split(self) -> list[tuple[str, str]]:
        """Return pairs of kind and text."""
        tokens: list[tuple[str, str]] = []
        end, text = 0, self._text.rstrip()
        while end < len(text):
            expects_value = bool(tokens) and tokens[-1][0] in ("compare", "colon")
            found = (_VALUE if expects_value else _TOKEN).match(text, end)
            if found is None:
                self._fail(f"cannot be read from {text[end:].strip()!r} on")
            kind = found.lastgroup or ""
            tokens.append((kind, found[kind]))
            end = found.end()
        return tokens

    def parse(self) -> Test:
        """Return the test of the whole filter."""
        test = self._either()
        if self._next < len(self._tokens):
            self._fail(f"'and' or 'or' is missing before {self._tokens[self._next][1]!r}")
        return test

    def _either(self) -> Test:
        tests = [self._both()]
        while self._takes_word("or"):
            tests.append(self._both())
        return lambda run: any(test(run) for test in tests)

    def _both(self) -> Test:
        tests = [self._negated()]
        while self._takes_word("and"):
            tests.append(self._negated())
        return lambda run: all(test(run) for test in tests)

    def _negated(self) -> Test:
        if self._takes_word("not"):
            test = self._negated()
            return lambda run: not test(run)
        if self._takes("bracket", "("):
            inner = self._either()
            if not self._takes("bracket", ")"):
                self._fail("a ')' is missing")
            return inner
        return self._comparison()

    def _comparison(self) -> Test:
        name = self._take("the name of a value", "word", "quoted")[1]
        field = fields.find(self._runs, _unquoted(name))
        kind, sign = self._take(f"a comparison after {name!r}, such as < 0.1 or :pattern", "compare", "colon")
        value = self._take(f"a value after {sign!r}", "word", "quoted")
        if kind == "colon":
            return _matching(field, _unquoted(value[1]))
        return _comparing(field, sign, self._value(field, *value))

    def _value(self, field: Field, kind: str, text: str) -> Any:
        if field.parse is not None:
            try:
                return field.parse(_unquoted(text))
            except ValueError:
                self._fail(f"{text!r} is not a date such as 2026-11-20")
        return _unquoted(text) if kind == "quoted" else _constant(text)

    def _take(self, wanted: str, *kinds: str) -> tuple[str, str]:
        if self._next >= len(self._tokens) or self._tokens[self._next][0] not in kinds:
            self._fail(f"it needs {wanted}")
        self._next += 1
        return self._tokens[self._next - 1]

    def _takes(self, kind: str, text: str) -> bool:
        found = self._tokens[self._next : self._next + 1]
        is_next = bool(found) and found[0][0] == kind and found[0][1].lower() == text
        self._next += is_next
        return is_next

    def _takes_word(self, text: str) -> bool:
        return self._takes("word", text)

    def _fail(self, problem: str) -> NoReturn:
        raise InvalidValueError(
            f"the filter {self._text!r} is not valid: {problem}. Examples: 'params.lr < 0.1 and tag:baseline',"
            " 'not (status == failed or best.val/loss > 1)'. Put other characters in quotes."
        )


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] in "\"'" and text[0] == text[-1] else text


def _constant(word: str) -> Any:
    """Return the value that a word stands for: a number, a constant, or a string."""
    if word.lower() in _CONSTANTS:
        return _CONSTANTS[word.lower()]
    number = _number(word)
    return word if number is None else number


def _matching(field: Field, pattern: str) -> Test:
    def test(run: RunSummary) -> bool:
        found = field.read(run)
        texts = found if isinstance(found, list) else [] if found is None else [parameter(found)]
        return any(fnmatch.fnmatchcase(text, pattern.replace("[", "[[]")) for text in texts)

    return test


def _comparing(field: Field, sign: str, wanted: Any) -> Test:
    if sign in ("=", "=="):
        return lambda run: _equal(field.read(run), wanted)
    if sign == "!=":
        return lambda run: not _equal(field.read(run), wanted)
    return lambda run: _ordered(_ORDER[sign], field.read(run), wanted)


def _equal(found: Any, wanted: Any) -> bool:
    if isinstance(found, list):
        return any(_equal(item, wanted) for item in found)
    if found is None or wanted is None or isinstance(wanted, bool):
        return found is wanted or str(found).lower() == str(wanted).lower()
    if isinstance(wanted, float):
        return wanted == _number(found)
    return str(found) == str(wanted)


def _ordered(compare: Callable[[Any, Any], bool], found: Any, wanted: Any) -> bool:
    """Compare two numbers or two strings. Other values have no order."""
    if isinstance(wanted, float):
        found = _number(found)
    return found is not None and isinstance(found, type(wanted)) and compare(found, wanted)


def _number(value: Any) -> float | None:
    """Return a number, also if it was recorded as a string, as command lines do."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None
