"""Heartbeats of brokers: the next state of a broker, and the records of the change.

Responsible for: the four states (fenced, unfenced, controlled shutdown, may shut down) and their transitions. Must not
depend on: requests, clocks.

    fenced ---- wants to serve and has applied its registration ----> unfenced
    unfenced -- wants to stop and leads a partition ----------------> controlled shutdown
    controlled shutdown -- leads nothing, and the other brokers have applied that --> may shut down
    fenced, or unfenced and leading nothing, wants to stop ---------> may shut down

What changes many partitions is not among the records of the heartbeat, but in ``steps``, so that it does not hold up
the heartbeats of other brokers. A broker that leads nothing, but is in many in-sync sets, is in controlled shutdown
until it has left them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Final, NamedTuple, TypeAlias

from kwire.errors import Code, KafkaError
from kwire.limits import METADATA_STEP_RECORDS, METADATA_STEP_VISITS
from kwire.metadata.cluster.leadership import (
    begin_shutdown,
    elect_in_steps,
    fence,
    leave_in_steps,
    lose_directories_in_steps,
    unfence,
)
from kwire.metadata.cluster.replica_counts import ReplicaCounts
from kwire.metadata.cluster.sessions import BrokerSessions
from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.metadata.entities import BrokerNode
from kwire.metadata.features import CORDONED_LOG_DIRS
from kwire.metadata.image import MetadataImage
from kwire.types import Uuid
from kwire.wire.message import Message
from kwire.wire.messages import BrokerRegistrationChangeRecord

_DIRECTORIES: Final = 17  # 3.7-IV2 (KIP-858)


_MakeSteps: TypeAlias = "Callable[[], Iterator[list[Message]]]"


class State(Enum):
    """The state of a broker."""

    FENCED = "fenced"
    UNFENCED = "unfenced"
    SHUTTING_DOWN = "controlled shutdown"
    MAY_SHUT_DOWN = "may shut down"


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The fields of a BrokerHeartbeatRequest.

    ``metadata_offset`` is that of the last record it has applied. ``cordoned_dirs`` None: not sent.
    """

    broker_id: int
    broker_epoch: int
    metadata_offset: int
    want_fence: bool
    want_shut_down: bool
    offline_dirs: tuple[Uuid, ...] = ()
    cordoned_dirs: tuple[Uuid, ...] | None = None


class HeartbeatDecision(NamedTuple):
    """The records of a heartbeat, and the state of the broker once they are applied.

    ``steps`` makes further records, while they are taken: each step is committed before the next one is taken.
    """

    records: list[Message]
    state: State
    is_caught_up: bool
    steps: _MakeSteps | None


def check_epoch(image: MetadataImage, broker_id: int, broker_epoch: int) -> BrokerNode:
    """Find the registration of a broker that sends a request. Raises KafkaError(STALE_BROKER_EPOCH)."""
    broker = image.brokers.get(broker_id)
    if broker is None:
        message = f"No broker registration found for broker id {broker_id}"
        raise KafkaError(Code.STALE_BROKER_EPOCH, message)
    if broker.epoch != broker_epoch:
        message = f"Expected broker epoch {broker.epoch}, but got broker epoch {broker_epoch}"
        raise KafkaError(Code.STALE_BROKER_EPOCH, message)
    return broker


def decide_heartbeat(
    image: MetadataImage, configs: EffectiveConfigs, sessions: BrokerSessions, counts: ReplicaCounts, beat: Heartbeat
) -> HeartbeatDecision:
    """Decide a heartbeat. Changes nothing. Raises KafkaError(STALE_BROKER_EPOCH)."""
    broker = check_epoch(image, beat.broker_id, beat.broker_epoch)
    caught_up = beat.metadata_offset >= broker.epoch
    current = _current(sessions, broker)
    state = _next(sessions, counts, beat, current, caught_up=caught_up)
    records: list[Message] = []
    steps: list[_MakeSteps] = []
    match state:
        case _ if state is current:
            pass
        case State.UNFENCED:
            records = unfence(image, broker)
            if counts.leaderless:
                steps.append(partial(elect_in_steps, image, configs))
        case State.SHUTTING_DOWN:
            records = begin_shutdown(image, broker)
            steps.append(partial(leave_in_steps, image, configs, broker.id))
        case State.FENCED | State.MAY_SHUT_DOWN:
            records = [] if broker.fenced else fence(image, configs, broker, counts)
    if image.metadata_version >= _DIRECTORIES and not set(beat.offline_dirs).isdisjoint(broker.log_dirs):
        steps.append(partial(lose_directories_in_steps, image, configs, broker, beat.offline_dirs))
    if beat.cordoned_dirs is not None:
        records += cordon(image, broker, beat.cordoned_dirs)
    return HeartbeatDecision(records, state, caught_up, partial(_one_after_the_other, steps) if steps else None)


def _one_after_the_other(steps: Sequence[_MakeSteps]) -> Iterator[list[Message]]:
    for make in steps:
        yield from make()


def _current(sessions: BrokerSessions, broker: BrokerNode) -> State:
    if sessions.shutdown_offset(broker.id) is not None:
        return State.SHUTTING_DOWN
    return State.FENCED if broker.fenced else State.UNFENCED


def _next(
    sessions: BrokerSessions, counts: ReplicaCounts, beat: Heartbeat, current: State, *, caught_up: bool
) -> State:
    leads = counts.led[beat.broker_id] > 0
    match current:
        case State.FENCED if beat.want_shut_down:
            return State.MAY_SHUT_DOWN
        case State.FENCED:
            return State.UNFENCED if caught_up and not beat.want_fence else State.FENCED
        case State.UNFENCED if beat.want_fence:
            return State.MAY_SHUT_DOWN if beat.want_shut_down else State.FENCED
        case State.UNFENCED if beat.want_shut_down:
            leaves = counts.in_sync[beat.broker_id]
            in_steps = leaves > METADATA_STEP_RECORDS or (leaves and counts.partitions > METADATA_STEP_VISITS)
            return State.SHUTTING_DOWN if leads or in_steps else State.MAY_SHUT_DOWN
        case State.SHUTTING_DOWN if not leads:
            offset = sessions.shutdown_offset(beat.broker_id)
            others_know = offset is not None and offset <= sessions.lowest_active_offset()
            return State.MAY_SHUT_DOWN if others_know else State.SHUTTING_DOWN
    return current


def cordon(image: MetadataImage, broker: BrokerNode, cordoned: Sequence[Uuid]) -> list[Message]:
    """Record which log directories of a broker get no new partitions, at a metadata.version that has such records."""
    if image.metadata_version < CORDONED_LOG_DIRS:
        return []
    if broker.cordoned_log_dirs is not None and set(broker.cordoned_log_dirs) == set(cordoned):
        return []
    return [
        BrokerRegistrationChangeRecord(broker_id=broker.id, broker_epoch=broker.epoch, cordoned_log_dirs=list(cordoned))
    ]
