"""`trackhooks exec`: any program is found as a shell finds it, and what its Python processes train is recorded."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

import pytest
from folders import THIRD_PARTY, importing

from trackhooks.cli.exec import command_line
from trackhooks.errors import InvalidValueError
from trackhooks.event import RunInfo
from trackhooks.storage.run_folder import read_info

SCRIPTS = Path(sysconfig.get_path("scripts"))
TOY = """
import sys, toytrainer
toytrainer.Trainer().fit([(1.0, 2.0), (2.0, 4.0)], 2)
print(sys.argv[1:], __name__)
"""
HIDING = """
import sys
if sys.orig_argv[1:] == ["train.py"]:
    sys.modules["trackhooks"] = None
"""
KERAS = """
import sys, keras, numpy
model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
model.fit(numpy.zeros((4, 2)), numpy.zeros(4), epochs=2, verbose=0)
"""


def environment(**more: str) -> Mapping[str, str]:
    """The environment of a shell in which the environment of these tests is activated."""
    path = os.pathsep.join([str(SCRIPTS), os.environ["PATH"]])
    found = {**importing(THIRD_PARTY), "PATH": path, "TRACKHOOKS_DELIVERY": "off", "KERAS_BACKEND": "torch"}
    return {**{name: value for name, value in found.items() if name != "TRACKHOOKS"}, **more}


def run(*words: str | Path, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run `trackhooks exec`."""
    return subprocess.run(
        [SCRIPTS / "trackhooks", "exec", *map(str, words)],
        cwd=cwd, env=environment(**more), capture_output=True, text=True, check=False,
    )  # fmt: skip


def recorded(folder: Path) -> list[RunInfo]:
    """The runs, oldest first."""
    found = [read_info(path.parent) for path in folder.glob("runs/*/run.json")]
    return sorted(found, key=lambda info: info.created)


def write(path: Path, text: str, mode: int = 0o644) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dedent(text))
    path.chmod(mode)
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory, and a PATH with nothing but its folder `bin`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path


# The program


def test_a_name_is_that_of_a_command_even_if_a_folder_or_a_file_has_it(here: Path) -> None:
    command = write(here / "bin" / "yolo", "#!/bin/sh\n", 0o755)
    (here / "yolo").mkdir()
    assert command_line(["yolo", "train", "--x"]) == [str(command), "train", "--x"]
    (here / "yolo").rmdir()
    write(here / "yolo", "")
    assert command_line(["yolo"]) == [str(command)]


def test_a_path_is_that_of_the_file(here: Path) -> None:
    write(here / "bin" / "train", "#!/bin/sh\n", 0o755)
    write(here / "train", "#!/bin/sh\n", 0o755)
    assert command_line(["./train", "a b"]) == ["./train", "a b"]


def test_a_file_that_cannot_be_executed_is_a_python_script(here: Path) -> None:
    write(here / "train.py", "")
    write(here / "bin" / "train", "not executable")
    write(here / "train", "")
    write(here / "package" / "__main__.py", "")
    for name in ("train.py", "./train.py", "train", "package"):
        assert command_line([name, "1"]) == [sys.executable, name, "1"]


@pytest.mark.parametrize("name", ["torchrun", "yolo", "python"])
def test_commands_next_to_this_python_are_found_without_an_activated_environment(
    name: str, here: Path
) -> None:
    assert command_line([name]) == [str(SCRIPTS / name)]


@pytest.mark.parametrize("name", ["no.py", "./no", "folder", ""])
def test_a_program_that_does_not_exist_is_refused(name: str, here: Path) -> None:
    (here / "folder").mkdir()
    with pytest.raises(InvalidValueError, match=rf"^no such program: '{name}' is neither .* Use -m"):
        command_line([name])


def test_the_refusal_suggests_the_script_of_that_name(here: Path) -> None:
    write(here / "train.py", "")
    with pytest.raises(InvalidValueError, match=r"Did you mean 'train\.py'\?"):
        command_line(["train"])


