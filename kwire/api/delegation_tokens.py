"""What the delegation token APIs share.

Responsible for: which clients may send their requests. Must not depend on: single APIs.
"""

from __future__ import annotations

from kwire.broker.requests.context import Context
from kwire.security.principal import ANONYMOUS

NO_TIME = -1  # the times of an answer that the broker refuses before it asks the controller


def may_ask(context: Context) -> bool:
    """Tell whether the client has authenticated itself, and not by a token.

    Without that, the APIs answer DELEGATION_TOKEN_REQUEST_NOT_ALLOWED.
    """
    client = context.client
    protocol = context.endpoint.security_protocol
    anonymous = protocol == "PLAINTEXT" or (protocol == "SSL" and client.principal == ANONYMOUS)
    return not (client.authenticated_by_token or anonymous)
