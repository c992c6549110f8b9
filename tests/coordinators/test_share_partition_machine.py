"""A share partition against a dictionary with one entry for each record: fetches, acknowledgements, locks that end,
members that go away, refused writes, restarts, dead letters, compaction and retention."""

from dataclasses import dataclass, replace

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kwire.coordinators.share.acknowledgement import ACCEPT, GAP, REJECT, RELEASE, RENEW, Acknowledgement
from kwire.coordinators.share.acquiring import FetchedBatch
from kwire.coordinators.share.in_flight import Limits
from kwire.coordinators.share.share_partition import SharePartition
from kwire.coordinators.share.state import DeliveryState, combine
from kwire.errors import Code, KafkaError

MEMBERS = ("a", "b", "c")
COUNT_MAX = 4
LOCK_MS = 30
AVAILABLE, ACQUIRED, ACKNOWLEDGED, ARCHIVING, ARCHIVED = DeliveryState
STATE_AFTER = {ACCEPT: ACKNOWLEDGED, RELEASE: AVAILABLE, REJECT: ARCHIVED, GAP: ARCHIVED}

kinds = st.sampled_from([ACCEPT, ACCEPT, RELEASE, REJECT, GAP, RENEW])


@dataclass(frozen=True)
class Expected:
    state: DeliveryState
    count: int
    member: str = ""
    deadline_ms: float = 0


