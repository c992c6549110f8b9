"""Replication between brokers in one process, each with its own files and metadata."""

from unittest import mock

import pytest
import trio
from peer import Peer
from replicated_brokers import TOPIC_ID, Link, replicated_brokers, until
from sharing import SharePeer

from kwire.broker.coordination.transactions.markers import Marker
from kwire.broker.partitions.copying import append_copied
from kwire.broker.partitions.leading import records_deleted
from kwire.broker.partitions.partition import ACKS_ALL
from kwire.coordinators.machine import ProducerStamp
from kwire.coordinators.share.acknowledgement import ACCEPT
from kwire.errors import Code, KafkaError, StorageFailure
from kwire.storage.checkpoints import (
    HIGH_WATERMARK_CHECKPOINT,
    LOG_START_OFFSET_CHECKPOINT,
    RECOVERY_POINT_CHECKPOINT,
    read_offsets,
)
from kwire.types import TopicPartition
from kwire.wire.batches.batch import OVERHEAD_BYTES, STAMP_BYTES, read_batch_header, stamp
from kwire.wire.batches.records import Record, build_batch
from kwire.wire.messages import (
    ConfigRecord,
    DeleteRecordsRequest,
    FetchRequest,
    FetchResponse,
    ListOffsetsRequest,
    ProduceRequest,
    RegisterBrokerRecord,
    WriteTxnMarkersRequest,
)

pytestmark = pytest.mark.usefixtures("autojump_clock")


def append(node, *values, acks=-1):
    batch = memoryview(build_batch([Record(index, 0, b"k", value) for index, value in enumerate(values)]))
    return node.partition().append(batch, read_batch_header(batch), acks=acks)


async def committed(node, appended):
    partition = node.partition()
    await partition.committed(appended.next_offset, since=partition.leading_since)


def content(node):
    log = node.log
    return b"".join(bytes(batch) for batch in log.read_batches(log.log_start_offset))


async def produce(node, value=b"v", *, acks=-1, timeout_ms=1000):
    partition = ProduceRequest.PartitionProduceData(index=0, records=build_batch([Record(0, 0, b"k", value)]))
    topic = ProduceRequest.TopicProduceData(topic_id=TOPIC_ID, partition_data=[partition])
    response = await Peer(node.broker).call(13, ProduceRequest(acks=acks, timeout_ms=timeout_ms, topic_data=[topic]))
    return response.responses[0].partition_responses[0].error_code


async def fetch(node, offset, *, version=18, max_wait_ms=0, epoch=-1, replica=-1):
    wanted = FetchRequest.FetchPartition(
        partition=0, fetch_offset=offset, partition_max_bytes=1 << 20, current_leader_epoch=epoch
    )
    response = await Peer(node.broker).call(
        version,
        FetchRequest(
            replica_state=FetchRequest.ReplicaState(replica_id=replica),
            max_wait_ms=max_wait_ms,
            min_bytes=1,
            max_bytes=1 << 20,
            topics=[FetchRequest.FetchTopic(topic="t", topic_id=TOPIC_ID, partitions=[wanted])],
        ),
    )
    return response.responses[0].partitions[0]


async def delete_records(node, offset, *, timeout_ms=5000):
    request = DeleteRecordsRequest
    partition = request.DeleteRecordsPartition(partition_index=0, offset=offset)
    topic = request.DeleteRecordsTopic(name="t", partitions=[partition])
    answer = (await Peer(node.broker).call(2, request(timeout_ms=timeout_ms, topics=[topic]))).topics[0].partitions[0]
    return answer.error_code, answer.low_watermark


async def test_an_append_is_committed_once_the_followers_have_it():
    async with replicated_brokers(3) as cluster:
        cluster.create_topic([1, 2, 3])
        leader = cluster.nodes[1]
        appended = append(leader, b"a", b"b")
        assert not leader.partition().is_committed(appended.next_offset)
        await committed(leader, appended)
        assert content(cluster.nodes[2]) == content(cluster.nodes[3]) == content(leader) != b""
        await until(lambda: [one.log.high_watermark for one in cluster.nodes.values()] == [2, 2, 2])


async def test_a_follower_fetches_in_a_session_and_begins_another_after_a_lost_connection():
    async with replicated_brokers(2) as cluster:
        cluster.create_topic([1, 2])
        leader = cluster.nodes[1]
        for value in (b"a", b"b"):
            await committed(leader, append(leader, value))
        first = session_epochs(cluster)
        assert first == list(range(len(first)))
        assert len(first) > 2
        cluster.cut.add(1)
        await trio.sleep(2)
        cluster.cut.clear()
        cluster.requests.clear()
        await committed(leader, append(leader, b"c"))
        assert session_epochs(cluster)[:2] == [0, 1]


def session_epochs(cluster):
    return [message.session_epoch for _, message in cluster.requests if isinstance(message, FetchRequest)]


async def test_acks_1_is_answered_without_the_followers_and_acks_all_times_out():
    async with replicated_brokers(2) as cluster:
        cluster.create_topic([1, 2])
        cluster.cut.add(1)
        leader = cluster.nodes[1]
        assert await produce(leader, acks=1) == Code.NONE
        assert await produce(leader, acks=-1, timeout_ms=500) == Code.REQUEST_TIMED_OUT
        assert leader.log.end_offset == 2
        assert leader.log.high_watermark == 0
        assert not (await fetch(leader, 0)).records


async def test_a_follower_that_lags_leaves_the_in_sync_replicas_and_comes_back():
    async with replicated_brokers(2, replica_lag_time_max_ms=1000) as cluster:
        cluster.create_topic([1, 2])
        leader = cluster.nodes[1]
        await until(lambda: leader.partition().leader.progress(2).end_offset == 0)
        cluster.cut.add(1)
        assert await produce(leader, timeout_ms=30_000) == Code.NONE
        assert tuple(leader.partition().isr) == (1,)
        cluster.cut.clear()
        await until(lambda: tuple(leader.partition().isr) == (1, 2))
        assert content(cluster.nodes[2]) == content(leader)


