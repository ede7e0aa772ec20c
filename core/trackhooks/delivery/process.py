"""The delivery process. A training process starts one with its first run, for all of its runs and those of its workers.

It is a new Python process, not a child of `multiprocessing`: it is not forked, and scripts do not need a `__main__`
guard. It reads its orders as lines of JSON from its standard input, so that options and secrets do not appear in an
argument list. It recognizes the end of the training process by its pid and creation time, because forked data loaders
keep pipes and locks open. It ends by itself.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import psutil

from ..errors import TrackhooksError, log
from ..errors.secrets import redact_text
from ..event import RunInfo
from ..storage.lost_runs import has_ended, whole_info
from ..storage.processes import created
from ..storage.summary_file import read_totals
from .cursor import FOLDER, Spec
from .feed import Feed
from .first_starts import first_starts
from .follower import Follower
from .hidden_imports import hide_unneeded
from .import_slots import user_slots
from .joining import Listener, listen
from .orders import Delivery, Order, Orders, import_path

_NICE = 10
_ALLOCATIONS = 50_000
"""How many new objects start a garbage collection. Python's 700 collect 700 times while a backend is imported, in vain:
12 to 20 % of its processor time."""
_PRIORITY_TRIES = 5
_WATCH_S = 0.2
_DETACH_S = 5.0
_KILLS_CHILDREN = "RAY_RAYLET_PID"
"""Set in the workers of Ray, which kills the process group and the children of a worker that has ended.

A process of another session survives this if its parent is not the worker.
"""

# Python's own modules come first, then what the training can import, in its order: a user's `platform.py` must not
# replace Python's.
_BOOTSTRAP = """\
import sys
import threading
path = list(sys.path)
import site
site.main()
sys.path[:] = dict.fromkeys([*path, *{path!r}, *sys.path])
from trackhooks.delivery.process import main
main({is_fresh})
"""
# The process continues in a child; itself, it only waits for the child, and then ends in the same way.
_DETACH = """\
import os
child = os.fork()
if child:
    os.close(0)
    os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


