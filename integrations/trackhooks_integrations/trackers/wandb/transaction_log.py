"""`TransactionLog`: what W&B has written of a run, read from its own file as it grows.

`wandb-core`, which is a process of its own, writes what was logged a moment later, and the exit record a moment after
`finish` has returned. Both are waited for here, so that what counts as delivered is in the file. Records stand in it in
their order, so it is enough to wait for the last: a mark, which is a definition of a metric said once more.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from pathlib import Path

_HEADER = b":W&B"
_HEADER_SIZE = 7
_BLOCK = 32 * 1024
_FRAME = struct.Struct("<IHB")
"""crc32, length, kind of each piece of a record (LevelDB's log format); no piece crosses the end of a block."""
_FULL, _FIRST, _LAST = 1, 2, 4
_POLL_S, _PATIENCE_S = 0.01, 60.0
MARK = "step"
"""The metric whose definitions are counted as marks."""


class TransactionLog:
    """Reads `run-<id>.wandb`.

    Raises:
        OSError: from `read`, where the file cannot be read, or is none of W&B's.
    """

    def __init__(self, path: Path) -> None:
        self.step = -1
        """The last row's `_step`."""
        self.marks = 0
        self.exited = False
        """Whether the exit record is there."""
        self._path = path
        self._offset = _HEADER_SIZE
        self._record = b""

    def read(self) -> None:
        """Takes the whole pieces that were written since."""
        if not self._path.exists():
            return  # not made yet
        with self._path.open("rb") as file:
            if not _HEADER.startswith(file.read(len(_HEADER))):
                raise OSError(f"{self._path} is no transaction log of W&B.")
            file.seek(self._offset)
            data = memoryview(file.read())
        start = self._offset
        while True:
            self._offset += self._padding()
            piece = data[self._offset - start :]
            if len(piece) < _FRAME.size:
                return
            _, size, kind = _FRAME.unpack_from(piece)
            if not kind or len(piece) < _FRAME.size + size:
                return
            self._take(kind, bytes(piece[_FRAME.size : _FRAME.size + size]))
            self._offset += _FRAME.size + size

    def _padding(self) -> int:
        left = _BLOCK - self._offset % _BLOCK
        return left if left < _FRAME.size else 0

    def _take(self, kind: int, piece: bytes) -> None:
        from wandb.proto.wandb_internal_pb2 import Record

        self._record = piece if kind in (_FULL, _FIRST) else self._record + piece
        if kind not in (_FULL, _LAST):
            return
        record = Record.FromString(self._record)
        if record.HasField("history"):
            self.step = max(self.step, record.history.step.num)
        self.marks += record.HasField("metric") and record.metric.name == MARK
        self.exited = self.exited or record.HasField("exit")

    def wait_for_mark(self, send: Callable[[], object]) -> None:
        """Has a mark sent, and waits until it is there.

        Raises:
            TimeoutError: it took longer than a minute.
        """
        self.read()
        wanted = self.marks + 1
        send()
        self._wait(lambda: self.marks >= wanted)

    def wait_for_exit(self) -> None:
        """Waits until the exit record is there.

        Raises:
            TimeoutError: it took longer than a minute.
        """
        self._wait(lambda: self.exited)

    def _wait(self, reached: Callable[[], bool]) -> None:
        until = time.monotonic() + _PATIENCE_S
        while True:
            self.read()
            if reached():
                return
            if time.monotonic() > until:
                raise TimeoutError(f"W&B has not written to {self._path} what it was given a minute ago.")
            time.sleep(_POLL_S)
