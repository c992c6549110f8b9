"""One classic group in memory: its members and its state.

Responsible for: ``ClassicGroup`` and ``Member``, the soft state of a group, and the invariants between their fields.
Must not depend on: commands, replies and timers (``groups.py`` and ``rebalance.py``).

The states, and what moves a group between them:

    Empty ──join──► PreparingRebalance ──all joined, or timeout─────► CompletingRebalance ──leader's sync──► Stable
      ▲                    │   ▲                                            │                                  │
      └─ no member left ───┘   └────────── join, leave, expiry ─────────────┴──────────────────────────────────┘

A restart keeps the last ``GroupMetadataValue`` in the log, written when a group becomes Stable or Empty: a group that
is rebalancing when the broker stops has its state from before the rebalance afterwards.
"""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from enum import Enum

from kwire.coordinators.group.classic.subscription import subscribed_topics
from kwire.coordinators.group.commands import CommitOffsets, DescribedGroup, DescribedMember, ListedGroup, Protocols
from kwire.coordinators.group.group import Retention
from kwire.coordinators.group.records import group_record
from kwire.coordinators.java_order import hash_map_order, string_hash
from kwire.coordinators.machine import Record
from kwire.coordinators.scala_order import scala_map_order
from kwire.errors import Code, KafkaError
from kwire.wire.messages import GroupMetadataValue

KIND = "classic"
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
    ``timer_deadline_ms`` is when the session timer will fire, at or before it: so heartbeats set no timers. ``is_new``:
    it has not received its first generation yet, so only its parked JoinGroup shows that it is alive.
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
    def is_kept_alive(self) -> bool:
        """Whether a parked request shows that the member is alive; it sends no heartbeats until the answer."""
        return not self.is_new and (self.join_ticket is not None or self.sync_ticket is not None)

    def copy(self) -> "Member":
        # Written out, as dataclasses.replace takes five times as long, and a group has many members.
        return Member(
            self.member_id,
            self.group_instance_id,
            self.client_id,
            self.client_host,
            self.rebalance_timeout_ms,
            self.session_timeout_ms,
            self.protocols,
            self.assignment,
            self.is_new,
            self.join_ticket,
            self.sync_ticket,
            self.session_deadline_ms,
            self.timer_deadline_ms,
        )

    def touch(self, now_ms: int) -> None:
        """The member sent a request: extend its session. The session timer fires at or before the new deadline."""
        # A new member has a longer deadline than a session, which a heartbeat must not shorten.
        self.session_deadline_ms = max(self.session_deadline_ms, now_ms + self.session_timeout_ms)

    def metadata(self, protocol_name: str | None) -> bytes:
        for name, metadata in self.protocols:
            if name == protocol_name:
                return metadata
        raise AssertionError(f"member {self.member_id} does not support the protocol {protocol_name} of its group")

    def vote(self, candidates: frozenset[str]) -> str:
        """The first of its protocols that all members support; ``candidates`` must hold one of them."""
        return next(name for name, _ in self.protocols if name in candidates)

    @property
    def protocol_names(self) -> frozenset[str]:
        """Each name once: a client may send a name twice, and the request does not forbid it."""
        return frozenset(name for name, _ in self.protocols)


