"""The TLS listeners of one broker: certificates, client authentication, and changes while the broker runs.

Responsible for: the ``ssl.*`` settings of each listener, the context made of them, the principal of a connection, and
when a context is made again (a dynamic change of the settings, SIGHUP). Must not depend on: sockets, requests.

A change is checked before the controller gets it, as in Kafka: the files must be readable, the key must fit, and the
new certificate must have the names of the old one (unless ``ssl.allow.dn.changes`` or ``ssl.allow.san.changes``). A
reload whose files cannot be used leaves a listener as it is. Connections that exist stay as they are.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import trio

from kwire.broker.broker import Broker
from kwire.broker.listener_tls import config_problem, file_states, listener_tls_settings
from kwire.broker.logs import Logger
from kwire.errors import Code, KafkaError
from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.metadata.configs.values import ConfigProblem
from kwire.metadata.entities import ResourceType
from kwire.metadata.image import Delta
from kwire.security.principal import ANONYMOUS, Principal
from kwire.security.tls.contexts import read_file, served_suites, server_context
from kwire.security.tls.names import distinguished_name
from kwire.security.tls.principal_mapping import BadRule, NoMatchingRule, PrincipalMapping
from kwire.security.tls.settings import TlsProblem, TlsSettings
from kwire.security.tls.stores import KeyStore, read_key_store
from kwire.server.bindings import Binding
from kwire.server.tls.handshake import HandshakeFailed, NextTurn
from kwire.server.tls.transport import TlsTransport

log = Logger("kwire.server")

_WARN_BEFORE_EXPIRY: Final = timedelta(days=14)


class Loaded(NamedTuple):
    """The settings, key store and context of a listener."""

    settings: TlsSettings
    store: KeyStore
    context: ssl.SSLContext
    mapping: PrincipalMapping
    suites: frozenset[str] | None
    files: tuple[object, ...]  # the states of the files that it was made from


class TlsListener:
    """One listener. ``context`` is for the next connection.

    ``failure_delay_ms`` is how long a connection stays open after a handshake that failed, so that the client can read
    why (``connection.failed.authentication.delay.ms``).
    """

    def __init__(
        self, name: str, loaded: Loaded, *, security_protocol: str = "SSL", failure_delay_ms: int = 100
    ) -> None:
        self.name = name
        self.loaded = loaded
        self.failure_delay_ms = failure_delay_ms
        self._login_follows = security_protocol != "SSL"

    @property
    def context(self) -> ssl.SSLContext:
        return self.loaded.context

    async def handshake(self, transport: TlsTransport, next_turn: NextTurn) -> Principal:
        """Agree on TLS, and return the client's principal. Raises ConnectionError; HandshakeFailed says why."""
        return self.principal_of(await transport.handshake(next_turn))

    def principal_of(self, connection: ssl.SSLSocket) -> Principal:
        """Return the principal of a connection after its handshake. Raises HandshakeFailed."""
        cipher = connection.cipher()
        suites = self.loaded.suites
        if suites is not None and cipher is not None and cipher[1] == "TLSv1.3" and cipher[0] not in suites:
            raise HandshakeFailed("no cipher suite that both sides support (ssl.cipher.suites)")
        if self._login_follows or self.loaded.settings.client_auth == "none":
            return ANONYMOUS
        certificate = connection.getpeercert(binary_form=True)
        if certificate is None:
            return ANONYMOUS
        from cryptography.x509 import load_der_x509_certificate  # noqa: PLC0415 (only where clients have certificates)

        subject = distinguished_name(load_der_x509_certificate(certificate).subject.public_bytes())
        try:
            return Principal("User", self.loaded.mapping.name_of(subject))
        except NoMatchingRule as error:
            raise HandshakeFailed(f"ssl.principal.mapping.rules: {error}") from error


