"""Makes the machines of groups for their runtime, and executes their actions.

Responsible for: the settings of groups, finding the topics that match regular expressions, and initializing states
of share groups. Must not depend on: requests, how groups work.

It is loaded with the first group: many brokers never have one, and the coordinators of groups are a third of kwire.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVarTuple

import trio

from kwire.broker.clock import Clock
from kwire.broker.coordination.metadata_view import MetadataView
from kwire.broker.coordination.shard import Shard
from kwire.broker.coordination.share_persister import SharePersister
from kwire.broker.logs import Logger
from kwire.broker.waits import Patient, Waits
from kwire.coordinators.group.commands import GroupConfig
from kwire.coordinators.group.consumer.commands import ResolveRegexes
from kwire.coordinators.group.consumer.state import ResolvedRegex
from kwire.coordinators.group.coordinator import GroupCoordinator
from kwire.coordinators.group.share.commands import InitializeStates
from kwire.coordinators.machine import Effects
from kwire.coordinators.patterns import matching_topics
from kwire.coordinators.share.state import SharePartitionKey
from kwire.errors import KafkaError
from kwire.metadata.effective import EffectiveConfigs

log = Logger("kwire.groups")

Ts = TypeVarTuple("Ts")

_MINUTE_MS = 60_000
# States of share partitions that are initialized before other tasks run: each is a batch, some 100 microseconds.
_STATES_AT_ONCE = 16
# No request waits for the reply.
_NO_TICKET = 0


class StartTask(Protocol):
    """``Runtime.start_task``."""

    def __call__(
        self, shard: Shard[GroupCoordinator], task: Callable[[*Ts], Awaitable[None]], /, *args: *Ts
    ) -> None: ...


class GroupMachines:
    """Makes machines, and executes their actions in tasks of the runtime."""

    def __init__(
        self,
        *,
        clock: Clock,
        configs: EffectiveConfigs,
        metadata: MetadataView,
        share_states: SharePersister,
        start_task: StartTask,
    ) -> None:
        self._clock = clock
        self._config = group_config(configs)
        self._metadata = metadata
        self._share_states = share_states
        self._start_task = start_task

    def make(self) -> GroupCoordinator:
        """Return the empty machine of one partition of ``__consumer_offsets``."""
        return GroupCoordinator(self._config)

    def run_action(self, shard: Shard[GroupCoordinator], action: object) -> None:
        """Execute an action; the outcome goes to the machine through the shard."""
        if isinstance(action, ResolveRegexes):
            self._start_task(shard, self._resolve, shard, action)
        else:
            assert isinstance(action, InitializeStates), action
            self._start_task(shard, self._initialize_states, shard, action)

    async def _resolve(self, shard: Shard[GroupCoordinator], action: ResolveRegexes) -> None:
        """Find the topics that match, in a thread: RE2 is linear, but there may be very many topics."""
        names = list(self._metadata.topic_names())
        version, started_ms = self._metadata.version, self._clock.now_ms()
        matching = await trio.to_thread.run_sync(matching_topics, action.regexes, names)
        found = {
            regex: ResolvedRegex(frozenset(filter(action.may_describe, topics)), version, started_ms)
            for regex, topics in matching.items()
        }
        shard.run(lambda machine, now_ms: machine.consumer.resolved(action.group_id, found, now_ms=now_ms))

    async def _initialize_states(self, shard: Shard[GroupCoordinator], action: InitializeStates) -> None:
        """Have the share coordinator initialize states, and have the group's machine note the result."""
        refusal = await initialize_states(self._share_states, Patient(), action)
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


def group_config(configs: EffectiveConfigs) -> GroupConfig:
    """The broker's settings for groups."""
    return GroupConfig(
        initial_rebalance_delay_ms=configs.broker["group.initial.rebalance.delay.ms"],
        max_size=configs.broker["group.max.size"],
        min_session_timeout_ms=configs.broker["group.min.session.timeout.ms"],
        max_session_timeout_ms=configs.broker["group.max.session.timeout.ms"],
        offset_metadata_max_bytes=configs.broker["offset.metadata.max.bytes"],
        offsets_retention_ms=configs.broker["offsets.retention.minutes"] * _MINUTE_MS,
        offsets_retention_check_interval_ms=configs.broker["offsets.retention.check.interval.ms"],
        consumer_max_size=configs.broker["group.consumer.max.size"],
        consumer_assignors=configs.broker["group.consumer.assignors"],
        consumer_migration_policy=configs.broker["group.consumer.migration.policy"].lower(),
        consumer_regex_refresh_interval_ms=configs.broker["group.consumer.regex.refresh.interval.ms"],
        consumer_fast_heartbeats=not configs.is_set("group.consumer.heartbeat.interval.ms"),
        share_max_size=configs.broker["group.share.max.size"],
        share_initialize_retry_interval_ms=configs.broker["group.share.initialize.retry.interval.ms"],
        share_fast_heartbeats=not configs.is_set("group.share.heartbeat.interval.ms"),
        streams_max_size=configs.broker["group.streams.max.size"],
        streams_assignors=configs.broker["group.streams.assignors"],
        streams_fast_heartbeats=not configs.is_set("group.streams.heartbeat.interval.ms"),
    )
