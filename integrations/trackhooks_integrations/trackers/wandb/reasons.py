"""`reason`: what went wrong in W&B, in one plain line."""

from __future__ import annotations

from ..._shared.connections import causes, connection_reason

_REJECTED = "the API key was rejected"
REMEDY = "Check WANDB_API_KEY, or run: wandb login --relogin"


def reason(error: BaseException, server: str) -> str:
    """Return why W&B cannot be used; empty if the error is not one of W&B's client."""
    from wandb.errors import AuthenticationError

    if isinstance(error, AuthenticationError):
        return _authentication(error, server)
    return connection_reason(error, server)


def _authentication(error: BaseException, server: str) -> str:
    """Explain an `AuthenticationError`, which W&B also raises if its server does not answer properly."""
    from wandb.errors import AuthenticationError
    from wandb.sdk.lib.service.service_connection import WandbApiFailedError

    first = list(causes(error))[-1]
    if isinstance(first, AuthenticationError):  # the key does not have the form of one
        return f"{_REJECTED}: {first} {REMEDY}"
    code = first.response.http_status if isinstance(first, WandbApiFailedError) and first.response else 0
    if code in (401, 403):
        return f"{_REJECTED} by {server} (HTTP {code}). {REMEDY}"
    if code:
        return f"{server} answers with an error (HTTP {code})"
    return f"no proper answer from {server}"  # W&B repeats a request that has failed, until its time is over
