"""kafka-metadata-quorum: show the voters and observers of the metadata log and their positions.

Responsible for: the sub-commands of the official script and their output. Must not depend on: the wire.

Adding and removing controllers needs a quorum of several; this script does not send these requests.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Final, Protocol

from kwire.cli.admin import cluster as admin
from kwire.cli.connections.client import Cluster
from kwire.cli.connections.connection import ClientError
from kwire.cli.java.arguments import Arguments, add_servers
from kwire.cli.java.exits import Failure
from kwire.cli.java.names import error_line
from kwire.cli.script_twins.common import cluster_at, read_config
from kwire.errors import KafkaError
from kwire.types import uuid_text
from kwire.wire.messages import DescribeQuorumResponse

NAME: Final = "kafka-metadata-quorum"
_HEADINGS: Final = (
    "NodeId", "DirectoryId", "LogEndOffset", "Lag", "LastFetchTimestamp", "LastCaughtUpTimestamp", "Status",
)  # fmt: skip


class _Replica(Protocol):
    replica_id: int
    replica_directory_id: bytes
    log_end_offset: int
    last_fetch_timestamp: int
    last_caught_up_timestamp: int


def main(argv: Sequence[str]) -> int:
    given = _parser().read(argv)
    if given.command in ("add-controller", "remove-controller"):
        raise Failure(f"{given.command} is not available here: it is for quorums of several controllers")
    if given.status and given.replication:
        raise Failure("Only one of --status or --replication should be specified with describe sub-command")
    if not (given.status or given.replication):
        raise Failure("One of --status or --replication must be specified with describe sub-command")
    config = read_config(given.command_config) if given.command_config else {}
    with cluster_at(given.bootstrap_server or given.bootstrap_controller, config, NAME) as cluster:
        try:
            if given.status:
                _print_status(cluster, at_controller=given.bootstrap_controller is not None)
            else:
                _print_replication(cluster, human=given.human_readable)
        except KafkaError as error:
            raise Failure(error_line(error)) from error
        except ClientError as error:
            raise Failure(str(error)) from error
    return 0


def _parser() -> Arguments:
    parser = Arguments(prog=NAME, description="Show the quorum of the metadata log.")
    add_servers(parser)
    describe = parser.add_command("describe", "Show the quorum.")
    describe.add_argument("--status", action="store_true", help="in short")
    describe.add_argument("--replication", action="store_true", help="the log end offset and lag of each replica")
    describe.add_argument("--human-readable", action="store_true", help="times as how long ago")
    parser.add_command("add-controller", "Not available here.").add_argument("rest", nargs="*")
    remove = parser.add_command("remove-controller", "Not available here.")
    for flags in (("--controller-id", "-i"), ("--controller-directory-id", "-d")):
        remove.add_argument(*flags)
    remove.add_argument("--dry-run", action="store_true")
    return parser


def _print_status(cluster: Cluster, *, at_controller: bool) -> None:
    answer = admin.describe_quorum(cluster)
    partition = answer.topics[0].partitions[0]
    leader = next(
        (each for each in partition.current_voters if each.replica_id == partition.leader_id),
        partition.current_voters[0],
    )
    followers = [each for each in partition.current_voters if each.replica_id != partition.leader_id]
    slowest = min(followers, key=lambda each: each.log_end_offset, default=None)
    lag = 0 if slowest is None else leader.log_end_offset - slowest.log_end_offset
    lag_ms = 0
    if slowest is not None:
        lag_ms = -1 if slowest.last_caught_up_timestamp < 0 else _now_ms() - slowest.last_caught_up_timestamp
    for name, value in (
        ("ClusterId", admin.cluster_id(cluster, at_controller=at_controller)),
        ("LeaderId", partition.leader_id),
        ("LeaderEpoch", partition.leader_epoch),
        ("HighWatermark", partition.high_watermark),
        ("MaxFollowerLag", lag),
        ("MaxFollowerLagTimeMs", lag_ms),
        ("CurrentVoters", _replicas(answer, partition.current_voters)),
        ("CurrentObservers", _replicas(answer, partition.observers)),
    ):
        print(f"{name + ':':<23} {value}")


def _replicas(answer: DescribeQuorumResponse, replicas: Sequence[_Replica]) -> str:
    """Ids, directories and endpoints, as JSON but for a blank after each colon and comma."""
    endpoints = {
        node.node_id: [f"{each.name}://{each.host}:{each.port}" for each in node.listeners] for node in answer.nodes
    }
    shown = []
    for replica in replicas:
        item: dict[str, object] = {"id": replica.replica_id}
        if replica.replica_directory_id != bytes(16):
            item["directoryId"] = uuid_text(replica.replica_directory_id)
        if replica.replica_id in endpoints:
            item["endpoints"] = endpoints[replica.replica_id]
        shown.append(json.dumps(item))
    return f"[{', '.join(shown)}]"


def _print_replication(cluster: Cluster, *, human: bool) -> None:
    partition = admin.describe_quorum(cluster).topics[0].partitions[0]
    end_offset = next(
        (each.log_end_offset for each in partition.current_voters if each.replica_id == partition.leader_id), 0
    )
    rows = [list(_HEADINGS)]
    for status, replicas in (("Follower", partition.current_voters), ("Observer", partition.observers)):
        rows += [
            [
                str(each.replica_id),
                uuid_text(each.replica_directory_id),
                str(each.log_end_offset),
                str(end_offset - each.log_end_offset),
                _time(each.last_fetch_timestamp, human=human),
                _time(each.last_caught_up_timestamp, human=human),
                "Leader" if each.replica_id == partition.leader_id else status,
            ]
            for each in sorted(replicas, key=lambda each: (each.replica_id != partition.leader_id, each.replica_id))
        ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    for row in rows:
        print("".join(f"{value:<{width}}\t" for value, width in zip(row, widths, strict=True)))


def _time(timestamp_ms: int, *, human: bool) -> str:
    if not human or timestamp_ms < 0:
        return str(timestamp_ms)
    return f"{_now_ms() - timestamp_ms} ms ago"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
