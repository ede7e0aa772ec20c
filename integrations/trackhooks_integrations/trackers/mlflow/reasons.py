"""`reason`: what went wrong in MLflow, in one plain line."""

from __future__ import annotations

import re

from ..._shared.connections import connection_reason

_UNAUTHORIZED = (401, 403)


def reason(error: BaseException, address: str) -> str:
    """Return why the store at this address cannot be used; empty if the error is not one of MLflow's client."""
    return connection_reason(error, address) or _answer(error, address)


def _answer(error: BaseException, address: str) -> str:
    from mlflow import MlflowException
    from requests import HTTPError

    text = str(error)
    if isinstance(error, HTTPError) and error.response is not None:
        return _status(error.response.status_code, address)
    if not isinstance(error, MlflowException):
        return ""
    if error.get_http_status_code() in _UNAUTHORIZED:
        return _status(error.get_http_status_code(), address)
    refused = re.match(r"API request to endpoint \S+ failed with error code (\d+)", text)
    if refused:
        return _status(int(refused[1]), address)
    if text.startswith(
        "API request to endpoint"
    ):  # "… was successful but the response body was not … valid JSON"
        return f"{address} is not an MLflow server"
    return text


def _status(code: int, address: str) -> str:
    if code in _UNAUTHORIZED:
        return (
            f"{address} rejected the account (HTTP {code})."
            " Check MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
        )
    return f"{address} answers with an error (HTTP {code})"
