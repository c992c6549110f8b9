"""The ACLs of a cluster, arranged so that those for one resource are found without searching the others.

Responsible for: which ACLs apply to a resource and a principal, and what they decide. Must not depend on: super
users, what is allowed without an ACL (``standard_authorizer``), where ACLs are stored.

    for each resource type
      patterns     (LITERAL, name)   -> principal -> ACLs      the name "*" is that of every resource
                   (PREFIXED, name)  -> principal -> ACLs      looked up once for each length that a prefix has
      principals   principal -> ACLs                           for the question about at least one resource (KIP-679)

``AclRules`` is never changed: a change makes a new one, which shares the parts that did not change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from kwire.acl_hosts import includes
from kwire.acls import WILDCARD, Acl, Operation, PatternType, Permission, ResourceType

K = TypeVar("K")

ANY_PRINCIPAL: Final = f"User:{WILDCARD}"

# Operations that an ACL allows in addition to its own. An ACL that denies applies to its own operation only.
_ALLOWED_BY: Final[Mapping[Operation, frozenset[Operation]]] = {
    Operation.DESCRIBE: frozenset({Operation.READ, Operation.WRITE, Operation.DELETE, Operation.ALTER}),
    Operation.DESCRIBE_CONFIGS: frozenset({Operation.ALTER_CONFIGS}),
}
_NOTHING: Final[frozenset[Operation]] = frozenset()

_Pattern: TypeAlias = tuple[PatternType, str]
# Values without an order are keys of a dict, which keeps the order of their creation.
_Acls: TypeAlias = Mapping[Acl, None]
_EVERY: Final[_Pattern] = (PatternType.LITERAL, WILDCARD)


class Ruling(NamedTuple):
    """The result. ``listed``: at least one ACL is for the resource, for any principal. ``acl`` decided, if one did."""

    allowed: bool
    listed: bool
    acl: Acl | None


@dataclass(frozen=True, slots=True)
class _TypeRules:
    """The ACLs of one resource type. ``lengths`` are those of the prefixes, with how many prefixes have each."""

    patterns: Mapping[_Pattern, Mapping[str, _Acls]] = field(default_factory=dict)
    principals: Mapping[str, _Acls] = field(default_factory=dict)
    lengths: Mapping[int, int] = field(default_factory=dict)


_NO_RULES: Final = _TypeRules()


class AclRules:
    """The ACLs of a cluster by resource type, pattern and principal."""

    __slots__ = ("_types",)

    def __init__(self, types: Mapping[ResourceType, _TypeRules] | None = None) -> None:
        self._types = types or {}

    def changed(self, *, created: Iterable[Acl] = (), deleted: Iterable[Acl] = ()) -> AclRules:
        """Return the rules with some ACLs added and others removed."""
        types = dict(self._types)
        changes: dict[ResourceType, list[tuple[Acl, bool]]] = {}
        for acls, present in ((created, True), (deleted, False)):
            for acl in acls:
                changes.setdefault(acl.resource_type, []).append((acl, present))
        for kind, some in changes.items():
            types[kind] = _change(types.get(kind, _NO_RULES), some)
        return AclRules(types)

    def decide(self, principal: str, host: str, operation: Operation, kind: ResourceType, name: str) -> Ruling:
        """Decide an operation on a resource by its ACLs: one that denies comes before those that allow."""
        listed, allowing = False, None
        for by_principal in self._about(kind, name):
            listed = True
            for who in (principal, ANY_PRINCIPAL):
                for acl in by_principal.get(who, ()):
                    if not _covers(acl, operation) or not includes(acl.host, host):
                        continue
                    if acl.permission is Permission.DENY:
                        return Ruling(allowed=False, listed=True, acl=acl)
                    allowing = acl
        return Ruling(allowed=allowing is not None, listed=listed, acl=allowing)

    def allow_any(self, principal: str, host: str, operation: Operation, kind: ResourceType) -> bool:
        """Tell whether the ACLs allow an operation on at least one resource of a type (KIP-679).

        As in Apache Kafka only ACLs for the operation itself or for all operations count here.
        """
        principals = self._types.get(kind, _NO_RULES).principals
        relevant = [
            acl
            for who in {principal, ANY_PRINCIPAL}
            for acl in principals.get(who, ())
            if acl.operation in (operation, Operation.ALL) and includes(acl.host, host)
        ]
        denied = {_pattern(acl) for acl in relevant if acl.permission is Permission.DENY}
        allowed = {_pattern(acl) for acl in relevant if acl.permission is Permission.ALLOW}
        if _EVERY in denied:
            return False
        return _EVERY in allowed or any(not _is_denied(pattern, denied) for pattern in allowed)

    def _about(self, kind: ResourceType, name: str) -> Iterator[Mapping[str, _Acls]]:
        """Find the ACLs for a resource, by principal."""
        rules = self._types.get(kind, _NO_RULES)
        names: list[_Pattern] = [(PatternType.LITERAL, name)]
        if name != WILDCARD:
            names.append(_EVERY)
        names += [(PatternType.PREFIXED, name[:length]) for length in rules.lengths if length <= len(name)]
        return (rules.patterns[one] for one in names if one in rules.patterns)


def _covers(acl: Acl, operation: Operation) -> bool:
    if acl.operation in (operation, Operation.ALL):
        return True
    return acl.permission is Permission.ALLOW and acl.operation in _ALLOWED_BY.get(operation, _NOTHING)


def _pattern(acl: Acl) -> _Pattern:
    return acl.pattern_type, acl.resource_name


def _is_denied(pattern: _Pattern, denied: set[_Pattern]) -> bool:
    """Tell whether every resource of a pattern is denied."""
    kind, name = pattern
    if kind is PatternType.LITERAL and pattern in denied:
        return True
    return any((PatternType.PREFIXED, name[:length]) in denied for length in range(1, len(name) + 1))


def _change(rules: _TypeRules, changes: Iterable[tuple[Acl, bool]]) -> _TypeRules:
    """Copy the maps, and in them the entries for the patterns and principals of the changed ACLs."""
    patterns: dict[_Pattern, Mapping[str, _Acls]] = dict(rules.patterns)
    principals: dict[str, _Acls] = dict(rules.principals)
    own_patterns: dict[_Pattern, dict[str, dict[Acl, None]]] = {}
    own_principals: dict[str, dict[Acl, None]] = {}
    for acl, present in changes:
        pattern = _pattern(acl)
        if pattern not in own_patterns:
            before = rules.patterns.get(pattern, {})
            own_patterns[pattern] = {principal: dict(acls) for principal, acls in before.items()}
        if acl.principal not in own_principals:
            own_principals[acl.principal] = dict(rules.principals.get(acl.principal, {}))
        for acls in (own_patterns[pattern].setdefault(acl.principal, {}), own_principals[acl.principal]):
            if present:
                acls[acl] = None
            else:
                acls.pop(acl, None)
    for pattern, by_principal in own_patterns.items():
        left: Mapping[str, _Acls] = {principal: acls for principal, acls in by_principal.items() if acls}
        _put(patterns, pattern, left)
    for principal, acls in own_principals.items():
        _put(principals, principal, acls)
    return _TypeRules(patterns, principals, _lengths(rules, patterns, own_patterns))


def _put(owner: dict[K, Mapping[Any, Any]], key: K, value: Mapping[Any, Any]) -> None:
    if value:
        owner[key] = value
    else:
        owner.pop(key, None)


def _lengths(
    before: _TypeRules, after: Mapping[_Pattern, Mapping[str, _Acls]], touched: Iterable[_Pattern]
) -> Mapping[int, int]:
    lengths = dict(before.lengths)
    for pattern in touched:
        kind, name = pattern
        if kind is PatternType.PREFIXED:
            change = (pattern in after) - (pattern in before.patterns)
            lengths[len(name)] = lengths.get(len(name), 0) + change
    return {length: count for length, count in lengths.items() if count}
