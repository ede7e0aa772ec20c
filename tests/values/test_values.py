"""Values: whatever users pass becomes numbers, names and safe parameters, or is refused by name."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import enum
import functools
import json
import math
import types
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import keras
import msgspec
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._pytree import tree_map

from trackhooks.errors import InvalidValueError, TrackhooksWarning
from trackhooks.values import numbers, params

REAL_NUMPY = [np.dtype(code) for code in "?" + np.typecodes["AllInteger"] + np.typecodes["Float"]]
REAL_TORCH = [
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32,
    torch.uint64, torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e5m2,
    torch.float8_e4m3fn, torch.float8_e5m2fnuz, torch.float8_e4m3fnuz,
]  # fmt: skip
REAL_JAX = ["bool", "int8", "uint8", "int32", "uint32", "float16", "bfloat16", "float32", "float8_e4m3fn"]


class Level(enum.IntEnum):
    HIGH = 1


class GivesNumPy:
    """As a TensorFlow tensor does."""

    def __init__(self, value: Any) -> None:
        self.value: Callable[[], Any] = lambda: value  # a method, in TensorFlow's variables

    def numpy(self) -> Any:
        return self.value()


# Numbers


@pytest.mark.parametrize(
    "value",
    [
        1,
        1.0,
        True,
        Decimal(1),
        Fraction(2, 2),
        Level.HIGH,
        keras.Variable(1.0, dtype="bfloat16"),
        keras.Variable(1, dtype="int32", trainable=False),
        keras.ops.ones(()),
        GivesNumPy(np.float32(1)),
        pd.Series([1.0]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_scalar_of_any_library_becomes_a_float(value: Any) -> None:
    found = numbers.number(value)
    assert type(found) is float
    assert found == 1.0


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)], ids=str)
@pytest.mark.parametrize("dtype", REAL_NUMPY, ids=str)
def test_numpy_of_every_real_dtype_becomes_a_float(dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    array = np.ones(shape, dtype)
    for value in (array, dtype.type(1)):
        found = numbers.number(value)
        assert type(found) is float
        assert found == 1.0


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)], ids=str)
@pytest.mark.parametrize("dtype", REAL_TORCH, ids=str)
def test_torch_of_every_real_dtype_becomes_a_float(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    found = numbers.number(torch.ones(shape).to(dtype))
    assert type(found) is float
    assert found == 1.0


@pytest.mark.parametrize("dtype", REAL_JAX)
def test_jax_of_every_real_dtype_becomes_a_float(dtype: str) -> None:
    for value in (jnp.ones((), dtype), jnp.ones((1,), dtype), jnp.ones((), dtype).item()):
        assert numbers.number(value) == 1.0


def test_a_tensor_that_takes_part_in_a_gradient_becomes_a_float() -> None:
    weight = torch.ones(3, requires_grad=True)
    assert numbers.number((weight * 2).sum()) == 6.0
    assert numbers.number(torch.nn.Parameter(torch.tensor([0.5]))) == 0.5
    assert numbers.number(torch.tensor([[1.0]]).to_sparse()) == 1.0


@pytest.mark.parametrize("make", [float, np.float32, torch.tensor, jnp.float32, Decimal, keras.Variable])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_and_the_infinities_are_numbers(make: Callable[[float], Any], value: float) -> None:
    assert repr(numbers.number(make(value))) == repr(value)


def test_variables_of_a_keras_optimizer_become_floats() -> None:
    assert numbers.number(keras.optimizers.Adam(0.5).learning_rate) == 0.5


class Raises:
    def __float__(self) -> float:
        raise KeyError("no")

    def __repr__(self) -> str:
        raise OSError("no text either")


def traced() -> str:
    """What is said of a value inside of a function that JAX compiles."""
    said: list[str] = []

    def trace(value: Any) -> Any:
        said.append(refusal(value))
        return value

    jax.jit(trace)(1.0)
    return said[0]


def refusal(value: Any) -> str:
    with pytest.raises(InvalidValueError) as caught:
        numbers.number(value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("0.5", "'0.5' (str), not a number"),
        (b"1", "b'1' (bytes), not a number"),
        ("x" * 1000, f"'{'x' * 59}… (str), not a number"),
        ("key hf_" + "a" * 30, "'key <redacted>' (str), not a number"),
        (None, "None, not a number"),
        (1j, "a value of type complex, not a number"),
        (10**400, "an integer of 1329 bits, too large for a float"),
        (10**5000, "an integer of 16610 bits, too large for a float"),
        (Fraction(10) ** 400, "a value of type Fraction, not a number"),
        (Decimal("sNaN"), "a value of type Decimal, not a number"),
        ([1.0], "a value of type list, not a number"),
        (float, "the class float, not a number"),
        (np.float32, "the class float32, not a number"),
        (Raises(), "a value of type Raises, not a number"),
        (np.ones(3), "of shape (3,), not one number"),
        (np.ones((2, 0)), "of shape (2, 0), not one number"),
        (np.array("1"), "a value of type ndarray and dtype <U1, not a number"),
        (np.complex64(1), "a value of type complex64 and dtype complex64, not a number"),
        (
            np.clongdouble(1),
            f"a value of type clongdouble and dtype {np.dtype(np.clongdouble)}, not a number",
        ),
        (np.datetime64("2020-01-01"), "a value of type datetime64 and dtype datetime64[D], not a number"),
        (np.datetime64(1, "ns"), "a value of type datetime64 and dtype datetime64[ns], not a number"),
        (np.timedelta64(1, "ns"), "a value of type timedelta64 and dtype timedelta64[ns], not a number"),
        (np.ma.masked, "a value of type MaskedConstant and dtype float64, not a number"),
        (pd.NaT, "a value of type NaTType, not a number"),
        (torch.ones(2, 1), "of shape (2, 1), not one number"),
        (
            torch.ones((), dtype=torch.complex64),
            "a value of type Tensor and dtype torch.complex64, not a number",
        ),
        (torch.ones((), device="meta"), "a value of type Tensor and dtype torch.float32, not a number"),
        (torch.nn.UninitializedParameter(), "a value of type UninitializedParameter and dtype torch.float32"),
        (keras.Input((3,)), "of shape (None, 3), not one number"),
        (jnp.ones(2), "of shape (2,), not one number"),
        (jnp.complex64(1), "a value of type ArrayImpl and dtype complex64, not a number"),
        (GivesNumPy(np.array(b"text")), "a value of type GivesNumPy, not a number"),
        ({"x": 1}, "a value of type dict, not a number"),
        (datetime.datetime(2020, 1, 1), "a value of type datetime, not a number"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_that_is_not_a_number_is_refused_with_the_reason(value: Any, why: str) -> None:
    assert refusal(value).startswith(why)


def test_a_value_that_does_not_exist_yet_is_refused() -> None:
    assert "Tracer" in traced()
    gone = jnp.ones(())
    gone.delete()
    assert "not a number" in refusal(gone)
    torch.vmap(lambda row: (refusal(row), row)[1])(torch.ones(2))


def test_the_rest_is_kept_when_a_value_is_refused() -> None:
    accepted, refused = numbers.split_numbers(
        {"loss": torch.tensor(0.5), "name": "resnet", "f1": np.ones(2), "n": 1}
    )
    assert accepted == {"loss": 0.5, "n": 1.0}
    assert refused == {"name": "'resnet' (str), not a number", "f1": "of shape (2,), not one number"}


def test_nested_values_are_named_by_their_path() -> None:
    accepted, refused = numbers.split_numbers(
        {"val": {"loss": 1, "iou": {"cat": 0.5}}, 3: {(1, 2): 4}, Level.HIGH: 5}
    )
    assert accepted == {"val/loss": 1.0, "val/iou/cat": 0.5, "3/(1, 2)": 4.0, str(Level.HIGH): 5.0}
    assert refused == {}


def test_a_mapping_that_contains_itself_is_refused_there() -> None:
    metrics: dict[str, Any] = {"loss": 1.0}
    metrics["again"] = {"loss": 2.0, "all": metrics}
    accepted, refused = numbers.split_numbers(metrics)
    assert accepted == {"loss": 1.0, "again/loss": 2.0}
    assert refused == {"again/all": "a value of type dict, not a number"}


# Accelerators


class OnAccelerator(torch.Tensor):
    """A tensor that says that it lies on a GPU; what is done to it is done on the CPU, and written down."""

    done: ClassVar[list[str]] = []
    on_cpu: torch.Tensor

    @staticmethod
    def __new__(cls, real: torch.Tensor) -> OnAccelerator:
        device = torch.device("cuda")
        made = torch.Tensor._make_wrapper_subclass(cls, real.shape, dtype=real.dtype, device=device)
        made.on_cpu = real
        return made

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, operation: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        cls.done.append(str(operation))
        on_cpu = tree_map(
            lambda given: given.on_cpu if isinstance(given, cls) else given, (args, kwargs or {})
        )
        found = operation(*on_cpu[0], **on_cpu[1])
        if str(operation) == "aten._to_copy.default":  # the transfer
            return found
        if found is on_cpu[0][0]:  # in place
            return args[0]
        return tree_map(lambda one: cls(one) if isinstance(one, torch.Tensor) else one, found)


@pytest.fixture
def done() -> Iterator[list[str]]:
    """The operations on tensors that say that they lie on a GPU."""
    OnAccelerator.done.clear()
    yield OnAccelerator.done
    OnAccelerator.done.clear()


def accumulated(total: torch.Tensor) -> list[numbers.Snapshot]:
    """What a loop passes that adds to one tensor in place."""
    held = []
    for _ in range(3):
        total += 1
        snapshot = numbers.number(total)
        assert isinstance(snapshot, numbers.Snapshot)
        held.append(snapshot)
    return held


def test_a_value_on_an_accelerator_is_kept_as_it_was_and_not_waited_for(done: list[str]) -> None:
    held = accumulated(OnAccelerator(torch.zeros(())))
    assert set(done) == {"aten.add_.Tensor", "aten.detach.default", "aten.clone.default"}
    assert numbers.to_host(held) == [1.0, 2.0, 3.0]


def test_values_on_an_accelerator_come_in_one_transfer_whatever_their_dtypes(done: list[str]) -> None:
    given = [OnAccelerator(torch.full((1,), 2).to(dtype)) for dtype in REAL_TORCH]
    held = [numbers.number(tensor) for tensor in [*given, OnAccelerator(torch.tensor(2**40 + 1))]]
    found = numbers.to_host(one for one in held if isinstance(one, numbers.Snapshot))
    assert found == [1.0] + [2.0] * (len(REAL_TORCH) - 1) + [2.0**40 + 1]
    assert done.count("aten._to_copy.default") == 1
    assert not any("_local_scalar_dense" in operation for operation in done)


def test_values_on_an_accelerator_that_are_not_numbers_are_refused_without_waiting(done: list[str]) -> None:
    assert refusal(OnAccelerator(torch.ones(2))) == "of shape (2,), not one number"
    assert "complex64" in refusal(OnAccelerator(torch.ones((), dtype=torch.complex64)))
    assert done == []


def test_values_of_several_devices_come_back_in_order() -> None:
    given = [
        torch.tensor(1.0),
        jnp.float32(2),
        OnAccelerator(torch.tensor(3.0)),
        jnp.int32(4),
        torch.tensor(True),
    ]
    assert numbers.to_host(map(numbers.Snapshot, given)) == [1.0, 2.0, 3.0, 4.0, 1.0]


def test_a_value_that_cannot_be_read_from_its_device_is_nan_and_the_others_are_kept() -> None:
    gone = jnp.ones(())
    gone.delete()
    with pytest.warns(TrackhooksWarning, match=r"could not be read: RuntimeError: .* It is recorded as NaN"):
        found = numbers.to_host(
            map(numbers.Snapshot, [jnp.float32(1), gone, jnp.float32(3), torch.tensor(4)])
        )
    assert repr(found) == "[1.0, nan, 3.0, 4.0]"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU that CUDA can use")
def test_values_on_a_gpu_are_kept_as_they_were_and_come_in_order() -> None:
    held = accumulated(torch.zeros((), device="cuda"))
    for dtype in REAL_TORCH:
        snapshot = numbers.number(torch.ones(1, device="cuda").to(dtype))
        assert isinstance(snapshot, numbers.Snapshot)
        held.append(snapshot)
    assert numbers.to_host(held) == [1.0, 2.0, 3.0] + [1.0] * len(REAL_TORCH)


# Parameters


class Color(enum.Enum):
    RED = "red"
    PAIR = (1, 2)


@dataclasses.dataclass
class Config:
    lr: float = 0.1
    layers: dict[str, int] = dataclasses.field(default_factory=lambda: {"hidden": 8})
    hidden: str = dataclasses.field(default="not shown", repr=False)


class Plain:
    pass


def a_function(*_: int, **__: str) -> None:
    """Stands for itself."""


@pytest.mark.parametrize(
    ("value", "recorded"),
    [
        (None, None),
        (True, True),
        (3, 3),
        (0.1, 0.1),
        ("text", "text"),
        ("cut \ud83d", "cut \\ud83d"),
        (np.str_("text"), "text"),
        (10**30, "1" + "0" * 30),
        (2**64 - 1, 2**64 - 1),
        (-(10**9999), "an integer of 33216 bits"),
        (Decimal("0.5"), 0.5),
        (Fraction(1, 2), 0.5),
        (np.int64(2**60 + 1), 2**60 + 1),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.array([7]), 7),
        (np.bool_(True), True),
        (np.float32(0.5), 0.5),
        (np.datetime64("2020-01-01"), "2020-01-01"),
        (torch.tensor(3), 3),
        (torch.tensor(True), True),
        (torch.tensor([0.5]), 0.5),
        (OnAccelerator(torch.tensor(3)), 3),
        (jnp.int32(3), 3),
        (keras.Variable(3, dtype="int32", trainable=False), 3),
        (Color.RED, "red"),
        (Color.PAIR, "PAIR"),
        (Level.HIGH, 1),
        (PurePosixPath("/data"), "/data"),
        (torch.float32, "torch.float32"),
        (np.dtype("float32"), "float32"),
        (torch.device("cuda:1"), "cuda:1"),
        (a_function, f"{__name__}.a_function"),
        (lambda: 0, f"{__name__}.<lambda>"),
        (len, "len"),
        (torch.nn.functional.relu, "torch.nn.functional.relu"),
        (torch.nn.ReLU, "torch.nn.modules.activation.ReLU"),
        (functools.partial(a_function, 1), "functools.partial(<function a_function>, 1)"),
        (Plain(), f"{__name__}.Plain"),
        (Raises(), f"{__name__}.Raises"),
        (torch.nn.ReLU(), "ReLU()"),
        (1j, "1j"),
        (b"\xff", "b'\\xff'"),
        (datetime.date(2020, 1, 1), "2020-01-01"),
        ([1, "a", None, [0.5, (True,)]], "[1, 'a', None, [0.5, [True]]]"),
        ({3, 1, 2}, "[1, 2, 3]"),
        (frozenset("ba"), "['a', 'b']"),
        ([{"lr": 0.1, "path": Path("/x")}], "[{'lr': 0.1, 'path': '/x'}]"),
        (range(3), "range(0, 3)"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_parameter_is_recorded_as_what_people_compare_by(value: Any, recorded: Any) -> None:
    found = params.flat_params({"p": value})["p"]
    assert type(found) is type(recorded)
    assert found == recorded


@pytest.mark.parametrize(
    "given_as",
    [
        {"lr": 0.1, "layers": {"hidden": 8}},
        {"lr": 0.1, "layers": types.MappingProxyType({"hidden": 8})},
        argparse.Namespace(lr=0.1, layers=types.SimpleNamespace(hidden=8)),
        Config(),
        {"lr": 0.1, "layers": {"hidden": 8, "none": {}}},
    ],
    ids=lambda value: type(value).__name__,
)
def test_mappings_dataclasses_and_namespaces_become_parameters(given_as: Any) -> None:
    assert params.flat_params(given_as) == {"lr": 0.1, "layers/hidden": 8}


@pytest.mark.parametrize("given_as", ["lr=0.1", [("lr", 0.1)], None, Config])
def test_values_without_fields_are_refused_with_what_is_accepted(given_as: Any) -> None:
    with pytest.raises(InvalidValueError, match=r"must be a mapping, a dataclass, a namespace"):
        params.flat_params(given_as)


def test_secrets_are_redacted_at_any_level() -> None:
    key = "hf_" + "a" * 30
    found = params.flat_params(
        {
            "hf_token": "abc",
            "max_tokens": 5,
            "tokenizer": "bpe",
            "db": argparse.Namespace(password="abc", user="me"),
            "stores": [{"api_key": "abc", "retries": 3}, {"secrets": ["abc"]}],
            "note": f"uses {key}",
            "object": types.SimpleNamespace(x=functools.partial(a_function, password="abc")),
        }
    )
    assert "abc" not in str(found)
    assert key not in str(found)
    assert found["max_tokens"] == 5
    assert found["tokenizer"] == "bpe"
    assert found["db/user"] == "me"
    assert found["stores"] == "[{'api_key': '<redacted>', 'retries': 3}, {'secrets': '<redacted>'}]"


def test_values_that_contain_themselves_or_never_end_are_cut_off() -> None:
    itself: list[Any] = [1]
    itself.append(itself)
    mapping: dict[str, Any] = {"a": 1}
    mapping["b"] = mapping
    doubled: Any = 0
    for _ in range(80):
        doubled = [doubled, doubled]
    deep: Any = 0
    for _ in range(5000):
        deep = {"d": deep}
    found = params.flat_params(
        {"itself": itself, "mapping": mapping, "doubled": doubled, "deep": deep, "long": [0] * 10**6}
    )
    assert found["mapping/a"] == 1
    for name, text in found.items():
        if name != "mapping/a":
            assert "…" in str(text)
            assert len(str(text)) < 100_000


def test_thousands_of_parameters_and_a_huge_one_are_kept() -> None:
    given_as = {f"p{index}": index for index in range(5000)} | {"text": "x" * 5_000_000}
    assert params.flat_params(given_as) == given_as


KEYS = st.text(st.characters()) | st.integers() | st.none()
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.binary()
    | st.decimals()
    | st.complex_numbers()
    | st.datetimes()
    | st.sampled_from(
        [len, Plain, Plain(), Color.PAIR, np.ones(2), torch.ones(()), torch.float16, Path("/x")]
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)


@pytest.mark.slow
@given(st.dictionaries(KEYS, ANYTHING, max_size=4))
def test_anything_becomes_parameters_that_can_be_stored(given_as: dict[Any, Any]) -> None:
    found = params.flat_params(given_as)
    assert repr(msgspec.msgpack.decode(msgspec.msgpack.encode(found))) == repr(found)
    json.dumps(found)


@given(ANYTHING)
def test_anything_becomes_a_number_or_is_refused(value: Any) -> None:
    accepted, refused = numbers.split_numbers({"x": [value]})
    assert not accepted
    assert refused["x"].endswith("not a number")
    accepted, refused = numbers.split_numbers({"x": value})
    assert all(type(found) is float for found in accepted.values())


@pytest.mark.slow
def test_frameworks_that_the_program_does_not_use_are_not_imported(program: Callable[..., str]) -> None:
    loaded = program(
        """
        import sys
        from trackhooks.values import numbers, params
        numbers.split_numbers({"a": 1, "b": "x", "c": object()})
        params.flat_params({"a": object(), "b": [1], "c": {2}})
        print(*sys.modules)
        """
    )
    assert not {"torch", "numpy", "jax", "keras", "argparse", "dataclasses"}.intersection(loaded.split())
