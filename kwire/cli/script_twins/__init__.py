"""JVM-free twins of the official scripts, by their official names.

Responsible for: the table of names, and the exit code of a script. Must not depend on: single scripts. Each module has
``main(argv) -> int`` and is imported on first use.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Final

from kwire.cli.java.exits import Failure
from kwire.cli.java.options import Wrong

TWINS: Final = {
    "kafka-acls": "admin.acls",
    "kafka-broker-api-versions": "cluster.broker_api_versions",
    "kafka-client-metrics": "admin.client_metrics",
    "kafka-cluster": "cluster.cluster",
    "kafka-configs": "admin.configs",
    "kafka-console-consumer": "clients.console_consumer",
    "kafka-console-producer": "clients.console_producer",
    "kafka-console-share-consumer": "clients.console_share_consumer",
    "kafka-consumer-groups": "groups.consumer_groups",
    "kafka-consumer-perf-test": "clients.consumer_perf_test",
    "kafka-delegation-tokens": "admin.delegation_tokens",
    "kafka-delete-records": "topics.delete_records",
    "kafka-dump-log": "cluster.dump_log",
    "kafka-e2e-latency": "clients.e2e_latency",
    "kafka-features": "cluster.features",
    "kafka-get-offsets": "topics.get_offsets",
    "kafka-groups": "groups.groups",
    "kafka-leader-election": "topics.leader_election",
    "kafka-log-dirs": "topics.log_dirs",
    "kafka-metadata-quorum": "cluster.metadata_quorum",
    "kafka-producer-perf-test": "clients.producer_perf_test",
    "kafka-reassign-partitions": "topics.reassign_partitions",
    "kafka-replica-verification": "topics.replica_verification",
    "kafka-server-start": "cluster.server_start",
    "kafka-server-stop": "cluster.server_stop",
    "kafka-share-consumer-perf-test": "clients.share_consumer_perf_test",
    "kafka-share-groups": "groups.share_groups",
    "kafka-storage": "cluster.storage",
    "kafka-streams-groups": "groups.streams_groups",
    "kafka-topics": "topics.topics",
    "kafka-transactions": "admin.transactions",
    "kafka-verifiable-consumer": "clients.verifiable_consumer",
    "kafka-verifiable-producer": "clients.verifiable_producer",
}


def run(name: str, argv: Sequence[str]) -> int:
    """Run a script by its official name, with or without `.sh`, and return its exit code. KeyError for another name."""
    module = importlib.import_module(f"{__name__}.{TWINS[name.removesuffix('.sh')]}")
    try:
        code: int = module.main(argv)
    except Failure as failure:
        return end(failure)
    except Wrong as error:
        return end(Failure(str(error)))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of the output has closed it. Python would report the unwritten rest at exit.
        sys.stdout = None
        return 141
    return code


def end(failure: Failure) -> int:
    """Print the message of a failure; return its exit code."""
    sys.stdout.flush()
    stream = sys.stdout if failure.stream == "out" else sys.stderr
    if failure.message:
        stream.write(f"{failure.message}\n")
    stream.flush()
    return failure.code
