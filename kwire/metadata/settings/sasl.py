"""The SASL settings of a listener, with Kafka's prefixes.

Responsible for: ``sasl.enabled.mechanisms``, ``sasl.jaas.config``, ``connections.max.reauth.ms`` and the settings of
OAUTHBEARER for one listener and mechanism, the login of this node at other nodes, and the checks of these settings.
Must not depend on: how a mechanism works, sockets.

    listener.name.NAME.MECHANISM.KEY      in lower case; looked for first
    listener.name.NAME.KEY
    KEY                                   but sasl.jaas.config must have the first form, as in Kafka
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.metadata.configs.values import ConfigProblem, Value, value_text
from kwire.metadata.settings.jaas import JaasError, LoginModule, login_module_text, parse_login_module

PLAIN: Final = "PLAIN"
SCRAM: Final = ("SCRAM-SHA-256", "SCRAM-SHA-512")
OAUTHBEARER: Final = "OAUTHBEARER"
_SERVED: Final = (PLAIN, *SCRAM, OAUTHBEARER)
_LOGS_IN_BY: Final = (PLAIN, *SCRAM)
_HIDDEN: Final = "[hidden]"
_KEY: Final = "sasl.enabled.mechanisms"
_JAAS: Final = "sasl.jaas.config"
_USER: Final = "user_"
_EXAMPLE_USER: Final = ' user_alice="secret"'
_EXAMPLE_LOGIN: Final = ' username="broker" password="secret"'

LOGIN_MODULES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "PLAIN": "org.apache.kafka.common.security.plain.PlainLoginModule",
        "SCRAM-SHA-256": "org.apache.kafka.common.security.scram.ScramLoginModule",
        "SCRAM-SHA-512": "org.apache.kafka.common.security.scram.ScramLoginModule",
        "OAUTHBEARER": "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule",
    }
)


_OAUTH_CLASSES: Final = "org.apache.kafka.common.security.oauthbearer."
_SIGNED_HANDLER: Final = f"{_OAUTH_CLASSES}OAuthBearerValidatorCallbackHandler"
_UNSECURED_HANDLER: Final = f"{_OAUTH_CLASSES}internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler"
JWT_VALIDATORS: Final = (f"{_OAUTH_CLASSES}DefaultJwtValidator", f"{_OAUTH_CLASSES}BrokerJwtValidator")
_HANDLER: Final = "sasl.server.callback.handler.class"
_JWKS: Final = "sasl.oauthbearer.jwks.endpoint.url"
# Since Kafka 4.4 the first setting of each pair is required, unless the second is true.
_VERIFIED_CLAIMS: Final = (
    ("audience", "sasl.oauthbearer.expected.audience", "sasl.oauthbearer.allow.unverified.audience"),
    ("issuer", "sasl.oauthbearer.expected.issuer", "sasl.oauthbearer.allow.unverified.issuer"),
)


class OAuthSettings(NamedTuple):
    """How tokens of OAUTHBEARER are checked. ``jwks_url`` None: they are unsecured, as the handler class says."""

    jwks_url: str | None
    refresh_ms: int
    skew_ms: int
    audiences: tuple[str, ...]
    issuer: str | None
    scope_claim: str
    principal_claim: str
    required_scope: tuple[str, ...]


class SaslSettings(NamedTuple):
    """The SASL settings of one listener. ``plain_users`` maps the users of PLAIN to their passwords."""

    mechanisms: tuple[str, ...]
    plain_users: Mapping[str, str]
    reauth_ms: Mapping[str, int]
    oauth: OAuthSettings | None


class ClientLogin(NamedTuple):
    """How this node logs in at other nodes. ``by_token``: user and password are a delegation token's."""

    mechanism: str
    user: str
    password: str
    by_token: bool

    def __repr__(self) -> str:
        return f"ClientLogin({self.mechanism}, {self.user})"


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
    oauth = None
    reauth_ms = {}
    for mechanism in mechanisms:
        if mechanism not in _SERVED:
            raise ConfigProblem(
                key, value_text(given), _not_served(listener, mechanism), f"some of {','.join(_SERVED)}"
            )
        use = f"The listener {listener} serves {mechanism}"
        module = _login_module(configs, listener, mechanism, use, _EXAMPLE_USER if mechanism == PLAIN else "")
        if mechanism == PLAIN:
            plain_users = {
                name.removeprefix(_USER): password
                for name, password in module.options.items()
                if name.startswith(_USER)
            }
        if mechanism == OAUTHBEARER:
            oauth = _oauth(configs, listener, module)
        limit = _setting(configs, listener, "connections.max.reauth.ms", mechanism)[1]
        assert isinstance(limit, int)
        reauth_ms[mechanism] = limit
    return SaslSettings(mechanisms, plain_users, reauth_ms, oauth)


