"""A real MLflow server, for the tests of those who deliver to one."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import socketserver
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path


def make_tables(folder: Path) -> None:
    """Make `mlflow.db` with the tables of MLflow in `folder`."""
    from mlflow import MlflowClient

    MlflowClient(f"sqlite:///{folder}/mlflow.db").search_experiments(max_results=1)


class Server:
    """A real `mlflow server` on a free port of this machine.

    Args:
        folder: its files.
        tables: a SQLite file to start with.
        store: the URI of its database, instead of a SQLite file.
    """

    def __init__(self, folder: Path, tables: Path | None = None, store: str = "") -> None:
        self._store = store or f"sqlite:///{folder}/server.db"
        if tables:
            shutil.copyfile(tables, folder / "server.db")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self.folder = folder
        self.start()

    def start(self) -> None:
        command = [
            sys.executable, "-m", "mlflow", "server", "--port", str(self.port), "--workers", "1",
            "--backend-store-uri", self._store,
            "--artifacts-destination", str(self.folder / "artifacts"),
        ]  # fmt: skip
        log = (self.folder / "log").open("ab")
        # Without its runner of jobs, which are of no use here: eight more processes that import all of MLflow.
        environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        self.process = subprocess.Popen(
            command, cwd=self.folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        log.close()
        until = time.monotonic() + 300
        while self.process.poll() is None and time.monotonic() < until:
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=2).close()
            except OSError:
                time.sleep(0.2)
            else:
                return
        self.stop()
        raise TimeoutError((self.folder / "log").read_text()[-2000:])

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):  # it could not start
            os.killpg(self.process.pid, 9)
        self.process.wait()


class SlowRelay(socketserver.ThreadingTCPServer):
    """In front of a server: what it answers to an upload comes so many seconds late, as from one that stores slowly."""

    daemon_threads = True

    def __init__(self, server: Server, seconds: float) -> None:
        super().__init__(("127.0.0.1", 0), _Relayed)
        self.behind, self.seconds = server.port, seconds
        self.uri = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Relayed(socketserver.BaseRequestHandler):
    server: SlowRelay

    def handle(self) -> None:
        self.uploads = False
        with socket.create_connection(("127.0.0.1", self.server.behind)) as behind:
            threading.Thread(target=self._ask, args=(behind,), daemon=True).start()
            while answer := behind.recv(1 << 16):
                time.sleep(self.server.seconds if self.uploads else 0)
                self.uploads = False
                self.request.sendall(answer)

    def _ask(self, behind: socket.socket) -> None:
        while asked := self.request.recv(1 << 16):
            self.uploads = self.uploads or asked.startswith(b"PUT ")
            behind.sendall(asked)


class LateRelay(socketserver.ThreadingTCPServer):
    """In front of a server: the first request of a kind is held back for so many seconds."""

    daemon_threads = True

    def __init__(self, server: Server, kind: bytes, seconds: float) -> None:
        super().__init__(("127.0.0.1", 0), _Late)
        self.behind, self.kinds, self.seconds = server.port, [kind], seconds
        self.passed = threading.Event()
        """Set when the late request has got its answer."""
        self.uri = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Late(socketserver.BaseRequestHandler):
    server: LateRelay

    def handle(self) -> None:
        self.is_late = False
        with socket.create_connection(("127.0.0.1", self.server.behind)) as behind:
            threading.Thread(target=self._ask, args=(behind,), daemon=True).start()
            while answer := behind.recv(1 << 16):
                if self.is_late:
                    self.server.passed.set()
                    return
                self.request.sendall(answer)

    def _ask(self, behind: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while asked := self.request.recv(1 << 16):
                if any(kind in asked for kind in self.server.kinds):
                    self.server.kinds.clear()
                    self.is_late = True
                    time.sleep(self.server.seconds)
                behind.sendall(asked)


class LossyRelay(socketserver.ThreadingTCPServer):
    """In front of a server: it gets every request, but its first answer to each kind of request is lost."""

    daemon_threads = True

    def __init__(self, server: Server) -> None:
        super().__init__(("127.0.0.1", 0), _Losing)
        self.behind, self.lost = server.port, set[str]()
        self.uri = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def is_lost(self, request: str) -> bool:
        kind = re.sub(r"\?.*|m-[0-9a-f]{32}|[0-9a-f]{32}", "", request)
        is_new = kind not in self.lost
        self.lost.add(kind)
        return is_new


class _Losing(socketserver.BaseRequestHandler):
    server: LossyRelay

    def handle(self) -> None:
        self.request_line = ""
        with socket.create_connection(("127.0.0.1", self.server.behind)) as behind:
            threading.Thread(target=self._ask, args=(behind,), daemon=True).start()
            while answer := behind.recv(1 << 16):
                line, self.request_line = self.request_line, ""
                if line and self.server.is_lost(line):
                    break
                self.request.sendall(answer)
        self.request.shutdown(socket.SHUT_RDWR)

    def _ask(self, behind: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the connection was closed instead of an answer
            while asked := self.request.recv(1 << 16):
                if start := re.match(rb"[A-Z]+ \S+ HTTP/1", asked):
                    self.request_line = start[0].decode()
                behind.sendall(asked)


ANSWERS = {
    "500": b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    "429 with Retry-After": b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\n"
    b"Connection: close\r\n\r\n",
    "HTML with status 200": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 13\r\n"
    b"Connection: close\r\n\r\n<html></html>",
    "a dropped connection": b"",
}
"""What a `FaultyRelay` answers. It hangs if the kind is not one of them."""
MOST_FAULTS = 8


class FaultyRelay(socketserver.ThreadingTCPServer):
    """In front of a server: every so many requests, one is answered with a fault instead, and does not reach it.

    It recovers after some faults.

    Args:
        server: the server.
        kind: one of `ANSWERS`, or `hanging`.
        every: how many requests; the first fault is the request number `first`.
        first: counted from 0.
    """

    daemon_threads = True

    def __init__(self, server: Server, kind: str, every: int = 3, first: int = 0) -> None:
        super().__init__(("127.0.0.1", 0), _Faulty)
        self.behind, self.kind, self.every = server.port, kind, every
        self.count, self.faults, self._mutex = -first - 1, 0, threading.Lock()
        self.uri = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def is_due(self) -> bool:
        with self._mutex:
            self.count += 1
            due = self.count >= 0 and self.count % self.every == 0 and self.faults < MOST_FAULTS
            self.faults += due
            return due


class _Faulty(socketserver.BaseRequestHandler):
    server: FaultyRelay

    def handle(self) -> None:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self.server.behind)) as behind,
        ):
            threading.Thread(target=self._answer, args=(behind,), daemon=True).start()
            while asked := self.request.recv(1 << 16):
                if re.match(rb"[A-Z]+ \S+ HTTP/1", asked) and self.server.is_due():
                    if self.server.kind == "hanging":
                        time.sleep(6)
                    self.request.sendall(ANSWERS.get(self.server.kind, b""))
                    return
                behind.sendall(asked)

    def _answer(self, behind: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while answer := behind.recv(1 << 16):
                self.request.sendall(answer)
