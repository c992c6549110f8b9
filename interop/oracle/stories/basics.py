"""ApiVersions, Metadata and the topics behind it."""

from interop.advertised import KEYS
from interop.oracle.asker import Asker, versions
from interop.oracle.story import story

FEATURES = (
    "eligible.leader.replicas.version", "group.version", "kraft.version", "metadata.version", "share.version", "streams.version",
    "transaction.version",
)  # fmt: skip
BAD_NAMES = ("", ".", "..", "white space", "x" * 250, "a/b", "ümlaut")


@story("ApiVersions", smoke=True)
def api_versions(ask: Asker) -> None:
    body = {"clientSoftwareName": "oracle", "clientSoftwareVersion": "1.0"}
    for version in versions("ApiVersions"):
        answer = ask.ask("ApiVersions", version, body, note=False)
        served = {api.pop("apiKey"): api for api in answer["apiKeys"]}
        for key in range(max(KEYS.values()) + 1):
            ask.note(f"api {key}", served.get(key))
        for kind in ("supportedFeatures", "finalizedFeatures"):
            features = {feature.pop("name"): feature for feature in answer.get(kind, [])}
            for name in FEATURES:
                ask.note(f"feature {name}", features.get(name))
        ask.note("codes", (answer["errorCode"], answer.get("zkMigrationReady")))
    ask.ask("ApiVersions", 3, {"clientSoftwareName": "", "clientSoftwareVersion": ""}, label="empty name")
    ask.ask("ApiVersions", 3, {"clientSoftwareName": "a b", "clientSoftwareVersion": "?"}, label="bad name")


@story("ApiVersions", "DescribeCluster")
def clients_of_another_cluster_or_broker(ask: Asker) -> None:
    """KIP-1242: the client names the cluster and the broker that it means."""
    own = ask.ask("DescribeCluster", 0, {}, note=False)["clusterId"]
    for label, cluster in (("own", own), ("another", "AAAAAAAAAAAAAAAAAAAAbg"), ("none", None), ("empty", "")):
        for node in (1, 2, 0, -1, -2):
            body = {
                "clientSoftwareName": "oracle",
                "clientSoftwareVersion": "1.0",
                "clusterId": cluster,
                "nodeId": node,
            }
            answer = ask.ask("ApiVersions", 5, body, note=False)
            told = [bool(answer.get(name)) for name in ("apiKeys", "supportedFeatures", "finalizedFeatures")]
            ask.note(
                f"cluster {label}, node {node}",
                (answer["errorCode"], told, answer.get("finalizedFeaturesEpoch", 0) < 0),
            )
    body = {"clientSoftwareName": "", "clientSoftwareVersion": "", "clusterId": "another", "nodeId": 2}
    ask.ask("ApiVersions", 5, body, label="empty name, and another cluster")


@story("ApiVersions")
def frames_that_are_no_requests(ask: Asker) -> None:
    ask.raw(bytes.fromhex("0012 0063 00000001 ffff"), "ApiVersions v99")
    ask.raw(bytes.fromhex("0003 0063 00000001 ffff"), "Metadata v99")
    ask.raw(bytes.fromhex("7fff 0000 00000001 ffff"), "an unknown key")
    ask.raw(bytes.fromhex("0003 0001 00000001 ffff"), "Metadata v1 without a body")
    ask.raw(bytes.fromhex("0003 0001 00000001 ffff 7fffffff"), "Metadata v1 with two billion topics")
    ask.raw(bytes.fromhex("0003 0001 00000001 ffff 00000000 00"), "Metadata v1 with a byte too many")
    ask.raw(b"", "an empty frame")
    ask.raw(b"\0", "a frame of one byte")
    ask.raw(bytes.fromhex("0004 0000 00000001 ffff"), "LeaderAndIsr, which is gone")
    ask.raw(bytes.fromhex("0034 0000 00000001 ffff"), "Vote, which is the controller's")


