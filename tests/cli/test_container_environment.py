"""Environment variables of the images that people know, as broker settings."""

import pytest

from kwire.cli.settings.container_environment import read_environment


def settings(**environment):
    return {key: text for key, (text, _) in read_environment(environment).settings.items()}


@pytest.mark.parametrize(
    ("variable", "key"),
    [
        ("KAFKA_LOG_DIRS", "log.dirs"),
        ("KAFKA_CFG_LOG_DIRS", "log.dirs"),
        ("KAFKA_LISTENER_NAME_OUT_SASL__SSL_MAX_CONNECTIONS", None),
        ("KAFKA_CFG_CONTROLLER_QUORUM_VOTERS", "controller.quorum.voters"),
        ("KAFKA_CFG_AUTO_CREATE_TOPICS_ENABLE", "auto.create.topics.enable"),
        ("KAFKA_CFG_NODE_ID", "node.id"),
        ("KAFKA_LOGS_DIRS", "log.dirs"),
        ("KAFKA_MAX_MESSAGE_BYTES", "message.max.bytes"),
        ("KAFKA_ZOOKEEPER_CONNECT", "zookeeper.connect"),
        ("KAFKA_CFG_ZOOKEEPER_CONNECT", "zookeeper.connect"),
    ],
)
def test_variables_of_apache_confluent_and_bitnami_name_settings(variable, key):
    read = read_environment({variable: "x"})

    assert dict(read.settings) == ({} if key is None else {key: ("x", variable)})
    assert read.unknown == ([variable] if key is None else [])


def test_every_variable_that_is_not_understood_is_named():
    read = read_environment(
        {"KAFKA_LOG_DIRZ": "/x", "KAFKA_CFG_NUM_PARTITONS": "3", "PATH": "/bin", "OTHER_KAFKA": "1"}
    )

    assert read.unknown == ["KAFKA_CFG_NUM_PARTITONS", "KAFKA_LOG_DIRZ"]


@pytest.mark.parametrize(
    "variable",
    [
        "KAFKA_OPTS",
        "KAFKA_HEAP_OPTS",
        "KAFKA_JMX_PORT",
        "KAFKA_LOG4J_LOGGERS",
        "KAFKA_LOG4J_ROOT_LOGLEVEL",
        "KAFKA_VERSION",
        "KAFKA_REST_BOOTSTRAP_SERVERS",
        "KAFKA_CONFLUENT_SUPPORT_METRICS_ENABLE",
        "KAFKA_SERVICE_HOST",
        "KAFKA_PORT_9092_TCP_ADDR",
    ],
)
def test_variables_about_a_jvm_or_another_program_are_known_to_have_no_effect(variable):
    read = read_environment({variable: "x"})

    assert (read.without_effect, read.unknown, read.settings) == ([variable], [], {})


def test_an_empty_variable_is_one_that_is_not_set():
    read = read_environment({"KAFKA_LOG_DIRS": "", "KAFKA_NONSENSE": "", "CLUSTER_ID": " ", "KAFKA_CREATE_TOPICS": ""})

    assert (read.settings, read.unknown, read.cluster_id, read.topics) == ({}, [], None, [])


@pytest.mark.parametrize("variable", ["CLUSTER_ID", "KAFKA_CLUSTER_ID", "KAFKA_KRAFT_CLUSTER_ID"])
def test_the_cluster_id_has_three_names(variable):
    assert read_environment({variable: "4L6g3nShT-eMCtK--X86sw"}).cluster_id == "4L6g3nShT-eMCtK--X86sw"


def test_topics_to_create_are_separated_by_commas_or_by_what_is_given():
    assert read_environment({"KAFKA_CREATE_TOPICS": "a:1:1,b:2:1:compact"}).topics == ["a:1:1", "b:2:1:compact"]
    separated = {"KAFKA_CREATE_TOPICS": "a:1:1\nb:2:1\n", "KAFKA_CREATE_TOPICS_SEPARATOR": "\n"}
    assert read_environment(separated).topics == ["a:1:1", "b:2:1"]


def test_an_advertised_host_name_and_port_become_listeners():
    assert settings(KAFKA_ADVERTISED_HOST_NAME="192.168.99.100") == {
        "listeners": "PLAINTEXT://:9092",
        "advertised.listeners": "PLAINTEXT://192.168.99.100:9092",
    }
    assert settings(KAFKA_ADVERTISED_HOST_NAME="me", KAFKA_ADVERTISED_PORT="9094", KAFKA_PORT="9093") == {
        "listeners": "PLAINTEXT://:9093",
        "advertised.listeners": "PLAINTEXT://me:9094",
    }
    assert settings(KAFKA_HOST_NAME="10.0.0.1", KAFKA_PORT="9093") == {
        "listeners": "PLAINTEXT://10.0.0.1:9093",
        "advertised.listeners": "PLAINTEXT://10.0.0.1:9093",
    }


def test_two_protocol_names_become_two_listeners():
    read = settings(
        KAFKA_ADVERTISED_HOST_NAME="me",
        KAFKA_ADVERTISED_PORT="9094",
        KAFKA_ADVERTISED_PROTOCOL_NAME="OUTSIDE",
        KAFKA_PROTOCOL_NAME="INSIDE",
        KAFKA_LISTENER_SECURITY_PROTOCOL_MAP="OUTSIDE:PLAINTEXT,INSIDE:PLAINTEXT",
    )

    assert read["listeners"] == "OUTSIDE://:9094,INSIDE://:9092"
    assert read["advertised.listeners"] == "OUTSIDE://me:9094,INSIDE://:9092"


def test_listeners_take_precedence_over_host_names_and_ports():
    read = read_environment({"KAFKA_LISTENERS": "PLAINTEXT://:1", "KAFKA_PORT": "2", "KAFKA_ADVERTISED_HOST_NAME": "x"})

    assert dict(read.settings) == {"listeners": ("PLAINTEXT://:1", "KAFKA_LISTENERS")}
    assert read.without_effect == ["KAFKA_ADVERTISED_HOST_NAME", "KAFKA_PORT"]


def test_a_port_that_kubernetes_sets_for_a_service_named_kafka_is_no_port():
    read = read_environment({"KAFKA_PORT": "tcp://10.3.0.1:9092"})

    assert (dict(read.settings), read.without_effect) == ({}, ["KAFKA_PORT"])
