"""Configs, quotas, users, ACLs, tokens, log directories, elections, reassignments, features and the cluster itself."""

import base64

from interop.oracle.asker import Asker, records, versions
from interop.oracle.story import story

TOPIC, BROKER, LOGGER, METRICS, GROUP = 2, 4, 8, 16, 32


def resource(kind: int, name: str, keys: list[str] | None = None) -> dict:
    return {"resourceType": kind, "resourceName": name, "configurationKeys": keys}


@story("DescribeConfigs", smoke=True)
def describe_configs(ask: Asker) -> None:
    topic = ask.topic("t", configs={"retention.ms": "1000000", "cleanup.policy": "compact,delete"})
    for version in versions("DescribeConfigs"):
        for synonyms in (False, True):
            body = {"includeSynonyms": synonyms, "includeDocumentation": False}
            ask.ask(
                "DescribeConfigs", version, {**body, "resources": [resource(TOPIC, topic)]}, label=f"topic, {synonyms}"
            )
            named = [resource(TOPIC, topic, ["retention.ms", "segment.bytes", "no.such"])]
            ask.ask("DescribeConfigs", version, {**body, "resources": named}, label=f"three keys, {synonyms}")
            ask.ask("DescribeConfigs", version, {**body, "resources": [resource(TOPIC, topic, [])]}, label="no keys")


@story("DescribeConfigs")
def describe_broker_configs(ask: Asker) -> None:
    keys = [
        "log.retention.hours", "log.retention.ms", "log.segment.bytes", "num.partitions", "offsets.topic.num.partitions",
        "compression.type", "message.max.bytes", "group.coordinator.rebalance.protocols", "auto.create.topics.enable",
        "min.insync.replicas", "default.replication.factor", "log.cleaner.threads", "ssl.keystore.password", "no.such.config",
        "group.consumer.session.timeout.ms", "transaction.max.timeout.ms", "unclean.leader.election.enable", "log.message.timestamp.type",
        "offsets.retention.minutes", "background.threads", "queued.max.requests", "log.flush.interval.messages", "connections.max.idle.ms",
        "fetch.max.bytes", "max.connections.per.ip", "delete.topic.enable", "log.index.interval.bytes", "log.roll.hours", "log.roll.ms",
        "producer.id.expiration.ms", "broker.rack", "super.users", "authorizer.class.name", "log.cleanup.policy", "security.inter.broker.protocol",
    ]  # fmt: skip
    for version in versions("DescribeConfigs"):
        body = {"includeSynonyms": True, "includeDocumentation": False, "resources": [resource(BROKER, "1", keys)]}
        ask.ask("DescribeConfigs", version, body)
    body = {"includeSynonyms": True, "includeDocumentation": False, "resources": [resource(BROKER, "", None)]}
    ask.ask("DescribeConfigs", 4, body, label="cluster defaults")


@story("DescribeConfigs")
def every_broker_config(ask: Asker) -> None:
    """Names, types, read-only flags and default values of everything a broker describes."""
    body = {"includeSynonyms": False, "includeDocumentation": False, "resources": [resource(BROKER, "1")]}
    answer = ask.ask("DescribeConfigs", 4, body, note=False)
    here = {
        "controller.quorum.bootstrap.servers",
        "log.dirs",
        "listeners",
        "advertised.listeners",
        "controller.quorum.voters",
        "controller.listener.names",
        "log.dir",
    }
    for config in sorted(answer["results"][0]["configs"], key=lambda found: found["name"]):
        if config["name"] not in here and not config["name"].startswith("kwire."):
            ask.note(config["name"], {key: config[key] for key in ("value", "readOnly", "isSensitive", "configType")})


