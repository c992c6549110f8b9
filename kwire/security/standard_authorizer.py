"""Kafka's StandardAuthorizer: decides by the ACLs of the cluster, super users and a default.

Responsible for: the decision and its reason. Must not depend on: where ACLs are stored, requests, log lines.

Deny comes before allow. Without an ACL about a resource the default decides; with one, for any principal, what is not
allowed is denied. Decisions are kept until an ACL changes, because a client asks the same thing with each request.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeAlias

from kwire.acls import Acl, Operation, ResourceType
from kwire.limits import KNOWN_DECISION_NAME_MAX, KNOWN_DECISIONS_MAX
from kwire.security.acl_rules import AclRules
from kwire.security.acl_text import acl_text
from kwire.security.principal import Principal

# "hardcode" is the resource name with which Apache Kafka finds out what is allowed without an ACL.
_UNLISTED_NAME: Final = "hardcode"
# The name is None for the question about at least one resource of the type.
_Question: TypeAlias = tuple[Principal, str, Operation, ResourceType, str | None]


class StandardAuthorizer:
    """See ``authorizer.Authorizer``. ``super_users`` are principals as text, ``User:admin``."""

    def __init__(self, *, super_users: frozenset[str], allow_unlisted: bool, acls: Iterable[Acl] = ()) -> None:
        self._super_users = super_users
        self._allow_unlisted = allow_unlisted
        self._rules = AclRules().changed(created=acls)
        self._decisions: dict[_Question, bool] = {}
        self.epoch = 0

    def change(self, *, created: Iterable[Acl], deleted: Iterable[Acl]) -> None:
        """Apply a change of the cluster's ACLs. Cached decisions are dropped."""
        self._rules = self._rules.changed(created=created, deleted=deleted)
        self._decisions = {}
        self.epoch += 1

    def allows(self, principal: Principal, host: str, operation: Operation, kind: ResourceType, name: str) -> bool:
        """See ``authorizer.Authorizer``."""
        question = (principal, host, operation, kind, name)
        known = self._decisions.get(question)
        return self._decide(question) if known is None else known

    def allows_any(self, principal: Principal, host: str, operation: Operation, kind: ResourceType) -> bool:
        """See ``authorizer.Authorizer``."""
        question = (principal, host, operation, kind, None)
        known = self._decisions.get(question)
        return self._decide(question) if known is None else known

    def why(self, principal: Principal, host: str, operation: Operation, kind: ResourceType, name: str) -> str:
        """See ``authorizer.Authorizer``."""
        if str(principal) in self._super_users:
            return "super user"
        ruling = self._rules.decide(str(principal), host, operation, kind, name)
        if ruling.acl is not None:
            return acl_text(ruling.acl)
        return "no ACL allows it" if ruling.listed else "no ACL is about the resource"

    def _decide(self, question: _Question) -> bool:
        if len(self._decisions) >= KNOWN_DECISIONS_MAX:
            self._decisions.clear()
        principal, host, operation, kind, name = question
        if name is None:
            allowed = self._allows_by_name(principal, host, operation, kind, _UNLISTED_NAME) or self._rules.allow_any(
                str(principal), host, operation, kind
            )
        else:
            allowed = self._allows_by_name(principal, host, operation, kind, name)
        if name is None or len(name) <= KNOWN_DECISION_NAME_MAX:
            self._decisions[question] = allowed
        return allowed

    def _allows_by_name(
        self, principal: Principal, host: str, operation: Operation, kind: ResourceType, name: str
    ) -> bool:
        if str(principal) in self._super_users:
            return True
        ruling = self._rules.decide(str(principal), host, operation, kind, name)
        return ruling.allowed if ruling.listed else self._allow_unlisted
