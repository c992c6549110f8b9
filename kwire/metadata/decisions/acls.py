"""Commands on ACLs.

Responsible for: which ACLs may be created, and the records of their creation and removal. Must not depend on: what an
ACL allows (``security.standard_authorizer``), authorization.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from kwire.acl_hosts import read_network
from kwire.acls import CLUSTER_NAME, Acl, AclFilter, Operation, PatternType, Permission, ResourceType
from kwire.errors import Code, KafkaError
from kwire.kafka_release import METADATA_VERSIONS
from kwire.metadata.decisions.decision import DONE, Decision, Outcome
from kwire.metadata.image import MetadataImage
from kwire.metadata.log.snapshot import acl_record
from kwire.types import Uuid
from kwire.wire.message import Message
from kwire.wire.messages import RemoveAccessControlEntryRecord

_NETWORKS = 32  # 4.4-IV1: hosts of ACLs may be networks (KIP-1276)


def create_acls(image: MetadataImage, acls: Sequence[Acl], *, uuid: Callable[[], Uuid]) -> Decision[Outcome]:
    """Create ACLs; one that exists already is accepted and changes nothing."""
    records: dict[Acl, Message] = {}
    results: list[Outcome | KafkaError] = []
    for acl in acls:
        try:
            _check(acl, image.metadata_version)
        except KafkaError as refusal:
            results.append(refusal)
            continue
        if acl not in image.acl_ids and acl not in records:
            records[acl] = acl_record(uuid(), acl)
        results.append(DONE)
    return Decision(list(records.values()), results)


def delete_acls(image: MetadataImage, filters: Sequence[AclFilter]) -> Decision[Sequence[Acl]]:
    """Delete the ACLs that each filter selects. An ACL that several select is in the result of each."""
    records: dict[Uuid, Message] = {}
    results: list[Sequence[Acl] | KafkaError] = []
    for each in filters:
        try:
            check_filter(each)
        except KafkaError as refusal:
            results.append(refusal)
            continue
        selected = list(select_acls(image, each))
        records.update((image.acl_ids[acl], RemoveAccessControlEntryRecord(id=image.acl_ids[acl])) for acl in selected)
        results.append(selected)
    return Decision(list(records.values()), results)


def select_acls(image: MetadataImage, wanted: AclFilter) -> Iterator[Acl]:
    """Find the ACLs that a filter selects, in the order of their creation."""
    only = wanted.only
    candidates: Iterable[Acl] = image.acl_ids if only is None else ({only} & image.acl_ids.keys())
    return (acl for acl in candidates if wanted.selects(acl))


def check_filter(wanted: AclFilter) -> None:
    """Raise KafkaError(INVALID_REQUEST) for a filter with a code that is not known."""
    if not (wanted.resource_type and wanted.pattern_type):
        raise KafkaError(Code.INVALID_REQUEST, "Unknown patternFilter.")
    if wanted.is_unknown:
        raise KafkaError(Code.INVALID_REQUEST, "Unknown entryFilter.")


def _check(acl: Acl, metadata_version: int) -> None:
    """Check a new ACL in the order of Apache Kafka. Raises KafkaError: INVALID_REQUEST, UNSUPPORTED_VERSION."""
    if acl.resource_type is ResourceType.CLUSTER and acl.resource_name != CLUSTER_NAME:
        raise _invalid(f"The only valid name for the CLUSTER resource is {CLUSTER_NAME}")
    if not acl.resource_name:
        raise _invalid("Invalid empty resource name")
    if acl.resource_type in (ResourceType.UNKNOWN, ResourceType.ANY):
        raise _invalid(f"Invalid resourceType {acl.resource_type.name}")
    if acl.pattern_type not in (PatternType.LITERAL, PatternType.PREFIXED):
        raise _invalid(f"Invalid patternType {acl.pattern_type.name}")
    if acl.operation in (Operation.UNKNOWN, Operation.ANY):
        raise _invalid(f"Invalid operation {acl.operation.name}")
    if acl.permission not in (Permission.DENY, Permission.ALLOW):
        raise _invalid(f"Invalid permissionType {acl.permission.name}")
    if ":" not in acl.principal:
        raise _invalid(
            f"Could not parse principal from `{acl.principal}` (no colon is present separating the principal type from"
            " the principal name)"
        )
    if not acl.host:
        raise _invalid("Host pattern cannot be null or empty")
    if "/" in acl.host:
        _check_network(acl.host, metadata_version)


def _check_network(host: str, metadata_version: int) -> None:
    if metadata_version < _NETWORKS:
        name = METADATA_VERSIONS[_NETWORKS][0]
        message = f"CIDR-based ACL host patterns require metadata version {name} or higher."
        raise KafkaError(Code.UNSUPPORTED_VERSION, message)
    try:
        read_network(host)
    except ValueError as error:
        raise _invalid(f"Invalid CIDR notation '{host}': {error}") from None


def _invalid(message: str) -> KafkaError:
    return KafkaError(Code.INVALID_REQUEST, message)
