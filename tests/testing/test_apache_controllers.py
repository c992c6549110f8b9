"""Clusters with controllers of Apache Kafka: what is missing is named, and the distribution formats and starts them.

``java`` is here a script that runs kwire's storage tool and kwire's controller instead; interop runs the official ones.
"""

import os
import sys

import pytest

from kwire.testing import kafka_cluster
from kwire.testing.clusters.apache_controllers import find_kafka
from kwire.testing.clusters.local_cluster import LocalCluster
from kwire.testing.clusters.nodes import CONTROLLER_ID, ClusterError, make_nodes

JAVA = f"""#!/bin/sh
echo "$@" >> "$CALLS"
for last; do :; done
case "$*" in
-version) echo 'openjdk version "VERSION"' >&2 ;;
*StorageTool*)
    while [ "$1" != format ]; do shift; done
    exec {sys.executable} -m kwire scripts kafka-storage "$@" ;;
*kafka.Kafka*) exec {sys.executable} -m kwire serve --config "$last" ;;
esac
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A directory like that of a distribution, and a java on the PATH."""
    folder = tmp_path / "kafka"
    (folder / "libs").mkdir(parents=True)
    (folder / "libs" / "kafka-clients-4.4.0.jar").touch()
    programs = tmp_path / "bin"
    programs.mkdir()
    make_java(programs, "17.0.15")
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    for name in ("JAVA_HOME", "KAFKA_HOME", "KAFKA_HEAP_OPTS"):
        monkeypatch.delenv(name, raising=False)
    return folder


def make_java(folder, version):
    (folder / "java").write_text(JAVA.replace("VERSION", version))
    (folder / "java").chmod(0o755)


def test_the_distribution_formats_and_starts_the_controller(home, tmp_path):
    folder = tmp_path / "cluster"
    with kafka_cluster(brokers=1, controllers="apache", kafka_home=home, data=folder) as cluster:
        assert [cluster.state(node) for node in cluster.nodes] == ["running"] * 2
        assert cluster.controller.kind == "apache"
    versions, formatted = (tmp_path / "calls").read_text().splitlines()[:2]
    assert versions == "-version"
    assert "kafka.tools.StorageTool format --cluster-id " in formatted
    assert f"--initial-controllers {CONTROLLER_ID}@localhost:{cluster.controller.port}:" in formatted
    assert "--release-version" not in formatted
    again = LocalCluster.open(folder)
    again.start_node(CONTROLLER_ID)  # KAFKA_HOME is not set: the cluster knows it
    again.kill_all()
    assert (tmp_path / "calls").read_text().count("StorageTool") == 1


def test_a_newer_distribution_formats_with_levels_that_kwire_serves(home, tmp_path):
    (home / "libs" / "kafka-clients-4.4.0.jar").rename(home / "libs" / "kafka-clients-4.10.0.jar")
    LocalCluster.create(tmp_path / "cluster", brokers=1, controllers="apache", kafka_home=home)
    assert "--release-version 4.4-IV2 " in (tmp_path / "calls").read_text()


def test_what_the_storage_tool_refuses_is_named_and_leaves_no_cluster(home, tmp_path):
    settings = {"num.partitions": "none"}
    with pytest.raises(ClusterError, match=r"storage tool of Apache Kafka 4.4.0 formats no controller: (.|\n)*num"):
        LocalCluster.create(tmp_path / "cluster", brokers=1, controllers="apache", kafka_home=home, settings=settings)
    assert not LocalCluster.is_in(tmp_path / "cluster")


def test_what_is_missing_is_one_sentence(home, tmp_path, monkeypatch):
    with pytest.raises(ClusterError, match="name its directory with --kafka-home or KAFKA_HOME"):
        find_kafka(None)
    monkeypatch.setenv("KAFKA_HOME", str(home))
    assert find_kafka(None).release == "4.4.0"
    with pytest.raises(ClusterError, match="it has no libs/kafka-clients-RELEASE"):
        find_kafka(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterError, match="needs Java 17 or later: there is none on the PATH"):
        find_kafka(home)
    monkeypatch.setenv("JAVA_HOME", str(home))
    with pytest.raises(ClusterError, match="there is none in JAVA_HOME"):
        find_kafka(home)


@pytest.mark.parametrize(("version", "major"), [("1.8.0_392", "8"), ("11.0.20", "11")])
def test_an_old_java_is_refused(home, tmp_path, version, major):
    make_java(tmp_path / "bin", version)
    with pytest.raises(ClusterError, match=f"{tmp_path}/bin/java is Java {major}$"):
        find_kafka(home)


def test_an_old_distribution_is_refused(home):
    (home / "libs" / "kafka-clients-4.4.0.jar").rename(home / "libs" / "kafka-clients-3.9.1.jar")
    with pytest.raises(ClusterError, match=r"has Apache Kafka 3\.9\.1: kwire's brokers need 4\.0 or later"):
        find_kafka(home)


def test_options_of_official_controllers_need_them(home, tmp_path):
    with pytest.raises(ClusterError, match="--controller-count 3 needs --controllers apache"):
        LocalCluster.create(tmp_path / "cluster", brokers=1, controller_count=3)
    with pytest.raises(ClusterError, match="--kafka-home counts for --controllers apache only"):
        LocalCluster.create(tmp_path / "cluster", brokers=1, kafka_home=home)
    cluster = LocalCluster.create(tmp_path / "cluster", brokers=1)
    with pytest.raises(ClusterError, match=r"--controllers apache \(it has kwire\), --controller-count 3 \(it has 1\)"):
        cluster.check_options(controllers="apache", controller_count=3)


def test_ports_of_a_secured_cluster_with_three_controllers_follow_each_other():
    nodes = make_nodes(brokers=2, controllers=3, kind="apache", port=9092, secured=True)
    assert [(node.name, node.port, node.inner_port) for node in nodes] == [
        ("controller 100", 9094, 0),
        ("controller 101", 9095, 0),
        ("controller 102", 9096, 0),
        ("broker 1", 9092, 9097),
        ("broker 2", 9093, 9098),
    ]
