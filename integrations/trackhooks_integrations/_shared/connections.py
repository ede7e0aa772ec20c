"""`connection_reason`: in plain words, why a server could not be reached with the package `requests`."""

from __future__ import annotations

import re
from collections.abc import Iterator


def connection_reason(error: BaseException, address: str) -> str:
    """Return why a request to this address failed, in one line; empty if the error is not of a connection."""
    found = (_reason(cause, address) for cause in causes(error))
    return next(filter(None, found), "")


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it was raised from."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _reason(error: BaseException, address: str) -> str:
    from requests import exceptions

    if isinstance(error, exceptions.Timeout):
        return _no_answer(address)
    if isinstance(error, exceptions.SSLError):
        return f"the certificate of {address} is not trusted"
    if isinstance(error, exceptions.ProxyError):
        return f"the proxy to {address} cannot be reached"
    if isinstance(error, exceptions.RetryError):
        return f"{address} answers with an error{_status(error)}"
    if isinstance(error, exceptions.ConnectionError):
        return _broken(error, address)
    return ""


def _no_answer(address: str) -> str:
    return f"no answer from {address}"


def _status(error: BaseException) -> str:
    found = re.search(r"too many (\d{3}) error responses", str(error))
    return f" (HTTP {found[1]})" if found else ""


def _broken(error: BaseException, address: str) -> str:
    from urllib3.exceptions import NewConnectionError, TimeoutError  # noqa: A004 — not the built-in one

    inner = error.args[0] if error.args else error
    inner = getattr(inner, "reason", inner)  # of `MaxRetryError`
    if isinstance(inner, NewConnectionError):  # refused, or no such host
        return f"no server at {address}"
    if isinstance(inner, TimeoutError):
        return _no_answer(address)
    return f"the connection to {address} was lost"
