"""Access control lists (ACLs) as values: one rule, and the filter that selects rules.

Responsible for: ``Acl``, ``AclFilter``, and Kafka's enumerations of operations, resource types, pattern types and
permissions. Must not depend on: any package of kwire, what an ACL allows (``security.standard_authorizer``), where ACLs
are stored (``metadata.image``).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple, Self

# In the name of a resource, in a host, and as the name of a principal of type User: any of them.
WILDCARD: Final = "*"
# The name of the one resource of type CLUSTER.
CLUSTER_NAME: Final = "kafka-cluster"


class _Codes(IntEnum):
    """Codes of the protocol. A code that is not known here is UNKNOWN, as in Apache Kafka."""

    @classmethod
    def _missing_(cls, value: object) -> Self:
        del value
        return cls(0)


class Operation(_Codes):
    """Kafka's AclOperation; in a bit field, operation N is bit N. The first three occur in ACLs and filters only."""

    UNKNOWN = 0
    ANY = 1
    ALL = 2
    READ = 3
    WRITE = 4
    CREATE = 5
    DELETE = 6
    ALTER = 7
    DESCRIBE = 8
    CLUSTER_ACTION = 9
    DESCRIBE_CONFIGS = 10
    ALTER_CONFIGS = 11
    IDEMPOTENT_WRITE = 12
    CREATE_TOKENS = 13
    DESCRIBE_TOKENS = 14
    TWO_PHASE_COMMIT = 15


class ResourceType(_Codes):
    """Kafka's ResourceType. Configs have a type of their own (``metadata.entities.ResourceType``)."""

    UNKNOWN = 0
    ANY = 1
    TOPIC = 2
    GROUP = 3
    CLUSTER = 4
    TRANSACTIONAL_ID = 5
    DELEGATION_TOKEN = 6
    USER = 7


class PatternType(_Codes):
    """How the name of an ACL names resources; ANY and MATCH occur in filters only (KIP-290)."""

    UNKNOWN = 0
    ANY = 1
    MATCH = 2
    LITERAL = 3
    PREFIXED = 4


class Permission(_Codes):
    """Kafka's AclPermissionType; ANY occurs in filters only."""

    UNKNOWN = 0
    ANY = 1
    DENY = 2
    ALLOW = 3


class Acl(NamedTuple):
    """One rule. ``principal`` is ``Type:name``, ``host`` an address as Java prints it, ``*``, or a network.

    See ``acl_hosts`` for networks.
    """

    resource_type: ResourceType
    resource_name: str
    pattern_type: PatternType
    principal: str
    host: str
    operation: Operation
    permission: Permission


class AclFilter(NamedTuple):
    """Selects ACLs: None and ANY select every value.

    ``pattern_type`` MATCH selects the ACLs that apply to a resource with the name: its literal ones, the prefixed ones,
    and those for ``*`` (KIP-290).
    """

    resource_type: ResourceType = ResourceType.ANY
    resource_name: str | None = None
    pattern_type: PatternType = PatternType.ANY
    principal: str | None = None
    host: str | None = None
    operation: Operation = Operation.ANY
    permission: Permission = Permission.ANY

    @classmethod
    def exactly(cls, acl: Acl) -> Self:
        """Make the filter that selects this ACL alone."""
        return cls(*acl)

    @property
    def is_unknown(self) -> bool:
        """Whether it has a code that is not known."""
        return not (self.resource_type and self.pattern_type and self.operation and self.permission)

    @property
    def only(self) -> Acl | None:
        """The one ACL that this filter can select; None if it can select several."""
        name, principal, host = self.resource_name, self.principal, self.host
        if name is None or principal is None or host is None:
            return None
        if self.pattern_type not in (PatternType.LITERAL, PatternType.PREFIXED):
            return None
        if ResourceType.ANY is self.resource_type or Operation.ANY is self.operation:
            return None
        if self.permission is Permission.ANY:
            return None
        return Acl(self.resource_type, name, self.pattern_type, principal, host, self.operation, self.permission)

    def selects(self, acl: Acl) -> bool:
        """Tell whether the filter selects this ACL."""
        return (
            self.resource_type in (ResourceType.ANY, acl.resource_type)
            and self.principal in (None, acl.principal)
            and self.host in (None, acl.host)
            and self.operation in (Operation.ANY, acl.operation)
            and self.permission in (Permission.ANY, acl.permission)
            and self._selects_pattern(acl)
        )

    def _selects_pattern(self, acl: Acl) -> bool:
        if self.pattern_type not in (PatternType.ANY, PatternType.MATCH, acl.pattern_type):
            return False
        if self.resource_name is None or self.resource_name == acl.resource_name:
            return True
        if self.pattern_type is not PatternType.MATCH:
            return False
        if acl.pattern_type is PatternType.PREFIXED:
            return self.resource_name.startswith(acl.resource_name)
        return acl.resource_name == WILDCARD
