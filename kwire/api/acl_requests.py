"""What the three APIs of ACLs share.

Responsible for: reading ACLs and filters from requests, and the refusal of the codes that the protocol excludes. Must
not depend on: how ACLs are stored, what they allow.
"""

from __future__ import annotations

from typing import Protocol

from kwire.acls import AclFilter, Operation, PatternType, Permission, ResourceType
from kwire.errors import ProtocolViolation


class FilterFields(Protocol):
    """The fields of a filter, as DescribeAcls and DeleteAcls have them."""

    resource_type_filter: int
    resource_name_filter: str | None
    pattern_type_filter: int
    principal_filter: str | None
    host_filter: str | None
    operation: int
    permission_type: int


def read_filter(fields: FilterFields) -> AclFilter:
    """Read a filter. Raises ProtocolViolation as ``check_codes`` does."""
    check_codes(fields.resource_type_filter, fields.pattern_type_filter, fields.operation, fields.permission_type)
    return AclFilter(
        ResourceType(fields.resource_type_filter),
        fields.resource_name_filter,
        PatternType(fields.pattern_type_filter),
        fields.principal_filter,
        fields.host_filter,
        Operation(fields.operation),
        Permission(fields.permission_type),
    )


def check_codes(*codes: int) -> None:
    """Raise ProtocolViolation for 0, the code of UNKNOWN: Apache Kafka takes it for a malformed request.

    A code that is not known otherwise is refused item by item.
    """
    if 0 in codes:
        raise ProtocolViolation("an ACL or a filter of ACLs has a field of type UNKNOWN")
