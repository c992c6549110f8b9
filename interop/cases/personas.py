"""Brokers of kwire that appear as older releases: the official tools of each release, and clients of today."""

import os
import re
import sys
from collections.abc import Callable

from interop.case import Run, Skip, case
from interop.cases.clients_other import franz_go, kafkajs
from interop.cases.clients_python import PROGRAMS
from interop.jars import ROOT
from interop.java import Finished
from kwire.personas import names, persona
from kwire.testing import KafkaBroker

Tool = Callable[..., Finished]

SCENARIOS = {
    "confluent-kafka": ("round-trip", "group", "transactions", "admin"),
    "kafka-python": ("round-trip", "group", "transactions", "admin"),
    "aiokafka": ("round-trip", "group", "transactions", "admin"),
    "franz-go": ("round-trip", "group", "transactions", "admin"),
    "kafkajs": ("round-trip", "group", "transactions", "admin"),
}
COMMANDS: dict[str, Callable[[], list[str]]] = {"franz-go": franz_go, "kafkajs": kafkajs}


def register_client(name: str, client: str, scenario: str) -> None:
    @case("personas", client, f"{scenario}-as-{name}")
    def body(run: Run) -> None:
        if run.target != "kwire":
            raise Skip("kwire appears as another release")
        if (client, scenario, name) == ("kafka-python", "admin", "2.8"):
            raise Skip("describe_cluster of kafka-python needs DescribeCluster 1, of Kafka 3.7")
        command = COMMANDS[client]() if client in COMMANDS else python_program(client)
        with KafkaBroker(persona=name) as kafka:
            arguments = [kafka.bootstrap_servers, scenario, run.unique("p")]
            run.program([*command, *arguments], env=dict(os.environ)).ok().prints("ok")


def python_program(client: str) -> list[str]:
    return [sys.executable, "-W", "ignore", str(ROOT / "interop" / "clients" / PROGRAMS[client][0])]


def register_tools(name: str) -> None:
    release = persona(name).release

    @case("personas", "official tools", f"as-{name}")
    def body(run: Run) -> None:
        """The tools of the release, as they would work with a broker of it."""
        if run.target != "kwire":
            raise Skip("kwire appears as another release")
        with KafkaBroker(persona=name) as kafka:

            def tool(script: str, *arguments: str, stdin: str = "") -> Finished:
                where = ("--bootstrap-server", kafka.bootstrap_servers)
                return run.tool(script, *where, *arguments, stdin=stdin, release=release)

            records(tool)
            configs(tool, name)
            if persona(name).has_features:
                features(tool, name)


def records(tool: Tool) -> None:
    tool("topics", "--create", "--topic", "orders", "--partitions", "2", "--replication-factor", "1").ok()
    assert "PartitionCount: 2" in tool("topics", "--describe", "--topic", "orders").ok().out
    tool("console-producer", "--topic", "orders", stdin="one\ntwo\n").ok()
    read = tool(
        "console-consumer", "--topic", "orders", "--from-beginning", "--max-messages", "2",
        "--group", "readers", "--timeout-ms", "20000",
    )  # fmt: skip
    assert sorted(read.ok().out.split()) == ["one", "two"]
    described = tool("consumer-groups", "--describe", "--group", "readers").ok().out
    assert "orders" in described
    to_start = ("--reset-offsets", "--group", "readers", "--topic", "orders", "--to-earliest", "--execute")
    assert "orders" in tool("consumer-groups", *to_start).ok().out
    tool("consumer-groups", "--delete", "--group", "readers").ok()


def configs(tool: Tool, name: str) -> None:
    """The configs of a topic are those of the release, and those of others are refused."""
    topic = ("--entity-type", "topics", "--entity-name", "orders")
    described = tool("configs", *topic, "--describe", "--all").ok().out
    assert ("message.format.version=" in described) is (name < "4")
    small = tool("configs", *topic, "--alter", "--add-config", "segment.bytes=1000")
    if name <= "4.0":
        small.ok()
        assert "segment.bytes=1000" in tool("configs", *topic, "--describe").ok().out
    else:
        small.failed("Value must be at least 1048576")
    tool("configs", *topic, "--alter", "--add-config", "no.such.config=1").failed("Unknown topic config name")
    assert (
        "log.segment.bytes"
        in tool("configs", "--entity-type", "brokers", "--entity-name", "1", "--describe", "--all").out
    )


def features(tool: Tool, name: str) -> None:
    described = tool("features", "describe").ok().out
    for feature, level in persona(name).finalized.items():
        if feature != "metadata.version":
            assert re.search(rf"{re.escape(feature)}\s.*FinalizedVersionLevel: {level}\s", described), described


for _name in names():
    for _client, _scenarios in SCENARIOS.items():
        for _scenario in _scenarios:
            register_client(_name, _client, _scenario)
    register_tools(_name)
