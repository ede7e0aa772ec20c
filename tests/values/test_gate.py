"""No secret leaves the process, whichever public call gets it: not into the run's folder, a tracker, or a message."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import logging
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas
import pytest
import torch

import trackhooks
from trackhooks import Run, TrackhooksWarning
from trackhooks.delivery.process import _Layout
from trackhooks.errors import TrackhooksError, log, say
from trackhooks.event import Graph, Histogram, Node, RunInfo, Table, Text
from trackhooks.session.run import recorder_of
from trackhooks.values.gate import clean

SECRET = "QQhunter2QQ"  # put together with the rest here, so that no scanner takes this file for a leak
KEY = "gh" + "p_" + SECRET * 3

TEXTS = {
    "a key": KEY,
    "a key in a sentence": f"use {KEY}, please",
    "YAML": f"lr: 0.1\npassword: {SECRET}\nepochs: 3",
    "a block of YAML": f"lr: 0.1\ncredentials:\n  user: {SECRET}\n  key: {SECRET}\nepochs: 3",
    "one line of YAML": f"password: {SECRET}",
    "INI": f"[db]\npassword = {SECRET}\nport = 1",
    "JSON": f'{{"db": {{"password": "{SECRET}"}}}}',
    "code": f"Client(api_key='{SECRET}', retries=3)",
    "code in quotes": f"cmd=\"login(password='{SECRET}')\"",
    "a URL": f"postgresql://me:{SECRET}@host/db",
    "a header": f"Authorization: Basic {SECRET}",
    "a command": f"train.py --token {SECRET} --lr 0.1",
    "a list of arguments": f"['train.py', '--token', '{SECRET}']",
    "a pair": f"('password', '{SECRET}')",
}
"""Strings in which a secret can be recognized."""


@dataclasses.dataclass
class Config:
    password: str = SECRET
    lr: float = 0.1


OBJECTS: dict[str, Callable[[], Any]] = {
    "namespace": lambda: argparse.Namespace(lr=0.1, password=SECRET),
    "dataclass": Config,
    "dict": lambda: {"password": SECRET},
    "nested dict": lambda: {"credentials": {"user": SECRET}},
    "list of dicts": lambda: [{"password": SECRET}],
    "pairs": lambda: [("password", SECRET)],
    "arguments": lambda: ["--password", SECRET],
    "key": lambda: [KEY],
    "bytes": lambda: f"password={SECRET}".encode(),
    "error": lambda: RuntimeError(f"password={SECRET}"),
    "text": lambda: f"password={SECRET}",
}
"""Objects that contain a secret, which most calls refuse."""


def file_of(run: Run, name: str = "a.pt") -> Path:
    in_path = name if isinstance(name, str) and not {"/", "\n"} & set(name) else KEY
    path = run.path.parent.parent / in_path
    path.write_bytes(b"x")
    return path


def in_a_loop(run: Run, log: Callable[[], None]) -> None:
    for _ in run.epochs(1):
        for _ in run.train([1]):
            log()
        for _ in run.validate([1]):
            log()
    for _ in run.predict([1]):
        log()


def closed(run: Run) -> Run:
    run.close()
    return run


CALLS: dict[str, list[Callable[[Run, Any], Any]]] = {
    "log": [
        lambda run, value: run.log(value),
        lambda run, value: run.log({value: 1.0}),
        lambda run, value: run.log(a=value),
        lambda run, value: run.log({"a": {value: 1.0}}),
        lambda run, value: run.log({"a": 1.0}, step=value),
        lambda run, value: in_a_loop(run, lambda: run.log({value: 1.0, "b": value})),
    ],
    "log_params": [
        lambda run, value: run.log_params(value),
        lambda run, value: run.log_params({value: 1}),
        lambda run, value: run.log_params(a=value),
        lambda run, value: run.log_params(a=[value]),
    ],
    "log_text": [lambda run, value: run.log_text("a", value), lambda run, value: run.log_text(value, "a")],
    "log_table": [
        lambda run, value: run.log_table("a", value),
        lambda run, value: run.log_table(value, [[1]], ["a"]),
        lambda run, value: run.log_table("a", [[value]], ["a"]),
        lambda run, value: run.log_table("a", [[1]], [value]),
        lambda run, value: run.log_table("a", [[1]], value),
        lambda run, value: run.log_table("a", {value: [1]}),
    ],
    "log_histogram": [
        lambda run, value: run.log_histogram(value, [1.0]),
        lambda run, value: run.log_histogram("a", value),
        lambda run, value: run.log_histogram("a", [1.0], value),
    ],
    "log_image": [
        lambda run, value: run.log_image(value, np.ones((2, 2))),
        lambda run, value: run.log_image("a", value),
    ],
    "log_figure": [lambda run, value: run.log_figure("a", value)],
    "log_file": [
        lambda run, value: run.log_file(value),
        lambda run, value: run.log_file(file_of(run), name=value),
        lambda run, value: run.log_file(file_of(run, value)),
    ],
    "log_model": [
        lambda run, value: run.log_model(value),
        lambda run, value: run.log_model(file_of(run), [value]),
        lambda run, value: run.log_model(file_of(run), value),
        lambda run, value: run.log_model(file_of(run), name=value),
        lambda run, value: run.log_model(file_of(run, value)),
    ],
    "log_export": [
        lambda run, value: run.log_export(value),
        lambda run, value: run.log_export(file_of(run), format=value),
        lambda run, value: run.log_export(file_of(run), parent=value),
        lambda run, value: run.log_export(file_of(run), parent=file_of(run, value)),
        lambda run, value: run.log_export(file_of(run), name=value),
        lambda run, value: run.log_export(file_of(run), duration=value),
    ],
    "attach": [lambda run, value: run.attach(value)],
    "callback": [lambda run, value: run.callback(value)],
    "child": [lambda run, value: closed(run.child(value)).wait(60)],
    "watch": [
        lambda run, value: run.watch(value),
        lambda run, value: run.watch(torch.nn.Linear(1, 1), value),
        lambda run, value: run.watch(torch.nn.Linear(1, 1), histograms=value),
    ],
    "epochs": [lambda run, value: run.epochs(value)],
    "add_callback": [
        lambda run, value: run.add_callback(value, print),
        lambda run, value: run.add_callback("teardown", value),
    ],
    "run_callbacks": [
        lambda run, value: run.run_callbacks(value),
        lambda run, value: run.run_callbacks("on_fit_epoch_end", None, {value: 1.0}),
        lambda run, value: run.run_callbacks("on_fit_epoch_end", value, value),
        lambda run, value: run.run_callbacks("on_pretrain_routine_start", params={"a": value}),
        lambda run, value: run.run_callbacks("on_val_end", media=[Text(value, value)]),
        lambda run, value: run.run_callbacks("on_val_end", media=value, files=value),
        lambda run, value: run.run_callbacks("teardown", status=value),
        lambda run, value: run.run_callbacks("teardown", status="failed", reason=value),
    ],
    "callbacks": [
        lambda run, value: run.callbacks.append(value),
        lambda run, value: run.callbacks.remove(value),
        lambda run, value: run.callbacks.on_epoch_end(0, {value: 1.0}),
        lambda run, value: run.callbacks.on_epoch_end(0, {"a": value}),
        lambda run, value: run.callbacks.on_train_end(value),
    ],
    "step": [lambda run, value: setattr(run, "step", value)],
    "url": [lambda run, value: run.url(value)],
    "close": [
        lambda run, value: run.close(value),
        lambda run, value: run.close("failed", value),
    ],
}  # fmt: skip
"""A public name of a run → calls of it, with a value in each place where it may be passed."""
TAKE_NO_VALUE = {
    "id", "name", "path", "status", "epoch", "records", "keras", "train", "validate", "predict", "flush", "wait",
}  # fmt: skip
"""Public names that take nothing that is recorded or shown."""

OPTIONS = (
    "project",
    "name",
    "params",
    "tags",
    "notes",
    "group",
    "every",
    "keep",
    "delivery",
    "system",
    "strict",
    "csv",
)


def test_the_calls_are_all_of_a_run() -> None:
    public = {name for name in dir(Run) if not name.startswith("_")} | {"run_callbacks"}
    assert CALLS.keys() | TAKE_NO_VALUE == public


class Leaves:
    """Everything that leaves the process: messages, and what is in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.messages: list[str] = []

    def call(self, function: Callable[..., Any], *arguments: Any) -> None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                made = function(*arguments)
                if isinstance(made, Run):
                    made.close()
            except (TrackhooksError, AttributeError, TypeError) as error:
                self.messages += [str(error), str(error.__cause__)]
        self.messages += [str(warning.message) for warning in caught]

    def check(self) -> None:
        assert [message for message in self.messages if SECRET in message] == []
        found = [path for path in self.folder.rglob("*") if path.is_file()]
        assert found or self.messages
        assert [path for path in found if SECRET in str(path.relative_to(self.folder))] == []
        assert [path for path in found if SECRET.encode() in path.read_bytes()] == []


