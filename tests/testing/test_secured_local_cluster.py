"""Clusters of processes with TLS, login and ACLs: kafka_cluster(users=...) and kwire cluster --secure."""

import re
import signal
import ssl
import stat
import subprocess
import sys

import pytest
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.errors import KafkaError
from kafka.net.compat import KafkaNetClient

from kwire.cli.connections.client_config import read_properties, security_of
from kwire.cli.connections.connection import Connection, parse_address
from kwire.security.tls.development import read_authority
from kwire.testing import kafka_cluster
from kwire.testing.clusters.local_cluster import LocalCluster
from kwire.testing.clusters.nodes import ClusterError
from kwire.testing.clusters.requests import answers, ask
from kwire.wire.messages import CreateTopicsRequest

COMMAND = [sys.executable, "-m", "kwire", "cluster"]
AUTHORIZATION_FAILED = {29, 31}  # TOPIC, CLUSTER


@pytest.fixture(scope="module")
def cluster():
    with kafka_cluster(brokers=2, users={"alice": "alice-secret"}) as running:
        yield running


def settings_of(cluster, password="alice-secret"):
    return {
        "bootstrap_servers": cluster.bootstrap_servers,
        "security_protocol": "SASL_SSL",
        "ssl_cafile": cluster.ca_file,
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "alice",
        "sasl_plain_password": password,
        "bootstrap_timeout_ms": 2000,
    }


def test_a_record_of_a_user_is_copied_by_the_other_broker(cluster):
    admin = KafkaAdminClient(**settings_of(cluster))
    admin.create_topics([NewTopic("t", 1, 2)])
    admin.close()
    # With acks=all the answer waits for the follower, which fetches over TLS with its certificate.
    producer = KafkaProducer(acks="all", **settings_of(cluster))
    assert producer.send("t", b"one").get(150).offset == 0
    producer.close()


def test_a_wrong_password_is_refused(cluster):
    opened = []

    def open_one(**config):
        opened.append(KafkaNetClient(**config))
        return opened[-1]

    with pytest.raises(KafkaError):
        KafkaAdminClient(kafka_client=open_one, **settings_of(cluster, "wrong"))
    opened[-1].close()  # the admin client leaves it open


@pytest.mark.parametrize("name", ["broker", "controller"])
def test_the_listeners_of_nodes_take_certificates_of_the_cluster_only(cluster, name):
    port = cluster.controller.port if name == "controller" else cluster.brokers[0].nodes_port
    assert answers(port, cluster.security.tls)
    assert not answers(port, ssl.create_default_context(cafile=cluster.ca_file))


def test_a_certificate_of_the_same_authority_is_not_a_super_user(cluster, tmp_path):
    from datetime import UTC, datetime

    files = [(cluster.security.folder / name).read_bytes() for name in ("ca.key", "ca.pem")]
    (tmp_path / "bob.pem").write_text(read_authority(*files).issue("bob", now=datetime.now(UTC)).pem)
    context = ssl.create_default_context(cafile=cluster.ca_file)
    context.load_cert_chain(tmp_path / "bob.pem")
    topic = CreateTopicsRequest.CreatableTopic(name="of-bob", num_partitions=1, replication_factor=1)
    request = CreateTopicsRequest(topics=[topic], timeout_ms=5000)
    answer = ask(cluster.brokers[0].nodes_port, request, version=7, tls=context)
    assert answer.topics[0].error_code in AUTHORIZATION_FAILED


def test_the_first_start_of_the_command_makes_a_user(tmp_path):
    properties = tmp_path / "certs" / "admin.properties"
    command = [*COMMAND, "--secure", "--brokers", "1", "--port", "0", "--data", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            lines = [process.stdout.readline() for _ in range(5)]
            password = re.fullmatch(r"user admin with password (\S{24}) \(shown this once; .*\)\n", lines[2])
            assert password
            assert str(properties) in lines[3]
            address = parse_address(lines[4].removeprefix("bootstrap.servers=").strip())
            with Connection(address, security=security_of(read_properties(str(properties)))) as connection:
                assert connection.api_versions
            assert LocalCluster.open(tmp_path).store_users({}) == []  # as the next start does
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(150) == 0
    assert f'password="{password[1]}"' in properties.read_text()
    for path in (properties, tmp_path / "certs" / "ca.key", tmp_path / "certs" / "broker-1.pem"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_super_users_of_a_setting_stand_beside_the_nodes(tmp_path):
    given = {"super.users": "User:ops"}
    cluster = LocalCluster.create(tmp_path / "set", brokers=1, settings=given, secure=True)
    assert cluster.super_users == ["ops"]
    cluster.check_options(settings=given, secure=True)
    cluster = LocalCluster.create(tmp_path / "named", brokers=1, secure=True, users=["alice", "bob"])
    assert cluster.super_users == ["alice", "bob"]
    with pytest.raises(ClusterError, match="--user carol"):
        cluster.check_options(users=["alice", "carol"])


def test_a_cluster_that_is_not_secured_stays_so(tmp_path):
    cluster = LocalCluster.create(tmp_path, brokers=1)
    with pytest.raises(ClusterError, match="--secure"):
        cluster.check_options(secure=True)
    with pytest.raises(ClusterError, match="is not secured"):
        _ = cluster.ca_file
    with pytest.raises(ClusterError, match="--user a would have no effect"):
        cluster.check_options(users=["a"])
    with pytest.raises(ClusterError, match="--user needs --secure"):
        LocalCluster.create(tmp_path / "other", brokers=1, users=["a"])


def test_settings_of_the_user_count_except_those_that_the_cluster_makes(tmp_path):
    given = {"sasl.enabled.mechanisms": "SCRAM-SHA-512"}
    cluster = LocalCluster.create(tmp_path / "set", brokers=1, secure=True, settings=given)
    assert "sasl.enabled.mechanisms=SCRAM-SHA-512\n" in (cluster.folder / "broker-1" / "server.properties").read_text()
    with pytest.raises(ClusterError, match=r"the cluster itself sets listeners, node\.id of each node"):
        LocalCluster.create(tmp_path / "refused", brokers=1, settings={"node.id": "7", "listeners": "A://:1"})
