"""Replicas of one partition, a controller and a network in memory: what the simulation of replication runs.

The replicas use the machines of ``kwire.replication`` as the broker does; the log is a list of (epoch, value), with the
leader epochs of ``kwire.storage``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from kwire.errors import Code, KafkaError
from kwire.replication.follower import (
    FetchFromEnd,
    FetchPosition,
    RestartAt,
    TruncateTo,
    fetch_position,
    out_of_range,
    truncation_offset,
)
from kwire.replication.leader import IsrProposal, Leader, Leadership
from kwire.storage.epochs import EpochEnd, LeaderEpochs

REPLICAS = (0, 1, 2)
LAG_TIME_MAX_MS = 100
RECORDS_PER_FETCH = 2
NO_LEADER = -1


class SimulatedLog:
    """Records as (epoch, value). ``synced`` is how much survives a loss of power."""

    def __init__(self) -> None:
        self.records: list[tuple[int, int]] = []
        self.epochs = LeaderEpochs()
        self.high_watermark = 0
        self.checkpointed = 0
        self.log_start_offset = 0

    @property
    def end_offset(self) -> int:
        return len(self.records)

    @property
    def latest_epoch(self) -> int:
        return self.epochs.latest

    def offset_for_epoch(self, epoch: int) -> EpochEnd:
        return self.epochs.end_of(epoch, self.end_offset)

    def append(self, records: Iterable[tuple[int, int]]) -> None:
        for epoch, value in records:
            self.epochs.assign(epoch, self.end_offset)
            self.records.append((epoch, value))

    def truncate_to(self, offset: int) -> None:
        del self.records[offset:]
        # Also without records to remove: an epoch may begin at the end of the log.
        self.epochs.truncate_to(offset)
        self.high_watermark = min(self.high_watermark, offset)
        self.checkpointed = min(self.checkpointed, offset)


@dataclass(frozen=True)
class Metadata:
    """The partition and the brokers after one change."""

    leader: int
    leader_epoch: int
    partition_epoch: int
    isr: tuple[int, ...]
    alive: dict[int, int]


class Controller:
    """One change after the other; ``changes[-1]`` is the truth."""

    def __init__(self) -> None:
        alive = dict.fromkeys(REPLICAS, 0)
        self.changes = [Metadata(0, 0, 0, REPLICAS, alive)]
        self._next_broker_epoch = 1

    @property
    def now(self) -> Metadata:
        return self.changes[-1]

    def fence(self, node: int) -> None:
        """Remove the node from the ISR unless it is the last one, and elect another leader."""
        if node in self.now.alive:
            self._change(self.now.isr, {one: epoch for one, epoch in self.now.alive.items() if one != node}, gone=node)

    def register(self, node: int) -> int:
        """A new registration: what the node had may be lost, so it leaves the ISR first if others are in it."""
        self.fence(node)
        epoch, self._next_broker_epoch = self._next_broker_epoch, self._next_broker_epoch + 1
        self._change(self.now.isr, {**self.now.alive, node: epoch})
        return epoch

    def unfence(self, node: int, broker_epoch: int) -> None:
        self._change(self.now.isr, {**self.now.alive, node: broker_epoch})

    def alter_isr(self, sender: int, proposal: IsrProposal) -> Metadata | Code:
        now = self.now
        if proposal.leader_epoch != now.leader_epoch or now.leader != sender:
            return Code.FENCED_LEADER_EPOCH
        if proposal.partition_epoch != now.partition_epoch:
            return Code.INVALID_UPDATE_VERSION
        for node, epoch in proposal.isr:
            if node not in now.alive or epoch not in (-1, now.alive[node]):
                return Code.INELIGIBLE_REPLICA
        isr = tuple(node for node, _ in proposal.isr)
        if isr != now.isr:
            self.changes.append(Metadata(now.leader, now.leader_epoch, now.partition_epoch + 1, isr, now.alive))
        return self.now

    def _change(self, isr: tuple[int, ...], alive: dict[int, int], *, gone: int | None = None) -> None:
        now = self.now
        if gone is not None and isr != (gone,):
            isr = tuple(one for one in isr if one != gone)
        leader, epoch = now.leader, now.leader_epoch
        if leader in (gone, NO_LEADER):
            leader = next((one for one in isr if one in alive), NO_LEADER)
            if leader != now.leader:
                epoch += 1
        changed = isr != now.isr or leader != now.leader
        self.changes.append(Metadata(leader, epoch, now.partition_epoch + changed, isr, alive))


@dataclass(frozen=True)
class FetchSent:
    follower: int
    leader: int
    position: FetchPosition
    broker_epoch: int


@dataclass(frozen=True)
class FetchAnswer:
    request: FetchSent
    error: Code = Code.NONE
    diverging: EpochEnd | None = None
    records: tuple[tuple[int, int], ...] = ()
    high_watermark: int = -1
    leader_end: int = -1


@dataclass(frozen=True)
class ProposalSent:
    leader: int
    proposal: IsrProposal
    incarnation: int


@dataclass(frozen=True)
class ProposalAnswer:
    request: ProposalSent
    outcome: Metadata | Code


@dataclass
class Node:
    """One broker with its replica; ``leader`` is there while it believes that it leads."""

    id: int
    log: SimulatedLog = field(default_factory=SimulatedLog)
    running: bool = True
    broker_epoch: int = 0
    applied: int = 0
    view: Metadata | None = None
    leader: Leader | None = None
    # Values that wait for their acknowledgement, by the offset behind them.
    waiting: dict[int, int] = field(default_factory=dict)


class Cluster:
    """All of it. ``committed`` is what clients know to be committed: acknowledged, or read below a high watermark."""

    def __init__(self, min_insync_replicas: int) -> None:
        self.min_insync_replicas = min_insync_replicas
        self.controller = Controller()
        self.nodes = {one: Node(one) for one in REPLICAS}
        self.network: list[FetchSent | FetchAnswer | ProposalSent | ProposalAnswer] = []
        self.committed: dict[int, tuple[int, int]] = {}
        self.now_ms = 0
        self.truncations = 0
        self._next_value = 0
        for node in self.nodes.values():
            self._apply(node, self.controller.now)
            node.applied = 1

    # --- clients

    def produce(self, node: Node) -> None:
        """acks=all at a node that believes that it leads."""
        leader = node.leader
        if leader is None:
            return
        try:
            leader.check_before_append("p-0")
        except KafkaError:
            return
        node.log.append([(leader.leader_epoch, self._next_value)])
        node.waiting[node.log.end_offset] = self._next_value
        self._next_value += 1
        self._advance(node)

    def read(self, node: Node) -> None:
        """A consumer reads all that a replica, leader or follower, shows."""
        for offset in range(node.log.high_watermark):
            self._note_committed(offset, node.log.records[offset])

    def _note_committed(self, offset: int, record: tuple[int, int]) -> None:
        known = self.committed.setdefault(offset, record)
        assert known == record, f"two committed records at offset {offset}: {known} and {record}"

    # --- leader

    def _advance(self, node: Node) -> None:
        leader, log = node.leader, node.log
        assert leader is not None
        assert node.view is not None
        before = log.high_watermark
        offset = leader.high_watermark(end_offset=log.end_offset, alive=node.view.alive, now_ms=self.now_ms)
        log.high_watermark = max(before, offset)
        assert log.high_watermark <= log.end_offset
        for end_offset in [one for one in node.waiting if one <= log.high_watermark]:
            del node.waiting[end_offset]
            try:
                leader.check_after_commit()
            except KafkaError:
                continue
            self._note_committed(end_offset - 1, log.records[end_offset - 1])

    def _serve(self, node: Node, request: FetchSent) -> FetchAnswer:  # noqa: PLR0911 (one for each refusal)
        leader, log, position = node.leader, node.log, request.position
        epoch = -1 if node.view is None else node.view.leader_epoch
        if position.leader_epoch != epoch:
            older = position.leader_epoch < epoch
            return FetchAnswer(request, Code.FENCED_LEADER_EPOCH if older else Code.UNKNOWN_LEADER_EPOCH)
        if leader is None:
            return FetchAnswer(request, Code.NOT_LEADER_OR_FOLLOWER)
        if position.last_fetched_epoch >= 0:
            end = log.offset_for_epoch(position.last_fetched_epoch)
            if end.epoch < 0:
                return FetchAnswer(request, Code.OFFSET_OUT_OF_RANGE, leader_end=log.end_offset)
            if end.epoch < position.last_fetched_epoch or end.end_offset < position.offset:
                return FetchAnswer(request, diverging=end, high_watermark=log.high_watermark)
        if position.offset > log.end_offset:
            return FetchAnswer(request, Code.OFFSET_OUT_OF_RANGE, leader_end=log.end_offset)
        assert node.view is not None
        try:
            leader.note_fetch(
                request.follower,
                offset=position.offset,
                log_start_offset=0,
                broker_epoch=request.broker_epoch,
                leader_end_offset=log.end_offset,
                alive=node.view.alive,
                now_ms=self.now_ms,
            )
        except KafkaError as refusal:
            return FetchAnswer(request, refusal.code)
        self._send(node, leader.propose_growth(high_watermark=log.high_watermark, alive=node.view.alive))
        self._advance(node)
        records = tuple(log.records[position.offset : position.offset + RECORDS_PER_FETCH])
        return FetchAnswer(request, records=records, high_watermark=log.high_watermark)

    def check_lag(self, node: Node) -> None:
        if node.leader is not None and node.view is not None:
            self._send(
                node,
                node.leader.propose_shrink(end_offset=node.log.end_offset, alive=node.view.alive, now_ms=self.now_ms),
            )

    def resend(self, node: Node) -> None:
        """The proposal in flight timed out."""
        if node.leader is not None:
            self._send(node, node.leader.proposal)

    def _send(self, node: Node, proposal: IsrProposal | None) -> None:
        if proposal is not None:
            self.network.append(ProposalSent(node.id, proposal, node.broker_epoch))

    # --- follower

    def fetch(self, node: Node) -> None:
        view = node.view
        if view is None or node.leader is not None or view.leader == NO_LEADER:
            return
        position = fetch_position(node.log, view.leader_epoch)
        self.network.append(FetchSent(node.id, view.leader, position, node.broker_epoch))

    def _on_answer(self, node: Node, answer: FetchAnswer) -> None:
        request, log, view = answer.request, node.log, node.view
        if view is None or node.leader is not None or view.leader != request.leader:
            return
        if request.position != fetch_position(log, view.leader_epoch):
            return
        if answer.error == Code.OFFSET_OUT_OF_RANGE:
            decision = out_of_range(log, leader_start=0, leader_end=answer.leader_end)
            if isinstance(decision, TruncateTo):
                log.truncate_to(decision.offset)
            else:
                assert not isinstance(decision, RestartAt)
                assert isinstance(decision, FetchFromEnd)
        elif answer.diverging is not None:
            end = answer.diverging
            before = log.end_offset
            log.truncate_to(truncation_offset(log, epoch=end.epoch, end_offset=end.end_offset))
            self.truncations += log.end_offset < before
        elif not answer.error:
            log.append(answer.records)
            log.high_watermark = max(log.high_watermark, min(answer.high_watermark, log.end_offset))

    # --- metadata

    def apply_next(self, node: Node) -> bool:
        if node.applied >= len(self.controller.changes):
            return False
        self._apply(node, self.controller.changes[node.applied])
        node.applied += 1
        return True

    def _apply(self, node: Node, view: Metadata) -> None:
        node.view = view
        if view.leader != node.id:
            node.leader = None
            node.waiting.clear()
            return
        leadership = Leadership(REPLICAS, view.isr, view.leader_epoch, view.partition_epoch)
        log = node.log
        if node.leader is None:
            log.epochs.assign(view.leader_epoch, log.end_offset)
            node.leader = Leader(
                node.id,
                leadership,
                end_offset=log.end_offset,
                min_insync_replicas=self.min_insync_replicas,
                lag_time_max_ms=LAG_TIME_MAX_MS,
                now_ms=self.now_ms,
            )
        else:
            if view.leader_epoch > node.leader.leader_epoch:
                log.epochs.assign(view.leader_epoch, log.end_offset)
            node.leader.follow_metadata(leadership, end_offset=log.end_offset, now_ms=self.now_ms)
        self._advance(node)

    # --- network

    def deliver(self, index: int, *, repeat: bool) -> None:
        message = self.network[index] if repeat else self.network.pop(index)
        if isinstance(message, FetchSent):
            node = self.nodes[message.leader]
            if node.running:
                self.network.append(self._serve(node, message))
        elif isinstance(message, FetchAnswer):
            node = self.nodes[message.request.follower]
            if node.running and node.broker_epoch == message.request.broker_epoch:
                self._on_answer(node, message)
        elif isinstance(message, ProposalSent):
            self.network.append(ProposalAnswer(message, self.controller.alter_isr(message.leader, message.proposal)))
        else:
            self._on_outcome(message)

    def _on_outcome(self, answer: ProposalAnswer) -> None:
        request, outcome = answer.request, answer.outcome
        node = self.nodes[request.leader]
        if not node.running or node.leader is None or node.broker_epoch != request.incarnation:
            return
        if isinstance(outcome, Code):
            if node.leader.refused(request.proposal, outcome):
                self._send(node, request.proposal)
            return
        node.leader.accepted(
            request.proposal,
            isr=outcome.isr,
            leader_epoch=outcome.leader_epoch,
            partition_epoch=outcome.partition_epoch,
        )
        self._advance(node)

    # --- crashes

    def kill(self, node: Node) -> None:
        """End the process: what is written stays."""
        node.running = False
        node.leader = None
        node.view = None
        node.waiting.clear()

    def start(self, node: Node, *, lost_records: int = 0) -> None:
        """Register again, and catch up with the metadata before anything else; the log may have lost its end."""
        node.broker_epoch = self.controller.register(node.id)
        if lost_records and node.id not in self.controller.now.isr:
            node.log.truncate_to(max(0, node.log.end_offset - lost_records))
        node.log.high_watermark = node.log.checkpointed
        node.running = True
        node.applied = len(self.controller.changes)
        self._apply(node, self.controller.now)

    def unfence(self, node: Node) -> None:
        """The controller had fenced a broker that runs; its heartbeats are back, and its registration is the same."""
        self.controller.unfence(node.id, node.broker_epoch)

    # --- what must hold

    def check(self) -> None:
        """The leader of the newest epoch has all that clients know to be committed."""
        now = self.controller.now
        node = self.nodes.get(now.leader)
        if node is None:
            return
        for offset, record in self.committed.items():
            assert offset < node.log.end_offset, f"committed record {record} at {offset} is lost on {node.id}"
            assert node.log.records[offset] == record

    def settle(self) -> None:
        """All nodes run, no message is lost: the logs must become equal and all of it committed."""
        for node in self.nodes.values():
            if not node.running:
                self.start(node)
            elif node.id not in self.controller.now.alive:
                self.unfence(node)
        for _ in range(200):
            for node in self.nodes.values():
                while self.apply_next(node):
                    pass
                self.resend(node)
                self.fetch(node)
            while self.network:
                self.deliver(0, repeat=False)
        for node in self.nodes.values():
            self.read(node)
        logs = [node.log.records for node in self.nodes.values()]
        assert logs[0] == logs[1] == logs[2]
        assert [node.log.high_watermark for node in self.nodes.values()] == [len(logs[0])] * len(REPLICAS)
        assert sorted(self.controller.now.isr) == list(REPLICAS)