class TlsListeners:
    """All TLS listeners of a broker, by name."""

    def __init__(
        self, listeners: Mapping[str, TlsListener], protocols: Mapping[str, str], configs: EffectiveConfigs
    ) -> None:
        self._listeners = listeners
        self._protocols = protocols
        self._configs = configs
        self._wanted: dict[str, TlsSettings] = {}
        self._changed = trio.Event()

    @classmethod
    def load(cls, configs: EffectiveConfigs, bindings: Iterable[Binding]) -> TlsListeners:
        """Make the contexts that the static settings describe. Raises ConfigProblem."""
        protocols = {one.name: one.security_protocol for one in bindings if one.security_protocol.endswith("SSL")}
        delay_ms = configs.broker["connection.failed.authentication.delay.ms"]
        listeners = {}
        for name, protocol in protocols.items():
            settings = _settings_of(configs, name, protocol)
            try:
                listeners[name] = TlsListener(
                    name, _load(settings), security_protocol=protocol, failure_delay_ms=delay_ms
                )
            except TlsProblem as problem:
                raise config_problem(configs, name, problem) from problem
        return cls(listeners, protocols, configs)

    def get(self, name: str) -> TlsListener | None:
        """The listener with a name; None for a listener without TLS."""
        return self._listeners.get(name)

    def __len__(self) -> int:
        return len(self._listeners)

    def describe(self, bindings: Iterable[Binding]) -> None:
        """Log the certificate of each listener, and whether it contains the host that clients are given."""
        for binding in bindings:
            listener = self._listeners.get(binding.name)
            if listener is None:
                continue
            _log_certificate("TLS certificate", listener)
            host, names = binding.endpoint.host, listener.loaded.store.alternative_names
            if names and not _contains(names, host):
                log.warning(
                    "TLS certificate does not contain the advertised host: clients that verify it will not connect",
                    listener=binding.name,
                    host=host,
                    names=", ".join(sorted(names)),
                )

    # --- new settings and files ---

    async def follow(self, broker: Broker) -> None:
        """Apply the dynamic settings too: the current ones of ``broker``, and each change."""
        self._configs = broker.configs
        broker.reconfiguration.add("ssl.", self.check)
        broker.controller.subscribe(self.on_metadata_delta)
        self._note_changes()
        await self._load_changes()

    def on_metadata_delta(self, delta: Delta) -> None:
        """Reload the listeners whose values, or files with the same name, a change of the broker's configs concerns."""
        if any(resource.type is ResourceType.BROKER for resource in delta.configs_changed):
            self._note_changes()

    def reload_all(self) -> None:
        """Read all files again."""
        self._wanted = self._settings_now()
        self._changed.set()

    async def check(self, proposed: EffectiveConfigs) -> None:
        """Check settings that a client asks for. Raises KafkaError, as Kafka's validateReconfiguration."""
        for name, protocol in self._protocols.items():
            listener = self._listeners[name]
            try:
                settings = _settings_of(proposed, name, protocol)
                loaded = await trio.to_thread.run_sync(_load, settings)
                _check_trust_store(listener.loaded.settings, settings)
                _check_same_names(listener.loaded.store, loaded)
            except (TlsProblem, ConfigProblem) as problem:
                message = (
                    "Validation of dynamic config update of SSLFactory failed: "
                    f"org.apache.kafka.common.config.ConfigException: {problem}"
                )
                raise KafkaError(Code.INVALID_REQUEST, message) from problem

    async def run(self) -> None:
        """Reload changed listeners, until cancelled."""
        while True:
            await self._changed.wait()
            await self._load_changes()

    async def _load_changes(self) -> None:
        self._changed = trio.Event()
        wanted, self._wanted = self._wanted, {}
        for name, settings in wanted.items():
            await self._reload(self._listeners[name], settings)

    async def _reload(self, listener: TlsListener, settings: TlsSettings) -> None:
        try:
            listener.loaded = await trio.to_thread.run_sync(_load, settings)
        except TlsProblem as problem:
            log.error(  # noqa: TRY400 (the problem says it all)
                "TLS certificate not reloaded: the listener keeps the one it has",
                listener=listener.name,
                key=problem.name,
                why=str(problem),
            )
            return
        _log_certificate("TLS certificate reloaded", listener)

    def _note_changes(self) -> None:
        for name, settings in self._settings_now().items():
            loaded = self._listeners[name].loaded
            if settings != loaded.settings or file_states(settings) != loaded.files:
                self._wanted[name] = settings
                self._changed.set()

    def _settings_now(self) -> dict[str, TlsSettings]:
        wanted = {}
        for name, protocol in self._protocols.items():
            try:
                wanted[name] = _settings_of(self._configs, name, protocol)
            except ConfigProblem as problem:  # left by another broker
                log.warning("TLS settings not used", listener=name, key=problem.name, why=str(problem))
        return wanted


