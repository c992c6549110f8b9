"""A compacted log does what a dict does, whatever is cleaned when, and whatever is interrupted.

The model is the list of all writes ever made. From it follows the table that a read_committed reader of the whole log
must end with; a second reader, which reads parts while the log is cleaned, must end with the same.
"""

from __future__ import annotations

import contextlib
import itertools
import random

import pytest
from effort import examples
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from log_batches import NOW, append, append_marker, marker

from kwire.storage.compaction.compaction import Compaction, cleanable_part
from kwire.storage.config import FOREVER, LogConfig
from kwire.storage.log import Log
from kwire.testing.memory.files import MemoryFiles
from kwire.wire.batches.batch import read_batch_header, read_end_marker
from kwire.wire.batches.compression import Codec
from kwire.wire.batches.records import Record, build_batch, read_records

PATH = "data/kv-0"
TRANSACTIONAL = (7, 8)
IDEMPOTENT = 5


class Crash(Exception):
    """The process ends here."""


class Reader:
    """A consumer with isolation.level=read_committed that takes the log for a table."""

    def __init__(self) -> None:
        self.offset = 0
        self.table: dict[bytes, bytes] = {}

    def read_on(self, log: Log, batch_count: int | None = None) -> None:
        end_offset = log.last_stable_offset
        views = list(itertools.islice(log.read_batches(self.offset, end_offset=end_offset), batch_count))
        aborted = log.aborted_transactions(self.offset, end_offset)
        skipped: set[int] = set()
        for view in views:
            header = read_batch_header(view)
            skipped |= {one.producer_id for one in aborted if one.first_offset <= header.last_offset}
            aborted = [one for one in aborted if one.first_offset > header.last_offset]
            self._take(view, header, skipped)
            self.offset = header.next_offset

    def _take(self, view, header, skipped) -> None:
        if header.is_control:
            found = read_end_marker(view)
            if found is not None and not found.committed:
                skipped.discard(header.producer_id)
            return
        if header.is_transactional and header.producer_id in skipped:
            return
        for record in read_records(view):
            if record.offset < self.offset:
                continue
            self.table.pop(record.key, None)
            if record.value is not None:
                self.table[record.key] = record.value


