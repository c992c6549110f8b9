"""Executes the actions of groups.

Responsible for: finding the topics that match regular expressions, and initializing states of share groups. Must not
depend on: requests, how groups work.

It is loaded with the first action of a consumer or share group.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias

import trio

from kwire.broker.clock import Clock
from kwire.broker.coordination.metadata_view import MetadataView
from kwire.broker.coordination.shard import Shard
from kwire.broker.coordination.share.persister import SharePersister
from kwire.broker.logs import Logger
from kwire.broker.waits import Patient, Waits
from kwire.coordinators.group.consumer.commands import ResolveRegexes
from kwire.coordinators.group.consumer.state import ResolvedRegex
from kwire.coordinators.group.coordinator import GroupCoordinator
from kwire.coordinators.group.share.commands import InitializeStates
from kwire.coordinators.machine import Effects
from kwire.coordinators.patterns import matching_topics
from kwire.coordinators.share.state import SharePartitionKey
from kwire.errors import KafkaError

log = Logger("kwire.groups")

# ``await task(shard)`` executes an action.
Task: TypeAlias = Callable[[Shard[GroupCoordinator]], Awaitable[None]]

# States of share partitions that are initialized before other tasks run: each is a batch, some 100 microseconds.
_STATES_AT_ONCE = 16
# No request waits for the reply.
_NO_TICKET = 0


def task(action: object, *, clock: Clock, metadata: MetadataView, share_states: SharePersister) -> Task:
    """Return the task of an action; the outcome goes to the machine through the shard."""
    if isinstance(action, ResolveRegexes):
        return partial(_resolve, clock, metadata, action)
    assert isinstance(action, InitializeStates), action
    return partial(_initialize, share_states, action)


async def _resolve(
    clock: Clock, metadata: MetadataView, action: ResolveRegexes, shard: Shard[GroupCoordinator]
) -> None:
    """Find the topics that match, in a thread: RE2 is linear, but there may be very many topics."""
    names = list(metadata.topic_names())
    version, started_ms = metadata.version, clock.now_ms()
    matching = await trio.to_thread.run_sync(matching_topics, action.regexes, names)
    found = {
        regex: ResolvedRegex(frozenset(filter(action.may_describe, topics)), version, started_ms)
        for regex, topics in matching.items()
    }
    shard.run(lambda machine, now_ms: machine.consumer.resolved(action.group_id, found, now_ms=now_ms))


async def _initialize(states: SharePersister, action: InitializeStates, shard: Shard[GroupCoordinator]) -> None:
    """Have the share coordinator initialize states, and have the group's machine note the result."""
    refusal = await initialize_states(states, Patient(), action)
    partitions = {topic_id: frozenset(starts) for topic_id, starts in action.offsets.items()}
    if refusal is not None:
        log.warning("share group states not initialized", group=action.group_id, error=str(refusal))

    def outcome(machine: GroupCoordinator, now_ms: int) -> Effects:
        if machine.share.find(action.group_id) is None:
            return Effects()  # deleted meanwhile
        note = machine.share.initialized if refusal is None else machine.share.not_initialized
        return note(action.group_id, partitions, ticket=_NO_TICKET, now_ms=now_ms)

    shard.run(outcome)


async def initialize_states(states: SharePersister, waits: Waits, action: InitializeStates) -> KafkaError | None:
    """Initialize the states of share partitions; the first refusal, None if there is none."""
    refusal: KafkaError | None = None
    wanted = [
        (SharePartitionKey(action.group_id, topic_id, partition), start_offset)
        for topic_id, starts in action.offsets.items()
        for partition, start_offset in starts.items()
    ]
    for count, (key, start_offset) in enumerate(wanted, 1):
        try:
            await states.initialize(waits, key, action.state_epoch, start_offset)
        except KafkaError as error:
            refusal = refusal or error
        if count % _STATES_AT_ONCE == 0:
            await trio.lowlevel.checkpoint()
    return refusal
