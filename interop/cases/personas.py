"""Brokers of kwire that appear as older releases: the official tools of each release, and today's librdkafka."""

import os
import sys

from interop.case import Run, Skip, case
from interop.cases.clients_python import PROGRAMS
from interop.cases.releases import RELEASES
from interop.jars import ROOT
from kwire.personas import names, persona
from kwire.testing import KafkaBroker

SCENARIOS = {
    "confluent-kafka": ("round-trip", "group", "transactions", "admin"),
    "kafka-python": ("round-trip", "group"),
}


def register_client(name: str, client: str, scenario: str) -> None:
    @case("personas", client, f"{scenario}-as-{name}")
    def body(run: Run) -> None:
        if run.target != "kwire":
            raise Skip("kwire appears as another release")
        program = ROOT / "interop" / "clients" / PROGRAMS[client][0]
        with KafkaBroker(persona=name) as kafka:
            command = [sys.executable, "-W", "ignore", str(program), kafka.bootstrap_servers, scenario, run.unique("p")]
            run.program(command, env=dict(os.environ)).ok().prints("ok")


def register_tools(name: str) -> None:
    release = persona(name).release

    @case("personas", "official tools", f"as-{name}")
    def body(run: Run) -> None:
        if run.target != "kwire":
            raise Skip("kwire appears as another release")
        with KafkaBroker(persona=name) as kafka:
            where = ("--bootstrap-server", kafka.bootstrap_servers)

            def tool(script: str, *arguments: str, stdin: str = "") -> str:
                return run.tool(script, *where, *arguments, stdin=stdin, release=release).ok().out

            tool("topics", "--create", "--topic", "orders", "--partitions", "2", "--replication-factor", "1")
            assert "PartitionCount: 2" in tool("topics", "--describe", "--topic", "orders")
            tool("console-producer", "--topic", "orders", stdin="one\ntwo\n")
            read = tool(
                "console-consumer", "--topic", "orders", "--from-beginning", "--max-messages", "2",
                "--group", "readers", "--timeout-ms", "20000",
            )  # fmt: skip
            assert sorted(read.split()) == ["one", "two"]
            assert "orders" in tool("consumer-groups", "--describe", "--group", "readers")


for _name in names():
    for _client, _scenarios in SCENARIOS.items():
        for _scenario in _scenarios:
            register_client(_name, _client, _scenario)
    if persona(_name).release in RELEASES:
        register_tools(_name)
