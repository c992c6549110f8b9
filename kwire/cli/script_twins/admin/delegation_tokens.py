"""kafka-delegation-tokens: create, renew, expire and describe delegation tokens.

Responsible for: the flags of the official script and its output. Must not depend on: the wire.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Final

from kwire.cli.admin.delegation_tokens import (
    DelegationToken,
    TokenPrincipal,
    create_token,
    describe_tokens,
    expire_token,
    renew_token,
)
from kwire.cli.connections.client import Cluster
from kwire.cli.connections.connection import ClientError
from kwire.cli.java.date_format import formatted
from kwire.cli.java.exits import Failure
from kwire.cli.java.names import error_line
from kwire.cli.java.options import BOOTSTRAP, COMMAND_CONFIG, Option, Parsed, Wrong, parse
from kwire.cli.script_twins.common import bootstrap_of, open_cluster
from kwire.errors import KafkaError

NAME: Final = "kafka-delegation-tokens"
ABOUT: Final = "This tool helps to create, renew, expire, or describe delegation tokens."
_DATE: Final = "yyyy-MM-dd'T'HH:mm"
_ACTIONS: Final = ("create", "renew", "expire", "describe")
# The options that each action excludes.
_EXCLUDED: Final = {
    "create": ("hmac", "renew-time-period", "expiry-time-period"),
    "renew": ("renewer-principal", "max-life-time-period", "expiry-time-period", "owner-principal"),
    "expire": ("renew", "max-life-time-period", "renew-time-period", "owner-principal"),
    "describe": ("renew-time-period", "max-life-time-period", "hmac", "expiry-time-period"),
}
_REQUIRED: Final = {
    "create": ("max-life-time-period",),
    "renew": ("hmac", "renew-time-period"),
    "expire": ("hmac", "expiry-time-period"),
    "describe": (),
}

OPTIONS: Final = (
    BOOTSTRAP,
    COMMAND_CONFIG,
    Option("create", "Create a token; --renewer-principal says who may renew it."),
    Option("renew", "Renew a token for --renew-time-period."),
    Option("expire", "Let a token expire after --expiry-time-period."),
    Option("describe", "Describe the tokens of --owner-principal, or all that this user may see."),
    Option("owner-principal", "A principal as TYPE:NAME.", "PRINCIPAL", many=True),
    Option("renewer-principal", "A principal as TYPE:NAME.", "PRINCIPAL", many=True),
    Option("max-life-time-period", "Life of the token in ms; -1 is the broker's limit.", "MS"),
    Option("renew-time-period", "Time until it expires in ms; -1 is the broker's limit.", "MS"),
    Option("expiry-time-period", "Time until it expires in ms; -1 removes it.", "MS"),
    Option("hmac", "The HMAC of the token.", "HMAC"),
)


def main(argv: Sequence[str]) -> int:
    parsed = parse(NAME, ABOUT, OPTIONS, argv)
    if parsed.count(_ACTIONS) != 1:
        parsed.refuse("Command must include exactly one action: --create, --renew, --expire or --describe")
    (action,) = filter(parsed.has, _ACTIONS)
    parsed.require("bootstrap-server", "command-config", *_REQUIRED[action])
    parsed.forbid(action, _EXCLUDED[action])
    run = {"create": _create, "renew": _renew, "expire": _expire, "describe": _describe}[action]
    try:
        with open_cluster(parsed, NAME, bootstrap_of(parsed)) as cluster:
            run(cluster, parsed)
    except KafkaError as error:
        raise Failure(error_line(error)) from error
    except ClientError as error:
        raise Failure(str(error)) from error
    return 0


def _create(cluster: Cluster, parsed: Parsed) -> None:
    renewers, period_ms = _principals(parsed, "renewer-principal"), _period(parsed, "max-life-time-period")
    print(
        f"Calling create token operation with renewers :{_listed(renewers)} , max-life-time-period :{period_ms}",
        flush=True,
    )
    owners = _principals(parsed, "owner-principal")
    token = create_token(cluster, renewers=renewers, max_lifetime_ms=period_ms, owner=owners[0] if owners else None)
    print(f"Created delegation token with tokenId : {token.id}")
    _print_tokens([token])


def _renew(cluster: Cluster, parsed: Parsed) -> None:
    hmac, period_ms = parsed.text("hmac"), _period(parsed, "renew-time-period")
    print(f"Calling renew token operation with hmac :{hmac} , renew-time-period :{period_ms}", flush=True)
    expiry_ms = renew_token(cluster, _decoded(hmac), period_ms)
    print(f"Completed renew operation. New expiry date : {formatted(_DATE, expiry_ms)}", end="")


def _expire(cluster: Cluster, parsed: Parsed) -> None:
    hmac, period_ms = parsed.text("hmac"), _period(parsed, "expiry-time-period")
    print(f"Calling expire token operation with hmac :{hmac} , expire-time-period :{period_ms}", flush=True)
    expiry_ms = expire_token(cluster, _decoded(hmac), period_ms)
    print(f"Completed expire operation. New expiry date : {formatted(_DATE, expiry_ms)}", end="")


def _describe(cluster: Cluster, parsed: Parsed) -> None:
    owners = _principals(parsed, "owner-principal")
    if owners:
        print(f"Calling describe token operation for owners: {_listed(owners)}", flush=True)
    else:
        print("Calling describe token operation for current user.", flush=True)
    # The official tool asks for the tokens of no owner when none is given, and prints none.
    tokens = describe_tokens(cluster, owners or None)
    print(f"Total number of tokens : {len(tokens)}", end="")
    _print_tokens(tokens)


def _print_tokens(tokens: Sequence[DelegationToken]) -> None:
    row = "\n{:<15} {:<30} {:<15} {:<15} {:<25} {:<15} {:<15} {:<15}"
    titles = ("TOKENID", "HMAC", "OWNER", "REQUESTER", "RENEWERS", "ISSUEDATE", "EXPIRYDATE", "MAXDATE")
    print(row.format(*titles))
    for token in tokens:
        dates = (formatted(_DATE, at_ms) for at_ms in (token.issued_at_ms, token.expires_at_ms, token.max_at_ms))
        secret = base64.b64encode(token.hmac).decode()
        print(row.format(token.id, secret, str(token.owner), str(token.requester), _listed(token.renewers), *dates))


def _principals(parsed: Parsed, name: str) -> list[TokenPrincipal]:
    return [_principal(text.strip()) for text in parsed.values(name)] if parsed.has(name) else []


def _principal(text: str) -> TokenPrincipal:
    kind, colon, name = text.partition(":")
    if not (kind and colon and name):
        raise Failure(f"expected a string in format principalType:principalName but got {text}")
    return TokenPrincipal(kind, name)


def _period(parsed: Parsed, name: str) -> int:
    try:
        return int(parsed.text(name))
    except ValueError:
        raise Wrong(f"Cannot parse argument '{parsed.text(name)}' of option {name}") from None


def _decoded(hmac: str) -> bytes:
    try:
        return base64.b64decode(hmac, validate=True)
    except binascii.Error as error:
        raise Failure(f"--hmac is not base64: {error}") from None


def _listed(principals: Sequence[TokenPrincipal]) -> str:
    return f"[{', '.join(map(str, principals))}]"
