"""Clusters of processes: kwire.testing.kafka_cluster and the command kwire cluster."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from kafka.admin import KafkaAdminClient, NewTopic

from kwire.testing import kafka_cluster
from kwire.testing.clusters.local_cluster import CONTROLLER_ID, ClusterError, LocalCluster
from kwire.testing.clusters.nodes import free_ports

# A broker that was killed is noticed after seconds.
SOON_NOTICED = {"broker.session.timeout.ms": 4000, "broker.heartbeat.interval.ms": 500}


@pytest.fixture(scope="module")
def cluster():
    with kafka_cluster(brokers=2, config=SOON_NOTICED) as running:
        yield running


def test_a_topic_has_a_replica_on_each_broker(cluster):
    admin = KafkaAdminClient(bootstrap_servers=cluster.bootstrap_servers)
    admin.create_topics([NewTopic("t", 2, 2)])
    (topic,) = admin.describe_topics(["t"])
    admin.close()
    assert {tuple(sorted(one["replica_nodes"])) for one in topic["partitions"]} == {(1, 2)}
    assert {one["leader_id"] for one in topic["partitions"]} == {1, 2}


def test_each_node_has_its_folder(cluster):
    names = {path.name for path in cluster.folder.iterdir()}
    assert names == {"cluster.json", f"controller-{CONTROLLER_ID}", "broker-1", "broker-2"}
    again = LocalCluster.open(cluster.folder)
    assert [again.state(node) for node in again.nodes] == ["running"] * 3


def test_a_node_is_paused_killed_and_started(cluster):
    cluster.pause(2)
    assert cluster.state(cluster.node(2)) == "paused"
    cluster.resume(2)
    assert cluster.state(cluster.node(2)) == "running"
    cluster.kill(2)
    assert cluster.state(cluster.node(2)) == "stopped"
    with pytest.raises(ClusterError, match="broker 2 does not run"):
        cluster.kill(2)
    cluster.start_node(2)
    with pytest.raises(ClusterError, match="broker 2 runs already"):
        cluster.start_node(2)
    with pytest.raises(ClusterError, match="there is no node 7"):
        cluster.pause(7)
    cluster.wait_for_brokers()


def test_the_command_runs_a_cluster_until_it_is_stopped(tmp_path):
    folder = tmp_path / "cluster"
    command = [sys.executable, "-m", "kwire", "cluster"]
    at = ("--data", str(folder))
    soon = [f"--set={key}={value}" for key, value in SOON_NOTICED.items()]
    with subprocess.Popen(
        [*command, "--brokers", "1", "--port", "0", *soon, *at],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"KWIRE_CONTROL": f"127.0.0.1:{free_ports(1)[0]}", "KWIRE_CONSOLE": "1"},  # of one broker
    ) as process:
        lines = [process.stdout.readline() for _ in range(3)]
        assert re.fullmatch(rf"ready controller {CONTROLLER_ID} localhost:\d+\n", lines[0])
        assert re.fullmatch(r"ready broker 1 localhost:\d+\n", lines[1])
        assert lines[2] == f"bootstrap.servers={lines[1].split()[-1]}\n"
        shown = subprocess.run([*command, "status", *at], capture_output=True, text=True, check=True).stdout
        assert [line.split()[3] for line in shown.splitlines()] == ["running", "running"]
        state = LocalCluster.open(folder)
        if sys.platform == "linux":  # the nodes are forks of the command
            line = Path(f"/proc/{process.pid}/cmdline").read_bytes()
            assert [Path(f"/proc/{node.pid}/cmdline").read_bytes() for node in state.nodes] == [line, line]
            names = [Path(f"/proc/{node.pid}/comm").read_text().strip() for node in state.nodes]
            assert names == [f"controller-{CONTROLLER_ID}", "broker-1"]
        assert "ready" in (folder / "broker-1" / "log").read_text()
        second = subprocess.run([*command, *at], capture_output=True, text=True, check=False, timeout=150)
        assert (second.returncode, second.stdout) == (1, "")
        assert second.stderr == (
            f"Error: the cluster in {folder} runs already, by process {process.pid}: kwire cluster status --data"
            f" {folder} shows its nodes, kwire cluster stop --data {folder} stops them\n"
        )
        for act, then in ((state.pause, "paused"), (state.resume, "running")):
            act(1)
            assert state.state(state.node(1)) == then
        printed = []
        for act, noticed in (
            ("pause", ""),
            ("resume", ""),
            ("kill", "killed"),
            ("start", "started"),
            ("stop", "stopped"),
        ):
            done = subprocess.run([*command, act, "1", *at], capture_output=True, text=True, check=True)
            printed.append(done.stdout)
            if noticed:  # before the next command: two changes of a node that are seen at once are one line
                assert process.stderr.readline() == f"broker 1 was {noticed} by another command\n"
        session = "when the session of this broker ends, after 4000 ms (broker.session.timeout.ms)\n"
        new_leader = "partitions with another in-sync replica get a new leader"
        assert printed == [
            f"paused broker 1: {new_leader} {session}",
            "resumed broker 1\n",
            f"killed broker 1: {new_leader} {session}",
            f"started broker 1 at localhost:{lines[1].strip().rpartition(':')[2]}\n",
            "stopped broker 1: partitions with another in-sync replica got a new leader before it ended\n",
        ]
        refused = subprocess.run([*command, "kill", "1", *at], capture_output=True, text=True, check=False)
        assert (refused.returncode, refused.stderr) == (1, "Error: broker 1 does not run\n")
        subprocess.run([*command, "start", "1", *at], check=True)
        assert process.stderr.readline() == "broker 1 was started by another command\n"
        printed = [
            subprocess.run([*command, *act, *at], capture_output=True, text=True, check=True).stdout
            for act in (("snapshot", "make", "a"), ("reset",), ("snapshot", "restore", "a"))
        ]
        assert printed == ["made the snapshot a\n", "emptied all nodes\n", "restored the snapshot a\n"]
        listed = subprocess.run([*command, "snapshot", "list", *at], capture_output=True, text=True, check=True)
        assert listed.stdout == "a\n"
        assert [state.state(node) for node in LocalCluster.open(folder).nodes] == ["running"] * 2
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(150) == 0
        seen = process.stderr.read().splitlines()
        replaced = "another command replaces the state of all nodes, and starts them again"
        assert {replaced, "broker 1 was started again by another command"}.intersection(seen)
        assert "no node runs any more: this command ends" not in seen
    nodes = json.loads((folder / "cluster.json").read_text())["nodes"]
    assert [node["pid"] for node in nodes] == [0, 0]


def test_the_command_says_why_its_nodes_went_away_and_ends(tmp_path):
    command = [sys.executable, "-m", "kwire", "cluster"]
    at = ("--data", str(tmp_path / "cluster"))
    with subprocess.Popen(
        [*command, "--brokers", "1", "--port", "0", *at], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        while not process.stdout.readline().startswith("bootstrap.servers="):
            pass
        os.kill(LocalCluster.open(tmp_path / "cluster").node(1).pid, signal.SIGKILL)
        first = process.stderr.readline()
        stopped = subprocess.run([*command, "stop", *at], capture_output=True, text=True, check=True)
        assert process.wait(150) == 0
        seen = process.stderr.read().splitlines()
    if sys.platform == "linux":  # the nodes are children of the command
        assert first == "broker 1 was ended by the signal SIGKILL, not by a kwire cluster command\n"
    assert stopped.stdout == f"stopped controller {CONTROLLER_ID}\n"
    assert seen == [
        f"controller {CONTROLLER_ID} was stopped by another command",
        "no node runs any more: this command ends",
    ]
    again = subprocess.run([*command, "stop", *at], capture_output=True, text=True, check=True)
    assert again.stdout == "no node ran\n"


def test_a_node_that_ends_at_its_start_ends_the_command_with_its_log(tmp_path):
    folder = tmp_path / "cluster"
    LocalCluster.create(folder, brokers=1, settings={"num.partitions": "none"})
    command = [sys.executable, "-m", "kwire", "cluster", "--data", str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=150)
    assert ended.returncode == 1
    assert re.search(r"controller 100 does not start; its log ends:(.|\n)*num.partitions", ended.stderr)
    assert ended.stdout == ""


def test_a_process_that_only_has_the_number_of_a_node_is_not_the_node(tmp_path):
    cluster = LocalCluster.create(tmp_path, brokers=1)
    node = cluster.node(1)
    with subprocess.Popen(["sleep", "60", str(tmp_path / "broker-1" / "server.properties")]) as other:
        node.pid, node.started_ticks = other.pid, 1
        assert cluster.state(node) == "stopped"
        other.kill()


def test_a_folder_without_a_cluster_is_refused(tmp_path):
    with pytest.raises(ClusterError, match="has no cluster"):
        LocalCluster.open(tmp_path)


def test_a_node_that_does_not_start_is_named_with_its_log(tmp_path):
    cluster = LocalCluster.create(tmp_path, brokers=1, settings={"num.partitions": "none"})
    with pytest.raises(ClusterError, match=r"controller 100 does not start; its log ends:(.|\n)*num.partitions"):
        list(cluster.start())
    cluster.kill_all()


def test_options_that_a_cluster_contradicts_are_refused(tmp_path):
    cluster = LocalCluster.create(tmp_path, brokers=2, port=19092, settings={"num.partitions": "4"})
    cluster.check_options(brokers=2, port=19092, settings={"num.partitions": "4"})
    cluster.check_options()
    with pytest.raises(ClusterError) as refused:
        cluster.check_options(brokers=5, port=29092, settings={"num.partitions": "6", "log.retention.ms": "1"})
    for text in ("--brokers 5 (it has 2)", "--port 29092 (broker 1 has 19092)", "num.partitions=6", "log.retention.ms"):
        assert text in str(refused.value)
    with pytest.raises(ClusterError, match="--brokers 3"), kafka_cluster(3, data=tmp_path):
        pass
    command = [sys.executable, "-m", "kwire", "cluster", "--data", str(tmp_path)]
    for options, text in ((["--brokers", "3"], "--brokers 3 (it has 2)"), (["--set", "a=b"], "--set a=b")):
        ended = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
        assert ended.returncode == 1
        assert text in ended.stderr
    assert [cluster.state(node) for node in cluster.nodes] == ["stopped"] * 3


def test_ports_of_nodes_are_below_those_that_the_system_gives_by_itself():
    """So a node that is down finds its port free when it starts again."""
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert max(ports) < 32768


@pytest.mark.parametrize(("options", "named"), [(("--data", "other"), "--data DIR"), (("--port", "9192"), "--port")])
def test_an_option_before_a_subcommand_is_refused(options, named):
    command = [sys.executable, "-m", "kwire", "cluster", *options, "status"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=150)
    assert (ended.returncode, named in ended.stderr) == (2, True)
