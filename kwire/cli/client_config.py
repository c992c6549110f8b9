"""Client settings under their Java names: what `--command-config FILE` holds.

Responsible for: reading a client's .properties file, and turning security.protocol, ssl.* and sasl.* into a TLS
context and a SASL mechanism. Must not depend on: the requests that the client sends.

Key stores must be PEM (`ssl.truststore.type=PEM`, KIP-651): Python does not read JKS. A setting that cannot be
honoured is refused.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

from kwire.cli.connection import AuthenticationFailed, Mechanism, Security

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
        name, username, password = sasl_of(config)

        def mechanism() -> Mechanism:
            return _Plain(username, password) if name == "PLAIN" else _Scram(name, username, password)

    return Security(tls=tls_of(config) if protocol.endswith("SSL") else None, mechanism=mechanism)


def sasl_of(config: Mapping[str, str]) -> tuple[str, str, str]:
    """Return mechanism, user and password. Raises ConfigError."""
    name = config.get("sasl.mechanism", "GSSAPI")
    if name not in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
        raise ConfigError(
            f"sasl.mechanism={name} is not supported here; supported are PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512"
        )
    options = dict(re.findall(r"(\w+)\s*=\s*\"((?:[^\"\\]|\\.)*)\"", config.get("sasl.jaas.config", "")))
    if "username" not in options or "password" not in options:
        raise ConfigError(
            'sasl.jaas.config must name username="..." and password="...", as in '
            'org.apache.kafka.common.security.plain.PlainLoginModule required username="alice" password="secret";'
        )
    return name, *(re.sub(r"\\(.)", r"\1", options[key]) for key in ("username", "password"))  # type: ignore[return-value]


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

    def __init__(self, username: str, password: str) -> None:
        self._token = f"\0{username}\0{password}".encode()

    def first(self) -> bytes:
        return self._token

    def next(self, _challenge: bytes) -> bytes | None:
        return None


class _Scram:
    def __init__(self, name: str, username: str, password: str) -> None:
        from scramp import ScramClient

        self.name = name
        self._client = ScramClient([name], username, password)
        self._answered = False

    def first(self) -> bytes:
        return str(self._client.get_client_first()).encode()

    def next(self, challenge: bytes) -> bytes | None:
        from scramp import ScramException

        try:
            if self._answered:
                self._client.set_server_final(challenge.decode())
                return None
            self._client.set_server_first(challenge.decode())
            self._answered = True
            return str(self._client.get_client_final()).encode()
        except (ScramException, UnicodeDecodeError) as error:
            raise AuthenticationFailed(f"SASL {self.name}: {error}") from error
