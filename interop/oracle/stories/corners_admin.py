"""Invalid and repeated items in requests about topics, configs, quotas, users and replicas."""

import base64
import math

from interop.oracle.asker import Asker, records, versions
from interop.oracle.story import story

TOPIC, BROKER, LOGGER, METRICS, GROUP = 2, 4, 8, 16, 32
SET, DELETE, APPEND, SUBTRACT = 0, 1, 2, 3
UNKNOWN_ID = "AAAAAAAAAAAAAAAAAAAAbg"


def change(kind: int, name: str, *changes: tuple[str, int, str | None]) -> dict:
    configs = [{"name": key, "configOperation": operation, "value": value} for key, operation, value in changes]
    return {"resourceType": kind, "resourceName": name, "configs": configs}


@story("IncrementalAlterConfigs", "DescribeConfigs")
def alter_configs_oddities(ask: Asker) -> None:
    """Lists that are appended to and subtracted from, values with blanks, configs without names."""
    topic = ask.topic("t")

    def alter(label: str, *entries: dict, only_look: bool = False) -> None:
        body = {"resources": list(entries), "validateOnly": only_look}
        ask.ask("IncrementalAlterConfigs", 1, body, label=label)
        ask.wait_for_metadata()
        keys = ["cleanup.policy", "retention.ms", "segment.bytes", "preallocate", "compression.type",
                "leader.replication.throttled.replicas"]  # fmt: skip
        wish = {"resourceType": TOPIC, "resourceName": topic, "configurationKeys": keys}
        ask.ask("DescribeConfigs", 4, {"resources": [wish]}, label=f"after {label}")

    def of(*changes: tuple[str, int, str | None]) -> dict:
        return change(TOPIC, topic, *changes)

    policy = "cleanup.policy"
    throttled = "leader.replication.throttled.replicas"
    alter("append the same twice", of((policy, APPEND, "compact,compact")))
    alter("append two", of((policy, APPEND, "compact,delete")))
    alter("append nothing", of((policy, APPEND, "")))
    alter("append null", of((policy, APPEND, None)))
    alter("append a bad one", of((policy, APPEND, "shred")))
    alter("append with blanks", of((policy, APPEND, " compact , delete ")))
    alter("subtract null", of((policy, SUBTRACT, None)))
    alter("subtract what is not there", of((policy, SUBTRACT, "shred")))
    alter("subtract all", of((policy, SUBTRACT, "compact,delete")))
    alter("set nothing", of((policy, SET, "")))
    alter("set twice the same", of((policy, SET, "compact,compact")))
    alter("delete with a value", of((policy, DELETE, "compact")))
    alter("throttled", of((throttled, APPEND, "0:1,1:1")))
    alter("throttled again", of((throttled, APPEND, "1:1,2:1")))
    alter("throttled, less", of((throttled, SUBTRACT, "0:1")))
    alter("throttled, bad", of((throttled, SET, "x")))
    alter("throttled, all", of((throttled, SET, "*")))
    alter("throttled, back", of((throttled, DELETE, None)))
    alter("a number with blanks", of(("retention.ms", SET, " 5000 ")))
    alter("a number with a plus", of(("retention.ms", SET, "+6000")))
    alter("no number", of(("retention.ms", SET, "")))
    alter("a fraction", of(("retention.ms", SET, "5000.0")))
    alter("too large a number", of(("retention.ms", SET, "9223372036854775808")))
    alter("an int that is a long", of(("segment.bytes", SET, "4294967296")))
    alter("a boolean in capitals", of(("preallocate", SET, "TRUE")))
    alter("a boolean with blanks", of(("preallocate", SET, " false ")))
    alter("a codec in capitals", of(("compression.type", SET, "GZIP")))
    alter("a config without a name", of(("", SET, "1")))
    alter("set and delete one", of(("retention.ms", SET, "7000"), ("retention.ms", DELETE, None)))
    alter("a resource twice", of(("retention.ms", SET, "8000")), of(("segment.bytes", SET, "2000000")))
    alter("one good, one bad", of(("retention.ms", SET, "9000")), change(TOPIC, "no-such", ("retention.ms", SET, "1")))
    alter("only look at a bad one", of(("retention.ms", SET, "soon")), only_look=True)
    alter("nothing")
    alter("level of the root logger", change(LOGGER, "1", ("root", SET, "INFO")), only_look=True)
    alter("a level that is none", change(LOGGER, "1", ("root", SET, "LOUD")), only_look=True)
    alter("an unknown logger", change(LOGGER, "1", ("no.such.logger", SET, "INFO")), only_look=True)
    alter("append to a logger", change(LOGGER, "1", ("root", APPEND, "INFO")), only_look=True)
    alter("delete the root logger's level", change(LOGGER, "1", ("root", DELETE, None)), only_look=True)
    alter("loggers of another broker", change(LOGGER, "7", ("root", SET, "INFO")), only_look=True)
    alter("loggers of no broker", change(LOGGER, "", ("root", SET, "INFO")), only_look=True)
    alter("a listener's setting", change(BROKER, "1", ("listeners", SET, "PLAINTEXT://:1")), only_look=True)
    alter("a password for all brokers", change(BROKER, "", ("ssl.keystore.password", SET, "x")), only_look=True)
    alter("append to a broker's number", change(BROKER, "", ("log.cleaner.threads", APPEND, "1")), only_look=True)


