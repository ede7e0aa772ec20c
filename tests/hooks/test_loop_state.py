"""The state of a loop: who changes it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from folders import ROOT

from trackhooks.hooks import loop_state


@pytest.mark.slow
def test_only_the_methods_of_the_state_change_it() -> None:
    sources = [*(ROOT / "core").rglob("*.py"), *(ROOT / "integrations").rglob("*.py")]
    owner = Path(loop_state.__file__).resolve()
    found = [
        f"{source.name}: {name}"
        for source in sources
        if source.resolve() != owner
        for name in assigned(source)
        if "state." in name and name.split(".")[-1] in vars(loop_state.LoopState())
    ]
    assert not found


def assigned(source: Path) -> Iterator[str]:
    """The attributes that a file assigns, as they are written."""
    for node in ast.walk(ast.parse(source.read_text())):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets:
            for part in target.elts if isinstance(target, ast.Tuple) else [target]:
                if isinstance(part, ast.Attribute):
                    yield ast.unparse(part)
