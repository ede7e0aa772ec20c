"""A run as somebody might make it to do harm to those who look at it or deliver it."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import msgspec

from trackhooks.event import Event, File, Graph, Histogram, Node, RunInfo, Table, Text
from trackhooks.storage.journal import Writer
from trackhooks.storage.run_folder import write_info
from trackhooks.testing.sample_runs import png

ESCAPE = "\x1b]0;owned\x07\x1b[2J\x1b[31m\x9b31m\r\n\u202eevil"
MARKUP = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'--><b>"
FORMULA = '=cmd|"/C calc"!A0'
CLIMBING = "../../../outside"
ABSOLUTE = "/tmp/../outside"
NUL = "a\0b"
LONG = "x" * 10_000
NAMES = (
    ESCAPE,
    MARKUP,
    FORMULA,
    CLIMBING,
    f"{CLIMBING}/",
    ABSOLUTE,
    NUL,
    LONG,
    "",
    "..",
    ".",
    "con",
    "a/../../b",
)


def hostile_run(folder: Path, outside: Path, **info: object) -> Path:
    """A finished run in this folder, whose every name and path is odd. `outside` is a file that it names."""
    folder.mkdir(parents=True)
    known = RunInfo(
        id="hostile", name=ESCAPE + MARKUP, project=ESCAPE + MARKUP, tags=[ESCAPE, MARKUP, ""], notes=MARKUP + ESCAPE,
        group=CLIMBING, created=1.7e9, ended=1.7e9 + 9, status="failed", reason=ESCAPE + MARKUP, trackers=["csv"],
        host=ESCAPE, environment={"program": ESCAPE, "git/commit": MARKUP, "git/dirty": True, "git/remote": ESCAPE},
        records=9,
    )  # fmt: skip
    known = msgspec.structs.replace(known, **info)
    write_info(folder, known)
    stat = outside.stat()
    files = [
        File(
            str(outside), kind, name, "png", (ESCAPE, MARKUP, "best"), MARKUP, stat.st_size, 1.0, 1, kept=kept
        )
        for kind in ("model", "image", "file", "export")
        for name in (MARKUP, CLIMBING, ESCAPE)
        for kept in ("", CLIMBING, str(outside), f"files/../../{outside.name}", "files", "files/" + NUL)
    ]
    files += [File(name, "file", name) for name in NAMES]
    media = [
        made
        for name in NAMES
        for made in (
            Text(name, MARKUP + ESCAPE),
            Table(name, [MARKUP, ESCAPE, MARKUP], [[FORMULA, ESCAPE, None], [1, True, 2.5]]),
            Histogram(name, [0.0, 1.0, 2.0], [1.0, 2.0]),
            Graph(name, [Node(name, MARKUP, [CLIMBING], {ESCAPE: MARKUP})]),
        )
    ]
    numbers = dict.fromkeys(NAMES, 0.5) | {"val/loss": 0.25}
    events = [
        Event("on_pretrain_routine_start", 0, 1.7e9, params=dict.fromkeys(NAMES, ESCAPE + MARKUP), run=known),
        Event("on_pretrain_routine_end", 1, 1.7e9, facts=dict.fromkeys(NAMES, MARKUP)),
        Event("on_train_batch_end", 2, 1.7e9 + 1, 0, 0, 0, metrics=numbers),
        Event("on_train_batch_end", 3, 1.7e9 + 2, 1, 0, 1, metrics=numbers),
        Event("on_fit_epoch_end", 4, 1.7e9 + 3, 1, 0, metrics=numbers, best={MARKUP: 0.5}),
        Event("on_fit_epoch_end", 5, 1.7e9 + 3, 3, 1, metrics=numbers),
        Event("on_model_save", 6, 1.7e9 + 4, 3, 1, files=files),
        Event("log", 7, 1.7e9 + 5, 3, 1, media=media),
        Event("teardown", 8, 1.7e9 + 6, 3, 1, status="failed", reason=ESCAPE + MARKUP),
    ]  # fmt: skip
    with closing(Writer(folder)) as writer:
        for event in events:
            writer.append(event)
    delivery = folder / "delivery"
    delivery.mkdir()
    (delivery / "evil.json").write_text(
        json.dumps(
            {
                "tracker": ESCAPE + MARKUP, "url": "javascript:alert(1)//" + ESCAPE, "error": ESCAPE,
                "not_held": {ESCAPE: 1}, "skipped": [1],
            }
        )
    )  # fmt: skip
    return folder


def picture(path: Path) -> Path:
    """A picture that belongs to somebody."""
    path.write_bytes(png(3, 2))
    return path