@story("Metadata", smoke=True)
def metadata(ask: Asker) -> None:
    name = ask.topic("one", 3)
    for version in versions("Metadata"):
        quiet = {"allowAutoTopicCreation": False}
        ask.ask("Metadata", version, {"topics": [{"name": name}], **quiet}, label="one topic")
        ask.ask("Metadata", version, {"topics": [{"name": name}, {"name": name}], **quiet}, label="twice")
        ask.ask("Metadata", version, {"topics": [] if version == 0 else None, **quiet}, label="all", own=True)
        if version >= 1:
            ask.ask("Metadata", version, {"topics": [], **quiet}, label="none")
        if version >= 4:
            ask.ask("Metadata", version, {"topics": [{"name": f"{ask.prefix}-no"}], **quiet}, label="unknown")
            for bad in BAD_NAMES:
                ask.ask("Metadata", version, {"topics": [{"name": bad}], **quiet}, label=f"named {bad[:12]!r}")


@story("Metadata")
def metadata_by_id(ask: Asker) -> None:
    name = ask.topic("one", 2)
    topic_id = ask.topic_id(name)
    for version in (10, 11, 12, 13):
        quiet = {"allowAutoTopicCreation": False}
        ask.ask("Metadata", version, {"topics": [{"topicId": topic_id, "name": None}], **quiet}, label="by id")
        ask.ask(
            "Metadata",
            version,
            {"topics": [{"topicId": "AAAAAAAAAAAAAAAAAAAAbg", "name": None}], **quiet},
            label="no such id",
        )
        ask.ask(
            "Metadata",
            version,
            {"topics": [{"topicId": "AAAAAAAAAAAAAAAAAAAAAA", "name": None}], **quiet},
            label="null",
        )
        ask.ask("Metadata", version, {"topics": [{"topicId": topic_id, "name": name}], **quiet}, label="both")
        both = [{"topicId": topic_id, "name": None}, {"topicId": "AAAAAAAAAAAAAAAAAAAAAA", "name": name}]
        ask.ask("Metadata", version, {"topics": both, **quiet}, label="one by id, one by name")


@story("Metadata")
def metadata_authorized_operations(ask: Asker) -> None:
    name = ask.topic("one")
    for version in range(8, 14):
        body = {
            "topics": [{"name": name}],
            "includeClusterAuthorizedOperations": True,
            "includeTopicAuthorizedOperations": True,
        }
        ask.ask("Metadata", version, body)


@story("Metadata")
def metadata_creates_topics(ask: Asker) -> None:
    for version in (1, 4, 9, 13):
        name = f"{ask.prefix}-auto-{version}"
        ask.ask("Metadata", version, {"topics": [{"name": name}], "allowAutoTopicCreation": True}, label="first")
        ask.ready(name, 1)
        ask.ask("Metadata", version, {"topics": [{"name": name}], "allowAutoTopicCreation": True}, label="then")
    ask.ask("Metadata", 9, {"topics": [{"name": "bad name"}], "allowAutoTopicCreation": True}, label="bad")


@story("DescribeTopicPartitions")
def describe_topic_partitions(ask: Asker) -> None:
    one, two = ask.topic("a", 3), ask.topic("b", 2)
    topics = [{"name": two}, {"name": one}]
    ask.ask("DescribeTopicPartitions", 0, {"topics": topics, "responsePartitionLimit": 2000, "cursor": None})
    page = {"topics": topics, "responsePartitionLimit": 2, "cursor": None}
    answer = ask.ask("DescribeTopicPartitions", 0, page, label="first page")
    for _ in range(3):
        if not answer.get("nextCursor"):
            break
        page = {**page, "cursor": answer["nextCursor"]}
        answer = ask.ask("DescribeTopicPartitions", 0, page, label="next page")
    ask.ask(
        "DescribeTopicPartitions",
        0,
        {"topics": [{"name": "no-such"}], "responsePartitionLimit": 10, "cursor": None},
        label="unknown",
    )
    ask.ask(
        "DescribeTopicPartitions",
        0,
        {"topics": [{"name": "bad name"}], "responsePartitionLimit": 10, "cursor": None},
        label="bad name",
    )
    ask.ask(
        "DescribeTopicPartitions", 0, {"topics": topics, "responsePartitionLimit": 0, "cursor": None}, label="limit 0"
    )
    cursor = {"topicName": one, "partitionIndex": -1}
    ask.ask(
        "DescribeTopicPartitions",
        0,
        {"topics": topics, "responsePartitionLimit": 9, "cursor": cursor},
        label="bad cursor",
    )
    cursor = {"topicName": one, "partitionIndex": 77}
    ask.ask(
        "DescribeTopicPartitions",
        0,
        {"topics": topics, "responsePartitionLimit": 9, "cursor": cursor},
        label="cursor past the end",
    )


