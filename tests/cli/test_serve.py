"""`kwire serve` as a process."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from click.testing import CliRunner
from kafka import KafkaAdminClient

from kwire.cli import control_address
from kwire.cli.serving import serve as serve_module

TCP_SOCKETS = Path("/proc/net/tcp")
ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("KAFKA_")}


@contextmanager
def serving(
    *arguments: str, environment: dict[str, str] | None = None, before: Sequence[str] = (), stdin: int | None = None
):
    """A broker process."""
    command = [*before, sys.executable, "-m", "kwire", "serve", *arguments]
    with subprocess.Popen(
        command,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT | (environment or {}),
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def first_line(process) -> str:
    line = process.stdout.readline()
    if not line:
        pytest.fail(f"no ready line: {process.stderr.read()}")
    return line.rstrip("\n")


def stop(process, number=signal.SIGTERM) -> tuple[int, str, str]:
    process.send_signal(number)
    out, err = process.communicate(timeout=150)
    return process.returncode, out, err


def refused(*arguments: str) -> str:
    """What is said by a broker that cannot start."""
    command = [sys.executable, "-m", "kwire", "serve", "--log-level", "error", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=150, check=False)
    assert ended.returncode != 0
    assert ended.stdout == ""
    return ended.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_stdout_has_only_the_ready_line_and_a_signal_stops_the_broker(tmp_path, number):
    with serving("--listen", "PLAINTEXT://localhost:0", "--data", str(tmp_path / "data")) as process:
        ready = first_line(process)
        assert re.fullmatch(r"ready PLAINTEXT://localhost:\d+", ready)
        with socket.create_connection(("localhost", int(ready.rpartition(":")[2]))) as peer:
            peer.sendall(struct.pack(">ihhih", 10, 18, 0, 5, -1))
            assert peer.recv(1000)[4:10] == struct.pack(">ih", 5, 0)
            code, out, err = stop(process, number)

    assert (code, out) == (0, "")
    assert f"pid={process.pid}" in err
    assert "stopped" in err
    assert (tmp_path / "data" / ".kafka_cleanshutdown").exists()


def test_each_listener_has_its_ready_line(tmp_path):
    arguments = ["--listen", "IN://127.0.0.1:0", "--listen", "OUT://localhost:0", "--data", str(tmp_path)]
    with serving(*arguments, "--set", "listener.security.protocol.map=IN:PLAINTEXT,OUT:PLAINTEXT") as process:
        lines = [first_line(process), first_line(process)]

        assert re.fullmatch(r"ready IN://127\.0\.0\.1:\d+", lines[0])
        assert re.fullmatch(r"ready OUT://localhost:\d+", lines[1])
        assert stop(process)[:2] == (0, "")


def waits_to_send(process, peer) -> bool:
    """Whether the broker sleeps with bytes of this peer to read: it cannot send its answers. A starved one is ready."""
    ports = [f"{end[1]:04X}" for end in (peer.getpeername(), peer.getsockname())]
    rows = [line.split() for line in TCP_SOCKETS.read_text().splitlines()]
    unread = [row[4].partition(":")[2] for row in rows if [row[1][-4:], row[2][-4:]] == ports]
    state = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state == "S" and any(int(count, 16) for count in unread)


@pytest.mark.skipif(not TCP_SOCKETS.exists(), reason="what a socket holds is seen on Linux only")
def test_a_second_signal_stops_at_once(tmp_path):
    with serving("--listen", "PLAINTEXT://localhost:0", "--data", str(tmp_path)) as process:
        port = int(first_line(process).rpartition(":")[2])
        with socket.socket() as peer:
            # A peer that asks much and takes nothing keeps the first stop waiting for its grace.
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            peer.connect(("127.0.0.1", port))
            peer.setblocking(False)
            requests = unsent = memoryview(struct.pack(">ihhih", 10, 18, 0, 5, -1) * 5000)
            waited = 0
            while waited < 20:
                with suppress(BlockingIOError):
                    unsent = unsent[peer.send(unsent) :] or requests
                waited = waited + 1 if waits_to_send(process, peer) else 0
                time.sleep(0.01)
            process.send_signal(signal.SIGTERM)
            while "stopping" not in process.stderr.readline():
                pass
            # One that comes right behind the first is an echo; sooner or later one of them is a second.
            while process.poll() is None:
                process.send_signal(signal.SIGTERM)

    assert process.returncode == -signal.SIGTERM


def test_a_signal_and_its_echo_stop_it_cleanly(tmp_path):
    with serving("--listen", "PLAINTEXT://localhost:0", "--data", str(tmp_path)) as process:
        first_line(process)
        process.send_signal(signal.SIGTERM)
        while "stopping" not in process.stderr.readline():
            pass
        code, _, err = stop(process)

    assert code == 0
    assert "stopped" in err


def test_under_nohup_a_hangup_does_not_stop_it(tmp_path):
    arguments = ["--listen", "PLAINTEXT://localhost:0", "--data", str(tmp_path)]
    with serving(*arguments, before=["nohup"]) as process:
        first_line(process)
        process.send_signal(signal.SIGHUP)
        code, _, err = stop(process)

    assert code == 0
    assert "signal=SIGTERM" in err


def test_a_busy_port_is_reported_with_advice(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        said = refused("--listen", f"PLAINTEXT://localhost:{port}", "--data", str(tmp_path))

    first, second = said.splitlines()
    assert first.startswith(
        f"kwire: cannot listen on PLAINTEXT://localhost:{port}: another program listens on port {port} ("
    )
    assert second == f"kwire: stop it, or take another port: --port {port + 1}, or --port 0 for any"


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="the owner of a port is read from /proc")
def test_a_busy_port_names_the_process_that_listens_there(tmp_path):
    with serving("--port", "0", "--memory") as process:
        port = first_line(process).rpartition(":")[2]

        said = refused("--port", port, "--memory")

    assert f"(process {process.pid}: " in said


def test_data_in_a_file_is_refused_in_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")

    said = refused("--port", "0", "--data", str(tmp_path / "file"))

    assert said == f"kwire: {tmp_path}/file is a file; the data needs a directory, such as --data {tmp_path}/file.d\n"


def test_the_directory_of_a_cluster_is_refused_in_one_sentence(tmp_path):
    (tmp_path / "cluster.json").write_text("{}")
    (tmp_path / "broker-1").mkdir()

    said = refused("--port", "0", "--data", str(tmp_path))

    assert said == (
        f"kwire: {tmp_path} holds a cluster of several nodes, not the data of one broker; start it with kwire cluster"
        f" --data {tmp_path}, or choose another directory\n"
    )


def test_port_and_memory_and_topics(tmp_path):
    with serving("--port", "0", "--memory", "--topic", "a:3", "--topic", "b:1:1:compact") as process:
        ready = first_line(process)
        assert re.fullmatch(r"ready PLAINTEXT://localhost:\d+", ready)
        admin = KafkaAdminClient(bootstrap_servers=ready.removeprefix("ready PLAINTEXT://"))
        topics = {topic["name"]: len(topic["partitions"]) for topic in admin.describe_topics(["a", "b"])}
        admin.close()
        assert stop(process)[0] == 0

    assert topics == {"a": 3, "b": 1}
    assert list(tmp_path.iterdir()) == []


def test_a_topic_of_the_command_line_that_is_refused_stops_the_start():
    said = refused("--port", "0", "--memory", "--topic", "a:1:3")

    assert said.startswith("kwire: cannot create the topic a (--topic): Unable to replicate the partition 3 time(s)")


def test_a_refused_topic_of_the_environment_is_a_warning(tmp_path):
    environment = {"KAFKA_CREATE_TOPICS": "a:1:3, b:2:1"}
    with serving("--port", "0", "--memory", "--env", environment=environment) as process:
        first_line(process)
        _, _, err = stop(process)

    assert re.search(r"warning .*cannot create topic .*source=KAFKA_CREATE_TOPICS topic=a", err)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--port", "1", "--listen", "2"], "--port is short for --listen localhost:N"),
        (["--memory", "--data", "x"], "--memory and --data exclude each other"),
        (["--data", "x", "--remove-data-at-eof"], "--remove-data-at-eof needs --stop-at-eof and --data"),
        (["--topic", "a:x"], "--topic: 'a:x': the number of partitions is 'x'"),
        (["--topic", "a/b"], "--topic: 'a/b': Topic name is invalid"),
        (["--topic", "a:1:1:shrink"], "cleanup policy 'shrink' is neither delete nor compact"),
    ],
)
def test_flags_that_contradict_or_cannot_be_read_are_refused(arguments, said):
    assert said in refused(*arguments)


def test_on_a_terminal_a_banner_shows_the_address_and_next_commands(tmp_path):
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "kwire", "serve", "--port", "0", "--data", str(tmp_path / "data")]
    with subprocess.Popen(command, stdout=follower, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        os.close(follower)
        shown = ""
        while "Ctrl-C" not in shown:
            shown += os.read(leader, 1000).decode()
        code, _, err = stop(process)
        os.close(leader)

    port = re.search(r"Clients connect to +localhost:(\d+)\r\n", shown)[1]
    assert re.search(rf"Data +{tmp_path}/data\r\n", shown)
    assert f"kwire topics create messages -b localhost:{port}" in shown
    assert (code, err) == (0, "")


def test_kafka_ready_lines_are_those_that_programs_wait_for(tmp_path):
    arguments = ["--port", "0", "--memory", "--set", "node.id=5", "--kafka-ready-lines"]
    with serving(*arguments) as process:
        first_line(process)
        lines = [first_line(process) for _ in range(4)]
        stop(process)

    assert all(re.match(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}\] INFO \[", line) for line in lines)
    assert "Transitioning from RECOVERY to RUNNING" in lines[0]
    assert "Kafka Server started" in lines[2]
    assert "[KafkaServer id=5] started" in lines[3]


def test_the_broker_serves_without_importing_kafka_python(tmp_path):
    program = """
