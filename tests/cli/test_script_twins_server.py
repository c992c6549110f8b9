"""The twins of the official scripts against a real broker: kafka-storage, kafka-server-start, kafka-server-stop."""

import re
import signal
import subprocess
import sys

import pytest
import trio
from peer import Peer
from script_runs import Ended

from kwire.broker.start import open_broker
from kwire.cli.script_twins.cluster import server_start, server_stop
from kwire.kafka_release import METADATA_VERSIONS
from kwire.metadata.configs.effective import BrokerSettings
from kwire.metadata.entities import ScramMechanism
from kwire.security.sasl.scram_keys import make_credential
from kwire.storage.os_files import OsFiles

NEWEST = METADATA_VERSIONS[max(METADATA_VERSIONS)][0]


@pytest.fixture
def properties(tmp_path):
    """A server.properties as KRaft quick starts have it."""
    path = tmp_path / "server.properties"
    path.write_text(
        "process.roles=broker,controller\nnode.id=3\ncontroller.listener.names=CONTROLLER\n"
        "listeners=PLAINTEXT://localhost:0,CONTROLLER://localhost:0\n"
        f"controller.quorum.bootstrap.servers=localhost:9093\nlog.dirs={tmp_path}/one,{tmp_path}/two\n"
    )
    return path


def test_random_ids_are_valid_cluster_ids(script):
    made = script("kafka-storage", "random-uuid", alone=True)
    assert re.fullmatch(r"[A-Za-z0-9_][\w-]{21}\n", made.out)


def test_directories_are_formatted_once(script, properties, tmp_path):
    nothing = script("kafka-storage", "info", "-c", str(properties), alone=True)
    assert nothing == (
        1,
        f"Found problems:\n  {tmp_path}/one does not exist\n  {tmp_path}/two does not exist\n\n",
        "",
    )
    layout = ("format", "--standalone", "-c", str(properties), "-t")
    made = script("kafka-storage", *layout, "4jKqCjRWTNqjDS2sRyJUFg", alone=True)
    assert made.code == 0
    assert made.lines[1:] == [
        f"Formatting data directory {tmp_path}/two with metadata.version {NEWEST}.",
        f"Formatting dynamic metadata voter directory {tmp_path}/one with metadata.version {NEWEST}.",
    ]
    info = script("kafka-storage", "info", "-c", str(properties), alone=True)
    assert info.code == 0
    assert info.lines[:4] == ["Found log directories:", f"  {tmp_path}/one", f"  {tmp_path}/two", ""]
    assert re.match(r"Found metadata: {cluster.id=4jKqCjRWTNqjDS2sRyJUFg, directory.id=\S+, node.id=3, ", info.lines[4])
    again = script("kafka-storage", *layout, "4jKqCjRWTNqjDS2sRyJUFg", alone=True)
    assert "is already formatted. Use --ignore-formatted to ignore this directory" in again.err
    passed_over = script("kafka-storage", *layout, "4jKqCjRWTNqjDS2sRyJUFg", "--ignore-formatted", alone=True)
    assert passed_over.out == "All of the log directories are already formatted.\n"
    other = script("kafka-storage", *layout, "other", alone=True)
    assert "Expected other, but read 4jKqCjRWTNqjDS2sRyJUFg" in other.err


def test_a_server_starts_on_a_formatted_directory(script, properties):
    script(
        "kafka-storage", "format", "-t", "my-cluster", "-c", str(properties), "--release-version", "4.1",
        "--feature", "transaction.version=1", alone=True,
    )  # fmt: skip
    command, daemon = server_start.serve_command([str(properties), "--override", "num.partitions=3"])
    assert not daemon
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            address = server.stdout.readline().split("//")[1].strip()
            cluster = script("kafka-cluster", "cluster-id", "--bootstrap-server", address, alone=True)
            features = script("kafka-features", "--bootstrap-server", address, "describe", alone=True).out
            script("kafka-topics", "--bootstrap-server", address, "--create", "--topic", "t", alone=True)
            topics = script("kafka-topics", "--bootstrap-server", address, "--describe", alone=True).out
        finally:
            server.terminate()
            server.communicate(timeout=150)
    assert cluster == Ended(0, "Cluster ID: my-cluster\n", "")
    assert re.search(r"metadata.version .*FinalizedVersionLevel: 4.1-IV1 ", features)
    assert re.search(r"transaction.version .*FinalizedVersionLevel: 1 ", features)
    assert "PartitionCount: 3" in topics


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["--feature", "nosuch=1"], "Unsupported feature: nosuch. Supported features are: "),
        (["--feature", "transaction.version=9"], "No feature:transaction.version with feature level 9"),
        (["--release-version", "9.9"], "Unknown metadata.version '9.9'"),
        (["--initial-controllers", "1@a:1:AAAA,2@b:2:BBBB"], "--initial-controllers must name this node alone"),
    ],
)
def test_invalid_formats_are_refused(script, properties, argv, complaint):
    ended = script("kafka-storage", "format", "-t", "x", "-c", str(properties), *argv, alone=True)
    assert ended.code == 1
    assert complaint in ended.err
    assert not (properties.parent / "one").exists()


