"""Tables: what is logged is what the frame shows, with its index."""

from __future__ import annotations

from typing import Any

import pandas
import pytest

from trackhooks.values.media import table

FRAME = pandas.DataFrame({"n": [1, 2], "x": [0.5, 1.5]})


def parts(data: Any) -> tuple[list[str], list[list[Any]]]:
    found = table("t", data)
    return found.columns, found.rows


@pytest.mark.parametrize(
    "frame", [FRAME, FRAME.reset_index(drop=True), FRAME[FRAME.n > 1].reset_index(drop=True)]
)
def test_an_index_that_only_counts_the_rows_is_left_out(frame: Any) -> None:
    assert parts(frame)[0] == ["n", "x"]


@pytest.mark.parametrize(
    ("frame", "columns", "first"),
    [
        (FRAME.set_index(pandas.Index(["a", "b"], name="class")), ["class", "n", "x"], ["a", 1, 0.5]),
        (FRAME.set_index(pandas.Index(["a", "b"])), ["index", "n", "x"], ["a", 1, 0.5]),
        (FRAME[1:], ["index", "n", "x"], [1, 2, 1.5]),
        (FRAME[FRAME.n > 1], ["index", "n", "x"], [1, 2, 1.5]),
        (FRAME.rename_axis("epoch"), ["epoch", "n", "x"], [0, 1, 0.5]),
        (FRAME.set_index(pandas.Index([7, 8], name="n")), ["n (index)", "n", "x"], [7, 1, 0.5]),
        (
            FRAME.set_index(pandas.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["class", None])),
            ["class", "level_1", "n", "x"],
            ["a", 1, 1, 0.5],
        ),
        (FRAME.groupby("n").sum(), ["n", "x"], [1, 0.5]),
        (FRAME.n.value_counts(), ["n", "count"], [1, 1]),
        (FRAME.describe().loc[["mean"]], ["index", "n", "x"], ["mean", 1.5, 1.0]),
    ],
)
def test_another_index_comes_first(frame: Any, columns: list[str], first: list[Any]) -> None:
    found, rows = parts(frame)
    assert found == columns
    assert rows[0] == first


def test_each_column_keeps_its_type() -> None:
    dates = pandas.DataFrame({"when": pandas.to_datetime(["2020-01-01"])})
    assert parts(FRAME)[1] == [[1, 0.5], [2, 1.5]]
    assert type(parts(FRAME)[1][0][0]) is int
    assert parts(dates)[1] == [["2020-01-01 00:00:00"]]


def test_a_frame_without_columns_or_rows_is_kept_or_refused_by_name() -> None:
    assert parts(FRAME[:0]) == (["n", "x"], [])
    with pytest.raises(Exception, match="the columns are not known"):
        table("t", pandas.DataFrame())
