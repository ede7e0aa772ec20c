"""`TransactionLog`: read W&B's own file of a run while W&B writes it, and wait for records.

`wandb-core`, a separate process, writes what was logged a moment later, and the exit record a moment after `finish` has
returned. This module waits for both, so that everything that counts as delivered is in the file. Records are written in
order, so it is enough to wait for the last one: a mark, which is a repeated definition of a metric.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

_HEADER = b":W&B"
_HEADER_SIZE = 7
_BLOCK = 32 * 1024
_FRAME = struct.Struct("<IHB")
"""CRC-32, length and kind of each piece of a record (LevelDB's log format). No piece crosses the end of a block."""
_FULL, _FIRST, _LAST = 1, 2, 4
_POLL_S, _PATIENCE_S = 0.01, 60.0
MARK = "step"
"""The metric whose definitions are counted as marks."""


class TransactionLog:
    """Read `run-<id>.wandb`.

    Raises:
        OSError: from `read`, if the file cannot be read, or was not written by W&B.
    """

    def __init__(self, path: Path) -> None:
        self.step = -1
        """The `_step` of the last row."""
        self.marks = 0
        self.exited = False
        """Whether the exit record was read."""
        self._path = path
        self._offset = _HEADER_SIZE
        self._record = b""

    def read(self) -> None:
        """Read the complete pieces that were written since the last call."""
        if self._path.exists():
            for kind, piece in self._pieces(self._read_rest()):
                self._add(kind, piece)

    def _read_rest(self) -> memoryview:
        with self._path.open("rb") as file:
            if not _HEADER.startswith(file.read(len(_HEADER))):
                raise OSError(f"{self._path} is not a transaction log of W&B.")
            file.seek(self._offset)
            return memoryview(file.read())

    def _pieces(self, data: memoryview) -> Iterator[tuple[int, bytes]]:
        """Yield kind and content of each complete piece, and move the offset past it."""
        start = self._offset
        while True:
            self._offset += self._padding()
            piece = data[self._offset - start :]
            if len(piece) < _FRAME.size:
                return
            _, size, kind = _FRAME.unpack_from(piece)
            if not kind or len(piece) < _FRAME.size + size:
                return
            yield kind, bytes(piece[_FRAME.size : _FRAME.size + size])
            self._offset += _FRAME.size + size

    def _padding(self) -> int:
        left = _BLOCK - self._offset % _BLOCK
        return left if left < _FRAME.size else 0

    def _add(self, kind: int, piece: bytes) -> None:
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
        """Call `send`, which logs a mark, and wait until the mark is in the file.

        Raises:
            TimeoutError: W&B did not write it within a minute.
        """
        self.read()
        wanted = self.marks + 1
        send()
        self._wait(lambda: self.marks >= wanted)

    def wait_for_exit(self) -> None:
        """Wait until the exit record is in the file.

        Raises:
            TimeoutError: W&B did not write it within a minute.
        """
        self._wait(lambda: self.exited)

    def _wait(self, reached: Callable[[], bool]) -> None:
        until = time.monotonic() + _PATIENCE_S
        while True:
            self.read()
            if reached():
                return
            if time.monotonic() > until:
                raise TimeoutError(f"W&B has not written to {self._path} what was logged a minute ago.")
            time.sleep(_POLL_S)
