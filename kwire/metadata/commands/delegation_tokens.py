"""Commands on delegation tokens (KIP-48, KIP-373, KIP-900).

Responsible for: the checks of renewer and owner, the times of a token, and the records. Must not depend on: the HMACs
of tokens (``broker.delegation_tokens``), requests, authorization.

Principals are text, ``User:alice``, as in the records. Times are ms since the epoch; none exceeds 2**63 - 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from kwire.errors import Code, KafkaError
from kwire.metadata.commands import Command, ControllerState
from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.metadata.decisions.decision import DONE, Charge, Decision, Outcome
from kwire.metadata.image import MetadataImage
from kwire.types import uuid_text
from kwire.wire.message import Message
from kwire.wire.messages import DelegationTokenRecord, RemoveDelegationTokenRecord

USER_PREFIX: Final = "User:"
_METADATA_VERSION_MIN: Final = 14  # 3.6-IV2
_TIME_MAX: Final = 2**63 - 1


class Token(NamedTuple):
    """A token as the answers have it."""

    id: str
    owner: str
    requester: str
    renewers: tuple[str, ...]
    issued_at_ms: int
    expires_at_ms: int
    max_at_ms: int

    def concerns(self, principal: str) -> bool:
        """Whether a principal is the owner, the requester or a renewer."""
        return principal in {self.owner, self.requester} or principal in self.renewers

    def is_expired(self, now_ms: int) -> bool:
        """Whether the token has expired."""
        return self.max_at_ms < now_ms or self.expires_at_ms < now_ms


def token_of(record: DelegationTokenRecord) -> Token:
    """Read a record of the image."""
    return Token(
        record.token_id,
        record.owner,
        record.requester,
        tuple(record.renewers),
        record.issue_timestamp,
        record.expiration_timestamp,
        record.max_timestamp,
    )


def tokens_enabled(configs: EffectiveConfigs) -> bool:
    """Whether there is a secret key."""
    return bool(configs.broker["delegation.token.secret.key"])


@dataclass(frozen=True)
class CreateToken(Command[Token]):
    """Create a token for ``owner``; ``max_lifetime_ms`` of 0 or less means the longest allowed."""

    owner: str
    requester: str
    renewers: Sequence[str]
    max_lifetime_ms: int
    now_ms: int

    def decide(self, state: ControllerState, charge: Charge) -> Decision[Token]:
        del charge
        try:
            _check_enabled(state)
            if not all(renewer.startswith(USER_PREFIX) for renewer in self.renewers):
                raise KafkaError(Code.INVALID_PRINCIPAL_TYPE)
        except KafkaError as refusal:
            return Decision([], [refusal])
        values = state.configs.broker
        lifetime_ms = values["delegation.token.max.lifetime.ms"]
        if self.max_lifetime_ms > 0:
            lifetime_ms = min(lifetime_ms, self.max_lifetime_ms)
        max_at_ms = _later(self.now_ms, lifetime_ms)
        token = Token(
            id=uuid_text(state.uuid()),
            owner=self.owner,
            requester=self.requester,
            renewers=tuple(self.renewers),
            issued_at_ms=self.now_ms,
            expires_at_ms=min(max_at_ms, _later(self.now_ms, values["delegation.token.expiry.time.ms"])),
            max_at_ms=max_at_ms,
        )
        return Decision([_record(token)], [token])


@dataclass(frozen=True)
class RenewToken(Command[int]):
    """Move the expiry of a token; the result is the new expiry. ``token_id`` None: there is no such token."""

    token_id: str | None
    principal: str
    period_ms: int
    now_ms: int

    def decide(self, state: ControllerState, charge: Charge) -> Decision[int]:
        del charge
        try:
            token = _find(state, self.token_id)
            if token.is_expired(self.now_ms):
                raise KafkaError(Code.DELEGATION_TOKEN_EXPIRED)
            _check_may_renew(token, self.principal)
        except KafkaError as refusal:
            return Decision([], [refusal])
        period_ms = state.configs.broker["delegation.token.expiry.time.ms"]
        if self.period_ms > 0:
            period_ms = min(period_ms, self.period_ms)
        renewed = token._replace(expires_at_ms=min(token.max_at_ms, _later(self.now_ms, period_ms)))
        return Decision([_record(renewed)], [renewed.expires_at_ms])


@dataclass(frozen=True)
class ExpireToken(Command[int]):
    """Set the expiry of a token, or remove it with a negative ``period_ms``; the result is the expiry."""

    token_id: str | None
    principal: str
    period_ms: int
    now_ms: int

    def decide(self, state: ControllerState, charge: Charge) -> Decision[int]:
        del charge
        try:
            token = _find(state, self.token_id)
            _check_may_renew(token, self.principal)
            if self.period_ms < 0:
                return Decision([RemoveDelegationTokenRecord(token_id=token.id)], [self.now_ms])
            if token.is_expired(self.now_ms):
                raise KafkaError(Code.DELEGATION_TOKEN_EXPIRED)
        except KafkaError as refusal:
            return Decision([], [refusal])
        changed = token._replace(expires_at_ms=min(token.max_at_ms, _later(self.now_ms, self.period_ms)))
        return Decision([_record(changed)], [changed.expires_at_ms])


@dataclass(frozen=True)
class RemoveExpiredTokens(Command[Outcome]):
    """Remove the tokens that have expired; one result for the whole command."""

    now_ms: int

    def decide(self, state: ControllerState, charge: Charge) -> Decision[Outcome]:
        del charge
        expired = expired_tokens(state.image, self.now_ms)
        return Decision([RemoveDelegationTokenRecord(token_id=token.id) for token in expired], [DONE])


def expired_tokens(image: MetadataImage, now_ms: int) -> list[Token]:
    """Return the tokens that have expired."""
    return [token for record in image.tokens.values() if (token := token_of(record)).is_expired(now_ms)]


def _check_enabled(state: ControllerState) -> None:
    if not tokens_enabled(state.configs):
        raise KafkaError(Code.DELEGATION_TOKEN_AUTH_DISABLED)
    if state.image.metadata_version < _METADATA_VERSION_MIN:
        raise KafkaError(Code.UNSUPPORTED_VERSION)


def _find(state: ControllerState, token_id: str | None) -> Token:
    _check_enabled(state)
    record = None if token_id is None else state.image.tokens.get(token_id)
    if record is None:
        raise KafkaError(Code.DELEGATION_TOKEN_NOT_FOUND)
    return token_of(record)


def _check_may_renew(token: Token, principal: str) -> None:
    # The requester of a token for another owner may describe it, and not renew it.
    if principal != token.owner and principal not in token.renewers:
        raise KafkaError(Code.DELEGATION_TOKEN_OWNER_MISMATCH)


def _later(now_ms: int, period_ms: int) -> int:
    return min(_TIME_MAX, now_ms + period_ms)


def _record(token: Token) -> Message:
    return DelegationTokenRecord(
        owner=token.owner,
        requester=token.requester,
        renewers=list(token.renewers),
        issue_timestamp=token.issued_at_ms,
        max_timestamp=token.max_at_ms,
        expiration_timestamp=token.expires_at_ms,
        token_id=token.id,
    )
