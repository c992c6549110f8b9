"""The ``ssl.*`` settings of one listener or one client.

Responsible for: the value ``TlsSettings``, and the rules between the settings that need no file, with Apache Kafka's
messages (DefaultSslEngineFactory). Must not depend on: files, where a setting came from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeAlias, cast

ClientAuth: TypeAlias = Literal["none", "requested", "required"]

PEM: Final = "PEM"
HIDDEN: Final = "[hidden]"

# What JSSE accepts as a protocol. Those before TLSv1.2 are disabled in current releases of Java, and here.
_PROTOCOLS: Final = ("TLSv1.3", "TLSv1.2", "TLSv1.1", "TLSv1", "SSLv3", "SSLv2Hello")
_CONTEXTS: Final = ("TLS", "SSL", *_PROTOCOLS[:-1])
SERVED_PROTOCOLS: Final = _PROTOCOLS[:2]


class TlsProblem(ValueError):
    """A setting, or what it names, that cannot be used.

    ``name`` is the config without a listener's prefix, ``value`` what to show of it, ``str()`` what is wrong,
    ``expected`` what would be right.
    """

    def __init__(self, name: str, value: str | None, message: str, expected: str) -> None:
        super().__init__(message)
        self.name = name
        self.value = value
        self.expected = expected


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """Kafka's settings without ``ssl.``; None where one is not set. Secrets are not in ``repr()``."""

    keystore_type: str = "JKS"
    keystore_location: str | None = None
    keystore_password: str | None = field(default=None, repr=False)
    key_password: str | None = field(default=None, repr=False)
    keystore_key: str | None = field(default=None, repr=False)
    certificate_chain: str | None = field(default=None, repr=False)
    truststore_type: str = "JKS"
    truststore_location: str | None = None
    truststore_password: str | None = field(default=None, repr=False)
    truststore_certificates: str | None = field(default=None, repr=False)
    protocol: str = "TLSv1.3"
    enabled_protocols: tuple[str, ...] = SERVED_PROTOCOLS
    cipher_suites: tuple[str, ...] = ()
    client_auth: ClientAuth = "none"
    principal_mapping_rules: str = "DEFAULT"
    endpoint_identification_algorithm: str = "https"
    allow_dn_changes: bool = False
    allow_san_changes: bool = False

    @property
    def versions(self) -> tuple[str, ...]:
        """The versions of TLS to serve, in the order TLSv1.3, TLSv1.2."""
        wanted = self.enabled_protocols or (SERVED_PROTOCOLS[1:] if self.protocol == "TLSv1.2" else SERVED_PROTOCOLS)
        return tuple(version for version in SERVED_PROTOCOLS if version in wanted)

    @property
    def has_trust_store(self) -> bool:
        return (self.truststore_location or self.truststore_certificates) is not None

    def without_client_auth(self) -> TlsSettings:
        return replace(self, client_auth="none")


def read_tls_settings(value: Callable[[str], object]) -> TlsSettings:
    """Read the settings; ``value`` gives the parsed value of a config such as ``ssl.keystore.location``, or None.

    Raises TlsProblem.
    """

    def text(name: str) -> str | None:
        # Kafka reads an empty location or password as one that is given; an empty file name is no file.
        return cast("str | None", value(name)) or None

    settings = TlsSettings(
        keystore_type=text("ssl.keystore.type") or "JKS",
        keystore_location=text("ssl.keystore.location"),
        keystore_password=text("ssl.keystore.password"),
        key_password=text("ssl.key.password"),
        keystore_key=text("ssl.keystore.key"),
        certificate_chain=text("ssl.keystore.certificate.chain"),
        truststore_type=text("ssl.truststore.type") or "JKS",
        truststore_location=text("ssl.truststore.location"),
        truststore_password=text("ssl.truststore.password"),
        truststore_certificates=text("ssl.truststore.certificates"),
        protocol=text("ssl.protocol") or "TLSv1.3",
        enabled_protocols=cast("tuple[str, ...] | None", value("ssl.enabled.protocols")) or (),
        cipher_suites=cast("tuple[str, ...] | None", value("ssl.cipher.suites")) or (),
        client_auth=cast("ClientAuth", text("ssl.client.auth") or "none"),
        principal_mapping_rules=text("ssl.principal.mapping.rules") or "",
        endpoint_identification_algorithm=text("ssl.endpoint.identification.algorithm") or "",
        allow_dn_changes=bool(value("ssl.allow.dn.changes")),
        allow_san_changes=bool(value("ssl.allow.san.changes")),
    )
    _check_key_store(settings)
    _check_trust_store(settings)
    _check_protocols(settings)
    return settings


