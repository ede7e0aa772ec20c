"""The orders of a training to the process that delivers its runs: lines of JSON, on a pipe or a socket."""

from __future__ import annotations

import os
import select
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import msgspec

from ..event import RunInfo
from ..storage.processes import is_alive
from .cursor import Spec

_WATCH_S = 0.2
_CHUNK = 1 << 16


class Order(msgspec.Struct, omit_defaults=True):
    """One line."""

    parent: int = 0
    """The pid of the training. Only in the first line."""
    parent_created: float = 0.0
    listening: int = -1
    """The descriptor of the socket at which processes of the training can join its delivery; -1 if they cannot."""
    follow: str = ""
    """The folder of a run to deliver."""
    specs: list[Spec] = []
    measures: bool = True
    """Whether to record system metrics of the run's process."""
    path: list[str] = []
    """The import path of the training, which may have grown since the process was started."""
    end: str = ""
    """The folder of a run to which nothing more will be written."""


_DECODER = msgspec.json.Decoder(Order)


class Delivery(ABC):
    """The training's side: the process that delivers its runs, and that takes its orders."""

    def follow(self, run: RunInfo, specs: Sequence[Spec], measures: bool = True) -> None:
        """Order the process to deliver a run, and to measure its process."""
        self._send(Order(follow=run.path, specs=list(specs), measures=measures, path=import_path()))

    def end(self, run: RunInfo) -> None:
        """Announce that nothing more will be written to the journal of a run."""
        self._send(Order(end=run.path))

    def _send(self, order: Order) -> None:
        self._write(msgspec.json.encode(order) + b"\n")

    @abstractmethod
    def _write(self, line: bytes) -> None:
        """Send a line. Does nothing if the process has ended; `running` shows that."""

    @property
    @abstractmethod
    def running(self) -> bool:
        """Whether the process takes orders."""

    @property
    @abstractmethod
    def gave_up(self) -> bool:
        """Whether the process ended by itself without an error. Another one would not achieve more."""

    @property
    @abstractmethod
    def how_it_ended(self) -> str:
        """How the process ended, in words; empty while it runs."""

    @abstractmethod
    def close(self) -> None:
        """Announce that there will be no more runs."""

    @abstractmethod
    def wait(self, timeout: float) -> bool:
        """Wait until the process has delivered all runs, or has ended. Returns False on timeout."""

    @abstractmethod
    def abandon(self) -> None:
        """Leave the process to the parent; for a forked child."""


def import_path() -> list[str]:
    """Return the import path of this process, with the script's folder moved to the end.

    A file next to the script, such as a `wandb.py`, must not replace a package.
    """
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    beside = {"", os.path.dirname(os.path.realpath(script)) if script else ""}  # noqa: PTH120 — as sys.path has it
    return sorted(sys.path, key=lambda path: path in beside)


class Orders:
    """The delivering side: the orders of one training, read from a file descriptor, until it ends.

    A process that the training has forked may hold the descriptor open. So the orders also end when the training has
    died and nothing is left to be read.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines = self._read_lines()
        self.training = Order()
        """The first order, which says whose orders these are."""
        self.training = next(self._lines, self.training)

    def __iter__(self) -> Iterator[Order]:
        return self._lines

    @property
    def may_record(self) -> bool:
        """Whether the training is alive."""
        return is_alive(self.training.parent, self.training.parent_created)

    def _read_lines(self) -> Iterator[Order]:
        rest = b""
        while data := self._read():
            *lines, rest = (rest + data).split(b"\n")
            yield from map(_DECODER.decode, lines)

    def _read(self) -> bytes:
        while not has_input(self._descriptor, _WATCH_S):
            # In this order, what the training wrote before it died is read.
            if self.training.parent and not self.may_record and not has_input(self._descriptor, 0):
                return b""
        try:
            return os.read(self._descriptor, _CHUNK)
        except ConnectionError:  # a socket of a training that was killed
            return b""


def has_input(descriptor: int, timeout: float) -> bool:
    """Whether it can be read, or has ended. On Windows, reading waits, and no other process holds it open."""
    if not hasattr(select, "poll"):
        return True
    poll = select.poll()  # unlike select, it takes any number of open files
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(1000 * timeout))
