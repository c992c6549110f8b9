"""RenewDelegationToken (key 39).

Versions: 1-2.

Behaviour: moves the expiry of a token, by ``delegation.token.expiry.time.ms`` at most and never past the token's end.
DELEGATION_TOKEN_REQUEST_NOT_ALLOWED, DELEGATION_TOKEN_AUTH_DISABLED, DELEGATION_TOKEN_NOT_FOUND,
DELEGATION_TOKEN_EXPIRED, DELEGATION_TOKEN_OWNER_MISMATCH for a client that is neither owner nor renewer; in this order.
"""

from __future__ import annotations

from kwire.api.delegation_tokens import change_expiry
from kwire.api.probes import NO_ID, Probe
from kwire.broker.requests.context import Context
from kwire.metadata.commands.delegation_tokens import RenewToken
from kwire.wire.messages import RenewDelegationTokenRequest, RenewDelegationTokenResponse

PROBE: Probe = {"hmac": NO_ID, "renew_period_ms": 1}


async def handle(context: Context, request: RenewDelegationTokenRequest) -> RenewDelegationTokenResponse:
    code, expiry_ms = await change_expiry(context, RenewToken, request.hmac, request.renew_period_ms)
    return RenewDelegationTokenResponse(
        throttle_time_ms=context.throttle_ms, error_code=code, expiry_timestamp_ms=expiry_ms
    )
