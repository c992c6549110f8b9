"""kafka-topics: list, describe, create, alter and delete topics.

Responsible for: the flags and the output of the official script. Must not depend on: the wire.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from kwire.cli.admin import configs as admin_configs
from kwire.cli.admin import topics as admin
from kwire.cli.admin.reassignments import Reassignment, reassignments_or_none
from kwire.cli.connections.client import Cluster
from kwire.cli.connections.connection import ClientError, TimedOut
from kwire.cli.java.exits import Failure
from kwire.cli.java.names import error_text, hash_order
from kwire.cli.java.options import (
    BOOTSTRAP,
    COMMAND_CONFIG,
    OLD_BROKER_LIST,
    ZOOKEEPER,
    Option,
    Parsed,
    Wrong,
    parse,
)
from kwire.cli.script_twins.common import bootstrap_of, matches, numbers, open_cluster, timed_out, warn
from kwire.errors import Code, KafkaError
from kwire.types import uuid_from_text, uuid_text

NAME: Final = "kafka-topics"
ABOUT: Final = "Create, list, describe, change and delete topics."

_ACTIONS: Final = ("list", "describe", "create", "alter", "delete")
_FILTERS: Final = (
    "under-replicated-partitions",
    "unavailable-partitions",
    "under-min-isr-partitions",
    "at-min-isr-partitions",
)

OPTIONS: Final = (
    BOOTSTRAP,
    COMMAND_CONFIG,
    OLD_BROKER_LIST,
    ZOOKEEPER,
    Option("list", "List topics."),
    Option("describe", "Show partitions, leaders, replicas and configs."),
    Option("create", "Create a topic."),
    Option("alter", "Add partitions to a topic."),
    Option("delete", "Delete a topic."),
    Option(
        "topic", "The topic; with --list, --describe, --alter and --delete a regular expression.", "NAME", many=True
    ),
    Option("topic-id", "Describe the topic with this id.", "ID", many=True),
    Option("partitions", "How many partitions; the broker's default when left out.", "N", number=True, many=True),
    Option("replication-factor", "How many replicas; the broker's default when left out.", "N", number=True, many=True),
    Option(
        "replica-assignment",
        "Brokers of each partition: 1:2,2:1 puts two partitions on two brokers.",
        "LIST",
        many=True,
    ),
    Option("config", "A config of the topic to create, as name=value; may be repeated.", "NAME=VALUE", many=True),
    Option("delete-config", "Has no effect since Kafka 4.0.", "NAME", many=True),
    Option("if-exists", "No error when the topic does not exist."),
    Option("if-not-exists", "No error when the topic exists already."),
    Option("exclude-internal", "Leave internal topics out."),
    Option("topics-with-overrides", "Describe only topics that have configs of their own."),
    Option("under-replicated-partitions", "Describe only partitions with replicas out of sync."),
    Option("unavailable-partitions", "Describe only partitions without a leader."),
    Option(
        "under-min-isr-partitions", "Describe only partitions with fewer in-sync replicas than min.insync.replicas."
    ),
    Option("at-min-isr-partitions", "Describe only partitions with just min.insync.replicas in sync."),
    Option("partition-size-limit-per-response", "Partitions in one answer of the broker.", "N", number=True, many=True),
)

# option -> the actions it goes with
_GOES_WITH: Final = {
    "partitions": ("create", "alter"),
    "replication-factor": ("create",),
    "replica-assignment": ("create", "alter"),
    "if-exists": ("alter", "delete", "describe"),
    "if-not-exists": ("create",),
    "exclude-internal": ("list", "describe"),
    "topics-with-overrides": ("describe",),
    **dict.fromkeys(_FILTERS, ("describe",)),
}

COLLISION_WARNING: Final = (
    "WARNING: Due to limitations in metric names, topics with a period ('.') or underscore ('_') could collide."
    " To avoid issues it is best to use either, but not both."
)


def main(argv: Sequence[str]) -> int:
    parsed = parse(NAME, ABOUT, OPTIONS, argv)
    action = _check(parsed)
    try:
        with open_cluster(parsed, NAME, bootstrap_of(parsed)) as cluster:
            call, run = _RUN[action]
            try:
                run(parsed, cluster)
            except TimedOut as error:
                raise Failure(_failed(timed_out(error, call)), stream="out") from error
    except KafkaError as error:
        raise Failure(_failed(error_text(error)), stream="out") from error
    except (ClientError, Wrong) as error:
        raise Failure(_failed(str(error)), stream="out") from error
    return 0


def _check(parsed: Parsed) -> str:
    """Refuse invalid combinations, with the official messages; return the action."""
    actions = [action for action in _ACTIONS if parsed.has(action)]
    if len(actions) != 1:
        parsed.refuse("Command must include exactly one action: --list, --describe, --create, --alter or --delete")
    action = actions[0]
    if not any(map(parsed.has, ("bootstrap-server", "broker-list", "zookeeper"))):
        raise Failure("--bootstrap-server must be specified")
    if action == "describe" and parsed.has("if-exists") and not (parsed.has("topic") or parsed.has("topic-id")):
        parsed.refuse("--topic or --topic-id is required to describe a topic")
    if action in ("create", "delete") or (action == "alter" and not parsed.has("topic")):
        parsed.require("topic")
    if action == "alter":
        if parsed.has("config") or parsed.has("delete-config"):
            parsed.refuse(
                'Option combination "[[bootstrap-server], [config]]" can\'t be used with option "[alter]"'
                " (To alter topic configurations, the kafka-configs tool can be used.)"
            )
        parsed.require("partitions")
    for option, fitting in _GOES_WITH.items():
        if action not in fitting:
            parsed.forbid(option, [action])
    if action == "create":
        parsed.forbid("replica-assignment", ("partitions", "replication-factor"))
    for option in _FILTERS:
        parsed.forbid(option, ("topics-with-overrides",))
    return action


def _list(parsed: Parsed, cluster: Cluster) -> None:
    print("\n".join(sorted(_wanted(parsed, cluster))))


def _create(parsed: Parsed, cluster: Cluster) -> None:
    name = parsed.text("topic")
    if parsed.has("delete-config"):
        warn(
            "delete-config option is no longer supported and deprecated since version 4.0. The config will be fully"
            " removed in future releases."
        )
    if "." in name or "_" in name:
        print(COLLISION_WARNING)
    partitions = parsed.number("partitions")
    replication_factor = parsed.number("replication-factor")
    if partitions is not None and partitions < 1:
        raise Wrong("The partitions must be greater than 0")
    if replication_factor is not None and not 1 <= replication_factor <= 32767:
        raise Wrong("The replication factor must be between 1 and 32767 inclusive")
    configs = _configs(parsed.values("config"))
    assignment = parsed.value("replica-assignment")
    try:
        admin.create_topic(
            cluster,
            name,
            partitions=partitions,
            replication_factor=replication_factor,
            assignments=None if assignment is None else dict(enumerate(_assignment(assignment))),
            configs=configs,
        )
    except KafkaError as error:
        if error.code is Code.TOPIC_ALREADY_EXISTS and parsed.has("if-not-exists"):
            return
        raise
    print(f"Created topic {name}.")


def _alter(parsed: Parsed, cluster: Cluster) -> None:
    known = _wanted(parsed, cluster)
    _ensure(parsed, known)
    count = parsed.number("partitions")
    assert count is not None
    text = parsed.value("replica-assignment")
    for name, topic in known.items():
        # The option has the whole assignment; only that of new partitions is sent to the broker.
        new = None if text is None else _assignment(text)[len(topic.partitions) :]
        admin.create_partitions(cluster, name, count, new)


def _delete(parsed: Parsed, cluster: Cluster) -> None:
    known = _wanted(parsed, cluster)
    _ensure(parsed, known)
    for name in known:
        admin.delete_topic(cluster, name)


def _describe(parsed: Parsed, cluster: Cluster) -> None:
    if parsed.has("topic-id"):
        topics = _by_id(parsed, cluster)
    else:
        names = sorted(_wanted(parsed, cluster))
        _ensure(parsed, names)
        limit = parsed.number("partition-size-limit-per-response") or admin.DESCRIBE_PARTITIONS_MAX
        described = admin.describe_topics(cluster, names, partitions_per_response=limit)
        topics = {name: each for name, each in described.items() if isinstance(each, admin.TopicDescription)}
    configs = admin_configs.describe_topic_configs(cluster, list(topics))
    moving = reassignments_or_none(cluster)
    for name in hash_order(sorted(topics), capacity=len(topics)):
        _describe_one(parsed, topics[name], configs[name], moving)


def _describe_one(
    parsed: Parsed,
    topic: admin.TopicDescription,
    configs: list[admin_configs.Entry] | KafkaError,
    moving: Mapping[tuple[str, int], Reassignment],
) -> None:
    entries = {} if isinstance(configs, KafkaError) else {entry.name: entry for entry in configs}
    own = [name for name in hash_order(entries, capacity=len(entries)) if not entries[name].is_default]
    filtered = parsed.count(_FILTERS) > 0
    overrides_only = parsed.has("topics-with-overrides")
    if not filtered and (own or not overrides_only):
        first = topic.partitions[0]
        factor = len(first.replicas) - len(moving.get((topic.name, first.partition), Reassignment()).adding)
        settings = ",".join(f"{name}={entries[name].value}" for name in own)
        print(
            f"Topic: {topic.name}\tTopicId: {uuid_text(topic.id)}\tPartitionCount: {len(topic.partitions)}"
            f"\tReplicationFactor: {factor}\tConfigs: {settings}"
        )
    if overrides_only:
        return
    minimum = entries.get("min.insync.replicas")
    min_isr = int(minimum.value) if minimum is not None and minimum.value else 1
    for partition in topic.partitions:
        move = moving.get((topic.name, partition.partition), Reassignment())
        if not filtered or _shown(parsed, partition, move, min_isr):
            print(_partition_line(topic.name, partition, move))


def _shown(parsed: Parsed, partition: admin.PartitionDescription, move: Reassignment, min_isr: int) -> bool:
    in_sync = len(partition.isr)
    has_leader = partition.leader >= 0
    return (
        (parsed.has("under-replicated-partitions") and in_sync < len(partition.replicas) - len(move.adding))
        or (parsed.has("unavailable-partitions") and not has_leader)
        or (parsed.has("under-min-isr-partitions") and (not has_leader or in_sync < min_isr))
        or (parsed.has("at-min-isr-partitions") and has_leader and in_sync == min_isr)
    )


def _partition_line(name: str, partition: admin.PartitionDescription, move: Reassignment) -> str:
    leader = str(partition.leader) if partition.leader >= 0 else "none"
    line = (
        f"\tTopic: {name}\tPartition: {partition.partition}\tLeader: {leader}"
        f"\tReplicas: {numbers(partition.replicas)}\tIsr: {numbers(partition.isr)}"
    )
    if move.adding or move.removing:
        line += f"\tAdding Replicas: {numbers(move.adding)}\tRemoving Replicas: {numbers(move.removing)}"
    elr = "N/A" if partition.elr is None else numbers(partition.elr)
    last_known = "N/A" if partition.last_known_elr is None else numbers(partition.last_known_elr)
    return f"{line}\tElr: {elr}\tLastKnownElr: {last_known}"


def _wanted(parsed: Parsed, cluster: Cluster) -> dict[str, admin.TopicDescription]:
    """The topics that the command line means, in the order in which the official script takes them."""
    known = admin.list_topics(cluster)
    names = hash_order(known)
    expression = parsed.value("topic")
    if expression is not None:
        names = matches(expression, names)
    return {name: known[name] for name in names if not (known[name].internal and parsed.has("exclude-internal"))}


def _by_id(parsed: Parsed, cluster: Cluster) -> dict[str, admin.TopicDescription]:
    text = parsed.text("topic-id")
    try:
        wanted = uuid_from_text(text)
    except ValueError:
        raise Wrong(_no_uuid(text)) from None
    found = {name: topic for name, topic in admin.list_topics(cluster).items() if topic.id == wanted}
    if not found and not parsed.has("if-exists"):
        raise Wrong(f"TopicId '{text}' does not exist as expected")
    return found


def _no_uuid(text: str) -> str:
    size = len(text) * 3 // 4
    return (
        f"Input string `{text}` decoded as {size} bytes, which is not equal to the expected 16 bytes of a"
        " base64-encoded UUID"
    )


def _ensure(parsed: Parsed, found: Sequence[str] | Mapping[str, object]) -> None:
    if parsed.has("topic") and not found and not parsed.has("if-exists"):
        raise Wrong(f"Topic '{parsed.value('topic')}' does not exist as expected")


def _configs(settings: Sequence[str]) -> dict[str, str]:
    configs = {}
    for setting in settings:
        words = re.split(r"\s*=\s*", setting)
        if len(words) != 2:
            raise Wrong(
                'requirement failed: Invalid topic config: all configs to be added must be in the format "key=val".'
            )
        configs[words[0].strip()] = words[1].strip()
    return configs


def _assignment(text: str) -> list[list[int]]:
    """Read 1:2,2:1 as the brokers of each partition. Raises Wrong."""
    partitions: list[list[int]] = []
    for index, part in enumerate(text.split(",")):
        brokers = []
        for word in part.split(":"):
            try:
                brokers.append(int(word.strip()))
            except ValueError:
                raise Wrong(f'For input string: "{word.strip()}"') from None
        twice = sorted({broker for broker in brokers if brokers.count(broker) > 1})
        if twice:
            raise Wrong(f"Partition replica lists may not contain duplicate entries: {numbers(twice)}")
        if partitions and len(brokers) != len(partitions[0]):
            raise Wrong(f"Partition {index} has different replication factor: {brokers}")
        partitions.append(brokers)
    return partitions


def _failed(message: str) -> str:
    return f"Error while executing topic command : {message}"


_RUN: Final[dict[str, tuple[str, Callable[[Parsed, Cluster], None]]]] = {
    "list": ("listTopics", _list),
    "describe": ("listTopics", _describe),
    "create": ("createTopics", _create),
    "alter": ("listTopics", _alter),
    "delete": ("listTopics", _delete),
}
