"""The state of a cluster of processes as a whole, and what its brokers are asked at once."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kafka import KafkaProducer

from kwire.testing import FaultNeverFired, NeverHappened, RuleError, StateError, kafka_cluster
from kwire.testing.clusters import state as cluster_state
from kwire.testing.clusters.cluster import KafkaCluster
from kwire.testing.clusters.nodes import CONTROLLER_ID, ClusterError
from kwire.testing.clusters.requests import ask
from kwire.wire.messages import MetadataRequest

FAR_S = 150.0


@pytest.fixture(scope="module")
def cluster():
    with kafka_cluster(brokers=3, topics={"orders": 3}, control=True) as running:
        yield running


@pytest.fixture
def empty(cluster):
    cluster.reset()
    return cluster


def seed(*values):
    return {"topics": {"orders": {"records": [{"key": str(value), "value": value} for value in values]}}}


def values(cluster):
    found = set()
    for node in cluster.brokers:
        found |= {record["value"] for record in cluster.broker(node.id).records("orders")}
    return found


def described(cluster, topic):
    metadata = ask(cluster.node(1).port, MetadataRequest(topics=None), version=12)
    return next(each for each in metadata.topics if each.name == topic)


def wait_for_records(cluster, count):
    cluster.wait_until(topic="orders", records=count, timeout=FAR_S)


def test_a_reset_empties_every_node_and_makes_the_topics_again(cluster):
    cluster.seed(seed("a", "b", "c"))
    wait_for_records(cluster, 3)
    cluster.create_topic("more", 2, retention_ms=1000)
    ports = [node.port for node in cluster.nodes]
    cluster.reset()
    assert [node.port for node in cluster.nodes] == ports
    for node in cluster.brokers:
        assert [name for name in cluster.broker(node.id).topics() if not name.startswith("__")] == ["orders"]
    assert values(cluster) == set()


def test_a_producer_id_is_not_given_out_again_after_a_reset(empty):
    def write():
        producer = KafkaProducer(bootstrap_servers=empty.bootstrap_servers, enable_idempotence=True)
        producer.send("orders", b"x", partition=0).get(FAR_S)
        producer.close()
        return {each["producer_id"] for node in empty.brokers for each in empty.broker(node.id).producers("orders")}

    before = write()
    empty.reset()
    after = write()
    assert min(after) > max(before)


def test_a_snapshot_is_restored_twice_and_goes_to_a_fork_and_a_directory(empty, tmp_path):
    empty.seed(seed("a", "b"))
    wait_for_records(empty, 2)
    empty.snapshot("loaded/1")
    assert empty.snapshots == ["loaded/1"]
    empty.save(tmp_path / "saved")
    with empty.fork() as other:
        wait_for_records(other, 2)
        other.seed(seed("c"))
        wait_for_records(other, 3)
        assert values(other) == {"a", "b", "c"}
        assert not {node.port for node in other.nodes} & {node.port for node in empty.nodes}
    for source in ("snapshot", "directory"):
        empty.seed(seed("d"))
        wait_for_records(empty, 3)
        if source == "snapshot":
            empty.restore("loaded/1")
        else:
            empty.load(tmp_path / "saved")
        wait_for_records(empty, 2)
        assert values(empty) == {"a", "b"}
    with pytest.raises(StateError, match="there is no snapshot 'b'; there are: loaded/1"):
        empty.restore("b")
    with pytest.raises(StateError, match="exists"):
        empty.save(tmp_path / "saved")
    with pytest.raises(StateError, match="no copy of controller 100"):
        empty.load(tmp_path)
    empty.remove_snapshot("loaded/1")
    assert empty.snapshots == []


def test_the_leaders_of_a_copy_lead_again_with_all_that_they_have(cluster, tmp_path):
    cluster.save(tmp_path / "saved")
    other = KafkaCluster.create(tmp_path / "other", brokers=3)
    cluster_state.replace_data(other, tmp_path / "saved")
    image, log = cluster_state.open_metadata(other)
    log.close()
    assert all(broker.fenced for broker in image.brokers.values())
    leaders = {each.partition_index: each.leader_id for each in described(cluster, "orders").partitions}
    partitions = image.topics["orders"].partitions
    assert {index: (*each.isr, *each.eligible_leader_replicas) for index, each in enumerate(partitions)} == {
        index: (leader,) for index, leader in leaders.items()
    }
    assert {partition.leader for partition in partitions} == {-1}


def test_a_rule_is_armed_on_every_broker_and_its_counts_are_added_up(cluster):
    with cluster.faults.add(api="Produce", error="NOT_LEADER_OR_FOLLOWER", times=1) as fault:
        producer = KafkaProducer(bootstrap_servers=cluster.bootstrap_servers, retry_backoff_ms=10)
        for partition in range(3):
            producer.send("orders", b"x", partition=partition).get(FAR_S)
        producer.close()
        fault.wait_fired(2, timeout=FAR_S)
    assert fault.fired >= 2
    cluster.requests.wait_for(api="Produce", times=3, timeout=FAR_S)
    assert {request["api"] for request in cluster.requests.last(5, api="Produce")} == {"Produce"}
    with (
        pytest.raises(FaultNeverFired, match="disturbed no CreateAcls request"),
        cluster.faults.add(api="CreateAcls", drop=True),
    ):
        pass


def test_a_rule_that_one_broker_refuses_is_armed_on_none(cluster):
    first, *_, last = cluster.brokers
    cluster.broker(last.id).faults.add(name="twice", api="CreateAcls", drop=True)
    with pytest.raises(RuleError, match="a rule named 'twice' is armed"):
        cluster.faults.add(name="twice", api="CreateAcls", drop=True)
    cluster.broker(last.id).faults.clear()
    with cluster.faults.add(name="twice", api="Metadata", throttle_ms=1):
        ask(first.port, MetadataRequest(topics=None), version=12)


def test_what_a_killed_broker_has_counted_stays(empty):
    with empty.faults.add(api="Metadata", throttle_ms=1) as fault:
        for node in empty.brokers:
            ask(node.port, MetadataRequest(topics=None), version=12)
        fired = fault.fired
        assert fired >= 3
        empty.kill(3)
        assert fault.fired >= fired
        empty.wait_until(topic="orders", records=0, timeout=FAR_S)
    empty.start_node(3)


def test_the_controller_has_a_control_interface_too(cluster):
    controller = cluster.broker(CONTROLLER_ID)
    controller.requests.wait_for(api="BrokerHeartbeat", timeout=FAR_S)


def test_the_state_of_one_node_alone_is_not_changed(cluster):
    for change in (cluster.broker(1).reset, cluster.broker(1).snapshot, cluster.broker(CONTROLLER_ID).reset):
        with pytest.raises(StateError, match="this is a node of a cluster"):
            change()


def test_a_wait_that_times_out_says_what_there_was(cluster):
    with pytest.raises(NeverHappened, match="the topic orders has at least 999 records; it has"):
        cluster.wait_until(topic="orders", records=999, timeout=0)
    with pytest.raises(NeverHappened, match="there is no group billing"):
        cluster.wait_until(group="billing", timeout=0)
    cluster.wait_until(group="billing", left="worker-1", timeout=0)


def test_the_factory_of_the_plugin_makes_clusters(kafka_factory):
    cluster = kafka_factory(brokers=1, topics={"a": 2})
    assert len(described(cluster, "a").partitions) == 2


def test_broker_of_a_cluster_without_control_raises_an_error(tmp_path):
    cluster = KafkaCluster.create(tmp_path, brokers=1)
    with pytest.raises(ClusterError, match=r"use kafka_cluster\(control=True\)"):
        cluster.broker(1)


PROGRAM = """
import sys, time
from kwire.testing import KafkaProcess, kafka_cluster
with kafka_cluster(brokers=1) as cluster, KafkaProcess() as kafka:
    print(cluster.folder, kafka._own_directory, *(node.pid for node in cluster.nodes), kafka.pid, flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="nodes are forks of a process that notices the end on Linux only")
def test_nothing_is_left_of_a_test_process_that_was_killed():
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as process:
        folder, directory, *pids = process.stdout.readline().split()
        process.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + FAR_S
    while any(Path(path).exists() for path in (folder, directory, *(f"/proc/{pid}" for pid in pids))):
        assert time.monotonic() < deadline
        time.sleep(0.02)
