"""ExpireDelegationToken (key 40).

Versions: 1-2.

Behaviour: sets the expiry of a token; a negative period removes it, also after it has expired.
DELEGATION_TOKEN_REQUEST_NOT_ALLOWED, DELEGATION_TOKEN_AUTH_DISABLED, DELEGATION_TOKEN_NOT_FOUND,
DELEGATION_TOKEN_OWNER_MISMATCH for a client that is neither owner nor renewer, DELEGATION_TOKEN_EXPIRED; in this order.
"""

from __future__ import annotations

from kwire.api.delegation_tokens import NO_TIME, may_ask
from kwire.broker.controller.interface import only
from kwire.broker.requests.context import Context
from kwire.errors import Code, KafkaError
from kwire.metadata.delegation_tokens import ExpireToken
from kwire.wire.messages import ExpireDelegationTokenRequest, ExpireDelegationTokenResponse


async def handle(context: Context, request: ExpireDelegationTokenRequest) -> ExpireDelegationTokenResponse:
    response = ExpireDelegationTokenResponse(throttle_time_ms=context.throttle_ms)
    if not may_ask(context):
        response.error_code, response.expiry_timestamp_ms = Code.DELEGATION_TOKEN_REQUEST_NOT_ALLOWED, NO_TIME
        return response
    broker = context.broker
    token_id = broker.delegation_tokens.id_of(bytes(request.hmac))
    command = ExpireToken(token_id, str(context.principal), request.expiry_time_period_ms, broker.clock.now_ms())
    try:
        response.expiry_timestamp_ms = only(await broker.controller.submit(command))
    except KafkaError as refusal:
        response.error_code = refusal.code
    return response
