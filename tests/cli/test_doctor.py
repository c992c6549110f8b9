"""`kwire doctor`: each thing that can be wrong between a client and a broker."""

from __future__ import annotations

import json
import socket

import pytest
from click.testing import CliRunner
from fake_broker import CERTIFICATE, CLOSE, fake_broker

from kwire.cli.connections.connection import PLAINTEXT, Address
from kwire.cli.diagnosis.diagnosis import LocalEnvironment, examine
from kwire.cli.main import main
from kwire.kafka_release import RELEASE
from kwire.testing import KafkaBroker
from kwire.wire.messages import (
    ApiVersionsResponse,
    DescribeClusterResponse,
    MetadataResponse,
    SaslAuthenticateResponse,
    SaslHandshakeResponse,
)

MACHINE, CONTAINER = LocalEnvironment(in_container=False), LocalEnvironment(in_container=True)
METADATA, SASL_HANDSHAKE, SASL_AUTHENTICATE = 3, 17, 36
ALL = {
    0: (3, 12),
    1: (4, 17),
    2: (1, 10),
    METADATA: (0, 12),
    10: (0, 6),
    SASL_HANDSHAKE: (0, 1),
    18: (0, 4),
    22: (0, 5),
}
Broker = MetadataResponse.MetadataResponseBroker


def doctor(address, *arguments):
    return CliRunner().invoke(main, ["doctor", address, *arguments])


def findings(broker, environment=MACHINE, *, host="127.0.0.1", security=PLAINTEXT):
    return list(examine(Address(host, broker.port), security, 10.0, environment))


def troubles(broker, environment=MACHINE, **how):
    return [finding for finding in findings(broker, environment, **how) if finding.level != "ok"]


def cluster(*brokers, controller_id=1, **fields):
    return MetadataResponse(
        brokers=[Broker(node_id=number, host=host, port=port) for number, (host, port) in enumerate(brokers, 1)],
        controller_id=controller_id,
        cluster_id="here",
        **fields,
    )


@pytest.mark.parametrize("persona", ["3.9", "4.0"])
def test_an_older_broker_is_named_by_its_release(persona):
    with KafkaBroker(persona=persona) as kafka:
        assert f"APIs, like Kafka {persona}\n" in doctor(kafka.bootstrap_servers).output


