"""SaslHandshake (key 17).

Versions: 0-1.

Behaviour: a listener without authentication answers ILLEGAL_SASL_STATE, as Apache Kafka does, so that a client that
is set up for SASL gets the reason why it cannot go on.

Left out: SASL listeners, which are refused at the start.
"""

from __future__ import annotations

from kwire.broker.requests.context import Context
from kwire.errors import Code
from kwire.wire.messages import SaslHandshakeRequest, SaslHandshakeResponse


def handle(_context: Context, _request: SaslHandshakeRequest) -> SaslHandshakeResponse:
    return SaslHandshakeResponse(error_code=Code.ILLEGAL_SASL_STATE, mechanisms=[])