@story("DescribeConfigs")
def describe_configs_refused(ask: Asker) -> None:
    for kind, name in (
        (TOPIC, "no-such"), (TOPIC, "bad name"), (TOPIC, ""), (BROKER, "7"), (BROKER, "x"), (BROKER, "1"), (LOGGER, "7"), (LOGGER, ""),
        (METRICS, "no-such"), (METRICS, ""), (GROUP, "no-such"), (GROUP, ""), (0, "x"), (1, "x"), (3, "x"), (99, "x"),
    ):  # fmt: skip
        keys = ["retention.ms"] if kind in (TOPIC, BROKER, LOGGER) else None
        body = {"includeSynonyms": True, "includeDocumentation": False, "resources": [resource(kind, name, keys)]}
        for version in (1, 4):
            ask.ask("DescribeConfigs", version, body, label=f"type {kind} {name!r}")
    ask.ask("DescribeConfigs", 4, {"resources": []}, label="nothing")
    topic = ask.topic("t")
    twice = [resource(TOPIC, topic, ["retention.ms"]), resource(TOPIC, topic, ["segment.ms"])]
    ask.ask("DescribeConfigs", 4, {"resources": twice}, label="a resource twice")


@story("DescribeConfigs")
def documented_configs(ask: Asker) -> None:
    topic = ask.topic("t")
    body = {
        "includeSynonyms": False,
        "includeDocumentation": True,
        "resources": [resource(TOPIC, topic, ["retention.ms"])],
    }
    answer = ask.ask("DescribeConfigs", 4, body, note=False)
    ask.note("is documented", [bool(config["documentation"]) for config in answer["results"][0]["configs"]])


@story("IncrementalAlterConfigs", "DescribeConfigs", smoke=True)
def incremental_alter_configs(ask: Asker) -> None:
    topic = ask.topic("t")
    SET, DELETE, APPEND, SUBTRACT = 0, 1, 2, 3  # noqa: N806

    def alter(label: str, kind: int, name: str, *changes: tuple[str, int, str | None], only_look: bool = False) -> None:
        configs = [{"name": key, "configOperation": operation, "value": value} for key, operation, value in changes]
        entry = {"resourceType": kind, "resourceName": name, "configs": configs}
        for version in versions("IncrementalAlterConfigs"):
            ask.ask("IncrementalAlterConfigs", version, {"resources": [entry], "validateOnly": only_look}, label=label)

    def now(label: str) -> None:
        ask.wait_for_metadata()
        keys = ["retention.ms", "cleanup.policy", "segment.bytes"]
        body = {"includeSynonyms": True, "resources": [resource(TOPIC, topic, keys)]}
        ask.ask("DescribeConfigs", 4, body, label=label)

    alter("only look", TOPIC, topic, ("retention.ms", SET, "5000"), only_look=True)
    now("after only looking")
    alter("set", TOPIC, topic, ("retention.ms", SET, "5000"), ("cleanup.policy", APPEND, "compact"))
    now("after set and append")
    alter("append what is there", TOPIC, topic, ("cleanup.policy", APPEND, "compact"))
    alter("subtract", TOPIC, topic, ("cleanup.policy", SUBTRACT, "delete"))
    now("after subtract")
    alter("delete", TOPIC, topic, ("retention.ms", DELETE, None), ("cleanup.policy", DELETE, None))
    now("after delete")
    alter("delete what is not there", TOPIC, topic, ("retention.ms", DELETE, None))
    alter("not a number", TOPIC, topic, ("retention.ms", SET, "soon"))
    alter("one good one bad", TOPIC, topic, ("segment.bytes", SET, "2000000"), ("retention.ms", SET, "soon"))
    now("after a half bad change")
    alter("unknown key", TOPIC, topic, ("no.such.config", SET, "1"))
    alter("null value", TOPIC, topic, ("retention.ms", SET, None))
    alter("append to no list", TOPIC, topic, ("retention.ms", APPEND, "1"))
    alter("subtract from no list", TOPIC, topic, ("retention.ms", SUBTRACT, "1"))
    alter("unknown operation", TOPIC, topic, ("retention.ms", 9, "1"))
    alter("a key twice", TOPIC, topic, ("retention.ms", SET, "1"), ("retention.ms", SET, "2"))
    alter("nothing", TOPIC, topic)
    alter("unknown topic", TOPIC, "no-such", ("retention.ms", SET, "1"))
    alter("bad name", TOPIC, "bad name", ("retention.ms", SET, "1"))
    alter("no name", TOPIC, "", ("retention.ms", SET, "1"))
    alter("broker", BROKER, "1", ("log.cleaner.threads", SET, "2"))
    alter("broker back", BROKER, "1", ("log.cleaner.threads", DELETE, None))
    alter("broker, read only", BROKER, "1", ("node.id", SET, "2"))
    alter("broker, per cluster only", BROKER, "1", ("log.retention.ms", SET, "2000"))
    alter("broker, back", BROKER, "1", ("log.retention.ms", DELETE, None))
    alter("broker, unknown key", BROKER, "1", ("no.such.config", SET, "1"))
    # Any key may be stored for a broker, and old tools cannot alter a broker that holds one that they do not know.
    alter("broker, unknown key back", BROKER, "1", ("no.such.config", DELETE, None))
    alter("broker, bad value", BROKER, "1", ("log.cleaner.threads", SET, "many"))
    alter("other broker", BROKER, "7", ("log.cleaner.threads", SET, "2"))
    alter("broker named x", BROKER, "x", ("log.cleaner.threads", SET, "2"))
    alter("all brokers", BROKER, "", ("log.cleaner.backoff.ms", SET, "16000"))
    alter("all brokers back", BROKER, "", ("log.cleaner.backoff.ms", DELETE, None))
    alter("group", GROUP, f"{ask.prefix}-g", ("consumer.session.timeout.ms", SET, "50000"))
    alter("group, out of range", GROUP, f"{ask.prefix}-g", ("consumer.session.timeout.ms", SET, "1"))
    alter("group, unknown key", GROUP, f"{ask.prefix}-g", ("retention.ms", SET, "1"))
    alter("group without a name", GROUP, "", ("consumer.session.timeout.ms", SET, "50000"))
    alter("metrics", METRICS, f"{ask.prefix}-m", ("interval.ms", SET, "30000"))
    alter("metrics, bad", METRICS, f"{ask.prefix}-m", ("interval.ms", SET, "1"))
    alter("metrics, unknown key", METRICS, f"{ask.prefix}-m", ("x", SET, "1"))
    alter("unknown type", 99, "x", ("retention.ms", SET, "1"))
    ask.wait_for_metadata()
    for kind, name in ((GROUP, f"{ask.prefix}-g"), (METRICS, f"{ask.prefix}-m"), (BROKER, "")):
        ask.ask(
            "DescribeConfigs", 4, {"includeSynonyms": True, "resources": [resource(kind, name)]}, label=f"type {kind}"
        )


