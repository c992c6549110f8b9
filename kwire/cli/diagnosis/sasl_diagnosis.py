"""Why a login by SASL fails, and how to fix it.

Responsible for: a sentence and one piece of advice for each failure of a login. Must not depend on: the other steps of
a client (``kwire.cli.diagnosis.diagnosis``).
"""

from __future__ import annotations

from typing import Final

from kwire.cli.connections.connection import AuthenticationFailed, Security, UnsupportedMechanism

_AUDIT: Final = "The broker logs the reason at kwire.audit."


def explain_login(error: AuthenticationFailed, security: Security) -> tuple[str, str]:
    """Return the problem and the advice."""
    protocol = "PLAINTEXT" if security.tls is None else "SSL"
    if isinstance(error, UnsupportedMechanism) and not error.mechanisms:
        advice = (
            f"Client: set security.protocol to {protocol}, or connect to the port of a SASL_{protocol} listener."
            " Broker: listener.security.protocol.map says which listeners use SASL."
        )
        return f"{error}: this listener uses no SASL", advice
    if isinstance(error, UnsupportedMechanism):
        advice = (
            f"Client: set sasl.mechanism to {' or '.join(error.mechanisms)}, with its login module in sasl.jaas.config."
            f" Broker: add {error.wanted} to sasl.enabled.mechanisms of the listener."
        )
        return str(error), advice
    mechanism = "" if security.mechanism is None else security.mechanism().name
    return str(error), f"{_ADVICE.get(mechanism, _OTHER)} {_AUDIT}"


_OTHER: Final = "Check sasl.mechanism and sasl.jaas.config."
_SCRAM: Final = (
    "Client: check username and password in sasl.jaas.config. Broker: kwire users list, or kafka-configs --describe"
    " --entity-type users, shows the users and their mechanisms; kwire users add NAME sets a password."
)
_ADVICE: Final = {
    "PLAIN": "Client: check username and password in sasl.jaas.config. Broker: the users of PLAIN are the options"
    ' user_NAME="PASSWORD" of listener.name.LISTENER.plain.sasl.jaas.config, or kwire serve --user.',
    "SCRAM-SHA-256": _SCRAM,
    "SCRAM-SHA-512": _SCRAM,
}