class DeliveryProcess(Delivery):
    """The training's side: starts the process and sends it orders.

    Args:
        output: the file for everything that the process prints.
        is_fresh: whether it is started because a tracker's client is stuck in this delivery process.

    Raises:
        OSError: the process cannot be started.
    """

    def __init__(self, output: Path, is_fresh: bool = False) -> None:
        hello = Order(os.getpid(), created(os.getpid()))
        output.parent.mkdir(parents=True, exist_ok=True)
        detaches = _KILLS_CHILDREN in os.environ and hasattr(os, "fork")
        program = _BOOTSTRAP.format(path=import_path(), is_fresh=is_fresh)
        with _opened(output) as log_file, contextlib.ExitStack() as passed:
            listening = None if is_fresh else listen()
            if listening is not None:
                hello.listening = passed.enter_context(listening).fileno()
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _DETACH + program if detaches else program],
                stdin=subprocess.PIPE,
                stdout=log_file,
                stderr=log_file,
                close_fds=True,
                pass_fds=() if listening is None else (hello.listening,),
                start_new_session=True,  # signals to the training's process group or terminal do not reach it
            )
        self.pid = self._process.pid
        self._send(hello)
        if detaches:
            self._wait_until_detached()

    def _wait_until_detached(self) -> None:
        until = time.monotonic() + _DETACH_S
        while self.running and not psutil.Process(self.pid).children() and time.monotonic() < until:
            time.sleep(0.01)

    @property
    def running(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    @property
    def gave_up(self) -> bool:
        """Whether the process ended by itself without an error. Another one would not achieve more."""
        return self._process.poll() == 0

    @property
    def how_it_ended(self) -> str:
        """How the process ended, in words; empty while it runs."""
        code = self._process.poll()
        if not code:
            return "" if code is None else "the delivery process gave up"
        how = f"was killed by signal {-code}" if code < 0 else f"failed with exit code {code}"
        return f"the delivery process {how}"

    def _write(self, line: bytes) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.write(line)
            self._process.stdin.flush()

    def close(self) -> None:
        """Announce that there will be no more runs."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def wait(self, timeout: float) -> bool:
        """Wait for the process to end. Returns False on timeout."""
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    def abandon(self) -> None:
        """Leave the process and its input to the parent; for a forked child."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            os.close(self._process.stdin.fileno())
        self._process.returncode = 0  # the child must not wait for it


def _opened(path: Path) -> IO[bytes]:
    """Open the log for the output of the process. Without a writable log, runs are still delivered."""
    try:
        return path.open("ab")
    except (IsADirectoryError, PermissionError):
        return open(os.devnull, "ab")  # noqa: PTH123


def why_impossible() -> str:
    """Return why no delivery process can be started here; empty if one can."""
    if getattr(sys, "frozen", False):
        return "a frozen executable cannot start another Python"
    if not sys.executable:
        return "this Python does not know the path of its executable"
    return ""


# The side of the delivery process


def main(is_fresh: bool) -> None:
    """Run the delivery process until the training has ended and everything is delivered.

    Args:
        is_fresh: whether it was started because a tracker's client is stuck in another one. It starts no further one.
    """
    _become_background()
    gc.set_threshold(_ALLOCATIONS)
    hide_unneeded()
    first_starts.take_turns_with_other_processes(user_slots())
    trainings = _Trainings(starts_fresh=not is_fresh)
    listener = Listener(trainings.serve)
    orders = Orders(sys.stdin.fileno())
    if orders.training.listening >= 0:
        listener.open(orders.training.listening)
    trainings.serve(orders)
    listener.close()
    gc.freeze()  # else the end of the interpreter searches all that was imported for garbage: 0.4 s with MLflow


class _Trainings:
    """The trainings whose runs this process delivers: the one that has started it, and the workers that have joined.

    Args:
        starts_fresh: whether trackers whose clients are stuck continue in new processes.
    """

    def __init__(self, starts_fresh: bool) -> None:
        self._starts_fresh = starts_fresh
        self._recording = 0
        self._mutex = threading.Lock()

    def serve(self, orders: Orders) -> None:
        """Deliver what a training orders until it has ended and everything is delivered."""
        fresh = _FreshProcesses()
        follower = Follower(if_stuck=fresh.deliver if self._starts_fresh else None)
        with self._in_background():
            for order in orders:
                _obey(order, follower)
            while orders.may_record and not all(map(has_ended, follower.runs)):
                time.sleep(_WATCH_S)  # the input of a killed process ends a moment before the process itself
            for path in follower.runs:
                _end(path, follower)
        fresh.no_more_runs.set()
        follower.join()
        follower.stop()

    @contextlib.contextmanager
    def _in_background(self) -> Iterator[None]:
        """Yield the processor as long as one of the trainings records."""
        with self._mutex:
            self._recording += 1
        try:
            yield
        finally:
            with self._mutex:
                self._recording -= 1
                if not self._recording:
                    _become_foreground()


class _FreshProcesses:
    """Delivers to trackers whose clients are stuck in this process: in one new process for each tracker."""

    def __init__(self) -> None:
        self.no_more_runs = threading.Event()
        """Set when the training has ended."""
        self._processes: dict[str, DeliveryProcess] = {}
        self._mutex = threading.Lock()

    def deliver(self, feed: Feed, spec: Spec) -> None:
        """Deliver the run of a feed. Returns when the training has ended and the new process as well."""
        try:
            process = self._process(feed.run, spec.name)
        except OSError as error:
            log.error("no new process can be started: %s", error, extra={"run": feed.run.path})
            return
        process.follow(feed.run, [spec], measures=False)
        while not feed.ending and process.running:
            time.sleep(_WATCH_S)
        process.end(feed.run)
        self.no_more_runs.wait()
        process.close()
        while not process.wait(_WATCH_S):
            pass

    def _process(self, run: RunInfo, tracker: str) -> DeliveryProcess:
        with self._mutex:
            known = self._processes.get(tracker)
            if known is None or not known.running or self.no_more_runs.is_set():
                log.warning("%s is stuck, and continues in a new process.", tracker, extra={"run": run.path})
                known = self._processes[tracker] = DeliveryProcess(Path(run.path, FOLDER, "log"), True)
            return known


def _obey(order: Order, follower: Follower) -> None:
    try:
        _follow_or_end(order, follower)
    except (TrackhooksError, OSError, RuntimeError) as error:  # other runs must still be delivered
        log.error("an order failed: %s", error)


def _follow_or_end(order: Order, follower: Follower) -> None:
    if order.follow:
        sys.path += [path for path in order.path if path not in sys.path]
        run = whole_info(order.follow)
        follower.follow(run, [(spec.make, spec, spec.every) for spec in order.specs], order.measures)
    if order.end:
        _end(order.end, follower)


def _end(run: str, follower: Follower) -> None:
    """End a run, and store its summary, so that a list of many runs does not have to read their journals."""
    follower.end(run)
    read_totals(run, ended=True)


def _become_background() -> None:
    """Ignore Ctrl-C and the end of a terminal, and yield the processor to the training."""
    _log_to_the_runs()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.nice(_NICE)
    _set_session_priority(_NICE)


def _set_session_priority(nice: int) -> None:
    """Set the nice value of this session: Linux weighs sessions equally, whatever the nice values of their processes.

    The kernel accepts one such change in 100 ms from users without privileges, of all processes together.
    """
    for _ in range(_PRIORITY_TRIES):
        try:
            Path("/proc/self/autogroup").write_text(str(nice))
        except BlockingIOError:
            time.sleep(random.uniform(0.1, 0.3))
        except OSError:  # another platform, or sessions are not weighed
            return
        else:
            return


def _log_to_the_runs() -> None:
    layout = _Layout("%(asctime)s %(threadName)s %(levelname)s %(message)s")
    output = logging.StreamHandler()
    output.addFilter(lambda record: not hasattr(record, "run"))
    output.setFormatter(layout)
    logging.basicConfig(level=logging.WARNING, handlers=[output])
    handler = _RunLog()
    handler.setFormatter(layout)
    logger = logging.getLogger("trackhooks")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


class _Layout(logging.Formatter):
    """Redacts secrets in every message and traceback, also in those of the backends' clients."""

    def format(self, record: logging.LogRecord) -> str:
        return redact_text(super().format(record))


class _RunLog(logging.Handler):
    """Writes messages about a run to the log of that run. The log of the first run also has the process's output."""

    def emit(self, record: logging.LogRecord) -> None:
        run = getattr(record, "run", None)
        if run is not None:
            with contextlib.suppress(OSError), Path(run, FOLDER, "log").open("a") as file:
                file.write(self.format(record) + "\n")


def _become_foreground() -> None:
    """Restore normal priority after the training. Without a privilege, only the priority of the session changes."""
    _set_session_priority(0)
    with contextlib.suppress(OSError, psutil.Error, AttributeError):
        for thread in psutil.Process().threads():
            os.setpriority(os.PRIO_PROCESS, thread.id, 0)
