"""Three brokers under a controller, in memory: what a cluster is for."""

import pytest
import trio
import trio.testing

from kwire.broker.outbound.connection import NodeConnection
from kwire.errors import Code
from kwire.server.connections.connection import serve_connection
from kwire.testing.memory import memory_cluster as memory_cluster_module
from kwire.testing.memory.memory_cluster import CONTROLLER_ID, memory_cluster
from kwire.wire.messages import CreateTopicsRequest


@pytest.fixture
async def cluster(autojump_clock):
    async with memory_cluster(brokers=3) as running:
        yield running


async def create(cluster, name, *rows, broker=1):
    request = CreateTopicsRequest
    topic = request.CreatableTopic(
        name=name,
        num_partitions=-1,
        replication_factor=-1,
        assignments=[
            request.CreatableReplicaAssignment(partition_index=index, broker_ids=list(row))
            for index, row in enumerate(rows)
        ],
        configs=[],
    )
    response = await cluster.client(broker).request(request(topics=[topic], timeout_ms=10_000))
    assert response.topics[0].error_code == Code.NONE, response.topics[0].error_message


def partition(cluster, name, index=0):
    return cluster.controller.image.topics[name].partitions[index]


async def test_brokers_join_and_a_topic_is_created_through_any_of_them(cluster, autojump_clock):
    await create(cluster, "t", [1, 2, 3], broker=2)
    assert partition(cluster, "t").isr == (1, 2, 3)
    for broker_id in (1, 2, 3):
        await cluster.until(lambda one=broker_id: "t" in cluster.broker(one).image.topics)


async def test_a_killed_leader_is_replaced_and_returns(cluster, autojump_clock):
    await create(cluster, "t", [1, 2, 3])
    await cluster.kill(1)
    await cluster.until(lambda: cluster.unfenced() == {2, 3})
    assert partition(cluster, "t").leader == 2
    await cluster.start(1)
    await cluster.until(lambda: cluster.unfenced() == {1, 2, 3})


async def test_a_broker_that_stops_in_order_hands_its_leaderships_over(cluster, autojump_clock):
    await create(cluster, "t", [1, 2, 3])
    await cluster.stop(1)
    assert partition(cluster, "t").leader == 2
    assert cluster.unfenced() == {2, 3}


async def test_brokers_go_on_after_a_controller_that_was_killed(cluster, autojump_clock):
    await create(cluster, "t", [1, 2, 3])
    epochs = {one.id: one.epoch for one in cluster.controller.image.brokers.values()}
    await cluster.kill(CONTROLLER_ID)
    await cluster.start(CONTROLLER_ID)
    await create(cluster, "u", [2, 3], broker=2)
    assert {one.id: one.epoch for one in cluster.controller.image.brokers.values()} == epochs
    assert cluster.unfenced() == {1, 2, 3}


async def test_a_broker_that_is_cut_off_is_fenced_and_comes_back(cluster, autojump_clock):
    cluster.network.cut("broker3", "controller")
    await cluster.until(lambda: cluster.unfenced() == {1, 2})
    cluster.network.mend()
    await cluster.until(lambda: cluster.unfenced() == {1, 2, 3})


async def test_connections_end_with_the_node_that_was_killed_before_its_parts_are_closed(cluster, monkeypatch):
    node = cluster.nodes[1]
    running_at_the_end = []

    async def serve(*arguments):
        try:
            await serve_connection(*arguments)
        finally:
            running_at_the_end.append(node.broker is not None)

    monkeypatch.setattr(memory_cluster_module, "serve_connection", serve)
    client = NodeConnection(node.address, dialer=cluster.network.dialer("client"), client_id="test", timeout_ms=60_000)
    await client.api_versions()
    await cluster.kill(1)
    await trio.testing.wait_all_tasks_blocked()
    assert running_at_the_end == [True]


@pytest.mark.parametrize("rebalances", [True, False])
async def test_leaders_return_to_preferred_replicas_after_all_nodes_ended_uncleanly(rebalances, autojump_clock):
    settings = {
        "auto.leader.rebalance.enable": str(rebalances).lower(),
        "leader.imbalance.check.interval.seconds": "30",
    }
    async with memory_cluster(brokers=3, settings=settings) as cluster:
        rows = [[1, 2, 3], [2, 3, 1], [3, 1, 2]]
        await create(cluster, "t", *rows)
        for node_id in (2, 3):
            await cluster.kill(node_id)
        await cluster.until(lambda: cluster.unfenced() == {1})
        for node_id in (1, CONTROLLER_ID):
            await cluster.kill(node_id)
        for node_id in (CONTROLLER_ID, 1, 2, 3):
            await cluster.start(node_id)
        await cluster.until(lambda: all(len(partition(cluster, "t", index).isr) == 3 for index in range(3)))
        leaders = [partition(cluster, "t", index).leader for index in range(3)]
        assert leaders == [1, 1, 1]
        await trio.sleep(31)
        leaders = [partition(cluster, "t", index).leader for index in range(3)]
        assert leaders == ([1, 2, 3] if rebalances else [1, 1, 1])
