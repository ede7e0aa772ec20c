"""A server of MLflow that is absent, killed, hangs, or answers wrongly: nothing is lost or doubled afterwards."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from mlflow_server import ANSWERS, FaultyRelay, LossyRelay, Server

from trackhooks.delivery.catch_up import deliver
from trackhooks.delivery.cursor import Spec

from .result import Found, Result, measured
from .runs import Training, audit, new_store, place

EACH, FEW = 5, 3
"""How many trials; few of those that wait for the start of a server, or for a request that hangs."""
_MOST_ATTEMPTS = 60
_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "2", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
}  # fmt: skip


def outages(short: bool, scale: float, seed: int) -> Iterator[Result]:
    """Yield a result of each kind. The short form has one trial of two kinds: starting a server takes ten seconds."""
    os.environ |= _SETTINGS
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="reliability-", ignore_cleanup_errors=True) as folder:
        new_store(Path(folder))
        shutil.move(Path(folder, "mlflow.db"), Path(folder, "tables.db"))
        server = Server(Path(folder), Path(folder, "tables.db"))
        try:
            yield from _some(server, chance) if short else _all(server, chance)
        finally:
            server.stop()


def _all(server: Server, chance: random.Random) -> Iterator[Result]:
    yield _tried("the server is absent, and started later", server, lambda run: _absent(server, run), FEW)
    yield _tried(
        "the server is killed, and started again", server, lambda run: _killed(server, run, chance), FEW
    )
    for kind in ("hanging", *ANSWERS):
        again = partial(_faulty, server, kind, chance)
        number = FEW if kind == "hanging" else EACH
        yield _tried(f"one request of three, for some time: {kind}", server, again, number)
    yield _tried("the first answer to each kind of request is lost", server, partial(_lossy, server), EACH)


def _some(server: Server, chance: random.Random) -> Iterator[Result]:
    yield _tried("the first answer to each kind of request is lost", server, partial(_lossy, server), 1)
    yield _tried(
        "the server is killed, and started again", server, lambda run: _killed(server, run, chance), 1
    )


@contextmanager
def _relay(relay: FaultyRelay | LossyRelay) -> Iterator[str]:
    try:
        yield relay.uri
    finally:
        relay.shutdown()
        relay.server_close()


def _tried(kind: str, server: Server, trial: Callable[[Path], str], number: int) -> Result:
    with measured("Outage", f"MLflow: {kind}") as result:
        for _ in range(number):
            with place() as folder:
                training = Training(folder, {"csv": {}}, delivery="off", epochs=2, batches=10, pause_s=0)
                training.wait()
                failed = trial(training.path)
                trackers = {"mlflow": {"tracking_uri": server.uri}}
                found = (
                    Found(survived=False, why=failed)
                    if failed
                    else audit(training.path, trackers, 20, "finished")
                )
                result.add(found)
    return result


def _once(run: Path, uri: str) -> str:
    return deliver(run, [Spec("mlflow", {"tracking_uri": uri}, every=1)]).get("mlflow", "")


def _again(run: Path, uri: str) -> str:
    """Deliver until it succeeds, as the delivery process does. Returns the last error if that is never."""
    for _ in range(_MOST_ATTEMPTS):
        failed = _once(run, uri)
        if not failed:
            return ""
    return f"still after {_MOST_ATTEMPTS} attempts: {failed}"


def _faulty(server: Server, kind: str, chance: random.Random, run: Path) -> str:
    with _relay(FaultyRelay(server, kind, every=3, first=chance.randrange(3))) as uri:
        return _again(run, uri)


def _lossy(server: Server, run: Path) -> str:
    with _relay(LossyRelay(server)) as uri:
        return _again(run, uri)


def _absent(server: Server, run: Path) -> str:
    server.stop()
    failed = _once(run, server.uri)
    server.start()
    return _again(run, server.uri) if failed else "a server that is absent took the run"


def _killed(server: Server, run: Path, chance: random.Random) -> str:
    timer = threading.Timer(chance.uniform(0.02, 0.5), server.stop)
    timer.start()
    _once(run, server.uri)
    timer.join()
    server.start()
    return _again(run, server.uri)