@story("AlterConfigs")
def alter_configs(ask: Asker) -> None:
    topic = ask.topic("t", configs={"segment.bytes": "2000000"})
    for version in versions("AlterConfigs"):
        for label, kind, name, configs in (
            ("set", TOPIC, topic, {"retention.ms": "7000"}),
            ("bad value", TOPIC, topic, {"retention.ms": "soon"}),
            ("unknown key", TOPIC, topic, {"no.such": "1"}),
            ("null value", TOPIC, topic, {"retention.ms": None}),
            ("unknown topic", TOPIC, "no-such", {"retention.ms": "1"}),
            ("read only", BROKER, "1", {"node.id": "2"}),
            ("other broker", BROKER, "7", {"log.cleaner.threads": "2"}),
            ("unknown type", 99, "x", {"a": "1"}),
        ):
            entries = [{"name": key, "value": value} for key, value in configs.items()]
            entry = {"resourceType": kind, "resourceName": name, "configs": entries}
            for only_look in (True, False):
                body = {"resources": [entry], "validateOnly": only_look}
                ask.ask("AlterConfigs", version, body, label=f"{label}, {only_look}")
    ask.wait_for_metadata()
    keys = ["retention.ms", "segment.bytes"]
    ask.ask("DescribeConfigs", 4, {"resources": [resource(TOPIC, topic, keys)]}, label="the rest was reset")


