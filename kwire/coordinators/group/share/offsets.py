"""Which partitions of a share group have a state in the share coordinator.

Responsible for: the records when states were initialized, are altered or deleted. Must not depend on: requests, when
partitions are initialized (``heartbeat``).

The share coordinator and the group's record are two logs. A topic is first written as initializing (or deleting), then
the request goes to the share coordinator, then the outcome is written; after a crash the steps are repeated.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from kwire.coordinators.group.share.commands import InitializeStates
from kwire.coordinators.group.share.heartbeat import begin_initializing
from kwire.coordinators.group.share.state import States, TopicState, joined, states_record, without
from kwire.coordinators.group.share.step import Step
from kwire.coordinators.machine import Record
from kwire.errors import Code, KafkaError
from kwire.types import Uuid


def initialized(step: Step, partitions: Mapping[Uuid, Collection[int]]) -> Step:
    """Write that these partitions have a state now."""
    states = step.group.states
    found: dict[Uuid, TopicState] = {}
    for topic_id, indexes in partitions.items():
        topic = step.parts.metadata.topic_by_id(topic_id)
        if topic is not None:
            found[topic_id] = TopicState(topic.name, frozenset(indexes))
    step.effects.records.append(
        states_record(
            step.group_id,
            replace(
                states,
                initialized=joined(states.initialized, found),
                initializing=without(states.initializing, partitions),
            ),
        )
    )
    return step


def not_initialized(step: Step, partitions: Mapping[Uuid, Collection[int]]) -> Step:
    """Write that these partitions got no state."""
    states = step.group.states
    if states.initializing and partitions:
        left = without(states.initializing, partitions)
        step.effects.records.append(states_record(step.group_id, replace(states, initializing=left)))
    return step


def alter(step: Step, topics: Mapping[str, Mapping[int, int]]) -> InitializeStates:
    """Begin to set start offsets. KafkaError(NON_EMPTY_GROUP)."""
    _check_empty(step)
    wanted: dict[Uuid, TopicState] = {}
    offsets: dict[Uuid, Mapping[int, int]] = {}
    for name, starts in topics.items():
        topic = step.parts.metadata.topic(name)
        if topic is not None and starts:
            wanted[topic.id] = TopicState(name, frozenset(starts))
            offsets[topic.id] = starts
    if wanted:
        begin_initializing(step, wanted)
    return InitializeStates(step.group_id, step.group.epochs.group, offsets)


def begin_delete(step: Step, topic_ids: Collection[Uuid]) -> dict[Uuid, frozenset[int]]:
    """Begin to delete the states of topics; the partitions of those that have any. KafkaError(NON_EMPTY_GROUP)."""
    _check_empty(step)
    states = step.group.states
    found: dict[Uuid, frozenset[int]] = {}
    deleting = dict(states.deleting)
    for topic_id in topic_ids:
        topic = step.parts.metadata.topic_by_id(topic_id)
        state = states.initialized.get(topic_id)
        if state is not None:
            found[topic_id] = state.partitions
            deleting[topic_id] = state.name
        elif topic is not None and topic_id in states.deleting:
            found[topic_id] = frozenset(range(topic.partition_count))
    left = {topic_id: state for topic_id, state in states.initialized.items() if topic_id not in found}
    step.effects.records.append(states_record(step.group_id, replace(states, initialized=left, deleting=deleting)))
    return found


def begin_delete_all(step: Step) -> dict[Uuid, frozenset[int]]:
    """The same for all states of the group, those being initialized too."""
    _check_empty(step)
    states = step.group.states
    every = joined(states.initialized, states.initializing)
    for topic_id in states.deleting:
        topic = step.parts.metadata.topic_by_id(topic_id)
        if topic is not None:
            again = TopicState(topic.name, frozenset(range(topic.partition_count)))
            every = joined(every, {topic_id: again})
    if every or states.deleting:
        deleting = {topic_id: state.name for topic_id, state in every.items()}
        step.effects.records.append(states_record(step.group_id, States({}, {}, deleting)))
    return {topic_id: state.partitions for topic_id, state in every.items()}


def deleted(step: Step, topic_ids: Collection[Uuid]) -> Step:
    """Write that the states of these topics are deleted."""
    states = step.group.states
    left = {topic_id: name for topic_id, name in states.deleting.items() if topic_id not in topic_ids}
    step.effects.records.append(states_record(step.group_id, replace(states, deleting=left)))
    return step


def without_topics(group_id: str, states: States, gone: Collection[Uuid]) -> list[Record]:
    """The record of a group after topics were deleted: the share coordinator deletes their states by itself."""
    if not any(
        topic_id in of for of in (states.initializing, states.initialized, states.deleting) for topic_id in gone
    ):
        return []
    left = States(
        {topic_id: state for topic_id, state in states.initializing.items() if topic_id not in gone},
        {topic_id: state for topic_id, state in states.initialized.items() if topic_id not in gone},
        {topic_id: name for topic_id, name in states.deleting.items() if topic_id not in gone},
    )
    return [states_record(group_id, left)]


def _check_empty(step: Step) -> None:
    if step.group.members:
        raise KafkaError(Code.NON_EMPTY_GROUP, "The group is not empty.")
