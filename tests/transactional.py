"""Producers that write in transactions, and what consumers of each isolation level then see.

Everything goes through ``Peer.call``: encoded, dispatched, decoded.
"""

from collections import defaultdict

from kwire.errors import Code
from kwire.wire import messages as m
from kwire.wire.batches.batch import read_batch_header
from kwire.wire.batches.records import Record, build_batch, read_records

READ_UNCOMMITTED, READ_COMMITTED = 0, 1
NEW, OLD = 2, 0  # the transaction version that a client speaks


def batch(*values, producer_id, epoch, sequence, transactional=True):
    now = 1_700_000_000_000
    return build_batch(
        [Record(i, now + i, None, value, ()) for i, value in enumerate(values)],
        producer_id=producer_id,
        producer_epoch=epoch,
        base_sequence=sequence,
        transactional=transactional,
    )


class Producer:
    """One producer of one transactional id, speaking as clients of a transaction version do."""

    def __init__(self, client, transactional_id, speaks=NEW, timeout_ms=60_000):
        self.client = client
        self.transactional_id = transactional_id
        self.speaks = speaks
        self.timeout_ms = timeout_ms
        self.producer_id = self.epoch = -1
        self.sequences = defaultdict(int)

    async def init(self, **more):
        request = m.InitProducerIdRequest(
            transactional_id=self.transactional_id, transaction_timeout_ms=self.timeout_ms, **more
        )
        answer = await self.client.call(5, request)
        if not answer.error_code:
            self._become(answer.producer_id, answer.producer_epoch)
        return Code(answer.error_code)

    async def add(self, topic, *partitions, version=3):
        request = m.AddPartitionsToTxnRequest
        answer = await self.client.call(
            version,
            request(
                v3_and_below_transactional_id=self.transactional_id,
                v3_and_below_producer_id=self.producer_id,
                v3_and_below_producer_epoch=self.epoch,
                v3_and_below_topics=[request.AddPartitionsToTxnTopic(name=topic, partitions=list(partitions))],
            ),
        )
        codes = {
            each.partition_error_code
            for one in answer.results_by_topic_v3_and_below
            for each in one.results_by_partition
        }
        assert len(codes) == 1
        return Code(codes.pop())

    async def send(self, topic, *values, partition=0, version=None, sequence=None, acks=-1):
        """Produce one batch; the answer of its partition."""
        if version is None:
            version = 12 if self.speaks == NEW else 11
        if sequence is None:
            sequence = self.sequences[topic, partition]
        records = batch(*values, producer_id=self.producer_id, epoch=self.epoch, sequence=sequence)
        answer = await produce(
            self.client, topic, records, partition=partition, version=version, name=self.transactional_id, acks=acks
        )
        if not answer.error_code:
            self.sequences[topic, partition] = sequence + len(values)
        return answer

    async def write(self, topic, *values, partition=0):
        """Add the partition where that is the client's part, and produce; both must succeed."""
        if self.speaks == OLD:
            assert await self.add(topic, partition) is Code.NONE
        answer = await self.send(topic, *values, partition=partition)
        assert not answer.error_code, Code(answer.error_code)
        return answer.base_offset

    async def offsets(self, group, topic, offset, *, partition=0, version=None, add=True, **more):
        """Commit one offset of a group in the transaction."""
        if self.speaks == OLD and add:
            request = m.AddOffsetsToTxnRequest(
                transactional_id=self.transactional_id,
                producer_id=self.producer_id,
                producer_epoch=self.epoch,
                group_id=group,
            )
            answer = await self.client.call(4, request)
            assert not answer.error_code, Code(answer.error_code)
        request = m.TxnOffsetCommitRequest
        topic_id = self.client.broker.image.topics[topic].id if version == 6 else bytes(16)
        wanted = request.TxnOffsetCommitRequestPartition(
            partition_index=partition, committed_offset=offset, committed_metadata=""
        )
        answer = await self.client.call(
            (5 if self.speaks == NEW else 4) if version is None else version,
            request(
                transactional_id=self.transactional_id,
                group_id=group,
                producer_id=self.producer_id,
                producer_epoch=self.epoch,
                topics=[request.TxnOffsetCommitRequestTopic(name=topic, topic_id=topic_id, partitions=[wanted])],
                **more,
            ),
        )
        return Code(answer.topics[0].partitions[0].error_code)

    async def end(self, *, commit, version=None):
        request = m.EndTxnRequest(
            transactional_id=self.transactional_id,
            producer_id=self.producer_id,
            producer_epoch=self.epoch,
            committed=commit,
        )
        answer = await self.client.call((5 if self.speaks == NEW else 4) if version is None else version, request)
        if not answer.error_code and answer.producer_id != -1:
            self._become(answer.producer_id, answer.producer_epoch)
        return Code(answer.error_code)

    async def commit(self):
        return await self.end(commit=True)

    async def abort(self):
        return await self.end(commit=False)

    def _become(self, producer_id, epoch):
        if (producer_id, epoch) != (self.producer_id, self.epoch):
            self.sequences.clear()
        self.producer_id, self.epoch = producer_id, epoch


