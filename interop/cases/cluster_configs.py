"""Configs of brokers, changed through a kwire broker and through a Java broker of one cluster: equal answers."""

from __future__ import annotations

from typing import Any

from interop.case import Run, case
from interop.cases.cluster_nodes import cluster
from interop.cluster.ask import ask
from interop.cluster.rig import APACHE, KWIRE
from kwire.wire import messages as m

TOPIC, BROKER, LOGGER = 2, 4, 8
SET, DELETE, APPEND = 0, 1, 2
OWN, OTHER = "OWN", "OTHER"

# Each request: its resources as (type, name, [(config, operation, value)]).
Resource = tuple[int, str, list[tuple[str, int, str | None]]]
REQUESTS: list[list[Resource]] = [
    [(BROKER, OWN, [("max.connections", SET, "7000")])],
    [(BROKER, OTHER, [("max.connections", SET, "7100")])],
    [(BROKER, "one", [("max.connections", SET, "7100")])],
    [(BROKER, "99", [("max.connections", SET, "7100")])],
    [(BROKER, "", [("max.connections", SET, "7200")])],
    [(BROKER, OWN, [("max.connections", SET, "many")])],
    [(BROKER, OWN, [("process.roles", SET, "controller")])],
    [(BROKER, OWN, [("max.connections", SET, None)])],
    [(BROKER, OWN, [("max.connections", SET, "1000"), ("max.connections", SET, "2000")])],
    [(BROKER, OWN, [("max.connections", APPEND, "1000")])],
    [(BROKER, OWN, [("max.connections", DELETE, None)])],
    [(BROKER, "", [("listener.name.client.max.connections", SET, "5000")])],
    [(LOGGER, OTHER, [("root", SET, "INFO")])],
    [(LOGGER, "", [("root", SET, "INFO")])],
    [(LOGGER, "one", [("root", SET, "INFO")])],
    [(LOGGER, OWN, [("root", SET, "WARN")])],
    [(LOGGER, OWN, [("root", SET, "LOUD")])],
    [(TOPIC, "missing", [("retention.ms", SET, "1")]), (LOGGER, OTHER, []), (BROKER, OTHER, []), (BROKER, OWN, [])],
    [
        (BROKER, OWN, [("max.connections", SET, "7000")]),
        (TOPIC, "t", []),
        (BROKER, OWN, [("max.connections", SET, "8000")]),
    ],
    [(99, "", [("a", SET, "b")]), (BROKER, OTHER, [("max.connections", SET, "7100")])],
]


def incremental(resources: list[Resource]) -> m.IncrementalAlterConfigsRequest:
    request = m.IncrementalAlterConfigsRequest
    return request(
        resources=[
            request.AlterConfigsResource(
                resource_type=kind,
                resource_name=name,
                configs=[
                    request.AlterableConfig(name=key, config_operation=operation, value=value)
                    for key, operation, value in configs
                ],
            )
            for kind, name, configs in resources
        ]
    )


def whole(resources: list[Resource]) -> m.AlterConfigsRequest:
    request = m.AlterConfigsRequest
    return request(
        resources=[
            request.AlterConfigsResource(
                resource_type=kind,
                resource_name=name,
                configs=[request.AlterableConfig(name=key, value=value) for key, _, value in configs],
            )
            for kind, name, configs in resources
        ]
    )


def asked(make: Any) -> list[list[Resource]]:
    """The requests, without one that Java brokers never answer in its older form: a resource that occurs twice."""
    return [one for one in REQUESTS if make is incremental or len({(kind, name) for kind, name, _ in one}) == len(one)]


def answers(port: int, own: int, other: int, make: Any, version: int) -> list[list[tuple[Any, ...]]]:
    """What a broker answers, with its id and that of the other one replaced."""
    found = []
    names = {OWN: str(own), OTHER: str(other)}
    for resources in asked(make):
        named = [(kind, names.get(name, name), configs) for kind, name, configs in resources]
        response = ask(port, make(named), version=version)
        words = {str(own): OWN, str(other): OTHER}
        found.append(
            [
                (
                    one.resource_type,
                    words.get(one.resource_name, one.resource_name),
                    one.error_code,
                    _general(one.error_message, own, other),
                )
                for one in response.responses
            ]
        )
    return found


def _general(message: str | None, own: int, other: int) -> str | None:
    if message is None:
        return None
    # kwire logs at fewer levels.
    message = message.replace("ERROR, FATAL, INFO, TRACE, WARN", "ERROR, INFO, WARN")
    return message.replace(f"xpected {own},", "xpected OWN,").replace(f"received {other}", "received OTHER")


@case("cluster", "nodes", "configs of brokers through a kwire and a Java broker")
def configs_of_brokers(run: Run) -> None:
    with cluster(run, KWIRE, APACHE) as rig:
        kwire, java = rig.broker(1), rig.broker(2)
        different = []
        for make, version in ((incremental, 1), (whole, 2)):
            ours, theirs = (
                answers(one.port, one.id, other.id, make, version) for one, other in ((kwire, java), (java, kwire))
            )
            for resources, our, their in zip(asked(make), ours, theirs, strict=True):
                if our != their:
                    different.append(f"{make.__name__} {resources}\n  kwire {our}\n  java  {their}")
        assert not different, "\n".join(different)
