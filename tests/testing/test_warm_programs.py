"""A program in a copy of a process that has imported much ends as one that is started as usual."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from warm import WarmPython, start_server

ENDS = {
    "by itself": "print('done')",
    "by an exit code": "import sys; sys.exit(3)",
    "by a large exit code": "import sys; sys.exit(259)",
    "by no exit code": "raise SystemExit",
    "by a message": "import sys; sys.exit('no data')",
    "by an exception": "1 / 0",
    "by Ctrl-C": "import os, signal; os.kill(os.getpid(), signal.SIGINT)",
    "by a kill": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "with a thread": """
        import threading, time
        threading.Thread(target=lambda: (time.sleep(0.1), print("from a thread"))).start()
        """,
    "with exit functions": """
        import atexit
        atexit.register(print, "second")
        atexit.register(lambda: print("first", NAME))
        NAME = "with its globals"
        """,
    "with objects in a cycle": """
        class Deleted:
            def __del__(self):
                print("deleted")

        one = Deleted()
        one.itself = one
        """,
    "with what a module that was there already does at the end": """
        from multiprocessing import util
        util.Finalize(None, print, args=["finalized"], exitpriority=1)
        """,
    "with an open file": "file = open('written', 'w'); file.write('all of it')",
}


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmPython]:
    folder = tmp_path_factory.mktemp("warm")
    start_server(folder, ["multiprocessing.util"])
    python = WarmPython(folder)
    yield python
    python.close()


@pytest.mark.parametrize("end", ENDS)
def test_it_ends_as_any_other(end: str, python: WarmPython, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(dedent(ENDS[end]))
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    usual = subprocess.run([sys.executable, program], cwd=there, capture_output=True, text=True, check=False)
    ended = python.start(program, cwd=here)
    assert ended.wait(timeout=60) == usual.returncode
    assert ended.output == usual.stdout
    assert ended.errors.splitlines()[-1:] == usual.stderr.splitlines()[-1:]
    written = [[path.read_text() for path in folder.iterdir()] for folder in (here, there)]
    assert written[0] == written[1]


def test_one_that_takes_too_long_is_killed(python: WarmPython, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("import time; time.sleep(600)")
    started = python.start(program, cwd=tmp_path)
    with pytest.raises(TimeoutError):
        started.wait(timeout=0.1)
    assert started.poll() == -9
