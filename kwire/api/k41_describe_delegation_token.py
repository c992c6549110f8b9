"""DescribeDelegationToken (key 41).

Versions: 1-3.

Behaviour: refused, see ``delegation_tokens``.
"""

from __future__ import annotations

from kwire.api.delegation_tokens import refusal
from kwire.broker.requests.context import Context
from kwire.wire.messages import DescribeDelegationTokenRequest, DescribeDelegationTokenResponse


def handle(context: Context, request: DescribeDelegationTokenRequest) -> DescribeDelegationTokenResponse:
    del request  # whosever tokens it asks for
    return DescribeDelegationTokenResponse(error_code=refusal(context), throttle_time_ms=context.throttle_ms)
