"""Client settings under their Java names: what `--command-config FILE` holds.

Responsible for: reading a client's .properties file, and turning security.protocol, ssl.* and sasl.* into a TLS
context and a SASL mechanism. Must not depend on: the requests that the client sends.

Key stores must be PEM (`ssl.truststore.type=PEM`, KIP-651): Python does not read JKS. A setting that cannot be
honoured is refused.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final, NamedTuple

from kwire.cli.connection import AuthenticationFailed, Mechanism, Security
from kwire.metadata.jaas import JaasError, parse_login_module
from kwire.metadata.sasl_settings import LOGIN_MODULES
from kwire.security.sasl.scram_client import ScramClient, ScramRefused
from kwire.security.sasl.scram_keys import RANDOM_BYTES, random_text

SASL_MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
SECURITY_PROTOCOLS: Final = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")

# The settings that this module honours. A caller adds its own, and names the keys of a file that have no effect.
SECURITY_KEYS: Final = frozenset(
    {
        "security.protocol",
        "sasl.mechanism",
        "sasl.jaas.config",
        "ssl.truststore.type",
        "ssl.truststore.location",
        "ssl.truststore.certificates",
        "ssl.keystore.type",
        "ssl.keystore.location",
        "ssl.keystore.key",
        "ssl.keystore.certificate.chain",
        "ssl.key.password",
        "ssl.endpoint.identification.algorithm",
    }
)


class ConfigError(ValueError):
    """A setting cannot be honoured; the message names it."""


def read_properties(path: str) -> dict[str, str]:
    """Read a .properties file as Java does. Raises OSError, ConfigError."""
    import javaproperties

    try:
        with Path(path).open("rb") as file:
            return dict(javaproperties.load(file))
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error


def security_of(config: Mapping[str, str]) -> Security:
    """Make the TLS context and the SASL mechanism that Java's settings describe. Raises ConfigError."""
    protocol = config.get("security.protocol", "PLAINTEXT").upper()
    if protocol not in SECURITY_PROTOCOLS:
        raise ConfigError(
            f"Invalid value {protocol} for configuration security.protocol: String must be one of (case insensitive): "
            + ", ".join(SECURITY_PROTOCOLS)
        )
    mechanism = None
    if protocol.startswith("SASL_"):
        login = sasl_of(config)

        def mechanism() -> Mechanism:
            return _Plain(login) if login.mechanism == "PLAIN" else _Scram(login)

    return Security(tls=tls_of(config) if protocol.endswith("SSL") else None, mechanism=mechanism)


class SaslLogin(NamedTuple):
    """Mechanism, user and password of a client. ``by_token``: they are the id and HMAC of a delegation token."""

    mechanism: str
    user: str
    password: str
    by_token: bool = False


def sasl_of(config: Mapping[str, str]) -> SaslLogin:
    """Read sasl.mechanism and sasl.jaas.config. Raises ConfigError."""
    name = config.get("sasl.mechanism", "GSSAPI")
    if name not in SASL_MECHANISMS:
        raise ConfigError(f"sasl.mechanism={name} is not supported here; supported are {', '.join(SASL_MECHANISMS)}")
    example = f'{LOGIN_MODULES[name]} required username="alice" password="secret";'
    try:
        options = parse_login_module(config.get("sasl.jaas.config", "")).options
    except JaasError as error:
        raise ConfigError(f"sasl.jaas.config: {error}; write {example}") from None
    if "username" not in options or "password" not in options:
        raise ConfigError(f'sasl.jaas.config must name username="..." and password="...", as in {example}')
    by_token = name != "PLAIN" and options.get("tokenauth", "").lower() == "true"
    return SaslLogin(name, options["username"], options["password"], by_token)


def tls_of(config: Mapping[str, str]) -> ssl.SSLContext:
    """Make the TLS context. Raises ConfigError."""
    context = ssl.create_default_context()
    if config.get("ssl.endpoint.identification.algorithm", "https") == "":
        context.check_hostname = False
    try:
        if trusted := _pem(config, "truststore", "certificates"):
            context = ssl.create_default_context(cadata=trusted)
            context.check_hostname = config.get("ssl.endpoint.identification.algorithm", "https") != ""
        if "ssl.keystore.location" in config:
            _check_pem(config, "keystore")
            context.load_cert_chain(config["ssl.keystore.location"], password=config.get("ssl.key.password"))
        elif "ssl.keystore.key" in config:
            with NamedTemporaryFile(
                "w", suffix=".pem"
            ) as chain:  # 0600; the ssl module reads key and chain from files only
                chain.write(config["ssl.keystore.key"] + "\n" + config.get("ssl.keystore.certificate.chain", ""))
                chain.flush()
                context.load_cert_chain(chain.name, password=config.get("ssl.key.password"))
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"ssl.*: {error}") from error
    return context


def _pem(config: Mapping[str, str], store: str, inline: str) -> str | None:
    if f"ssl.{store}.{inline}" in config:
        return config[f"ssl.{store}.{inline}"]
    if f"ssl.{store}.location" not in config:
        return None
    _check_pem(config, store)
    return Path(config[f"ssl.{store}.location"]).read_text(encoding="ascii", errors="replace")


def _check_pem(config: Mapping[str, str], store: str) -> None:
    kind = config.get(f"ssl.{store}.type", "JKS")
    if kind.upper() != "PEM":
        raise ConfigError(
            f"ssl.{store}.type={kind} cannot be read without Java; export the store as PEM and set ssl.{store}.type=PEM"
        )


class _Plain:
    name = "PLAIN"

    def __init__(self, login: SaslLogin) -> None:
        self._token = f"\0{login.user}\0{login.password}".encode()

    def first(self) -> bytes:
        return self._token

    def next(self, _challenge: bytes) -> bytes | None:
        return None


class _Scram:
    def __init__(self, login: SaslLogin) -> None:
        self.name = login.mechanism
        nonce = random_text(os.urandom(RANDOM_BYTES))
        self._client = ScramClient(login.mechanism, login.user, login.password, nonce, token=login.by_token)
        self._answered = False

    def first(self) -> bytes:
        return self._client.first()

    def next(self, challenge: bytes) -> bytes | None:
        try:
            if self._answered:
                self._client.check(challenge)
                return None
            self._answered = True
            return self._client.final(challenge)
        except ScramRefused as error:
            raise AuthenticationFailed(f"SASL {self.name}: {error}") from error
