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
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from kwire.testing.arguments import Config, broker_texts
from kwire.testing.local_cluster import LocalCluster

_BROKERS: Final = 3


@contextmanager
def kafka_cluster(
    brokers: int | None = None,
    *,
    config: Config | None = None,
    data: str | os.PathLike[str] | None = None,
    port: int = 0,
) -> Iterator[LocalCluster]:
    """Run ``brokers`` brokers (3) and a controller within the block; they know each other when it begins.

    ``config``: settings of all nodes under Kafka's names. ``data``: a directory for their files, whose cluster, if it
    has one, is started again; without one they are in a temporary directory, which is deleted. ``port``: that of broker
    1, the others and the controller follow; 0 takes free ones. Raises BrokerConfigError for invalid settings,
    local_cluster.ClusterError for nodes that do not start, and for arguments that the cluster of ``data`` contradicts.
    """
    if brokers is not None and brokers < 1:
        raise ValueError(f"a cluster needs a broker, not {brokers}")
    texts = broker_texts(config)
    with ExitStack() as stack:
        if data is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kwire-cluster-")))
        else:
            folder = Path(data).absolute()
        if LocalCluster.is_in(folder):
            cluster = LocalCluster.open(folder)
            cluster.check_options(brokers=brokers, port=port, settings=texts)
        else:
            cluster = LocalCluster.create(folder, brokers=brokers or _BROKERS, port=port, settings=texts)
        # Nodes in a temporary directory need no clean stop.
        stack.callback(cluster.kill_all if data is None else cluster.stop)
        for _node in cluster.start():
            pass
        cluster.wait_for_brokers()
        yield cluster
