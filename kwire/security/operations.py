"""Operations and resource types of Kafka's authorization, and the bit field of the protocol (KIP-430).

Responsible for: which operations each resource type has. Must not depend on: principals, what is allowed.
"""

from __future__ import annotations

from kwire.acls import CLUSTER_NAME, Operation, ResourceType

__all__ = [
    "ALL_CLUSTER_OPERATIONS",
    "ALL_GROUP_OPERATIONS",
    "ALL_TOPIC_OPERATIONS",
    "CLUSTER_NAME",
    "NOT_ASKED",
    "Operation",
    "ResourceType",
    "bit_field",
]


def bit_field(*operations: Operation) -> int:
    return sum(1 << operation for operation in operations)


NOT_ASKED = -(2**31)  # what a response holds when the request did not ask for authorized operations

# Without an authorizer every operation that the resource type knows is allowed.
ALL_CLUSTER_OPERATIONS = bit_field(
    Operation.CREATE,
    Operation.ALTER,
    Operation.DESCRIBE,
    Operation.CLUSTER_ACTION,
    Operation.DESCRIBE_CONFIGS,
    Operation.ALTER_CONFIGS,
    Operation.IDEMPOTENT_WRITE,
)
ALL_TOPIC_OPERATIONS = bit_field(
    Operation.READ,
    Operation.WRITE,
    Operation.CREATE,
    Operation.DELETE,
    Operation.ALTER,
    Operation.DESCRIBE,
    Operation.DESCRIBE_CONFIGS,
    Operation.ALTER_CONFIGS,
)
ALL_GROUP_OPERATIONS = bit_field(
    Operation.READ,
    Operation.DELETE,
    Operation.DESCRIBE,
    Operation.DESCRIBE_CONFIGS,
    Operation.ALTER_CONFIGS,
)
