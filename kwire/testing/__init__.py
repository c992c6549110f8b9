"""The API for tests: a broker in one line, and the errors that it raises. See docs/testing.md.

Names are imported at first use, because pytest loads the plugin in every run, also where no test asks for a broker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kwire.control.conditions import ConditionError
    from kwire.control.events import EventError
    from kwire.control.requests.recording import RecordingError
    from kwire.control.seeding.seed_error import SeedError
    from kwire.control.state import StateError
    from kwire.errors import KafkaError
    from kwire.faults.rules import RuleError
    from kwire.testing.arguments import BrokerConfigError
    from kwire.testing.broker import KafkaBroker
    from kwire.testing.clusters.cluster import KafkaCluster, kafka_cluster
    from kwire.testing.clusters.control import ClusterFault
    from kwire.testing.clusters.local_cluster import LocalCluster
    from kwire.testing.clusters.nodes import ClusterError
    from kwire.testing.faults import Fault, FaultNeverFired
    from kwire.testing.http.control_client import ControlRefused
    from kwire.testing.http.remote import RemoteFault, RemoteKafka
    from kwire.testing.http.remote_async import AsyncFault, AsyncKafka
    from kwire.testing.kafka_proxy import KafkaProxy, proxy
    from kwire.testing.process import KafkaProcess
    from kwire.testing.requests import RequestNeverSent
    from kwire.testing.start_errors import BrokerStartError
    from kwire.testing.waiting import NeverHappened

__all__ = [
    "AsyncFault",
    "AsyncKafka",
    "BrokerConfigError",
    "BrokerStartError",
    "ClusterError",
    "ClusterFault",
    "ConditionError",
    "ControlRefused",
    "EventError",
    "Fault",
    "FaultNeverFired",
    "KafkaBroker",
    "KafkaCluster",
    "KafkaError",
    "KafkaProcess",
    "KafkaProxy",
    "LocalCluster",
    "NeverHappened",
    "RecordingError",
    "RemoteFault",
    "RemoteKafka",
    "RequestNeverSent",
    "RuleError",
    "SeedError",
    "StateError",
    "kafka_cluster",
    "proxy",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from kwire import errors
    from kwire.control import conditions, events, state
    from kwire.control.requests import recording
    from kwire.control.seeding import seed_error
    from kwire.faults import rules
    from kwire.testing import arguments, broker, faults, kafka_proxy, process, requests, start_errors, waiting
    from kwire.testing.clusters import cluster, control, local_cluster, nodes
    from kwire.testing.http import control_client, remote, remote_async

    homes = {
        "ClusterError": nodes,
        "ClusterFault": control,
        "KafkaCluster": cluster,
        "LocalCluster": local_cluster,
        "kafka_cluster": cluster,
        "AsyncFault": remote_async,
        "AsyncKafka": remote_async,
        "BrokerStartError": start_errors,
        "ConditionError": conditions,
        "ControlRefused": control_client,
        "EventError": events,
        "KafkaProcess": process,
        "KafkaProxy": kafka_proxy,
        "proxy": kafka_proxy,
        "NeverHappened": waiting,
        "RecordingError": recording,
        "RemoteFault": remote,
        "RemoteKafka": remote,
        "BrokerConfigError": arguments,
        "Fault": faults,
        "FaultNeverFired": faults,
        "KafkaError": errors,
        "RequestNeverSent": requests,
        "RuleError": rules,
        "SeedError": seed_error,
        "StateError": state,
    }
    return getattr(homes.get(name, broker), name)


def __dir__() -> list[str]:
    return sorted(__all__)
