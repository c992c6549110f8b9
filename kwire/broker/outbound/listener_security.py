"""How this node connects to the nodes behind a listener: TLS and login as the settings in force have them.

Responsible for: the TLS context and the login of connections to one listener of other nodes, made again when settings
or files have changed. Must not depend on: sockets, requests.

As in Kafka the settings are those of the listener on this side: ``listener.name.NAME.ssl.*``, and the username and
password in ``listener.name.NAME.MECHANISM.sasl.jaas.config``.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from typing import NamedTuple

from kwire.broker.listener_tls import config_problem, file_states, listener_tls_settings
from kwire.broker.logs import Logger
from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.metadata.configs.values import ConfigProblem
from kwire.metadata.entities import ResourceType
from kwire.metadata.image import Delta
from kwire.metadata.settings.listeners import node_listeners
from kwire.metadata.settings.sasl import read_client_login, uses_sasl
from kwire.security.sasl.client import SaslLogin, begin_exchange
from kwire.security.sasl.exchange import ClientExchange
from kwire.security.sasl.scram_keys import RANDOM_BYTES, random_text
from kwire.security.tls.settings import TlsProblem, TlsSettings

log = Logger("kwire.broker")


class _Loaded(NamedTuple):
    """A context, and the settings and file states that it was made from."""

    settings: TlsSettings
    files: tuple[object, ...]
    context: ssl.SSLContext


class ListenerSecurity:
    """For one listener name. ``context`` and ``login`` may be called in any thread."""

    def __init__(
        self,
        configs: EffectiveConfigs,
        listener: str,
        protocol: str,
        *,
        mechanism_key: str,
        random: Callable[[int], bytes],
    ) -> None:
        """Read the settings; ``load`` or the first ``context`` reads the files. Raises ConfigProblem."""
        self.listener = listener
        self._configs = configs
        self._protocol = protocol
        self._mechanism_key = mechanism_key
        self._random = random
        self._loading = threading.Lock()
        self._loaded: _Loaded | None = None
        self._login: SaslLogin | None = None
        self._settings: TlsSettings | None = None
        self._read()

    @property
    def uses_tls(self) -> bool:
        return self._settings is not None

    def load(self) -> None:
        """Read the files now. Raises ConfigProblem."""
        try:
            if self.uses_tls:
                self.context()
        except TlsProblem as problem:
            raise config_problem(self._configs, self.listener, problem) from problem

    def context(self) -> ssl.SSLContext:
        """Return the context for the next connection of a listener with TLS; reads files if they have changed.

        Raises TlsProblem for files that cannot be used, if there are no earlier ones.
        """
        with self._loading:
            loaded, wanted = self._loaded, self._settings
            assert wanted is not None
            if loaded is not None and wanted == loaded.settings and file_states(wanted) == loaded.files:
                return loaded.context
            try:
                self._loaded = loaded = _load(wanted)
            except TlsProblem as problem:
                if loaded is None:
                    raise
                log.error(  # noqa: TRY400 (the problem says it all)
                    "TLS of connections to other nodes not reloaded: the earlier certificates stay in use",
                    listener=self.listener,
                    key=problem.name,
                    why=str(problem),
                )
            return loaded.context

    def login(self) -> ClientExchange | None:
        """Begin the login of one connection; None if connections need no login."""
        if self._login is None:
            return None
        return begin_exchange(self._login, random_text(self._random(RANDOM_BYTES)))

    def on_metadata_delta(self, delta: Delta) -> None:
        """Read the settings again after a change of the broker's configs."""
        if not any(resource.type is ResourceType.BROKER for resource in delta.configs_changed):
            return
        try:
            self._read()
        except ConfigProblem as problem:
            log.warning(
                "settings of connections to other nodes not used",
                listener=self.listener,
                key=problem.name,
                why=str(problem),
            )

    def _read(self) -> None:
        settings = listener_tls_settings(self._configs, self.listener) if self._protocol.endswith("SSL") else None
        if uses_sasl(self._protocol):
            login = read_client_login(self._configs, self.listener, self._mechanism_key)
            self._login = SaslLogin(login.mechanism, login.user, login.password, login.by_token)
        self._settings = settings


def security_towards_controllers(configs: EffectiveConfigs, random: Callable[[int], bytes]) -> ListenerSecurity | None:
    """Read how this node connects to controllers; None for plain connections. Raises ConfigProblem."""
    name, protocol = node_listeners(configs).controllers
    key = "sasl.mechanism.controller.protocol"
    return _security(configs, name, protocol, mechanism_key=key, random=random)


def security_towards_brokers(configs: EffectiveConfigs, random: Callable[[int], bytes]) -> ListenerSecurity | None:
    """Read how this node connects to other brokers; None for plain connections. Raises ConfigProblem."""
    name, protocol = node_listeners(configs).brokers
    key = "sasl.mechanism.inter.broker.protocol"
    return _security(configs, name, protocol, mechanism_key=key, random=random)


def _security(
    configs: EffectiveConfigs, name: str, protocol: str, *, mechanism_key: str, random: Callable[[int], bytes]
) -> ListenerSecurity | None:
    if protocol == "PLAINTEXT":
        return None
    return ListenerSecurity(configs, name, protocol, mechanism_key=mechanism_key, random=random)


def _load(settings: TlsSettings) -> _Loaded:
    from kwire.security.tls.contexts import client_context  # noqa: PLC0415 (loads cryptography, for TLS alone)

    files = file_states(settings)  # before they are read: a change meanwhile is then noticed
    return _Loaded(settings, files, client_context(settings))
