"""SaslHandshake (key 17).

Versions: 0-1.

Behaviour: while a client of a SASL listener logs in, or renews a session that expires (KIP-368), its connection answers
(``server.connections.login``). Otherwise, on a listener without SASL too, ILLEGAL_SASL_STATE.
"""

from __future__ import annotations

from kwire.api.probes import Probe
from kwire.broker.requests.context import Context
from kwire.errors import Code
from kwire.wire.messages import SaslHandshakeRequest, SaslHandshakeResponse

PROBE: Probe = {"mechanism": "NONE"}


def handle(_context: Context, _request: SaslHandshakeRequest) -> SaslHandshakeResponse:
    return SaslHandshakeResponse(error_code=Code.ILLEGAL_SASL_STATE, mechanisms=[])