def read_client_login(configs: EffectiveConfigs, listener: str, mechanism_key: str) -> ClientLogin:
    """Read how this node logs in at a listener of other nodes, by the mechanism of that setting. Raises ConfigProblem.

    As in Kafka one JAAS configuration is for both sides: its ``username`` and ``password`` are this node's.
    """
    mechanism = str(configs.broker_value(mechanism_key))
    if mechanism not in _LOGS_IN_BY:
        message = f"This node cannot log in at other nodes by {mechanism}."
        raise ConfigProblem(mechanism_key, mechanism, message, " or ".join(_LOGS_IN_BY))
    use = f"This node logs in at the listener {listener} of other nodes by {mechanism}"
    options = _login_module(configs, listener, mechanism, use, _EXAMPLE_LOGIN).options
    if not options.get("username") or "password" not in options:
        key = jaas_key(listener, mechanism)
        example = f"{key}={LOGIN_MODULES[mechanism]} required{_EXAMPLE_LOGIN};"
        raise ConfigProblem(key, _HIDDEN, f"{use}, but no username and password are given.", example)
    by_token = mechanism != PLAIN and options.get("tokenauth", "").lower() == "true"
    return ClientLogin(mechanism, options["username"], options["password"], by_token)


def _login_module(
    configs: EffectiveConfigs, listener: str, mechanism: str, use: str, example_options: str
) -> LoginModule:
    """Read the JAAS configuration of a listener's mechanism; ``use`` names its purpose in messages."""
    key, expected = jaas_key(listener, mechanism), LOGIN_MODULES[mechanism]
    example = f"{key}={expected} required{example_options};"
    text = configs.broker_value(key)
    if text is None:
        message = f"{use}, but no JAAS configuration is given for it"
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


def _oauth(configs: EffectiveConfigs, listener: str, module: LoginModule) -> OAuthSettings:
    """Read how tokens are checked: by their signatures with Kafka's handler class for that, else unsecured."""
    handler_key, handler = _setting(configs, listener, _HANDLER, OAUTHBEARER)
    jwks_key, url = _setting(configs, listener, _JWKS, OAUTHBEARER)
    if handler not in {None, _SIGNED_HANDLER, _UNSECURED_HANDLER}:
        message = f"Class {handler} could not be found: kwire runs no Java code."
        raise ConfigProblem(handler_key, str(handler), message, f"{_SIGNED_HANDLER} or {_UNSECURED_HANDLER}")
    validator_key, validator = _setting(configs, listener, "sasl.oauthbearer.jwt.validator.class", OAUTHBEARER)
    if validator not in JWT_VALIDATORS:
        message = f"Class {validator} could not be found: kwire runs no Java code."
        raise ConfigProblem(validator_key, str(validator), message, JWT_VALIDATORS[0])
    if handler != _SIGNED_HANDLER:
        if url is not None:
            # Kafka starts, and accepts tokens that are not signed.
            message = f"The signatures of tokens are not checked without {_HANDLER}={_SIGNED_HANDLER}."
            key = f"listener.name.{listener.lower()}.oauthbearer.{_HANDLER}"
            raise ConfigProblem(jwks_key, str(url), message, f"{key}={_SIGNED_HANDLER}, or no {_JWKS}")
        return _unsecured(jaas_key(listener, OAUTHBEARER), module.options)
    if not isinstance(url, str) or urlsplit(url).scheme not in {"file", "http", "https"}:
        message = f"{_SIGNED_HANDLER} needs the URL of the keys."
        raise ConfigProblem(jwks_key, None if url is None else str(url), message, "a file:, http: or https: URL")

    def value(key: str) -> Any:
        return _setting(configs, listener, key, OAUTHBEARER)[1]

    for claim, expected, unverified in _VERIFIED_CLAIMS:
        if not value(expected) and not value(unverified):
            message = f"Without {expected}, tokens of any {claim} would be accepted; {unverified}=true allows that."
            raise ConfigProblem(expected, None, message, f"the {claim} of the tokens")
    return OAuthSettings(
        jwks_url=url,
        refresh_ms=value("sasl.oauthbearer.jwks.endpoint.refresh.ms"),
        skew_ms=value("sasl.oauthbearer.clock.skew.seconds") * 1000,
        audiences=value("sasl.oauthbearer.expected.audience"),
        issuer=value("sasl.oauthbearer.expected.issuer"),
        scope_claim=value("sasl.oauthbearer.scope.claim.name"),
        principal_claim=value("sasl.oauthbearer.sub.claim.name"),
        required_scope=(),
    )


def _unsecured(key: str, options: Mapping[str, str]) -> OAuthSettings:
    def option(name: str) -> str:
        return options.get(f"unsecuredValidator{name}", "").strip()

    skew = option("AllowableClockSkewMs") or "0"
    if not skew.isdecimal():
        message = f"unsecuredValidatorAllowableClockSkewMs={skew} is not a number of milliseconds."
        raise ConfigProblem(key, _HIDDEN, message, "a whole number from 0")
    return OAuthSettings(
        jwks_url=None,
        refresh_ms=0,
        skew_ms=int(skew),
        audiences=(),
        issuer=None,
        scope_claim=option("ScopeClaimName") or "scope",
        principal_claim=option("PrincipalClaimName") or "sub",
        required_scope=tuple(option("RequiredScope").split()),
    )


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
