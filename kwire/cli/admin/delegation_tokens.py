"""The requests for delegation tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kwire.cli.connections.client import Cluster, check
from kwire.wire.messages import (
    CreateDelegationTokenRequest,
    CreateDelegationTokenResponse,
    DescribeDelegationTokenRequest,
    DescribeDelegationTokenResponse,
    ExpireDelegationTokenRequest,
    ExpireDelegationTokenResponse,
    RenewDelegationTokenRequest,
    RenewDelegationTokenResponse,
)


class TokenPrincipal(NamedTuple):
    """A principal. ``str()`` gives its usual form, ``User:alice``."""

    type: str
    name: str

    def __str__(self) -> str:
        return f"{self.type}:{self.name}"


class DelegationToken(NamedTuple):
    """A token and its secret; times are ms since the epoch."""

    id: str
    hmac: bytes
    owner: TokenPrincipal
    requester: TokenPrincipal
    renewers: tuple[TokenPrincipal, ...]
    issued_at_ms: int
    expires_at_ms: int
    max_at_ms: int


def create_token(
    cluster: Cluster, *, renewers: Sequence[TokenPrincipal], max_lifetime_ms: int, owner: TokenPrincipal | None = None
) -> DelegationToken:
    """Create a token. Raises KafkaError."""
    request = CreateDelegationTokenRequest(
        renewers=[
            CreateDelegationTokenRequest.CreatableRenewers(principal_type=one.type, principal_name=one.name)
            for one in renewers
        ],
        max_lifetime_ms=max_lifetime_ms,
    )
    if owner is not None:
        request.owner_principal_type, request.owner_principal_name = owner
    answer = cluster.call_controller(request, CreateDelegationTokenResponse)
    check(answer.error_code, None)
    return DelegationToken(
        answer.token_id,
        bytes(answer.hmac),
        TokenPrincipal(answer.principal_type, answer.principal_name),
        TokenPrincipal(answer.token_requester_principal_type, answer.token_requester_principal_name),
        tuple(renewers),
        answer.issue_timestamp_ms,
        answer.expiry_timestamp_ms,
        answer.max_timestamp_ms,
    )


def renew_token(cluster: Cluster, secret: bytes, period_ms: int) -> int:
    """Renew a token; returns its new expiry. Raises KafkaError."""
    request = RenewDelegationTokenRequest(hmac=secret, renew_period_ms=period_ms)
    answer = cluster.call_controller(request, RenewDelegationTokenResponse)
    check(answer.error_code, None)
    return answer.expiry_timestamp_ms


def expire_token(cluster: Cluster, secret: bytes, period_ms: int) -> int:
    """Set the expiry of a token, or remove it with a negative period; returns the expiry. Raises KafkaError."""
    request = ExpireDelegationTokenRequest(hmac=secret, expiry_time_period_ms=period_ms)
    answer = cluster.call_controller(request, ExpireDelegationTokenResponse)
    check(answer.error_code, None)
    return answer.expiry_timestamp_ms


def describe_tokens(cluster: Cluster, owners: Sequence[TokenPrincipal] | None) -> list[DelegationToken]:
    """Describe the tokens of owners, or all that the client may see. Raises KafkaError."""
    request = DescribeDelegationTokenRequest(
        owners=None
        if owners is None
        else [
            DescribeDelegationTokenRequest.DescribeDelegationTokenOwner(
                principal_type=one.type, principal_name=one.name
            )
            for one in owners
        ]
    )
    answer = cluster.call(request, DescribeDelegationTokenResponse)
    check(answer.error_code, None)
    return [
        DelegationToken(
            one.token_id,
            bytes(one.hmac),
            TokenPrincipal(one.principal_type, one.principal_name),
            TokenPrincipal(one.token_requester_principal_type, one.token_requester_principal_name),
            tuple(TokenPrincipal(each.principal_type, each.principal_name) for each in one.renewers),
            one.issue_timestamp,
            one.expiry_timestamp,
            one.max_timestamp,
        )
        for one in answer.tokens
    ]
