"""The ``ssl.SSLContext`` of a listener or client.

Responsible for: protocols, cipher suites under Java's names, client authentication, and giving OpenSSL the key and the
certificates. Must not depend on: connections, where a setting came from.

Making one reads files and decrypts keys, which may take tens of milliseconds, so it must not run on the event loop.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from kwire.security.tls.settings import TlsProblem, TlsSettings
from kwire.security.tls.stores import KeyStore, ReadFile, read_key_store, read_trust_store

_VERSIONS: Final = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
_CLIENT_AUTH: Final = {"none": ssl.CERT_NONE, "requested": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
_TLS_1_3_SUITES: Final = ("TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256")


def read_file(path: str) -> bytes:
    """Read a key or certificate file. Raises OSError."""
    return Path(path).read_bytes()


def server_context(settings: TlsSettings, store: KeyStore, read: ReadFile = read_file) -> ssl.SSLContext:
    """Make the context of a listener. Raises TlsProblem."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = _CLIENT_AUTH[settings.client_auth]
    _choose(context, settings)
    _load_key(context, store)
    if settings.client_auth != "none":
        _trust(context, read_trust_store(settings, read), ssl.Purpose.CLIENT_AUTH)
    else:
        read_trust_store(settings, read)  # a broken one is refused here as well
    return context


def client_context(settings: TlsSettings, read: ReadFile = read_file) -> ssl.SSLContext:
    """Make the context of a client. Raises TlsProblem."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = bool(settings.endpoint_identification_algorithm)
    context.verify_mode = ssl.CERT_REQUIRED
    _choose(context, settings)
    store = read_key_store(settings, read)
    if store is not None:
        _load_key(context, store)
    _trust(context, read_trust_store(settings, read), ssl.Purpose.SERVER_AUTH)
    return context


def _choose(context: ssl.SSLContext, settings: TlsSettings) -> None:
    """Set protocols and cipher suites. Raises TlsProblem."""
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    versions = settings.versions
    if settings.cipher_suites:
        versions = _choose_suites(context, settings)
    context.minimum_version = _VERSIONS[versions[-1]]
    context.maximum_version = _VERSIONS[versions[0]]


def _choose_suites(context: ssl.SSLContext, settings: TlsSettings) -> tuple[str, ...]:
    """Set the cipher suites; returns the versions of TLS that they leave."""
    shown = ",".join(settings.cipher_suites)
    new = [name for name in settings.cipher_suites if name in _TLS_1_3_SUITES]
    old = [name for name in settings.cipher_suites if name not in _TLS_1_3_SUITES]
    # OpenSSL takes the first of these that the client has, and Python cannot remove one from the middle of the list.
    if new and set(new) != set(_TLS_1_3_SUITES[: len(new)]):
        message = f"Of the suites of TLSv1.3 only the first ones of {', '.join(_TLS_1_3_SUITES)} can be chosen."
        raise TlsProblem("ssl.cipher.suites", shown, message, ",".join(_TLS_1_3_SUITES[: len(new)]))
    names = []
    for suite in old:
        name = openssl_name(suite)
        try:
            context.set_ciphers(name)
        except ssl.SSLError as error:
            message = f"Unsupported CipherSuite: {suite}"
            raise TlsProblem("ssl.cipher.suites", shown, message, "Java's names of suites that OpenSSL has") from error
        names.append(name)
    if names:
        context.set_ciphers(":".join(names))
    left = tuple(one for one in settings.versions if (new if one == "TLSv1.3" else old))
    if not left:
        message = f"None of these suites belongs to {' or '.join(settings.versions)} (ssl.enabled.protocols)."
        raise TlsProblem("ssl.cipher.suites", shown, message, "suites of a protocol that is enabled")
    return left


def served_suites(settings: TlsSettings) -> frozenset[str] | None:
    """Return the suites of TLSv1.3 that may be used, None for all: a connection with another one must be refused."""
    chosen = frozenset(settings.cipher_suites) & frozenset(_TLS_1_3_SUITES)
    return chosen if chosen and len(chosen) < len(_TLS_1_3_SUITES) else None


def openssl_name(suite: str) -> str:
    """Return OpenSSL's name of a suite of TLSv1.2 that Java calls TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256.

    A name that does not have this form is returned with a prefix that no suite of OpenSSL has.
    """
    exchange, _, cipher = suite.removeprefix("TLS_").partition("_WITH_")
    unknown = f"unknown-{suite}"
    if not suite.startswith("TLS_") or exchange not in _EXCHANGES or not cipher.replace("_", "").isalnum():
        return unknown
    cipher = cipher.replace("AES_128", "AES128").replace("AES_256", "AES256").replace("_CBC", "").replace("_", "-")
    return _EXCHANGES[exchange] + cipher.removesuffix("-SHA256" if cipher.startswith("CHACHA20") else "")


# Java's names of key exchanges, and how OpenSSL's names begin. For DHE kwire has no parameters.
_EXCHANGES: Final = {"RSA": "", "ECDHE_RSA": "ECDHE-RSA-", "ECDHE_ECDSA": "ECDHE-ECDSA-"}


def _load_key(context: ssl.SSLContext, store: KeyStore) -> None:
    with _private_file(store.pem) as path:
        try:
            context.load_cert_chain(path)
        except ssl.SSLError as error:
            message = f"OpenSSL refuses the key or its certificate: {error.reason or error}"
            raise TlsProblem("ssl.keystore.location", None, message, "a key of at least 2048 bits (RSA)") from error


@contextmanager
def _private_file(content: bytes) -> Iterator[str]:
    """A file that no other user can read, for as long as it is needed; on Linux it is in memory only."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("kwire-key", os.MFD_CLOEXEC)
        with open(descriptor, "wb") as file:  # noqa: PTH123 (a descriptor, not a path)
            file.write(content)
            file.flush()
            yield f"/proc/self/fd/{descriptor}"
        return
    with tempfile.NamedTemporaryFile("wb", suffix=".pem") as named:  # its mode is 0600
        named.write(content)
        named.flush()
        yield named.name


def _trust(context: ssl.SSLContext, trusted: tuple[x509.Certificate, ...] | None, purpose: ssl.Purpose) -> None:
    if trusted is None:
        context.load_default_certs(purpose)  # those of the system, as Java takes those of its installation
        return
    # As in Java, each certificate of a trust store is trusted, whether or not it is a root.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=b"".join(one.public_bytes(Encoding.DER) for one in trusted))
