"""Odd values that users pass all the same, for the tests that every public call can take them."""

from __future__ import annotations

import argparse
import collections
import dataclasses
import datetime
import enum
import itertools
import types
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, NoReturn

import attrs
import msgspec
import numpy as np
import pydantic
import torch
from omegaconf import OmegaConf


class RefusalError(Exception):
    """Of the user's own: neither a ValueError nor a KeyError."""

    def __str__(self) -> str:
        raise OSError("not even its text")


def refuse(*_: object) -> NoReturn:
    raise RefusalError


_METHODS = (
    "bool", "bytes", "complex", "contains", "eq", "float", "format", "fspath", "getitem", "hash", "index", "int",
    "iter", "len", "lt", "repr", "str",
)  # fmt: skip
RaisesEverywhere = type("RaisesEverywhere", (), {f"__{name}__": refuse for name in (*_METHODS, "getattr")})


class Unbound:
    """A proxy outside of its context, as web frameworks have them."""

    @property
    def __class__(self) -> Any:
        raise RuntimeError("outside of its context")

    @__class__.setter
    def __class__(self, _: Any) -> None: ...


class RaisesByItem(Mapping[str, Any]):
    """A mapping that knows its keys, and one of two values."""

    def __getitem__(self, key: str) -> Any:
        return 2 if key == "b" else refuse()

    def __iter__(self) -> Iterator[str]:
        return iter(["a", "b"])

    def __len__(self) -> int:
        return 2


class RaisesByKeys(RaisesByItem):
    def __iter__(self) -> Iterator[str]:
        refuse()


class WithoutPairs(dict[str, Any]):
    def items(self) -> Any:
        return [1, 2]


class Endless(RaisesByItem):
    def __getitem__(self, key: str) -> Any:
        return 1

    def __iter__(self) -> Iterator[str]:
        return map(str, itertools.count())


class Changes(dict[str, Any]):
    """Grows while it is read, as when another thread fills it."""

    def items(self) -> Any:
        for key in list(self):
            self[f"{key}{len(self)}"] = 1
            yield key, 1
        raise RuntimeError("dictionary changed size during iteration")


@dataclasses.dataclass
class HalfRead:
    a: int = 1
    b: int = 2

    def __getattribute__(self, name: str) -> Any:
        return refuse() if name == "a" else super().__getattribute__(name)


@attrs.define
class Attrs:
    b: int = 2
    hidden: str = attrs.field(default="no", repr=False)


class Struct(msgspec.Struct):
    b: int = 2


