"""A log does what a list does, whatever happens to the process, the machine and the disk."""

import dataclasses
import errno
import os
import random
from typing import NamedTuple

import pytest
from effort import examples
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from log_batches import NOW, headers_of, marker

from kwire.errors import Code, KafkaError, StorageFailure
from kwire.storage.config import LogConfig
from kwire.storage.log import Log
from kwire.testing.memory.files import MemoryFiles
from kwire.wire.batches.batch import read_batch_header
from kwire.wire.batches.records import Record, build_batch, read_records

PATH = "data/topic-0"
PRODUCERS = (7, 8, 9)


class Written(NamedTuple):
    """A batch as the model remembers it."""

    base_offset: int
    last_offset: int
    # From the magic on: what must come back unchanged.
    body: bytes
    times: list[int]
    producer_id: int = -1
    # None for records, else whether this marker commits.
    commits: bool | None = None


class LogMachine(RuleBasedStateMachine):
    """The model: a list of batches, a start offset, and the next sequence of each producer."""

    @initialize(
        segment_bytes=st.sampled_from([700, 2_000, 20_000]),
        interval=st.sampled_from([0, 200, 4096]),
        preallocate=st.booleans(),
    )
    def begin(self, segment_bytes, interval, preallocate):
        self.config = LogConfig(
            segment_bytes=segment_bytes,
            index_interval_bytes=interval,
            segment_index_bytes=400,
            preallocate=preallocate,
            file_delete_delay_ms=10,
        )
        self.files = MemoryFiles()
        self.files.make_directory("data")
        self.now_ms = NOW
        self.batches = []
        self.start = 0
        self.end = 0
        self.sequences = dict.fromkeys(PRODUCERS, 0)
        # Offsets below this were flushed.
        self.durable = 0
        self.log = self.open(clean=True)

    def open(self, **stop):
        log = Log.open(
            self.files,
            PATH,
            self.config,
            now_ms=self.now_ms,
            recovery_point=min(self.durable, self.end),
            log_start_offset=self.start,
            **stop,
        )
        log.advance_high_watermark(log.end_offset)
        return log

    # --- appending

    @rule(
        count=st.integers(1, 4),
        size=st.integers(0, 300),
        step=st.integers(-50, 200),
        codec=st.sampled_from([0, 0, 0, 2, 4]),
        producer=st.sampled_from([-1, -1, *PRODUCERS]),
    )
    def append(self, count, size, step, codec, producer):
        self.now_ms += 10
        times = [self.now_ms + step + index for index in range(count)]
        # Producer 9 is the transactional one.
        stamp = {}
        if producer >= 0:
            stamp = {
                "producer_id": producer,
                "producer_epoch": 0,
                "base_sequence": self.sequences[producer],
                "transactional": producer == 9,
            }
        value = random.Random(self.end).randbytes(size)
        records = [Record(index, time, b"k", value, ()) for index, time in enumerate(times)]
        view = memoryview(build_batch(records, codec=codec, **stamp))
        if len(view) > self.config.segment_bytes:
            with pytest.raises(KafkaError, match="RECORD_LIST_TOO_LARGE"):
                self.log.append(view, headers_of(view), leader_epoch=0, now_ms=NOW)
            return
        appended = self.log.append(view, headers_of(view), leader_epoch=len(self.batches) // 10, now_ms=NOW)
        assert not appended.duplicate
        self.wrote(appended, view, times, producer)
        if producer >= 0:
            self.sequences[producer] += count

    @rule(committed=st.booleans())
    def end_transaction(self, committed):
        view = marker(9, committed=committed, timestamp_ms=self.now_ms)
        appended = self.log.append(
            view, [read_batch_header(view)], leader_epoch=0, now_ms=self.now_ms, check_sequence=False
        )
        self.wrote(appended, view, [self.now_ms], 9, commits=committed)

    def wrote(self, appended, view, times, producer_id=-1, *, commits=None):
        assert appended.base_offset == self.end
        assert appended.last_offset == self.end + len(times) - 1
        self.batches.append(Written(self.end, appended.last_offset, bytes(view[16:]), times, producer_id, commits))
        self.end = appended.last_offset + 1
        self.log.advance_high_watermark(self.log.end_offset)

    @rule(producer=st.sampled_from([7, 8]), back=st.integers(1, 5))
    def append_again(self, producer, back):
        mine = [batch for batch in self.batches if batch.producer_id == producer]
        recent = mine[-back:][:1]
        # A restart remembers one batch of each producer from its snapshot: only the last is sure to be known.
        if not recent or recent[0] is not mine[-1] or producer not in self.log.producers.producers:
            return
        written = recent[0]
        view = memoryview(bytes(8) + (len(written.body) + 4).to_bytes(4, "big") + bytes(4) + written.body)
        appended = self.log.append(view, headers_of(view), leader_epoch=0, now_ms=NOW)
        assert appended.duplicate
        assert appended.base_offset == written.base_offset
        assert appended.last_offset == written.last_offset

    @rule(gap=st.integers(1, 3))
    def append_with_a_gap(self, gap):
        producer = self.log.producers.producers.get(8)
        if producer is None:
            return
        view = memoryview(
            build_batch(
                [Record(0, NOW, b"k", b"v", ())],
                producer_id=8,
                producer_epoch=0,
                base_sequence=self.sequences[8] + gap,
            )
        )
        with pytest.raises(KafkaError) as refusal:
            self.log.append(view, headers_of(view), leader_epoch=0, now_ms=NOW)
        assert refusal.value.code is Code.OUT_OF_ORDER_SEQUENCE_NUMBER

    @rule(code=st.sampled_from([errno.EIO, errno.ENOSPC]), operation=st.sampled_from(["append", "truncate", "write"]))
    def append_to_a_failing_disk(self, code, operation):
        self.files.fault = lambda name, _path: OSError(code, os.strerror(code)) if name == operation else None
        view = memoryview(build_batch([Record(0, NOW, b"k", b"v", ())]))
        epoch = self.log.latest_epoch
        try:
            appended = self.log.append(view, headers_of(view), leader_epoch=epoch, now_ms=NOW)
        except StorageFailure:
            assert self.log.failure is not None
        else:
            self.wrote(appended, view, [NOW])
        finally:
            self.files.fault = None

    # --- cutting

    @precondition(lambda self: self.end > self.start)
    @rule(share=st.floats(0, 1))
    def delete_records(self, share):
        offset = self.start + int(share * (self.end - self.start))
        self.log.delete_records_before(offset)
        self.start = max(self.start, offset)

    @precondition(lambda self: self.end > self.start)
    @rule(share=st.floats(0.5, 1))
    def truncate(self, share):
        offset = self.start + int(share * (self.end - self.start))
        inside = [batch for batch in self.batches if batch.base_offset < offset <= batch.last_offset]
        offset = inside[0].base_offset if inside else offset
        if offset < self.start:
            return
        self.log.truncate_to(offset, now_ms=self.now_ms)
        self.forget_from(offset)

    @rule(keep=st.integers(0, 3_000))
    def retain(self, keep):
        self.log.config = dataclasses.replace(self.config, retention_bytes=keep)
        size_before = self.log.size_bytes
        deletions = self.log.apply_retention(self.now_ms)
        self.log.config = self.config
        assert self.log.size_bytes <= size_before
        if deletions:
            # What was known of producers in these segments is in a snapshot, on the disk before long.
            self.flush()
        for each in deletions:
            assert each.due_ms == self.now_ms + 10
            self.files.remove(each.path)
        assert self.log.log_start_offset >= self.start
        self.start = self.log.log_start_offset

    # --- durability

    @rule()
    def flush(self):
        self.log.flush()
        self.durable = self.end
        assert self.log.recovery_point == self.end

    @rule()
    def roll(self):
        self.log.roll(self.now_ms)

    @rule()
    def checkpoint(self):
        self.log.checkpoint()

    @rule()
    def reopen(self):
        self.log.close()
        self.log = self.open(clean=True)
        assert not self.log.losses
        for view, written in zip(self.log.read_batches(self.start), self.visible(), strict=True):
            assert [record.timestamp_ms for record in read_records(view)] == written.times

    @rule(torn_bytes=st.integers(0, 400))
    def kill(self, torn_bytes):
        """The process is killed during a write that was not acknowledged."""
        # The last byte is not 0, which is what preallocated space holds.
        view = memoryview(build_batch([Record(0, NOW, b"torn", bytes(300), (("h", b"x"),))]))
        if torn_bytes and len(view) <= self.config.segment_bytes:
            self.log.append(view, headers_of(view), leader_epoch=self.log.latest_epoch, now_ms=NOW)
            self.files.kill(torn_bytes=min(torn_bytes, len(view)))
        else:
            self.files.kill()
        self.log = self.open(same_boot=True)
        assert self.log.end_offset == self.end
        assert not self.log.losses

    @rule(data=st.data())
    def cut_power(self, data):
        """The machine dies: what was flushed is there, of the rest some, and nothing that was not written."""
        before, start = self.log.segments[0].base_offset, self.start
        self.files.cut_power(lambda most: data.draw(st.integers(0, most)))
        self.log = self.open()
        assert self.log.log_start_offset >= self.start
        self.start = self.log.log_start_offset
        survived = {header.base_offset for segment in self.log.segments for _, header in segment.walk()}
        written = [batch for batch in self.batches if batch.base_offset >= before]
        lost = [batch for batch in written if batch.base_offset not in survived]
        assert all(batch.last_offset >= self.durable or batch.last_offset < start for batch in lost)
        assert len(written) - len(lost) == len(survived)
        self.batches = [batch for batch in self.batches if batch not in lost]
        if not survived or (lost and max(survived) > lost[0].base_offset):
            # A hole, as Apache Kafka leaves it too: what is known of transactions and sequences has holes as well.
            self.log.truncate_fully_and_start_at(self.log.end_offset)
            self.start = self.log.end_offset
            self.batches = []
        self.forget_from(self.log.end_offset)
        self.log.flush()
        self.durable = self.end

    def forget_from(self, offset):
        self.batches = [batch for batch in self.batches if batch.last_offset < offset]
        self.end = offset
        self.durable = min(self.durable, offset)
        for producer_id in PRODUCERS:
            producer = self.log.producers.producers.get(producer_id)
            known = producer.last_sequence + 1 if producer else 0
            self.sequences[producer_id] = known if producer and producer.batches else 0

    # --- what must always hold

    def visible(self):
        return [batch for batch in self.batches if batch.last_offset >= self.start]

    @invariant()
    def same_offsets(self):
        assert self.log.end_offset == self.end
        assert self.log.log_start_offset == self.start
        assert self.log.high_watermark == self.end
        assert self.log.size_bytes == sum(segment.size_bytes for segment in self.log.segments)

    @invariant()
    def same_batches(self):
        views = list(self.log.read_batches(self.start))
        headers = [read_batch_header(view) for view in views]
        expected = self.visible()
        assert [header.base_offset for header in headers] == [batch.base_offset for batch in expected]
        assert [bytes(view[16:]) for view in views] == [batch.body for batch in expected]

    @invariant()
    def reading_from_anywhere_finds_the_batch(self):
        for batch in self.visible()[-6:]:
            for offset in {max(batch.base_offset, self.start), batch.last_offset}:
                piece = self.log.read(offset, max_bytes=1, end_offset=self.end, at_least_one=True)
                assert bytes(piece.pread()[16:]) == batch.body
                assert piece.end_offset > batch.last_offset
                piece.close()
        assert self.log.read(self.end, max_bytes=1000, end_offset=self.end) is None

    @invariant()
    def same_transactions(self):
        first, aborted = None, []
        for batch in self.batches:
            if batch.producer_id == 9 and batch.commits is None:
                first = batch.base_offset if first is None else first
            elif batch.commits is not None:
                if first is not None and not batch.commits:
                    aborted.append((first, batch.base_offset))
                first = None
        assert self.log.last_stable_offset == (self.end if first is None else max(first, self.start))
        found = self.log.aborted_transactions(self.start, self.end)
        assert [each[1:3] for each in found if each.last_offset >= self.start] == [
            pair for pair in aborted if pair[1] >= self.start
        ]

    @invariant()
    def same_answers_by_time(self):
        times = [
            (time, offset)
            for batch in self.visible()
            for offset, time in enumerate(batch.times, batch.base_offset)
            if offset >= self.start
        ]
        if not times:
            return
        for wanted in {times[0][0], times[-1][0], max(times)[0], min(times)[0] - 1, max(times)[0] + 1}:
            found = self.log.offset_for_timestamp(wanted)
            expected = next(((time, offset) for time, offset in times if time >= wanted), None)
            assert (found and (found.timestamp_ms, found.offset)) == expected


LogMachine.TestCase.settings = settings(
    max_examples=examples(150), stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestLogMachine = LogMachine.TestCase
