"""Client settings under their Java names, as in `--command-config FILE`.

Responsible for: reading a client's .properties file, and turning security.protocol, ssl.* and sasl.* into a TLS
context and a SASL mechanism. Must not depend on: the requests that the client sends.

Key stores are PEM (KIP-651) or PKCS12: only Java reads JKS. A setting that cannot be honoured is refused.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from kwire.cli.connections.connection import Security
from kwire.metadata.settings.jaas import JaasError, parse_login_module
from kwire.metadata.settings.sasl import LOGIN_MODULES
from kwire.security.sasl.client import CLIENT_MECHANISMS, SaslLogin, begin_exchange
from kwire.security.sasl.exchange import ClientExchange
from kwire.security.sasl.scram_keys import RANDOM_BYTES, random_text

SECURITY_PROTOCOLS: Final = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")

# The settings that this module honours. A caller adds its own, and names the keys of a file that have no effect.
SECURITY_KEYS: Final = frozenset(
    {
        "security.protocol",
        "sasl.mechanism",
        "sasl.jaas.config",
        "ssl.truststore.type",
        "ssl.truststore.location",
        "ssl.truststore.password",
        "ssl.truststore.certificates",
        "ssl.keystore.type",
        "ssl.keystore.location",
        "ssl.keystore.password",
        "ssl.keystore.key",
        "ssl.keystore.certificate.chain",
        "ssl.key.password",
        "ssl.protocol",
        "ssl.enabled.protocols",
        "ssl.cipher.suites",
        "ssl.endpoint.identification.algorithm",
    }
)


# Kafka's defaults.
_DEFAULTS: Final = {"ssl.enabled.protocols": "TLSv1.2,TLSv1.3", "ssl.endpoint.identification.algorithm": "https"}
_LISTS: Final = frozenset({"ssl.enabled.protocols", "ssl.cipher.suites"})


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

        def mechanism() -> ClientExchange:
            return begin_exchange(login, random_text(os.urandom(RANDOM_BYTES)))

    return Security(tls=tls_of(config) if protocol.endswith("SSL") else None, mechanism=mechanism)


def sasl_of(config: Mapping[str, str]) -> SaslLogin:
    """Read sasl.mechanism and sasl.jaas.config. Raises ConfigError."""
    name = config.get("sasl.mechanism", "GSSAPI")
    if name not in CLIENT_MECHANISMS:
        raise ConfigError(f"sasl.mechanism={name} is not supported here; supported are {', '.join(CLIENT_MECHANISMS)}")
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
    from kwire.security.tls.contexts import client_context
    from kwire.security.tls.settings import TlsProblem, read_tls_settings

    def value(name: str) -> object:
        text = config.get(name, _DEFAULTS.get(name))
        return tuple(filter(None, map(str.strip, (text or "").split(",")))) if name in _LISTS else text

    try:
        return client_context(read_tls_settings(value))
    except TlsProblem as problem:
        shown = "" if problem.value is None else f"={problem.value}"
        raise ConfigError(
            f"{problem.name}{shown}: {str(problem).rstrip('.')}; accepted: {problem.expected}"
        ) from problem
