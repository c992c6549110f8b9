"""The refusals of the delegation token APIs.

Responsible for: which of two errors is answered. Must not depend on: the request. Tokens are not served; records of
them in the metadata log are kept.
"""

from __future__ import annotations

from kwire.broker.requests.context import Context
from kwire.errors import Code

_UNAUTHENTICATED = frozenset({"PLAINTEXT"})


def refusal(context: Context) -> Code:
    """Return the error: clients must be authenticated, and tokens need a secret key, which is not configured."""
    if context.endpoint.security_protocol in _UNAUTHENTICATED:
        return Code.DELEGATION_TOKEN_REQUEST_NOT_ALLOWED
    return Code.DELEGATION_TOKEN_AUTH_DISABLED