import os, signal, sys
from kwire.cli.serving import announce
from kwire.cli.main import main

def report(server):
    print(*sorted(sys.modules))
    os.kill(os.getpid(), signal.SIGTERM)

announce.report_to_programs = report
main(["serve", "--port", "0", "--memory", "--topic", "a"], standalone_mode=False)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=ENVIRONMENT, timeout=150, check=True
    )

    modules = set(ended.stdout.split())
    assert "kwire.server.lifecycle" in modules
    assert not modules & {"kafka", "javaproperties", "rich"}


def test_a_directory_in_use_is_one_sentence(tmp_path):
    with serving("--listen", "PLAINTEXT://localhost:0", "--data", str(tmp_path)) as process:
        first_line(process)
        said = refused("--listen", "PLAINTEXT://localhost:0", "--data", str(tmp_path))
        stop(process)

    in_use = "in use by another process (kwire or Apache Kafka)"
    assert said == f"kwire: {tmp_path}: {in_use}; stop that process, or choose another directory with --data\n"


def test_a_directory_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")

    said = refused("--listen", "PLAINTEXT://localhost:0", "--data", str(tmp_path / "file" / "data"))

    assert said == f"kwire: cannot use {tmp_path}/file/data: the directory cannot be created: Not a directory\n"


def test_a_directory_of_another_node_is_one_sentence(tmp_path):
    arguments = ["--listen", "PLAINTEXT://localhost:0", "--data", str(tmp_path)]
    with serving(*arguments) as process:
        first_line(process)
        stop(process)

    said = refused(*arguments, "--set", "node.id=7")

    assert said == f"kwire: {tmp_path} belongs to node 1, but node.id is 7: take another directory, or node.id=1\n"


