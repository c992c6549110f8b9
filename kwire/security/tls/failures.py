"""Why a TLS handshake failed, in plain words.

Responsible for: sentences for OpenSSL's errors, seen from the broker and from a client. Must not depend on:
connections.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Final

_HTTP_METHODS: Final = (b"GET ", b"POST", b"PUT ", b"HEAD", b"DELE", b"OPTI", b"PATC", b"CONN", b"TRAC", b"PRI ")

# X509_V_ERR_*
_EXPIRED, _NOT_YET_VALID, _WRONG_PURPOSE = 10, 9, 26
_UNKNOWN_AUTHORITY: Final = frozenset({2, 18, 19, 20, 21})
_WRONG_HOST: Final = frozenset({62, 64})

_NO_CIPHER: Final = "no cipher suite that both sides support (ssl.cipher.suites)"
_NO_VERSION: Final = "no TLS version that both sides support (ssl.enabled.protocols)"

# By OpenSSL's name of an error or alert; ``ALERT_`` stands for the prefixes that its releases give to alerts.
_SEEN_BY_BROKER: Final = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the client sent no certificate (ssl.client.auth=required)",
    "NO_SHARED_CIPHER": _NO_CIPHER,
    "NO_SUITABLE_SIGNATURE_ALGORITHM": "no signature algorithm that both sides support",
    "UNSUPPORTED_PROTOCOL": _NO_VERSION,
    "VERSION_TOO_LOW": _NO_VERSION,
    "WRONG_VERSION_NUMBER": _NO_VERSION,
    "ALERT_PROTOCOL_VERSION": _NO_VERSION,
    "ALERT_UNKNOWN_CA": (
        "the client does not trust the broker's certificate: its trust store needs the certificate of the authority"
    ),
    "ALERT_CERTIFICATE_UNKNOWN": (
        "the client refused the broker's certificate: it does not trust the authority, or the certificate does not "
        "contain the host name that the client used"
    ),
    "ALERT_BAD_CERTIFICATE": (
        "the client refused the broker's certificate, which may not contain the host name that the client used"
    ),
    "ALERT_CERTIFICATE_EXPIRED": "for the client, the broker's certificate has expired",
    "ALERT_CERTIFICATE_REVOKED": "for the client, the broker's certificate is revoked",
    "ALERT_UNSUPPORTED_CERTIFICATE": "the client does not support the broker's certificate",
    "ALERT_HANDSHAKE_FAILURE": "the client found no parameters that both sides support",
    "ALERT_INTERNAL_ERROR": "the client reports an internal error",
    "ALERT_USER_CANCELLED": "the client cancelled the handshake",
}
_SEEN_BY_CLIENT: Final = {
    "ALERT_CERTIFICATE_REQUIRED": "the broker requires a certificate of the client (ssl.client.auth=required)",
    "ALERT_BAD_CERTIFICATE": "the broker refused the client's certificate, or requires one",
    "ALERT_UNKNOWN_CA": "the broker does not trust the authority of the client's certificate",
    "ALERT_CERTIFICATE_UNKNOWN": "the broker does not trust the client's certificate",
    "ALERT_CERTIFICATE_EXPIRED": "the client's certificate has expired",
    "ALERT_UNSUPPORTED_CERTIFICATE": "the broker refused the client's certificate: it may not be used by clients",
    "ALERT_HANDSHAKE_FAILURE": "the broker found no parameters that both sides support, or requires a certificate",
    "ALERT_PROTOCOL_VERSION": _NO_VERSION,
    "UNSUPPORTED_PROTOCOL": _NO_VERSION,
    "NO_PROTOCOLS_AVAILABLE": _NO_VERSION,
    "NO_CIPHERS_AVAILABLE": _NO_CIPHER,
    "WRONG_VERSION_NUMBER": "the broker's listener does not use TLS",
    "RECORD_LAYER_FAILURE": "the broker's listener does not use TLS",
}
_ALERT_PREFIXES: Final = ("SSLV3_ALERT_", "TLSV1_ALERT_", "TLSV13_ALERT_", "SSL/TLS_ALERT_")


def why_not_tls(start: bytes) -> str:
    """Why the first bytes of a client are no TLS handshake."""
    if start.startswith(_HTTP_METHODS):
        return "this is an HTTP request without TLS; this listener speaks the Kafka protocol over TLS"
    return "the client does not use TLS (it must set security.protocol to SSL or SASL_SSL)"


def why_handshake_failed(error: OSError) -> str:
    """Why a handshake that a client began failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _why_unverified(error)
    if isinstance(error, ssl.SSLEOFError | ConnectionError):
        return "the client closed the connection during the handshake; it may not trust the broker's certificate"
    if not isinstance(error, ssl.SSLError):
        return error.strerror or str(error)
    return _in_words(error, _SEEN_BY_BROKER)


def why_client_failed(error: OSError) -> str:
    """Why a connection of a client to a TLS listener failed, in or right after the handshake."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _why_broker_unverified(error)
    if isinstance(error, ssl.SSLEOFError | ConnectionError):
        return "the broker closed the connection during the handshake; its listener may not use TLS"
    if not isinstance(error, ssl.SSLError):
        return error.strerror or str(error)
    return _in_words(error, _SEEN_BY_CLIENT)


def requires_certificate(error: OSError) -> bool:
    """Whether a broker may have refused a client because it showed no certificate."""
    reasons = {"ALERT_CERTIFICATE_REQUIRED", "ALERT_BAD_CERTIFICATE", "ALERT_HANDSHAKE_FAILURE"}
    return isinstance(error, ssl.SSLError) and _reason(error) in reasons


def _in_words(error: ssl.SSLError, words: Mapping[str, str]) -> str:
    reason = _reason(error)
    return words.get(reason) or (f"OpenSSL: {reason.replace('_', ' ').lower()}" if reason else str(error))


def _reason(error: ssl.SSLError) -> str:
    reason = error.reason or ""
    return next(("ALERT_" + reason.removeprefix(one) for one in _ALERT_PREFIXES if reason.startswith(one)), reason)


def is_wrong_host(error: ssl.SSLCertVerificationError) -> bool:
    """Whether the certificate is valid for other hosts than the one that was connected to."""
    return error.verify_code in _WRONG_HOST


def has_expired(error: ssl.SSLCertVerificationError) -> bool:
    return error.verify_code == _EXPIRED


def _why_broker_unverified(error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in _WRONG_HOST:
        return "the broker's certificate does not contain the host name that the client uses"
    if error.verify_code == _EXPIRED:
        return "the broker's certificate has expired"
    if error.verify_code == _NOT_YET_VALID:
        return "the broker's certificate is not valid yet; check the clocks of both machines"
    if error.verify_code in _UNKNOWN_AUTHORITY:
        return "the client does not trust the authority of the broker's certificate"
    return f"the broker's certificate is refused: {error.verify_message}"


def _why_unverified(error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code == _EXPIRED:
        return "the client's certificate has expired"
    if error.verify_code == _NOT_YET_VALID:
        return "the client's certificate is not valid yet; check the clocks of both machines"
    if error.verify_code in _UNKNOWN_AUTHORITY:
        return (
            "the client's certificate is signed by an unknown authority: the broker's trust store (ssl.truststore.*) "
            "does not have its certificate"
        )
    if error.verify_code == _WRONG_PURPOSE:
        return "the client's certificate may not be used by clients (its extended key usage has no clientAuth)"
    return f"the client's certificate is refused: {error.verify_message}"