@story("AlterConfigs", "DescribeConfigs")
def alter_configs_of_odd_requests(ask: Asker) -> None:
    topic = ask.topic("t", configs={"segment.bytes": "2000000", "retention.ms": "1000000"})

    def entry(kind: int, name: str, *configs: tuple[str, str | None]) -> dict:
        return {"resourceType": kind, "resourceName": name, "configs": [{"name": k, "value": v} for k, v in configs]}

    for version in versions("AlterConfigs"):
        for label, entries in (
            ("a config twice", [entry(TOPIC, topic, ("retention.ms", "1"), ("retention.ms", "2"))]),
            # Apache Kafka never answers a request that names a resource twice.
            ("no name", [entry(TOPIC, "", ("retention.ms", "1"))]),
            ("bad name", [entry(TOPIC, "bad name", ("retention.ms", "1"))]),
            ("a config without a name", [entry(TOPIC, topic, ("", "1"))]),
            ("a group", [entry(GROUP, f"{ask.prefix}-g", ("consumer.session.timeout.ms", "50000"))]),
            ("a group without a name", [entry(GROUP, "", ("consumer.session.timeout.ms", "50000"))]),
            ("a logger", [entry(LOGGER, "1", ("root", "INFO"))]),
            ("metrics", [entry(METRICS, f"{ask.prefix}-m", ("interval.ms", "30000"))]),
            ("one good, one bad", [entry(TOPIC, topic, ("retention.ms", "7")), entry(TOPIC, "no-such", ("a", "b"))]),
            ("nothing", []),
            ("reset", [entry(TOPIC, topic)]),
        ):
            ask.ask("AlterConfigs", version, {"resources": entries, "validateOnly": False}, label=label)
            ask.wait_for_metadata()
            wish = {
                "resourceType": TOPIC,
                "resourceName": topic,
                "configurationKeys": ["retention.ms", "segment.bytes", "segment.ms"],
            }
            ask.ask("DescribeConfigs", 4, {"resources": [wish]}, label=f"after {label}")


