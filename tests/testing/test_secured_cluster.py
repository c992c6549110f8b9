"""Three brokers and a controller that log in at each other, with an authorizer."""

import pytest
import trio

from kwire.acls import Operation, PatternType, Permission, ResourceType
from kwire.broker.node.member import JoinRefused
from kwire.errors import Code
from kwire.security.sasl.client import SaslLogin
from kwire.testing.memory.memory_cluster import CONTROLLER_ID, MemoryCluster, MemoryNode, memory_cluster
from kwire.wire.messages import (
    AllocateProducerIdsRequest,
    BrokerHeartbeatRequest,
    CreateAclsRequest,
    CreateTopicsRequest,
    FetchRequest,
)

MODULE = "org.apache.kafka.common.security.plain.PlainLoginModule required"
LOGIN = 'username="node" password="node-secret"'
USERS = f'{MODULE} {LOGIN} user_node="node-secret" user_admin="admin-secret" user_alice="alice-secret";'
SETTINGS = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:node;User:admin",
    "sasl.enabled.mechanisms": "PLAIN",
    "sasl.mechanism.inter.broker.protocol": "PLAIN",
    "sasl.mechanism.controller.protocol": "PLAIN",
    "listener.name.sasl_plaintext.plain.sasl.jaas.config": USERS,
    "listener.name.controller.plain.sasl.jaas.config": USERS,
}
ADMIN = SaslLogin("PLAIN", "admin", "admin-secret")
ALICE = SaslLogin("PLAIN", "alice", "alice-secret")


@pytest.fixture
async def cluster(autojump_clock):
    async with memory_cluster(settings=SETTINGS, protocol="SASL_PLAINTEXT", login=ADMIN) as running:
        yield running


async def create(cluster, name, broker=1, login=ADMIN, replicas=3):
    topic = CreateTopicsRequest.CreatableTopic(name=name, num_partitions=1, replication_factor=replicas)
    request = CreateTopicsRequest(topics=[topic], timeout_ms=10_000)
    return (await cluster.client(broker, login=login).request(request)).topics[0].error_code


def allow(principal, operation):
    """Allow an operation on the cluster."""
    creation = CreateAclsRequest.AclCreation(
        resource_type=ResourceType.CLUSTER,
        resource_name="kafka-cluster",
        resource_pattern_type=PatternType.LITERAL,
        principal=principal,
        host="*",
        operation=operation,
        permission_type=Permission.ALLOW,
    )
    return CreateAclsRequest(creations=[creation])


async def test_brokers_log_in_replicate_and_return(cluster, autojump_clock):
    assert await create(cluster, "t") == Code.NONE
    leader = cluster.controller.image.topics["t"].partitions[0].leader
    await cluster.kill(leader)
    await cluster.until(lambda: cluster.unfenced() == {1, 2, 3} - {leader})
    await cluster.start(leader)
    await cluster.until(lambda: set(cluster.controller.image.topics["t"].partitions[0].isr) == {1, 2, 3})


async def test_a_forwarded_request_is_the_clients_and_not_the_brokers(cluster, autojump_clock):
    assert await create(cluster, "t", broker=2, login=ALICE) == Code.TOPIC_AUTHORIZATION_FAILED
    response = await cluster.client(3).request(allow("User:alice", Operation.CREATE))
    assert response.results[0].error_code == Code.NONE
    assert await create(cluster, "t", broker=2, login=ALICE) == Code.NONE


async def test_a_client_without_cluster_action_is_refused_requests_of_nodes(cluster, autojump_clock):
    assert await create(cluster, "t") == Code.NONE
    await cluster.until(lambda: "t" in cluster.broker(1).image.topics)
    controller = cluster.client(CONTROLLER_ID, login=ALICE)
    for request in (BrokerHeartbeatRequest(broker_id=1, broker_epoch=1), AllocateProducerIdsRequest(broker_id=1)):
        assert (await controller.request(request)).error_code == Code.CLUSTER_AUTHORIZATION_FAILED
    topic = FetchRequest.FetchTopic(
        topic_id=cluster.controller.image.topics["t"].id, partitions=[FetchRequest.FetchPartition(partition=0)]
    )
    as_follower = FetchRequest(replica_state=FetchRequest.ReplicaState(replica_id=2, replica_epoch=1), topics=[topic])
    answer = await cluster.client(1, login=ALICE).request(as_follower)
    assert answer.responses[0].partitions[0].error_code == Code.TOPIC_AUTHORIZATION_FAILED


@pytest.mark.parametrize(
    ("user", "password", "why"),
    [
        ("node", "wrong", "refused the login by PLAIN: Authentication failed: Invalid username or password"),
        ("alice", "alice-secret", "CLUSTER_AUTHORIZATION_FAILED"),
    ],
)
async def test_a_broker_that_may_not_join_stops_with_a_reason(cluster, autojump_clock, user, password, why):
    jaas = f'{MODULE} username="{user}" password="{password}";'
    settings = {
        **SETTINGS,
        "listener.name.controller.plain.sasl.jaas.config": jaas,
        "initial.broker.registration.timeout.ms": "2000",
    }
    node = MemoryNode(4, is_controller=False, settings=settings, protocol="SASL_PLAINTEXT")
    with pytest.RaisesGroup(pytest.RaisesExc(JoinRefused, match=why), flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            await nursery.start(node.run, cluster.network)


async def test_cluster_action_is_enough_for_a_broker_with_a_formatted_directory(autojump_clock, nursery):
    settings = {**SETTINGS, "super.users": "User:admin", "default.replication.factor": "2"}
    nodes = {
        node_id: MemoryNode(
            node_id, is_controller=node_id == CONTROLLER_ID, settings=settings, protocol="SASL_PLAINTEXT"
        )
        for node_id in (CONTROLLER_ID, 1, 2)
    }
    cluster = MemoryCluster(nursery, nodes, login=ADMIN)
    await cluster.start(CONTROLLER_ID)
    await cluster.client(CONTROLLER_ID).request(allow("User:node", Operation.CLUSTER_ACTION))
    for node_id in (1, 2):
        nodes[node_id].files.make_directory("/data")
        meta = f"version=1\ncluster.id={cluster.controller.cluster_id}\nnode.id={node_id}\n"
        nodes[node_id].files.write_bytes("/data/meta.properties", meta.encode(), durable=True)
        await cluster.start(node_id)
    assert await create(cluster, "t", replicas=2) == Code.NONE
    await cluster.until(lambda: "t" in cluster.broker(1).image.topics)
    await cluster.until(lambda: set(cluster.controller.image.topics["t"].partitions[0].isr) == {1, 2})
    await cluster.kill(2)
    await cluster.until(lambda: set(cluster.controller.image.topics["t"].partitions[0].isr) == {1})
    await cluster.start(2)
    await cluster.until(lambda: set(cluster.controller.image.topics["t"].partitions[0].isr) == {1, 2})
    nursery.cancel_scope.cancel()
