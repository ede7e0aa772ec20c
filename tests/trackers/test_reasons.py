"""A backend that cannot be used is explained in one plain line, in the training, at its end, and by `sync`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from textwrap import dedent
from typing import Any

import odd_servers
import pytest
from backends import keep_wandb_apart
from folders import SUPPORT, importing

import trackhooks
from trackhooks.delivery.catch_up import deliver
from trackhooks.delivery.cursor import Spec

ACCOUNT = " Check MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
KEY = "Check WANDB_API_KEY, or run: wandb login --relogin"


def why(tmp_path: Path, tracker: str, **options: Any) -> str:
    """Return what `sync` says about a run that it cannot deliver, without the address."""
    given: dict[str, Any] = {tracker: options}
    with trackhooks.run(dir=tmp_path, delivery="off", **given) as run:
        run.log(loss=1.0)
    return deliver(run.path, [Spec(tracker, options)])[tracker]


def not_there() -> AbstractContextManager[str]:
    return nullcontext(odd_servers.DEAD)


def unknown_host() -> AbstractContextManager[str]:
    return nullcontext("http://no-such-host.invalid:5000")


@pytest.mark.parametrize(
    ("server", "reason"),
    [
        (not_there, "no server at {}"),
        (unknown_host, "no server at {}"),
        (odd_servers.silent, "no answer from {}"),
        (lambda: odd_servers.answering(200, b"<html>Hello</html>"), "{} is not an MLflow server"),
        (lambda: odd_servers.answering(404, b"<html>Nothing</html>"), "{} answers with an error (HTTP 404)"),
        (lambda: odd_servers.answering(503), "{} answers with an error (HTTP 503)"),
        (lambda: odd_servers.answering(401, b"Who?"), "{} rejected the account (HTTP 401)." + ACCOUNT),
        (lambda: odd_servers.answering(403, b"No."), "{} rejected the account (HTTP 403)." + ACCOUNT),
    ],
)
def test_mlflow_says_what_is_wrong_with_its_server(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    server: Callable[[], AbstractContextManager[str]],
    reason: str,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with server() as address:
        assert why(tmp_path, "mlflow", tracking_uri=address) == reason.format(address)


@pytest.mark.slow
def test_mlflow_says_in_one_line_what_is_wrong_with_its_database(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("not a database")
    found = why(tmp_path, "mlflow", tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    assert "file is not a database" in found
    assert "\n" not in found


TRAIN = """
    import sys, time, trackhooks
    with trackhooks.run(name="r", **{{{tracker!r}: {{}}}}) as run:
        for epoch in run.epochs(400):
            for _ in run.train(range(2)):
                run.log(loss=1.0)
            time.sleep(0.5)
            if epoch and open(run.path / "delivery" / "log").read().count("will be tried again"):
                break
        time.sleep(1)
        run.log(after=1.0)
        print("the training has ended", file=sys.stderr)
"""


def said(tmp_path: Path, tracker: str, **environment: str) -> str:
    """Return what a program prints on standard error."""
    with pytest.MonkeyPatch.context() as patch:
        keep_wandb_apart(patch, tmp_path)
        env = importing(SUPPORT) | {"NETRC": str(tmp_path / "netrc")} | environment
    script = tmp_path / "train.py"
    script.write_text(dedent(TRAIN.format(tracker=tracker)))
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
    )
    return done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("server", "key", "reason"),
    [
        (
            lambda: odd_servers.answering(401),
            "a" * 40,
            "wandb: the API key was rejected by {} (HTTP 401). " + KEY,
        ),
        (lambda: odd_servers.answering(500), "a" * 40, "wandb: no proper answer from {}"),
        (not_there, "a" * 40, "wandb: no server at {}"),
        (
            lambda: odd_servers.answering(401),
            "short",
            "wandb: the API key was rejected: API key must have 40+ characters, has 5. " + KEY,
        ),
    ],
    ids=["rejected", "broken", "dead", "malformed"],
)
def test_wandb_says_in_the_training_and_at_its_end_what_is_wrong(
    tmp_path: Path, server: Callable[[], AbstractContextManager[str]], key: str, reason: str
) -> None:
    with server() as address:
        printed = said(tmp_path, "wandb", WANDB_API_KEY=key, WANDB_BASE_URL=address)
    during, _, after = printed.partition("the training has ended")
    assert during.count(reason.format(address)) == 1, printed
    assert f"({reason.format(address)})" in after, printed


@pytest.mark.slow
def test_mlflow_says_in_the_training_and_at_its_end_that_there_is_no_server(tmp_path: Path) -> None:
    printed = said(tmp_path, "mlflow", MLFLOW_TRACKING_URI=odd_servers.DEAD)
    during, _, after = printed.partition("the training has ended")
    assert during.count("mlflow: no server at http://127.0.0.1:9") == 1, printed
    assert "(mlflow: no server at http://127.0.0.1:9)" in after, printed
