"""Makes the machines of groups for their runtime, and starts their actions.

Responsible for: the settings of groups, and the tasks of actions (``group_actions``). Must not depend on: requests, how
groups work.

It is loaded with the first group: many brokers never have one, and the coordinators of groups are a third of kwire.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVarTuple

from kwire.broker.clock import Clock
from kwire.broker.coordination.metadata_view import MetadataView
from kwire.broker.coordination.shard import Shard
from kwire.broker.coordination.share.persister import SharePersister
from kwire.coordinators.group.commands import GroupConfig
from kwire.coordinators.group.coordinator import GroupCoordinator
from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.personas import persona

Ts = TypeVarTuple("Ts")

_MINUTE_MS = 60_000


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
        """Execute an action in a task; the outcome goes to the machine through the shard."""
        from kwire.broker.coordination import group_actions  # noqa: PLC0415 (classic groups have none)

        execute = group_actions.task(
            action, clock=self._clock, metadata=self._metadata, share_states=self._share_states
        )
        self._start_task(shard, execute, shard)


def group_config(configs: EffectiveConfigs) -> GroupConfig:
    """The broker's settings for groups."""
    release = persona(configs.broker["kwire.as.release"])
    return GroupConfig(
        initial_rebalance_delay_ms=configs.broker["group.initial.rebalance.delay.ms"],
        max_size=configs.broker["group.max.size"],
        min_session_timeout_ms=configs.broker["group.min.session.timeout.ms"],
        max_session_timeout_ms=configs.broker["group.max.session.timeout.ms"],
        scala_votes=release is not None and release.has_old_groups,
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
