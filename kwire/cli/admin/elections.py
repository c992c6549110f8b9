"""Elections of partition leaders.

Responsible for: ElectLeaders. Must not depend on: how an election is decided.
"""

from __future__ import annotations

from collections.abc import Iterable

from kwire.cli.connections.client import Cluster, check
from kwire.errors import Code, KafkaError
from kwire.wire.messages import ElectLeadersRequest, ElectLeadersResponse


def elect_leaders(
    cluster: Cluster, partitions: Iterable[tuple[str, int]] | None, *, unclean: bool = False
) -> dict[tuple[str, int], KafkaError | None]:
    """Elect leaders for partitions, or for all with None; return the refusal of each, or None. Raises KafkaError."""
    topics: dict[str, list[int]] = {}
    for name, index in partitions or ():
        topics.setdefault(name, []).append(index)
    request = ElectLeadersRequest(
        election_type=int(unclean),
        topic_partitions=None
        if partitions is None
        else [ElectLeadersRequest.TopicPartitions(topic=name, partitions=indexes) for name, indexes in topics.items()],
        timeout_ms=int(cluster.timeout_s * 1000),
    )

    def attempt() -> dict[tuple[str, int], KafkaError | None]:
        answer = cluster.call_controller(request, ElectLeadersResponse)
        check(answer.error_code)
        return {
            (topic.topic, item.partition_id): KafkaError(Code(item.error_code), item.error_message)
            if item.error_code
            else None
            for topic in answer.replica_election_results
            for item in topic.partition_result
        }

    return cluster.with_retries(attempt)
