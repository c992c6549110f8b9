"""Key stores and trust stores: PEM (KIP-651) and PKCS12.

Responsible for: reading a private key with its certificates, and the trusted certificates, from the settings and the
files they name. Must not depend on: the file system (``read`` gives the bytes of a path), sockets.

Java's JKS format is refused with the command that converts it. As in Java, type JKS also reads a PKCS12 file: that is
what keytool has written since Java 9, whatever the name of the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import PKCS12KeyAndCertificates, load_pkcs12

from kwire.security.tls.names import distinguished_name
from kwire.security.tls.settings import HIDDEN, PEM, TlsProblem, TlsSettings

ReadFile: TypeAlias = Callable[[str], bytes]

_CERTIFICATES: Final = re.compile(rb"-+BEGIN CERTIFICATE-+.*?-+END CERTIFICATE-+", re.DOTALL)
_KEYS: Final = re.compile(rb"-+BEGIN ([A-Z0-9 ]*)PRIVATE KEY-+.*?-+END [A-Z0-9 ]*PRIVATE KEY-+", re.DOTALL)
_JKS, _JCEKS = bytes.fromhex("feedfeed"), bytes.fromhex("cececece")
_PKCS12_TYPES: Final = frozenset({"PKCS12", "JKS"})


@dataclass(frozen=True, slots=True)
class KeyStore:
    """A private key and the certificates to send with it, its own first."""

    key_pem: bytes = field(repr=False)
    chain: tuple[x509.Certificate, ...]

    @property
    def certificate(self) -> x509.Certificate:
        return self.chain[0]

    @property
    def subject(self) -> str:
        """The distinguished name as Java prints it."""
        return distinguished_name(self.certificate.subject.public_bytes())

    @property
    def alternative_names(self) -> frozenset[str]:
        """Such as ``DNS:localhost`` and ``IP:127.0.0.1``."""
        return alternative_names(self.certificate)

    @property
    def pem(self) -> bytes:
        """Key and certificates as one PEM text, the key not encrypted."""
        return self.key_pem + b"".join(one.public_bytes(Encoding.PEM) for one in self.chain)


def alternative_names(certificate: x509.Certificate) -> frozenset[str]:
    """Return the hosts of a certificate, such as ``DNS:localhost`` and ``IP:127.0.0.1``."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    return frozenset(_name_text(name) for name in names)


def read_key_store(settings: TlsSettings, read: ReadFile) -> KeyStore | None:
    """Read the key store; None if the settings name none. Raises TlsProblem."""
    if settings.keystore_key is not None and settings.certificate_chain is not None:
        key = _pem_key("ssl.keystore.key", HIDDEN, settings.keystore_key.encode(), settings.key_password)
        certificates = _pem_certificates("ssl.keystore.certificate.chain", None, settings.certificate_chain.encode())
        return _key_store("ssl.keystore.certificate.chain", None, key, certificates)
    path = settings.keystore_location
    if path is None:
        return None
    name = "ssl.keystore.location"
    content = _read(name, path, read)
    if settings.keystore_type.upper() == PEM:
        key = _pem_key(name, path, content, settings.key_password)
        return _key_store(name, path, key, _pem_certificates(name, path, content))
    store = _pkcs12("ssl.keystore", settings.keystore_type, path, content, settings.keystore_password)
    if store.key is None or store.cert is None:
        message = f"{path} holds no private key with its certificate."
        raise TlsProblem(name, path, message, "a key store, not a trust store")
    others = [extra.certificate for extra in store.additional_certs]
    return _key_store(name, path, store.key, [store.cert.certificate, *others])


def read_trust_store(settings: TlsSettings, read: ReadFile) -> tuple[x509.Certificate, ...] | None:
    """Read the trusted certificates; None if the settings name none. Raises TlsProblem."""
    if settings.truststore_certificates is not None:
        content = settings.truststore_certificates.encode()
        return _pem_certificates("ssl.truststore.certificates", None, content)
    path = settings.truststore_location
    if path is None:
        return None
    name = "ssl.truststore.location"
    content = _read(name, path, read)
    if settings.truststore_type.upper() == PEM:
        return _pem_certificates(name, path, content)
    store = _pkcs12("ssl.truststore", settings.truststore_type, path, content, settings.truststore_password)
    own = [] if store.cert is None else [store.cert.certificate]
    certificates = (*own, *(extra.certificate for extra in store.additional_certs))
    if not certificates:
        raise TlsProblem(name, path, f"{path} holds no certificate.", "the certificate of the authority")
    return certificates


def _read(name: str, path: str, read: ReadFile) -> bytes:
    try:
        return read(path)
    except OSError as error:
        message = f"cannot read {path}: {error.strerror or error}"
        raise TlsProblem(name, path, message, "the path of a file that the broker may read") from error


