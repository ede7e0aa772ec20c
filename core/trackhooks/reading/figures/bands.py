"""Means and standard deviations of the curves of a group of runs."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np

from .axes import Floats
from .reduction import grid, means

_ALIKE = 1.5
"""Curves are aligned by their positions if together they have at most this many times those of the longest one."""
_BUCKETS = 500


class Band(NamedTuple):
    """The mean of several curves, and the sample standard deviation, which is NaN where there is only one."""

    x: Floats
    mean: Floats
    std: Floats


def band(curves: list[tuple[Floats, Floats]]) -> Band:
    """Return the mean and the standard deviation of curves, at the positions that they share.

    If the positions differ, as over time, the curves are compared on a grid of buckets, each with its mean there. A
    value that is not finite makes a gap.
    """
    whole = [(x[np.isfinite(x)], value[np.isfinite(x)]) for x, value in curves]
    positions = np.unique(np.concatenate([x for x, _ in whole]))
    longest = max(len(x) for x, _ in whole)
    if len(positions) > _ALIKE * longest:
        whole, positions = _on_grid(whole, min(longest, _BUCKETS))
    table = np.full((len(whole), len(positions)), np.nan)
    missing = np.ones(table.shape, bool)
    for row, (x, value) in enumerate(whole):
        place = np.searchsorted(positions, x)
        table[row, place], missing[row, place] = value, False
    return _statistics(positions, np.ma.masked_array(table, missing))


def _on_grid(curves: list[tuple[Floats, Floats]], buckets: int) -> tuple[list[tuple[Floats, Floats]], Floats]:
    on = grid([x for x, _ in curves], buckets)
    middles = on.low + (np.arange(buckets) + 0.5) / buckets * (on.high - on.low)
    found = [means(x, value, on) for x, value in curves]
    placed = [(middles[on.of(mean.x)], mean.value) for mean in found]
    return placed, np.unique(np.concatenate([x for x, _ in placed]))


def _statistics(positions: Floats, table: np.ma.MaskedArray[tuple[int, int], np.dtype[np.float64]]) -> Band:
    counts = (~np.ma.getmaskarray(table)).sum(axis=0)
    values = np.where(np.ma.getmaskarray(table), 0.0, np.ma.getdata(table))
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        mean = values.sum(axis=0) / counts
        off = np.where(np.ma.getmaskarray(table), 0.0, values - mean)
        std = np.sqrt((off**2).sum(axis=0) / (counts - 1.0))
    return Band(positions, mean, np.where(counts > 1, std, np.nan))
