"""ExpireDelegationToken (key 40).

Versions: 1-2.

Behaviour: sets the expiry of a token; a negative period removes it, also after it has expired.
DELEGATION_TOKEN_REQUEST_NOT_ALLOWED, DELEGATION_TOKEN_AUTH_DISABLED, DELEGATION_TOKEN_NOT_FOUND,
DELEGATION_TOKEN_OWNER_MISMATCH for a client that is neither owner nor renewer, DELEGATION_TOKEN_EXPIRED; in this order.
"""

from __future__ import annotations

from kwire.api.delegation_tokens import change_expiry
from kwire.api.probes import NO_ID, Probe
from kwire.broker.requests.context import Context
from kwire.metadata.commands.delegation_tokens import ExpireToken
from kwire.wire.messages import ExpireDelegationTokenRequest, ExpireDelegationTokenResponse

PROBE: Probe = {"hmac": NO_ID, "expiry_time_period_ms": 1}


async def handle(context: Context, request: ExpireDelegationTokenRequest) -> ExpireDelegationTokenResponse:
    code, expiry_ms = await change_expiry(context, ExpireToken, request.hmac, request.expiry_time_period_ms)
    return ExpireDelegationTokenResponse(
        throttle_time_ms=context.throttle_ms, error_code=code, expiry_timestamp_ms=expiry_ms
    )