def _settings_of(configs: EffectiveConfigs, name: str, security_protocol: str) -> TlsSettings:
    """Read the settings of a listener. Raises ConfigProblem."""
    settings = listener_tls_settings(configs, name)
    if security_protocol == "SASL_SSL" and not configs.is_set(f"listener.name.{name.lower()}.ssl.client.auth"):
        return settings.without_client_auth()  # KIP-684: for SASL_SSL only a listener's own setting counts
    return settings


def _load(settings: TlsSettings) -> Loaded:
    """Read the files and make the context; in a thread while the broker serves. Raises TlsProblem."""
    files = file_states(settings)  # before they are read: a change meanwhile is then noticed
    store = read_key_store(settings, read_file)
    if store is None:
        message = "A TLS listener needs a private key with its certificate."
        raise TlsProblem(
            "ssl.keystore.location", None, message, "the path of a PEM or PKCS12 file (kwire certs makes one)"
        )
    try:
        mapping = PrincipalMapping(settings.principal_mapping_rules)
    except BadRule as error:
        rules = settings.principal_mapping_rules
        raise TlsProblem(
            "ssl.principal.mapping.rules", rules, str(error), "RULE:pattern/replacement/[LU] or DEFAULT"
        ) from error
    return Loaded(settings, store, server_context(settings, store), mapping, served_suites(settings), files)


def _check_trust_store(old: TlsSettings, new: TlsSettings) -> None:
    """Refuse a trust store where there was none, as Kafka does. Raises TlsProblem."""
    if new.has_trust_store and not old.has_trust_store:
        message = "Cannot add SSL truststore to an existing listener for which no truststore was configured."
        raise TlsProblem("ssl.truststore.location", new.truststore_location, message, "a restart with that setting")


def _check_same_names(old: KeyStore, loaded: Loaded) -> None:
    """Refuse a certificate with other names, which clients would not expect. Raises TlsProblem."""
    new, settings = loaded.store, loaded.settings
    if not settings.allow_dn_changes and new.subject.lower() != old.subject.lower():
        message = (
            "Keystore DistinguishedName does not match: "
            f" existing={{alias=kafka, DN={old.subject}}}, new={{alias=kafka, DN={new.subject}}}"
        )
        raise TlsProblem("ssl.keystore.location", settings.keystore_location, message, "ssl.allow.dn.changes=true")
    if not settings.allow_san_changes and not new.alternative_names >= old.alternative_names:
        message = (
            "Keystore SubjectAltNames do not match: "
            f" existing={{alias=kafka, SAN={sorted(old.alternative_names)}}}, "
            f"new={{alias=kafka, SAN={sorted(new.alternative_names)}}}"
        )
        raise TlsProblem("ssl.keystore.location", settings.keystore_location, message, "ssl.allow.san.changes=true")


def _contains(names: Iterable[str], host: str) -> bool:
    """Whether a host is one of the names of a certificate, which may begin with ``*.``."""
    wanted = {f"DNS:{host.lower()}", f"DNS:*.{host.lower().partition('.')[2]}", f"IP:{host}"}
    return any(name in wanted or name.lower() in wanted for name in names)


def _log_certificate(event: str, listener: TlsListener) -> None:
    store = listener.loaded.store
    expires = store.certificate.not_valid_after_utc
    values = {
        "listener": listener.name,
        "subject": store.subject,
        "names": ", ".join(sorted(store.alternative_names)),
        "expires": expires.isoformat(),
    }
    now = datetime.now(UTC)
    if expires < now:
        log.warning("TLS certificate has expired: clients will refuse it", **values)
    elif expires < now + _WARN_BEFORE_EXPIRY:
        log.warning("TLS certificate expires soon", **values)
    else:
        log.info(event, **values)