@story("ListConfigResources")
def list_config_resources(ask: Asker) -> None:
    ask.topic("t")
    changes = [{"name": "consumer.session.timeout.ms", "configOperation": 0, "value": "50000"}]
    entry = {"resourceType": GROUP, "resourceName": f"{ask.prefix}-g", "configs": changes}
    ask.ask("IncrementalAlterConfigs", 1, {"resources": [entry]})
    ask.wait_for_metadata()
    ask.ask("ListConfigResources", 0, own=True)
    for kinds in ([], [TOPIC], [BROKER], [LOGGER], [METRICS], [GROUP], [TOPIC, GROUP], [99], [0]):
        ask.ask(
            "ListConfigResources",
            1,
            {"resourceTypes": kinds},
            label=str(kinds),
            own=kinds in ([], [TOPIC], [METRICS], [GROUP], [TOPIC, GROUP]),
        )


@story("DescribeClientQuotas", "AlterClientQuotas")
def client_quotas(ask: Asker) -> None:
    user, client = f"{ask.prefix}-u", f"{ask.prefix}-c"

    def alter(
        label: str, entity: list[tuple[str, str | None]], *ops: tuple[str, float, bool], only_look: bool = False
    ) -> None:
        entry = {
            "entity": [{"entityType": kind, "entityName": name} for kind, name in entity],
            "ops": [{"key": key, "value": value, "remove": remove} for key, value, remove in ops],
        }
        for version in versions("AlterClientQuotas"):
            ask.ask("AlterClientQuotas", version, {"entries": [entry], "validateOnly": only_look}, label=label)

    def describe(label: str, *parts: tuple[str, int, str | None], strict: bool = False) -> None:
        components = [{"entityType": kind, "matchType": how, "match": name} for kind, how, name in parts]
        for version in versions("DescribeClientQuotas"):
            ask.ask("DescribeClientQuotas", version, {"components": components, "strict": strict}, label=label)

    alter("only look", [("user", user)], ("producer_byte_rate", 1000.0, False), only_look=True)
    alter("user", [("user", user)], ("producer_byte_rate", 1000.0, False), ("consumer_byte_rate", 2000.0, False))
    alter("user and client", [("user", user), ("client-id", client)], ("request_percentage", 50.5, False))
    alter("ip", [("ip", "127.0.0.9")], ("connection_creation_rate", 10.0, False))
    ask.wait_for_metadata()
    describe("user", ("user", 0, user))
    describe("user, strictly", ("user", 0, user), strict=True)
    describe("user and client", ("user", 0, user), ("client-id", 0, client))
    describe("any client of the user", ("user", 0, user), ("client-id", 2, None))
    describe("no default", ("user", 1, None), strict=True)
    describe("ip", ("ip", 0, "127.0.0.9"))
    describe("ip and user", ("ip", 0, "127.0.0.9"), ("user", 0, user))
    describe("unknown type", ("robot", 0, "x"))
    describe("unknown match", ("user", 9, user))
    describe("exact without a name", ("user", 0, None))
    describe("any with a name", ("user", 2, user))
    describe("empty type", ("", 0, "x"))
    describe("twice the same", ("user", 0, user), ("user", 0, user))
    alter("remove", [("user", user)], ("producer_byte_rate", 0.0, True))
    alter("remove what is not there", [("user", user)], ("request_percentage", 0.0, True))
    alter("unknown key", [("user", user)], ("speed", 1.0, False))
    alter("connection rate of a user", [("user", user)], ("connection_creation_rate", 1.0, False))
    alter("byte rate of an ip", [("ip", "127.0.0.9")], ("producer_byte_rate", 1.0, False))
    alter("bad ip", [("ip", "not an ip")], ("connection_creation_rate", 1.0, False))
    alter("negative", [("user", user)], ("producer_byte_rate", -1.0, False))
    alter("zero", [("user", user)], ("producer_byte_rate", 0.0, False))
    alter("a fraction of a byte", [("user", user)], ("producer_byte_rate", 1.5, False))
    alter("unknown type", [("robot", "x")], ("producer_byte_rate", 1.0, False))
    alter("empty entity", [], ("producer_byte_rate", 1.0, False))
    alter("empty name", [("user", "")], ("producer_byte_rate", 1.0, False))
    alter("ip and user", [("ip", "127.0.0.9"), ("user", user)], ("connection_creation_rate", 1.0, False))
    alter("type twice", [("user", user), ("user", "other")], ("producer_byte_rate", 1.0, False))
    alter("ip back", [("ip", "127.0.0.9")], ("connection_creation_rate", 0.0, True))
    ask.wait_for_metadata()
    describe("what is left", ("user", 0, user))


