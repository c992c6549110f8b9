"""Several brokers for a test: processes on free ports, which a test may kill and pause.

Responsible for: ``kafka_cluster``. Must not depend on: a test framework.

    with kafka_cluster(brokers=3) as cluster:
        producer = Producer({"bootstrap.servers": cluster.bootstrap_servers, "acks": "all"})
        cluster.kill(1)
        cluster.start_node(1)
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from kwire.testing.arguments import Config, broker_texts, checked_users
from kwire.testing.local_cluster import LocalCluster
from kwire.testing.local_nodes import APACHE, KWIRE

_BROKERS: Final = 3


@contextmanager
def kafka_cluster(
    brokers: int | None = None,
    *,
    config: Config | None = None,
    data: str | os.PathLike[str] | None = None,
    port: int = 0,
    controllers: str | None = None,
    controller_count: int | None = None,
    kafka_home: str | os.PathLike[str] | None = None,
    users: Mapping[str, str] | None = None,
) -> Iterator[LocalCluster]:
    """Run ``brokers`` brokers (3) and a controller within the block; they know each other when it begins.

    ``config``: settings of all nodes under Kafka's names. ``data``: a directory for their files, whose cluster, if it
    has one, is started again; without one they are in a temporary directory, which is deleted. ``port``: that of broker
    1, the others and the controller follow; 0 takes free ones. ``controllers``: "kwire", or "apache" for
    ``controller_count`` (1) controllers of Apache Kafka, which need Java and the distribution in ``kafka_home`` (or
    KAFKA_HOME). ``users``: names to passwords; with users the cluster is secured: ACLs, TLS between nodes, and
    SASL_SSL with SCRAM for clients, which must trust ``ca_file``. These users are super users.

    Raises BrokerConfigError for invalid settings, local_nodes.ClusterError for nodes that do not start, for missing
    Java, and for arguments that the cluster of ``data`` contradicts.
    """
    if brokers is not None and brokers < 1:
        raise ValueError(f"a cluster needs a broker, not {brokers}")
    if controllers not in {None, KWIRE, APACHE}:
        raise ValueError(f"controllers={controllers!r} is neither {KWIRE!r} nor {APACHE!r}")
    named = checked_users(users)
    options: dict[str, Any] = {
        "port": port,
        "settings": broker_texts(config),
        "kafka_home": kafka_home,
        "secure": bool(named),
        "users": named,
    }
    with ExitStack() as stack:
        if data is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kwire-cluster-")))
        else:
            folder = Path(data).absolute()
        if LocalCluster.is_in(folder):
            cluster = LocalCluster.open(folder)
            cluster.check_options(
                brokers=brokers, controllers=controllers, controller_count=controller_count, **options
            )
        else:
            cluster = LocalCluster.create(
                folder,
                brokers=brokers or _BROKERS,
                controllers=controllers or KWIRE,
                controller_count=controller_count or 1,
                **options,
            )
        # Nodes in a temporary directory need no clean stop.
        stack.callback(cluster.kill_all if data is None else cluster.stop)
        for _node in cluster.start():
            pass
        cluster.wait_for_brokers()
        if named:
            cluster.store_users(named)
        yield cluster
