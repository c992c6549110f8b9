"""The operations that a client is authorized for on a broker with an authorizer.

Responsible for: the sentence of ``kwire doctor`` about missing ACLs. Must not depend on: how a finding is printed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kwire.acls import Operation
from kwire.cli.connections.connection import Connection
from kwire.errors import Code
from kwire.wire.messages import DescribeAclsRequest, DescribeAclsResponse, MetadataRequest, MetadataResponse

_OPERATIONS_SINCE = 8  # KIP-430
_ANY = 1
Topic = MetadataResponse.MetadataResponseTopic


class Access(NamedTuple):
    """``advice`` is empty where no ACL seems to be missing."""

    text: str
    advice: str


def examine_access(connection: Connection) -> Access | None:
    """Describe what this client may do; None for a broker without an authorizer, or one too old to tell.

    Raises ClientError.
    """
    if not (connection.serves(DescribeAclsRequest) and connection.serves(MetadataRequest)):
        return None
    version = connection.version_of(MetadataRequest)
    if version < _OPERATIONS_SINCE:
        return None
    everything = DescribeAclsRequest(
        resource_type_filter=_ANY, pattern_type_filter=_ANY, operation=_ANY, permission_type=_ANY
    )
    code = connection.call(everything, DescribeAclsResponse).error_code
    if code == Code.SECURITY_DISABLED:
        return None
    request = MetadataRequest(topics=None, allow_auto_topic_creation=False, include_topic_authorized_operations=True)
    topics = [topic for topic in connection.call(request, MetadataResponse, version=version).topics if topic.name]
    return _access([topic for topic in topics if not topic.is_internal], administers=code == Code.NONE)


def _access(topics: Sequence[Topic], *, administers: bool) -> Access:
    if not topics and administers:
        return Access("an authorizer decides what clients may do; this client may list the rules", "")
    if not topics:
        return Access(
            "an authorizer decides what clients may do, and this client may describe no topic",
            'If topics should be here, add rules for this client: kwire acls add "NAME may read topic orders"',
        )
    unreadable = [topic.name for topic in topics if not _may(topic, Operation.READ)]
    unwritable = [topic.name for topic in topics if not _may(topic, Operation.WRITE)]
    counted = (
        f"an authorizer decides what clients may do: of the {len(topics)} topics that this client sees it may read"
        f" {len(topics) - len(unreadable)} and write to {len(topics) - len(unwritable)}"
    )
    if not unreadable and not unwritable:
        return Access(counted, "")
    word, name = ("read", unreadable[0]) if unreadable else ("write", unwritable[0])
    return Access(counted, f'If more is needed, add a rule: kwire acls add "NAME may {word} topic {name}"')


def _may(topic: Topic, operation: Operation) -> bool:
    return bool(topic.topic_authorized_operations >> operation & 1)