@story("DescribeUserScramCredentials", "AlterUserScramCredentials")
def scram_users(ask: Asker) -> None:
    user = f"{ask.prefix}-u"
    secret = base64.b64encode(b"p" * 32).decode()

    def upsert(
        name: str, mechanism: int = 1, iterations: int = 4096, salt: str = secret, password: str = secret
    ) -> dict:
        entry = {
            "name": name,
            "mechanism": mechanism,
            "iterations": iterations,
            "salt": salt,
            "saltedPassword": password,
        }
        return {"deletions": [], "upsertions": [entry]}

    def delete(name: str, mechanism: int = 1) -> dict:
        return {"deletions": [{"name": name, "mechanism": mechanism}], "upsertions": []}

    for label, body in (
        ("sha 256", upsert(user)),
        ("sha 512", upsert(user, 2, 8192)),
        ("unknown mechanism", upsert(user, 0)),
        ("mechanism 9", upsert(user, 9)),
        ("too few iterations", upsert(user, 1, 10)),
        ("too many iterations", upsert(user, 1, 10**6)),
        ("no name", upsert("")),
        ("no such credential", delete(f"{user}-no")),
        ("no name to delete", delete("")),
        ("unknown mechanism to delete", delete(user, 0)),
        ("twice", {"deletions": [{"name": user, "mechanism": 1}], "upsertions": upsert(user)["upsertions"]}),
        ("nothing", {"deletions": [], "upsertions": []}),
    ):
        ask.ask("AlterUserScramCredentials", 0, body, label=label)
    ask.wait_for_metadata()
    for label, users in (
        ("one", [{"name": user}]),
        ("unknown", [{"name": f"{user}-no"}]),
        ("twice", [{"name": user}, {"name": user}]),
        ("no name", [{"name": ""}]),
    ):
        ask.ask("DescribeUserScramCredentials", 0, {"users": users}, label=label)
    ask.ask("DescribeUserScramCredentials", 0, {"users": None}, label="all", own=True)
    ask.ask("AlterUserScramCredentials", 0, delete(user), label="delete")
    ask.wait_for_metadata()
    ask.ask("DescribeUserScramCredentials", 0, {"users": [{"name": user}]}, label="after delete")
    ask.ask("AlterUserScramCredentials", 0, delete(user, 2), label="delete the other")


@story("DescribeAcls", "CreateAcls", "DeleteAcls")
def acls_without_an_authorizer(ask: Asker) -> None:
    any_acl = {
        "resourceTypeFilter": 1, "resourceNameFilter": None, "patternTypeFilter": 1, "principalFilter": None, "hostFilter": None,
        "operation": 1, "permissionType": 1,
    }  # fmt: skip
    ask.each_version("DescribeAcls", any_acl)
    creation = {
        "resourceType": 2, "resourceName": "x", "resourcePatternType": 3, "principal": "User:a", "host": "*", "operation": 3,
        "permissionType": 3,
    }  # fmt: skip
    ask.each_version("CreateAcls", {"creations": [creation, creation]})
    ask.each_version("CreateAcls", {"creations": []}, label="nothing")
    ask.each_version("DeleteAcls", {"filters": [any_acl]})


@story("CreateDelegationToken", "RenewDelegationToken", "ExpireDelegationToken", "DescribeDelegationToken")
def delegation_tokens_without_a_key(ask: Asker) -> None:
    ask.each_version("CreateDelegationToken", {"renewers": [], "maxLifetimeMs": -1})
    ask.each_version("RenewDelegationToken", {"hmac": "AAAA", "renewPeriodMs": 1000})
    ask.each_version("ExpireDelegationToken", {"hmac": "AAAA", "expiryTimePeriodMs": 1000})
    ask.each_version("DescribeDelegationToken", {"owners": None})


