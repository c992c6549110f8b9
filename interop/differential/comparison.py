"""Runs a sequence against both brokers at the same time and compares the answers, operation by operation."""

import itertools
import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from interop.brokers import ONE_MACHINE, Apache, Kwire
from interop.differential.operations import Operation
from interop.differential.session import NO_ANSWER, NOT_SENT, Session
from interop.oracle.known import known
from interop.oracle.normal import Normalizer, differences
from kwire.wire.batches.batch import CODEC_MASK

TITLE = "differential"
# Answers that list what the whole broker has: only what the sequence made is compared.
LISTINGS = {
    "ListGroups", "ListTransactions", "Metadata", "DescribeLogDirs", "ListConfigResources", "DescribeClientQuotas",
    "ListPartitionReassignments", "DescribeUserScramCredentials", "DescribeTopicPartitions",
}  # fmt: skip
# Apache Kafka met an exception that it did not expect: the rest of its answer says nothing either.
UNEXPECTED = re.compile(r"rrorCode: -1 / |rrorCode': -1\b.* / ")
_numbers = itertools.count(1)


@dataclass
class Difference:
    """A place where the two brokers do not answer alike."""

    place: int  # of the operation; -1: none of them
    label: str
    lines: list[str]

    @property
    def kind(self) -> tuple[str, str]:
        """What makes two differences the same one: the API and the first field without numbers, and error codes."""
        field, _, values = self.lines[0].partition(": ")
        line = "".join(" " if char.isdigit() else char for char in field)
        codes = f" {values}" if field.endswith("rrorCode") else ""
        return self.label.rpartition(" v")[0].partition(" ")[2], line + codes


@dataclass
class Outcome:
    differences: list[Difference]
    answers: tuple[list[Any], list[Any]]  # normalised, Apache Kafka's first


def compare(apache: Apache | Kwire, other: Apache | Kwire, operations: list[Operation], stem: str = "d") -> Outcome:
    prefix = f"{stem}{next(_numbers)}"
    log_start = other.log.stat().st_size
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(_run, broker, operations, prefix) for broker in (apache, other)]
        normal = [run.result() for run in runs]
    found = []
    end = min(
        election_by_chance(operations, *normal),
        blocked_by_known_silence(operations, *normal),
        *(answers.index(NOT_SENT) for answers in normal if NOT_SENT in answers),
    )
    for place, operation in enumerate(operations[:end]):
        lines = differences(normal[0][place], normal[1][place])
        if any(UNEXPECTED.search(line) for line in lines):
            continue
        lines = [line for line in lines if not is_known(operation, line)]
        if lines:
            found.append(Difference(place, operation.label, lines))
    with other.log.open("rb") as log:
        log.seek(log_start)
        if b"Traceback" in (written := log.read()):
            found.append(Difference(-1, "log", ["a traceback: none / " + written.decode(errors="replace")[-1500:]]))
    if not other.alive:
        found.insert(0, Difference(-1, "process", [f"the broker ended: no / {other.tail(20)}"]))
    return Outcome(found, (normal[0], normal[1]))


def _run(broker: Apache | Kwire, operations: list[Operation], prefix: str) -> list[Any]:
    try:
        session = Session(broker, prefix)
        answers = session.run(operations)
    except (OSError, AssertionError):
        if broker.alive:
            raise
        return ["the broker ended"] * len(operations)
    return normalised(session, operations, answers, prefix)


def election_by_chance(operations: list[Operation], apache: list[Any], other: list[Any]) -> int:
    """The place from which on the leaders of a group differ because the leader before has left.

    Apache Kafka then takes the next member in the order of a hash table of random ids. All members, and who is asked
    for assignments, differ from there on, so the rest of such a sequence is not compared.
    """
    leaders: dict[str, str] = {}
    for place, operation in enumerate(operations):
        mine, theirs = apache[place], other[place]
        if operation.api != "JoinGroup" or not isinstance(mine, dict) or mine["errorCode"]:
            continue
        group = operation.body["groupId"]
        elected = leaders.get(group, mine["leader"]) != mine["leader"]
        if elected and isinstance(theirs, dict) and theirs["leader"] not in ("", mine["leader"]):
            return place
        leaders[group] = mine["leader"]
    return len(operations)


def blocked_by_known_silence(operations: list[Operation], apache: list[Any], other: list[Any]) -> int:
    """The place of the first request that Apache Kafka does not read, because one before it is never answered.

    Apache Kafka reads the next request of a connection when the one before is answered. Where it is known not to
    answer, all later requests of that connection have no effect, so the rest of such a sequence is not compared.
    """
    silent: set[str] = set()
    for place, operation in enumerate(operations):
        if apache[place] != NO_ANSWER or other[place] == NO_ANSWER:
            continue
        if operation.on in silent:
            return place
        if all(is_known(operation, line) for line in differences(apache[place], other[place])):
            silent.add(operation.on)
    return len(operations)