def _check_key_store(settings: TlsSettings) -> None:
    is_pem = settings.keystore_type.upper() == PEM
    if settings.keystore_key is not None:
        if not is_pem:
            raise TlsProblem(
                "ssl.keystore.type",
                settings.keystore_type,
                f"SSL private key can be specified only for PEM, but key store type is {settings.keystore_type}.",
                PEM,
            )
        if settings.certificate_chain is None:
            message = "SSL private key is specified, but certificate chain is not specified."
            raise TlsProblem("ssl.keystore.certificate.chain", None, message, "the certificate of the key, as PEM")
        if settings.keystore_location is not None:
            message = "Both SSL key store location and separate private key are specified."
            raise TlsProblem("ssl.keystore.location", settings.keystore_location, message, "one of the two")
        if settings.keystore_password is not None:
            raise _password_with_pem(settings)
    elif settings.certificate_chain is not None:
        message = "SSL certificate chain is specified, but private key is not specified"
        raise TlsProblem("ssl.keystore.key", None, message, "the private key of the certificate, as PEM")
    elif settings.keystore_location is None and settings.keystore_password is not None:
        message = "SSL key store is not specified, but key store password is specified."
        raise TlsProblem("ssl.keystore.location", None, message, "the path of the key store")
    elif is_pem and settings.keystore_password is not None:
        raise _password_with_pem(settings)
    elif settings.keystore_location is not None and not is_pem and settings.keystore_password is None:
        message = "SSL key store is specified, but key store password is not specified."
        raise TlsProblem("ssl.keystore.password", None, message, "the password of the key store, or type PEM")


def _password_with_pem(_settings: TlsSettings) -> TlsProblem:
    message = "SSL key store password cannot be specified with PEM format, only key password may be specified."
    return TlsProblem("ssl.keystore.password", HIDDEN, message, "ssl.key.password, if the key is encrypted")


def _check_trust_store(settings: TlsSettings) -> None:
    is_pem = settings.truststore_type.upper() == PEM
    if settings.truststore_certificates is not None:
        if not is_pem:
            raise TlsProblem(
                "ssl.truststore.type",
                settings.truststore_type,
                "SSL trust store certs can be specified only for PEM, but trust store type is "
                f"{settings.truststore_type}.",
                PEM,
            )
        if settings.truststore_location is not None:
            message = "Both SSL trust store location and separate trust certificates are specified."
            raise TlsProblem("ssl.truststore.location", settings.truststore_location, message, "one of the two")
    if is_pem and settings.truststore_password is not None:
        message = "SSL trust store password cannot be specified for PEM format."
        raise TlsProblem("ssl.truststore.password", HIDDEN, message, "no password, or type PKCS12")
    if not settings.has_trust_store and settings.truststore_password:
        message = "SSL trust store is not specified, but trust store password is specified."
        raise TlsProblem("ssl.truststore.location", None, message, "the path of the trust store")


def _check_protocols(settings: TlsSettings) -> None:
    if settings.protocol not in _CONTEXTS:
        message = f"{settings.protocol} SSLContext not available"
        raise TlsProblem("ssl.protocol", settings.protocol, message, f"one of {', '.join(_CONTEXTS)}")
    for name in settings.enabled_protocols:
        if name not in _PROTOCOLS:
            message = f"Unsupported protocol: {name}"
            raise TlsProblem("ssl.enabled.protocols", ",".join(settings.enabled_protocols), message, "TLSv1.2,TLSv1.3")
    if not settings.versions:
        message = "Protocols before TLSv1.2 are not served; current releases of Java disable them as well."
        raise TlsProblem("ssl.enabled.protocols", ",".join(settings.enabled_protocols), message, "TLSv1.2,TLSv1.3")
