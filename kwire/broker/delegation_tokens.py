"""The secrets of delegation tokens, and their removal once they have expired.

Responsible for: the HMAC of a token, its SCRAM credentials, and the check of ``delegation.token.expiry.check.interval.
ms``. Must not depend on: requests, connections.

The metadata log has no secret of a token: its HMAC is computed from its id with ``delegation.token.secret.key``. A
client logs in with the id as user and the HMAC in base64 as password.
"""

from __future__ import annotations

import base64
import hmac

from kwire.broker.clock import Clock
from kwire.broker.controller.interface import Controller
from kwire.broker.logs import Logger
from kwire.metadata.commands.delegation_tokens import (
    RemoveExpiredTokens,
    Token,
    expired_tokens,
    token_of,
    tokens_enabled,
)
from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.metadata.image import Delta, MetadataImage
from kwire.security.principal import Principal
from kwire.security.sasl.scram import TokenCredential
from kwire.security.sasl.scram_keys import RANDOM_BYTES, Credential, make_credential, random_text

log = Logger("kwire.broker")


class DelegationTokens:
    """One per broker."""

    def __init__(
        self, *, image: MetadataImage, configs: EffectiveConfigs, controller: Controller, clock: Clock
    ) -> None:
        self._image = image
        self._configs = configs
        self._controller = controller
        self._clock = clock
        self._ids: dict[bytes, str] = {}  # token ids by HMAC
        self._stale = True
        self._credentials: dict[tuple[str, int], Credential] = {}  # credentials by token id and number of the mechanism

    @property
    def enabled(self) -> bool:
        """Whether there is a secret key."""
        return tokens_enabled(self._configs)

    def all(self) -> list[Token]:
        """Return the tokens of the image."""
        return [token_of(record) for record in self._image.tokens.values()]

    def hmac_of(self, token_id: str) -> bytes:
        """Return the secret of a token."""
        key = self._configs.broker["delegation.token.secret.key"] or ""
        return hmac.digest(key.encode(), token_id.encode(), "sha512")

    def id_of(self, secret: bytes) -> str | None:
        """Return the id of the token with this HMAC, or None."""
        if not self.enabled:
            return None
        if self._stale:
            self._ids = {self.hmac_of(token_id): token_id for token_id in self._image.tokens}
            self._stale = False
        return self._ids.get(secret)

    def credential(self, mechanism: int, token_id: str) -> TokenCredential | None:
        """Return the SCRAM credential of a token; it takes milliseconds at the first use, so call it in a thread."""
        record = self._image.tokens.get(token_id)
        if record is None or not self.enabled:
            return None
        made = self._credentials.get((token_id, mechanism))
        if made is None:
            password = base64.b64encode(self.hmac_of(token_id)).decode()
            made = make_credential(mechanism, password, random_text(self._clock.random_bytes(RANDOM_BYTES)).encode())
            self._credentials[token_id, mechanism] = made
        kind, _, name = record.owner.partition(":")
        return TokenCredential(made, Principal(kind, name), record.expiration_timestamp)

    def on_metadata_delta(self, delta: Delta) -> None:
        """Drop the HMACs and credentials of tokens that were removed."""
        if not delta.tokens_changed:
            return
        self._stale = True
        removed = {token_id for token_id in delta.tokens_changed if token_id not in self._image.tokens}
        for token_id, mechanism in list(self._credentials):
            if token_id in removed:
                del self._credentials[token_id, mechanism]

    async def run(self) -> None:
        """Remove expired tokens now and then, until cancelled."""
        while self.enabled:
            await self._clock.sleep(self._configs.broker["delegation.token.expiry.check.interval.ms"])
            now_ms = self._clock.now_ms()
            expired = expired_tokens(self._image, now_ms)
            if expired:
                for token in expired:
                    log.info("delegation token expired", token=token.id, owner=token.owner)
                await self._controller.submit(RemoveExpiredTokens(now_ms))