@story("SaslHandshake", "SaslAuthenticate")
def sasl_on_a_plaintext_listener(ask: Asker) -> None:
    ask.each_version("SaslHandshake", {"mechanism": "PLAIN"})
    ask.each_version("SaslAuthenticate", {"authBytes": base64.b64encode(b"\0a\0b").decode()})


@story("DescribeLogDirs", "AlterReplicaLogDirs", smoke=True)
def log_dirs(ask: Asker) -> None:
    topic = ask.topic("t", 2)
    ask.produce(topic, records("a" * 1000, "b"), note=False)
    for version in versions("DescribeLogDirs"):
        ask.ask("DescribeLogDirs", version, {"topics": [{"topic": topic, "partitions": [0, 1, 7]}]})
        ask.ask(
            "DescribeLogDirs", version, {"topics": [{"topic": "no-such", "partitions": [0]}]}, label="unknown topic"
        )
        ask.ask("DescribeLogDirs", version, {"topics": []}, label="no topics")
    for version in versions("AlterReplicaLogDirs"):
        dirs = [{"path": "/no/such/folder", "topics": [{"name": topic, "partitions": [0]}]}]
        ask.ask("AlterReplicaLogDirs", version, {"dirs": dirs}, label="unknown folder")
        dirs = [{"path": "relative", "topics": [{"name": topic, "partitions": [0, 9]}]}]
        ask.ask("AlterReplicaLogDirs", version, {"dirs": dirs}, label="relative folder")
        ask.ask("AlterReplicaLogDirs", version, {"dirs": []}, label="nothing")


@story("ElectLeaders")
def elect_leaders(ask: Asker) -> None:
    topic = ask.topic("t", 2)
    for version in versions("ElectLeaders"):
        for kind in (0, 1, 7) if version >= 1 else (0,):
            for label, topics in (
                ("both", [{"topic": topic, "partitions": [0, 1]}]),
                ("bad partition", [{"topic": topic, "partitions": [9]}]),
                ("unknown topic", [{"topic": "no-such", "partitions": [0]}]),
                ("nothing", []),
            ):
                body = {"electionType": kind, "topicPartitions": topics, "timeoutMs": 5000}
                ask.ask("ElectLeaders", version, body, label=f"{label}, kind {kind}")
            answer = ask.ask(
                "ElectLeaders", version, {"electionType": kind, "topicPartitions": None, "timeoutMs": 5000}, note=False
            )
            ask.note(f"all, kind {kind}", answer.get("errorCode"))


@story("AlterPartitionReassignments", "ListPartitionReassignments")
def reassignments(ask: Asker) -> None:
    topic = ask.topic("t", 2)
    for version in versions("AlterPartitionReassignments"):
        for label, name, index, replicas in (
            ("to itself", topic, 0, [1]),
            ("cancel nothing", topic, 0, None),
            ("without replicas", topic, 0, []),
            ("to an unknown broker", topic, 0, [7]),
            ("twice to one", topic, 0, [1, 1]),
            ("negative", topic, 0, [-1]),
            ("bad partition", topic, 9, [1]),
            ("unknown topic", "no-such", 0, [1]),
        ):
            topics = [{"name": name, "partitions": [{"partitionIndex": index, "replicas": replicas}]}]
            ask.ask("AlterPartitionReassignments", version, {"timeoutMs": 5000, "topics": topics}, label=label)
        more = [{"name": topic, "partitions": [{"partitionIndex": 0, "replicas": [1, 7]}]}]
        body = {"timeoutMs": 5000, "topics": more, "allowReplicationFactorChange": False}
        ask.ask("AlterPartitionReassignments", version, body, label="more replicas")
        ask.ask("AlterPartitionReassignments", version, {"timeoutMs": 5000, "topics": []}, label="nothing")
    ask.wait_for_metadata()
    ask.ask("ListPartitionReassignments", 0, {"timeoutMs": 5000, "topics": None}, label="all")
    for name, index in ((topic, 0), (topic, 9), ("no-such", 0)):
        topics = [{"name": name, "partitionIndexes": [index]}]
        ask.ask("ListPartitionReassignments", 0, {"timeoutMs": 5000, "topics": topics}, label=f"{name} {index}")


