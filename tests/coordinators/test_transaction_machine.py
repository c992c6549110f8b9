"""The transaction coordinator under random commands, restarts and failing, slow and lost appends.

Producers are drawn from all stamps that were ever given out, so that many of them are fenced. Markers are written when
a rule says so, and an action may come twice, as after a restart.
"""

from collections import Counter

from effort import examples
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule
from playback_machine import PlaybackMachine
from test_transaction_transcripts import Stage, stamp

from kwire.coordinators.machine import MetadataChange, ProducerStamp
from kwire.coordinators.transaction.commands import (
    EndTransaction,
    InitProducerId,
    TransactionConfig,
    TransactionFilter,
    WriteMarkers,
)
from kwire.coordinators.transaction.coordinator import TRANSACTION_VERSION
from kwire.coordinators.transaction.records import transaction_record
from kwire.coordinators.transaction.transaction import EPOCH_MAX, State, Transaction
from kwire.types import TopicPartition

IDS = st.sampled_from(["a", "b", "c"])
WHICH = st.integers(0, 8)  # how many stamps ago
PARTITIONS = st.frozensets(st.integers(0, 2).map(lambda index: TopicPartition("t", index)), min_size=1)
VERSIONS = st.sampled_from([0, 2])
ALL = TransactionFilter()
WEEK_MS = 7 * 24 * 3_600_000
# Long, so that a week of checks takes milliseconds, even when each of them is refused.
ABORT_INTERVAL_MS = 1_800_000
UNRESTRICTED_MS = 2**31 - 1


class RecordingStage(Stage):
    """Keeps the markers that were asked for, in order."""

    def __init__(self, *args):
        self.to_write = []
        super().__init__(*args)

    def run_transaction_action(self, action):
        if isinstance(action, WriteMarkers):
            self.to_write.append(action)
        super().run_transaction_action(action)


