"""One classic group in memory: its members, its state, and what they imply.

Owns: ``ClassicGroup`` and ``Member``, the soft side of a group, and the invariants between their fields. May not know:
commands, replies, timers and records (``classic.py`` decides those).

The states, and what moves a group between them:

    Empty ──join──► PreparingRebalance ──all joined, or time is up──► CompletingRebalance ──leader's sync──► Stable
      ▲                    │   ▲                                            │                                  │
      └── nobody is left ──┘   └────────── join, leave, expiry ─────────────┴──────────────────────────────────┘

What outlives a restart is the last ``GroupMetadataValue`` in the log, written when a group becomes Stable or Empty: a
group that is rebalancing when the broker stops wakes up as it was before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from enum import Enum

from kwire.coordinators.group.commands import Protocols
from kwire.coordinators.group.subscription import subscribed_topics
from kwire.coordinators.machine import java_hash_map_order
from kwire.errors import Code, KafkaError
from kwire.wire.messages import GroupMetadataValue

CONSUMER_PROTOCOL = "consumer"


class State(Enum):
    """Kafka's names, as DescribeGroups and ListGroups print them."""

    EMPTY = "Empty"
    PREPARING_REBALANCE = "PreparingRebalance"
    COMPLETING_REBALANCE = "CompletingRebalance"
    STABLE = "Stable"
    DEAD = "Dead"


_MAY_REBALANCE = frozenset({State.EMPTY, State.COMPLETING_REBALANCE, State.STABLE})


@dataclass(slots=True)
class Member:
    """A member of a classic group.

    ``join_ticket`` and ``sync_ticket`` are the parked requests. ``session_deadline_ms`` moves with every heartbeat;
    ``timer_deadline_ms`` is when the timer that looks at it will fire, at or before it: so heartbeats set no timers.
    ``is_new``: he has not yet been told his first generation, so nothing but his join shows that he lives.
    """

    member_id: str
    group_instance_id: str | None
    client_id: str
    client_host: str
    rebalance_timeout_ms: int
    session_timeout_ms: int
    protocols: Protocols
    assignment: bytes = b""
    is_new: bool = False
    join_ticket: int | None = None
    sync_ticket: int | None = None
    session_deadline_ms: int = 0
    timer_deadline_ms: int | None = None

    @property
    def is_static(self) -> bool:
        return self.group_instance_id is not None

    @property
    def proves_alive(self) -> bool:
        """Whether a parked request speaks for the member, who cannot send heartbeats meanwhile."""
        return not self.is_new and (self.join_ticket is not None or self.sync_ticket is not None)

    def touch(self, now_ms: int) -> None:
        """He has shown that he lives. His timer, which fires at or before this deadline, will see it."""
        # A newcomer has longer than a session, which he does not lose by a heartbeat.
        self.session_deadline_ms = max(self.session_deadline_ms, now_ms + self.session_timeout_ms)

    def metadata(self, protocol_name: str | None) -> bytes:
        for name, metadata in self.protocols:
            if name == protocol_name:
                return metadata
        raise AssertionError(f"member {self.member_id} does not speak the protocol {protocol_name} of its group")

    def vote(self, candidates: frozenset[str]) -> str:
        """The first of its protocols that all members support; ``candidates`` must hold one of them."""
        return next(name for name, _ in self.protocols if name in candidates)

    @property
    def protocol_names(self) -> frozenset[str]:
        """Each name once: a client may send a name twice, and the request does not forbid it."""
        return frozenset(name for name, _ in self.protocols)


