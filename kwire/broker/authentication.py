"""How clients authenticate at each listener of a broker.

Responsible for: the mechanisms of a listener as the settings in force give them, and the credentials that an exchange
uses. Must not depend on: connections, requests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from kwire.broker.clock import Clock
from kwire.broker.delegation_tokens import DelegationTokens
from kwire.broker.jwks import Jwks
from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.metadata.entities import ScramMechanism
from kwire.metadata.image import MetadataImage
from kwire.metadata.settings.sasl import OAUTHBEARER, PLAIN, OAuthSettings, SaslSettings, read_sasl
from kwire.security.sasl.exchange import Exchange
from kwire.security.sasl.login import Mechanisms, in_kafkas_order
from kwire.security.sasl.oauthbearer import OAuthBearerExchange, ValidToken
from kwire.security.sasl.plain import PlainExchange
from kwire.security.sasl.scram import Credentials, ScramExchange, TokenCredential
from kwire.security.sasl.scram_keys import (
    ITERATIONS_MIN,
    RANDOM_BYTES,
    SCRAM_MECHANISMS,
    Credential,
    hmac_of,
    random_text,
)
from kwire.security.sasl.tokens import Signed, Unsecured, validate_signed, validate_unsecured

_STAND_IN_KEY_BYTES = 32


class LoginLimits(NamedTuple):
    """``sasl.server.max.receive.size`` and ``connection.failed.authentication.delay.ms``."""

    request_bytes_max: int
    failure_delay_ms: int


class Authentication:
    """One per broker. The settings are read again after a change of them."""

    def __init__(
        self, *, image: MetadataImage, configs: EffectiveConfigs, clock: Clock, tokens: DelegationTokens
    ) -> None:
        self._image = image
        self._configs = configs
        self._clock = clock
        self._tokens = tokens
        self._stand_in_key = clock.random_bytes(_STAND_IN_KEY_BYTES)
        self._read_from: object = None
        self._settings: dict[str, SaslSettings] = {}
        self._jwks: dict[str, Jwks] = {}  # key sets by URL

    @property
    def limits(self) -> LoginLimits:
        values = self._configs.broker
        return LoginLimits(values["sasl.server.max.receive.size"], values["connection.failed.authentication.delay.ms"])

    def mechanisms(self, listener: str) -> Mechanisms:
        """Return the mechanisms that a listener offers now."""
        settings = self._settings_of(listener)

        def begin(mechanism: str) -> Exchange:
            if mechanism == PLAIN:
                return PlainExchange(settings.plain_users.get)
            if settings.oauth is not None and mechanism == OAUTHBEARER:
                return OAuthBearerExchange(self._validator(settings.oauth))
            return self._scram(mechanism)

        return Mechanisms(in_kafkas_order(settings.mechanisms), begin, settings.reauth_ms)

    def _settings_of(self, listener: str) -> SaslSettings:
        values = self._configs.broker
        if self._read_from is not values:
            self._read_from, self._settings = values, {}
        if listener not in self._settings:
            self._settings[listener] = read_sasl(self._configs, listener)
        return self._settings[listener]

    def _validator(self, rules: OAuthSettings) -> Callable[[str], ValidToken]:
        now_ms = self._clock.now_ms
        if rules.jwks_url is None:
            unsecured = Unsecured(rules.principal_claim, rules.scope_claim, rules.required_scope, rules.skew_ms)
            return lambda token: validate_unsecured(unsecured, token, now_ms())
        keys = self._jwks.get(rules.jwks_url)
        if keys is None:
            keys = self._jwks[rules.jwks_url] = Jwks(rules.jwks_url, rules.refresh_ms, now_ms)
        signed = Signed(rules.audiences, rules.issuer, rules.scope_claim, rules.principal_claim, rules.skew_ms)
        return lambda token: validate_signed(signed, token, now_ms(), keys.keys_for)

    def _scram(self, mechanism: str) -> ScramExchange:
        number = SCRAM_MECHANISMS[mechanism]
        kind = ScramMechanism(number)

        def of_user(name: str) -> Credential | None:
            found = self._image.scram.get((name, kind))
            if found is None:
                return None
            return Credential(found.salt, found.stored_key, found.server_key, found.iterations)

        def of_token(token_id: str) -> TokenCredential | None:
            return self._tokens.credential(number, token_id)

        def stand_in(name: str) -> Credential:
            seed = hmac_of(number, self._stand_in_key, name.encode())
            salt = random_text(seed[:RANDOM_BYTES]).encode()
            return Credential(salt, seed, seed, ITERATIONS_MIN)

        server_nonce = random_text(self._clock.random_bytes(RANDOM_BYTES))
        return ScramExchange(number, Credentials(of_user, of_token, stand_in), server_nonce)
