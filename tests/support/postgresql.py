"""A real PostgreSQL server, for MLflow servers that many trainings use at once."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

DEBIAN = "/usr/lib/postgresql"
"""Debian has the programs of each version in a folder there, and not on the path."""


def programs() -> Path | None:
    """The folder of the programs of PostgreSQL's server; None if it is not installed."""
    on_path = shutil.which("initdb")
    folders = [Path(on_path).parent] if on_path else []
    folders += sorted(Path(DEBIAN).glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").exists()), None)


class PostgreSQL:
    """A server with an empty database, on a free port of the loopback interface, in a temporary folder.

    It does not run as root, which PostgreSQL refuses, but as the user that the package has made.
    """

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._user = "postgres" if os.getuid() == 0 else None
        self._folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
        if self._user:
            os.chown(self._folder, pwd.getpwnam(self._user).pw_uid, -1)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._data = self._folder / "data"
        self._run("initdb", "--username", "trackhooks", "--auth", "trust", "--no-sync", "-D", str(self._data))
        options = f"-p {port} -h 127.0.0.1 -k {self._folder} -c fsync=off"
        self._run(
            "pg_ctl", "-D", str(self._data), "-l", str(self._folder / "log"), "-w", "-o", options, "start"
        )
        self.uri = f"postgresql://trackhooks@127.0.0.1:{port}/postgres"
        # From version 2.1 on, SQLAlchemy takes another client if none is named.
        self.sqlalchemy_uri = self.uri.replace("postgresql", "postgresql+psycopg2", 1)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        # Not to a pipe, which the server would keep open.
        with (self._folder.parent / f"{self._folder.name}.out").open("ab") as output:
            subprocess.run(
                command,
                user=self._user,
                cwd=self._folder,
                check=True,
                stdout=output,
                stderr=output,
                timeout=120,
            )

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self._data), "-m", "immediate", "-w", "stop")
        shutil.rmtree(self._folder)
        (self._folder.parent / f"{self._folder.name}.out").unlink()