@dataclass(slots=True)
class ClassicGroup:
    """A group as its coordinator sees it now. ``members`` keeps the order of joining; the first is the next leader."""

    group_id: str
    state: State = State.EMPTY
    previous_state: State = State.DEAD
    state_since_ms: int = -1
    generation_id: int = 0
    protocol_type: str | None = None
    protocol_name: str | None = None
    leader_id: str | None = None
    members: dict[str, Member] = field(default_factory=dict)
    static_members: dict[str, str] = field(default_factory=dict)
    # Ids given out under KIP-394 that have not come back yet, each with the time when it is forgotten.
    pending_joins: dict[str, int] = field(default_factory=dict)
    # Who has been told the generation and has not asked for his assignment yet.
    pending_syncs: set[str] = field(default_factory=set)
    # None: cannot be told from what the members sent.
    topics: frozenset[str] | None = None
    # A further member came during the initial rebalance delay.
    newcomer_in_delay: bool = False
    # The last initial delay and how much time for further ones remains.
    initial_delay_ms: int = 0
    initial_remaining_ms: int = 0
    _awaiting_join: int = 0
    _speakers: Counter[str] = field(default_factory=Counter)

    @classmethod
    def from_record(cls, group_id: str, value: GroupMetadataValue) -> ClassicGroup:
        """The group as its last record left it."""
        group = cls(
            group_id,
            state=State.STABLE if value.members else State.EMPTY,
            state_since_ms=value.current_state_timestamp,
            generation_id=value.generation,
            protocol_type=value.protocol_type or None,
            protocol_name=value.protocol if value.members else value.protocol or None,
            leader_id=value.leader or None,
        )
        for stored in value.members:
            rebalance_timeout_ms = stored.rebalance_timeout
            member = Member(
                stored.member_id,
                stored.group_instance_id,
                stored.client_id,
                stored.client_host,
                rebalance_timeout_ms=stored.session_timeout if rebalance_timeout_ms == -1 else rebalance_timeout_ms,
                session_timeout_ms=stored.session_timeout,
                protocols=((value.protocol or "", stored.subscription),),
                assignment=stored.assignment,
            )
            group.add(member, protocol_type=value.protocol_type)
        group.topics = group._subscribed_topics()
        return group

    def to_record(self, assignments: dict[str, bytes]) -> GroupMetadataValue:
        """What the log keeps of this generation, with these assignments."""
        return GroupMetadataValue(
            protocol_type=self.protocol_type or "",
            generation=self.generation_id,
            protocol=self.protocol_name,
            leader=self.leader_id,
            current_state_timestamp=self.state_since_ms,
            members=[
                GroupMetadataValue.MemberMetadata(
                    member_id=member.member_id,
                    group_instance_id=member.group_instance_id,
                    client_id=member.client_id,
                    client_host=member.client_host,
                    rebalance_timeout=member.rebalance_timeout_ms,
                    session_timeout=member.session_timeout_ms,
                    subscription=member.metadata(self.protocol_name),
                    assignment=assignments.get(member.member_id, b""),
                )
                for member in self.members.values()
            ],
        )

    # Who is who

    def member(self, member_id: str, group_instance_id: str | None) -> Member:
        """The member who says he is this one. KafkaError(UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID)."""
        if group_instance_id is not None:
            current = self.static_members.get(group_instance_id)
            if current is None:
                raise KafkaError(Code.UNKNOWN_MEMBER_ID)
            if current != member_id:
                raise KafkaError(Code.FENCED_INSTANCE_ID)
        member = self.members.get(member_id)
        if member is None:
            raise KafkaError(Code.UNKNOWN_MEMBER_ID)
        return member

    def is_leader(self, member_id: str) -> bool:
        return self.leader_id == member_id

    def joining(self) -> Iterator[Member]:
        """The members whose JoinGroup is parked."""
        return (member for member in self.members.values() if member.join_ticket is not None)

    @property
    def all_joined(self) -> bool:
        return not self.pending_joins and self._awaiting_join == len(self.members)

    @property
    def joining_count(self) -> int:
        return self._awaiting_join

    @property
    def rebalance_timeout_ms(self) -> int:
        """As long as the slowest member asks for."""
        return max((member.rebalance_timeout_ms for member in self.members.values()), default=0)

    @property
    def is_consumer_group(self) -> bool:
        return self.protocol_type == CONSUMER_PROTOCOL

    def subscribes_to(self, topic: str) -> bool:
        """Whether a member reads ``topic``; while that cannot be known, yes for any group of consumers."""
        return self.is_consumer_group if self.topics is None else topic in self.topics

    # Coming and going

    def add(self, member: Member, *, protocol_type: str) -> None:
        assert member.group_instance_id not in self.static_members
        if not self.members:
            self.protocol_type = protocol_type
        if member.group_instance_id is not None:
            self.static_members[member.group_instance_id] = member.member_id
        if self.leader_id is None:
            self.leader_id = member.member_id
        self.members[member.member_id] = member
        self._speakers.update(member.protocol_names)
        if member.join_ticket is not None:
            self._awaiting_join += 1
        self.pending_joins.pop(member.member_id, None)

    def remove(self, member_id: str) -> None:
        """Forget a member or a pending one; the leader's place goes to the first who is left."""
        member = self.members.pop(member_id, None)
        if member is not None:
            self._speakers.subtract(member.protocol_names)
            if member.join_ticket is not None:
                self._awaiting_join -= 1
            if member.group_instance_id is not None:
                del self.static_members[member.group_instance_id]
        if self.leader_id == member_id:
            self.leader_id = next(iter(self.members), None)
        self.pending_joins.pop(member_id, None)
        self.pending_syncs.discard(member_id)

    def replace_static(self, old_id: str, new_id: str) -> Member:
        """The static member behind ``old_id``, who waits for nothing now, came back: give him ``new_id``."""
        old = self.members[old_id]
        assert old.group_instance_id is not None
        assert old.join_ticket is None and old.sync_ticket is None  # noqa: PT018
        new = Member(
            new_id,
            old.group_instance_id,
            old.client_id,
            old.client_host,
            old.rebalance_timeout_ms,
            old.session_timeout_ms,
            old.protocols,
            old.assignment,
        )
        # He keeps his place in the order, so that the leader's place and the order in records stay.
        self.members = {
            new_id if member_id == old_id else member_id: new if member_id == old_id else member
            for member_id, member in self.members.items()
        }
        if self.leader_id == old_id:
            self.leader_id = new_id
        self.static_members[old.group_instance_id] = new_id
        return new

    def update(self, member: Member, protocols: Protocols, rebalance_timeout_ms: int, session_timeout_ms: int) -> None:
        self._speakers.subtract(member.protocol_names)
        member.protocols = protocols
        self._speakers.update(member.protocol_names)
        member.rebalance_timeout_ms = rebalance_timeout_ms
        member.session_timeout_ms = session_timeout_ms

    def park_join(self, member: Member, ticket: int | None) -> int | None:
        """Put ``ticket`` in the place of the member's parked JoinGroup; returns the one that was there."""
        parked, member.join_ticket = member.join_ticket, ticket
        self._awaiting_join += (ticket is not None) - (parked is not None)
        return parked

    def clock_stepped(self, by_ms: int) -> None:
        """The clock was set: sessions last as long as before."""
        for member in self.members.values():
            member.session_deadline_ms += by_ms
            if member.timer_deadline_ms is not None:
                member.timer_deadline_ms += by_ms
        self.pending_joins = {member_id: until_ms + by_ms for member_id, until_ms in self.pending_joins.items()}

    # State

    @property
    def may_rebalance(self) -> bool:
        return self.state in _MAY_REBALANCE

    def enter(self, state: State, now_ms: int) -> None:
        self.previous_state, self.state, self.state_since_ms = self.state, state, now_ms

    def next_generation(self, now_ms: int) -> None:
        """The join phase is over: those who are here now are the members."""
        self.generation_id += 1
        self.protocol_name = self.select_protocol() if self.members else None
        self.topics = self._subscribed_topics()
        self.enter(State.COMPLETING_REBALANCE if self.members else State.EMPTY, now_ms)
        self.pending_syncs.clear()

    def elect_joined_leader(self) -> bool:
        """Make sure that the leader is one who has joined this round; False when nobody has."""
        if self.leader_id is None:
            return False
        if self.members[self.leader_id].join_ticket is not None:
            return True
        successor = next(self.joining(), None)
        if successor is None:
            return False
        self.leader_id = successor.member_id
        return True

    def supports(self, protocol_type: str, protocol_names: Collection[str]) -> bool:
        """Whether one who speaks these protocols can be a member beside the others."""
        if self.state is State.EMPTY:
            return bool(protocol_type and protocol_names)
        return self.protocol_type == protocol_type and any(
            self._speakers[name] == len(self.members) for name in protocol_names
        )

    def select_protocol(self) -> str:
        """The protocol with the most votes among those that all members support; one vote a member.

        Of protocols with equally many votes Kafka takes the first in the order of a Java HashMap; so do we, because
        the result is what the clients of a mixed group use.
        """
        candidates = frozenset(name for name, count in self._speakers.items() if count == len(self.members))
        votes = Counter(member.vote(candidates) for member in self.members.values())
        most = max(votes.values())
        return next(name for name in java_hash_map_order(votes) if votes[name] == most)

    def _subscribed_topics(self) -> frozenset[str] | None:
        if not self.is_consumer_group:
            return None
        if not self.members:
            return frozenset()
        if self.protocol_name is None:
            return None
        return subscribed_topics(member.metadata(self.protocol_name) for member in self.members.values())
