"""CreateDelegationToken (key 38).

Versions: 1-3.

Behaviour: DELEGATION_TOKEN_REQUEST_NOT_ALLOWED where the client has not authenticated itself or did so by a token, then
DELEGATION_TOKEN_AUTHORIZATION_FAILED for a token of another owner without CREATE_TOKENS on that user, then
INVALID_PRINCIPAL_TYPE, then DELEGATION_TOKEN_AUTH_DISABLED without ``delegation.token.secret.key``.

Version notes: 3 the owner may be another principal, and the answer has the requester (KIP-373).
"""

from __future__ import annotations

from typing import Final

from kwire.api.delegation_tokens import NO_TIME, may_ask
from kwire.api.probes import UNKNOWN_NAME, Probe
from kwire.broker.controller.interface import only
from kwire.broker.requests.context import Context
from kwire.errors import Code, KafkaError
from kwire.metadata.commands.delegation_tokens import USER_PREFIX, CreateToken
from kwire.security.operations import Operation, ResourceType
from kwire.security.principal import Principal
from kwire.wire.messages import CreateDelegationTokenRequest, CreateDelegationTokenResponse

# A renewer must be of type User.
PROBE: Probe = {"renewers": [{"principal_type": "Unknown", "principal_name": UNKNOWN_NAME}]}

_REQUESTER_SINCE: Final = 3  # KIP-373


async def handle(context: Context, request: CreateDelegationTokenRequest) -> CreateDelegationTokenResponse:
    requester = context.principal
    owner = requester
    if request.owner_principal_name:
        owner = Principal(request.owner_principal_type or "", request.owner_principal_name)
    response = CreateDelegationTokenResponse(
        principal_type=owner.type, principal_name=owner.name, throttle_time_ms=context.throttle_ms
    )
    if context.api_version >= _REQUESTER_SINCE:
        response.token_requester_principal_type, response.token_requester_principal_name = requester
    renewers = [f"{one.principal_type}:{one.principal_name}" for one in request.renewers]
    response.error_code = _refusal(context, owner, renewers)
    if response.error_code:
        response.issue_timestamp_ms = response.expiry_timestamp_ms = response.max_timestamp_ms = NO_TIME
        return response
    now_ms = context.broker.clock.now_ms()
    command = CreateToken(str(owner), str(requester), renewers, request.max_lifetime_ms, now_ms)
    try:
        token = only(await context.broker.controller.submit(command))
    except KafkaError as refusal:
        response.error_code = refusal.code
        return response
    response.issue_timestamp_ms = token.issued_at_ms
    response.expiry_timestamp_ms = token.expires_at_ms
    response.max_timestamp_ms = token.max_at_ms
    response.token_id = token.id
    response.hmac = context.broker.delegation_tokens.hmac_of(token.id)
    return response


def _refusal(context: Context, owner: Principal, renewers: list[str]) -> Code:
    if not may_ask(context):
        return Code.DELEGATION_TOKEN_REQUEST_NOT_ALLOWED
    if owner != context.principal and not context.may(Operation.CREATE_TOKENS, ResourceType.USER, str(owner)):
        return Code.DELEGATION_TOKEN_AUTHORIZATION_FAILED
    if not all(renewer.startswith(USER_PREFIX) for renewer in renewers):
        return Code.INVALID_PRINCIPAL_TYPE
    return Code.NONE