VALUES: dict[str, Callable[[], Any]] = {
    **{name: functools.partial(str, text) for name, text in TEXTS.items()}, **OBJECTS,
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_no_call_lets_a_secret_out(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    leaves = Leaves(tmp_path / "runs")
    for call in CALLS[name]:
        with trackhooks.run(
            "csv", "tensorboard", dir=tmp_path / "runs", delivery="inline", system=None
        ) as run:
            for kind, make in VALUES.items():
                if (name, kind) == ("log_model", "arguments"):
                    continue  # each word is an alias
                leaves.call(call, run, make())
            leaves.call(run.close)
            assert run.wait(60)
    leaves.messages += capsys.readouterr()
    leaves.check()


@pytest.mark.slow
def test_no_end_of_a_run_lets_a_secret_out(tmp_path: Path) -> None:
    leaves = Leaves(tmp_path)
    for call in CALLS["close"]:
        for make in VALUES.values():
            with trackhooks.run(dir=tmp_path, delivery="off") as run:
                leaves.call(call, run, make())
            leaves.messages += [repr(run), str(recorder_of(run).info.reason)]
    leaves.check()


@pytest.mark.slow
@pytest.mark.parametrize("option", OPTIONS)
def test_no_option_lets_a_secret_out(option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    leaves = Leaves(tmp_path)

    def use(value: Any) -> None:
        with trackhooks.run(**{"dir": tmp_path, "delivery": "off", option: value}) as run:
            run.log(a=1.0)
        leaves.messages += [repr(run), run.name, str(recorder_of(run).info)]

    for kind, make in VALUES.items():
        if (option, kind) == ("tags", "arguments"):
            continue  # each word is a tag
        leaves.call(use, make())
        leaves.call(use, [make()])
        leaves.call(use, {"directory": make(), "every": make()})
    leaves.messages += capsys.readouterr()
    leaves.check()


@pytest.mark.parametrize("make", OBJECTS.values(), ids=OBJECTS)
def test_no_message_prints_the_object_that_is_refused(
    make: Callable[[], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRACKHOOKS_DELIVERY", "off")
    leaves = Leaves(tmp_path)
    (tmp_path / "file").touch()
    for call in (
        trackhooks.run, trackhooks.enable, trackhooks.keras_callback, trackhooks.CallbackList, trackhooks.compare,
        trackhooks.runs, trackhooks.journal.read, lambda value: trackhooks.run(resume=value),
        lambda value: trackhooks.CallbackList().append(value), lambda value: trackhooks.run(lr=value),
        lambda value: trackhooks.run(csv=value), lambda value: trackhooks.run(mlflow={"register": value}),
    ):  # fmt: skip
        with suppress(TypeError, OSError, ValueError):
            leaves.call(call, make())
    assert leaves.messages
    leaves.check()


# The environment


def test_the_command_line_and_the_remote_of_git_lose_their_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for words in (["init"], ["remote", "add", "origin", f"https://me:{SECRET}@example.org/it.git"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True, capture_output=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py", "--password", SECRET, f"--config=token: {SECRET}", KEY])
    monkeypatch.setattr(sys, "orig_argv", ["python", *sys.argv])
    monkeypatch.setenv("MY_TOKEN", SECRET)
    leaves = Leaves(tmp_path / "runs")
    with trackhooks.run(dir="runs", delivery="off") as run:
        run.log(a=1.0)
    assert recorder_of(run).info.environment["git/remote"] == "https://me:<redacted>@example.org/it.git"
    leaves.check()


def test_an_exception_that_ends_a_run_loses_its_secrets(tmp_path: Path) -> None:
    leaves = Leaves(tmp_path)
    for text in TEXTS.values():
        with pytest.raises(RuntimeError), trackhooks.run(dir=tmp_path, delivery="off"):
            raise RuntimeError(text)
    leaves.check()


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_notices_warnings_and_logs_lose_their_secrets(
    text: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    say(text)
    with pytest.warns(TrackhooksWarning) as caught:
        trackhooks.errors.warn(text)
    with caplog.at_level(logging.INFO, "trackhooks"):
        log.warning("%s", text)
        log.info(text)
    error = ValueError(text)
    record = logging.LogRecord("other", logging.ERROR, "f.py", 1, "%s", (text,), (ValueError, error, None))
    messages = [capsys.readouterr().err, str(caught[0].message), caplog.text, str(TrackhooksError(text))]
    assert [
        message for message in [*messages, _Layout("%(message)s").format(record)] if SECRET in message
    ] == []


# What the gate keeps


def test_a_table_loses_the_column_of_a_secret_and_keeps_the_others(run: Run) -> None:
    run.log_table("users", [["ann", SECRET, 1]], ["user", "password", "token"])
    run.log_table("frame", pandas.DataFrame({"api_key": [SECRET], "n": [1]}))
    run.log_table("rows", [{"secret": SECRET, "n": 1}])
    run.log_table("params", [["password", SECRET], ["optimizer", "adam"]], ["Name", "Value"])
    tables = [event.media[0] for event in trackhooks.journal.read(run.path) if event.media]
    assert [table.rows for table in tables if isinstance(table, Table)] == [
        [["ann", "<redacted>", 1]],
        [["<redacted>", 1]],
        [["<redacted>", 1]],
        [["password", "<redacted>"], ["optimizer", "adam"]],
    ]


def test_a_file_whose_path_contains_a_secret_is_kept_under_another_name(tmp_path: Path) -> None:
    path = tmp_path / KEY / f"{KEY}.pt"
    path.parent.mkdir()
    path.write_bytes(b"weights")
    with trackhooks.run("csv", dir=tmp_path / "runs", delivery="inline") as run:
        run.log_model(path, aliases=["best"])
        run.log_file(path)
        assert run.wait(60)
    files = [event.files[0] for event in trackhooks.journal.read(run.path) if event.files]
    assert [file.kind for file in files] == ["model", "file"]
    assert [(run.path / file.kept).read_bytes() for file in files] == [b"weights"] * 2
    Leaves(run.path).check()


CLEAN: list[Any] = [
    RunInfo("id", "name", tags=["a"], options={"mlflow": {"tracking_uri": "http://h:5000"}}, trackers=["my:Secret"]),
    Text("notes", "a: b\nc: d"), Table("t", ["a", "b"], [[1, "x"], [None, 0.5]]), {"lr": 0.1, "tokenizer": "bpe"},
    Histogram("h", [0.0, 1.0], [2.0]), Graph("g", [Node("token:0", "embed", ["ids"], {"n": 3})]), ("best", "last"),
]  # fmt: skip


@pytest.mark.parametrize("part", CLEAN, ids=lambda part: type(part).__name__)
def test_what_contains_no_secret_passes_unchanged(part: Any) -> None:
    assert clean(part) == part


def test_every_field_of_a_record_passes_the_gate() -> None:
    for struct in (RunInfo("", ""), Text("", ""), trackhooks.event.File("", "", "")):
        texts = [field.name for field in msgspec.structs.fields(struct) if field.type in (str, str | None)]
        filled = msgspec.structs.replace(struct, **dict.fromkeys(texts, KEY))
        kept = [name for name in texts if getattr(clean(filled), name) == KEY]
        assert set(kept) <= {"id", "kind", "kept"}, struct


@pytest.mark.slow
def test_a_long_string_takes_time_in_proportion() -> None:
    for unit in (
        "token: ",
        "token:[",
        "token='",
        "--token ",
        "\ntoken: is needed",
        "token:\n  ",
        "('token', '",
    ):
        text = unit * (300_000 // len(unit))
        assert len(clean(text)) > 0