@pytest.mark.slow
def test_a_wrong_tracker_or_option_is_refused_before_the_program_runs(tmp_path: Path) -> None:
    write(tmp_path / "train.py", "print('runs')")
    for words, said in ((["--to", "csvv"], "Did you mean 'csv'?"), (["--too", "csv"], "No such option")):
        done = run(*words, "python", "train.py", cwd=tmp_path)
        assert (done.returncode > 0, done.stdout) == (True, "")
        assert said in done.stderr


# What it trains


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["train.py"],
        ["python", "-u", "-m", "train"],
        ["-m", "train"],
        ["sh", "-c", 'python train.py "$@"', "sh"],
    ],
    ids=" ".join,
)
def test_the_program_is_recorded_and_runs_as_without_it(words: list[str], tmp_path: Path) -> None:
    write(tmp_path / "train.py", TOY)
    done = run("--to", "csv,tensorboard", *words, "--epochs", "2 3", "--to", cwd=tmp_path)
    assert (done.stdout, done.returncode) == ("['--epochs', '2 3', '--to'] __main__\n", 0), done.stderr
    (info,) = recorded(tmp_path)
    assert (info.status, info.trackers) == ("finished", ["csv", "tensorboard"])


@pytest.mark.slow
def test_an_executable_script_without_an_interpreter_runs_as_in_a_shell(tmp_path: Path) -> None:
    write(tmp_path / "train.py", TOY, 0o755)
    write(tmp_path / "all", "python train.py\n", 0o755)
    for name in ("./train.py", "./all"):
        assert run(name, cwd=tmp_path).returncode == 0
    assert len(recorded(tmp_path)) == 2


@pytest.mark.slow
def test_every_python_process_of_the_program_is_recorded(tmp_path: Path) -> None:
    write(
        tmp_path / "train.py",
        """
        import multiprocessing, subprocess, sys
        def train():
            import toytrainer
            toytrainer.Trainer().fit([(1.0, 2.0)], 1)
        if __name__ == "__main__":
            child = multiprocessing.get_context("spawn").Process(target=train)
            child.start()
            child.join()
            subprocess.run([sys.executable, "-c", "import train; train.train()"], check=True)
        """,
    )
    assert run("train.py", cwd=tmp_path).returncode == 0
    assert [info.status for info in recorded(tmp_path)] == ["finished"] * 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ending", "code", "status"),
    [("1 / 0", 1, "failed"), ("sys.exit(3)", 3, "failed"), ("os.kill(os.getpid(), 15)", -15, "killed")],
)
def test_it_ends_as_the_program_does(ending: str, code: int, status: str, tmp_path: Path) -> None:
    write(
        tmp_path / "train.py",
        f"""
        import os, sys, toytrainer
        def end(*_):
            {ending}
        toytrainer.Trainer().fit([(1.0, 2.0)], 1, listeners=[end])
        """,
    )
    done = run("train.py", cwd=tmp_path)
    assert done.returncode == code
    assert ("ZeroDivisionError" in done.stderr) == (code == 1)
    (info,) = recorded(tmp_path)
    assert info.status in (
        status,
        "running",
    )  # nothing can set the status of a killed process without delivery


@pytest.mark.slow
def test_the_trackers_are_those_of_the_environment_if_none_are_named(tmp_path: Path) -> None:
    write(tmp_path / "train.py", TOY)
    run("train.py", cwd=tmp_path, TRACKHOOKS="tensorboard")
    run("--to", "csv", "train.py", cwd=tmp_path, TRACKHOOKS="tensorboard")
    assert [info.trackers for info in recorded(tmp_path)] == [["tensorboard"], ["csv"]]


@pytest.mark.slow
def test_a_run_that_the_program_opens_has_the_trackers_too(tmp_path: Path) -> None:
    write(tmp_path / "train.py", "import trackhooks\nwith trackhooks.run() as run:\n    run.log(loss=1)\n")
    run("--to", "tensorboard", "train.py", cwd=tmp_path)
    assert [info.trackers for info in recorded(tmp_path)] == [["tensorboard"]]


@pytest.mark.slow
def test_what_the_program_enables_itself_counts(tmp_path: Path) -> None:
    write(tmp_path / "train.py", "import trackhooks\ntrackhooks.enable('csv', project='own')\n" + TOY)
    run("--to", "tensorboard", "train.py", cwd=tmp_path)
    assert [(info.project, info.trackers) for info in recorded(tmp_path)] == [("own", ["csv"])]