def is_known(operation: Operation, line: str) -> bool:
    note = " (a resource twice)" if operation.api == "AlterConfigs" and _repeats_resource(operation) else ""
    return known(TITLE, f"{operation.api} v{operation.version}{line}{note}")


def _repeats_resource(operation: Operation) -> bool:
    """Whether the request names a resource twice; the line of a difference has long answers in part only."""
    named = [(one["resourceType"], one["resourceName"]) for one in operation.body.get("resources") or ()]
    return len(set(named)) < len(named)


def is_barrier(resource: dict) -> bool:
    return str(resource.get("resourceName")).endswith("-barrier")


def without_sources_of_defaults(answer: dict) -> None:
    """Apache Kafka is given kwire's defaults in its file, so they have another source there."""
    for result in answer["results"]:
        for config in result["configs"] or ():
            if {config["name"], f"group.{config['name']}"} & ONE_MACHINE.keys():
                config.pop("configSource", None)
                config.pop("synonyms", None)


def merged(responses: list[dict]) -> list[dict]:
    """A fetch's topics once each, partitions in order: where a partition stands in the answer has no meaning."""
    topics: dict[str, dict] = {}
    for response in responses:
        topic = topics.setdefault(response.get("topic") or response.get("topicId", ""), {**response, "partitions": []})
        topic["partitions"] += response["partitions"]
    for topic in topics.values():
        topic["partitions"].sort(key=lambda partition: partition["partitionIndex"])
        for partition in topic["partitions"]:
            for batch in partition["records"] or ():
                if batch.get("attributes", 0) & CODEC_MASK:
                    # The broker may have compressed it itself: what counts is what is in it.
                    for field in ("bytes", "crc", "length"):
                        batch.pop(field, None)
            # Apache Kafka names some, none or null where it has no room for records; they concern no record.
            if not partition["records"]:
                partition.pop("abortedTransactions")
    return [topics[name] for name in sorted(topics)]


def in_order(responses: list[dict]) -> list[dict]:
    """Topics by id, partitions by number; not those that say nothing, which Apache Kafka leaves out while it loads."""
    for topic in responses:
        topic["partitions"] = sorted(
            (one for one in topic["partitions"] if one["records"] or one["errorCode"] or one["acknowledgeErrorCode"]),
            key=lambda partition: partition["partitionIndex"],
        )
    return sorted((topic for topic in responses if topic["partitions"]), key=lambda topic: str(topic["topicId"]))


def sort_subscriptions(description: dict) -> None:
    """Apache Kafka gives the names of topics in the order of a hash table."""
    for group in description["groups"]:
        for member in group["members"]:
            member.get("subscribedTopicNames", []).sort()


def normalised(session: Session, operations: list[Operation], answers: list[Any], prefix: str) -> list[Any]:
    normalizer = Normalizer()
    for name, ids in session.topic_ids.items():
        for n, topic_id in enumerate(ids):
            normalizer.known_id(topic_id, f"{name} {n}")
    # Ids are numbered in the order of the operations that gave them, not in that of a list sorted by random text.
    for operation, answer in zip(operations, answers, strict=True):
        if operation.api == "JoinGroup" and isinstance(answer, dict):
            normalizer.normal(answer["memberId"], "JoinGroup")
    found = []
    for operation, answer in zip(operations, answers, strict=True):
        own = prefix if operation.api in LISTINGS else None
        value = normalizer.normal(answer, operation.api, own) if isinstance(answer, dict) else answer
        if operation.api == "DescribeClientQuotas" and isinstance(value, dict):
            value["entries"] = [one for one in value["entries"] or () if prefix in json.dumps(one)]
        if operation.api == "ListConfigResources" and isinstance(value, dict):
            value["configResources"] = [one for one in value["configResources"] if not is_barrier(one)]
        if operation.api == "DescribeConfigs" and isinstance(value, dict):
            without_sources_of_defaults(value)
        if operation.api.endswith("GroupDescribe") and isinstance(value, dict):
            sort_subscriptions(value)
        if operation.api == "ShareFetch" and isinstance(value, dict):
            # Which partition comes first depends on how many sessions a broker has had.
            value["responses"] = in_order(value["responses"])
        if operation.api == "Fetch" and isinstance(value, dict):
            value["responses"] = merged(value["responses"])
        found.append(json.loads(json.dumps(value).replace(prefix + "-", "~")))
    return found
