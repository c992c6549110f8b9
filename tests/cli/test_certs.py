"""`kwire certs`: the files, their modes, what is not overwritten, and that clients can use what is printed."""

from __future__ import annotations

import ssl
import stat

import pytest
from click.testing import CliRunner
from cryptography import x509

from kwire.cli.connections.client_config import read_properties, security_of
from kwire.cli.connections.connection import Connection, parse_address
from kwire.cli.main import main
from kwire.testing import KafkaBroker


def certs(*arguments: str):
    return CliRunner().invoke(main, ["certs", *map(str, arguments)])


def names_in(path) -> list[str]:
    certificate = x509.load_pem_x509_certificates(path.read_bytes())[0]
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(name.value) for name in names]


def test_keys_are_for_their_owner_only(tmp_path):
    folder = tmp_path / "certs"

    assert certs(folder).exit_code == 0

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert {name: mode for name, mode in modes.items() if mode == 0o600} == {
        "ca.key": 0o600,
        "server.pem": 0o600,
        "client.pem": 0o600,
    }
    assert set(modes) - {"ca.key", "server.pem", "client.pem"} == {"ca.pem", "server.properties", "client.properties"}


def test_hosts_and_clients_are_those_that_were_named(tmp_path):
    done = certs(tmp_path, "--host", "kafka", "--host", "192.0.2.7", "--client", "alice")

    assert done.exit_code == 0
    assert names_in(tmp_path / "server.pem") == ["localhost", "127.0.0.1", "::1", "kafka", "192.0.2.7"]
    alice = x509.load_pem_x509_certificates((tmp_path / "alice.pem").read_bytes())[0]
    assert alice.subject.rfc4514_string() == "CN=alice"
    assert not (tmp_path / "client.pem").exists()
    assert f"ssl.keystore.location={tmp_path}/alice.pem" in done.output


def test_existing_files_stay(tmp_path):
    certs(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    again = certs(tmp_path)
    refused = certs(tmp_path, "--host", "kafka")
    more = certs(tmp_path, "--client", "bob")

    assert "nothing new" in again.output
    assert refused.exit_code == 1
    assert "server.pem exists, and is not overwritten" in refused.output
    assert more.exit_code == 0
    assert {path: path.read_bytes() for path in before} == before
    ssl.create_default_context(cafile=str(tmp_path / "ca.pem")).load_cert_chain(tmp_path / "bob.pem")


@pytest.mark.parametrize("name", ["ca", "server", "a/b", ""])
def test_a_client_may_not_take_the_name_of_another_file(tmp_path, name):
    assert "cannot be the name of a client" in certs(tmp_path, "--client", name).output


def test_a_broker_and_a_client_with_these_files_agree(tmp_path):
    certs(tmp_path)
    config = read_properties(str(tmp_path / "server.properties"))
    own = {key: text for key, text in config.items() if key.startswith("ssl.")}
    own["ssl.client.auth"] = "required"

    with KafkaBroker(tls=True, config=own) as kafka:
        security = security_of(read_properties(str(tmp_path / "client.properties")))
        with Connection(parse_address(kafka.bootstrap_servers), security=security) as connection:
            assert connection.api_versions
