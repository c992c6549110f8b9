"""Client settings under their Java names: those that are honoured, and those that are refused."""

import pytest
from fake_broker import CERTIFICATE, fake_broker
from scramp import ScramMechanism

from kwire.cli.connections.client_config import ConfigError, read_properties, sasl_of, security_of
from kwire.cli.connections.connection import AuthenticationFailed, Connection, Security, TlsFailed, parse_address
from kwire.security.sasl.scram_client import ScramRefused
from kwire.wire.messages import SaslAuthenticateResponse, SaslHandshakeResponse

VERSIONS = {18: (0, 4), 3: (0, 13), 17: (0, 1), 36: (0, 2)}
PLAIN = 'org.apache.kafka.common.security.plain.PlainLoginModule required username="alice" password="a\\"b";'
TOKEN = 'org.apache.kafka.common.security.scram.ScramLoginModule required username="id" password="h" tokenauth="true";'
SCRAM = 'org.apache.kafka.common.security.scram.ScramLoginModule required username="bob" password="hunter2";'
TRUSTED = {
    "security.protocol": "SSL",
    "ssl.truststore.type": "PEM",
    "ssl.truststore.location": str(CERTIFICATE),
}


def test_properties_are_read_as_java_reads_them(tmp_path):
    path = tmp_path / "client.properties"
    path.write_bytes(b"# a comment\nsecurity.protocol = SASL_\\\n   SSL\nname\\ with\\ blanks:caf\\u00e9\n")
    assert read_properties(str(path)) == {"security.protocol": "SASL_SSL", "name with blanks": "café"}


def test_no_setting_is_a_plain_connection():
    assert security_of({}) == Security()


def test_an_unknown_protocol_is_refused():
    with pytest.raises(ConfigError, match="Invalid value TLS for configuration"):
        security_of({"security.protocol": "tls"})


def test_user_and_password_are_in_the_jaas_line():
    settings = {"sasl.mechanism": "PLAIN", "sasl.jaas.config": PLAIN}
    assert sasl_of(settings) == ("PLAIN", "alice", 'a"b', False)


def test_a_delegation_token_is_announced_to_the_broker():
    login = sasl_of({"sasl.mechanism": "SCRAM-SHA-256", "sasl.jaas.config": TOKEN})
    assert login.by_token
    assert plain_security("SCRAM-SHA-256", TOKEN).mechanism().first().endswith(b",tokenauth=true")


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({}, "sasl.mechanism=GSSAPI is not supported here"),
        ({"sasl.mechanism": "PLAIN"}, "sasl.jaas.config: Login module not specified in JAAS config"),
        ({"sasl.mechanism": "PLAIN", "sasl.jaas.config": 'X required username="a";'}, "sasl.jaas.config must name"),
    ],
)
def test_a_missing_sasl_setting_is_named(settings, complaint):
    with pytest.raises(ConfigError, match=complaint):
        sasl_of(settings)


@pytest.mark.parametrize("store", ["truststore", "keystore"])
def test_java_key_stores_are_refused_with_advice(store, tmp_path):
    path = tmp_path / "store.jks"
    path.write_bytes(bytes.fromhex("feedfeed00000002"))
    settings = {"security.protocol": "SSL", f"ssl.{store}.location": str(path), f"ssl.{store}.password": "changeit"}
    with pytest.raises(ConfigError, match="keytool -importkeystore -srckeystore"):
        security_of(settings)


def test_a_pem_file_needs_its_type():
    settings = {"security.protocol": "SSL", "ssl.truststore.location": str(CERTIFICATE)}
    with pytest.raises(ConfigError, match=r"is a PEM file, and ssl.truststore.type is JKS.*accepted: PEM"):
        security_of(settings)


def test_a_missing_file_is_refused():
    with pytest.raises(ConfigError, match="No such file"):
        security_of({**TRUSTED, "ssl.truststore.location": "/nowhere.pem"})


def test_a_trusted_certificate_is_enough_for_tls():
    with fake_broker(VERSIONS, tls=True) as broker:
        connection = Connection(parse_address(broker.address), security=security_of(TRUSTED))
        assert connection.api_versions == VERSIONS
        connection.close()


def test_certificates_may_be_in_the_settings():
    settings = {
        "security.protocol": "SSL",
        "ssl.truststore.type": "PEM",
        "ssl.truststore.certificates": CERTIFICATE.read_text(),
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(CERTIFICATE),
    }
    with fake_broker(VERSIONS, tls=True) as broker:
        Connection(parse_address(broker.address), security=security_of(settings)).close()


def test_an_untrusted_certificate_is_refused():
    security = security_of({"security.protocol": "SSL"})
    with (
        fake_broker(VERSIONS, tls=True) as broker,
        pytest.raises(TlsFailed, match="does not trust the authority of the broker's certificate"),
    ):
        Connection(parse_address(broker.address), security=security)


def plain_security(mechanism="PLAIN", jaas=PLAIN):
    return security_of({"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": mechanism, "sasl.jaas.config": jaas})


def test_plain_sends_user_and_password_once():
    with fake_broker(VERSIONS) as broker:
        Connection(parse_address(broker.address), security=plain_security()).close()
    assert [request.auth_bytes for key, _, request in broker.requests if key == 36] == [b'\0alice\0a"b']


def test_a_mechanism_that_the_broker_lacks_is_named_with_those_it_has():
    answer = SaslHandshakeResponse(error_code=33, mechanisms=["SCRAM-SHA-512", "OAUTHBEARER"])
    with (
        fake_broker(VERSIONS, {17: answer}) as broker,
        pytest.raises(
            AuthenticationFailed, match="does not support SASL PLAIN; it supports SCRAM-SHA-512, OAUTHBEARER"
        ),
    ):
        Connection(parse_address(broker.address), security=plain_security())


def test_refused_credentials_are_reported_with_the_broker_s_message():
    answer = SaslAuthenticateResponse(
        error_code=58, error_message="Authentication failed: Invalid username or password"
    )
    with (
        fake_broker(VERSIONS, {36: answer}) as broker,
        pytest.raises(AuthenticationFailed, match="Invalid username or password"),
    ):
        Connection(parse_address(broker.address), security=plain_security())


@pytest.mark.parametrize("name", ["SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_scram_proves_the_password_without_sending_it(name):
    mechanism = ScramMechanism(name)
    known = mechanism.make_auth_info("hunter2", iteration_count=4096)
    server = mechanism.make_server(lambda user: known if user == "bob" else None)
    client = plain_security(name, SCRAM).mechanism()
    server.set_client_first(client.first().decode())
    token = client.next(server.get_server_first().encode())
    assert b"hunter2" not in token
    server.set_client_final(token.decode())
    assert client.next(server.get_server_final().encode()) is None


def test_a_server_that_does_not_prove_the_password_is_refused():
    mechanism = ScramMechanism("SCRAM-SHA-256")
    known = mechanism.make_auth_info("hunter2", iteration_count=4096)
    server = mechanism.make_server(lambda _: known)
    client = plain_security("SCRAM-SHA-256", SCRAM).mechanism()
    server.set_client_first(client.first().decode())
    client.next(server.get_server_first().encode())
    with pytest.raises(ScramRefused, match="does not know the password"):
        client.next(b"v=" + b"A" * 43 + b"=")
