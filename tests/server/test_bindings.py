from __future__ import annotations

import pytest

from kwire.metadata.configs.definitions import ConfigProblem
from kwire.metadata.configs.effective import BrokerSettings, EffectiveConfigs
from kwire.metadata.image import MetadataImage
from kwire.server.bindings import UNLIMITED, read_bindings, read_limits, read_socket_options


def settings(**texts):
    named = {key.replace("__", "-").replace("_", "."): text for key, text in texts.items()}
    return EffectiveConfigs(MetadataImage(), BrokerSettings(named), node_id=-1)


def test_a_listener_is_name_host_and_port():
    (binding,) = read_bindings(settings(listeners="PLAINTEXT://localhost:9092"))

    assert (binding.name, binding.host, binding.port) == ("PLAINTEXT", "localhost", 9092)
    assert (binding.endpoint.host, binding.endpoint.port) == ("localhost", 9092)
    assert binding.url == "PLAINTEXT://localhost:9092"


def test_kafkas_default_listens_everywhere_and_advertises_localhost():
    (binding,) = read_bindings(settings())

    assert binding.host == ""
    assert binding.advertises_stand_in
    assert (binding.endpoint.host, binding.endpoint.port) == ("localhost", 9092)


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]"])
def test_an_address_that_cannot_be_dialled_is_not_advertised(host):
    (binding,) = read_bindings(settings(listeners=f"PLAINTEXT://{host}:9092"))

    assert binding.endpoint.host == "localhost"


def test_a_container_and_its_host_get_different_names():
    bindings = read_bindings(
        settings(
            listeners="IN://0.0.0.0:29092, OUT://0.0.0.0:9092",
            advertised_listeners="IN://kafka:29092,OUT://localhost:9092",
            listener_security_protocol_map="IN:PLAINTEXT,OUT:PLAINTEXT",
            inter_broker_listener_name="IN",
        )
    )

    assert [(one.endpoint.name, one.endpoint.host, one.endpoint.port) for one in bindings] == [
        ("IN", "kafka", 29092),
        ("OUT", "localhost", 9092),
    ]
    assert not any(one.advertises_stand_in for one in bindings)


def test_an_advertised_port_0_is_the_port_that_was_got():
    (binding,) = read_bindings(settings(listeners="PLAINTEXT://:9099", advertised_listeners="PLAINTEXT://here:0"))

    assert (binding.endpoint.host, binding.endpoint.port) == ("here", 9099)


def test_a_port_advertised_without_a_name_is_a_port_of_this_machine():
    (everywhere,) = read_bindings(settings(listeners="PLAINTEXT://:9092", advertised_listeners="PLAINTEXT://:19092"))
    (here,) = read_bindings(settings(listeners="PLAINTEXT://me:9092", advertised_listeners="PLAINTEXT://:19092"))

    assert (everywhere.endpoint.host, everywhere.endpoint.port) == ("localhost", 19092)
    assert everywhere.advertises_stand_in
    assert (here.endpoint.host, here.endpoint.port) == ("me", 19092)


def test_ipv6_addresses_stand_in_brackets():
    (binding,) = read_bindings(settings(listeners="PLAINTEXT://[::1]:9092"))

    assert (binding.host, binding.url) == ("::1", "PLAINTEXT://[::1]:9092")


def test_the_controllers_listener_of_a_pasted_file_is_left_out():
    bindings = read_bindings(
        settings(
            listeners="PLAINTEXT://:9092,CONTROLLER://:9093",
            advertised_listeners="PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093",
            controller_listener_names="CONTROLLER",
            listener_security_protocol_map="CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        )
    )

    assert [one.name for one in bindings] == ["PLAINTEXT"]


def test_names_are_read_in_any_case():
    (binding,) = read_bindings(
        settings(listeners="plaintext://:1", listener_security_protocol_map="Plaintext:plaintext")
    )

    assert binding.name == "PLAINTEXT"


@pytest.mark.parametrize(
    ("texts", "complaint"),
    [
        ({"listeners": "localhost:9092"}, "Unable to parse localhost:9092 to a broker endpoint"),
        ({"listeners": "PLAINTEXT://localhost"}, "Unable to parse"),
        ({"listeners": "PLAINTEXT://localhost:70000"}, "Unable to parse"),
        ({"listeners": "SASL_PLAINTEXT://:9092"}, "would serve GSSAPI"),
        ({"listeners": "EXTERNAL://:9092"}, "No security protocol defined for listener EXTERNAL"),
        ({"listeners": "CONTROLLER://:9093"}, "at least one broker advertised listener"),
        ({"listeners": "PLAINTEXT://a:1,PLAINTEXT://b:2"}, "must have a different name"),
        ({"advertised_listeners": "PLAINTEXT://0.0.0.0:9092"}, "nonroutable meta-address 0.0.0.0"),
        (
            {
                "listeners": "PLAINTEXT://a:1,X://a:1",
                "listener_security_protocol_map": "PLAINTEXT:PLAINTEXT,X:PLAINTEXT",
            },
            "must have a different port",
        ),
        ({"advertised_listeners": "SSL://a:1"}, "must be equal to or a subset of the ones defined in listeners"),
        ({"listener_security_protocol_map": "PLAINTEXT"}, "'PLAINTEXT' does not give a security protocol"),
        ({"listener_security_protocol_map": "PLAINTEXT:TLS"}, "does not give a security protocol"),
    ],
)
def test_invalid_listeners_are_a_problem_with_a_reason(texts, complaint):
    with pytest.raises(ConfigProblem, match=complaint) as problem:
        read_bindings(settings(**texts))
    assert problem.value.expected


def test_limits_are_kafkas_by_default():
    limits = read_limits(settings())

    assert limits.request_bytes_max == 104857600
    assert limits.idle_ms_max == 600_000
    assert limits.connections_max == limits.connections_per_ip_max == limits.creation_rate_max == UNLIMITED
    assert limits.queued_bytes_max == -1


def test_overrides_and_limits_of_one_listener_are_read():
    limits = read_limits(
        settings(
            max_connections_per_ip_overrides="127.0.0.1:200, [::1]:3",
            **{"listener.name.out.max.connections": "5", "listener.name.out.max.connection.creation.rate": "7"},
        ),
        ["IN", "OUT"],
    )

    assert limits.connections_per_ip_overrides == {"127.0.0.1": 200, "::1": 3}
    assert limits.listener_connections_max == {"OUT": 5}
    assert limits.listener_creation_rate_max == {"OUT": 7}


@pytest.mark.parametrize("text", ["127.0.0.1", "somewhere:5", "127.0.0.1:many", "127.0.0.1:-1"])
def test_an_override_that_cannot_be_read_is_a_problem(text):
    with pytest.raises(ConfigProblem, match="is not ADDRESS:COUNT"):
        read_limits(settings(max_connections_per_ip_overrides=text))


def test_socket_options_are_read():
    said = settings(socket_send_buffer_bytes="-1", socket_receive_buffer_bytes="4096", socket_listen_backlog_size="7")
    options = read_socket_options(said)

    assert (options.send_buffer_bytes, options.receive_buffer_bytes, options.backlog) == (-1, 4096, 7)
