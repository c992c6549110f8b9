"""JVM-free twins of the official scripts, by their official names.

Responsible for: the table of names, and the exit code of a script. Must not depend on: single scripts. Each module has
``main(argv) -> int`` and is imported on first use.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Final

from kwire.cli.script_twins.exits import Failure
from kwire.cli.script_twins.options import Wrong

TWINS: Final = {
    "kafka-acls": "acls",
    "kafka-broker-api-versions": "broker_api_versions",
    "kafka-client-metrics": "client_metrics",
    "kafka-cluster": "cluster",
    "kafka-configs": "configs",
    "kafka-console-consumer": "console_consumer",
    "kafka-console-producer": "console_producer",
    "kafka-console-share-consumer": "console_share_consumer",
    "kafka-consumer-groups": "consumer_groups",
    "kafka-consumer-perf-test": "consumer_perf_test",
    "kafka-delegation-tokens": "delegation_tokens",
    "kafka-delete-records": "delete_records",
    "kafka-dump-log": "dump_log",
    "kafka-e2e-latency": "e2e_latency",
    "kafka-features": "features",
    "kafka-get-offsets": "get_offsets",
    "kafka-groups": "groups",
    "kafka-leader-election": "leader_election",
    "kafka-log-dirs": "log_dirs",
    "kafka-metadata-quorum": "metadata_quorum",
    "kafka-producer-perf-test": "producer_perf_test",
    "kafka-reassign-partitions": "reassign_partitions",
    "kafka-replica-verification": "replica_verification",
    "kafka-server-start": "server_start",
    "kafka-server-stop": "server_stop",
    "kafka-share-consumer-perf-test": "share_consumer_perf_test",
    "kafka-share-groups": "share_groups",
    "kafka-storage": "storage",
    "kafka-streams-groups": "streams_groups",
    "kafka-topics": "topics",
    "kafka-transactions": "transactions",
    "kafka-verifiable-consumer": "verifiable_consumer",
    "kafka-verifiable-producer": "verifiable_producer",
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
