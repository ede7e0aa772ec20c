"""The vocabulary: it holds every name of both documents and both frameworks, none is missing and none is invented."""

from __future__ import annotations

import inspect
import os
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from folders import ROOT

from trackhooks.errors import unknown
from trackhooks.hooks import vocabulary
from trackhooks.hooks.vocabulary import BY_NAME, COLLIDING, FROM_KERAS, HOOKS, KERAS_ALIASES, KERAS_SETTERS

KERAS_NAMES = {*FROM_KERAS, *KERAS_ALIASES, *KERAS_SETTERS}
SECTIONS = {"Trainer": "trainer", "Validator": "validator", "Predictor": "predictor", "Exporter": "exporter"}


def seed(part: str) -> str:
    """The document that both vocabularies come from whose text holds `part`."""
    given = os.environ.get("TRACKHOOKS_SEEDS")
    folders = [Path(given)] if given else [ROOT / "shared" / "seeds", ROOT.parent / "shared" / "seeds"]
    for path in [path for folder in folders for path in sorted(folder.glob("*.txt"))]:
        text = path.read_text(encoding="utf-8")
        if part in text:
            return text
    pytest.skip(
        f"the documents are not in {' or '.join(map(str, folders))}; TRACKHOOKS_SEEDS says where they are"
    )


def test_it_has_25_hooks_14_of_them_events_of_keras() -> None:
    assert (len(HOOKS), len(BY_NAME), len(FROM_KERAS)) == (25, 25, 14)
    assert set(FROM_KERAS.values()) < set(BY_NAME)
    assert set(KERAS_ALIASES.values()) < set(FROM_KERAS)


def test_its_hooks_are_those_of_the_ultralytics_document_with_their_sources_in_order() -> None:
    document = seed("## All callbacks")
    listed = [
        (name, SECTIONS[title])
        for title, section in re.findall(r"### (\w+) Callbacks\n(.*?)(?=\n##)", document, re.DOTALL)
        for name in re.findall(r"^\| `(\w+)` ", section, re.MULTILINE)
    ]
    assert listed == [(hook.name, hook.source) for hook in HOOKS]


def test_its_keras_names_and_arguments_are_those_of_the_keras_document() -> None:
    document = seed('<meta itemprop="name" content="tf.keras.callbacks.Callback" />')
    names = set(re.findall(r'<meta itemprop="property" content="(\w+)"/>', document)) - {"__init__"}
    assert names == KERAS_NAMES
    signatures = dict(re.findall(r"<code>(\w+)\(\s*(.*?)\s*\)\s*</code>", document, re.DOTALL))
    for hook in HOOKS:
        if hook.keras:
            assert (
                tuple(re.findall(r"(\w+)(?:=None)?", signatures[hook.keras]))
                == (*hook.keras_args, "None")[:-1]
            )


def test_its_keras_names_and_arguments_are_those_of_the_installed_keras() -> None:
    methods = dict(inspect.getmembers(keras.callbacks.Callback, inspect.isfunction))
    assert {name for name in methods if not name.startswith("_")} == KERAS_NAMES
    for hook in HOOKS:
        if hook.keras:
            assert tuple(inspect.signature(methods[hook.keras]).parameters) == ("self", *hook.keras_args)
    for alias, name in KERAS_ALIASES.items():
        assert inspect.signature(methods[alias]) == inspect.signature(methods[name])


def test_its_hooks_are_those_of_the_installed_ultralytics() -> None:
    base = pytest.importorskip("ultralytics.utils.callbacks.base", reason="ultralytics is not installed")
    assert set(base.default_callbacks) == set(BY_NAME)
    for name, functions in base.default_callbacks.items():
        [argument] = inspect.signature(functions[0]).parameters
        assert argument == BY_NAME[name].source


