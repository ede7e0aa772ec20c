"""A disk that becomes full, a limit on the size of files, and no more file descriptors: the training continues."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trackhooks.reading.summary import summarize

from .result import Found, Result, tried
from .runs import Training, audit, light, place, sync

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_ROOM = 32 << 20


def scarce(short: bool, scale: float, seed: int) -> Iterator[Result]:
    """Yield a result of each kind."""
    number = 2 if short else 20
    seeds = [seed * 1000 + n for n in range(number)]
    if _can_mount():
        yield tried(
            "Bad input", "a full disk", _full_disk, seeds, "a file system of 64 to 256 KiB, with room later"
        )
    else:
        yield Result("Bad input", "a full disk", note="no small file system can be mounted here")
    if resource is not None and hasattr(resource, "prlimit"):
        yield tried("Bad input", "a limit on the size of files", _file_size, seeds)
        yield tried("Bad input", "no more file descriptors", _descriptors, seeds)


@contextmanager
def _disk(folder: Path, kib: int) -> Iterator[Path]:
    path = folder / "runs"
    path.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(path)], check=True, capture_output=True
    )
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def _can_mount() -> bool:
    try:
        with place() as folder, _disk(folder, 64):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


def _full_disk(seed: int) -> Found:
    chance = random.Random(seed)
    with place() as folder, _disk(folder, chance.randrange(64, 256)) as disk:
        training = Training(folder, light(), delivery="off", epochs=4, batches=1500, pause_s=0)
        code = training.wait()
        if code:
            return Found(survived=False, why=f"the training ended with {code}")
        subprocess.run(["mount", "-o", f"remount,size={_ROOM}", str(disk)], check=True)
        return _delivered(training)


def _file_size(seed: int) -> Found:
    chance = random.Random(seed)
    with place() as folder:
        training = Training(folder, light(), delivery="off", epochs=4, batches=500, pause_s=0)
        training.wait_until_open()
        most = chance.randrange(8_000, 120_000)
        resource.prlimit(training.process.pid, resource.RLIMIT_FSIZE, (most, most))
        code = training.wait()
        if code:
            return Found(survived=False, why=f"the training ended with {code}")
        return _delivered(training)


def _descriptors(seed: int) -> Found:
    chance = random.Random(seed)
    with place() as folder:
        training = Training(folder, light(), delivery="off", batches=200, model=False)
        training.wait_until_open()
        time.sleep(chance.uniform(0, 0.3))
        resource.prlimit(training.process.pid, resource.RLIMIT_NOFILE, (3, 3))  # fewer than are open
        code = training.wait()
        if code:
            return Found(survived=False, why=f"the training ended with {code}")
        return _delivered(training)


def _delivered(training: Training) -> Found:
    """Deliver what was recorded. Records that found no room are lost, which must be reported."""
    failed = sync(training.path)
    journal = summarize(training.path).journal
    if failed and not journal.missing:
        return Found(survived=False, why=failed)
    return audit(training.path, light(), training.acknowledged() - journal.missing, "finished")