@story("CreateTopics", "DeleteTopics", smoke=True)
def create_and_delete_topics(ask: Asker) -> None:
    for version in versions("CreateTopics"):
        name = f"{ask.prefix}-v{version}"
        wish = {"name": name, "numPartitions": 2, "replicationFactor": 1}
        with_config = {**wish, "configs": [{"name": "retention.ms", "value": "1000"}]}
        ask.ask(
            "CreateTopics",
            version,
            {"topics": [with_config], "timeoutMs": 9000, "validateOnly": True},
            label="only look",
        )
        ask.ask("CreateTopics", version, {"topics": [with_config], "timeoutMs": 9000})
        ask.ask("CreateTopics", version, {"topics": [wish], "timeoutMs": 9000}, label="again")
    for version in versions("DeleteTopics"):
        name = f"{ask.prefix}-v{version + 1}"
        if version >= 6:
            gone = ask.topic("by-id")
            topics = [{"name": name}, {"name": None, "topicId": ask.topic_id(gone)}, {"name": "no-such"}]
            topics += [
                {"name": None, "topicId": "AAAAAAAAAAAAAAAAAAAAbg"},
                {"name": None, "topicId": "AAAAAAAAAAAAAAAAAAAAAA"},
            ]
            ask.ask("DeleteTopics", version, {"topics": topics, "timeoutMs": 9000})
        else:
            ask.ask("DeleteTopics", version, {"topicNames": [name, "no-such", "bad name"], "timeoutMs": 9000})


@story("CreateTopics")
def create_topics_refused(ask: Asker) -> None:
    good = {"name": f"{ask.prefix}-x", "numPartitions": 1, "replicationFactor": 1}
    assigned = {"numPartitions": -1, "replicationFactor": -1}

    def config(name: str, value: str | None) -> dict:
        return {**good, "configs": [{"name": name, "value": value}]}

    def assignment(*replicas: tuple[int, list[int]]) -> dict:
        entries = [{"partitionIndex": index, "brokerIds": brokers} for index, brokers in replicas]
        return {**good, **assigned, "assignments": entries}

    wishes = {
        **{f"named {bad[:12]!r}": {**good, "name": bad} for bad in BAD_NAMES},
        "no partitions": {**good, "numPartitions": 0},
        "negative partitions": {**good, "numPartitions": -5},
        "default partitions": {**good, "name": f"{ask.prefix}-defaults", "numPartitions": -1, "replicationFactor": -1},
        "replication 0": {**good, "replicationFactor": 0},
        "replication 3": {**good, "replicationFactor": 3},
        "replication -2": {**good, "replicationFactor": -2},
        "unknown config": config("no.such.config", "1"),
        "not a number": config("retention.ms", "soon"),
        "out of range": config("segment.bytes", "1"),
        "null config": config("retention.ms", None),
        "bad list": config("cleanup.policy", "shred"),
        "bad codec": config("compression.type", "brotli"),
        "bad boolean": config("preallocate", "perhaps"),
        "min.insync 0": config("min.insync.replicas", "0"),
        "remote storage": config("remote.storage.enable", "true"),
        "a config twice": {
            **good,
            "configs": [{"name": "retention.ms", "value": "1"}, {"name": "retention.ms", "value": "2"}],
        },
        "assignment and count": {**assignment((0, [1])), "numPartitions": 1},
        "assignment and factor": {**assignment((0, [1])), "replicationFactor": 1},
        "assignment without replicas": assignment((0, [])),
        "assignment to an unknown broker": assignment((0, [7])),
        "assignment twice to one": assignment((0, [1, 1])),
        "assignment with a hole": assignment((0, [1]), (2, [1])),
        "assignment of uneven size": assignment((0, [1]), (1, [1, 2])),
        "assignment from 1": assignment((1, [1])),
        "a partition assigned twice": assignment((0, [1]), (0, [1])),
    }
    for label, wish in wishes.items():
        for version in (4, 7):
            ask.ask("CreateTopics", version, {"topics": [wish], "timeoutMs": 9000, "validateOnly": True}, label=label)
    twice = [good, good, {**good, "name": f"{ask.prefix}-other"}]
    ask.ask("CreateTopics", 7, {"topics": twice, "timeoutMs": 9000}, label="the same name twice")
    ask.ask(
        "CreateTopics",
        7,
        {"topics": [{**good, "name": "__consumer_offsets"}], "timeoutMs": 9000},
        label="an internal name",
    )
    dotted = {**good, "name": f"{ask.prefix}.dot"}
    ask.ask("CreateTopics", 7, {"topics": [dotted], "timeoutMs": 9000}, label="dotted")
    ask.wait_for_metadata()
    ask.ask("CreateTopics", 7, {"topics": [{**good, "name": f"{ask.prefix}_dot"}], "timeoutMs": 9000}, label="collides")
    ask.ask("CreateTopics", 7, {"topics": [], "timeoutMs": 9000}, label="nothing")