@pytest.mark.slow
def test_a_tracker_may_be_next_to_the_script(tmp_path: Path) -> None:
    tracker = """
        import trackhooks

        class Diary(trackhooks.Tracker):
            def on_train_end(self, event):
                print("the end of", event.run.name)
        """
    write(tmp_path / "code" / "diary.py", tracker)
    write(tmp_path / "code" / "train.py", TOY)
    done = run("--to", "diary:Diary", "code/train.py", cwd=tmp_path, TRACKHOOKS_DELIVERY="inline")
    assert done.returncode == 0, done.stderr
    assert "the end of" in done.stdout


@pytest.mark.slow
def test_a_tracker_that_the_program_cannot_import_ends_it_before_the_training(tmp_path: Path) -> None:
    write(tmp_path / "train.py", TOY)
    done = run("--to", "diary:Diary", "train.py", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "trackhooks exec: unknown tracker 'diary:Diary': module 'diary' was not found.\n" in done.stderr


# What the program does not notice


def test_the_programs_own_modules_and_sitecustomize_are_imported_as_without_it(tmp_path: Path) -> None:
    own = write(tmp_path / "own" / "sitecustomize.py", "import builtins\nbuiltins.customized = True\n").parent
    write(tmp_path / "token.py", "")
    program = write(
        tmp_path / "show.py",
        """
        import sys, sitecustomize
        print(customized, sitecustomize.__file__, sys.path)
        print(sorted(name for name in sys.modules if name.partition(".")[0] in ("trackhooks", "click", "wrapt")))
        import token
        print(token.__file__, sys.argv)
        """,
    )
    paths = os.pathsep.join([str(own), environment()["PYTHONPATH"]])
    done = run("python", program, "1", cwd=tmp_path, PYTHONPATH=paths)
    plain = subprocess.run(
        ["python", program, "1"],
        cwd=tmp_path,
        env=environment(PYTHONPATH=paths),
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == (plain.stdout, plain.stderr)


def test_a_python_without_trackhooks_says_that_nothing_is_recorded(tmp_path: Path) -> None:
    write(tmp_path / "train.py", "import toytrainer\nprint('trains')\n")
    write(tmp_path / "hiding" / "sitecustomize.py", HIDING)
    paths = os.pathsep.join([str(tmp_path / "hiding"), environment()["PYTHONPATH"]])
    done = run("python", "train.py", cwd=tmp_path, PYTHONPATH=paths)
    assert (done.stdout, done.returncode) == ("trains\n", 0)
    assert done.stderr.count("cannot import trackhooks and records nothing") == 1


@pytest.mark.slow
def test_a_python_that_ignores_the_environment_is_warned_about(tmp_path: Path) -> None:
    write(tmp_path / "train.py", "print('trains')")
    for option, warned in (("-uI", True), ("-u", False)):
        done = run("python", option, "-WIgnore", "train.py", "-I", cwd=tmp_path)
        assert (done.stdout, "nothing will be recorded" in done.stderr) == ("trains\n", warned)


# With real frameworks


@pytest.mark.slow
def test_a_training_of_torchrun_is_recorded_once_for_all_its_processes(tmp_path: Path) -> None:
    write(tmp_path / "train.py", KERAS)
    done = run("--to", "csv", "torchrun", "--nproc-per-node=2", "train.py", cwd=tmp_path, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    assert [(info.status, info.trackers) for info in recorded(tmp_path)] == [("finished", ["csv"])]


@pytest.mark.slow
def test_the_command_of_ultralytics_is_recorded(tmp_path: Path) -> None:
    from yolo import ARGUMENTS, Shapes

    shapes = Shapes(tmp_path)
    shapes.model()
    (tmp_path / "yolo").mkdir()
    words = {**ARGUMENTS, "model": tmp_path / "mini-detect.yaml", "data": shapes.data, "epochs": 1}
    given = [f"{name}={value}" for name, value in {**words, "project": tmp_path / "ultralytics"}.items()]
    done = run("--to", "csv", "yolo", "detect", "train", *given, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [(info.status, info.trackers) for info in recorded(tmp_path)] == [("finished", ["csv"])]