@story("DescribeCluster")
def describe_cluster(ask: Asker) -> None:
    for version in versions("DescribeCluster"):
        for kind in (1, 2, 9) if version >= 1 else (1,):
            body = {"includeClusterAuthorizedOperations": kind == 1, "endpointType": kind, "includeFencedBrokers": True}
            ask.ask("DescribeCluster", version, body, label=f"endpoints {kind}")


@story("DescribeQuorum", smoke=True)
def describe_quorum(ask: Asker) -> None:
    for version in versions("DescribeQuorum"):
        for name, index in (("__cluster_metadata", 0), ("__cluster_metadata", 1), ("no-such", 0)):
            topics = [{"topicName": name, "partitions": [{"partitionIndex": index}]}]
            answer = ask.ask("DescribeQuorum", version, {"topics": topics}, label=f"{name} {index}", note=False)
            for node in answer.get("nodes", []):
                node["listeners"] = len(node["listeners"])  # a controller's own port, where there is one
            ask.note(f"v{version} {name} {index}", ask.normalizer.normal(answer, "DescribeQuorum"))


@story("UpdateFeatures", "UpdateFeatures", "ConsumerGroupHeartbeat", "EndTxn")
def update_features(ask: Asker) -> None:
    for version in versions("UpdateFeatures"):
        for label, feature, level, kind in (
            ("unknown", "no.such", 1, 1),
            ("too high", "group.version", 99, 1),
            ("the same", "group.version", 1, 1),
            ("the same metadata.version", "metadata.version", 30, 1),
            ("metadata.version too high", "metadata.version", 99, 1),
            ("metadata.version too low", "metadata.version", 1, 1),
            ("metadata.version down", "metadata.version", 29, 1),
            ("kraft.version up", "kraft.version", 1, 1),
            ("negative", "group.version", -1, 1),
            ("down without leave", "group.version", 0, 1),
            ("down with leave", "transaction.version", 1, 2),
            ("unknown kind", "group.version", 1, 9),
        ):
            update = {"feature": feature, "maxVersionLevel": level, "upgradeType": kind, "allowDowngrade": kind != 1}
            body = {"timeoutMs": 5000, "featureUpdates": [update], "validateOnly": True}
            if version == 0:  # cannot only look
                if label in ("down with leave", "metadata.version down", "kraft.version up", "negative"):
                    continue
                body.pop("validateOnly")
            ask.ask("UpdateFeatures", version, body, label=label)
        ask.ask("UpdateFeatures", version, {"timeoutMs": 5000, "featureUpdates": []}, label="nothing")


@story("UnregisterBroker")
def unregister_broker(ask: Asker) -> None:
    for broker in (7, -1):
        ask.ask("UnregisterBroker", 0, {"brokerId": broker}, label=str(broker))


@story("UnregisterController")
def unregister_controller(ask: Asker) -> None:
    for controller in (1, 7, -1, 2**31 - 1):
        ask.ask("UnregisterController", 0, {"controllerId": controller}, label=str(controller))


@story("AddRaftVoter", "RemoveRaftVoter")
def raft_voters(ask: Asker) -> None:
    listener = {"name": "CONTROLLER", "host": "localhost", "port": 9999}
    body = {
        "clusterId": "no-such-cluster",
        "timeoutMs": 2000,
        "voterId": 5,
        "voterDirectoryId": "AAAAAAAAAAAAAAAAAAAAbg",
        "listeners": [listener],
    }
    ask.each_version("AddRaftVoter", body, label="wrong cluster")
    ask.each_version("AddRaftVoter", {**body, "clusterId": None}, label="static quorum")
    gone = {"clusterId": "no-such-cluster", "voterId": 5, "voterDirectoryId": "AAAAAAAAAAAAAAAAAAAAbg"}
    ask.each_version("RemoveRaftVoter", gone, label="wrong cluster")
    ask.each_version("RemoveRaftVoter", {**gone, "clusterId": None}, label="static quorum")


