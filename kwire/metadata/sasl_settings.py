"""The SASL settings of a listener, with Kafka's prefixes.

Responsible for: ``sasl.enabled.mechanisms``, ``sasl.jaas.config``, ``connections.max.reauth.ms`` and the settings of
OAUTHBEARER as they hold for one listener and mechanism, and what is wrong with them. Must not depend on: how a
mechanism works, sockets.

    listener.name.NAME.MECHANISM.KEY      in lower case; looked for first
    listener.name.NAME.KEY
    KEY                                   but sasl.jaas.config must have the first form, as in Kafka
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from kwire.metadata.config_values import ConfigProblem, Value, value_text
from kwire.metadata.effective import EffectiveConfigs
from kwire.metadata.jaas import JaasError, LoginModule, login_module_text, parse_login_module

PLAIN: Final = "PLAIN"
SCRAM: Final = ("SCRAM-SHA-256", "SCRAM-SHA-512")
_SERVED: Final = (PLAIN, *SCRAM)
_HIDDEN: Final = "[hidden]"
_KEY: Final = "sasl.enabled.mechanisms"
_JAAS: Final = "sasl.jaas.config"
_USER: Final = "user_"
_EXAMPLE_USER: Final = ' user_alice="secret"'

LOGIN_MODULES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "PLAIN": "org.apache.kafka.common.security.plain.PlainLoginModule",
        "SCRAM-SHA-256": "org.apache.kafka.common.security.scram.ScramLoginModule",
        "SCRAM-SHA-512": "org.apache.kafka.common.security.scram.ScramLoginModule",
        "OAUTHBEARER": "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule",
    }
)


class SaslSettings(NamedTuple):
    """What holds for one listener. ``plain_users`` maps the users of PLAIN to their passwords."""

    mechanisms: tuple[str, ...]
    plain_users: Mapping[str, str]
    reauth_ms: Mapping[str, int]


def uses_sasl(protocol: str) -> bool:
    """Whether clients of a listener with this security protocol authenticate by SASL."""
    return protocol.startswith("SASL_")


def jaas_key(listener: str, mechanism: str) -> str:
    """Return the setting that holds the JAAS configuration of a listener's mechanism."""
    return f"listener.name.{listener.lower()}.{mechanism.lower()}.{_JAAS}"


def settings_for_users(listeners: Iterable[str], users: Mapping[str, str]) -> dict[str, str]:
    """Return the settings by which SASL listeners serve PLAIN and SCRAM for these users and their passwords.

    The credentials of SCRAM are metadata, not settings: ``server.initial_users`` stores them.
    """
    mechanisms = (PLAIN, *SCRAM)
    settings = {_KEY: ",".join(mechanisms), "sasl.mechanism.inter.broker.protocol": PLAIN}
    for listener in listeners:
        for mechanism in mechanisms:
            options = {f"{_USER}{name}": password for name, password in users.items()} if mechanism == PLAIN else {}
            module = LoginModule(LOGIN_MODULES[mechanism], options)
            settings[jaas_key(listener, mechanism)] = login_module_text(module)
    return settings


def read_sasl(configs: EffectiveConfigs, listener: str) -> SaslSettings:
    """Read and check the settings of a SASL listener. Raises ConfigProblem."""
    key, given = _setting(configs, listener, _KEY)
    assert isinstance(given, tuple)
    mechanisms = tuple(dict.fromkeys(given))
    if not mechanisms:
        raise ConfigProblem(key, "", f"The listener {listener} has no SASL mechanism.", f"some of {','.join(_SERVED)}")
    plain_users: Mapping[str, str] = {}
    reauth_ms = {}
    for mechanism in mechanisms:
        if mechanism not in _SERVED:
            raise ConfigProblem(
                key, value_text(given), _not_served(listener, mechanism), f"some of {','.join(_SERVED)}"
            )
        module = _login_module(configs, listener, mechanism)
        if mechanism == PLAIN:
            plain_users = {
                name.removeprefix(_USER): password
                for name, password in module.options.items()
                if name.startswith(_USER)
            }
        limit = _setting(configs, listener, "connections.max.reauth.ms", mechanism)[1]
        assert isinstance(limit, int)
        reauth_ms[mechanism] = limit
    return SaslSettings(mechanisms, plain_users, reauth_ms)


def _login_module(configs: EffectiveConfigs, listener: str, mechanism: str) -> LoginModule:
    key, expected = jaas_key(listener, mechanism), LOGIN_MODULES[mechanism]
    example = f"{key}={expected} required{_EXAMPLE_USER if mechanism == PLAIN else ''};"
    text = configs.broker_value(key)
    if text is None:
        message = f"The listener {listener} serves {mechanism}, but no JAAS configuration is given for it"
        if configs.is_set(_JAAS):
            message += f"; a {_JAAS} without prefix is not read, in Apache Kafka neither"
        raise ConfigProblem(key, None, f"{message}.", example)
    try:
        module = parse_login_module(str(text))
    except JaasError as error:
        raise ConfigProblem(key, _HIDDEN, f"{error}.", example) from None
    if module.name != expected:
        message = f"The login module {module.name} does not belong to {mechanism}."
        raise ConfigProblem(key, _HIDDEN, message, example)
    return module


def _setting(configs: EffectiveConfigs, listener: str, key: str, mechanism: str | None = None) -> tuple[str, Value]:
    """Return the name by which a setting of a listener is given, and its value."""
    prefix = f"listener.name.{listener.lower()}."
    names = [f"{prefix}{key}", key]
    if mechanism is not None:
        names.insert(0, f"{prefix}{mechanism.lower()}.{key}")
    name = next(filter(configs.is_set, names), key)
    return name, configs.broker_value(name)


def _not_served(listener: str, mechanism: str) -> str:
    if mechanism == "GSSAPI":
        return f"The listener {listener} would serve GSSAPI (Kerberos), Kafka's default, which kwire does not have."
    return f"The listener {listener} would serve the SASL mechanism {mechanism}, which kwire does not have."
