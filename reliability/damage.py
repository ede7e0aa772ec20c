"""Damaged files of a run's folder: bytes that are flipped, removed, repeated or lost, a thousand times each."""

from __future__ import annotations

import contextlib
import logging
import random
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from journal_checks import check

import trackhooks
from trackhooks.delivery.catch_up import deliver
from trackhooks.errors import TrackhooksError, TrackhooksWarning
from trackhooks.reading import points_file
from trackhooks.reading.points import points
from trackhooks.storage import journal
from trackhooks.storage.run_folder import read_info

from .result import Found, Result, measured
from .runs import place

EACH = 1000
STEPS = 40
Check = Callable[["Sample", Path], Found]


class Sample(NamedTuple):
    """A delivered run, and what is in it."""

    path: Path
    events: list[str]
    rows: bytes


def damage(short: bool, scale: float, seed: int) -> Iterator[Result]:
    """Yield a result for each file."""
    number = 30 if short else max(round(EACH * scale), 10)
    logging.getLogger("trackhooks").setLevel(logging.CRITICAL)
    with place() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", TrackhooksWarning)
        sample = _sample(folder / "runs")
        kinds: list[tuple[str, str, Check]] = [
            ("the journal", "journal", _journal), ("`run.json`", "run.json", _delivered),
            ("the cursor of a delivery", "delivery/csv.json", _delivered),
            ("the list of kept files", "delivery/files.json", _delivered), ("the summary", "summary", _read),
            ("`points.npz`", "points.npz", _read),
        ]  # fmt: skip
        for what, name, test in kinds:
            with measured("Bad input", f"damage to {what}") as result:
                for n in range(number):
                    result.add(_tried(sample, name, test, random.Random(seed * 100_000 + n), folder / "copy"))
            yield result


def _sample(home: Path) -> Sample:
    """Record and deliver a run, and read it once, so that it has all files that a run may have."""
    for part in range(2):  # the first is delivered, and the second is not
        resumed = {"resume": home / "r"} if part else {"name": "r", "params": {"lr": 0.5}}
        with trackhooks.run("csv", dir=home, delivery="off", system=None, **resumed) as run:
            for epoch in run.epochs(2 * part + 2):
                for batch in run.train(range(STEPS // 4)):
                    run.log(loss=epoch * 10.0 + batch)
                model = home / "last.pt"
                model.write_text(f"weights {epoch}")
                run.log_model(model, aliases=["last"])
        if not part:
            _deliver(run.path)
    shutil.copytree(home, home.with_name("whole"))
    _deliver(home.with_name("whole") / "r")
    rows = (home.with_name("whole") / "r" / "batches.csv").read_bytes()
    trackhooks.runs(home)
    smallest, points_file._SMALLEST = points_file._SMALLEST, 0
    points(run.path, lambda _: True)
    points_file._SMALLEST = smallest
    events = [repr(event) for event in journal.read(run.path)]
    return Sample(run.path, events, rows)


def _deliver(run: Path) -> None:
    failed = deliver(run)
    if failed:
        raise RuntimeError(failed)


def _tried(sample: Sample, name: str, test: Check, chance: random.Random, copy: Path) -> Found:
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(sample.path, copy / "r")
    path = copy / "r" / name
    if not path.exists():
        return Found(survived=False, why=f"{name} is missing")
    how = chance.choice(sorted(MUTATIONS))
    path.write_bytes(MUTATIONS[how](path.read_bytes(), chance))
    try:
        found = test(sample, copy / "r")
    except TrackhooksError as error:
        return Found(survived=False, why=f"{how}: {error}")
    except Exception as error:  # noqa: BLE001 — any other error is what this looks for
        return Found(survived=False, wrong=1, why=f"{how}: {type(error).__name__}: {error}")
    found.why = f"{how}: {found.why}"
    return found


def _journal(sample: Sample, run: Path) -> Found:
    """Every record that the damage did not touch is read, and the run can be listed, continued and delivered."""
    path = run / "journal"
    data, before = path.read_bytes(), (sample.path / "journal").read_bytes()
    if data[:16] != before[:16] and len(data) >= 16:  # the header: the file is refused, and stays
        with contextlib.suppress(TrackhooksError):
            check(run, data)
        return Found()
    untouched = _untouched(before, data, sample)
    read = {repr(event) for event in journal.read(run)}
    found = Found(lost=len(untouched - read), wrong=len(read - set(sample.events)))
    check(run, data)
    path.write_bytes(data)
    deliver(run)
    trackhooks.runs(run.parent)
    return found


def _untouched(before: bytes, after: bytes, sample: Sample) -> set[str]:
    """The records whose bytes are there still."""
    ends = []
    with journal.Reader(sample.path) as reader:
        for _ in reader:
            ends.append(reader.offset)
    starts = [16, *ends[:-1]]
    places = zip(starts, ends, sample.events, strict=True)
    return {event for start, end, event in places if before[start:end] in after}


def _delivered(sample: Sample, run: Path) -> Found:
    """The run can be delivered: every row is there once, and its name and status are right or rebuilt."""
    trackhooks.runs(run.parent)
    failed = deliver(run)
    rows, expected = (run / "batches.csv").read_bytes().splitlines(), sample.rows.splitlines()
    found = Found(
        survived=not failed,
        lost=len(set(expected) - set(rows)),
        doubled=len(rows) - len(set(rows)),
        wrong=read_info(run).status != "finished",
    )
    found.why = f"{failed} {len(rows)} rows, {read_info(run).status}"
    return found


def _read(sample: Sample, run: Path) -> Found:
    """The run is read as before."""
    (known,), (found,) = trackhooks.runs(sample.path.parent), trackhooks.runs(run.parent)
    same = repr(known.metrics) == repr(found.metrics) and known.params == found.params
    history = trackhooks.history(run)["train_batch/loss"]
    lost = len(trackhooks.history(sample.path)["train_batch/loss"]) - len(history)
    return Found(lost=max(lost, 0), wrong=not same, why=f"{found.metrics}")


def _at(data: bytes, chance: random.Random) -> int:
    return chance.randrange(max(len(data), 1))


def _part(data: bytes, chance: random.Random) -> tuple[int, int]:
    start = _at(data, chance)
    return start, min(start + chance.randrange(1, 200), len(data))


def _flip(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.randrange(1, 4)):
        changed[_at(data, chance)] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _zero(data: bytes, chance: random.Random) -> bytes:
    start, end = _part(data, chance)
    return data[:start] + bytes(end - start) + data[end:]


def _remove(data: bytes, chance: random.Random) -> bytes:
    start, end = _part(data, chance)
    return data[:start] + data[end:]


def _repeat(data: bytes, chance: random.Random) -> bytes:
    start, end = _part(data, chance)
    return data[:end] + data[start:]


def _noise(data: bytes, chance: random.Random) -> bytes:
    start, end = _part(data, chance)
    return data[:start] + chance.randbytes(end - start) + data[end:]


MUTATIONS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "flipped": _flip,
    "cut off": lambda data, chance: data[: _at(data, chance)],
    "zeros": _zero,
    "removed": _remove,
    "repeated": _repeat,
    "noise": _noise,
}