class CompactionMachine(RuleBasedStateMachine):
    @initialize(
        segment_bytes=st.sampled_from([600, 1500, 10_000]),
        retention_ms=st.sampled_from([0, 1000, FOREVER // 2]),
        interval_bytes=st.sampled_from([0, 200]),
    )
    def begin(self, segment_bytes, retention_ms, interval_bytes):
        self.config = LogConfig(
            segment_bytes=segment_bytes,
            index_interval_bytes=interval_bytes,
            delete_retention_ms=retention_ms,
            compact=True,
            delete=False,
            file_delete_delay_ms=10,
        )
        self.files = MemoryFiles()
        self.files.make_directory("data")
        self.now_ms = NOW
        self.cleaned = None
        self.sequences = dict.fromkeys((*TRANSACTIONAL, IDEMPOTENT), 0)
        # Offset, key, value, and the transaction it belongs to.
        self.writes: list[tuple[int, bytes, bytes | None, int | None]] = []
        self.open: dict[int, int] = {}
        self.aborted: set[int] = set()
        self.transactions = itertools.count()
        self.slow_reader = Reader()
        self.log = Log.open(self.files, PATH, self.config, now_ms=self.now_ms)

    # --- writing

    @rule(
        keys=st.lists(st.integers(0, 6), min_size=1, max_size=5),
        deletes=st.sets(st.integers(0, 4)),
        size=st.integers(0, 60),
        codec=st.sampled_from(Codec),
        producer=st.sampled_from([None, None, IDEMPOTENT, *TRANSACTIONAL]),
    )
    def write(self, keys, deletes, size, codec, producer):
        self.now_ms += 1
        stamp = {}
        transaction = None
        if producer is not None:
            stamp = {"producer_id": producer, "producer_epoch": 0, "base_sequence": self.sequences[producer]}
            self.sequences[producer] += len(keys)
        if producer in TRANSACTIONAL:
            stamp["transactional"] = True
            transaction = self.open.setdefault(producer, next(self.transactions))
        records = [
            Record(index, self.now_ms, b"key%d" % key, None if index in deletes else b"%d" % self.now_ms + b"v" * size)
            for index, key in enumerate(keys)
        ]
        base_offset = append(self.log, memoryview(build_batch(records, codec=codec, **stamp))).base_offset
        self.writes += [(base_offset + record.offset, record.key, record.value, transaction) for record in records]

    @precondition(lambda self: self.open)
    @rule(data=st.data(), committed=st.booleans())
    def end_transaction(self, data, committed):
        producer = data.draw(st.sampled_from(sorted(self.open)))
        self.now_ms += 1
        append_marker(self.log, marker(producer, committed=committed, timestamp_ms=self.now_ms))
        transaction = self.open.pop(producer)
        if not committed:
            self.aborted.add(transaction)

    @rule()
    def roll(self):
        self.log.roll(self.now_ms)

    @rule(by_ms=st.sampled_from([1, 500, 1001]))
    def pass_time(self, by_ms):
        self.now_ms += by_ms

    @rule()
    def forget_producers(self):
        for producer in self.log.producers.expire(self.now_ms + 10**9, 1):
            self.sequences[producer] = 0

    # --- cleaning

    def round(self, map_bytes_max=1 << 30):
        return Compaction(
            self.log,
            cleanable_part(self.log, self.cleaned, self.now_ms),
            now_ms=self.now_ms,
            map_bytes_max=map_bytes_max,
        )

    def drive(self, compaction):
        for piece in compaction.slices():
            if piece.blocking is not None:
                piece.blocking()
            for deletion in piece.deletions:
                self.files.remove(deletion.path)

    @rule(map_bytes_max=st.sampled_from([1 << 30, 600]))
    def clean(self, map_bytes_max):
        compaction = self.round(map_bytes_max)
        if not compaction.cleanable.cleanable_bytes:
            return
        self.drive(compaction)
        assert compaction.cleaned_offset > compaction.cleanable.first_dirty_offset
        self.cleaned = compaction.cleaned_offset

    @rule(steps=st.integers(0, 60), power=st.booleans(), seed=st.integers(0, 1000), checkpoint_lost=st.booleans())
    def crash_while_cleaning(self, steps, power, seed, checkpoint_lost):
        self.log.flush()
        self.log.checkpoint()
        recovery_point = self.log.recovery_point
        countdown = itertools.count()

        def fault(_operation, _path):
            if next(countdown) == steps:
                raise Crash

        self.files.fault = fault
        with contextlib.suppress(Crash):
            self.drive(self.round())
        self.files.fault = None
        if power:
            dice = random.Random(seed)
            self.files.cut_power(lambda most: dice.randint(0, most))
        else:
            self.files.kill()
        if checkpoint_lost:
            self.cleaned = None
        self.reopen(recovery_point=recovery_point, same_boot=not power)

    @rule(slices=st.integers(0, 4))
    def give_a_round_up(self, slices):
        pieces = self.round().slices()
        for piece in itertools.islice(pieces, slices):
            if piece.blocking is not None:
                piece.blocking()
        pieces.close()

    @rule()
    def restart(self):
        self.log.flush()
        self.log.close()
        self.reopen(clean=True)

    def reopen(self, **stop):
        self.log = Log.open(self.files, PATH, self.config, now_ms=self.now_ms, **stop)
        assert not [name for name in self.files.sizes(PATH) if name.endswith((".cleaned", ".swap"))]
        for producer in self.sequences:
            # A producer that was forgotten may be known again from an older snapshot.
            known = self.log.producers.producers.get(producer)
            self.sequences[producer] = known.last_sequence + 1 if known is not None else 0

    # --- reading

    @rule(batch_count=st.integers(1, 5))
    def read_on(self, batch_count):
        self.slow_reader.read_on(self.log, batch_count)

    def expected(self, end_offset):
        table = {}
        for offset, key, value, transaction in self.writes:
            if offset < end_offset and transaction not in self.aborted:
                table.pop(key, None)
                if value is not None:
                    table[key] = value
        return table

    @invariant()
    def a_reader_of_all_ends_with_the_same_table(self):
        reader = Reader()
        reader.read_on(self.log)
        assert reader.table == self.expected(self.log.last_stable_offset)

    @invariant()
    def offsets_rise_and_lie_in_the_log(self):
        headers = [read_batch_header(view) for view in self.log.read_batches(0)]
        for before, after in itertools.pairwise(headers):
            assert before.last_offset < after.base_offset
        if headers:
            assert headers[-1].next_offset == self.log.end_offset
        assert self.log.size_bytes == sum(segment.size_bytes for segment in self.log.segments)

    def teardown(self):
        if hasattr(self, "log") and self.config.delete_retention_ms > 10**9:
            # No reader may have missed a tombstone.
            self.slow_reader.read_on(self.log)
            assert self.slow_reader.table == self.expected(self.log.last_stable_offset)


TestCompaction = pytest.mark.filterwarnings("error")(CompactionMachine.TestCase)
TestCompaction.settings = settings(max_examples=examples(60), stateful_step_count=40, deadline=None)
