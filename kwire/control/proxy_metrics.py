"""Metrics of a proxy for Prometheus.

Responsible for: the families that ``/metrics`` of a proxy gives. Must not depend on: HTTP, how requests are counted.

Metrics that a broker has too have the same names (``metrics``); the listener of a connection is the address of its
node.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import Metric

from kwire.control.metrics import CONNECTIONS, REQUESTS, Families, counter, gauge
from kwire.proxy.proxy import Proxy
from kwire.wire.codec import api_name


def proxy_exposition(proxy: Proxy) -> bytes:
    """Give all metrics in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Families(_families(proxy)))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


def _families(proxy: Proxy) -> Iterator[Metric]:
    yield counter(
        REQUESTS,
        "Requests of clients.",
        ["request", "version"],
        [
            ((api_name(each[0]), str(each[1])) if each else ("unknown", ""), count)
            for each, count in proxy.request_counts.items()
        ],
    )
    open_now = Counter(each.client.endpoint.name for each in proxy.connections)
    nodes = [str(node) for node in proxy.nodes]
    yield gauge(CONNECTIONS, "Connections.", ["listener"], [((node,), open_now[node]) for node in nodes])
    yield counter(
        "kwire_proxy_failed_connections",
        "Clients whose node could not be reached.",
        ["listener"],
        [((node,), proxy.failed_connections[node]) for node in nodes],
    )