class Pydantic(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    b: int = 2
    password: pydantic.SecretStr = pydantic.SecretStr("hunter2")
    left_out: int = pydantic.Field(default=3, exclude=True)


class Word(str):
    """Says something else than it is."""

    __slots__ = ()

    def __str__(self) -> str:
        raise RefusalError

    __repr__ = __str__


class Count(int):
    def __int__(self) -> int:
        raise RefusalError

    __index__ = __repr__ = __str__ = __float__ = __int__  # type: ignore[assignment]


class Level(enum.IntEnum):
    HIGH = 3


class Name(str, enum.Enum):
    ADAM = "adam"


class OddKey:
    def __str__(self) -> str:
        raise RefusalError

    __repr__ = __str__


def endless_levels() -> dict[str, Any]:
    inner: dict[str, Any] = {}
    for _ in range(10_000):
        inner = {"x": inner}
    return inner


def cycle() -> dict[str, Any]:
    found: dict[str, Any] = {"b": 2}
    found["a"] = found
    found["list"] = [found, [found]]
    return found


UNREADABLE: dict[str, Callable[[], Any]] = {
    "raises everywhere": RaisesEverywhere,
    "an unbound proxy": Unbound,
    "a missing value of OmegaConf": lambda: OmegaConf.create({"a": "???", "b": 2}),
    "an interpolation of OmegaConf": lambda: OmegaConf.create({"a": "${nothing}", "b": 2}),
    "a list of OmegaConf": lambda: OmegaConf.create([1, "???", {"a": "${nothing}"}]),
    "a mapping that raises by item": RaisesByItem,
    "a mapping that raises by keys": RaisesByKeys,
    "a mapping without pairs": WithoutPairs,
    "a mapping that changes": lambda: Changes(a=1),
    "a dataclass that raises": HalfRead,
    "an odd key": lambda: {OddKey(): 1, "b": 2},
}
"""Each cannot be read, or not all of it."""

READABLE: dict[str, Callable[[], Any]] = {
    "None": lambda: None, "True": lambda: True, "0": lambda: 0, "-1": lambda: -1, "7": lambda: 7, "7.0": lambda: 7.0,
    "0.5": lambda: 0.5, "nan": lambda: float("nan"), "inf": lambda: float("inf"), "2**53": lambda: 2**53,
    "2**53 + 1": lambda: 2**53 + 1, "2**63": lambda: 2**63, "2**64": lambda: 2**64, "2**70": lambda: 2**70,
    "-2**70": lambda: -(2**70), "10**5000": lambda: 10**5000, "np.int64": lambda: np.int64(7),
    "np.uint64": lambda: np.uint64(2**64 - 1), "np.float32": lambda: np.float32(0.5), "np.bool": lambda: np.bool_(1),
    "np.str": lambda: np.str_("x"), "np array": lambda: np.arange(3), "np dates": lambda: np.datetime64("2020-01-01"),
    "np objects": lambda: np.array([{}, None], dtype=object), "tensor": lambda: torch.tensor(7),
    "tensor of floats": lambda: torch.tensor(0.5), "tensors": lambda: torch.ones(2, 2),
    "meta": lambda: torch.ones((), device="meta"), "empty text": lambda: "", "text": lambda: "x",
    "surrogate": lambda: "\ud800", "nul": lambda: "a\0b", "long": lambda: "x" * 5000, "bytes": lambda: b"\xff",
    "bytearray": lambda: bytearray(b"x"), "list": lambda: [1, "a", None], "names": lambda: ["a", "b"],
    "rows": lambda: [[1, object()], [2, {}]], "ragged": lambda: [[1], [1, 2]], "dicts": lambda: [{"a": 1}, {1: 2}],
    "tuple": lambda: (1, 2), "set": lambda: {1, "a"}, "range": lambda: range(3), "generator": lambda: (i for i in "ab"),
    "empty dict": dict, "dict": lambda: {"a": 1.0, "b": "c"},
    "odd keys": lambda: {1: 1.0, None: 2.0, ("a",): 3, b"x": 4},
    "huge key": lambda: {10**5000: 1.0}, "surrogate key": lambda: {"\ud800": 1.0},
    "nested": lambda: {"a": {"b": {"c": 1}}},
    "columns": lambda: {"a": [1, 2], "b": [3]}, "deep": endless_levels, "cycle": cycle,
    "deque": lambda: collections.deque([1]), "namespace": lambda: argparse.Namespace(b=2),
    "simple namespace": lambda: types.SimpleNamespace(b=2), "attrs": Attrs, "struct": Struct, "pydantic": Pydantic,
    "omegaconf": lambda: OmegaConf.create({"b": 2, "c": "${b}"}), "word": lambda: Word("x"), "count": lambda: Count(3),
    "IntEnum": lambda: Level.HIGH, "enum of texts": lambda: Name.ADAM, "Decimal": lambda: Decimal("1e400"),
    "Fraction": lambda: Fraction(10**5000, 3), "complex": lambda: 1j, "path": lambda: Path("nothing"),
    "date": lambda: datetime.date(2020, 1, 1), "class": lambda: RefusalError, "module": lambda: types,
    "function": lambda: refuse,
    "object": object, "error": RefusalError,
}  # fmt: skip

ODD = READABLE | UNREADABLE
"""Description → what makes one."""