@pytest.fixture
def names(monkeypatch):
    """Names that resolve in addition to those of the machine."""
    known = {}
    real = socket.getaddrinfo

    def getaddrinfo(host, port, *args, **kwargs):
        if host.endswith(".example"):
            if host not in known:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            return [found for number in known[host] for found in real(number, port, *args, **kwargs)]
        return real(host, port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return known


def test_a_healthy_broker_has_no_problem(kafka):
    kafka.create_topic("orders", 3)
    ended = doctor(kafka.bootstrap_servers)
    as_json = json.loads(doctor(kafka.bootstrap_servers, "--json").stdout)

    assert ended.exit_code == 0
    assert "localhost resolves to " in ended.output
    assert f"like Kafka {RELEASE[:3]}" in ended.output
    assert "the address that was given" in ended.output
    assert "1 topic with 3 partitions; each partition has a leader" in ended.output
    assert ended.output.endswith("A client on this machine can connect.\n")
    assert as_json["healthy"] is True
    assert {finding["level"] for finding in as_json["findings"]} == {"ok"}


def test_the_broker_may_be_named_as_everywhere_else(tmp_path):
    properties = tmp_path / "client.properties"
    with fake_broker({}, greeting=b"HTTP/1.1 400 Bad Request\r\n\r\n") as broker:
        properties.write_text(f"bootstrap.servers={broker.address},other.example:9092")
        by_option = CliRunner().invoke(main, ["doctor", "-b", f"PLAINTEXT://{broker.address}"])
        by_file = CliRunner().invoke(main, ["doctor", "--config", str(properties)])
        by_variable = CliRunner(env={"KWIRE_BOOTSTRAP": broker.address}).invoke(main, ["doctor"])

    assert f"{broker.address} is an HTTP server" in by_option.stdout
    assert by_option.stdout == by_file.stdout == by_variable.stdout


def test_a_name_that_does_not_resolve(names):
    ended = doctor("kafka.example:9092")

    assert ended.exit_code == 1
    assert "problem  the name kafka.example does not resolve" in ended.output
    assert "on the same" in ended.output
    assert ended.output.endswith("1 problem found.\n")


def test_a_port_on_which_nothing_listens_is_a_problem():
    with fake_broker({}) as broker:
        pass
    (_, refused) = findings(broker)
    (_, refused_inside) = findings(broker, CONTAINER)

    assert refused.level == "problem"
    assert f"nothing listens on port {broker.port}" in refused.what
    assert f"kwire serve --listen PLAINTEXT://localhost:{broker.port}" in refused.advice
    assert "is the container itself" in refused_inside.advice
    for advice in (refused.advice, refused_inside.advice):
        assert advice.startswith("Check that the broker runs, and on this port. To start one: kwire serve")


def test_nothing_listens_on_a_name_of_the_network(names):
    names["kafka.example"] = ["127.0.0.1"]
    with fake_broker({}) as broker:
        pass
    (_, refused) = findings(broker, host="kafka.example")

    assert "not only on localhost" in refused.advice


def test_only_one_of_two_ip_addresses_answers(names):
    names["kafka.example"] = ["127.0.0.2", "127.0.0.1"]
    with fake_broker(ALL, {METADATA: CLOSE}) as broker:
        trouble = troubles(broker, host="kafka.example")[0]

    assert trouble.level == "warning"
    assert "accepts connections at 127.0.0.1, but not at 127.0.0.2" in trouble.what


def test_an_http_server_is_named():
    with fake_broker({}, greeting=b"HTTP/1.1 400 Bad Request\r\n\r\n") as broker:
        (trouble,) = troubles(broker)

    assert trouble.level == "problem"
    assert "HTTP" in trouble.what


def test_a_web_server_that_waits_for_the_end_of_a_line():
    with fake_broker({}, greeting=b"HTTP/1.0 200 OK\r\n\r\n", greets_after=b"\r\n\r\n") as server:
        (*_, trouble) = examine(Address("127.0.0.1", server.port), PLAINTEXT, 0.3, MACHINE)

    assert trouble.level == "problem"
    assert "is an HTTP server" in trouble.what


def test_a_port_with_another_protocol_is_a_problem():
    with fake_broker({}, greeting=b"\x00\x00\x00\x00whatever") as broker:
        (trouble,) = troubles(broker)

    assert trouble.level == "problem"
    assert trouble.advice == "Check that this is the port of a Kafka broker."


@pytest.mark.parametrize("how", [{"greeting": b"\x15\x03\x01\x00\x02\x02\x46"}, {"tls": True}], ids=["alert", "closes"])
def test_a_listener_that_requires_tls(how):
    with fake_broker({}, **how) as broker:
        (trouble,) = troubles(broker)

    assert trouble.level == "problem"
    assert "requires TLS" in trouble.what
    assert "security.protocol" in trouble.advice


def test_an_untrusted_and_a_trusted_certificate(tmp_path):
    settings = tmp_path / "client.properties"
    settings.write_text("security.protocol=SSL\n")
    trusting = tmp_path / "trusting.properties"
    trusting.write_text(
        f"security.protocol=SSL\nssl.truststore.type=PEM\nssl.truststore.location={CERTIFICATE}\nlinger.ms=5\n"
    )
    answers = {METADATA: cluster()}
    with fake_broker(ALL, answers, tls=True) as broker:
        answers[METADATA] = cluster(("localhost", broker.port))
        doubtful = doctor(f"localhost:{broker.port}", "--config", str(settings))
        trusted = doctor(f"localhost:{broker.port}", "--config", str(trusting))

    assert doubtful.exit_code == 1
    assert "ssl.truststore" in doubtful.output
    assert trusted.exit_code == 0, trusted.output
    assert "no effect here: linger.ms" in trusted.output


def test_a_tls_client_on_a_listener_without_tls(tmp_path):
    settings = tmp_path / "client.properties"
    settings.write_text("security.protocol=SSL\n")
    with fake_broker(ALL) as broker:
        ended = doctor(broker.address, "--config", str(settings))

    assert ended.exit_code == 1
    assert "set security.protocol to PLAINTEXT" in " ".join(ended.output.split())


def test_a_listener_that_requires_sasl():
    answers = {METADATA: CLOSE, SASL_HANDSHAKE: SaslHandshakeResponse(error_code=33, mechanisms=["PLAIN"])}
    with fake_broker(ALL, answers) as broker:
        (trouble,) = troubles(broker)

    assert trouble.step == "security"
    assert "requires SASL (PLAIN)" in trouble.what
    assert "security.protocol=SASL_PLAINTEXT" in trouble.advice


def test_a_sasl_client_on_a_listener_without_sasl(tmp_path):
    settings = tmp_path / "client.properties"
    settings.write_text(
        "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\n"
        'sasl.jaas.config=x required username="a" password="b";\n'
    )
    with fake_broker(ALL, {SASL_HANDSHAKE: SaslHandshakeResponse(error_code=34)}) as broker:
        ended = doctor(broker.address, "--config", str(settings))

    assert ended.exit_code == 1
    assert "does not support SASL PLAIN; it supports none: this listener uses no SASL" in words(ended)
    assert "set security.protocol to PLAINTEXT" in words(ended)


def words(ended):
    return " ".join(ended.output.split())


@pytest.mark.parametrize(
    ("mechanism", "answers", "advice"),
    [
        (
            "PLAIN",
            {SASL_HANDSHAKE: SaslHandshakeResponse(error_code=33, mechanisms=["SCRAM-SHA-256"])},
            "set sasl.mechanism to SCRAM-SHA-256, with its login module",
        ),
        ("PLAIN", {SASL_AUTHENTICATE: SaslAuthenticateResponse(error_code=58, error_message="no")}, "user_NAME="),
        (
            "SCRAM-SHA-512",
            {SASL_AUTHENTICATE: SaslAuthenticateResponse(error_code=58, error_message="no")},
            "kwire users add NAME sets a password",
        ),
    ],
)
def test_a_login_that_fails_is_explained(tmp_path, mechanism, answers, advice):
    settings = tmp_path / "client.properties"
    settings.write_text(
        f"security.protocol=SASL_PLAINTEXT\nsasl.mechanism={mechanism}\n"
        'sasl.jaas.config=x required username="a" password="s3cret";\n'
    )
    with fake_broker({**ALL, SASL_AUTHENTICATE: (0, 2)}, answers) as broker:
        ended = doctor(broker.address, "--config", str(settings))

    assert ended.exit_code == 1
    assert advice in words(ended)
    assert "s3cret" not in ended.output


@pytest.mark.parametrize(
    ("levels", "level", "text"),
    [
        ({"metadata.version": 30, "transaction.version": 2}, "ok", "can join cluster here"),
        ({"metadata.version": 30, "some.version": 1}, "problem", "--feature some.version=0"),
        ({"metadata.version": 99}, "problem", "--release-version 4.4-IV2"),
    ],
)
def test_a_controller_shows_whether_a_kwire_broker_can_join(levels, level, text):
    features = [ApiVersionsResponse.FinalizedFeatureKey(name=name, max_version_level=at) for name, at in levels.items()]
    keys = {18: (0, 5), 60: (0, 2), 62: (0, 4)}
    apis = [ApiVersionsResponse.ApiVersion(api_key=key, max_version=high) for key, (_, high) in keys.items()]
    answers = {
        18: ApiVersionsResponse(api_keys=apis, finalized_features=features),
        60: DescribeClusterResponse(cluster_id="here"),
    }
    with fake_broker(keys, answers) as controller:
        found = findings(controller)
    assert [(one.step, one.level) for one in found[-2:]] == [("versions", "warning"), ("controller", level)]
    assert text in found[-1].what + found[-1].advice


def test_a_listener_for_controllers():
    with fake_broker({18: (0, 4), 52: (0, 2)}) as broker:
        (trouble,) = troubles(broker)

    assert trouble.level == "problem"
    assert "controllers" in trouble.what


def test_a_broker_too_old_for_current_clients():
    answers = {METADATA: cluster(("127.0.0.1", 1))}
    with fake_broker({**ALL, 0: (0, 2), 22: (0, -1)}, answers) as broker:
        old, no_ids = [trouble for trouble in troubles(broker) if trouble.step == "versions"]

    assert "Produce at versions 0 to 2" in old.what
    assert no_ids.level == "warning"
    assert "enable.idempotence=false" in no_ids.advice


def test_a_broker_without_an_api_that_every_client_needs():
    with fake_broker({METADATA: (0, 12), 18: (0, 4)}, {METADATA: CLOSE}) as broker:
        missing = [trouble.what for trouble in troubles(broker) if trouble.step == "versions"]

    assert any("does not serve Fetch" in what for what in missing)


def test_an_advertised_name_that_does_not_resolve(names):
    with fake_broker(ALL, {METADATA: cluster(("broker.example", 9092))}) as broker:
        (trouble,) = troubles(broker)

    assert trouble.level == "problem"
    assert "broker 1 advertises broker.example:9092" in trouble.what
    assert "does not resolve on this machine" in trouble.what
    assert f"advertised.listeners=PLAINTEXT://127.0.0.1:{broker.port}" in trouble.advice
    assert "two listeners" in trouble.advice


def test_a_port_advertised_that_no_brokers_listens_on():
    with fake_broker({}) as gone:
        pass
    with fake_broker(ALL, {METADATA: cluster(("localhost", gone.port))}) as broker:
        (trouble,) = troubles(broker)

    assert trouble.level == "problem"
    assert f"nothing listens on localhost:{gone.port}" in trouble.what
    assert f"Port {broker.port} answers, and port {gone.port} does not" in trouble.advice
    assert f"advertised.listeners=PLAINTEXT://127.0.0.1:{broker.port}" in trouble.advice
    assert "/etc/hosts" not in trouble.advice


@pytest.mark.parametrize(("environment", "itself"), [(MACHINE, "own machine"), (CONTAINER, "own container")])
def test_localhost_advertised_to_a_client_from_elsewhere(names, environment, itself):
    names["kafka.example"] = ["127.0.0.1"]
    with fake_broker({}) as gone:
        pass
    with fake_broker(ALL, {METADATA: cluster(("localhost", gone.port))}) as broker:
        (trouble,) = troubles(broker, environment, host="kafka.example")

    assert trouble.level == "problem"
    assert "nothing listens" in trouble.what
    assert itself in trouble.advice
    assert f"advertised.listeners=PLAINTEXT://kafka.example:{broker.port}" in trouble.advice


def test_localhost_advertised_works_on_this_machine_only(names):
    names["kafka.example"] = ["127.0.0.1"]
    answers = {}
    with fake_broker(ALL, answers) as broker:
        answers[METADATA] = cluster(("localhost", broker.port))
        (trouble,) = troubles(broker, host="kafka.example")

    assert trouble.level == "warning"
    assert "only clients on its own machine" in trouble.what


def test_another_cluster_at_the_advertised_name():
    other = cluster()
    other.cluster_id = "there"
    with (
        fake_broker(ALL, {METADATA: other}) as elsewhere,
        fake_broker(ALL, {METADATA: cluster(("127.0.0.1", elsewhere.port))}) as broker,
    ):
        (trouble,) = troubles(broker)

    assert trouble.level == "problem"
    assert "another cluster (there, not here)" in trouble.what


def test_an_advertised_wildcard_address_is_a_problem():
    with fake_broker(ALL, {METADATA: cluster(("0.0.0.0", 9092))}) as broker:
        (trouble,) = troubles(broker)

    assert "a client cannot connect to that address" in trouble.what


def test_no_brokers_no_controller_and_no_leader():
    answers = {}
    with fake_broker(ALL, answers) as broker:
        answers[METADATA] = cluster()
        (no_brokers,) = troubles(broker)
        topic = MetadataResponse.MetadataResponseTopic
        partition = MetadataResponse.MetadataResponsePartition
        answers[METADATA] = cluster(
            ("127.0.0.1", broker.port),
            controller_id=-1,
            topics=[topic(name="orders", partitions=[partition(partition_index=2, leader_id=-1)])],
        )
        no_controller, no_leader = troubles(broker)

    assert no_brokers.what == "the cluster has no brokers"
    assert no_controller.level == "warning"
    assert "not available, because they have no leader: orders-2" in no_leader.what


def test_the_port_of_zookeeper_is_named():
    with fake_broker({}, greeting=b"\x00\x00\x00\x00") as broker:
        address = Address("127.0.0.1", broker.port)
        from kwire.cli.diagnosis import diagnosis

        pretended = diagnosis._connection_failed(Address("127.0.0.1", 2181), PLAINTEXT, _error_of(address), 1.0)

    assert "usually 9092" in pretended.advice


def _error_of(address):
    from kwire.cli.connections.connection import ClientError, Connection

    with pytest.raises(ClientError) as caught:
        Connection(address)
    return caught.value
