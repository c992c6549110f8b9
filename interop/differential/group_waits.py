"""Wait for the work that a heartbeat of a group starts: resolved patterns, internal topics, share partitions.

Responsible for: ``after_heartbeat``. Must not depend on: what a correct answer is.
"""

import time
from collections.abc import Callable

from interop.differential.operations import Json

Ask = Callable[[str, int, Json], Json]
# Apache Kafka creates topics and loads share partitions in less than a second. After that the answers show it.
LONGEST_S = 2.0
# Each poll is a request to a broker on the same machine, answered in about a millisecond.
POLL_S = 0.01
# The broker resolves a pattern in a thread of its own, in a few milliseconds; no request shows when it has.
PATTERN_S = 0.15


def after_heartbeat(ask: Ask, api: str, request: Json, answer: Json) -> bool:
    """Wait for the work that this heartbeat started; return whether topics may have been created.

    ``request`` has the names of this run.
    """
    if answer["errorCode"] or request["memberEpoch"] < 0:
        return False
    if api == "ConsumerGroupHeartbeat" and request.get("subscribedTopicRegex"):
        time.sleep(PATTERN_S)  # the broker resolves the expression after its answer
    if api == "ShareGroupHeartbeat":
        _until_initialized(ask, request["groupId"])
    if api == "StreamsGroupHeartbeat" and request.get("topology"):
        return _until_created(ask, request["topology"]["subtopologies"])
    return False


def _until_initialized(ask: Ask, group: str) -> None:
    """Wait until the share group has a state for each partition that its members subscribe to."""
    described = ask("ShareGroupDescribe", 1, {"groupIds": [group]})["groups"][0]
    names = {name for member in described["members"] for name in member["subscribedTopicNames"]}
    topics = ask("Metadata", 12, _by_name(names))["topics"]
    wanted = {(topic["name"], one["partitionIndex"]) for topic in topics for one in topic["partitions"]}

    def are_there() -> bool:
        found = ask("DescribeShareGroupOffsets", 0, {"groups": [{"groupId": group, "topics": None}]})["groups"][0]
        return wanted <= {
            (topic["topicName"], one["partitionIndex"]) for topic in found["topics"] for one in topic["partitions"]
        }

    _until(are_there)


def _until_created(ask: Ask, subtopologies: list[Json]) -> bool:
    """Wait until the topics exist that the broker makes for this topology, if there are any."""
    kinds = ("stateChangelogTopics", "repartitionSourceTopics")
    names = {topic["name"] for each in subtopologies for kind in kinds for topic in each[kind]}
    if names:
        _until(lambda: not any(topic["errorCode"] for topic in ask("Metadata", 12, _by_name(names))["topics"]))
    return bool(names)


def _by_name(names: set[str]) -> Json:
    return {"topics": [{"name": name} for name in sorted(names)], "allowAutoTopicCreation": False}


def _until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONGEST_S
    while not reached() and time.monotonic() < deadline:
        time.sleep(POLL_S)  # a poll, bounded above