@dataclass(slots=True)
class ClassicGroup:
    """A ``Group``, as commands see it. ``members`` keeps the order of joining; the first is the next leader."""

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
    # Pending members (KIP-394): ids whose second JoinGroup is awaited, each with its deadline.
    pending_joins: dict[str, int] = field(default_factory=dict)
    # Members that know the generation and have not sent SyncGroup yet.
    pending_syncs: set[str] = field(default_factory=set)
    # The subscribed topics; None: the metadata of the members does not say.
    topics: frozenset[str] | None = None
    # Another member joined during the initial rebalance delay.
    joined_in_delay: bool = False
    # The last initial delay and how much time for further ones remains.
    initial_delay_ms: int = 0
    initial_remaining_ms: int = 0
    _joining_count: int = 0
    _supporter_counts: Counter[str] = field(default_factory=Counter)
    # The members of which no copy of this group has the same object: see ``change``.
    _unshared: set[str] = field(default_factory=set)

    @classmethod
    def from_record(cls, group_id: str, value: GroupMetadataValue) -> "ClassicGroup":
        """The group of its last record."""
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
        """The record's value for this generation, with these assignments."""
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

    def copy(self) -> "ClassicGroup":
        """A copy that shares its members with this group until ``change``."""
        self._unshared.clear()
        return replace(
            self,
            members=dict(self.members),
            static_members=dict(self.static_members),
            pending_joins=dict(self.pending_joins),
            pending_syncs=set(self.pending_syncs),
            _supporter_counts=Counter(self._supporter_counts),
            _unshared=set(),
        )

    def change(self, member: Member) -> Member:
        """The object of a member that may be changed: a new one in its place if a copy of the group shares it.

        Only ``Member.touch`` needs no such call, because no copy needs the old deadline.
        """
        member_id = member.member_id
        if member_id in self._unshared:
            return self.members[member_id]
        self._unshared.add(member_id)
        changed = self.members[member_id] = self.members[member_id].copy()
        return changed

    def change_all(self) -> list[Member]:
        """All members, as with ``change``."""
        return [self.change(member) for member in list(self.members.values())]

    # The interface ``Group``

    @property
    def kind(self) -> str:
        return KIND

    @property
    def is_empty(self) -> bool:
        return self.state is State.EMPTY

    @property
    def may_expire(self) -> bool:
        return self.state is State.EMPTY and not self.pending_joins

    @property
    def empty_since_ms(self) -> int:
        """When the group entered its state, in ms since the epoch: read only while it is empty."""
        return self.state_since_ms

    @property
    def retention(self) -> Retention:
        if self.protocol_type is None:
            return Retention.SINCE_COMMIT
        if self.state is State.EMPTY:
            return Retention.SINCE_EMPTY
        knows_topics = self.is_consumer_group and self.topics is not None
        return Retention.SINCE_COMMIT if self.state is State.STABLE and knows_topics else Retention.NONE

    def check_commit(self, command: CommitOffsets, now_ms: int) -> None:
        if command.generation_id < 0 and self.state is State.EMPTY:
            # The admin client, or a consumer that assigns partitions to itself.
            return
        member = self.member(command.member_id, command.group_instance_id)
        if command.generation_id != self.generation_id:
            raise KafkaError(Code.ILLEGAL_GENERATION)
        if self.state is State.COMPLETING_REBALANCE:
            # The member knows the generation, so it has just joined, and must sync before it commits.
            raise KafkaError(Code.REBALANCE_IN_PROGRESS)
        member.touch(now_ms)

    def check_transactional_commit(self, command: CommitOffsets) -> None:
        if command.generation_id < 0 and self.state is State.EMPTY:
            return
        if command.generation_id >= 0 or command.member_id or command.group_instance_id is not None:
            self.member(command.member_id, command.group_instance_id)
            if command.generation_id != self.generation_id:
                raise KafkaError(Code.ILLEGAL_GENERATION)

    def check_offset_delete(self) -> None:
        if self.state is not State.EMPTY and not self.is_consumer_group:
            raise KafkaError(Code.NON_EMPTY_GROUP)

    def check_fetch(self, member_id: str | None, member_epoch: int) -> None:
        """Any client may read the offsets of a classic group."""

    def subscribes_to(self, topic: str) -> bool:
        return self.is_consumer_group if self.topics is None else topic in self.topics

    def listed(self) -> ListedGroup:
        return ListedGroup(self.group_id, self.protocol_type or "", self.state.value, KIND)

    def described(self) -> DescribedGroup:
        is_stable = self.state is State.STABLE
        return DescribedGroup(
            self.group_id,
            self.state.value,
            self.protocol_type or "",
            (self.protocol_name or "") if is_stable else "",
            tuple(
                DescribedMember(
                    each.member_id,
                    each.group_instance_id,
                    each.client_id,
                    each.client_host,
                    each.metadata(self.protocol_name) if is_stable else b"",
                    each.assignment,
                )
                for each in self.members.values()
            ),
        )

    def tombstones(self) -> list[Record]:
        return [group_record(self.group_id, None)]

    # Members

    def member(self, member_id: str, group_instance_id: str | None) -> Member:
        """The member with these ids. KafkaError(UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID)."""
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
        return not self.pending_joins and self._joining_count == len(self.members)

    @property
    def joining_count(self) -> int:
        """How many members have a parked JoinGroup."""
        return self._joining_count

    @property
    def rebalance_timeout_ms(self) -> int:
        """The largest of the members."""
        return max((member.rebalance_timeout_ms for member in self.members.values()), default=0)

    @property
    def is_consumer_group(self) -> bool:
        return self.protocol_type == CONSUMER_PROTOCOL

    # Adding and removing members

    def add(self, member: Member, *, protocol_type: str) -> None:
        assert member.group_instance_id not in self.static_members
        if not self.members:
            self.protocol_type = protocol_type
        if member.group_instance_id is not None:
            self.static_members[member.group_instance_id] = member.member_id
        if self.leader_id is None:
            self.leader_id = member.member_id
        self.members[member.member_id] = member
        self._unshared.add(member.member_id)
        self._supporter_counts.update(member.protocol_names)
        if member.join_ticket is not None:
            self._joining_count += 1
        self.pending_joins.pop(member.member_id, None)

    def remove(self, member_id: str) -> None:
        """Remove a member or a pending one; if it was the leader, the first of the others becomes leader."""
        member = self.members.pop(member_id, None)
        self._unshared.discard(member_id)
        if member is not None:
            self._supporter_counts.subtract(member.protocol_names)
            if member.join_ticket is not None:
                self._joining_count -= 1
            if member.group_instance_id is not None:
                del self.static_members[member.group_instance_id]
        if self.leader_id == member_id:
            self.leader_id = next(iter(self.members), None)
        self.pending_joins.pop(member_id, None)
        self.pending_syncs.discard(member_id)

    def replace_static(self, old_id: str, new_id: str) -> Member:
        """A static member joined again without its member id: it has ``new_id`` from now on. No request is parked."""
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
        # It keeps its place in the order, so that the next leader and the order in records stay.
        self.members = {
            new_id if member_id == old_id else member_id: new if member_id == old_id else member
            for member_id, member in self.members.items()
        }
        self._unshared.discard(old_id)
        self._unshared.add(new_id)
        if self.leader_id == old_id:
            self.leader_id = new_id
        self.static_members[old.group_instance_id] = new_id
        return new

    def update(self, member: Member, protocols: Protocols, rebalance_timeout_ms: int, session_timeout_ms: int) -> None:
        self._supporter_counts.subtract(member.protocol_names)
        member.protocols = protocols
        self._supporter_counts.update(member.protocol_names)
        member.rebalance_timeout_ms = rebalance_timeout_ms
        member.session_timeout_ms = session_timeout_ms

    def park_join(self, member: Member, ticket: int | None) -> int | None:
        """Replace the ticket of the member's parked JoinGroup; returns the one before."""
        parked, member.join_ticket = member.join_ticket, ticket
        self._joining_count += (ticket is not None) - (parked is not None)
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

    def next_generation(self, now_ms: int, *, scala_votes: bool = False) -> None:
        """The join phase is over: the generation consists of the present members."""
        self.generation_id += 1
        self.protocol_name = self.select_protocol(scala_votes=scala_votes) if self.members else None
        self.topics = self._subscribed_topics()
        self.enter(State.COMPLETING_REBALANCE if self.members else State.EMPTY, now_ms)
        self.pending_syncs.clear()

    def elect_joined_leader(self) -> bool:
        """Make a member leader that has joined this rebalance, the leader itself if it has; False if none has."""
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
        """Whether a member with these protocols can join the current members."""
        if self.state is State.EMPTY:
            return bool(protocol_type and protocol_names)
        return self.protocol_type == protocol_type and any(
            self._supporter_counts[name] == len(self.members) for name in protocol_names
        )

    def select_protocol(self, *, scala_votes: bool = False) -> str:
        """The protocol with the most votes among those that all members support; one vote a member.

        Of protocols with equally many votes Kafka takes the first in the order of a Java HashMap; so do we, because
        clients of a group with different protocols depend on the choice. Among names of one bucket of that map it
        depends on the random ids of the members; here it is that of the first member. ``scala_votes``: the first in the
        order of a Scala map, as before 4.0.
        """
        candidates = frozenset(name for name, count in self._supporter_counts.items() if count == len(self.members))
        votes = Counter(member.vote(candidates) for member in self.members.values())
        most = max(votes.values())
        names = scala_map_order(votes) if scala_votes else hash_map_order(votes, string_hash)
        return next(name for name in names if votes[name] == most)

    def _subscribed_topics(self) -> frozenset[str] | None:
        if not self.is_consumer_group:
            return None
        if not self.members:
            return frozenset()
        if self.protocol_name is None:
            return None
        return subscribed_topics(member.metadata(self.protocol_name) for member in self.members.values())
