"""``kwire proxy``: its options, and a process of its own."""

from __future__ import annotations

import os
import re
import signal
import ssl
import subprocess
import sys

import pytest
from click.testing import CliRunner

from kwire.cli.connections.connection import Connection, parse_address
from kwire.cli.serving.certs import certs
from kwire.cli.serving.proxy import proxy
from kwire.testing import KafkaBroker
from kwire.wire.messages import MetadataRequest, MetadataResponse


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "Missing option '--upstream'"),
        (["--upstream", "a:1,b:2"], "--upstream is HOST:PORT"),
        (["--upstream", "a:b"], "--upstream is HOST:PORT"),
        (["--upstream", "a:1", "--listen", "here"], "--listen is a port, HOST:PORT or PROTOCOL://HOST:PORT"),
        (["--upstream", "a:1", "--listen", "99999"], "--listen is a port, HOST:PORT or PROTOCOL://HOST:PORT"),
        (["--upstream", "a:1", "--listen", "TLS://:1"], "--listen begins with one of PLAINTEXT, SSL,"),
        (["--upstream", "a:1", "--listen", "SSL://:1"], "--listen SSL:// needs --listener-config FILE"),
        (["--upstream", "a:1", "--listener-config", "a"], "--listener-config is for SSL:// and SASL_SSL://"),
    ],
)
def test_wrong_options_are_one_sentence(arguments, sentence):
    ended = CliRunner().invoke(proxy, arguments)
    assert ended.exit_code == 2
    assert sentence in ended.output


def test_settings_that_cannot_be_used_end_the_command(tmp_path):
    (tmp_path / "client.properties").write_text("security.protocol=SSL\nssl.truststore.location=/none.pem\n")
    ended = CliRunner().invoke(proxy, ["--upstream", "a:1", "--config", str(tmp_path / "client.properties")])
    assert ended.exit_code == 1
    assert "/none.pem" in ended.stderr


@pytest.mark.parametrize(
    ("listen", "upstream", "sentence"),
    [
        ("SSL://:1", "SASL_SSL", "write --listen SASL_SSL://"),
        ("PLAINTEXT://:1", "SASL_PLAINTEXT", "write --listen SASL_PLAINTEXT://"),
        ("SASL_SSL://:1", "SSL", "write --listen SSL://"),
    ],
)
def test_a_login_is_for_both_sides_or_none(tmp_path, listen, upstream, sentence):
    (tmp_path / "client.properties").write_text(f"security.protocol={upstream}\n")
    ended = CliRunner().invoke(
        proxy, ["--upstream", "a:1", "--listen", listen, "--config", str(tmp_path / "client.properties")]
    )
    assert ended.exit_code == 2
    assert sentence in ended.output


def test_certificates_that_cannot_be_used_end_the_command(tmp_path):
    (tmp_path / "server.properties").write_text("ssl.keystore.type=PEM\nssl.keystore.location=/none.pem\nlisteners=x\n")
    options = ["--listen", "SSL://localhost:0", "--listener-config", str(tmp_path / "server.properties")]
    ended = CliRunner().invoke(proxy, ["--upstream", "a:1", *options])
    assert ended.exit_code == 1
    assert "ssl.keystore.location=/none.pem" in ended.stderr
    assert "no effect here: listeners" in ended.stderr


def test_a_port_that_is_taken_is_one_sentence():
    with KafkaBroker() as kafka:
        ended = CliRunner().invoke(proxy, ["--upstream", "a:1", "--listen", str(kafka.port)])
    assert ended.exit_code == 1
    assert f"another program listens on port {kafka.port}" in ended.stderr


def test_a_cluster_that_cannot_be_reached_is_warned_of_before_ready():
    command = [sys.executable, "-m", "kwire", "proxy", "--upstream", "127.0.0.1:1", "--listen", "0"]
    both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    process = subprocess.Popen(command, **both, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    try:
        lines = [process.stdout.readline()]
        while lines[-1] and not lines[-1].startswith("ready "):
            lines.append(process.stdout.readline())
        (warning,) = (line for line in lines if "cannot connect to node" in line)
        assert "node=127.0.0.1:1" in warning
        assert "clients are served once it answers" in warning
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()


def test_it_passes_requests_on_until_a_signal():
    with KafkaBroker(topics=["orders"]) as kafka:
        command = [sys.executable, "-m", "kwire", "proxy", "--upstream", kafka.bootstrap_servers, "--listen", "0"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            address = re.fullmatch(r"ready PLAINTEXT://(\S+)\n", process.stdout.readline())[1]
            connection = Connection(parse_address(address, None), timeout_s=150)
            (broker,) = connection.call(MetadataRequest(topics=None), MetadataResponse, version=12).brokers
            assert f"{broker.host}:{broker.port}" == address
            connection.close()
            process.send_signal(signal.SIGTERM)
            assert process.wait(150) == 0
        finally:
            process.kill()
            process.communicate()


def test_a_hangup_signal_reads_the_certificates_again(tmp_path):
    invoked = CliRunner().invoke(certs, [str(tmp_path)])
    assert invoked.exit_code == 0
    options = ["--listen", "SSL://localhost:0", "--listener-config", str(tmp_path / "server.properties")]
    command = [sys.executable, "-m", "kwire", "proxy", "--upstream", "127.0.0.1:1", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        port = int(re.fullmatch(r"ready SSL://localhost:(\d+)\n", process.stdout.readline())[1])
        before = ssl.get_server_certificate(("localhost", port))
        assert before in (tmp_path / "server.pem").read_text()

        (tmp_path / "server.pem").unlink()
        assert CliRunner().invoke(certs, [str(tmp_path)]).exit_code == 0
        process.send_signal(signal.SIGHUP)
        while "TLS certificate reloaded" not in (line := process.stderr.readline()):
            assert line
        assert ssl.get_server_certificate(("localhost", port)) in (tmp_path / "server.pem").read_text()
    finally:
        process.kill()
        process.communicate()
