"""Find what a string assigns to the name of a secret: in code, JSON, YAML, INI, HTTP headers and command lines.

A value in quotes or brackets is found wherever it is. A value without quotes ends at a blank or delimiter; in a line of
YAML it is the rest of the line or the block below it. `Password: is needed` is an English sentence, not an assignment.
Every search looks at a bounded number of characters around a name, or continues after what it found, so that the time
grows with the length of the string.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .secret_names import is_secret_name, may_name_a_secret

REDACTED = "<redacted>"

_HEAD = re.compile(
    r"""(?P<name>(?<![\w.-])[\w.-]+) (?:\\{0,3}["'])? (?P<sign>\s{0,8}[=:]\s{0,8})
        (?P<scheme>(?i:basic|bearer|digest|token)[ \t]{1,8})?""",
    re.VERBOSE,
)
"""A name, and the sign after it."""
_FLAG = re.compile(
    r"""(?<![\w-])--?(?P<name>[A-Za-z_][\w.-]{0,80}) (?P<between>[ \t]{1,8}|["'],[ \t]{0,8}["'])
        (?P<value>(?!-)[^\s"']{1,1000})""",
    re.VERBOSE,
)
"""An option of a command line, and the word after it, also in the list of an error message."""
_QUOTED = re.compile(
    r"""[bBrRuUfF]{0,2}(?P<quote>\\{0,3}(?:\"{3}|'{3}|["']))(?P<value>(?:(?!(?P=quote))(?:\\.|[^\\]))+)(?P=quote)""",
    re.VERBOSE | re.DOTALL,
)
_PAIR = re.compile(
    r"""[(\[]\s{0,8}(["'])(?P<name>[A-Za-z_][\w.-]{0,80})\1,\s{0,8}(["'])(?P<value>[^"'\\]{1,10000})\3\s{0,8}[)\]]"""
)
"""A name and its value, as in the items of a mapping."""
_WORD = re.compile(
    r"""(?!(?:None|True|False|null|true|false|~)(?![^\s,;&)}\]]))[^\s"'&,;(){}\[\]<>|]{1,10000}"""
)
_BRACKETS = frozenset("[{(")
_BRACKET = re.compile(r"[\[\]{}()]")
_MOST_IN_BRACKETS = 10_000
_NUMBERS = re.compile(r"[\[({][\s\d.,+-]*[\])}]")
_BEFORE_A_KEY = re.compile(r"""[ \t]*(?:-[ \t]+)*["']?""")
_ENDS = re.compile(r"[ \t\r]*(?:$|[\n,;&)}\]|]|-)")
_SENTENCE = re.compile(r"[a-z]+(?: [a-z,]+)+[.!?]?\s*$")
_COMMENT = re.compile(
    r"""(?<![ \t])[ \t]+\#.*$|["'][ \t\r]*(?:[,}\])].*)?$|(?<![ \t\r])[ \t\r]+$""", re.DOTALL
)
"""What follows a value in its line: a comment, the end of a string that contains the line, or blanks."""
_KEY_LINE = re.compile(r"""[ \t]*(?:-[ \t]+)*["']?[\w.-]+["']?:(?:[ \t\r]|$)""", re.MULTILINE)
_BLOCK_MARK = re.compile(r"[ \t\r]*(?:[|>][-+\d]{0,2}[ \t\r]*)?(?:#[^\n]*)?(?:\n|$)")
_FURTHEST = 200
"""How many characters before a name are searched for the start of its line."""


def without_assigned(text: str) -> str:
    """Return the string with `<redacted>` in place of each value that is assigned to the name of a secret."""
    if not may_name_a_secret(text):
        return text
    if "\\n" in text and "\r" not in text:  # lines in the repr of a string, or in JSON
        return without_assigned(text.replace("\\n", "\r\n")).replace("\r\n", "\\n")
    if "=" in text or ":" in text:
        text = _replaced(text, _assigned(text))
    if "-" in text:
        text = _replaced(text, _after_flags(text))
    return _replaced(text, _in_pairs(text)) if "," in text else text


def _replaced(text: str, spans: Iterator[tuple[int, int]]) -> str:
    parts, done = [], 0
    for start, end in spans:
        if start >= done and text[start:end] != REDACTED:
            parts += [text[done:start], REDACTED]
            done = end
    return "".join([*parts, text[done:]]) if parts else text


def _after_flags(text: str) -> Iterator[tuple[int, int]]:
    for found in _FLAG.finditer(text):
        if is_secret_name(found["name"]) and (
            found["between"].strip() or _is_value(text, found.span("value"))
        ):
            yield found.span("value")


def _in_pairs(text: str) -> Iterator[tuple[int, int]]:
    return (found.span("value") for found in _PAIR.finditer(text) if is_secret_name(found["name"]))


def _assigned(text: str) -> Iterator[tuple[int, int]]:
    done = 0
    for head in _HEAD.finditer(text):
        if head.start() >= done and is_secret_name(head["name"]):
            start, end = _value(text, head)
            done = max(done, end)
            in_quotes = text[start - 1] in ("'", '"')
            if end > start and (in_quotes or not _NUMBERS.fullmatch(text, start, end)):
                yield start, end


def _value(text: str, head: re.Match[str]) -> tuple[int, int]:
    """Return where the value after a sign starts and ends; an empty range if there is none."""
    quoted = _QUOTED.match(text, head.end("sign"))
    if quoted is not None:
        return quoted.span("value")
    position = head.end()
    if text.startswith(REDACTED, position):
        return position, position
    if text[position : position + 2] in ("''", '""'):
        return position, position
    if text[position : position + 1] in ("'", '"'):  # which is not closed
        return position + 1, _end_of_line(text, position)
    if text[position : position + 1] in _BRACKETS:
        return position, _end_of_brackets(text, position)
    sign = head["sign"]
    if sign == "=":
        word = _WORD.match(text, position)
        return (position, position) if word is None else word.span()
    starts_line = _starts_line(text, head.start("name"))
    if ":" in sign:
        return _after_colon(text, head, starts_line)
    return _setting(text, position) if starts_line and "\n" not in sign else (position, position)


def _end_of_brackets(text: str, start: int) -> int:
    """Return the end of a list or mapping. One that does not end soon is taken to end after many characters."""
    depth, most = 0, min(len(text), start + _MOST_IN_BRACKETS)
    for mark in _BRACKET.finditer(text, start, most):
        depth += 1 if mark[0] in _BRACKETS else -1
        if not depth:
            return mark.end()
    return most


def _starts_line(text: str, position: int) -> bool:
    before = text.rfind("\n", max(position - _FURTHEST, 0), position) + 1
    known = before or position <= _FURTHEST
    return bool(known and _BEFORE_A_KEY.fullmatch(text, before, position))


def _setting(text: str, position: int) -> tuple[int, int]:
    """Return the one word after ` = `, as in INI files. Code, such as `token = next(tokens)`, is not a setting."""
    word = _WORD.match(text, position)
    if word is None or not re.compile(r"[ \t\r]*(?:\n|$)").match(text, word.end()):
        return position, position
    return word.span()


def _after_colon(text: str, head: re.Match[str], starts_line: bool) -> tuple[int, int]:
    sign_end, position = head.end("sign"), head.end()
    if starts_line and _BLOCK_MARK.match(text, head.start("sign") + head["sign"].index(":") + 1):
        return _block(text, head)
    if "\n" in head["sign"]:
        return position, position
    if starts_line and head["sign"].endswith((" ", "\t")):
        return _rest_of_line(text, position)
    word = _WORD.match(text, position)
    if word is None or word[0].startswith((":", "/")):
        return position, position
    if sign_end == head.start("sign") + 1:  # without a blank, as in `module:Class` and `token:0`
        return word.span() if len(word[0]) > 3 and not word[0].isalpha() else (position, position)
    return word.span() if _is_value(text, word.span()) else (position, position)


def _is_value(text: str, span: tuple[int, int]) -> bool:
    """Whether a word is a value, and not the next word of a sentence."""
    return not re.fullmatch("[a-z]+", text[slice(*span)]) or _ENDS.match(text, span[1]) is not None


def _rest_of_line(text: str, position: int) -> tuple[int, int]:
    line = _COMMENT.sub("", text[position : _end_of_line(text, position)])
    if not _WORD.match(line) or (_SENTENCE.match(line) and not _among_keys(text, position)):
        return position, position
    return position, position + len(line)


def _end_of_line(text: str, position: int) -> int:
    end = text.find("\n", position)
    return end if end >= 0 else len(text)


def _among_keys(text: str, position: int) -> bool:
    """Whether the line before or after this position is one of YAML, too."""
    start, end = text.rfind("\n", 0, position), text.find("\n", position)
    above = text.rfind("\n", 0, start) + 1 if start > 0 else -1
    return (above >= 0 and _KEY_LINE.match(text, above) is not None) or (
        end >= 0 and _KEY_LINE.match(text, end + 1) is not None
    )


def _block(text: str, head: re.Match[str]) -> tuple[int, int]:
    """Return the lines below a key that belong to it: those that are indented further, and the items of its list."""
    start = text.find("\n", head.start("sign")) + 1
    line = text.rfind("\n", 0, head.start("name")) + 1
    indent = re.compile(r"[ \t]*").match(text, line)
    width = len(indent[0]) if indent else 0
    end = start
    while start and end < len(text):
        following = text.find("\n", end)
        following = len(text) if following < 0 else following + 1
        inside = re.compile(rf"[ \t]{{{width + 1},}}\S|[ \t]{{{width}}}- |[ \t\r]*\n").match(text, end)
        if inside is None:
            break
        end = following
    block = text[start:end].rstrip()
    return (start, start + len(block)) if start else (0, 0)
