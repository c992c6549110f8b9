"""Commands on topics and their partitions.

Responsible for: the fields of each command. Must not depend on: how it is decided (``metadata.decisions.topics``), the
metadata log, requests.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from kwire.metadata.commands import Command, ControllerState
from kwire.metadata.decisions.decision import Charge, Decision, Outcome
from kwire.metadata.decisions.topics import (
    Created,
    NewPartitions,
    NewTopic,
    create_partitions,
    create_topics,
    delete_topics,
)
from kwire.metadata.entities import Topic
from kwire.types import Uuid


@dataclass(frozen=True)
class CreateTopics(Command[Created]):
    """Create topics. The caller has refused names that occur twice in one request.

    ``created_together``: the new names of the whole request, when it is submitted a few topics at a time.
    ``described``: the results have all configs of the new topics, which takes longer than the rest.
    """

    topics: Sequence[NewTopic]
    validate_only: bool = False
    created_together: Collection[str] = ()
    described: bool = True

    def decide(self, state: ControllerState, charge: Charge) -> Decision[Created]:
        return create_topics(
            state.image,
            state.configs,
            self.topics,
            uuid=state.uuid,
            charge=charge,
            created_together=self.created_together,
            described=self.described,
        )


@dataclass(frozen=True)
class DeleteTopics(Command[Topic]):
    """Delete topics by id. A result is the topic as it was."""

    topic_ids: Sequence[Uuid]

    def decide(self, state: ControllerState, charge: Charge) -> Decision[Topic]:
        return delete_topics(state.image, self.topic_ids, charge=charge)


@dataclass(frozen=True)
class CreatePartitions(Command[Outcome]):
    """Add partitions to topics. The caller has refused names that occur twice in one request."""

    topics: Sequence[NewPartitions]
    validate_only: bool = False

    def decide(self, state: ControllerState, charge: Charge) -> Decision[Outcome]:
        return create_partitions(state.image, self.topics, charge=charge)