@story("CreateTopics")
def create_topics_shows_configs(ask: Asker) -> None:
    configs = {
        "cleanup.policy": "compact",
        "segment.bytes": "2000000",
        "compression.type": "zstd",
        "min.insync.replicas": "1",
    }
    wish = {
        "name": f"{ask.prefix}-c", "numPartitions": 1, "replicationFactor": 1,
        "configs": [{"name": name, "value": value} for name, value in configs.items()],
    }  # fmt: skip
    for version in (5, 6, 7):
        ask.ask("CreateTopics", version, {"topics": [wish], "timeoutMs": 9000, "validateOnly": True})


@story("DeleteTopics")
def delete_topics_refused(ask: Asker) -> None:
    name = ask.topic("a")
    topic_id = ask.topic_id(name)
    both = {"name": name, "topicId": topic_id}
    ask.ask("DeleteTopics", 6, {"topics": [both], "timeoutMs": 9000}, label="name and id")
    by_both = [{"name": name}, {"name": None, "topicId": topic_id}]
    ask.ask("DeleteTopics", 6, {"topics": by_both, "timeoutMs": 9000}, label="by name and by id")
    ask.ask("DeleteTopics", 6, {"topics": [{"name": name}, {"name": name}], "timeoutMs": 9000}, label="twice in one")
    ask.ask("DeleteTopics", 6, {"topics": [{"name": ""}], "timeoutMs": 9000}, label="no name")
    ask.ask("DeleteTopics", 6, {"topics": [], "timeoutMs": 9000}, label="nothing")


@story("CreatePartitions")
def create_partitions(ask: Asker) -> None:
    for version in versions("CreatePartitions"):
        name = ask.topic(f"v{version}", 2)

        def grow(
            label: str,
            count: int,
            assignments: list | None = None,
            *,
            topic: str = name,
            version: int = version,
            only_look: bool = False,
        ) -> None:
            wish = {"name": topic, "count": count, "assignments": assignments}
            ask.ask(
                "CreatePartitions",
                version,
                {"topics": [wish], "timeoutMs": 9000, "validateOnly": only_look},
                label=label,
            )

        grow("only look", 3, only_look=True)
        grow("to 3", 3)
        ask.wait_for_metadata()
        grow("to 3 again", 3)
        grow("fewer", 1)
        grow("zero", 0)
        grow("negative", -1)
        grow("assigned", 5, [{"brokerIds": [1]}, {"brokerIds": [1]}])
        ask.wait_for_metadata()
        grow("assigned too few", 8, [{"brokerIds": [1]}])
        grow("assigned to an unknown broker", 6, [{"brokerIds": [9]}])
        grow("assigned twice to one", 6, [{"brokerIds": [1, 1]}])
        grow("assigned without replicas", 6, [{"brokerIds": []}])
        grow("unknown", 3, topic="no-such")
        grow("bad name", 3, topic="bad name")
        twice = [{"name": name, "count": 9, "assignments": None}] * 2
        ask.ask("CreatePartitions", version, {"topics": twice, "timeoutMs": 9000, "validateOnly": False}, label="twice")
