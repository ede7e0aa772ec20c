"""Trainings that run at the same time deliver to one MLflow server on PostgreSQL: every row, and none twice."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from mlflow_server import Server
from postgresql import PostgreSQL, programs

pytestmark = pytest.mark.slow  # starts servers and programs

TRAININGS, STEPS = 3, 20
TRAINING = dedent("""
    import sys
    import trackhooks

    name, uri, steps = sys.argv[1], sys.argv[2], int(sys.argv[3])
    with trackhooks.run(name=name, params={"name": name}, mlflow={"tracking_uri": uri, "every": 1}) as run:
        for step in range(steps):
            run.log(loss=1 / (step + 1), step=step)
    assert run.wait(400)
""")


@pytest.fixture(scope="module")
def database() -> Iterator[PostgreSQL]:
    """A PostgreSQL server with an empty database."""
    found = programs()
    if found is None:
        pytest.skip("PostgreSQL is not installed; on Debian and Ubuntu: apt-get install postgresql")
    database = PostgreSQL(found)
    yield database
    database.stop()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, database: PostgreSQL) -> Iterator[Server]:
    """An MLflow server that stores in PostgreSQL."""
    server = Server(tmp_path_factory.mktemp("server"), store=database.sqlalchemy_uri)
    yield server
    server.stop()


def rows(database: PostgreSQL, query: str) -> list[tuple[Any, ...]]:
    """The answer of the database itself."""
    import psycopg2

    with closing(psycopg2.connect(database.uri)) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())


def test_trainings_at_the_same_time_have_every_row_once(
    database: PostgreSQL, server: Server, tmp_path: Path
) -> None:
    names = [f"r{number}" for number in range(TRAININGS)]
    # One goes to the database itself, as programs without a server do.
    uris = [database.sqlalchemy_uri, *[server.uri] * (TRAININGS - 1)]
    commands = [
        [sys.executable, "-c", TRAINING, name, uri, str(STEPS)] for name, uri in zip(names, uris, strict=True)
    ]
    programs = [subprocess.Popen(command, cwd=tmp_path) for command in commands]
    assert [program.wait(500) for program in programs] == [0] * TRAININGS

    assert sorted(rows(database, "SELECT name, status FROM runs")) == [(name, "FINISHED") for name in names]
    assert sorted(rows(database, "SELECT key, value FROM params WHERE key = 'name'")) == [
        ("name", name) for name in names
    ]
    points = "SELECT runs.name, step FROM metrics JOIN runs USING (run_uuid) WHERE key = 'loss'"
    assert sorted(rows(database, points)) == [(name, step) for name in names for step in range(STEPS)]
