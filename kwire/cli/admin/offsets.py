"""Offsets of partitions: first, last, or by timestamp.

Responsible for: ListOffsets requests to each leader. Must not depend on: the committed offsets of groups.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from kwire.cli.admin.topics import leaders
from kwire.cli.connections.client import Cluster
from kwire.cli.connections.connection import NotServed
from kwire.errors import Code, KafkaError
from kwire.wire.messages import ListOffsetsRequest, ListOffsetsResponse

LATEST: Final = -1
EARLIEST: Final = -2
MAX_TIMESTAMP: Final = -3
EARLIEST_LOCAL: Final = -4
LATEST_TIERED: Final = -5
EARLIEST_PENDING_UPLOAD: Final = -6

# The version of ListOffsets that introduced each special timestamp (KIP-734, KIP-405, KIP-1005, KIP-1023); an older
# version would treat the number as a timestamp.
_SINCE: Final = {MAX_TIMESTAMP: 7, EARLIEST_LOCAL: 8, LATEST_TIERED: 9, EARLIEST_PENDING_UPLOAD: 11}

NO_OFFSET: Final = -1


def list_offsets(
    cluster: Cluster, wanted: Mapping[tuple[str, int], int], *, read_committed: bool = False
) -> dict[tuple[str, int], int | KafkaError]:
    """Look up the offset at a timestamp, real or special, for each partition; -1 where no record is that late."""
    if not wanted:
        return {}
    results: dict[tuple[str, int], int | KafkaError] = {}

    def attempt() -> None:
        missing = {place: when for place, when in wanted.items() if isinstance(results.get(place), KafkaError | None)}
        for leader, places in leaders(cluster, missing, results).items():
            results.update(_of_leader(cluster, leader, {place: wanted[place] for place in places}, read_committed))
        for found in results.values():
            if isinstance(found, KafkaError):
                raise found

    with suppress(KafkaError):  # the results contain the error
        cluster.with_retries(attempt)
    return results


def _of_leader(
    cluster: Cluster, leader: int, wanted: Mapping[tuple[str, int], int], read_committed: bool
) -> dict[tuple[str, int], int | KafkaError]:
    topics: dict[str, list[ListOffsetsRequest.ListOffsetsPartition]] = {}
    for (name, index), timestamp in wanted.items():
        topics.setdefault(name, []).append(
            ListOffsetsRequest.ListOffsetsPartition(partition_index=index, timestamp=timestamp)
        )
    request = ListOffsetsRequest(
        replica_id=-1,
        isolation_level=int(read_committed),
        topics=[ListOffsetsRequest.ListOffsetsTopic(name=name, partitions=items) for name, items in topics.items()],
        timeout_ms=int(cluster.timeout_s * 1000),
    )
    connection = cluster.node(leader)
    version = connection.version_of(ListOffsetsRequest)
    needed = max((_SINCE.get(timestamp, 0) for timestamp in wanted.values()), default=0)
    if version < needed:
        raise NotServed(f"{connection.address} does not know this kind of offset (ListOffsets version {needed})")
    if version < 2:
        request.isolation_level = 0  # KIP-98 came with version 2
    answer = cluster.call_on(connection, request, ListOffsetsResponse, version=version)
    return {
        (topic.name, item.partition_index): KafkaError(Code(item.error_code)) if item.error_code else item.offset
        for topic in answer.topics
        for item in topic.partitions
    }