async def produce(client, topic, records, *, partition=0, version=12, name=None, acks=-1):
    request = m.ProduceRequest
    wanted = request.TopicProduceData(
        name=topic, partition_data=[request.PartitionProduceData(index=partition, records=records)]
    )
    answer = await client.call(version, request(transactional_id=name, acks=acks, timeout_ms=1000, topic_data=[wanted]))
    return answer.responses[0].partition_responses[0]


async def fetch(client, topic, *, partition=0, offset=0, isolation=READ_COMMITTED, max_bytes=1 << 20):
    request = m.FetchRequest
    wanted = request.FetchPartition(partition=partition, fetch_offset=offset, partition_max_bytes=max_bytes)
    answer = await client.call(
        12,
        request(
            max_wait_ms=0,
            min_bytes=1,
            max_bytes=max_bytes,
            session_epoch=-1,
            isolation_level=isolation,
            topics=[request.FetchTopic(topic=topic, partitions=[wanted])],
        ),
    )
    return answer.responses[0].partitions[0]


async def seen(client, topic, *, partition=0, isolation=READ_COMMITTED, max_bytes=1 << 20, start=0):
    """The values that a consumer gives to its application, read as the Java client reads: fetch by fetch."""
    values, offset = [], start
    while True:
        answer = await fetch(
            client, topic, partition=partition, offset=offset, isolation=isolation, max_bytes=max_bytes
        )
        assert not answer.error_code, Code(answer.error_code)
        aborted = sorted((each.first_offset, each.producer_id) for each in answer.aborted_transactions or ())
        being_aborted = set()
        before = offset
        for raw in batches_in(answer.records):
            header = read_batch_header(raw)
            while aborted and aborted[0][0] <= header.last_offset:
                being_aborted.add(aborted.pop(0)[1])
            if header.is_control:
                (marker,) = read_records(raw)
                if marker.key == b"\0\0\0\0":
                    being_aborted.discard(header.producer_id)
            elif (
                isolation == READ_UNCOMMITTED or not header.is_transactional or header.producer_id not in being_aborted
            ):
                values += [record.value for record in read_records(raw) if record.offset >= before]
            offset = header.next_offset
        if offset == before:
            return values


def batches_in(records):
    view = memoryview(records or b"")
    while len(view) >= 12:
        size = 12 + int.from_bytes(view[8:12], "big")
        if size > len(view):
            return
        yield view[:size]
        view = view[size:]


async def committed(client, group, topic, *, partition=0, stable=True):
    """The group's offset, -1 without one; a Code when it is refused."""
    request = m.OffsetFetchRequest
    wanted = request.OffsetFetchRequestTopic(name=topic, partition_indexes=[partition])
    answer = await client.call(7, request(group_id=group, topics=[wanted], require_stable=stable))
    found = answer.topics[0].partitions[0]
    return Code(found.error_code) if found.error_code else found.committed_offset


async def latest(client, topic, *, partition=0, isolation=READ_COMMITTED, timestamp=-1):
    request = m.ListOffsetsRequest
    wanted = request.ListOffsetsPartition(partition_index=partition, timestamp=timestamp)
    topics = [request.ListOffsetsTopic(name=topic, partitions=[wanted])]
    answer = await client.call(7, request(replica_id=-1, isolation_level=isolation, topics=topics))
    return answer.topics[0].partitions[0].offset


async def state(client, transactional_id):
    answer = await client.call(0, m.DescribeTransactionsRequest(transactional_ids=[transactional_id]))
    (found,) = answer.transaction_states
    return Code(found.error_code) if found.error_code else found.transaction_state