class SharePartitionMachine(RuleBasedStateMachine):
    """``log``: batches as (base, last). ``stored``: what the share coordinator has."""

    @initialize(
        sizes=st.lists(st.integers(1, 6), min_size=1, max_size=12),
        records_max=st.sampled_from([5, 12, 200]),
        dead_letters=st.booleans(),
    )
    def begin(self, sizes, records_max, dead_letters):
        self.limits = Limits(COUNT_MAX, records_max, dead_letters)
        self.log = []
        self.end = 0
        self.log_start = 0
        self.now_ms = 0
        self.append(sizes)
        self.stored_start, self.stored = 0, []
        self.expected: dict[int, Expected] = {}
        self.delivered: set[int] = set()
        self.partition = self.load()

    def load(self):
        return SharePartition(self.stored_start, 0, self.stored, self.limits)

    @rule(sizes=st.lists(st.integers(1, 6), min_size=1, max_size=3))
    def append(self, sizes):
        for size in sizes:
            self.log.append((self.end, self.end + size - 1))
            self.end += size

    # What consumers do

    @rule(
        member=st.sampled_from(MEMBERS),
        max_records=st.integers(1, 15),
        batch_size=st.integers(1, 8),
        strict=st.booleans(),
        batches=st.integers(1, 6),
    )
    def fetch(self, member, max_records, batch_size, strict, batches):
        if not self.partition.can_acquire:
            return
        offset = self.partition.next_fetch_offset
        if offset < self.log_start:
            self.partition.log_start_moved(self.log_start)
            self.expect_log_start_moved()
            return
        read = [FetchedBatch(*each) for each in self.log if each[1] >= offset][:batches]
        self.acquire(offset, read, member, max_records=max_records, batch_size=batch_size, strict=strict)

    def acquire(self, offset, read, member, *, max_records, batch_size, strict):
        deadline_ms = self.now_ms + LOCK_MS
        acquired = self.partition.acquire(
            member,
            read,
            fetch_offset=offset,
            max_records=max_records,
            batch_size=batch_size,
            strict=strict,
            deadline_ms=deadline_ms,
        )
        if read:
            for gone, entry in self.expected.items():
                if offset <= gone < read[0].base_offset and entry.state is AVAILABLE:
                    self.expected[gone] = replace(entry, state=ARCHIVED)
        last = -1
        for each in acquired:
            assert last < each.first_offset <= each.last_offset
            last = each.last_offset
            for record in range(each.first_offset, each.last_offset + 1):
                before = self.expected.get(record, Expected(AVAILABLE, 0))
                assert before.state is AVAILABLE, record
                assert before.count + 1 == each.delivery_count <= COUNT_MAX
                assert record >= self.log_start
                self.expected[record] = Expected(ACQUIRED, before.count + 1, member, deadline_ms)
                self.delivered.add(record)
        if strict:
            assert sum(each.last_offset - each.first_offset + 1 for each in acquired) <= max_records
        # What was read along and not acquired in the strict mode is in flight, and available.
        for first, _, delivery in self.parts():
            if first not in self.expected and delivery.state is AVAILABLE and delivery.count == 0:
                self.expected[first] = Expected(AVAILABLE, 0)
        self.forget_delivered()

    def held_by(self, member):
        return [
            offset
            for offset, each in sorted(self.expected.items())
            if each.state is ACQUIRED and each.member == member and offset >= self.partition.start_offset
        ]

    @rule(
        member=st.sampled_from(MEMBERS), part=st.floats(0, 1), kinds=st.lists(kinds, min_size=1), stored=st.booleans()
    )
    def acknowledge(self, member, part, kinds, stored):
        held = self.held_by(member)
        if not held:
            return
        first = held[int(part * (len(held) - 1))]
        last = first
        while last + 1 in held and last - first < 8:
            last += 1
        types = [kinds[place % len(kinds)] for place in range(last - first + 1)]
        if len(set(types)) == 1:
            types = types[:1]
        each = Acknowledgement(first, last, types)
        change = self.partition.acknowledge(member, [each], renewed_deadline_ms=self.now_ms + LOCK_MS)
        for offset in range(first, last + 1):
            if each.type_of(offset) == RENEW:
                self.expected[offset] = replace(self.expected[offset], deadline_ms=self.now_ms + LOCK_MS)
        if not stored:
            self.partition.roll_back(change)
            return
        self.store(change.batches)
        for offset in range(first, last + 1):
            kind = each.type_of(offset)
            if kind != RENEW:
                rejected = kind == REJECT and self.limits.dead_letters
                self.expect_left(offset, ARCHIVING if rejected else STATE_AFTER[kind])
        self.partition.complete(change)
        self.forget_delivered()

    @rule(member=st.sampled_from(MEMBERS), offset=st.integers(0, 60), length=st.integers(1, 5))
    def acknowledge_what_is_not_held(self, member, offset, length):
        wanted = range(offset, offset + length)
        held = set(self.held_by(member))
        if all(record in held for record in wanted if record >= self.partition.start_offset):
            return
        each = Acknowledgement(offset, offset + length - 1, [ACCEPT])
        try:
            change = self.partition.acknowledge(member, [each], renewed_deadline_ms=0)
        except KafkaError as error:
            code = error.code
        else:
            # Records between runs are not in the log; those that are in flight were all held.
            self.partition.roll_back(change)
            assert all(record in held or record not in self.expected for record in wanted if record >= self.start)
            return
        assert code in (Code.INVALID_RECORD_STATE, Code.INVALID_REQUEST)

    @rule(member=st.sampled_from(MEMBERS), stored=st.booleans())
    def leave(self, member, stored):
        change = self.partition.release(member)
        if not stored:
            self.partition.roll_back(change)
            return
        self.store(change.batches)
        for offset, each in list(self.expected.items()):
            if each.state is ACQUIRED and each.member == member:
                self.expect_left(offset, AVAILABLE if offset >= self.start else ARCHIVED)
        self.partition.complete(change)
        self.forget_delivered()

    @rule(by_ms=st.integers(1, 40))
    def time_passes(self, by_ms):
        self.now_ms += by_ms
        batches = self.partition.expire(self.now_ms)
        for offset, each in list(self.expected.items()):
            if each.state is ACQUIRED and each.deadline_ms <= self.now_ms:
                self.expect_left(offset, AVAILABLE if offset >= self.start else ARCHIVED)
        self.store(batches)
        self.forget_delivered()

    @rule()
    def write_dead_letters(self):
        for letters in self.partition.take_dead_letters():
            self.store(self.partition.archive(letters))
            for offset in range(letters.first_offset, letters.last_offset + 1):
                if offset in self.expected:
                    assert self.expected[offset].state is ARCHIVING
                    assert self.expected[offset].count == letters.delivery_count
                    self.expected[offset] = replace(self.expected[offset], state=ARCHIVED)
        self.forget_delivered()

    # What happens to the log and to the broker

    @rule()
    def restart(self):
        self.partition = self.load()
        covered = {
            offset: Expected(DeliveryState(batch.delivery_state), batch.delivery_count)
            for batch in self.stored
            for offset in range(batch.first_offset, batch.last_offset + 1)
        }
        self.expected = covered
        self.forget_delivered()

    @rule(place=st.integers(0, 20))
    def compact(self, place):
        """Remove a whole batch."""
        if place < len(self.log) - 1:
            del self.log[place]

    @rule(batches=st.integers(1, 2))
    def retain(self, batches):
        if len(self.log) > batches:
            del self.log[:batches]
            self.log_start = self.log[0][0]

    def expect_log_start_moved(self):
        for offset, each in list(self.expected.items()):
            if offset < self.log_start and each.state is AVAILABLE:
                self.expected[offset] = replace(each, state=ARCHIVED)
        self.forget_delivered()

    # Helpers

    @property
    def start(self):
        return self.partition.start_offset

    def parts(self):
        for run in self.partition._window:
            for first, last, delivery in run.parts():
                for offset in range(first, last + 1):
                    yield offset, offset, delivery

    def expect_left(self, offset, state):
        before = self.expected[offset]
        if state is AVAILABLE and before.count >= COUNT_MAX:
            state = ARCHIVING if self.limits.dead_letters else ARCHIVED
        self.expected[offset] = Expected(state, before.count)

    def store(self, batches):
        # The partition sends its start as it is before the change is complete, as Apache Kafka does.
        self.stored_start = max(self.stored_start, self.start)
        self.stored = combine(self.stored, batches, self.stored_start)

    def forget_delivered(self):
        """Forget records below the start, which must all be done with, or not be in the log."""
        start = self.start
        for offset in [offset for offset in self.expected if offset < start]:
            each = self.expected[offset]
            assert each.state.is_final or each.state is ACQUIRED or offset < self.log_start
            if each.state is not ACQUIRED:
                del self.expected[offset]

    @invariant()
    def every_record_in_flight_is_as_expected(self):
        if not hasattr(self, "partition"):
            return
        seen = {}
        for offset, _, delivery in self.parts():
            assert offset not in seen
            seen[offset] = delivery
        for offset, each in self.expected.items():
            if offset < self.start and each.state is ACQUIRED and offset not in seen:
                continue
            found = seen[offset]
            assert (found.state, found.count, found.member_id) == (each.state, each.count, each.member)
            assert found.before is None

    @invariant()
    def no_record_of_the_log_is_lost(self):
        """A record below the start, or behind all that is in flight, was delivered or removed from the log."""
        if not hasattr(self, "partition"):
            return
        for base, last in self.log:
            for offset in range(max(base, self.log_start), last + 1):
                if offset < self.start:
                    assert offset in self.delivered, offset

    @invariant()
    def no_more_is_in_flight_than_allowed(self):
        if not hasattr(self, "partition"):
            return
        batch_max = 6
        assert self.partition._window.record_count <= self.limits.records_max + batch_max + self.holes()

    def holes(self):
        return max(0, self.end - sum(last - base + 1 for base, last in self.log))

    def teardown(self):
        """In the end one patient member gets all that is left, and everything is done with."""
        if not hasattr(self, "partition"):
            return
        self.now_ms += 2 * LOCK_MS
        self.store(self.partition.expire(self.now_ms))
        for _ in range(3 * self.end + 10):
            # Records whose dead letters are not written count as in flight, and may leave no room for others.
            for letters in self.partition.take_dead_letters():
                self.store(self.partition.archive(letters))
            offset = self.partition.next_fetch_offset
            if offset >= self.end:
                break
            if offset < self.log_start:
                self.partition.log_start_moved(self.log_start)
                continue
            read = [FetchedBatch(*each) for each in self.log if each[1] >= offset]
            acquired = self.partition.acquire(
                "z", read, fetch_offset=offset, max_records=100, batch_size=9, strict=False, deadline_ms=self.now_ms + 1
            )
            self.delivered.update(
                record for each in acquired for record in range(each.first_offset, each.last_offset + 1)
            )
            for each in acquired:
                accept = Acknowledgement(each.first_offset, each.last_offset, [ACCEPT])
                change = self.partition.acknowledge("z", [accept], renewed_deadline_ms=0)
                self.store(change.batches)
                self.partition.complete(change)
        assert self.partition.next_fetch_offset >= self.end
        for letters in self.partition.take_dead_letters():
            self.store(self.partition.archive(letters))
        assert not any(delivery.state is ARCHIVING for _, _, delivery in self.parts())
        missing = [
            offset
            for base, last in self.log
            for offset in range(max(base, self.log_start), last + 1)
            if offset not in self.delivered
        ]
        assert missing == []


TestSharePartition = SharePartitionMachine.TestCase