def test_the_directory_of_a_broker_without_the_controller_role_has_no_voters(script, properties):
    text = properties.read_text()
    text = re.sub(r"process.roles=.*", "process.roles=broker\ncontroller.quorum.bootstrap.servers=localhost:9093", text)
    properties.write_text(re.sub(r",CONTROLLER://\S*", "", text))
    layout = ("kafka-storage", "format", "-t", "my-cluster", "-c", str(properties))
    alone = script(*layout, "--standalone", alone=True)
    assert alone == Ended(1, "", "You can only use --standalone on a controller.\n")
    made = script(*layout, "--feature", "streams.version=0", alone=True)
    assert made.code == 0, made
    files = OsFiles()
    assert b"cluster.id=my-cluster" in files.read_bytes(str(properties.parent / "one" / "meta.properties"))
    assert files.read_bytes(str(properties.parent / "one" / "bootstrap.checkpoint")) is None
    assert not (properties.parent / "one" / "__cluster_metadata-0").exists()


@pytest.mark.parametrize("command", ["info", "format"])
@pytest.mark.parametrize("key", ["process.roles", "node.id", "controller.listener.names"])
def test_a_required_setting_that_is_missing_is_named_as_the_official_tool_does(script, properties, command, key):
    lines = properties.read_text().splitlines(keepends=True)
    properties.write_text("".join(line for line in lines if not line.startswith(f"{key}=")))
    argv = [command, "-c", str(properties), *(["-t", "x"] if command == "format" else [])]
    message = f'org.apache.kafka.common.config.ConfigException: Missing required configuration "{key}" which has'
    assert script("kafka-storage", *argv, alone=True) == (
        1,
        "",
        f'Exception in thread "main" {message} no default value.\n',
    )
    assert not (properties.parent / "one").exists()


def test_a_configuration_that_is_not_there_is_named(script):
    ended = script("kafka-storage", "info", "-c", "/nowhere.properties", alone=True)
    assert ended.code == 1
    assert "/nowhere.properties" in ended.err


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["s.properties"], (["--config", "s.properties"], False)),
        (["-daemon", "s.properties"], (["--config", "s.properties"], True)),
        (["-name", "x", "s.properties"], (["--config", "s.properties"], False)),
        (["s", "--override", "a=b", "--override=c=d"], (["--config", "s", "--set", "a=b", "--set", "c=d"], False)),
    ],
)
def test_server_start_becomes_serve(argv, expected):
    command, daemon = server_start.serve_command(argv)
    assert (command[4:], daemon) == expected
    assert command[:4] == [sys.executable, "-m", "kwire", "serve"]


@pytest.mark.parametrize("argv", [[], ["-daemon"], ["s", "--override"], ["s", "--nosuch", "x"]])
def test_server_start_shows_its_usage(script, argv):
    assert script("kafka-server-start", *argv, alone=True).err == f"{server_start.USAGE}\n"


def test_server_stop_finds_brokers_by_their_command_line(script, monkeypatch):
    processes = [
        (11, "/usr/bin/python3 -m kwire serve --data d"),
        (12, "/home/me/.venv/bin/python /home/me/.venv/bin/kwire serve"),
        (13, "kwire serve"),
        (14, "vim kwire serve.txt"),
        (15, "python -m kwire scripts kafka-topics"),
        (16, "grep kwire served"),
    ]
    signals = []
    monkeypatch.setattr(server_stop, "_processes", lambda: processes)
    monkeypatch.setattr(server_stop.os, "kill", lambda pid, number: signals.append((pid, number)))
    assert script("kafka-server-stop", alone=True) == (0, "", "")
    assert signals == [(11, signal.SIGTERM), (12, signal.SIGTERM), (13, signal.SIGTERM)]
    monkeypatch.setenv("SIGNAL", "KILL")
    processes[:] = processes[:1]
    script("kafka-server-stop", alone=True)
    assert signals[-1] == (11, signal.SIGKILL)
    processes.clear()
    assert script("kafka-server-stop", alone=True) == (1, "No kafka server to stop\n", "")