# --- PEM ---


def _pem_key(name: str, shown: str | None, content: bytes, password: str | None) -> PrivateKeyTypes:
    found = list(_KEYS.finditer(content))
    if len(found) != 1:
        message = "No private key in PEM" if not found else f"Expected one private key, but found {len(found)}"
        raise TlsProblem(
            name, shown, message, "one -----BEGIN PRIVATE KEY----- or -----BEGIN ENCRYPTED PRIVATE KEY-----"
        )
    text = found[0][0]
    encrypted = b"ENCRYPTED" in text
    if encrypted and password is None:
        message = "The private key is encrypted, and ssl.key.password is not set."
        raise TlsProblem("ssl.key.password", None, message, "the password of the private key")
    try:
        return load_pem_private_key(text + b"\n", password.encode() if encrypted and password is not None else None)
    except (ValueError, TypeError) as error:
        if encrypted:
            message = "The private key cannot be decrypted with ssl.key.password."
            raise TlsProblem("ssl.key.password", HIDDEN, message, "the password of the private key") from error
        raise TlsProblem(name, shown, "The private key cannot be read.", "a PKCS#8 private key as PEM") from error


def _pem_certificates(name: str, shown: str | None, content: bytes) -> tuple[x509.Certificate, ...]:
    found = _CERTIFICATES.findall(content)
    if not found:
        message = "At least one certificate expected, but none found"
        raise TlsProblem(name, shown, message, "-----BEGIN CERTIFICATE----- and so on")
    try:
        return tuple(x509.load_pem_x509_certificate(text + b"\n") for text in found)
    except ValueError as error:
        raise TlsProblem(name, shown, f"A certificate cannot be read: {error}", "X.509 certificates as PEM") from error


# --- PKCS12 ---


def _pkcs12(what: str, kind: str, path: str, content: bytes, password: str | None) -> PKCS12KeyAndCertificates:
    """Read a PKCS12 file; ``what`` is ssl.keystore or ssl.truststore."""
    if content.startswith((_JKS, _JCEKS)):
        form = "JKS" if content.startswith(_JKS) else "JCEKS"
        message = (
            f"{path} is a {form} store, which only Java reads. Convert it: keytool -importkeystore -srckeystore {path} "
            f"-destkeystore {path}.p12 -deststoretype PKCS12"
        )
        raise TlsProblem(f"{what}.location", path, message, f"{path}.p12 with {what}.type=PKCS12")
    if kind.upper() not in _PKCS12_TYPES:
        raise TlsProblem(f"{what}.type", kind, f"{kind} stores are not supported.", "PEM or PKCS12")
    if content.lstrip().startswith(b"-----BEGIN"):
        message = f"{path} is a PEM file, and {what}.type is {kind}."
        raise TlsProblem(f"{what}.type", kind, message, PEM)
    try:
        return load_pkcs12(content, None if password is None else password.encode())
    except (ValueError, TypeError) as error:
        if "password" in str(error).lower() or "mac" in str(error).lower():
            message = f"{path} cannot be opened with {what}.password."
            raise TlsProblem(f"{what}.password", HIDDEN, message, "the password of the store") from error
        raise TlsProblem(f"{what}.location", path, f"{path} is not a PKCS12 store: {error}", "PEM or PKCS12") from error


# --- chains ---


def _key_store(
    name: str, shown: str | None, key: PrivateKeyTypes, certificates: Sequence[x509.Certificate]
) -> KeyStore:
    public = _public_bytes(key.public_key())
    own = next((one for one in certificates if _public_bytes(one.public_key()) == public), None)
    if own is None:
        message = "The private key does not belong to any of the certificates."
        raise TlsProblem(name, shown, message, "the certificate of this key")
    key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return KeyStore(key_pem, _chain(own, certificates))


def _public_bytes(key: object) -> bytes:
    from cryptography.hazmat.primitives.serialization import PublicFormat  # noqa: PLC0415

    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined,no-any-return]


def _chain(own: x509.Certificate, certificates: Sequence[x509.Certificate]) -> tuple[x509.Certificate, ...]:
    """Return the certificate and its issuers, in order; certificates outside of the chain are left out."""
    chain = [own]
    while chain[-1].issuer != chain[-1].subject:
        issuer = next((one for one in certificates if one.subject == chain[-1].issuer and one not in chain), None)
        if issuer is None:
            break
        chain.append(issuer)
    return tuple(chain)


def _name_text(name: x509.GeneralName) -> str:
    match name:
        case x509.DNSName():
            return f"DNS:{name.value}"
        case x509.IPAddress():
            return f"IP:{name.value}"
        case _:
            return f"{type(name).__name__}:{name.value}"
