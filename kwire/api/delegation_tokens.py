"""What the delegation token APIs share.

Responsible for: which clients may send their requests, and a change of a token's expiry. Must not depend on: single
APIs.
"""

from __future__ import annotations

from kwire.broker.controller.interface import only
from kwire.broker.requests.context import Context
from kwire.errors import Code, KafkaError
from kwire.metadata.commands.delegation_tokens import ExpireToken, RenewToken
from kwire.security.principal import ANONYMOUS

NO_TIME = -1  # the times in a refusal by this broker, before the controller is involved


def may_ask(context: Context) -> bool:
    """Tell whether the client has authenticated itself, and not by a token.

    Without that, the APIs answer DELEGATION_TOKEN_REQUEST_NOT_ALLOWED.
    """
    client = context.client
    protocol = context.endpoint.security_protocol
    anonymous = protocol == "PLAINTEXT" or (protocol == "SSL" and client.principal == ANONYMOUS)
    return not (client.authenticated_by_token or anonymous)


async def change_expiry(
    context: Context, change: type[RenewToken | ExpireToken], hmac: bytes | memoryview, period_ms: int
) -> tuple[Code, int]:
    """Renew or expire the token with an HMAC. Returns the code of the answer, and the new expiry in ms."""
    if not may_ask(context):
        return Code.DELEGATION_TOKEN_REQUEST_NOT_ALLOWED, NO_TIME
    broker = context.broker
    token_id = broker.delegation_tokens.id_of(bytes(hmac))
    command = change(token_id, str(context.principal), period_ms, broker.clock.now_ms())
    try:
        return Code.NONE, only(await broker.controller.submit(command))
    except KafkaError as refusal:
        return refusal.code, 0
