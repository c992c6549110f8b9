"""DescribeDelegationToken (key 41).

Versions: 1-3.

Behaviour: the tokens of the given owners, or of all for null, that the client owns, asked for or may renew, or may
describe by DESCRIBE on the token or DESCRIBE_TOKENS on its owner; with their HMACs. No owners: no tokens.
DELEGATION_TOKEN_REQUEST_NOT_ALLOWED and DELEGATION_TOKEN_AUTH_DISABLED as in the other token APIs.

Version notes: 3 has the requester of each token (KIP-373).
"""

from __future__ import annotations

from typing import Final

from kwire.api.delegation_tokens import may_ask
from kwire.api.pacing import paced
from kwire.api.probes import UNKNOWN_NAME, Probe
from kwire.broker.requests.context import Context
from kwire.errors import Code
from kwire.metadata.commands.delegation_tokens import Token
from kwire.security.operations import Operation, ResourceType
from kwire.wire.messages import DescribeDelegationTokenRequest, DescribeDelegationTokenResponse

PROBE: Probe = {"owners": [{"principal_type": "User", "principal_name": UNKNOWN_NAME}]}

_REQUESTER_SINCE: Final = 3  # KIP-373


async def handle(context: Context, request: DescribeDelegationTokenRequest) -> DescribeDelegationTokenResponse:
    response = DescribeDelegationTokenResponse(throttle_time_ms=context.throttle_ms)
    tokens = context.broker.delegation_tokens
    if not may_ask(context):
        response.error_code = Code.DELEGATION_TOKEN_REQUEST_NOT_ALLOWED
        return response
    if not tokens.enabled:
        response.error_code = Code.DELEGATION_TOKEN_AUTH_DISABLED
        return response
    owners = None
    if request.owners is not None:
        owners = {f"{one.principal_type}:{one.principal_name}" for one in request.owners}
    response.tokens = [
        _described(context, token) async for token in paced(context, tokens.all()) if _is_shown(context, token, owners)
    ]
    return response


def _is_shown(context: Context, token: Token, owners: set[str] | None) -> bool:
    if owners is not None and owners.isdisjoint((token.owner, token.requester, *token.renewers)):
        return False
    if token.concerns(str(context.principal)):
        return True
    may_token = context.may(Operation.DESCRIBE, ResourceType.DELEGATION_TOKEN, token.id)
    return may_token or context.may(Operation.DESCRIBE_TOKENS, ResourceType.USER, token.owner)


def _described(context: Context, token: Token) -> DescribeDelegationTokenResponse.DescribedDelegationToken:
    owner_type, _, owner_name = token.owner.partition(":")
    described = DescribeDelegationTokenResponse.DescribedDelegationToken(
        principal_type=owner_type,
        principal_name=owner_name,
        issue_timestamp=token.issued_at_ms,
        expiry_timestamp=token.expires_at_ms,
        max_timestamp=token.max_at_ms,
        token_id=token.id,
        hmac=context.broker.delegation_tokens.hmac_of(token.id),
        renewers=[
            DescribeDelegationTokenResponse.DescribedDelegationTokenRenewer(principal_type=kind, principal_name=name)
            for kind, _, name in (renewer.partition(":") for renewer in token.renewers)
        ],
    )
    if context.api_version >= _REQUESTER_SINCE:
        requester_type, _, requester_name = token.requester.partition(":")
        described.token_requester_principal_type = requester_type
        described.token_requester_principal_name = requester_name
    return described
