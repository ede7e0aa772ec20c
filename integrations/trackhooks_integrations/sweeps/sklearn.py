"""Record a search of scikit-learn: a run for each candidate, in a group for the search.

Neither scikit-learn nor NumPy is imported here: a fitted search has everything that is recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import trackhooks
from trackhooks.errors import InvalidValueError
from trackhooks.errors.foreign import shown

from .options import check, copies

_ALREADY = ("params", "param_", "split", "iter")
"""How the names of those results begin that are recorded in another form."""


@contextmanager
def record_search(
    search: Any,
    *trackers: Any,
    name: str | None = None,
    group: str | None = None,
    tags: Iterable[str] = (),
    **options: Any,
) -> Iterator[trackhooks.Run]:
    """Record the search that is fitted within: `with record_search(search, "csv") as run: search.fit(X, y)`.

    The search is a run, and each candidate is a run that is part of it, whichever process fitted it. A candidate has
    its parameters, the scores of each split as points over the steps, and the columns of `cv_results_`, such as
    `mean_test_score`, `std_test_score`, `rank_test_score` and `speed/mean_fit_time`. Its mean score is also recorded as
    `objective/maximize`. It has finished; failed, if one of its fits failed; or was pruned, if a halving search dropped
    it. Trainings that `enable` records meanwhile are parts of the search too.

    Args:
        search: a `GridSearchCV`, `RandomizedSearchCV`, `HalvingGridSearchCV`, or another search with `cv_results_`.
        *trackers: as in `trackhooks.run`. Each run gets a copy of a tracker that is passed as an object.
        name: the name of the search, which the names of the candidates begin with: `svc`, `svc-0`, `svc-1`. By default
            the class of the search.
        group: the group of the runs. By default its name and the time.
        tags: the tags of each run.
        **options: the other options of `trackhooks.run`.

    Yields:
        The run of the search. An exception, also one that `fit` raises, sets its status.

    Raises:
        InvalidValueError: `search` is not a search, or was not fitted within; or an argument is not accepted.
    """
    check("record_search", trackers, options, tags, name)
    if not all(hasattr(search, method) for method in ("fit", "get_params", "refit")):
        raise InvalidValueError(
            f"record_search takes a search of scikit-learn, such as GridSearchCV(…), got {shown(search)}."
        )
    earlier = getattr(search, "cv_results_", None)
    called = name or type(search).__name__
    unique = group or f"{called}-{datetime.now():%Y-%m-%d-%H-%M-%S}"
    with trackhooks.run(*copies(trackers), name=called, group=unique, tags=tags, **options) as run:
        run.callbacks.on_train_begin()  # trainings within are parts of this one
        yield run
        run.callbacks.on_train_end()
        if getattr(search, "cv_results_", None) is earlier:
            raise InvalidValueError(
                f"{type(search).__name__} was not fitted within record_search: call search.fit(X, y)."
            )
        candidates = _candidates(search.cv_results_)
        _record_best(run, search, len(candidates))
    for number, rows in enumerate(candidates):
        with run.child(f"{run.name}-{number}") as candidate:
            _record(candidate, search, rows)


def _record_best(run: trackhooks.Run, search: Any, candidates: int) -> None:
    best = {"best": search.best_params_} if hasattr(search, "best_params_") else {}
    run.log_params({"candidates": candidates, "splits": search.n_splits_, **best})
    found = {"best_score": "best_score_", "speed/refit_time": "refit_time_"}
    run.log(
        {name: getattr(search, attribute) for name, attribute in found.items() if hasattr(search, attribute)}
    )


def _candidates(results: Mapping[str, Any]) -> list[list[dict[str, Any]]]:
    """Return the rows of each candidate: one, or one of each iteration in which a halving search kept it."""
    rows = [
        {name: values[index] for name, values in results.items()} for index in range(len(results["params"]))
    ]
    if "iter" not in results:
        return [[row] for row in rows]
    candidates: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        candidates.setdefault(repr(row["params"]), []).append(row)
    return list(candidates.values())


def _record(run: trackhooks.Run, search: Any, rows: list[dict[str, Any]]) -> None:
    """Record a candidate. Its splits are points over the steps, and its iterations, if there are several, epochs."""
    run.log_params(rows[0]["params"])
    for row in rows:
        epoch = {"epoch": int(row["iter"])} if "iter" in row else {}
        for split in range(search.n_splits_):
            begin = f"split{split}_"
            run.log({name.removeprefix(begin): row[name] for name in row if name.startswith(begin)}, **epoch)
        run.log(
            {_named(name): value for name, value in row.items() if not name.startswith(_ALREADY)}, **epoch
        )
    _close(run, search, rows[-1])


def _named(column: str) -> str:
    return f"speed/{column}" if column.endswith("_time") else column


def _close(run: trackhooks.Run, search: Any, last: Mapping[str, Any]) -> None:
    metric = search.refit if isinstance(search.refit, str) else "score"
    score = last.get(f"mean_test_{metric}")
    if score is not None and score == score:
        run.log({"objective/maximize": score})
    failed = [
        name for name in last if name.startswith("split") and "_test_" in name and last[name] != last[name]
    ]
    if failed:
        run.close("failed", f"no score in {len(failed)} of {search.n_splits_} splits")
    elif "iter" in last and last["iter"] < search.n_iterations_ - 1:
        run.close("pruned", f"dropped by {type(search).__name__}")
