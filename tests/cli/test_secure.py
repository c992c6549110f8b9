"""`kwire serve --secure` and `--require-login` as processes, and SIGHUP for new certificates."""

from __future__ import annotations

import re
import signal
import ssl
import stat
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner
from test_serve import first_line, refused, serving, stop

from kwire.cli.connections.client_config import read_properties, security_of
from kwire.cli.connections.connection import Connection, parse_address
from kwire.cli.main import main
from kwire.security.tls.development import LOCAL_HOSTS, read_authority


def test_the_first_start_makes_certificates_and_a_user_and_the_second_uses_them(tmp_path):
    arguments = ["--secure", "--listen", "0", "--data", str(tmp_path / "data")]
    certs = tmp_path / "kwire-certs"
    with serving(*arguments) as process:
        ready, user, files = (first_line(process) for _ in range(3))
        security = security_of(read_properties(str(certs / "admin.properties")))
        with Connection(parse_address(ready.removeprefix("ready ")), security=security) as connection:
            assert connection.api_versions
        _, _, err = stop(process)

    password = re.fullmatch(r"user admin with password (\S{24}) \(shown this once; .*\)", user)
    assert password
    assert password[1] not in err
    assert str(certs / "ca.pem") in files
    assert ready.startswith("ready SASL_SSL://localhost:")
    assert stat.S_IMODE((certs / "admin.properties").stat().st_mode) == 0o600
    with serving(*arguments) as process:
        ready = first_line(process)
        assert ready.startswith("ready SASL_SSL://localhost:")
        with Connection(parse_address(ready.removeprefix("ready ")), security=security) as connection:
            assert connection.api_versions
        stop(process)


def test_the_first_user_may_do_everything_and_a_user_that_is_added_needs_acls(tmp_path):
    with serving("--secure", "--listen", "0", "--data", str(tmp_path / "data")) as process:
        address = first_line(process).removeprefix("ready SASL_SSL://")
        admin = ["-b", address, "--config", str(tmp_path / "kwire-certs" / "admin.properties")]
        alice = tmp_path / "alice.properties"
        text = (tmp_path / "kwire-certs" / "admin.properties").read_text()
        alice.write_text(re.sub('username="admin" password=".*"', 'username="alice" password="secret"', text))
        as_alice = ["-b", address, "--config", str(alice)]

        assert called("topics", "create", "orders", *admin)[0] == 0
        assert called("users", "add", "alice", "--password-stdin", *admin, stdin="secret\n")[0] == 0
        assert "orders" not in called("topics", "list", *as_alice)[1]
        assert called("acls", "add", "alice may describe topic orders", *admin)[0] == 0
        assert "orders" in called("topics", "list", *as_alice)[1]
        stop(process)


@pytest.mark.parametrize(
    ("options", "user"), [(("--set", "super.users=User:ops"), "ops"), (("--set", "authorizer.class.name="), "admin")]
)
def test_the_first_user_is_a_super_user_of_the_settings(tmp_path, options, user):
    with serving("--secure", "--listen", "0", "--data", str(tmp_path / "data"), *options) as process:
        assert first_line(process).startswith("ready SASL_SSL://")
        assert first_line(process).startswith(f"user {user} with password ")
        stop(process)


def called(*arguments, stdin=None):
    done = CliRunner().invoke(main, arguments, input=stdin)
    return done.exit_code, done.output


def test_a_listener_that_others_can_reach_without_login_is_refused_or_warned_of(tmp_path):
    open_listener = ["--listen", "0.0.0.0:0", "--data", str(tmp_path / "data")]

    assert "can reach PLAINTEXT://0.0.0.0:0 without login" in refused(*open_listener, "--require-login")
    assert "can reach PLAINTEXT://0.0.0.0:0 without login" in refused(
        *["--listen", "PLAINTEXT://0.0.0.0:0", "--data", str(tmp_path / "data")], "--secure"
    )
    with serving(*open_listener) as process:
        first_line(process)
        _, _, err = stop(process)
    assert err.count("OPEN TO OTHER MACHINES") == 1
    assert "kwire serve --secure" in err


def test_sighup_reads_certificates_again_and_keeps_connections(tmp_path):
    with serving("--secure", "--listen", "0", "--data", str(tmp_path / "data")) as process:
        address = parse_address(first_line(process).removeprefix("ready "))
        certs = tmp_path / "kwire-certs"
        security = security_of(read_properties(str(certs / "admin.properties")))
        with Connection(address, security=security) as connection:
            authority = read_authority((certs / "ca.key").read_bytes(), (certs / "ca.pem").read_bytes())
            renewed = authority.issue("localhost", hosts=LOCAL_HOSTS, now=datetime.now(UTC))
            (certs / "server.pem").write_text(renewed.pem)

            process.send_signal(signal.SIGHUP)
            while "TLS certificate reloaded" not in process.stderr.readline():
                pass

            served = ssl.get_server_certificate(address)
            assert served == renewed.certificate_pem
            connection.call(*_versions())
        code, _, _ = stop(process)
    assert code == 0


def _versions():
    from kwire.wire.messages import ApiVersionsRequest, ApiVersionsResponse

    return ApiVersionsRequest(), ApiVersionsResponse


@pytest.mark.parametrize(
    ("listen", "others"),
    [
        ("PLAINTEXT://127.0.0.2:0", ()),
        ("SSL://0.0.0.0:0", ("--set", "ssl.client.auth=required")),
    ],
)
def test_a_listener_with_login_or_on_this_machine_alone_needs_no_warning(tmp_path, listen, others):
    with serving("--secure", "--listen", listen, "--data", str(tmp_path / "data"), *others) as process:
        lines = [first_line(process) for _ in range(3)]
        _, _, err = stop(process)

    assert lines[0].startswith("ready ")
    assert "OPEN TO OTHER MACHINES" not in err