def test_a_wrong_setting_is_one_sentence(tmp_path):
    assert refused("--set", "num.partitons=1").startswith("kwire: num.partitons (--set) is not a broker setting")
    both = refused("--set", "num.partitons=1", "--set", "zzz=2").splitlines()
    assert [line.partition(" is not a broker setting")[0] for line in both] == [
        "kwire: num.partitons (--set)",
        "kwire: zzz (--set)",
    ]
    said = refused("--set", "listeners=SSL://:0", "--data", str(tmp_path))
    assert said.startswith("kwire: inter.broker.listener.name: inter.broker.listener.name must be a listener name")
    said = refused("--listen", "SSL://localhost:0", "--data", str(tmp_path))
    assert said.startswith("kwire: ssl.keystore.location: A TLS listener needs a private key with its certificate")


def test_settings_of_file_and_environment_reach_the_broker(tmp_path):
    properties = tmp_path / "server.properties"
    properties.write_text(f"log.dirs={tmp_path / 'data'}\nnode.id=7\nnonsense=1\n")
    environment = {
        "KAFKA_LISTENERS": "PLAINTEXT://localhost:0",
        "KAFKA_OPTS": "-Dx=y",
        "CLUSTER_ID": "MkU3OEVBNTcwNTJENDM2Qk",
    }
    with serving("--config", str(properties), "--env", "--log-format", "json", environment=environment) as process:
        first_line(process)
        code, _, err = stop(process)

    assert code == 0
    lines = [json.loads(line) for line in err.splitlines()]
    assert any("nonsense" in line["event"] and line["level"] == "warning" for line in lines)
    assert any("KAFKA_OPTS" in line["event"] and line["level"] == "info" for line in lines)
    meta = (tmp_path / "data" / "meta.properties").read_text()
    assert "node.id=7" in meta
    assert "cluster.id=MkU3OEVBNTcwNTJENDM2Qk" in meta


