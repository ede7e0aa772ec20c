"""An error names the value and what to do."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import trackhooks
from trackhooks import InvalidValueError, Run, TrackhooksError
from trackhooks.errors.nearest import nearest
from trackhooks.hooks.callback import KERAS_METHODS
from trackhooks.hooks.vocabulary import BY_NAME
from trackhooks.storage.checkpoints import Policy

# Paths

PATHS: dict[str, Callable[[Run, Any], Any]] = {
    "log_file": lambda run, path: run.log_file(path),
    "log_model": lambda run, path: run.log_model(path),
    "log_export": lambda run, path: run.log_export(path),
    "log_export parent": lambda run, path: run.log_export(run.path / "run.json", parent=path),
    "log_image": lambda run, path: run.log_image("a", path),
    "dir": lambda run, path: trackhooks.run(dir=path),
    "resume": lambda run, path: trackhooks.run(resume=path),
    "compare": lambda run, path: trackhooks.compare([path]),
    "runs": lambda run, path: trackhooks.runs(path),
    "journal.read": lambda run, path: trackhooks.journal.read(path),
}


@pytest.mark.parametrize("make", [str, Path])
@pytest.mark.parametrize(
    ("text", "problem"),
    [("a\0b", "a NUL character"), ("a\ud800b", "characters that the file system cannot encode")],
)
@pytest.mark.parametrize("call", PATHS)
def test_a_path_that_no_file_can_have_is_refused_with_the_reason(
    call: str, text: str, problem: str, make: Any, run: Run
) -> None:
    with pytest.raises(InvalidValueError) as caught:
        PATHS[call](run, make(text))
    assert f"got {text!r}, which contains {problem}" in str(caught.value)
    str(caught.value).encode()
    assert run.records


@pytest.mark.parametrize("call", ["log_file", "log_model", "log_export"])
def test_an_empty_path_is_not_the_working_directory(call: str, run: Run) -> None:
    with pytest.raises(InvalidValueError, match="file must be the path of a file or folder, got ''"):
        PATHS[call](run, "")


@pytest.fixture
def deleted(tmp_path: Path) -> Iterator[None]:
    """A working directory that has been deleted."""
    before, gone = Path.cwd(), tmp_path / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    yield
    os.chdir(before)


@pytest.mark.usefixtures("deleted")
@pytest.mark.parametrize("call", ["log_file", "log_model", "log_export", "log_export parent", "dir"])
def test_a_relative_path_in_a_deleted_directory_is_refused_with_the_reason(call: str, run: Run) -> None:
    with pytest.raises(
        InvalidValueError, match=r"'last\.pt' is relative, and the working directory has been deleted"
    ):
        PATHS[call](run, "last.pt")
    assert run.records


@pytest.mark.parametrize("command", ["compare", "sync"])
def test_a_directory_without_runs_is_called_that(command: str, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from trackhooks.cli.main import main

    done = CliRunner().invoke(main, [command, str(tmp_path)])
    assert done.exit_code == 1
    assert f"there are no runs in {tmp_path}: a run is a folder with a run.json" in done.output
    with pytest.raises(TrackhooksError, match="there are no runs in"):
        trackhooks.compare([tmp_path])


# Words

ENDLESS: dict[str, Callable[[Run, Any], Any]] = {
    "tags": lambda run, found: trackhooks.run(tags=found, delivery="off", dir=run.path.parent),
    "aliases": lambda run, found: run.log_model(run.path / "run.json", found),
    "values": lambda run, found: run.log_histogram("h", map(float, found)),
    "rows": lambda run, found: run.log_table("t", ([item] for item in found), ["a"]),
    "columns": lambda run, found: run.log_table("t", [[1]], found),
    "a row": lambda run, found: run.log_table("t", [found], ["a"]),
    "on_model_save: files": lambda run, found: run.run_callbacks("on_model_save", files=found),
    "on_val_end: media": lambda run, found: run.run_callbacks("on_val_end", media=found),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", ENDLESS)
def test_an_iterable_that_never_ends_is_refused(what: str, run: Run) -> None:
    with pytest.raises(InvalidValueError, match=f"{what} must have at most [0-9]+ items, got .* never ends"):
        ENDLESS[what](run, map(str, itertools.count()))
    assert run.records


def test_a_container_may_have_any_number_of_items(run: Run) -> None:
    run.log_histogram("h", [0.5] * 1_000_001)
    run.log_model(run.path / "run.json", [f"v{number}" for number in range(1001)])


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        (5, r"tags must be strings, as in tags=\['a', 'b'\], got 5"),
        ({"stage": "test"}, r"got a dict of 1 item\. Pass names with values as params="),
        (b"ab", "got b'ab'"),
        (object(), "got a value of type object"),
    ],
)
def test_tags_that_are_not_words_are_refused(tags: Any, message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        trackhooks.run(tags=tags)


@pytest.mark.parametrize(
    "keep",
    ["5", "2.5", "every5", "every 5", "every", "best last", "all,best", "none,last", "every:0", "a:b", ""],
)
def test_a_keep_that_means_nothing_is_refused(keep: str) -> None:
    with pytest.raises(InvalidValueError, match=f"keep must be 'best,last' .*'every:5', got {keep!r}"):
        trackhooks.run(keep=keep)


@pytest.mark.parametrize(
    "keep", ["best,last", "best", "all", "none", "every:5", "v2, epoch-10", "everything", "last-5"]
)
def test_a_keep_with_a_meaning_is_accepted(keep: str) -> None:
    Policy(keep)


@pytest.mark.parametrize("reason", [RuntimeError("no memory"), KeyboardInterrupt()])
def test_an_exception_as_a_reason_is_refused_with_the_remedy(reason: Any, run: Run) -> None:
    kind = type(reason).__name__
    with pytest.raises(
        InvalidValueError, match=rf"reason must be a string, got .*{kind}\. Pass str\(error\)"
    ):
        run.close("failed", reason)
    assert run.records


# The nearest name


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("on_epoch_finish", "on_epoch_end"),
        ("on_epoch_finished", "on_epoch_end"),
        ("on_epoch_stop", "on_epoch_end"),
        ("on_epoch_start", "on_epoch_begin"),
        ("on_epoch_begins", "on_epoch_begin"),
        ("on_epoch_edn", "on_epoch_end"),
        ("on_training_end", "on_train_end"),
        ("on_validation_end", "on_test_end"),
        ("on_eval_start", "on_test_begin"),
        ("on_train_step_end", "on_train_batch_end"),
        ("on_predict_batch_done", "on_predict_batch_end"),
        ("on_prediction_start", "on_predict_begin"),
        ("on_epoch_complete", "on_epoch_end"),
        ("onEpochEnd", "on_epoch_end"),
    ],
)
def test_the_nearest_event_of_keras_has_the_right_end(name: str, meant: str) -> None:
    assert nearest(name, KERAS_METHODS) == meant


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("on_fit_epoch_finish", "on_fit_epoch_end"),
        ("on_val_begin", "on_val_start"),
        ("on_export_finished", "on_export_end"),
        ("on_validation_batch_end", "on_val_batch_end"),
        ("on_train_epoch_finsh", "on_train_epoch_end"),
        ("on_model_saved", "on_model_save"),
        ("tear_down", "teardown"),
        ("on_pretrain_routine_begin", "on_pretrain_routine_start"),
    ],
)
def test_the_nearest_hook_has_the_right_end(name: str, meant: str) -> None:
    assert nearest(name, BY_NAME) == meant


def test_a_name_like_nothing_has_no_nearest_one() -> None:
    assert nearest("xyz", BY_NAME) is None
    assert nearest("", BY_NAME) is None