def test_the_names_of_both_vocabularies_map_to_each_other() -> None:
    assert FROM_KERAS == {
        "on_train_begin": "on_train_start",
        "on_train_end": "on_train_end",
        "on_epoch_begin": "on_train_epoch_start",
        "on_epoch_end": "on_fit_epoch_end",
        "on_train_batch_begin": "on_train_batch_start",
        "on_train_batch_end": "on_train_batch_end",
        "on_test_begin": "on_val_start",
        "on_test_end": "on_val_end",
        "on_test_batch_begin": "on_val_batch_start",
        "on_test_batch_end": "on_val_batch_end",
        "on_predict_begin": "on_predict_start",
        "on_predict_end": "on_predict_end",
        "on_predict_batch_begin": "on_predict_batch_start",
        "on_predict_batch_end": "on_predict_batch_end",
    }


def test_four_names_are_in_both_vocabularies_for_the_same_moment() -> None:
    assert {"on_train_batch_end", "on_train_end", "on_predict_batch_end", "on_predict_end"} == COLLIDING
    assert all(FROM_KERAS[name] == name for name in COLLIDING)


def test_only_hooks_with_data_are_always_journaled() -> None:
    assert {hook.name for hook in HOOKS if not hook.journaled} == {
        "on_train_batch_start", "optimizer_step", "on_before_zero_grad", "on_val_batch_start", "on_val_batch_end",
        "on_predict_batch_start", "on_predict_postprocess_end", "on_predict_batch_end",
    }  # fmt: skip


# The loop as pseudocode


def lines() -> list[tuple[str, str]]:
    """The lines of the pseudocode that are hooks: (name, comment)."""
    assert vocabulary.__doc__ is not None
    code = vocabulary.__doc__.partition("::\n")[2].partition("Sources:")[0]
    found = re.findall(r"^ +(\w+)(?: +# (.+))?$", code, re.MULTILINE)
    return [(name, comment) for name, comment in found]


def test_the_pseudocode_has_every_hook_once_with_its_keras_name() -> None:
    assert sorted(name for name, _ in lines()) == sorted(BY_NAME)
    for name, comment in lines():
        keras_name = BY_NAME[name].keras
        assert comment == keras_name if keras_name else not comment.startswith("on_")


class Heard(keras.callbacks.Callback):  # type: ignore[misc] # Keras has no types
    """The events of a Keras loop, in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        for name in FROM_KERAS:
            setattr(self, name, self._hear(name))

    def _hear(self, name: str) -> Any:
        return lambda *_, **__: self.names.append(FROM_KERAS[name])


def test_the_pseudocode_has_the_order_of_a_real_keras_loop() -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    heard, x, y = Heard(), np.ones((4, 2)), np.ones((4, 1))
    model.fit(x, y, validation_data=(x, y), callbacks=[heard], verbose=0)
    model.predict(x, callbacks=[heard], verbose=0)
    assert heard.names == [name for name, _ in lines() if BY_NAME[name].keras]


def test_the_hooks_of_the_pseudocode_are_in_the_order_of_the_table() -> None:
    placed = [name for name, _ in lines()]
    for source in ("validator", "predictor", "exporter"):
        in_table = [hook.name for hook in HOOKS if hook.source == source]
        assert [name for name in placed if name in in_table] == in_table


# Unknown names


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("on_train_epoch_ends", "on_train_epoch_end"),
        ("on_fit_epoch_finish", "on_fit_epoch_end"),
        ("optimiser_step", "optimizer_step"),
        ("tear_down", "teardown"),
        ("on_train_begin", "on_train_"),
    ],
)
def test_an_unknown_hook_is_reported_with_the_nearest_one(name: str, nearest: str) -> None:
    message = str(unknown("hook", name, BY_NAME))
    assert message.startswith(f"unknown hook {name!r}. Did you mean '{nearest}")


def test_an_unknown_hook_without_a_near_one_is_reported_with_all_hooks() -> None:
    message = str(unknown("hook", "xyz", BY_NAME))
    assert all(name in message for name in BY_NAME)
