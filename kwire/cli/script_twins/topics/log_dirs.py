"""kafka-log-dirs: print the log directories of brokers as JSON.

Responsible for: the flags and the output of the official script. Must not depend on: the wire.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from kwire.cli.admin.cluster import LogDir, log_dirs
from kwire.cli.connections.connection import ClientError
from kwire.cli.java.exits import Failure
from kwire.cli.java.names import error_text, exception_class, partition_order
from kwire.cli.java.options import BOOTSTRAP, COMMAND_CONFIG, Option, parse
from kwire.cli.script_twins.common import numbers, open_cluster
from kwire.errors import KafkaError

NAME: Final = "kafka-log-dirs"
ABOUT: Final = "Show the content of the log directories of brokers."

OPTIONS: Final = (
    BOOTSTRAP,
    COMMAND_CONFIG,
    Option("describe", "Show log directories."),
    Option("broker-list", "Brokers to ask: 0,1,2; all when left out.", "IDS", default=""),
    Option("topic-list", "Topics to show: a,b; all when left out.", "NAMES", default=""),
)


def main(argv: Sequence[str]) -> int:
    parsed = parse(NAME, ABOUT, OPTIONS, argv)
    parsed.require("bootstrap-server", "describe")
    topics = [name for name in parsed.text("topic-list").split(",") if name]
    try:
        with open_cluster(parsed, NAME, ",".join(parsed.values("bootstrap-server"))) as cluster:
            known = [node.id for node in cluster.with_retries(cluster.nodes)]
            wanted = sorted({int(word) for word in parsed.text("broker-list").split(",") if word}) or known
            missing = [broker for broker in wanted if broker not in known]
            if missing:
                raise Failure(
                    f"ERROR: The given brokers do not exist from --broker-list: {numbers(missing)}."
                    f" Current existent brokers: {numbers(known)}"
                )
            print("Querying brokers for log directories information")
            found = {broker: log_dirs(cluster, broker, topics or None) for broker in wanted}
    except KafkaError as error:
        raise Failure(error_text(error)) from error
    except (ClientError, ValueError) as error:
        raise Failure(str(error)) from error
    print(f"Received log directory information from brokers {numbers(wanted)}")
    document = {"brokers": [{"broker": broker, "logDirs": _shown(found[broker])} for broker in wanted], "version": 1}
    print(json.dumps(document, separators=(",", ":"), ensure_ascii=False))
    return 0


def _shown(found: Sequence[LogDir]) -> list[dict[str, object]]:
    dirs: list[dict[str, object]] = []
    for each in found:
        replicas = {(replica.topic, replica.partition): replica for replica in each.replicas}
        dirs.append(
            {
                "partitions": [
                    {
                        "partition": f"{topic}-{partition}",
                        "size": replicas[topic, partition].size,
                        "offsetLag": replicas[topic, partition].offset_lag,
                        "isFuture": replicas[topic, partition].future,
                    }
                    for topic, partition in partition_order(replicas)
                ],
                "error": exception_class(each.error.code) if each.error else None,
                "logDir": each.path,
            }
        )
    return dirs
