"""Prepare the SQLite file of an MLflow store, next to other clients that may create it at the same time.

MLflow creates its tables in many steps. It cannot continue a database that a killed process left unfinished, and it
fails if another client takes the same steps at the same time. So a new database is built under another name, and takes
its place only when it is complete and only if the place is still free. A database of another client is never replaced.
"""

from __future__ import annotations

import os
import re
import sqlite3
import time
import uuid
from contextlib import closing, suppress
from pathlib import Path

from .client import connect

SQLITE = "sqlite:///"
_SIDE_FILES = ("-journal", "-wal", "-shm")
"""The endings of the files that SQLite keeps next to an open database."""
_PATIENCE_S = 20.0
"""How long an unfinished database may stay unchanged before its client is considered dead."""
_POLL_S = 0.1
_ROWS = "SELECT rowid, key LIKE ? FROM latest_metrics WHERE run_uuid = ? ORDER BY rowid"


def prepare(path: Path) -> None:
    """Create the database if it does not exist; wait for another client that is creating it.

    Raises:
        FileExistsError: the database is gone, but SQLite's files next to it are not.
        OSError: the folder cannot be written.
    """
    path = Path(os.path.realpath(path))
    if not path.exists():
        _refuse_side_files(path)
        _place(_build(path), path)
    _wait_until_complete(path)
    if _is_empty(path):
        _fill(_build(path), path)


def show_first(path: Path, run_id: str, kind: str) -> None:
    """Put the metrics whose names begin with `kind` before all others of a run: MLflow's pages open on the first.

    SQLite returns rows in the order of their numbers, which MLflow does not use. Only these numbers are changed.
    """
    with suppress(sqlite3.OperationalError), closing(_opened(path)) as database:  # busy, or of a later MLflow
        database.execute("BEGIN IMMEDIATE")
        rows = database.execute(_ROWS, (f"{kind}%", run_id)).fetchall()
        if _is_mixed([is_first for _, is_first in rows]):
            (last,) = database.execute("SELECT max(rowid) FROM latest_metrics").fetchone()
            others = [row for row, is_first in rows if not is_first]
            moved = ((last + place, row) for place, row in enumerate(others, 1))
            database.executemany("UPDATE latest_metrics SET rowid = ? WHERE rowid = ?", moved)
        database.execute("COMMIT")


def _is_mixed(are_first: list[int]) -> bool:
    """Return whether one that belongs to the first comes after one that does not."""
    return are_first != sorted(are_first, reverse=True)


def _refuse_side_files(path: Path) -> None:
    """Refuse files that an earlier database left: SQLite would apply a journal to the new database, or delete it."""
    for side_file in (Path(f"{path}{ending}") for ending in _SIDE_FILES):
        if side_file.exists() and not path.exists():
            raise FileExistsError(
                f"{side_file} belongs to a database that no longer exists. To deliver the run, move the file"
                " to another folder."
            )


def _build(path: Path) -> Path:
    """Build a database with MLflow's tables next to `path`; remove the remains of one that a killed process left."""
    ours = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{32}}\.new({'|'.join(_SIDE_FILES)})?")
    for found in path.parent.iterdir():
        if ours.fullmatch(found.name):
            found.unlink(missing_ok=True)
    new = path.with_name(f".{path.name}.{uuid.uuid4().hex}.new")
    connect(f"{SQLITE}{new}").search_experiments(max_results=1)
    return new


def _place(new: Path, path: Path) -> None:
    """Move `new` to `path`, unless a file exists there by now: that belongs to another client and is used as it is."""
    try:
        os.link(new, path)  # unlike a rename, it fails if the file exists
    except FileExistsError:
        pass
    except OSError:  # a file system without hard links
        _place_without_links(new, path)
        return
    new.unlink()


def _place_without_links(new: Path, path: Path) -> None:
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644))
    except FileExistsError:
        new.unlink()
    else:
        _fill(new, path)


def _fill(new: Path, path: Path) -> None:
    """Copy the tables of `new` into an empty database, in one transaction, and remove `new`.

    A database that another client has started to fill in the meantime is not changed.
    """
    with closing(sqlite3.connect(new)) as source, closing(_opened(path)) as target:
        target.execute("BEGIN EXCLUSIVE")
        if not _tables(target):
            for statement in source.iterdump():
                if statement not in ("BEGIN TRANSACTION;", "COMMIT;"):
                    target.execute(statement)
        target.execute("COMMIT")
    new.unlink()


def _opened(path: Path) -> sqlite3.Connection:
    """Connect to the database, without creating the file."""
    return sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=20)


def _tables(database: sqlite3.Connection) -> set[str]:
    return {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _wait_until_complete(path: Path) -> None:
    """Wait as long as an unfinished database changes, and `_PATIENCE_S` longer."""
    seen, since = _traces(path), time.monotonic()
    while not _is_complete(path) and time.monotonic() - since < _PATIENCE_S:
        time.sleep(_POLL_S)
        now = _traces(path)
        if now != seen:
            seen, since = now, time.monotonic()


def _is_complete(path: Path) -> bool:
    """Return whether the database is complete: an MLflow client adds the first experiment after all tables.

    A file that is not a database counts as complete, and MLflow reports it.
    """
    try:
        with closing(_opened(path)) as database:
            return database.execute("SELECT 1 FROM experiments LIMIT 1").fetchone() is not None
    except sqlite3.OperationalError:  # no such table, or locked
        return False
    except sqlite3.DatabaseError:
        return True


def _is_empty(path: Path) -> bool:
    try:
        with closing(_opened(path)) as database:
            return not _tables(database)
    except sqlite3.DatabaseError:
        return False


def _traces(path: Path) -> list[tuple[int, int] | None]:
    """Return the size and time of the database and of SQLite's files next to it."""
    return [_trace(Path(f"{path}{ending}")) for ending in ("", *_SIDE_FILES)]


def _trace(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns
