"""Dead letters whose partition another broker leads: a controller and brokers in memory."""

import pytest
import trio

from kwire.coordinators.share.dead_letters import Cause, DeadLetters
from kwire.errors import Code, KafkaError
from kwire.testing.memory.memory_cluster import memory_cluster
from kwire.wire import messages as m
from kwire.wire.batches.records import Record, build_batch, read_records

DLQ = "dlq.g"
LETTERS = DeadLetters(0, 1, 3, Cause.REJECTED)
GROUP_RESOURCE = 32


async def create(cluster, name, *replicas, **configs):
    """A topic of one partition with these replicas, the first of which leads."""
    request = m.CreateTopicsRequest
    topic = request.CreatableTopic(
        name=name,
        num_partitions=-1,
        replication_factor=-1,
        assignments=[request.CreatableReplicaAssignment(partition_index=0, broker_ids=list(replicas))],
        configs=[
            request.CreatableTopicConfig(name=key.replace("_", "."), value=value) for key, value in configs.items()
        ],
    )
    answer = await cluster.client(1).request(request(topics=[topic], timeout_ms=10_000))
    assert not answer.topics[0].error_code
    for node_id in (1, 2):
        await cluster.until(lambda node_id=node_id: name in cluster.broker(node_id).image.topics)


async def configure(cluster):
    request = m.IncrementalAlterConfigsRequest
    texts = {"errors.deadletterqueue.topic.name": DLQ, "errors.deadletterqueue.copy.record.enable": "true"}
    configs = [request.AlterableConfig(name=name, config_operation=0, value=value) for name, value in texts.items()]
    resource = request.AlterConfigsResource(resource_type=GROUP_RESOURCE, resource_name="g", configs=configs)
    answer = await cluster.client(1).request(request(resources=[resource]))
    assert not answer.responses[0].error_code
    await cluster.until(lambda: cluster.broker(1).configs.group("g")["errors.deadletterqueue.topic.name"] == DLQ)


def write_letters(cluster):
    """Broker 1 leads the source; what it writes the letters with."""
    broker = cluster.broker(1)
    return broker.share_partitions._dead_letters.write("g", broker.partitions.get("t", 0), LETTERS)


def values(broker):
    log = broker.partitions.get(DLQ, 0).log
    piece = log.read(0, max_bytes=1 << 20, end_offset=log.high_watermark, at_least_one=True)
    if piece is None:
        return []
    content = memoryview(piece.pread())
    piece.close()
    return [each.value for each in read_records(content)]


@pytest.fixture
async def cluster(autojump_clock):
    async with memory_cluster(brokers=3) as running:
        await create(running, "t", 1)
        await configure(running)
        running.broker(1).partitions.get("t", 0).append_own(
            build_batch([Record(number, 0, None, value, ()) for number, value in enumerate((b"a", b"b"))])
        )
        yield running


async def test_dead_letters_go_to_the_leader_of_their_partition(autojump_clock, cluster):
    await create(cluster, DLQ, 2, errors_deadletterqueue_group_enable="true")
    await write_letters(cluster)
    assert values(cluster.broker(2)) == [b"a", b"b"]


async def test_dead_letters_are_written_again_until_there_is_a_leader(autojump_clock, cluster):
    await create(cluster, DLQ, 2, errors_deadletterqueue_group_enable="true")
    await cluster.kill(2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: write_letters(cluster))
        await trio.sleep(1)
        await cluster.start(2)
    assert values(cluster.broker(2)) == [b"a", b"b"]


async def test_dead_letters_are_refused_when_no_leader_comes(autojump_clock, cluster):
    await create(cluster, DLQ, 2, errors_deadletterqueue_group_enable="true")
    await cluster.kill(2)
    with pytest.raises(KafkaError) as refused:
        await write_letters(cluster)
    assert refused.value.code in {Code.NETWORK_EXCEPTION, Code.LEADER_NOT_AVAILABLE}
