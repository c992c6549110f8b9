"""The broker of a test with TLS, and with users too; what `kwire doctor` says of each connection that fails."""

from __future__ import annotations

import errno
import select
import socket

import certificates
import pytest
from click.testing import CliRunner
from kafka import KafkaConsumer, KafkaProducer

from kwire.cli.main import main
from kwire.testing import KafkaBroker
from kwire.wire import codec
from kwire.wire.messages import ApiVersionsRequest


def test_clients_connect_over_tls():
    with KafkaBroker(topics=["orders"], tls=True) as kafka:
        how = {
            "bootstrap_servers": kafka.bootstrap_servers,
            "security_protocol": "SSL",
            "ssl_context": kafka.ssl_context,
        }
        producer = KafkaProducer(**how)
        producer.send("orders", b"x" * 100_000).get(150)
        producer.close()
        consumer = KafkaConsumer("orders", auto_offset_reset="earliest", consumer_timeout_ms=150_000, **how)
        assert len(next(consumer).value) == 100_000
        consumer.close()


def test_a_fault_resets_a_connection_with_tls():
    with KafkaBroker(tls=True) as kafka, kafka.faults.add(api="ApiVersions", reset=True):
        plain = socket.create_connection(("localhost", kafka.port), timeout=150)
        with kafka.ssl_context.wrap_socket(plain, server_hostname="localhost") as client:
            client.sendall(codec.encode_request(18, 0, 1, "client", ApiVersionsRequest()))
            # OpenSSL takes a reset for an end without close_notify; the socket has what came.
            failed = select.poll()
            failed.register(client, 0)
            assert failed.poll(20_000)
            assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNRESET


def test_users_log_in_over_tls():
    with KafkaBroker(topics=["orders"], tls=True, users={"alice": "secret"}) as kafka:
        producer = KafkaProducer(
            bootstrap_servers=kafka.bootstrap_servers,
            security_protocol="SASL_SSL",
            ssl_cafile=kafka.ca_file,
            sasl_mechanism="SCRAM-SHA-512",
            sasl_plain_username="alice",
            sasl_plain_password="secret",
        )
        producer.send("orders", b"x").get(150)
        producer.close()


def test_a_broker_without_tls_has_no_certificates():
    with pytest.raises(ValueError, match="tls=True"):
        _ = KafkaBroker().ca_file


def doctor(kafka, tmp_path, **settings: str) -> str:
    path = tmp_path / "client.properties"
    texts = {name.replace("_", "."): value for name, value in settings.items()}
    path.write_text("".join(f"{name}={value}\n" for name, value in texts.items()))
    ended = CliRunner().invoke(main, ["doctor", kafka.bootstrap_servers, "--config", str(path)])
    return f"{ended.exit_code} " + " ".join(ended.output.split())


@pytest.fixture
def trusting(tmp_path):
    (tmp_path / "ca.pem").write_text(certificates.authority().certificate_pem)
    return {
        "security_protocol": "SSL",
        "ssl_truststore_type": "PEM",
        "ssl_truststore_location": str(tmp_path / "ca.pem"),
    }


def broker_with(tmp_path, issued, **others: str) -> KafkaBroker:
    (tmp_path / "server.pem").write_text(issued.pem)
    config = {"ssl.keystore.location": str(tmp_path / "server.pem"), **others}
    config["ssl.truststore.location"] = str(tmp_path / "ca.pem")
    return KafkaBroker(tls=True, config=config)


def test_the_doctor_accepts_a_connection_with_tls(tmp_path, trusting):
    with broker_with(tmp_path, certificates.server()) as kafka:
        assert doctor(kafka, tmp_path, **trusting).startswith("0 ")


def test_the_doctor_names_the_authority_that_a_client_does_not_trust(tmp_path, trusting):
    with broker_with(tmp_path, certificates.of_another_authority()) as kafka:
        said = doctor(kafka, tmp_path, **trusting)

    assert "does not trust the authority" in said
    assert "issued by CN=another authority" in said
    assert "Client: set ssl.truststore.location" in said


def test_the_doctor_names_the_hosts_of_a_certificate(tmp_path, trusting):
    with broker_with(tmp_path, certificates.for_another_host()) as kafka:
        said = doctor(kafka, tmp_path, **trusting)

    assert "certificate is for DNS:elsewhere.example, and the client connects to localhost" in said
    assert "kwire certs DIR --host localhost" in said


def test_the_doctor_says_when_a_certificate_has_expired(tmp_path, trusting):
    with broker_with(tmp_path, certificates.expired()) as kafka:
        said = doctor(kafka, tmp_path, **trusting)

    assert "the broker's certificate expired on" in said
    assert "SIGHUP" in said


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_the_doctor_says_that_a_client_certificate_is_missing(tmp_path, trusting, version):
    required = {"ssl.client.auth": "required"}
    with broker_with(tmp_path, certificates.server(), **required) as kafka:
        said = doctor(kafka, tmp_path, ssl_enabled_protocols=version, **trusting)

    assert "Client: set ssl.keystore.location" in said


def test_the_doctor_says_that_a_client_certificate_is_not_trusted(tmp_path, trusting):
    (tmp_path / "own.pem").write_text(certificates.of_another_authority().pem)
    with broker_with(tmp_path, certificates.server(), **{"ssl.client.auth": "required"}) as kafka:
        own = {"ssl_keystore_type": "PEM", "ssl_keystore_location": str(tmp_path / "own.pem")}
        said = doctor(kafka, tmp_path, **trusting, **own)

    assert "the broker does not trust the authority of the client's certificate" in said


def test_the_doctor_says_that_a_listener_requires_tls(tmp_path):
    with KafkaBroker(tls=True, config={"ssl.client.auth": "required", "ssl.enabled.protocols": "TLSv1.2"}) as kafka:
        said = doctor(kafka, tmp_path, security_protocol="PLAINTEXT")

    assert "requires TLS, and the client does not use TLS" in said


def test_the_doctor_says_that_a_listener_does_not_use_tls(tmp_path, trusting):
    with KafkaBroker() as kafka:
        said = doctor(kafka, tmp_path, **trusting)

    assert "does not use TLS, and the client does" in said


def test_the_doctor_says_that_the_two_sides_share_no_version(tmp_path, trusting):
    with broker_with(tmp_path, certificates.server(), **{"ssl.enabled.protocols": "TLSv1.3"}) as kafka:
        said = doctor(kafka, tmp_path, ssl_enabled_protocols="TLSv1.2", **trusting)

    assert "no TLS version that both sides support" in said
