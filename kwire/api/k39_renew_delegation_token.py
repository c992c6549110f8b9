"""RenewDelegationToken (key 39).

Versions: 1-2.

Behaviour: moves the expiry of a token, by ``delegation.token.expiry.time.ms`` at most and never past the token's end.
DELEGATION_TOKEN_REQUEST_NOT_ALLOWED, DELEGATION_TOKEN_AUTH_DISABLED, DELEGATION_TOKEN_NOT_FOUND,
DELEGATION_TOKEN_EXPIRED, DELEGATION_TOKEN_OWNER_MISMATCH for a client that is neither owner nor renewer; in this order.
"""

from __future__ import annotations

from kwire.api.delegation_tokens import NO_TIME, may_ask
from kwire.broker.controller.interface import only
from kwire.broker.requests.context import Context
from kwire.errors import Code, KafkaError
from kwire.metadata.delegation_tokens import RenewToken
from kwire.wire.messages import RenewDelegationTokenRequest, RenewDelegationTokenResponse


async def handle(context: Context, request: RenewDelegationTokenRequest) -> RenewDelegationTokenResponse:
    response = RenewDelegationTokenResponse(throttle_time_ms=context.throttle_ms)
    if not may_ask(context):
        response.error_code, response.expiry_timestamp_ms = Code.DELEGATION_TOKEN_REQUEST_NOT_ALLOWED, NO_TIME
        return response
    broker = context.broker
    token_id = broker.delegation_tokens.id_of(bytes(request.hmac))
    command = RenewToken(token_id, str(context.principal), request.renew_period_ms, broker.clock.now_ms())
    try:
        response.expiry_timestamp_ms = only(await broker.controller.submit(command))
    except KafkaError as refusal:
        response.error_code = refusal.code
    return response
