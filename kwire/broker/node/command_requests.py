"""Commands as requests to a controller, and its responses as their results.

Responsible for: the commands that a broker submits of itself. Must not depend on: connections.

What clients ask for is forwarded as it came (``QuorumController.forward``), so most commands have no request here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from kwire.errors import Code, KafkaError
from kwire.metadata.commands import Command
from kwire.metadata.commands.nodes import AllocateProducerIds
from kwire.metadata.commands.partitions import AssignReplicasToDirs
from kwire.metadata.commands.topics import CreateTopics
from kwire.metadata.decisions.decision import DONE
from kwire.metadata.decisions.topics import Created
from kwire.metadata.image import MetadataImage
from kwire.types import Uuid
from kwire.wire.message import Message
from kwire.wire.messages import AllocateProducerIdsRequest, AssignReplicasToDirsRequest, CreateTopicsRequest

TIMEOUT_MS = 30_000


def request_of(command: Command[Any], image: MetadataImage, broker_epoch: int) -> Message:
    """Make the request. Raises KafkaError(UNSUPPORTED_VERSION) for a command that only a controller may decide."""
    match command:
        case CreateTopics():
            return _create_topics(command)
        case AllocateProducerIds(broker_id):
            return AllocateProducerIdsRequest(broker_id=broker_id, broker_epoch=broker_epoch)
        case AssignReplicasToDirs():
            return _assign_directories(command, image, broker_epoch)
    raise KafkaError(Code.UNSUPPORTED_VERSION, f"{type(command).__name__} is for the controller to decide")


def item_count(command: Command[Any]) -> int:
    """How many results a command has."""
    return len(command.topics) if isinstance(command, CreateTopics) else 1


def results_of(command: Command[Any], response: Any) -> Sequence[Any]:
    """Read one result per item of the command, in its order."""
    match command:
        case CreateTopics(topics):
            by_name = {one.name: one for one in response.topics}
            return [_created(by_name[topic.name]) for topic in topics]
        case AllocateProducerIds():
            start, count = response.producer_id_start, response.producer_id_len
            return [_refusal(response.error_code, None) or range(start, start + count)]
        case _:
            return [_refusal(response.error_code, None) or DONE]


def _create_topics(command: CreateTopics) -> CreateTopicsRequest:
    return CreateTopicsRequest(
        topics=[
            CreateTopicsRequest.CreatableTopic(
                name=topic.name,
                num_partitions=topic.partitions,
                replication_factor=topic.replication_factor,
                assignments=[
                    CreateTopicsRequest.CreatableReplicaAssignment(partition_index=index, broker_ids=list(replicas))
                    for index, replicas in topic.assignments
                ],
                configs=[
                    CreateTopicsRequest.CreatableTopicConfig(name=name, value=value)
                    for name, value in topic.configs.items()
                ],
            )
            for topic in command.topics
        ],
        timeout_ms=TIMEOUT_MS,
        validate_only=command.validate_only,
    )


def _assign_directories(
    command: AssignReplicasToDirs, image: MetadataImage, broker_epoch: int
) -> AssignReplicasToDirsRequest:
    by_directory: dict[Uuid, dict[Uuid, list[int]]] = defaultdict(lambda: defaultdict(list))
    for (name, index), directory in command.directories.items():
        topic = image.topics.get(name)
        if topic is not None:
            by_directory[directory][topic.id].append(index)
    request = AssignReplicasToDirsRequest
    return request(
        broker_id=command.broker_id,
        broker_epoch=broker_epoch,
        directories=[
            request.DirectoryData(
                id=directory,
                topics=[
                    request.TopicData(
                        topic_id=topic_id,
                        partitions=[request.PartitionData(partition_index=index) for index in indexes],
                    )
                    for topic_id, indexes in topics.items()
                ],
            )
            for directory, topics in by_directory.items()
        ],
    )


def _created(answer: Any) -> Created | KafkaError:
    refusal = _refusal(answer.error_code, answer.error_message)
    if refusal is not None:
        return refusal
    return Created(answer.name, answer.topic_id, answer.num_partitions, answer.replication_factor, [])


def _refusal(code: int, message: str | None) -> KafkaError | None:
    return KafkaError(Code(code), message) if code else None