@story("DescribeConfigs")
def describe_configs_of_odd_requests(ask: Asker) -> None:
    topic = ask.topic("t")
    for version in versions("DescribeConfigs"):
        for label, kind, name, keys in (
            ("a key twice", TOPIC, topic, ["retention.ms", "retention.ms"]),
            ("a key without a name", TOPIC, topic, [""]),
            ("a key in capitals", TOPIC, topic, ["RETENTION.MS"]),
            ("a broker's key", TOPIC, topic, ["log.retention.ms"]),
            ("a topic's key", BROKER, "1", ["retention.ms"]),
            ("a broker with blanks", BROKER, " 1", ["log.retention.ms"]),
            ("broker -1", BROKER, "-1", ["log.retention.ms"]),
            ("an internal topic", TOPIC, "__consumer_offsets", ["cleanup.policy", "segment.bytes", "compression.type"]),
            ("the metadata log", TOPIC, "__cluster_metadata", ["cleanup.policy"]),
            ("a group's key", GROUP, f"{ask.prefix}-g", ["consumer.session.timeout.ms", "no.such"]),
        ):
            wish = {"resourceType": kind, "resourceName": name, "configurationKeys": keys}
            body = {"includeSynonyms": True, "includeDocumentation": False, "resources": [wish]}
            ask.ask("DescribeConfigs", version, body, label=label)