def test_processes_are_listed():
    assert any("pytest" in command or "python" in command for _, command in server_stop._processes())


def test_a_directory_is_formatted_with_users(script, properties, tmp_path):
    made = script(
        "kafka-storage", "format", "--standalone", "-t", "my-cluster", "-c", str(properties),
        "--add-scram", "SCRAM-SHA-256=[name=alice,password=alice-secret]",
        "-S", 'SCRAM-SHA-512=[name="alice",iterations=8192,salt="c2FsdHNhbHRzYWx0",saltedpassword="AAAA"]', alone=True,
    )  # fmt: skip
    assert made.code == 0
    assert "UserScramCredentialRecord(name='alice', mechanism=1, iterations=4096)" in made.out
    settings = {"log.dirs": f"{tmp_path}/one,{tmp_path}/two", "node.id": "3"}

    async def stored():
        async with open_broker(BrokerSettings(settings), OsFiles(), endpoints=[Peer.endpoint]) as broker:
            return dict(broker.image.scram)

    found = trio.run(stored)
    assert trio.run(stored) == found  # a second start
    assert {user: credential.iterations for user, credential in found.items()} == {
        ("alice", ScramMechanism.SCRAM_SHA_256): 4096,
        ("alice", ScramMechanism.SCRAM_SHA_512): 8192,
    }
    first = found["alice", ScramMechanism.SCRAM_SHA_256]
    assert make_credential(1, "alice-secret", first.salt).stored_key == first.stored_key
    assert found["alice", ScramMechanism.SCRAM_SHA_512].salt == b"saltsaltsalt"


@pytest.mark.parametrize(
    ("argument", "complaint"),
    [
        ("SCRAM-SHA-256", "Failed to find equals sign in SCRAM argument"),
        ("SCRAM-SHA-1=[name=a]", "The add-scram mechanism SCRAM-SHA-1 is not supported."),
        ("SCRAM-SHA-256=name=a]", "Expected configuration string to start with ["),
        ("SCRAM-SHA-256=[name=a", "Expected configuration string to end with ]"),
        ("SCRAM-SHA-256=[password=s3cret]", "You must supply 'name' to add-scram"),
        ("SCRAM-SHA-256=[name=a]", "You must supply one of 'password' or 'saltedpassword' to add-scram"),
        ("SCRAM-SHA-256=[name=a,saltedpassword=AAAA]", "You must supply 'salt' with 'saltedpassword' to add-scram"),
        ("SCRAM-SHA-256=[name=a,salt=s3cret,password=x]", "Failed to decode given salt"),
        ("SCRAM-SHA-256=[name=a,password=s3cret,iterations=1]", "must be >= 4096 for add-scram using SCRAM_SHA_256"),
        ("SCRAM-SHA-256=[name=a,password=s3cret,iterations=16385]", "must be <= 16384 for add-scram using"),
        ("SCRAM-SHA-256=[name=a,password=s3cret,iterations=x]", "Failed to parse iterations count: x"),
        ("SCRAM-SHA-256=[name=a,s3cret]", "No equals sign found in SCRAM component"),
        ("SCRAM-SHA-256=[name=a,password=s3cret,more=1]", "Unknown SCRAM configurations: more"),
    ],
)
def test_an_invalid_user_is_refused(script, properties, argument, complaint):
    ended = script("kafka-storage", "format", "-t", "c", "-c", str(properties), "--add-scram", argument, alone=True)
    assert ended.code == 1
    assert complaint in ended.err
    assert "s3cret" not in ended.out + ended.err


def test_an_old_metadata_version_has_no_users(script, properties):
    ended = script(
        "kafka-storage", "format", "-t", "c", "-c", str(properties), "--release-version", "3.4",
        "--add-scram", "SCRAM-SHA-256=[name=a,password=x]", alone=True,
    )  # fmt: skip
    assert "SCRAM is only supported in metadata.version 3.5-IV2 or later." in ended.err
