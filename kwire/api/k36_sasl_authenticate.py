"""SaslAuthenticate (key 36).

Versions: 0-2.

Behaviour: while a client of a SASL listener logs in, its connection answers (``server.connections.login``). Otherwise
ILLEGAL_SASL_STATE: on a listener without SASL every connection counts as authenticated already.
"""

from __future__ import annotations

from kwire.api.probes import Probe
from kwire.broker.requests.context import Context
from kwire.errors import Code
from kwire.wire.messages import SaslAuthenticateRequest, SaslAuthenticateResponse

PROBE: Probe = {}


def handle(_context: Context, _request: SaslAuthenticateRequest) -> SaslAuthenticateResponse:
    return SaslAuthenticateResponse(
        error_code=Code.ILLEGAL_SASL_STATE,
        error_message="SaslAuthenticate request received after successful authentication",
        auth_bytes=b"",
    )