@story("CreateTopics", "DescribeConfigs")
def create_topics_of_odd_requests(ask: Asker) -> None:
    good = {"numPartitions": 1, "replicationFactor": 1}
    there = ask.topic("there")

    def named(stem: str, **fields: object) -> dict:
        return {"name": f"{ask.prefix}-{stem}", **good, **fields}

    def configs(*pairs: tuple[str, str | None]) -> list[dict]:
        return [{"name": key, "value": value} for key, value in pairs]

    def assigned(*partitions: tuple[int, list[int]]) -> dict:
        entries = [{"partitionIndex": index, "brokerIds": brokers} for index, brokers in partitions]
        return {"numPartitions": -1, "replicationFactor": -1, "assignments": entries}

    for version in (2, 4, 7):
        for label, topics in (
            ("there already", [{"name": there, **good}]),
            ("there already, and wrong", [{"name": there, **good, "replicationFactor": 5}]),
            ("there already, a bad config", [{"name": there, **good, "configs": configs(("no.such", "1"))}]),
            ("the longest name", [{"name": ("x" * 249), **good}]),
            ("the metadata log", [{"name": "__cluster_metadata", **good}]),
            ("blanks around", [{"name": " a ", **good}]),
            ("collide with each other", [named("a.b"), named("a_b")]),
            ("one good, one bad", [named("good"), named("bad", numPartitions=0), {"name": "", **good}]),
            ("a config without a name", [named("x", configs=configs(("", "1")))]),
            ("a broker's config", [named("x", configs=configs(("log.retention.ms", "1")))]),
            ("a config in capitals", [named("x", configs=configs(("RETENTION.MS", "1")))]),
            ("an old config", [named("x", configs=configs(("message.format.version", "2.8")))]),
            ("two bad configs", [named("x", configs=configs(("retention.ms", "soon"), ("segment.bytes", "big")))]),
            ("a number with blanks", [named("x", configs=configs(("retention.ms", " 5 ")))]),
            ("no number", [named("x", configs=configs(("retention.ms", "")))]),
            ("no cleanup", [named("x", configs=configs(("cleanup.policy", "")))]),
            ("cleanup twice", [named("x", configs=configs(("cleanup.policy", "compact,compact")))]),
            ("retention of local more than all", [
                named("x", configs=configs(("retention.ms", "5"), ("local.retention.ms", "10")))]),
            ("lag out of order", [
                named("x", configs=configs(("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "5")))]),
            ("assigned in disorder", [named("x", **assigned((1, [1]), (0, [1])))]),
            ("assigned to a negative", [named("x", **assigned((0, [-1])))]),
            ("a negative partition assigned", [named("x", **assigned((-1, [1])))]),
            ("assigned, and a bad config", [named("x", **assigned((0, [1])), configs=configs(("no.such", "1")))]),
            ("assigned, with a config", [named("x", **assigned((0, [1])), configs=configs(("retention.ms", "1")))]),
            ("more partitions than there is room for", [named("x", numPartitions=2**31 - 1)]),
            ("a negative factor", [named("x", replicationFactor=-7)]),
        ):  # fmt: skip
            body = {"topics": topics, "timeoutMs": 9000, "validateOnly": True}
            ask.ask("CreateTopics", version, body, label=label)


@story("DeleteTopics")
def delete_topics_of_odd_requests(ask: Asker) -> None:
    name = ask.topic("a")
    for label, topics in (
        ("a bad name", [{"name": "bad name"}]),
        ("an unknown id twice", [{"name": None, "topicId": UNKNOWN_ID}] * 2),
        ("an unknown name twice", [{"name": "no-such"}] * 2),
        ("nothing named, twice", [{"name": None, "topicId": "AAAAAAAAAAAAAAAAAAAAAA"}] * 2),
        ("the metadata log", [{"name": "__cluster_metadata"}]),
        ("one good, one bad", [{"name": name}, {"name": "no-such"}]),
    ):
        ask.ask("DeleteTopics", 6, {"topics": topics, "timeoutMs": 9000}, label=label)
    for version in (1, 3, 5):
        names = ["", "no-such", "no-such", "__cluster_metadata"]
        ask.ask("DeleteTopics", version, {"topicNames": names, "timeoutMs": 9000}, label="odd names")


@story("CreatePartitions")
def create_partitions_of_odd_requests(ask: Asker) -> None:
    name = ask.topic("t", 2)
    for version in versions("CreatePartitions"):
        for label, topics in (
            ("assigned nothing", [{"name": name, "count": 3, "assignments": []}]),
            ("assigned to a negative", [{"name": name, "count": 3, "assignments": [{"brokerIds": [-1]}]}]),
            ("assigned to more", [{"name": name, "count": 3, "assignments": [{"brokerIds": [1, 7]}]}]),
            ("assigned too many", [{"name": name, "count": 3, "assignments": [{"brokerIds": [1]}] * 2}]),
            ("no name", [{"name": "", "count": 3, "assignments": None}]),
            ("the metadata log", [{"name": "__cluster_metadata", "count": 3, "assignments": None}]),
            ("one good, one bad", [{"name": name, "count": 4, "assignments": None},
                                   {"name": "no-such", "count": 3, "assignments": None}]),
            ("too many", [{"name": name, "count": 2**31 - 1, "assignments": None}]),
            ("nothing", []),
        ):  # fmt: skip
            body = {"topics": topics, "timeoutMs": 9000, "validateOnly": True}
            ask.ask("CreatePartitions", version, body, label=label)


@story("DescribeLogDirs", "AlterReplicaLogDirs")
def log_dirs_of_odd_requests(ask: Asker) -> None:
    topic = ask.topic("t", 2)
    ask.produce(topic, records("a"), note=False)
    everything = ask.ask("DescribeLogDirs", 4, {"topics": None}, note=False)
    home = everything["results"][0]["logDir"]
    for version in versions("DescribeLogDirs"):
        for label, topics in (
            ("a partition twice", [{"topic": topic, "partitions": [0, 0]}]),
            ("a topic twice", [{"topic": topic, "partitions": [0]}, {"topic": topic, "partitions": [1]}]),
            ("no partitions", [{"topic": topic, "partitions": []}]),
            ("a negative partition", [{"topic": topic, "partitions": [-1]}]),
            ("no name", [{"topic": "", "partitions": [0]}]),
            ("bad name", [{"topic": "bad name", "partitions": [0]}]),
        ):
            ask.ask("DescribeLogDirs", version, {"topics": topics}, label=label)
    for version in versions("AlterReplicaLogDirs"):
        for label, dirs in (
            ("where it is", [(home, [(topic, [0])])]),
            ("where it is, with a slash", [(home + "/", [(topic, [0])])]),
            ("a bad partition", [(home, [(topic, [9])])]),
            ("a negative partition", [(home, [(topic, [-1])])]),
            ("an unknown topic", [(home, [("no-such", [0])])]),
            ("bad name", [(home, [("bad name", [0])])]),
            ("no name", [(home, [("", [0])])]),
            ("no folder", [("", [(topic, [0])])]),
            ("an unknown topic in an unknown folder", [("/no/such", [("no-such", [0])])]),
            ("two folders", [(home, [(topic, [0])]), ("/no/such", [(topic, [1])])]),
            ("one partition to two folders", [(home, [(topic, [0])]), ("/no/such", [(topic, [0])])]),
            ("a partition twice", [(home, [(topic, [0, 0])])]),
            ("a topic twice", [(home, [(topic, [0]), (topic, [1])])]),
            ("an internal topic", [(home, [("__consumer_offsets", [0])])]),
            ("the metadata log", [(home, [("__cluster_metadata", [0])])]),
            ("no topics", [(home, [])]),
        ):
            entries = [
                {"path": path, "topics": [{"name": name, "partitions": parts} for name, parts in topics]}
                for path, topics in dirs
            ]
            ask.ask("AlterReplicaLogDirs", version, {"dirs": entries}, label=label)


@story("ElectLeaders")
def elect_leaders_of_odd_requests(ask: Asker) -> None:
    topic = ask.topic("t", 2)
    for version in versions("ElectLeaders"):
        for label, topics, timeout_ms in (
            ("a partition twice", [{"topic": topic, "partitions": [0, 0]}], 5000),
            ("a topic twice", [{"topic": topic, "partitions": [0]}, {"topic": topic, "partitions": [1]}], 5000),
            ("a negative partition", [{"topic": topic, "partitions": [-1]}], 5000),
            ("no partitions", [{"topic": topic, "partitions": []}], 5000),
            ("no name", [{"topic": "", "partitions": [0]}], 5000),
            ("bad name", [{"topic": "bad name", "partitions": [0]}], 5000),
            ("one good, one bad", [{"topic": topic, "partitions": [0, 9]}], 5000),
        ):
            body = {"electionType": 0, "topicPartitions": topics, "timeoutMs": timeout_ms}
            ask.ask("ElectLeaders", version, body, label=label)


@story("AlterPartitionReassignments", "ListPartitionReassignments")
def reassignments_of_odd_requests(ask: Asker) -> None:
    topic = ask.topic("t", 2)

    def part(index: int, replicas: list[int] | None) -> dict:
        return {"partitionIndex": index, "replicas": replicas}

    for version in versions("AlterPartitionReassignments"):
        for label, topics in (
            ("one good, one bad", [{"name": topic, "partitions": [part(0, [1]), part(1, [7])]}]),
            ("a partition twice", [{"name": topic, "partitions": [part(0, [1]), part(0, [7])]}]),
            ("a topic twice", [{"name": topic, "partitions": [part(0, [1])]},
                               {"name": topic, "partitions": [part(1, None)]}]),
            ("a negative partition", [{"name": topic, "partitions": [part(-1, [1])]}]),
            ("no partitions", [{"name": topic, "partitions": []}]),
            ("no name", [{"name": "", "partitions": [part(0, [1])]}]),
            ("bad name", [{"name": "bad name", "partitions": [part(0, [1])]}]),
            ("the metadata log", [{"name": "__cluster_metadata", "partitions": [part(0, [1])]}]),
            ("an unknown broker too", [{"name": topic, "partitions": [part(0, [1, 7])]}]),
            ("a negative too", [{"name": topic, "partitions": [part(0, [1, -1])]}]),
        ):  # fmt: skip
            body = {"timeoutMs": 5000, "topics": topics, "allowReplicationFactorChange": True}
            ask.ask("AlterPartitionReassignments", version, body, label=label)
    for label, listed in (
        ("nothing", []),
        ("no partitions", [{"name": topic, "partitionIndexes": []}]),
        ("twice", [{"name": topic, "partitionIndexes": [0, 0]}]),
        ("no name", [{"name": "", "partitionIndexes": [0]}]),
    ):
        ask.ask("ListPartitionReassignments", 0, {"timeoutMs": 5000, "topics": listed}, label=label)


@story("DescribeClientQuotas", "AlterClientQuotas")
def client_quotas_of_odd_requests(ask: Asker) -> None:
    user = f"{ask.prefix}-u"

    def entry(entity: list[tuple[str, str | None]], *ops: tuple[str, float | str, bool]) -> dict:
        return {
            "entity": [{"entityType": kind, "entityName": name} for kind, name in entity],
            "ops": [{"key": key, "value": value, "remove": remove} for key, value, remove in ops],
        }

    def describe(label: str, *parts: tuple[str, int, str | None], strict: bool = False) -> None:
        components = [{"entityType": kind, "matchType": how, "match": name} for kind, how, name in parts]
        for version in versions("DescribeClientQuotas"):
            ask.ask("DescribeClientQuotas", version, {"components": components, "strict": strict}, label=label)

    one = [("user", user)]
    # Apache Kafka refuses the second and keeps the first; what is no number it keeps, and then no comparison holds.
    twice, nan = [("user", f"{user}-twice")], [("user", f"{user}-nan")]
    rate = "producer_byte_rate"
    for label, entries in (
        ("a key twice", [entry(one, (rate, 1.0, False), (rate, 2.0, False))]),
        ("set and removed", [entry(one, (rate, 1.0, False), (rate, 0.0, True))]),
        ("an entity twice", [entry(twice, (rate, 3.0, False)), entry(twice, ("consumer_byte_rate", 4.0, False))]),
        ("no ops", [entry(one)]),
        ("nothing", []),
        ("one good, one bad", [entry(one, (rate, 5.0, False)), entry([("robot", "x")], (rate, 1.0, False))]),
        ("no number", [entry(nan, (rate, math.nan, False))]),
        ("without end", [entry(one, (rate, math.inf, False))]),
        ("huge", [entry(one, (rate, 1e300, False))]),
        ("a fraction of a percent", [entry(one, ("request_percentage", 0.1, False))]),
        ("negative percent", [entry(one, ("request_percentage", -0.1, False))]),
        ("changes a second", [entry(one, ("controller_mutation_rate", 1.5, False))]),
        ("a key without a name", [entry(one, ("", 1.0, False))]),
        ("a type without a name", [entry([("", "x")], (rate, 1.0, False))]),
        ("remove with a value", [entry(one, (rate, -7.0, True))]),
        ("a host's name", [entry([("ip", "no.such.host.invalid")], ("connection_creation_rate", 1.0, False))]),
        ("a fraction of a connection", [entry([("ip", "127.0.0.8")], ("connection_creation_rate", 1.5, False))]),
        ("an address of six", [entry([("ip", "::1")], ("connection_creation_rate", 1.0, False))]),
        ("the name of a default", [entry([("user", "<default>")], (rate, 1.0, False))]),
    ):
        for version in versions("AlterClientQuotas"):
            ask.ask("AlterClientQuotas", version, {"entries": entries, "validateOnly": True}, label=f"look: {label}")
        ask.ask("AlterClientQuotas", 1, {"entries": entries, "validateOnly": False}, label=label)
        ask.wait_for_metadata(0.2)
        describe(f"after {label}", ("user", 0, user))
    describe("nothing named", strict=True)
    describe("match type -1", ("user", -1, user))
    describe("a default with a name", ("user", 1, "x"))
    describe("an ip twice", ("ip", 0, "127.0.0.8"), ("ip", 2, None))
    describe("the name of a default", ("user", 0, "<default>"))
    keys = (rate, "consumer_byte_rate", "request_percentage", "controller_mutation_rate")
    back = [
        *[entry(entity, *[(key, 0.0, True) for key in keys]) for entity in (one, twice, nan)],
        entry([("ip", "127.0.0.8")], ("connection_creation_rate", 0.0, True)),
        entry([("ip", "::1")], ("connection_creation_rate", 0.0, True)),
        entry([("user", "<default>")], (rate, 0.0, True)),
    ]
    ask.ask("AlterClientQuotas", 1, {"entries": back, "validateOnly": False}, note=False)


@story("DescribeUserScramCredentials", "AlterUserScramCredentials")
def scram_users_of_odd_requests(ask: Asker) -> None:
    user = f"{ask.prefix}-u"
    secret = base64.b64encode(b"p" * 32).decode()

    def upsert(name: str, mechanism: int = 1, **fields: object) -> dict:
        return {
            "name": name, "mechanism": mechanism, "iterations": 4096, "salt": secret, "saltedPassword": secret, **fields,
        }  # fmt: skip

    def delete(name: str, mechanism: int = 1) -> dict:
        return {"name": name, "mechanism": mechanism}

    for label, deletions, upsertions in (
        ("two mechanisms at once", [], [upsert(user), upsert(user, 2)]),
        ("the same twice", [], [upsert(user), upsert(user)]),
        ("one deleted, one made", [delete(user, 2)], [upsert(user)]),
        ("no salt", [], [upsert(f"{user}-salt", salt="")]),
        ("no password", [], [upsert(f"{user}-pass", saltedPassword="")]),
        ("a short password", [], [upsert(f"{user}-short", saltedPassword=base64.b64encode(b"p").decode())]),
        ("negative iterations", [], [upsert(user, iterations=-1)]),
        ("one iteration short", [], [upsert(user, iterations=4095)]),
        ("the most iterations", [], [upsert(user, iterations=16384)]),
        ("one iteration more", [], [upsert(user, iterations=16385)]),
        ("deleted twice", [delete(user), delete(user)], []),
        ("one good, one bad", [delete(f"{user}-no")], [upsert(f"{user}-good")]),
        ("mechanism -1", [], [upsert(user, -1)]),
        ("mechanism 9 deleted", [delete(user, 9)], []),
        ("a long name", [], [upsert("x" * 300)]),
        ("a name of blanks", [], [upsert("  ")]),
    ):
        body = {"deletions": deletions, "upsertions": upsertions}
        ask.ask("AlterUserScramCredentials", 0, body, label=label)
    ask.wait_for_metadata()
    ask.ask("DescribeUserScramCredentials", 0, {"users": None}, label="all", own=True)
    ask.ask("DescribeUserScramCredentials", 0, {"users": []}, label="none named", own=True)
    ask.ask("DescribeUserScramCredentials", 0, {"users": [{"name": user}, {"name": "no-such"}]}, label="two")
    ask.ask("DescribeUserScramCredentials", 0, {"users": [{"name": "no-such"}] * 3}, label="an unknown one thrice")


@story("UpdateFeatures", "UpdateFeatures", "EndTxn")
def update_features_of_odd_requests(ask: Asker) -> None:
    def update(name: str, level: int, kind: int = 1) -> dict:
        return {"feature": name, "maxVersionLevel": level, "upgradeType": kind, "allowDowngrade": kind != 1}

    for version in (1, 2):
        for label, updates in (
            ("no name", [update("", 1)]),
            ("a feature twice", [update("transaction.version", 2), update("transaction.version", 2)]),
            ("a feature down, then as it is", [update("transaction.version", 1, 2), update("transaction.version", 2)]),
            ("a feature as it is, then down", [update("transaction.version", 2), update("transaction.version", 1, 2)]),
            (
                "a feature too high, then as it is",
                [update("transaction.version", 99), update("transaction.version", 2)],
            ),
            ("one good, one bad", [update("transaction.version", 2), update("no.such", 1)]),
            ("one bad, one good", [update("no.such", 1), update("transaction.version", 2)]),
            ("metadata.version to nothing", [update("metadata.version", 0)]),
            ("metadata.version to nothing, by force", [update("metadata.version", 0, 3)]),
            ("an unknown one to nothing", [update("no.such", 0, 2)]),
            ("an unknown one, negative", [update("no.such", -1)]),
            ("upgrade type 0", [update("transaction.version", 2, 0)]),
            ("upgrade type -1", [update("transaction.version", 2, -1)]),
            ("down by force", [update("transaction.version", 0, 3)]),
            ("the same, as a downgrade", [update("transaction.version", 2, 2)]),
            ("up, as a downgrade", [update("transaction.version", 99, 2)]),
            ("kraft.version down", [update("kraft.version", 0, 2)]),
        ):
            body = {"timeoutMs": 5000, "featureUpdates": updates, "validateOnly": True}
            ask.ask("UpdateFeatures", version, body, label=label)


@story("DescribeTopicPartitions", "Metadata")
def metadata_of_odd_requests(ask: Asker) -> None:
    one = ask.topic("a", 2)
    topic_id = ask.topic_id(one)
    for version in (10, 12, 13):
        quiet = {"allowAutoTopicCreation": False}
        for label, topics in (
            ("an id twice", [{"topicId": topic_id, "name": None}] * 2),
            ("an unknown id twice", [{"topicId": UNKNOWN_ID, "name": None}] * 2),
            ("known and unknown ids", [{"topicId": topic_id, "name": None}, {"topicId": UNKNOWN_ID, "name": None}]),
            ("a name and an unknown id", [{"topicId": UNKNOWN_ID, "name": one}]),
            ("no name, and good ones", [{"name": ""}, {"name": one}, {"name": "no-such"}]),
        ):
            ask.ask("Metadata", version, {"topics": topics, **quiet}, label=label)
    for label, topics in (
        ("no name", [{"name": ""}]),
        ("a topic twice", [{"name": one}, {"name": one}]),
        ("known and unknown", [{"name": "no-such"}, {"name": one}]),
        ("nothing", []),
    ):
        page = {"topics": topics, "responsePartitionLimit": 9, "cursor": None}
        ask.ask("DescribeTopicPartitions", 0, page, label=label, own=True)
    page = {"topics": [{"name": one}], "responsePartitionLimit": -5, "cursor": None}
    ask.ask("DescribeTopicPartitions", 0, page, label="a negative limit")
    page = {
        "topics": [{"name": one}],
        "responsePartitionLimit": 9,
        "cursor": {"topicName": "no-such", "partitionIndex": 0},
    }
    ask.ask("DescribeTopicPartitions", 0, page, label="a cursor elsewhere")


@story("DescribeQuorum", "DescribeCluster", "UnregisterBroker")
def describe_cluster_and_quorum_of_odd_requests(ask: Asker) -> None:
    for version in versions("DescribeQuorum"):
        for label, topics in (
            ("nothing", []),
            ("no partitions", [{"topicName": "__cluster_metadata", "partitions": []}]),
            ("no name", [{"topicName": "", "partitions": [{"partitionIndex": 0}]}]),
            ("two topics", [{"topicName": "__cluster_metadata", "partitions": [{"partitionIndex": 0}]},
                            {"topicName": "no-such", "partitions": [{"partitionIndex": 0}]}]),
            ("a partition twice", [{"topicName": "__cluster_metadata",
                                    "partitions": [{"partitionIndex": 0}, {"partitionIndex": 0}]}]),
        ):  # fmt: skip
            answer = ask.ask("DescribeQuorum", version, {"topics": topics}, label=label, note=False)
            answer.pop("nodes", None)
            ask.note(f"v{version} {label}", ask.normalizer.normal(answer, "DescribeQuorum"))
    for version in versions("DescribeCluster"):
        ask.ask("DescribeCluster", version, {"endpointType": 0}, label="endpoints 0")
        ask.ask("DescribeCluster", version, {"endpointType": -1}, label="endpoints -1")
    ask.ask("UnregisterBroker", 0, {"brokerId": 2**31 - 1}, label="a huge id")