@story("IncrementalAlterConfigs", "DescribeConfigs")
def config_checks(ask: Asker) -> None:
    """Lists and no lists, rules between configs, and one resource type that does not exist."""
    SET, DELETE, APPEND, SUBTRACT = 0, 1, 2, 3  # noqa: N806
    topic, metrics, group = ask.topic("t"), f"{ask.prefix}-m", f"{ask.prefix}-g"

    def alter(label: str, kind: int, name: str, *changes: tuple[str, int, str | None]) -> None:
        configs = [{"name": key, "configOperation": operation, "value": value} for key, operation, value in changes]
        entry = {"resourceType": kind, "resourceName": name, "configs": configs}
        ask.ask("IncrementalAlterConfigs", 1, {"resources": [entry]}, label=label)

    for operation, word in ((APPEND, "append"), (SUBTRACT, "subtract")):
        for key in ("interval.ms", "metrics", "match", "no.such"):
            value = "client_id=x" if key == "match" else "100"
            alter(f"client metrics {word} {key}", METRICS, metrics, (key, operation, value))
        for value in ("", ",", "compact,", ",compact", "compact,compact", " compact"):
            alter(f"topic {word} {value!r}", TOPIC, topic, ("cleanup.policy", operation, value))
            alter(f"topic {word} back {value!r}", TOPIC, topic, ("cleanup.policy", DELETE, None))
        alter(f"group {word} no list", GROUP, group, ("consumer.session.timeout.ms", operation, "50000"))
        alter(f"broker {word} no list", BROKER, "1", ("log.cleaner.threads", operation, "2"))
        alter(f"broker {word} list", BROKER, "1", ("log.cleanup.policy", operation, "compact"))
        alter(f"broker {word} back", BROKER, "1", ("log.cleanup.policy", DELETE, None))
    alter(
        "client metrics back", METRICS, metrics, *((key, DELETE, None) for key in ("interval.ms", "metrics", "match"))
    )
    broker = (
        ("log.cleaner.threads", "3"),
        ("log.cleaner.threads", "2"),
        ("log.cleaner.threads", "0"),
        ("log.cleaner.dedupe.buffer.size", "1000000"),
        ("log.retention.ms", "0"),
        ("log.retention.ms", "-2"),
        ("log.roll.ms", "0"),
        ("log.roll.jitter.ms", "-1"),
        ("log.local.retention.ms", "1000"),
        ("log.local.retention.ms", "999999999999"),
        ("log.local.retention.ms", "-1"),
        ("log.local.retention.ms", "-2"),
        ("log.local.retention.bytes", "1000"),
        ("log.local.retention.bytes", "-1"),
        ("max.connections.per.ip", "0"),
        ("max.connections.per.ip.overrides", "bad host:5"),
        ("background.threads", "100"),
        ("num.io.threads", "1"),
        ("compression.type", "lz4"),
        ("message.max.bytes", "-1"),
        ("min.insync.replicas", "0"),
        ("log.segment.bytes", "1"),
        ("log.cleaner.min.compaction.lag.ms", "5"),
        ("log.cleaner.max.compaction.lag.ms", "1"),
    )
    for key, value in broker:
        alter(f"broker {key}={value}", BROKER, "1", (key, SET, value))
        alter(f"broker {key} back", BROKER, "1", (key, DELETE, None))
        alter(f"all brokers {key}={value}", BROKER, "", (key, SET, value))
        alter(f"all brokers {key} back", BROKER, "", (key, DELETE, None))
    for kind in (0, 1, 3, 64):
        body = {"includeSynonyms": False, "resources": [resource(TOPIC, topic, ["retention.ms"]), resource(kind, "x")]}
        ask.ask("DescribeConfigs", 4, body, label=f"resource type {kind} beside a topic")
        entry = {"resourceType": kind, "resourceName": "x", "configs": []}
        ask.ask("IncrementalAlterConfigs", 1, {"resources": [entry]}, label=f"resource type {kind}")
