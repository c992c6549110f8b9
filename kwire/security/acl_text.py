"""ACLs as sentences: ``alice may read topic orders``.

Responsible for: the sentence of an ACL, and reading it. kwire's own commands read and print it; the official tools have
another form. Must not depend on: where ACLs are stored.

    PRINCIPAL may [not] OPERATION[,OPERATION] RESOURCE [from HOST]

    PRINCIPAL    alice, User:alice, or anyone
    OPERATION    read, write, create, delete, alter, describe, describe-configs, alter-configs, cluster-action,
                 idempotent-write, create-tokens, describe-tokens, two-phase-commit, or all
    RESOURCE     topic NAME, group NAME, transactional-id NAME, delegation-token NAME, user NAME, or cluster;
                 NAME* is every name with the prefix, * every name; in quotes a * is an ordinary character
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from kwire.acls import CLUSTER_NAME, WILDCARD, Acl, Operation, PatternType, Permission, ResourceType

_ANYONE: Final = "anyone"
_USER: Final = "User:"
_TOKEN: Final = re.compile(r'"[^"]*"\*?|\S+')


def _words(codes: type[Operation | ResourceType]) -> Mapping[str, int]:
    """The words of an enumeration, without UNKNOWN and ANY."""
    return MappingProxyType({code.name.lower().replace("_", "-"): code for code in codes if code > 1})


OPERATIONS: Final = _words(Operation)
RESOURCES: Final = _words(ResourceType)


def read_acls(text: str) -> list[Acl]:
    """Read a sentence: one ACL for each operation. Raises ValueError, with what is wrong in one sentence."""
    tokens = _TOKEN.findall(text)
    if len(tokens) < 4 or tokens[1] != "may":
        raise ValueError(f"{text!r} is no ACL: write one like 'alice may read topic orders'")
    permission = Permission.DENY if tokens[2] == "not" else Permission.ALLOW
    operations, *rest = tokens[3:] if permission is Permission.DENY else tokens[2:]
    host = WILDCARD
    if len(rest) > 2 and rest[-2] == "from":
        host = rest[-1]
        del rest[-2:]
    kind, name, pattern = _resource(text, rest)
    return [
        Acl(kind, name, pattern, _principal(tokens[0]), host, Operation(code), permission)
        for code in (_code(text, word, OPERATIONS, "operation") for word in operations.split(","))
    ]


def acl_text(acl: Acl) -> str:
    """Write the sentence of an ACL."""
    may = "may not" if acl.permission is Permission.DENY else "may"
    host = "" if acl.host == WILDCARD else f" from {acl.host}"
    return f"{_principal_text(acl.principal)} {may} {_word(acl.operation)} {_resource_text(acl)}{host}"


def _resource(text: str, tokens: list[str]) -> tuple[ResourceType, str, PatternType]:
    if not tokens:
        raise ValueError(f"{text!r} names no resource: write one like 'topic orders' or 'cluster'")
    kind = ResourceType(_code(text, tokens[0], RESOURCES, "kind of resource"))
    if kind is ResourceType.CLUSTER:
        if len(tokens) > 1 and tokens[1:] != [CLUSTER_NAME]:
            raise ValueError(f"{text!r}: there is one cluster, which needs no name")
        return kind, CLUSTER_NAME, PatternType.LITERAL
    if len(tokens) != 2:
        raise ValueError(f"{text!r}: write one name behind {tokens[0]!r}; a name with spaces stands in quotes")
    name = tokens[1]
    if name == WILDCARD:
        return kind, name, PatternType.LITERAL
    pattern = PatternType.PREFIXED if name.endswith("*") else PatternType.LITERAL
    name = name.removesuffix("*").strip('"')
    if not name:
        raise ValueError(f"{text!r}: the name of the {tokens[0]} is empty")
    return kind, name, pattern


def _code(text: str, word: str, known: Mapping[str, int], what: str) -> int:
    code = known.get(word.lower().replace("_", "-"))
    if code is None:
        raise ValueError(f"{text!r}: {word!r} is no {what}; there are {', '.join(known)}")
    return code


def _principal(word: str) -> str:
    name = word.strip('"')
    if name == _ANYONE:
        return f"{_USER}{WILDCARD}"
    return name if ":" in name else f"{_USER}{name}"


def _principal_text(principal: str) -> str:
    if principal == f"{_USER}{WILDCARD}":
        return _ANYONE
    name = principal.removeprefix(_USER)
    return _quoted(principal if ":" in name or name == _ANYONE else name)


def _resource_text(acl: Acl) -> str:
    if acl.resource_type is ResourceType.CLUSTER:
        return _word(acl.resource_type)
    name = acl.resource_name
    if acl.pattern_type is PatternType.PREFIXED:
        name = f"{_quoted(name)}*"
    elif name != WILDCARD:
        name = _quoted(name)
    return f"{_word(acl.resource_type)} {name}"


def _word(code: Operation | ResourceType) -> str:
    return code.name.lower().replace("_", "-")


def _quoted(name: str) -> str:
    return f'"{name}"' if re.search(r"\s|\*$|^$", name) else name
