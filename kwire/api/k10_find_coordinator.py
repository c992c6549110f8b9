"""FindCoordinator (key 10).

Versions: 0-6.

Behaviour: the broker that leads the key's partition of the internal topic, as its listener of the connection's name
advertises it. The internal topic is created at the first request. COORDINATOR_NOT_AVAILABLE while the partition has no
leader, or a leader without such a listener.

Version notes: 0 groups only; 4 several keys at once (KIP-699); 5 transactional ids of a newer protocol (KIP-890);
6 share partitions' keys (KIP-932), for brokers.
"""

from __future__ import annotations

from typing import Final

from kwire.api.pacing import paced
from kwire.api.probes import UNKNOWN_NAME, Probe
from kwire.broker.requests.context import Context
from kwire.errors import Code, KafkaError
from kwire.metadata.features import SHARE_VERSION
from kwire.security.operations import Operation, ResourceType
from kwire.types import uuid_from_text
from kwire.wire.messages import FindCoordinatorRequest, FindCoordinatorResponse

# No coordinator has type 9.
PROBE: Probe = {"key": UNKNOWN_NAME, "key_type": 9, "coordinator_keys": [UNKNOWN_NAME]}

GROUP: Final = 0
TRANSACTION: Final = 1
SHARE: Final = 2

_SEVERAL_KEYS_SINCE: Final = 4  # KIP-699
_SHARE_SINCE: Final = 6  # KIP-932

_DENIED: Final = (Code.GROUP_AUTHORIZATION_FAILED, Code.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)

Coordinator = FindCoordinatorResponse.Coordinator


async def handle(context: Context, request: FindCoordinatorRequest) -> FindCoordinatorResponse:
    """Each key by itself."""
    if context.api_version >= _SEVERAL_KEYS_SINCE:
        return FindCoordinatorResponse(
            throttle_time_ms=context.throttle_ms,
            coordinators=[
                _without_text(await _find(context, request.key_type, key))
                async for key in paced(context, request.coordinator_keys)
            ],
        )
    found = await _find(context, request.key_type, request.key)
    return FindCoordinatorResponse(
        throttle_time_ms=context.throttle_ms,
        error_code=found.error_code,
        error_message=found.error_message if found.error_code else "NONE",
        node_id=found.node_id,
        host=found.host,
        port=found.port,
    )


def _without_text(found: Coordinator) -> Coordinator:
    """Among several keys, a key that the client may not describe has its code alone."""
    if found.error_code in _DENIED:
        found.error_message = ""
    return found


async def _find(context: Context, key_type: int, key: str) -> Coordinator:
    broker = context.broker
    try:
        if key_type == GROUP:
            context.authorize(Operation.DESCRIBE, ResourceType.GROUP, key)
            node_id = await broker.groups.coordinator_of(key)
        elif key_type == TRANSACTION:
            context.authorize(Operation.DESCRIBE, ResourceType.TRANSACTIONAL_ID, key)
            node_id = await broker.transactions.coordinator_of(key)
        elif key_type == SHARE and context.api_version >= _SHARE_SINCE and broker.image.features.get(SHARE_VERSION, 0):
            context.authorize_cluster(Operation.CLUSTER_ACTION)
            _check_share_key(key)
            node_id = await broker.share_states.coordinator_of(key)
        else:
            raise KafkaError(Code.INVALID_REQUEST, f"No coordinator of this broker has keys of type {key_type}.")
        host, port = _address(context, node_id)
    except KafkaError as refusal:
        return Coordinator(
            key=key, node_id=-1, host="", port=-1, error_code=refusal.code, error_message=refusal.message
        )
    return Coordinator(key=key, node_id=node_id, host=host, port=port, error_message="")


def _address(context: Context, node_id: int) -> tuple[str, int]:
    """The address of a broker for clients of this listener. Raises KafkaError(COORDINATOR_NOT_AVAILABLE)."""
    if node_id == context.broker.node_id:
        return context.endpoint.host, context.endpoint.port
    node = context.broker.image.brokers.get(node_id)
    endpoint = None if node is None or node.fenced else context.cluster_view().endpoint(node_id)
    if endpoint is None:
        raise KafkaError(Code.COORDINATOR_NOT_AVAILABLE)
    return endpoint.host, endpoint.port


def _check_share_key(key: str) -> None:
    """KafkaError(INVALID_REQUEST) unless the key is group, topic id and partition, joined by colons."""
    group_id, _, rest = key.partition(":") if key.count(":") == 2 else ("", "", "")
    topic_id, _, partition = rest.partition(":")
    try:
        uuid_from_text(topic_id)
        is_valid = bool(group_id) and int(partition) >= 0
    except ValueError:
        is_valid = False
    if not is_valid:
        raise KafkaError(Code.INVALID_REQUEST)
