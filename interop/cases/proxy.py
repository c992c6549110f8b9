"""Clients through ``kwire proxy`` in front of the broker under test, with a fault rule felt and without."""

import os
import sys

from interop.case import Run, case
from interop.cases.clients_python import PROGRAMS, REQUIRES
from interop.jars import ROOT
from kwire.testing import KafkaProxy, proxy

SCENARIOS = {
    "kafka-python": ("round-trip", "group", "admin", "transactions"),
    "confluent-kafka": ("round-trip", "group", "new-group-protocol", "share-group", "transactions"),
}
SMOKE = ("round-trip",)


def client(run: Run, through: KafkaProxy, name: str, scenario: str) -> None:
    """Run a scenario of a client, which knows the proxy only."""
    command = [sys.executable, "-W", "ignore", str(ROOT / "interop" / "clients" / PROGRAMS[name][0])]
    run.program(
        [*command, through.bootstrap_servers, scenario, run.unique(scenario)], env=dict(os.environ)
    ).ok().prints("ok")


def register(name: str, scenario: str) -> None:
    @case("proxy", name, scenario, smoke=scenario in SMOKE, requires=REQUIRES.get(scenario, ()))
    def body(run: Run) -> None:
        with proxy(upstream=run.bootstrap) as through:
            through.requests.start()
            client(run, through, name, scenario)
            assert through.requests.last(1, api="Produce" if scenario != "admin" else "CreateTopics")
            nodes = through.nodes()
            assert nodes.pop(run.bootstrap) == through.bootstrap_servers
            assert len(nodes) <= (scenario == "admin"), nodes  # DescribeQuorum names the controller

    @case("proxy", name, f"{scenario}-with-faults", requires=REQUIRES.get(scenario, ()))
    def with_faults(run: Run) -> None:
        api, error = (
            ("Metadata", "LEADER_NOT_AVAILABLE") if scenario == "admin" else ("Produce", "NOT_LEADER_OR_FOLLOWER")
        )
        with (
            proxy(upstream=run.bootstrap) as through,
            through.faults.add(api=api, error=error, times=2) as fault,
            through.faults.add(api=["Metadata", "FindCoordinator"], close=True, times=1),
        ):
            client(run, through, name, scenario)
            assert fault.fired == 2


for _name, _scenarios in SCENARIOS.items():
    for _scenario in _scenarios:
        if _scenario in PROGRAMS[_name][1].split():
            register(_name, _scenario)


@case("proxy", "official tools", smoke=True)
def the_official_tools_work_through_a_proxy(run: Run) -> None:
    topic = run.topic(partitions=2)
    with proxy(upstream=run.bootstrap) as through:
        run.produce(topic, "one", "two", server=through.bootstrap_servers)
        with through.faults.add(api="Fetch", topic=topic, error="NOT_LEADER_OR_FOLLOWER", times=2):
            assert sorted(run.consume(topic, 2, server=through.bootstrap_servers)) == ["one", "two"]
        described = run.tool("topics", "--bootstrap-server", through.bootstrap_servers, "--describe", "--topic", topic)
        assert "PartitionCount: 2" in described.ok().out


@case("proxy", "official tools")
def the_same_bytes_reach_a_client_with_and_without_a_proxy(run: Run) -> None:
    topic = run.topic()
    with proxy(upstream=run.bootstrap) as through:
        run.produce(topic, "one")
        for name, *arguments in (
            ("topics", "--describe", "--topic", topic),
            ("configs", "--describe", "--topic", topic),
        ):
            direct = run.tool(name, *arguments).ok().out
            assert run.tool(name, "--bootstrap-server", through.bootstrap_servers, *arguments).ok().out == direct