def test_a_wildcard_listener_warns_that_it_advertises_localhost(tmp_path):
    with serving("--listen", "PLAINTEXT://0.0.0.0:0", "--data", str(tmp_path)) as process:
        assert re.fullmatch(r"ready PLAINTEXT://0\.0\.0\.0:\d+", first_line(process))
        _, _, err = stop(process)

    assert "clients get localhost" in err


def test_serve_imports_nothing_that_it_does_not_need(tmp_path):
    program = """
import sys
from kwire.cli.main import main
from kwire.server import lifecycle
lifecycle.run = lambda *_, **__: print(*sorted(sys.modules))
main(["serve", "--data", "unused"], standalone_mode=False)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=ENVIRONMENT, timeout=150, check=True
    )
    modules = set(ended.stdout.split())

    from kwire.cli.main import COMMANDS

    others = {f"kwire.cli.{module}" for module, _ in COMMANDS.values()} - {"kwire.cli.serving.serve"}
    heavy = {"kafka", "javaproperties", "rich", "cramjam", "prometheus_client", "starlette", "hypothesis"}
    assert not modules & (others | heavy)


def test_garbage_is_collected_while_a_broker_waits_for_its_controllers():
    program = """
import gc
from kwire.cli.main import main
from kwire.server import lifecycle
lifecycle.run = lambda *_, **__: print(gc.isenabled())
main(["serve", "--data", "unused"], standalone_mode=False)
"""
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=150, check=True)
    assert ended.stdout == "True\n"


def test_a_console_is_announced_and_served():
    with serving("--memory", "--port", "0", "--control", "0", "--console", "--log-level", "warning") as process:
        lines = dict(process.stdout.readline().split() for _ in range(3))
        assert lines["console"] == lines["control"] + "/console/"
        with urllib.request.urlopen(lines["console"], timeout=150) as page:
            assert b"<title>kwire console</title>" in page.read()
        assert stop(process)[0] == 0


def test_a_console_alone_is_served_on_this_machine_at_its_port(monkeypatch):
    chosen = []

    def choose(address: str, token: str | None) -> None:
        chosen.append((address, token))
        raise SystemExit(0)  # before this process is set up as a broker

    monkeypatch.setattr(control_address, "read_control", choose)
    assert CliRunner().invoke(serve_module.serve, ["--memory", "--port", "0", "--console"]).exit_code == 0
    assert chosen == [("127.0.0.1:9644", None)]


def test_temporary_directories_go_with_the_program_that_started_the_broker(tmp_path):
    directories = [tmp_path / "data", tmp_path / "more"]
    data = ",".join(map(str, directories))
    with serving(
        "--data", data, "--port", "0", "--stop-at-eof", "--remove-data-at-eof", stdin=subprocess.PIPE
    ) as process:
        first_line(process)
        assert all((each / "meta.properties").exists() for each in directories)
        process.stdin.close()
        assert process.wait(150) == 0
    assert not any(each.exists() for each in directories)


def test_a_temporary_directory_goes_with_a_program_that_ended_before_the_broker_had_started(tmp_path):
    (tmp_path / "data").mkdir()
    options = ("--data", str(tmp_path / "data"), "--port", "0", "--stop-at-eof", "--remove-data-at-eof")
    with serving(*options, stdin=subprocess.DEVNULL) as process:
        process.wait(150)
    assert not (tmp_path / "data").exists()


def test_a_broker_stops_when_its_standard_input_ends():
    with serving("--memory", "--port", "0", "--stop-at-eof", stdin=subprocess.PIPE) as process:
        first_line(process)
        process.stdin.write("what comes before the end is ignored")
        process.stdin.flush()
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(150) == 0
