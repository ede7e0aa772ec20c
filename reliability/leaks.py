"""Secrets in every call: none may be in any file of a run, nor in what the program prints."""

from __future__ import annotations

import json
import random
import string
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from .result import Found, Result, tried
from .runs import place

LETTERS = string.ascii_letters + string.digits
PROGRAM = """
import json, sys, warnings
import trackhooks
home, secret, how = json.load(sys.stdin)
assigned = f"{how['name']}={secret}" if how["name"] else secret
named = {how["name"] or "comment": secret}
run = trackhooks.run("csv", "tensorboard", dir=home, name=assigned, project=assigned, tags=[assigned], notes=assigned,
                     group=assigned, params={"net": named, **named}, delivery="inline", system=None)
run.log_params(text=assigned, **named)
run.log_text("notes", assigned)
run.log_table("table", {key: [value] for key, value in named.items()})
run.log({assigned: 1.0})
path = run.path.parent / f"{assigned}.pt"
path.write_text("weights")
run.log_model(path)
run.run_callbacks("on_pretrain_routine_end", facts=named)
for epoch in run.epochs(1):
    for batch in run.train(range(2)):
        run.log(loss=assigned)
run.close("failed", f"ValueError: {assigned}")
run.wait(60)
path.unlink()
"""


def leaks(short: bool, scale: float, seed: int) -> Iterator[Result]:
    """Yield one result: `lost` counts secrets that were found somewhere."""
    number = 3 if short else max(round(100 * scale), 20)
    note = (
        "names of parameters, texts, tables, tags, paths, reasons; keys of known shapes and of telling names"
    )
    yield tried(
        "Secrets", "random secrets in every call", _leaked, [seed * 1000 + n for n in range(number)], note
    )


def _secret(chance: random.Random) -> tuple[str, str]:
    """Return a secret, and the name that it has if its shape does not tell."""
    key = "".join(chance.choices(LETTERS, k=36))
    kinds = [
        (f"ghp_{key}", ""),
        (f"AKIA{''.join(chance.choices(string.ascii_uppercase + string.digits, k=16))}", ""),
        (f"sk-proj-{key}{key}", ""),
        (f"xoxb-{''.join(chance.choices(string.digits, k=12))}-{key[:24]}", ""),
        (
            key[:16],
            chance.choice(["password", "api_key", "db_password", "aws_secret_access_key", "auth_token"]),
        ),
        (f"hf_{key[:34]}", "hf_token"),
    ]
    return chance.choice(kinds)


def _leaked(seed: int) -> Found:
    secret, name = _secret(random.Random(seed))
    with place() as folder:
        given = json.dumps([str(folder / "runs"), secret, {"name": name}])
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], input=given, capture_output=True, text=True, check=False
        )
        if done.returncode:
            return Found(survived=False, why=done.stderr[-300:])
        held = [str(path.relative_to(folder)) for path in _holding(folder, secret)]
        held += ["the output"] * (secret in done.stdout + done.stderr)
        return Found(lost=len(held), why=f"{secret} ({name}) in {held}")


def _holding(folder: Path, secret: str) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if secret in path.name or (path.is_file() and secret.encode() in path.read_bytes()):
            yield path
