"""SaslAuthenticate (key 36).

Versions: 0-2.

Behaviour: a listener without authentication answers ILLEGAL_SASL_STATE, as Apache Kafka does: there every connection
counts as authenticated already.

Left out: SASL listeners, which are refused at the start.
"""

from __future__ import annotations

from kwire.broker.requests.context import Context
from kwire.errors import Code
from kwire.wire.messages import SaslAuthenticateRequest, SaslAuthenticateResponse


def handle(_context: Context, _request: SaslAuthenticateRequest) -> SaslAuthenticateResponse:
    return SaslAuthenticateResponse(
        error_code=Code.ILLEGAL_SASL_STATE,
        error_message="SaslAuthenticate request received after successful authentication",
        auth_bytes=b"",
    )