class TransactionMachine(PlaybackMachine):
    @initialize(level=st.sampled_from([0, 1, 2]))
    def start(self, level):
        config = TransactionConfig(abort_interval_ms=ABORT_INTERVAL_MS, expire_interval_ms=3_600_000)
        self.playback = RecordingStage(config, level)
        self.stamps = [stamp("1000:0")]
        self.asked = set()

    def producer(self, which):
        return self.stamps[-1 - which % len(self.stamps)]

    def run(self, command):
        self.asked.add(self.playback.ticket_ahead())
        self.playback.run(command)
        for transaction in self.machine.transactions.values():
            current = ProducerStamp(transaction.producer_id, transaction.producer_epoch)
            if current != self.stamps[-1]:
                self.stamps.append(current)

    # Commands

    @rule(name=IDS, timeout_ms=st.sampled_from([500, 60_000]), which=st.none() | WHICH)
    def init_producer_id(self, name, timeout_ms, which):
        expected = None if which is None else self.producer(which)
        command = InitProducerId(name, timeout_ms, expected)

        def init(*, ticket, now_ms):
            spare_id = self.playback.spare(self.machine.lacks_producer_id(command))
            return self.machine.init_producer_id(command, spare_id=spare_id, ticket=ticket, now_ms=now_ms)

        self.run(init)

    @rule(name=IDS, which=WHICH, partitions=PARTITIONS, version=VERSIONS)
    def add_partitions(self, name, which, partitions, version):
        self.run(
            lambda ticket, now_ms: self.machine.add_partitions(
                name, self.producer(which), partitions, client_version=version, ticket=ticket, now_ms=now_ms
            )
        )

    @rule(name=IDS, which=WHICH, commit=st.booleans(), version=VERSIONS)
    def end(self, name, which, commit, version):
        command = EndTransaction(name, self.producer(which), commit, version)

        def end(*, ticket, now_ms):
            spare_id = self.playback.spare(self.machine.is_epoch_exhausted(name))
            return self.machine.end(command, spare_id=spare_id, ticket=ticket, now_ms=now_ms)

        self.run(end)

    @rule(name=IDS, version=VERSIONS, partitions=PARTITIONS, commit=st.booleans())
    def a_whole_transaction(self, name, version, partitions, commit):
        """What a client does if nothing fails."""
        self.init_producer_id(name, 60_000, None)
        self.write_all_markers()
        self.init_producer_id(name, 60_000, None)
        found = self.machine.transactions.get(name)
        if found is None:
            return
        self.stamps.append(ProducerStamp(found.producer_id, found.producer_epoch))
        self.add_partitions(name, 0, partitions, version)
        self.end(name, 0, commit, version)

    @rule()
    def write_all_markers(self):
        for action in list(self.playback.to_write):
            self.playback.apply(lambda machine, now_ms, name=action.transactional_id: machine.complete(name, now_ms))
        self.playback.to_write = [
            action
            for action in self.playback.to_write
            if (found := self.machine.transactions.get(action.transactional_id)) is not None
            and found.state in {State.PREPARE_COMMIT, State.PREPARE_ABORT}
        ]

    @rule(name=IDS, epoch=st.sampled_from([EPOCH_MAX - 1, EPOCH_MAX - 2]), state=st.sampled_from(["EMPTY", "ONGOING"]))
    def another_broker_wrote(self, name, epoch, state):
        """A long history: the epochs of the producer id are nearly exhausted."""
        if name in self.machine.transactions or self.playback.is_held:
            return
        written = Transaction(
            next(self.playback.ids),
            epoch,
            timeout_ms=60_000,
            state=State[state],
            start_ms=self.playback.now_ms,
            update_ms=self.playback.now_ms,
            partitions=frozenset({TopicPartition("t", 0)}) if state == "ONGOING" else frozenset(),
        )
        self.playback.append_foreign(transaction_record(name, written, self.playback.level))
        self.playback.restart()
        self.asked = set()
        self.playback.lines = []
        self.stamps.append(ProducerStamp(written.producer_id, written.producer_epoch))

    # What happens to it

    @rule(by_ms=st.sampled_from([1, 1000, 60_000, ABORT_INTERVAL_MS, WEEK_MS]))
    def advance(self, by_ms):
        self.playback.advance(by_ms)

    def clients_are_disconnected(self):
        self.playback.to_write = []
        self.asked = set()
        self.playback.lines = []

    @rule(level=st.sampled_from([0, 1, 2]))
    def change_transaction_version(self, level):
        """Records of level 0 cannot hold what a newer client left behind, so the level is lowered only when idle."""
        idle = {State.EMPTY, State.COMPLETE_COMMIT, State.COMPLETE_ABORT}
        if any(each.state not in idle or each.client_version for each in self.machine.transactions.values()):
            return
        self.playback.level = self.playback.metadata.features[TRANSACTION_VERSION] = level
        self.playback.change_metadata(MetadataChange(features={TRANSACTION_VERSION: level}))

    @rule()
    def all_clients_stop(self):
        """No request waits forever, no transaction stays open, and at last no id is kept."""
        self.playback.fail_appends = None
        self.playback.release()
        for _ in range(2):
            self.playback.advance(60_000 + 2 * ABORT_INTERVAL_MS)
            self.write_all_markers()
        answered = Counter(line.split()[0] for line in self.playback.lines if line.startswith("#"))
        assert answered == Counter(f"#{ticket}" for ticket in self.asked)
        open_states = {State.ONGOING, State.PREPARE_COMMIT, State.PREPARE_ABORT}
        assert not [each for each in self.machine.transactions.values() if each.state in open_states]
        self.playback.advance(2 * WEEK_MS)
        assert not self.machine.transactions
        assert not self.machine.previous

    # What always holds

    @invariant()
    def no_request_is_answered_twice(self):
        answered = Counter(line.split()[0] for line in self.playback.lines if line.startswith("#"))
        assert not [ticket for ticket, count in answered.items() if count > 1]

    @invariant()
    def open_transactions_have_a_timer(self):
        deadline_ms = min((due for key, due in self.playback.timers.items() if key[0] == "overdue"), default=None)
        for each in self.machine.transactions.values():
            if each.state is State.ONGOING and each.timeout_ms != UNRESTRICTED_MS:
                assert deadline_ms is not None

    @invariant()
    def decided_transactions_have_markers_to_write(self):
        """A held decision asks for its markers once it is committed."""
        asked = {action.transactional_id for action in self.playback.to_write}
        for name, each in self.machine.transactions.items():
            if each.state in {State.PREPARE_COMMIT, State.PREPARE_ABORT} and not self.playback.is_held:
                assert name in asked

    @invariant()
    def questions_are_answered_from_what_is_committed(self):
        committed = self.playback.replayed_committed()
        now_ms = self.playback.now_ms
        found, kept = (sorted(filter(None, one.list(ALL, now_ms))) for one in (self.machine, committed))
        assert found == kept
        for each in found:
            assert self.machine.describe(each.transactional_id) == committed.describe(each.transactional_id)


TestTransactionMachine = TransactionMachine.TestCase
TestTransactionMachine.settings = settings(max_examples=examples(100), stateful_step_count=40, deadline=None)
