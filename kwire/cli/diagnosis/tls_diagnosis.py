"""Why a TLS connection to a broker fails, and how to fix it.

Responsible for: examining the listener (does it use TLS, for which hosts is its certificate, who signed it), and one
piece of advice for each problem. Must not depend on: the other steps of a client (``kwire.cli.diagnosis.diagnosis``).
"""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from typing import Final

from kwire.cli.connections.connection import PLAINTEXT, Address, ClientError, Connection, NotKafka, TlsFailed

_WRONG_HOST: Final = (
    "Client: connect to a host that the certificate contains. Broker: use a certificate that contains {host} (kwire"
    " certs DIR --host {host} makes one), and advertise that host. An empty value of"
    " ssl.endpoint.identification.algorithm at the client turns the check off."
)
_EXPIRED: Final = (
    "Broker: put a new certificate in its key store, and have it read again: SIGHUP, or kafka-configs --alter of"
    " ssl.keystore.location. Check the clock of this machine too."
)
_UNKNOWN_AUTHORITY: Final = (
    "Client: set ssl.truststore.location (ssl.truststore.type=PEM or PKCS12) to the certificate of that authority. If"
    " this should be another authority, the broker has the wrong key store."
)
_NO_TLS: Final = (
    "Client: set security.protocol to PLAINTEXT or SASL_PLAINTEXT, or connect to the port of an SSL or SASL_SSL"
    " listener."
)
_CERTIFICATE_WANTED: Final = (
    "Client: set ssl.keystore.location (ssl.keystore.type=PEM or PKCS12) to a key with a certificate that the broker"
    " trusts. Broker: ssl.client.auth says whether it requires one, and its trust store which it trusts."
)
_COMPARE: Final = (
    "Compare ssl.enabled.protocols, ssl.cipher.suites and the key and trust stores of both sides; the broker's log has"
    " its reason."
)


def requires_tls(address: Address, error: ClientError, timeout_s: float) -> bool:
    """Whether the port serves TLS: it sent a TLS record, or closed and then shakes hands."""
    if not isinstance(error, NotKafka) or error.protocol != "none":
        return isinstance(error, NotKafka) and error.protocol == "TLS"
    try:
        with _shake_hands(address, timeout_s):
            return True
    except ssl.SSLError as refusal:
        # A listener that requires a certificate, or another version of TLS, answers with an alert.
        return "ALERT" in (refusal.reason or "")
    except OSError:
        return False


def explain_tls(address: Address, error: TlsFailed, timeout_s: float) -> tuple[str, str]:
    """Return the problem and the advice."""
    from kwire.security.tls.failures import has_expired, is_wrong_host, requires_certificate

    cause = error.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        names, issuer, expiry = _certificate(address, timeout_s)
        if is_wrong_host(cause):
            return (
                f"the broker's certificate is for {names or 'no host'}, and the client connects to {address.host}",
                _WRONG_HOST.format(host=address.host),
            )
        if has_expired(cause):
            return (
                f"the broker's certificate expired on {expiry}",
                _EXPIRED,
            )
        return (
            f"{error}; it was issued by {issuer}",
            _UNKNOWN_AUTHORITY,
        )
    if isinstance(cause, OSError) and _serves_plaintext(address, timeout_s):
        return (
            f"{address} does not use TLS, and the client does",
            _NO_TLS,
        )
    if isinstance(cause, OSError) and requires_certificate(cause):
        return (
            str(error),
            _CERTIFICATE_WANTED,
        )
    return (
        str(error),
        _COMPARE,
    )


def _shake_hands(address: Address, timeout_s: float) -> ssl.SSLSocket:
    """Connect without checking the certificate. Raises OSError."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    stream = socket.create_connection(address, timeout_s)
    try:
        return context.wrap_socket(stream, server_hostname=address.host)
    except OSError:
        stream.close()
        raise


def _certificate(address: Address, timeout_s: float) -> tuple[str, str, str]:
    """Hosts, issuer and expiry of the certificate that is served, as texts; empty where it cannot be read."""
    from cryptography.x509 import load_der_x509_certificate

    from kwire.security.tls.names import distinguished_name
    from kwire.security.tls.stores import alternative_names

    with suppress(OSError, ValueError), _shake_hands(address, timeout_s) as connection:
        found = connection.getpeercert(binary_form=True)
        assert found is not None
        certificate = load_der_x509_certificate(found)
        issuer = distinguished_name(certificate.issuer.public_bytes())
        expiry = certificate.not_valid_after_utc.strftime("%Y-%m-%d %H:%M UTC")
        return ", ".join(sorted(alternative_names(certificate))), issuer, expiry
    return "", "an unknown authority", "an unknown date"


def _serves_plaintext(address: Address, timeout_s: float) -> bool:
    with suppress(ClientError), Connection(address, security=PLAINTEXT, timeout_s=timeout_s):
        return True
    return False
