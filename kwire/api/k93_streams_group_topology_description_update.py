"""StreamsGroupTopologyDescriptionUpdate (key 93).

Versions: 0.

Behaviour: a client sends the description of its topology to be stored (KIP-1331). Apache Kafka hands it to a plugin, a
Java class, and without one answers UNSUPPORTED_VERSION: so does this broker, which never asks for a description either.
"""

from __future__ import annotations

from kwire.api.k88_streams_group_heartbeat import check_served
from kwire.api.modern_groups import refused
from kwire.api.probes import UNKNOWN_NAME, Probe
from kwire.broker.requests.context import Context
from kwire.errors import Code, KafkaError
from kwire.security.operations import Operation, ResourceType
from kwire.wire.messages import (
    StreamsGroupTopologyDescriptionUpdateRequest,
    StreamsGroupTopologyDescriptionUpdateResponse,
)

PROBE: Probe = {"group_id": UNKNOWN_NAME, "member_id": UNKNOWN_NAME}


def handle(
    context: Context, request: StreamsGroupTopologyDescriptionUpdateRequest
) -> StreamsGroupTopologyDescriptionUpdateResponse:
    """Always a refusal."""
    try:
        check_served(context)
        if not context.may(Operation.READ, ResourceType.GROUP, request.group_id):
            raise KafkaError(Code.GROUP_AUTHORIZATION_FAILED)
        raise KafkaError(
            Code.UNSUPPORTED_VERSION, "The broker has no streams group topology description plugin configured."
        )
    except KafkaError as refusal:
        return refused(context, StreamsGroupTopologyDescriptionUpdateResponse, refusal)
