"""How a loop left a generator: by choice or by an exception."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from typing import Any

import pytest

from trackhooks.loop.early_exit import left_by_exception

seen: list[bool] = []
"""What each generator of a test found, in the order in which they were left."""


@pytest.fixture(autouse=True)
def _nothing_seen() -> None:
    seen.clear()


def items() -> Iterator[int]:
    try:
        yield from range(3)
    except GeneratorExit:
        seen.append(left_by_exception())
        raise


def wrapped(inner: Iterator[int]) -> Iterator[int]:
    for item in inner:  # noqa: UP028 — as a progress bar does it
        yield item


class Bar:
    """A progress bar."""

    def __init__(self, inner: Iterator[int]) -> None:
        self.inner = [inner]

    def __iter__(self) -> Iterator[int]:
        inner = self.inner.pop()
        return wrapped(inner)


def boom() -> None:
    raise ValueError


# --- By choice


def by_break() -> None:
    for _ in items():
        break


def by_break_of_an_unpacked_item() -> None:
    for index, _ in enumerate(items()):
        if index:
            break


def by_return() -> None:
    for _ in items():
        return


def by_return_of_the_item() -> int | None:
    for item in items():
        if item:
            return item
    return None


def by_return_of_a_list() -> list[int] | None:
    for _ in items():
        found = [item for item in range(3)]  # noqa: C416 — a separate frame before Python 3.12
        if found:
            return found
    return None


def by_break_from_enumerate() -> None:
    for _ in enumerate(items()):
        break


def by_break_from_zip() -> None:
    for first, _ in zip(items(), items(), strict=True):
        if first:
            break


def by_break_from_a_wrapping_generator() -> None:
    for _ in wrapped(wrapped(items())):
        break


def by_break_from_a_bar() -> None:
    for _ in Bar(items()):
        break


def by_break_from_a_generator_expression() -> None:
    for _ in (item + 1 for item in items()):
        break


def by_break_within_try_and_finally() -> None:
    for item in items():
        try:
            if item:
                break
        finally:
            str(item)


def by_break_after_an_exception_that_was_caught() -> None:
    for _ in items():
        try:
            boom()
        except ValueError:
            break


def by_break_from_within_with() -> None:
    for _ in items():
        with nullcontext():
            break


def by_break_of_nested_loops_within_with() -> None:
    with nullcontext():
        for _ in items():
            for _ in items():
                break
            break


def by_return_from_nested_loops() -> int | None:
    for first in items():
        for second in items():
            return first + second
    return None


def by_dropping_what_a_variable_held() -> None:
    held = items()
    next(held)
    del held


def by_the_end_of_a_loop_that_another_breaks() -> None:
    for _ in range(2):
        for item in items():
            if item == 1:
                break
        else:
            raise AssertionError


BY_CHOICE = [value for name, value in list(globals().items()) if name.startswith("by_")]


@pytest.mark.parametrize("leave", BY_CHOICE)
def test_a_loop_left_by_choice_is_distinguished_from_one_that_raised(leave: Callable[[], Any]) -> None:
    leave()
    assert seen
    assert not any(seen)


# --- By an exception


def raised_by_a_call() -> None:
    for _ in items():
        boom()


def raised_by_a_statement() -> None:
    for _ in items():
        raise ValueError


def raised_by_exit() -> None:
    for _ in items():
        sys.exit(3)


def raised_by_an_operator() -> None:
    for item in enumerate(items()):
        str(1 // item[0])


def raised_by_an_index() -> None:
    for _ in wrapped(wrapped(items())):
        seen[7] = False


def raised_by_a_key() -> None:
    for _ in Bar(items()):
        del globals()["nothing of this name"]


class Refusing:
    def __bool__(self) -> bool:
        raise ValueError

    def __setattr__(self, name: str, value: object) -> None:
        raise ValueError


def raised_by_a_condition() -> None:
    for _ in items():
        if Refusing():
            break


def raised_by_a_condition_of_while() -> None:
    for _ in items():
        while not Refusing():
            break


def raised_by_setting_an_attribute() -> None:
    for item in items():
        Refusing().item = item


def raised_by_an_attribute() -> None:
    for item in items():
        item.nothing  # type: ignore[attr-defined] # noqa: B018


def raised_by_a_name() -> None:
    for _ in items():
        nothing  # type: ignore[name-defined] # noqa: B018, F821


def raised_by_an_assertion() -> None:
    for _ in items():
        assert not seen, "no"
        assert seen


def raised_by_unpacking() -> None:
    for item in items():
        _first, _second = item  # type: ignore[misc]


def raised_in_nested_loops() -> None:
    for _ in items():
        for _ in items():
            boom()


def raised_within_with() -> None:
    with nullcontext():
        for _ in items():
            with nullcontext():
                boom()


def raised_within_try_and_finally() -> None:
    try:
        for item in items():
            try:
                boom()
            finally:
                str(item)
    finally:
        str(1)


def raised_again() -> None:
    for _ in items():
        try:
            boom()
        except ValueError as error:
            raise KeyError from error


def raised_by_what_is_gone_through() -> None:
    def broken() -> Iterator[int]:
        for item in items():
            yield item
            boom()

    for _ in broken():
        pass


RAISED = [value for name, value in list(globals().items()) if name.startswith("raised_")]


@pytest.mark.parametrize("leave", RAISED)
def test_a_loop_that_raised_is_distinguished_from_one_left_by_choice(leave: Callable[[], Any]) -> None:
    with suppress(Exception, SystemExit):
        leave()
    assert seen
    assert all(seen)


def test_it_is_distinguished_under_a_tracing_debugger_as_well() -> None:
    before = sys.gettrace()
    sys.settrace(lambda *_: None)
    try:
        by_break()
        with suppress(ValueError):
            raised_by_a_call()
    finally:
        sys.settrace(before)
    assert seen == [False, True]


# --- What cannot be told: see the module's document


def test_of_a_generator_that_a_variable_holds_only_the_variables_end_is_seen() -> None:
    def raised() -> None:
        held = items()
        for _ in held:
            boom()

    def left() -> None:
        held = items()
        for _ in held:
            break

    with suppress(ValueError):
        raised()
    left()
    assert seen == [False, True]


def test_an_explicit_close_counts_as_an_exception() -> None:
    held: Any = items()
    next(held)
    held.close()
    assert seen == [True]
