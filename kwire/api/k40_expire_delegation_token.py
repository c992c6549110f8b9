"""ExpireDelegationToken (key 40).

Versions: 1-2.

Behaviour: refused, see ``delegation_tokens``.
"""

from __future__ import annotations

from kwire.api.delegation_tokens import refusal
from kwire.broker.requests.context import Context
from kwire.wire.messages import ExpireDelegationTokenRequest, ExpireDelegationTokenResponse


def handle(context: Context, request: ExpireDelegationTokenRequest) -> ExpireDelegationTokenResponse:
    del request  # whichever token it names
    return ExpireDelegationTokenResponse(
        error_code=refusal(context), expiry_timestamp_ms=-1, throttle_time_ms=context.throttle_ms
    )
