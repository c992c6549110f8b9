"""CreateDelegationToken (key 38).

Versions: 1-3.

Behaviour: DELEGATION_TOKEN_REQUEST_NOT_ALLOWED where the client has not authenticated itself, which Apache Kafka checks
first; otherwise DELEGATION_TOKEN_AUTH_DISABLED, as without ``delegation.token.secret.key``.

Version notes: 3 lets somebody ask for another (KIP-373) and answers who asked.
"""

from __future__ import annotations

from typing import Final

from kwire.api.delegation_tokens import refusal
from kwire.broker.requests.context import Context
from kwire.wire.messages import CreateDelegationTokenRequest, CreateDelegationTokenResponse

_REQUESTER_SINCE: Final = 3  # KIP-373


def handle(context: Context, request: CreateDelegationTokenRequest) -> CreateDelegationTokenResponse:
    kind, name = context.principal
    response = CreateDelegationTokenResponse(
        error_code=refusal(context),
        principal_type=request.owner_principal_type or kind,
        principal_name=request.owner_principal_name or name,
        issue_timestamp_ms=-1,
        expiry_timestamp_ms=-1,
        max_timestamp_ms=-1,
        throttle_time_ms=context.throttle_ms,
    )
    if context.api_version >= _REQUESTER_SINCE:
        response.token_requester_principal_type, response.token_requester_principal_name = kind, name
    return response
