"""The decision whether a principal may do something: its interface, and the codes of a refusal.

Responsible for: ``Authorizer`` and ``denied``. Must not depend on: how the decision is made, requests.

A broker without an authorizer (``Broker.authorizer`` is None) allows everything, as Apache Kafka does by default.
"""

from __future__ import annotations

from typing import Final, Protocol

from kwire.errors import Code, KafkaError
from kwire.security.operations import Operation, ResourceType
from kwire.security.principal import Principal


class Authorizer(Protocol):
    """Called synchronously for each item of a request, so it must answer from memory.

    ``host`` is the address of the client as Java prints it. ``epoch`` changes with each change after which the same
    question may have another answer.
    """

    @property
    def epoch(self) -> int: ...

    def allows(self, principal: Principal, host: str, operation: Operation, kind: ResourceType, name: str) -> bool:
        """Tell whether the principal may do this to the resource."""
        ...

    def allows_any(self, principal: Principal, host: str, operation: Operation, kind: ResourceType) -> bool:
        """Tell whether it may do this to at least one resource of the type (KIP-679)."""
        ...

    def why(self, principal: Principal, host: str, operation: Operation, kind: ResourceType, name: str) -> str:
        """The reason of the decision in a few words, for the audit log."""
        ...


_CODES: Final = {
    ResourceType.TOPIC: Code.TOPIC_AUTHORIZATION_FAILED,
    ResourceType.GROUP: Code.GROUP_AUTHORIZATION_FAILED,
    ResourceType.CLUSTER: Code.CLUSTER_AUTHORIZATION_FAILED,
    ResourceType.TRANSACTIONAL_ID: Code.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    ResourceType.DELEGATION_TOKEN: Code.DELEGATION_TOKEN_AUTHORIZATION_FAILED,
    ResourceType.USER: Code.DELEGATION_TOKEN_AUTHORIZATION_FAILED,
}

_MESSAGES: Final = {
    ResourceType.TOPIC: "Topic authorization failed.",
    ResourceType.GROUP: "Group authorization failed.",
    ResourceType.CLUSTER: "Cluster authorization failed.",
    ResourceType.TRANSACTIONAL_ID: "Transactional Id authorization failed.",
    ResourceType.DELEGATION_TOKEN: "Delegation Token authorization failed.",
    ResourceType.USER: "Delegation Token authorization failed.",
}


def denied(kind: ResourceType) -> KafkaError:
    """Give the refusal for a resource of this type, with Apache Kafka's message."""
    return KafkaError(_CODES[kind], _MESSAGES[kind])
