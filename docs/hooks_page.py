"""Writes what docs/topics/hooks.md takes from trackhooks' own vocabulary: the loop, and the table of hooks.

python docs/hooks_page.py            # writes them
python docs/hooks_page.py --check    # fails if the page differs, and writes nothing
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from textwrap import dedent

from trackhooks.hooks import vocabulary

PAGE = Path(__file__).parent / "topics" / "hooks.md"
HEADINGS = ("Hook", "In Keras", "When it fires", "A function gets", "A Keras method gets")


def loop() -> str:
    """The loop with each hook in its place: the indented part of the module's docstring."""
    lines = (vocabulary.__doc__ or "").splitlines(keepends=True)
    code = dedent("".join(line for line in lines if line.startswith("    ") or not line.strip()))
    return f"```text\n{code.strip()}\n```\n"


def table() -> str:
    """The table of hooks."""
    return "".join(
        (f"| {' | '.join(HEADINGS)} |\n", "|---" * len(HEADINGS) + "|\n", *map(row, vocabulary.HOOKS))
    )


def row(hook: vocabulary.Hook) -> str:
    """One line of the table."""
    keras = f"`{hook.keras}`" if hook.keras else ""
    arguments = ", ".join(f"`{name}`" for name in hook.keras_args)
    return f"| `{hook.name}` | {keras} | {hook.when} | the {hook.source} | {arguments} |\n"


def filled(page: str, part: str, content: str) -> str:
    """The page with the content between the two comments of this part."""
    between = re.compile(
        rf"(?<=<!-- {part}, written by docs/hooks_page.py -->\n).*?(?=<!-- end -->)", re.DOTALL
    )
    return between.sub(lambda _: content, page, count=1)


def main() -> None:
    """Writes or checks the page."""
    written = PAGE.read_text(encoding="utf-8")
    page = filled(filled(written, "loop", loop()), "table", table())
    if "--check" not in sys.argv:
        PAGE.write_text(page, encoding="utf-8")
    elif page != written:
        sys.exit(f"{PAGE.name} is not up to date. Run: python docs/hooks_page.py")


if __name__ == "__main__":
    main()