async def test_too_few_in_sync_replicas_refuse_acks_all_before_and_after_the_append():
    async with replicated_brokers(2, replica_lag_time_max_ms=1000) as cluster:
        cluster.create_topic([1, 2], min_insync_replicas=2)
        leader = cluster.nodes[1]
        await until(lambda: leader.partition().leader.progress(2).end_offset == 0)
        cluster.cut.add(1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(produce, leader)
            await until(lambda: tuple(leader.partition().isr) == (1,))
        assert await produce(leader) == Code.NOT_ENOUGH_REPLICAS
        assert await produce(leader, acks=1) == Code.NONE
        # Below min.insync.replicas nothing is committed, whatever the acks.
        assert leader.log.high_watermark == 0


async def test_the_next_leader_has_every_committed_record_and_the_old_one_truncates():
    async with replicated_brokers(3) as cluster:
        cluster.create_topic([1, 2, 3])
        old, new = cluster.nodes[1], cluster.nodes[2]
        await committed(old, append(old, b"committed"))
        cluster.cut.add(1)
        append(old, b"lost", acks=1)
        old.log.flush()
        old.broker.housekeeping.write_checkpoints()
        cluster.behind.add(1)
        cluster.change(leader=2, isr=[2, 3])
        await committed(new, append(new, b"next"))
        cluster.cut.clear()
        cluster.behind = {2, 3}
        cluster.change(leader=2, isr=[2, 3])
        cluster.behind.clear()
        await until(lambda: content(old) == content(new))
        assert old.log.end_offset == 2
        assert [one.epoch for one in old.log.epochs.entries] == [0, 1]
        # At once, so that a crash of the machine leaves nothing unchecked behind the cut.
        written = read_offsets(
            cluster.files[1].read_bytes(f"{old.broker.dirs.dirs[0].path}/{RECOVERY_POINT_CHECKPOINT}")
        )
        assert written[TopicPartition("t", 0)] == 1
        await until(lambda: set(new.partition().isr) == {1, 2, 3})


async def test_a_produce_that_waits_is_refused_when_the_leader_changes():
    async with replicated_brokers(2) as cluster:
        cluster.create_topic([1, 2])
        cluster.cut.add(1)
        codes = []
        async with trio.open_nursery() as nursery:

            async def wait():
                codes.append(await produce(cluster.nodes[1], timeout_ms=60_000))

            nursery.start_soon(wait)
            await trio.sleep(0.1)
            cluster.change(leader=2)
        assert codes == [Code.NOT_LEADER_OR_FOLLOWER]


async def test_a_produce_that_waits_is_refused_when_the_topic_is_deleted():
    async with replicated_brokers(2) as cluster:
        cluster.create_topic([1, 2])
        cluster.cut.add(1)
        leader, codes = cluster.nodes[1], []

        async def write():
            codes.append(await produce(leader, timeout_ms=30_000))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            await until(lambda: leader.log.end_offset == 1)
            cluster.delete_topic()
        assert codes == [Code.UNKNOWN_TOPIC_OR_PARTITION]


async def test_a_follower_starts_again_behind_a_log_that_was_cut():
    async with replicated_brokers(2) as cluster:
        cluster.create_topic([1, 2], isr=[1])
        cluster.cut.add(1)
        leader = cluster.nodes[1]
        for _ in range(5):
            append(leader, b"v")
        leader.log.roll(0)
        append(leader, b"v")
        leader.partition().commit_all()
        assert leader.log.high_watermark == 6
        leader.partition().delete_records_before(5)
        leader.log.segments.pop(0)
        cluster.cut.clear()
        await until(lambda: cluster.nodes[2].log.end_offset == 6)
        assert cluster.nodes[2].log.log_start_offset == 5
        assert content(cluster.nodes[2]) == content(leader)


async def test_a_follower_goes_back_behind_its_log_start_to_a_leader_that_was_elected_uncleanly():
    async with replicated_brokers(2) as cluster:
        cluster.create_topic([1, 2])
        old, new = cluster.nodes[1], cluster.nodes[2]
        await committed(old, append(old, b"a", b"b"))
        cluster.cut.add(1)
        await trio.sleep(1)  # the fetch that waits ends
        cluster.change(isr=[1])
        await committed(old, append(old, b"c", b"d"))
        old.partition().delete_records_before(4)
        old.broker.housekeeping.write_checkpoints()
        cluster.change(leader=2, isr=[2])
        cluster.cut.clear()
        await until(lambda: old.log.end_offset == 2)
        await committed(new, append(new, b"e"))
        await until(lambda: old.log.high_watermark == 3)
        assert (old.log.log_start_offset, content(old)) == (2, content(new)[-len(content(old)) :])
        data = old.broker.dirs.dirs[0].path
        names = (RECOVERY_POINT_CHECKPOINT, LOG_START_OFFSET_CHECKPOINT, HIGH_WATERMARK_CHECKPOINT)
        written = [read_offsets(cluster.files[1].read_bytes(f"{data}/{name}")) for name in names]
        assert all(offsets[TopicPartition("t", 0)] <= 3 for offsets in written)


async def test_a_follower_takes_no_batch_of_an_epoch_that_it_does_not_know():
    """A deposed leader sends what its file holds where it has read: another leader's batches, once it follows that."""
    async with replicated_brokers(2) as cluster:
        cluster.create_topic([1, 2])
        cluster.cut.add(1)
        follower = cluster.nodes[2].partition()

        def batch(offset, epoch):
            return stamp(offset, len(plain) - OVERHEAD_BYTES, epoch) + plain[STAMP_BYTES:]

        plain = build_batch([Record(0, 0, b"k", b"v")])
        records = batch(0, 0) + batch(1, 1) + batch(2, 0)
        assert append_copied(follower, memoryview(records)) == len(plain)
        assert (follower.log.end_offset, follower.log.latest_epoch) == (1, 0)


async def test_deletion_of_records_waits_for_the_followers():
    async with replicated_brokers(2) as cluster:
        cluster.create_topic([1, 2])
        leader = cluster.nodes[1]
        await committed(leader, append(leader, b"a", b"b"))
        assert await delete_records(leader, 1) == (Code.NONE, 1)
        assert cluster.nodes[2].log.log_start_offset == 1
        cluster.cut.add(1)
        assert await delete_records(leader, 2) == (Code.REQUEST_TIMED_OUT, -1)


async def test_deletion_of_records_is_refused_when_the_leader_changes_meanwhile(nursery):
    async with replicated_brokers(2) as cluster:
        cluster.create_topic([1, 2])
        leader, answers = cluster.nodes[1], []
        await committed(leader, append(leader, b"a"))
        cluster.cut.add(1)
        await trio.sleep(1)  # the fetch that waits ends

        async def delete():
            answers.append(await delete_records(leader, 1, timeout_ms=60_000))

        nursery.start_soon(delete)
        await trio.sleep(0.1)
        cluster.change(leader=2)
        await until(lambda: answers)
        assert answers == [(Code.NOT_LEADER_OR_FOLLOWER, -1)]


async def test_consumers_may_read_from_followers():
    async with replicated_brokers(2) as cluster:
        cluster.create_topic([1, 2])
        leader, follower = cluster.nodes[1], cluster.nodes[2]
        await committed(leader, append(leader, b"a"))
        await until(lambda: follower.log.high_watermark == 1)
        answer = await fetch(follower, 0, version=11)
        assert (answer.error_code, answer.high_watermark) == (Code.NONE, 1)
        assert bytes(answer.records) == content(leader)
        assert (await fetch(follower, 0, version=10)).error_code == Code.NOT_LEADER_OR_FOLLOWER
        assert (await fetch(follower, 0, epoch=7)).error_code == Code.UNKNOWN_LEADER_EPOCH


async def test_the_debugging_consumer_may_ask_a_follower_for_offsets():
    async with replicated_brokers(2) as cluster:
        cluster.create_topic([1, 2])
        leader, follower = cluster.nodes[1], cluster.nodes[2]
        await committed(leader, append(leader, b"a"))
        found = {}
        for replica_id in (-1, -2):
            wanted = ListOffsetsRequest.ListOffsetsPartition(partition_index=0, timestamp=-1)
            topic = ListOffsetsRequest.ListOffsetsTopic(name="t", partitions=[wanted])
            request = ListOffsetsRequest(replica_id=replica_id, topics=[topic])
            answer = (await Peer(follower.broker).call(7, request)).topics[0].partitions[0]
            found[replica_id] = (answer.error_code, answer.offset)
        assert found == {-1: (Code.NOT_LEADER_OR_FOLLOWER, -1), -2: (Code.NONE, 1)}


async def test_a_producer_that_asks_the_wrong_broker_gets_the_leader():
    async with replicated_brokers(2) as cluster:
        cluster.create_topic([1, 2])
        partition = ProduceRequest.PartitionProduceData(index=0, records=build_batch([Record(0, 0, b"k", b"v")]))
        topic = ProduceRequest.TopicProduceData(topic_id=TOPIC_ID, partition_data=[partition])
        request = ProduceRequest(acks=-1, timeout_ms=1000, topic_data=[topic])
        follower = cluster.nodes[2]
        follower.broker.replication = follower.replication
        response = await Peer(follower.broker).call(13, request)
        answer = response.responses[0].partition_responses[0]
        assert answer.error_code == Code.NOT_LEADER_OR_FOLLOWER
        assert (answer.current_leader.leader_id, answer.current_leader.leader_epoch) == (1, 0)
        assert [(one.node_id, one.host, one.port) for one in response.node_endpoints] == [(1, "node", 1)]


async def test_a_client_that_asks_the_wrong_broker_gets_the_leader():
    async with replicated_brokers(2) as cluster:
        cluster.create_topic([1, 2])
        follower = cluster.nodes[2]
        answer = await fetch(follower, 0, epoch=-1, version=18, replica=1)
        assert answer.error_code == Code.NOT_LEADER_OR_FOLLOWER
        assert (answer.current_leader.leader_id, answer.current_leader.leader_epoch) == (1, 0)


async def test_a_share_consumer_that_asks_the_wrong_broker_gets_the_leader():
    async with replicated_brokers(2) as cluster:
        cluster.create_topic([1, 2])
        member = SharePeer(cluster.nodes[2].broker)
        fetched = await member.fetch(TOPIC_ID)
        refusal = KafkaError(Code.NOT_LEADER_OR_FOLLOWER)  # as of a share partition that has lost its leader
        with mock.patch.object(member.broker.share_partitions, "acknowledge", side_effect=refusal):
            await member.acknowledge(TOPIC_ID, (0, 0, 0, ACCEPT))
        for response in (fetched, member.acknowledged):
            answer = response.responses[0].partitions[0]
            assert answer.error_code == Code.NOT_LEADER_OR_FOLLOWER
            assert (answer.current_leader.leader_id, answer.current_leader.leader_epoch) == (1, 0)
            assert [each.node_id for each in response.node_endpoints] == [1]


async def test_a_new_leader_does_not_show_an_end_before_it_knows_the_followers():
    async with replicated_brokers(2) as cluster:
        cluster.create_topic([1, 2])
        leader, follower = cluster.nodes[1], cluster.nodes[2]
        await committed(leader, append(leader, b"a"))
        follower.log.high_watermark = 0
        cluster.cut.add(2)
        cluster.change(leader=2)
        wanted = ListOffsetsRequest.ListOffsetsPartition(partition_index=0, timestamp=-1)
        request = ListOffsetsRequest(
            replica_id=-1, topics=[ListOffsetsRequest.ListOffsetsTopic(name="t", partitions=[wanted])]
        )
        answer = (await Peer(follower.broker).call(7, request)).topics[0].partitions[0]
        assert answer.error_code == Code.OFFSET_NOT_AVAILABLE
        cluster.cut.clear()
        await until(lambda: follower.log.high_watermark == 1)
        answer = (await Peer(follower.broker).call(7, request)).topics[0].partitions[0]
        assert (answer.error_code, answer.offset) == (Code.NONE, 1)


async def test_a_leader_with_older_metadata_delays_a_fetch_by_milliseconds():
    async with replicated_brokers(2) as cluster:
        cluster.behind.add(1)
        cluster.create_topic([1, 2])
        await trio.sleep(0.01)
        begun = trio.current_time()
        cluster.behind = {2}
        cluster.create_topic([1, 2])
        leader = cluster.nodes[1]
        await committed(leader, append(leader, b"a"))
        assert trio.current_time() - begun < 0.2


async def test_a_partition_is_fetched_at_once_while_a_fetch_of_others_waits():
    async with replicated_brokers(2) as cluster:
        cluster.create_topic([1, 2])
        leader = cluster.nodes[1]
        await until(lambda: leader.partition().leader.progress(2).end_offset == 0)
        await trio.sleep(0.02)  # the next fetch waits for 500 ms
        begun = trio.current_time()
        cluster.create_topic([1, 2], name="other")
        partition = leader.broker.partitions.of_topic("other")[0]
        await until(lambda: partition.leader.progress(2).end_offset == 0)
        assert trio.current_time() - begun < 0.3


async def test_a_deleted_topic_leaves_every_replica():
    async with replicated_brokers(2) as cluster:
        cluster.create_topic([1, 2])
        leader = cluster.nodes[1]
        await committed(leader, append(leader, b"a"))
        cluster.delete_topic()
        for node in cluster.nodes.values():
            assert not node.broker.partitions.of_topic("t")
        cluster.create_topic([2, 1])
        leader = cluster.nodes[2]
        await committed(leader, append(leader, b"new"))
        assert cluster.nodes[1].log.end_offset == 1


async def test_a_replica_that_a_reassignment_adds_and_removes():
    async with replicated_brokers(3) as cluster:
        cluster.create_topic([1, 2])
        leader = cluster.nodes[1]
        await committed(leader, append(leader, b"a"))
        cluster.change(replicas=[1, 2, 3])
        await until(lambda: set(leader.partition().isr) == {1, 2, 3})
        assert content(cluster.nodes[3]) == content(leader)
        cluster.change(replicas=[1, 3], isr=[1, 3])
        assert not cluster.nodes[2].broker.partitions.of_topic("t")
        await committed(leader, append(leader, b"b"))


async def test_a_restarted_follower_continues_and_its_high_watermark_is_that_of_the_checkpoint():
    async with replicated_brokers(2) as cluster:
        cluster.create_topic([1, 2])
        leader = cluster.nodes[1]
        await committed(leader, append(leader, b"a"))
        await until(lambda: cluster.nodes[2].log.high_watermark == 1)
        append(leader, b"b")
        await until(lambda: cluster.nodes[2].log.end_offset == 2)
        cluster.nodes[2].log.high_watermark = 1
        await cluster.stop(2)
        cluster.cut.add(1)
        await cluster.start(2)
        assert cluster.nodes[2].log.high_watermark == 1
        cluster.cut.clear()
        await until(lambda: cluster.nodes[2].log.high_watermark == 2)


async def test_a_follower_copies_again_what_its_disk_has_lost_below_its_log_end():
    async with replicated_brokers(2) as cluster:
        cluster.create_topic([1, 2])
        leader = cluster.nodes[1]
        await committed(leader, append(leader, b"a"))
        cluster.nodes[2].log.roll(0)
        await committed(leader, append(leader, b"b"))
        path = cluster.nodes[2].log.path
        await cluster.stop(2)
        cluster.files[2].remove(f"{path}/{0:020d}.log")
        await cluster.start(2)
        await until(lambda: cluster.nodes[2].log.high_watermark == 2)
        assert cluster.nodes[2].log.log_start_offset == 0
        assert content(cluster.nodes[2]) == content(leader)


async def test_a_fenced_broker_does_not_join_the_in_sync_replicas():
    async with replicated_brokers(2) as cluster:
        cluster.commit(RegisterBrokerRecord(broker_id=2, broker_epoch=2, fenced=True))
        cluster.create_topic([1, 2], isr=[1])
        leader = cluster.nodes[1]
        append(leader, b"a")
        await until(lambda: cluster.nodes[2].log.end_offset == 1)
        await trio.sleep(1)
        assert cluster.altered == []
        cluster.commit(RegisterBrokerRecord(broker_id=2, broker_epoch=2, fenced=False))
        append(leader, b"b")
        await until(lambda: tuple(leader.partition().isr) == (1, 2))


async def test_a_duplicate_batch_of_the_leader_is_never_appended_twice():
    async with replicated_brokers(2) as cluster:
        cluster.create_topic([1, 2])
        leader, follower = cluster.nodes[1], cluster.nodes[2]
        await committed(leader, append(leader, b"a"))
        for _ in range(3):
            cluster.cut.add(1)
            await trio.sleep(0.1)
            cluster.cut.clear()
            await committed(leader, append(leader, b"b"))
        assert content(follower) == content(leader)


async def test_a_throttled_follower_that_is_not_in_sync_copies_at_the_rate():
    async with replicated_brokers(2) as cluster:
        cluster.create_topic([1, 2], isr=[1], follower_replication_throttled_replicas="*")
        cluster.cut.add(1)
        leader, follower = cluster.nodes[1], cluster.nodes[2]
        for _ in range(4):
            append(leader, bytes(900_000))
        cluster.commit(
            ConfigRecord(resource_type=4, resource_name="2", name="follower.replication.throttled.rate", value="500000")
        )
        begun = trio.current_time()
        cluster.cut.clear()
        await until(lambda: follower.log.end_offset == 4)
        assert trio.current_time() - begun > 4
        assert content(follower) == content(leader)


async def test_a_throttled_leader_gives_nothing_to_a_follower_that_is_not_in_sync():
    async with replicated_brokers(2) as cluster:
        cluster.create_topic([1, 2], isr=[1], leader_replication_throttled_replicas="0:1")
        cluster.cut.add(1)
        leader, follower = cluster.nodes[1], cluster.nodes[2]
        leader.broker.replication = leader.replication
        for _ in range(4):
            append(leader, bytes(900_000))
        cluster.commit(
            ConfigRecord(resource_type=4, resource_name="1", name="leader.replication.throttled.rate", value="500000")
        )
        begun = trio.current_time()
        cluster.cut.clear()
        await until(lambda: follower.log.end_offset == 4)
        assert trio.current_time() - begun > 4


async def test_a_full_disk_of_one_follower_costs_its_place_in_the_isr_and_no_acknowledgement():
    async with replicated_brokers(3, replica_lag_time_max_ms=1000) as cluster:
        cluster.create_topic([1, 2, 3])
        leader, broken = cluster.nodes[1], cluster.nodes[3]
        await committed(leader, append(leader, b"a"))
        cluster.files[3].free_bytes = 0
        assert await produce(leader, timeout_ms=30_000) == Code.NONE
        assert tuple(leader.partition().isr) == (1, 2)
        cluster.files[3].free_bytes = None
        await until(lambda: tuple(leader.partition().isr) == (1, 2, 3))
        assert content(broken) == content(leader)


async def test_a_leader_whose_log_could_not_be_opened_commits_nothing_alone():
    async with replicated_brokers(2) as cluster:
        cluster.files[1].fault = _refuse_partition
        cluster.cut.add(1)
        cluster.create_topic([1, 2])
        leader = cluster.nodes[1]
        assert leader.partition().leader is None
        cluster.files[1].fault = None
        appended = append(leader, b"a")
        await leader.partition().flush()
        assert not leader.partition().is_committed(appended.next_offset)
        cluster.cut.clear()
        await committed(leader, appended)
        assert content(cluster.nodes[2]) == content(leader)


async def test_a_leader_whose_log_cannot_be_opened_leads_its_followers_later():
    async with replicated_brokers(2) as cluster:
        cluster.files[1].fault = _refuse_partition
        cluster.create_topic([1, 2])
        leader = cluster.nodes[1]
        assert leader.partition().leader is None
        assert await produce(leader) == Code.KAFKA_STORAGE_ERROR
        cluster.files[1].fault = None
        await until(lambda: leader.partition().leader is not None)
        await committed(leader, append(leader, b"a"))
        assert content(cluster.nodes[2]) == content(leader)


def _refuse_partition(_operation, path):
    if "/t-0" in path:
        raise StorageFailure(path, "refused")


async def test_records_of_another_leader_at_the_same_offset_answer_no_earlier_append():
    async with replicated_brokers(2) as cluster:
        cluster.create_topic([1, 2])
        cluster.cut.add(1)
        old, new = cluster.nodes[1].partition(), cluster.nodes[2].partition()
        next_offset, since = append(cluster.nodes[1], b"lost").next_offset, old.leading_since
        cluster.change(leader=2)
        append(cluster.nodes[2], b"kept")
        await until(lambda: old.log.high_watermark == new.log.high_watermark == next_offset)
        assert not old.is_answerable(next_offset, ACKS_ALL, since)
        with pytest.raises(KafkaError) as refused:
            await old.committed(next_offset, since=since)
        assert refused.value.code is Code.NOT_LEADER_OR_FOLLOWER


async def test_a_leader_that_refuses_every_fetch_is_fetched_from_less_often(monkeypatch):
    asked = []

    async def refuse(_link, _message, **_options):
        await trio.lowlevel.checkpoint()
        asked.append(trio.current_time())
        return FetchResponse(error_code=Code.UNKNOWN_SERVER_ERROR)

    async with replicated_brokers(2) as cluster:
        monkeypatch.setattr(Link, "request", refuse)
        cluster.create_topic([1, 2])
        await trio.sleep(10)
        assert 10 <= len(asked) <= 20
        monkeypatch.undo()
        await committed(cluster.nodes[1], append(cluster.nodes[1], b"a"))


async def test_a_leader_whose_follower_is_ineligible_waits_before_it_asks_again():
    async with replicated_brokers(2) as cluster:
        cluster.alter_code = Code.INELIGIBLE_REPLICA
        cluster.create_topic([1, 2], isr=[1])
        for _ in range(2000):
            await trio.lowlevel.checkpoint()
        assert 1 <= len(cluster.altered) <= 2
        cluster.alter_code = Code.NONE
        await until(lambda: set(cluster.nodes[1].partition().isr) == {1, 2})


async def test_a_change_of_the_isr_survives_an_error_of_the_task_that_sends_it():
    async with replicated_brokers(2, replica_lag_time_max_ms=1000) as cluster:
        cluster.create_topic([1, 2])
        leader = cluster.nodes[1]
        updates = leader.replication.isr_updates

        async def fail(_request):
            updates.ask_controller = cluster.alter_partition
            await trio.lowlevel.checkpoint()
            raise ZeroDivisionError

        updates.ask_controller = fail
        cluster.cut.add(1)
        append(leader, b"a")
        await until(lambda: tuple(leader.partition().isr) == (1,))


@pytest.mark.parametrize("replicas", [[2], [2, 3]])
async def test_records_uncommitted_when_the_replica_moves_are_not_acknowledged(replicas):
    async with replicated_brokers(3) as cluster:
        cluster.create_topic([1, 2])
        leader, answers = cluster.nodes[1], []
        cluster.cut.add(1)

        async def produce_one():
            answers.append(await produce(leader, timeout_ms=30_000))

        async def delete_records():
            with pytest.raises(KafkaError) as caught:
                await records_deleted(leader.partition(), 1, timeout_ms=30_000)
            answers.append(caught.value.code)

        moved = leader.partition()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(produce_one)
            nursery.start_soon(delete_records)
            await until(lambda: moved.log.end_offset == 1)
            cluster.change(replicas=replicas, isr=[2], leader=2)
        assert moved.deleted
        assert answers == [Code.NOT_LEADER_OR_FOLLOWER] * 2


async def test_a_leader_whose_log_did_not_open_begins_without_any_request():
    async with replicated_brokers(2) as cluster:
        cluster.files[1].fault = _refuse_partition
        cluster.cut.add(1)  # no follower asks
        cluster.create_topic([1, 2])
        leader = cluster.nodes[1].partition()
        await trio.sleep(3)
        assert leader.leader is None
        cluster.files[1].fault = None
        await until(lambda: leader.leader is not None)
        assert cluster.requests == []


async def test_a_leader_that_is_elected_again_and_fails_takes_the_new_epoch_later():
    async with replicated_brokers(2) as cluster:
        cluster.create_topic([1, 2])
        partition = cluster.nodes[1].partition()
        follow, failures = partition.leader.follow_metadata, []

        def fail_twice(leadership, **where):
            if len(failures) < 2:
                failures.append(leadership.leader_epoch)
                raise StorageFailure("t-0", "refused")
            follow(leadership, **where)

        # Not a method of the partition, which is compiled in a wheel and then calls itself directly.
        with mock.patch.object(type(partition.leader), "follow_metadata", side_effect=fail_twice):
            cluster.change(leader=1)
            await until(lambda: partition.leader.leader_epoch == 1)
        assert failures == [1, 1]
        await committed(cluster.nodes[1], append(cluster.nodes[1], b"a"))


async def test_a_marker_of_another_coordinator_is_answered_once_it_is_committed(nursery):
    async with replicated_brokers(2) as cluster:
        cluster.create_topic([1, 2])
        leader = cluster.nodes[1]
        cluster.cut.add(1)
        answers = []

        async def write_marker():
            topic = WriteTxnMarkersRequest.WritableTxnMarkerTopic(name="t", partition_indexes=[0])
            marker = WriteTxnMarkersRequest.WritableTxnMarker(
                producer_id=7, producer_epoch=0, transaction_result=True, topics=[topic]
            )
            answer = await Peer(leader.broker).call(1, WriteTxnMarkersRequest(markers=[marker]))
            answers.append(answer.markers[0].topics[0].partitions[0].error_code)

        nursery.start_soon(write_marker)
        await until(lambda: leader.log.end_offset == 1)
        await trio.sleep(2)
        assert not answers
        cluster.cut.clear()
        await until(lambda: answers == [Code.NONE])
        assert leader.log.high_watermark == 1


async def test_a_marker_that_was_cut_by_another_leader_is_not_committed_by_what_came_instead():
    async with replicated_brokers(2) as cluster:
        cluster.create_topic([1, 2])
        old, new = cluster.nodes[1], cluster.nodes[2]
        cluster.cut.add(1)
        marker = Marker(ProducerStamp(7, 0), committed=True, coordinator_epoch=0, transaction_version=1)
        appended = old.broker.markers.append(TopicPartition("t", 0), marker)
        assert not appended.is_committed
        cluster.change(leader=2)
        append(new, b"instead")
        cluster.cut.clear()
        await until(lambda: old.log.high_watermark == new.log.high_watermark == 1)
        cluster.change(leader=1)
        await committed(old, append(old, b"more"))
        assert not appended.is_committed
        with pytest.raises(KafkaError) as refused:
            await appended.committed()
        assert refused.value.code is Code.NOT_LEADER_OR_FOLLOWER


async def test_a_follower_that_catches_up_while_it_leaves_the_isr_returns_though_the_partition_is_idle():
    async with replicated_brokers(2, replica_lag_time_max_ms=1000) as cluster:
        cluster.cut.add(1)
        cluster.create_topic([1, 2])
        leader, may_answer = cluster.nodes[1], trio.Event()

        async def answer_later(request):
            await may_answer.wait()
            return await cluster.alter_partition(request)

        leader.replication.isr_updates.ask_controller = answer_later
        state = leader.partition().leader
        await until(lambda: state.proposal is not None)
        cluster.cut.clear()
        await until(lambda: state.progress(2).end_offset == 0)
        may_answer.set()
        await until(lambda: cluster.altered)
        await until(lambda: tuple(leader.partition().isr) == (1, 2) and state.proposal is None)
        assert len(cluster.altered) == 2


async def test_a_leader_that_was_paused_takes_no_follower_for_lagging(autojump_clock):
    async with replicated_brokers(2, replica_lag_time_max_ms=1000) as cluster:
        cluster.create_topic([1, 2])
        leader = cluster.nodes[1]
        await committed(leader, append(leader, b"a"))
        append(leader, b"b")
        autojump_clock.jump(30)  # as SIGSTOP: nothing of this process runs meanwhile
        await until(lambda: leader.log.high_watermark == 2)
        await trio.sleep(3)
        assert cluster.altered == []
