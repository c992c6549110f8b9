"""Why delegation tokens are refused.

Owns: which of two errors. May not know: what is asked for. Tokens are not served; records of some in the metadata log
are kept.
"""

from __future__ import annotations

from kwire.broker.requests.context import Context
from kwire.errors import Code

_UNAUTHENTICATED = frozenset({"PLAINTEXT"})


def refusal(context: Context) -> Code:
    """Give the error. Whoever is not authenticated may not ask; nobody gets a token without a secret key."""
    if context.endpoint.security_protocol in _UNAUTHENTICATED:
        return Code.DELEGATION_TOKEN_REQUEST_NOT_ALLOWED
    return Code.DELEGATION_TOKEN_AUTH_DISABLED
