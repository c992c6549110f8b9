"""Admin requests that are put to Apache Kafka (``record_apache_answers.py``) and to us, in this order.

A case is a label, a version, and a request, or a function from the topic ids that are known so far to one. Requests
build on each other: topics made by one are described by the next.
"""

from kwire.wire import messages as m

ZERO = bytes(16)
STRANGE_ID = b"\x01" * 16

# What both brokers are started with, so that what they say of their settings can be compared.
SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "listeners": "PLAINTEXT://localhost:9092,CONTROLLER://localhost:19193",
    "controller.listener.names": "CONTROLLER",
    "controller.quorum.bootstrap.servers": "localhost:19193",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
}

SET, DELETE, APPEND, SUBTRACT = range(4)
TOPIC, BROKER, LOGGER, METRICS, GROUP = 2, 4, 8, 16, 32


def cases():
    for family in (
        creation,
        growth,
        deletion,
        descriptions,
        changes_of_topic_configs,
        changes_of_broker_configs,
        changes_of_other_configs,
        whole_configs,
        cluster,
        features,
        credentials,
        quotas,
        elections,
        what_is_off,
        voters,
        partitions,
    ):
        for label, version, request in family():
            yield f"{family.__name__}: {label}", version, request


# --- topics ---


def new(name, count=1, factor=1, rows=(), **configs):
    create = m.CreateTopicsRequest
    return create.CreatableTopic(
        name=name,
        num_partitions=count,
        replication_factor=factor,
        assignments=[
            create.CreatableReplicaAssignment(partition_index=index, broker_ids=list(row)) for index, row in rows
        ],
        configs=[
            create.CreatableTopicConfig(name=key.replace("_", "."), value=value) for key, value in configs.items()
        ],
    )


def create(*topics, version=7, validate_only=True):
    label = (
        f"create {[topic.name[:12] for topic in topics]} {[one.name for one in topics[0].configs] if topics else ''}"
    )
    return label, version, m.CreateTopicsRequest(topics=list(topics), timeout_ms=5000, validate_only=validate_only)


def creation():
    for name in ("", ".", "..", "a" * 250, "a b", "é", "a.b"):
        yield create(new(name))
    for count, factor in ((0, 1), (-2, 1), (1, 0), (1, -2), (1, 3), (-1, -1), (10_001, 1)):
        yield create(new("t", count, factor))
    for rows in (
        [(0, [1])],
        [(1, [1])],
        [(0, [1]), (0, [1])],
        [(0, [1, 1])],
        [(0, [2])],
        [(0, [])],
        [(0, [1]), (1, [1, 2])],
        [(0, [-1])],
    ):
        yield create(new("t", -1, -1, rows))
    yield create(new("t", 1, -1, [(0, [1])]))
    yield create(new("t", -1, 1, [(0, [1])]))
    for configs in (
        {"nope": "1"},
        {"retention_ms": "x"},
        {"retention_ms": None},
        {"segment_bytes": "1"},
        {"min_compaction_lag_ms": "10", "max_compaction_lag_ms": "5"},
        {"remote_storage_enable": "true"},
        {"cleanup_policy": "x"},
        {"cleanup_policy": ""},
        {"cleanup_policy": "compact", "compression_type": "zstd"},
        {"internal_segment_bytes": "10"},
        {"follower_replication_throttled_replicas": "x"},
        {"message_timestamp_type": "LogAppendTime"},
        {"retention_bytes": "-5"},
        {"min_insync_replicas": "3"},
    ):
        yield create(new("t", **configs))
    yield create(new("dup"), new("dup"), new("other"))
    yield create(new("__cluster_metadata"), new("__consumer_offsets"))
    for version in range(2, 8):
        yield create(new("t"), new("a b"), version=version)
    yield create(new("ok", 3, retention_ms="5"), new("a.b"), new("c.d"), validate_only=False)
    yield create(new("ok"), new("a_b"), new("c_d"), new("a.b"))
    yield create(new("d1"), new("d2"), new("d3"), new("d4"), validate_only=False)
    yield create()


def growth():
    grow = m.CreatePartitionsRequest

    def case(*topics, version=3, validate_only=True):
        request = grow(
            topics=[
                grow.CreatePartitionsTopic(
                    name=name,
                    count=count,
                    assignments=(
                        None if rows is None else [grow.CreatePartitionsAssignment(broker_ids=row) for row in rows]
                    ),
                )
                for name, count, rows in topics
            ],
            timeout_ms=5000,
            validate_only=validate_only,
        )
        return f"grow {topics}", version, request

    yield case(("ok", 3, None), ("zz", 3, None), ("c.d", 0, None))
    for count in (2, -1, 5):
        yield case(("ok", count, None))
    for rows in ([], [[1]], [[1], [1]], [[1], [2]], [[1], [1, 1]], [[1], []], [[1], [1], [1]]):
        yield case(("ok", 5, rows))
    yield case(("ok", 5, None), ("ok", 6, None), ("a.b", 2, None))
    yield case(("ok", 4, [[1]]), validate_only=False)
    yield case(("ok", 4, None))
    for version in range(4):
        yield case(("ok", 6, None), ("a.b", 2, None), version=version)
    yield case(("", 6, None))


def deletion():
    delete = m.DeleteTopicsRequest

    def by_state(*states):
        def make(ids):
            return delete(
                topics=[
                    delete.DeleteTopicState(name=name, topic_id=ZERO if topic is None else ids.get(topic, STRANGE_ID))
                    for name, topic in states
                ],
                timeout_ms=5000,
            )

        return f"delete {states}", 6, make

    def by_name(version, *names):
        return f"delete {names}", version, delete(topic_names=list(names), timeout_ms=5000)

    yield by_state(("nope", None), (None, "zz"), (None, None), ("d1", "d1"), ("d1", None), ("d1", None))
    yield by_state(("d2", None), (None, "d2"), (None, "d3"), (None, "d3"))
    yield by_state((None, "d4"), ("", None), ("__cluster_metadata", None))
    yield by_name(1, "d1", "d1", "zz", "d2")
    for version in range(1, 6):
        yield by_name(version, f"zz{version}", "a b")


# --- configs ---


def described(resource_type, name, keys=None, *, synonyms=True, version=4):
    describe = m.DescribeConfigsRequest
    request = describe(
        resources=[
            describe.DescribeConfigsResource(resource_type=resource_type, resource_name=name, configuration_keys=keys)
        ],
        include_synonyms=synonyms,
    )
    return f"describe {resource_type} {name!r} {keys}", version, request


BROKER_KEYS = [
    "log.retention.ms",
    "log.retention.hours",
    "min.insync.replicas",
    "num.io.threads",
    "log.cleanup.policy",
    "broker.id",
    "sasl.jaas.config",
    "leader.replication.throttled.rate",
]


def descriptions():
    for version in range(1, 5):
        yield described(TOPIC, "ok", version=version, synonyms=version % 2 == 0)
        yield described(BROKER, "1", version=version)
    yield described(TOPIC, "ok", ["retention.ms", "flush.ms", "nope"])
    yield described(TOPIC, "ok", [])
    for name in ("zzz", "a b", ""):
        yield described(TOPIC, name)
    yield described(BROKER, "1", BROKER_KEYS)
    for name in ("", "2", "x", "-1"):
        yield described(BROKER, name)
    for name in ("2", "", "x"):
        yield described(LOGGER, name)
    for resource_type in (METRICS, GROUP):
        yield described(resource_type, "g")
        yield described(resource_type, "")
    yield described(GROUP, "g", ["consumer.session.timeout.ms"])
    yield "describe nothing", 4, m.DescribeConfigsRequest(resources=[])
    yield "list", 0, m.ListConfigResourcesRequest()
    for types in ([], [TOPIC], [BROKER], [LOGGER], [METRICS], [GROUP], [TOPIC, BROKER], [7], [0]):
        yield f"list {types}", 1, m.ListConfigResourcesRequest(resource_types=types)


def changed(resource_type, name, *changes, validate_only=False, version=1):
    alter = m.IncrementalAlterConfigsRequest
    request = alter(
        resources=[
            alter.AlterConfigsResource(
                resource_type=resource_type,
                resource_name=name,
                configs=[
                    alter.AlterableConfig(name=key, config_operation=operation, value=value)
                    for key, operation, value in changes
                ],
            )
        ],
        validate_only=validate_only,
    )
    return f"change {resource_type} {name!r} {changes} {validate_only}", version, request


def changes_of_topic_configs():
    def topic(*changes, **keywords):
        return changed(TOPIC, "ok", *changes, **keywords)

    yield topic(("retention.ms", SET, "9"), validate_only=True)
    yield described(TOPIC, "ok")
    for name, operation, value in (
        ("retention.ms", SET, "x"),
        ("nope", SET, "x"),
        ("nope", DELETE, None),
        ("nope", APPEND, "5"),
        ("retention.ms", SET, None),
        ("retention.ms", APPEND, "5"),
        ("retention.ms", DELETE, "5"),
        ("cleanup.policy", APPEND, "compact"),
        ("cleanup.policy", APPEND, "compact"),
        ("cleanup.policy", SUBTRACT, "delete"),
        ("cleanup.policy", SUBTRACT, "compact"),
        ("cleanup.policy", APPEND, "zzz"),
        ("cleanup.policy", APPEND, None),
        ("cleanup.policy", APPEND, "compact,delete"),
        ("cleanup.policy", DELETE, None),
        ("remote.storage.enable", SET, "true"),
        ("min.insync.replicas", SET, "2"),
        ("min.insync.replicas", SET, "0"),
        ("min.insync.replicas", DELETE, None),
        ("follower.replication.throttled.replicas", APPEND, "0:1"),
        ("follower.replication.throttled.replicas", SUBTRACT, "0:1"),
        ("follower.replication.throttled.replicas", DELETE, None),
        ("internal.segment.bytes", SET, "1000"),
        ("internal.segment.bytes", DELETE, None),
    ):
        yield topic((name, operation, value))
        yield described(TOPIC, "ok")
    yield topic(("retention.ms", SET, "5"), ("retention.ms", SET, "6"))
    yield topic(("min.compaction.lag.ms", SET, "10"), ("max.compaction.lag.ms", SET, "5"))
    yield topic()
    for value in ("5", "q"):
        yield changed(TOPIC, "zzz", ("retention.ms", SET, value))
    yield changed(TOPIC, "zzz", ("retention.ms", DELETE, None))
    yield changed(TOPIC, "", ("retention.ms", SET, "5"))
    yield changed(TOPIC, "a b", ("retention.ms", SET, "5"))
    alter = m.IncrementalAlterConfigsRequest
    twice = [alter.AlterConfigsResource(resource_type=TOPIC, resource_name="ok") for _ in range(2)]
    yield "change one topic twice", 1, alter(resources=twice)
    for version in range(2):
        yield topic(("retention.ms", SET, "5"), version=version)


def changes_of_broker_configs():
    for name, change in (
        ("", ("log.retention.ms", SET, "9000")),
        ("1", ("log.retention.ms", SET, "9")),
        ("", ("log.retention.ms", DELETE, None)),
        ("1", ("log.retention.ms", DELETE, None)),
        ("", ("num.partitions", SET, "9")),
        ("1", ("num.partitions", SET, "9")),
        ("1", ("nope.x", SET, "9")),
        ("1", ("nope.x", DELETE, None)),
        ("", ("nope.x", SET, "9")),
        ("", ("nope.x", DELETE, None)),
        ("x", ("log.retention.ms", SET, "9")),
        ("2", ("log.retention.ms", SET, "9")),
        ("-1", ("log.retention.ms", SET, "9")),
        ("", ("log.retention.ms", SET, "zz")),
        ("", ("listeners", SET, "PLAINTEXT://:1")),
        ("", ("ssl.keystore.location", SET, "x")),
        ("1", ("ssl.keystore.location", SET, "/x")),
        ("", ("min.insync.replicas", DELETE, None)),
        ("", ("min.insync.replicas", SET, "1")),
        ("1", ("min.insync.replicas", SET, "1")),
        ("", ("num.io.threads", SET, "100")),
        ("1", ("num.io.threads", SET, "100")),
        ("1", ("num.io.threads", SET, "3")),
        ("", ("num.io.threads", DELETE, None)),
        ("1", ("log.cleanup.policy", APPEND, "compact")),
        ("1", ("log.cleanup.policy", DELETE, None)),
        ("1", ("advertised.listeners", SET, "PLAINTEXT://x:1")),
        ("", ("leader.replication.throttled.rate", SET, "10")),
        ("", ("leader.replication.throttled.rate", DELETE, None)),
        ("", ("log.retention.hours", SET, "10")),
        ("1", ("max.connections", SET, "-5")),
        ("1", ("log.roll.ms", SET, "0")),
        ("1", ("follower.replication.throttled.rate", SET, "-1")),
        ("1", ("background.threads", SET, "1")),
        ("1", ("background.threads", SET, "15")),
        ("1", ("background.threads", DELETE, None)),
        ("1", ("log.segment.bytes", SET, "5")),
        ("1", ("message.max.bytes", SET, "1000")),
        ("1", ("message.max.bytes", DELETE, None)),
        ("", ("compression.type", SET, "gzip")),
        ("", ("compression.type", DELETE, None)),
        ("1", ("max.connections.per.ip.overrides", SET, "127.0.0.1:5")),
        ("1", ("max.connections.per.ip.overrides", DELETE, None)),
        ("1", ("unclean.leader.election.enable", SET, "true")),
        ("1", ("unclean.leader.election.enable", DELETE, None)),
    ):
        yield changed(BROKER, name, change)
        yield described(BROKER, "")
        yield described(BROKER, "1", [*BROKER_KEYS, change[0]])
        yield described(TOPIC, "ok")
    yield changed(BROKER, "1", ("num.partitions", SET, "x"), ("nope", SET, "1"), ("node.id", SET, "3"))


def changes_of_other_configs():
    for name, change in (
        ("2", ("root", SET, "INFO")),
        ("", ("root", SET, "INFO")),
        ("1", ("zz.y", SET, "INFO")),
        ("1", ("root", DELETE, None)),
        ("1", ("root", APPEND, "INFO")),
    ):
        yield changed(LOGGER, name, change)
    yield changed(METRICS, "cm", ("metrics", SET, "org."), ("interval.ms", SET, "100"))
    for name, change in (
        ("cm", ("interval.ms", SET, "99")),
        ("cm", ("interval.ms", SET, "3600001")),
        ("cm", ("interval.ms", SET, "x")),
        ("cm", ("nope", SET, "99")),
        ("cm", ("match", SET, "client_id=[")),
        ("cm", ("match", SET, "client_id")),
        ("cm", ("match", SET, "zz=1")),
        ("cm", ("match", SET, "client_id=a.*,client_software_name=b")),
        ("", ("interval.ms", SET, "100")),
        ("zzz", ("metrics", DELETE, None)),
    ):
        yield changed(METRICS, name, change)
        yield described(METRICS, "cm")
    yield "list subscriptions", 0, m.ListConfigResourcesRequest()
    yield "list all", 1, m.ListConfigResourcesRequest(resource_types=[])
    yield changed(METRICS, "cm", ("metrics", DELETE, None), ("interval.ms", DELETE, None), ("match", DELETE, None))
    yield changed(GROUP, "g1", ("consumer.session.timeout.ms", SET, "50000"))
    yield described(GROUP, "g1")
    yield "list groups", 1, m.ListConfigResourcesRequest(resource_types=[GROUP])
    for protocol in ("consumer", "share", "streams"):
        for key in ("session.timeout.ms", "heartbeat.interval.ms", "assignment.interval.ms"):
            for value in ("1", "99999999"):
                yield changed(GROUP, "g", (f"{protocol}.{key}", SET, value), validate_only=True)
    for key in ("share.record.lock.duration.ms", "share.delivery.count.limit", "share.partition.max.record.locks"):
        for value in ("1", "2", "100", "1000", "99999999"):
            yield changed(GROUP, "g", (key, SET, value), validate_only=True)
    for name, change in (
        ("g1", ("nope", SET, "1")),
        ("", ("consumer.session.timeout.ms", SET, "50000")),
        ("g1", ("streams.num.standby.replicas", SET, "3")),
        ("g1", ("share.isolation.level", SET, "x")),
        ("g1", ("share.isolation.level", SET, "read_committed")),
        ("g1", ("share.isolation.level", DELETE, None)),
        ("g1", ("consumer.session.timeout.ms", DELETE, None)),
    ):
        yield changed(GROUP, name, change)
        yield described(GROUP, "g1")
    for resource_type in (0, 3, 64):
        yield changed(resource_type, "x", ("a", SET, "b"))


def whole_configs():
    alter = m.AlterConfigsRequest

    def case(resource_type, name, *configs, validate_only=False, version=2):
        request = alter(
            resources=[
                alter.AlterConfigsResource(
                    resource_type=resource_type,
                    resource_name=name,
                    configs=[alter.AlterableConfig(name=key, value=value) for key, value in configs],
                )
            ],
            validate_only=validate_only,
        )
        return f"alter {resource_type} {name!r} {configs} {validate_only}", version, request

    for configs in (
        [("retention.ms", "9"), ("cleanup.policy", "compact")],
        [("segment.ms", "99")],
        [("segment.ms", None)],
        [("nope", "1")],
        [("segment.ms", "1"), ("segment.ms", "2")],
        [],
        [("retention.ms", "5")],
    ):
        yield case(TOPIC, "ok", *configs)
        yield described(TOPIC, "ok")
    yield case(TOPIC, "zz", ("segment.ms", "1"))
    yield case(BROKER, "1", ("num.io.threads", "9"))
    yield described(BROKER, "1", ["num.io.threads"])
    yield case(BROKER, "1")
    yield case(BROKER, "")
    yield case(BROKER, "", ("min.insync.replicas", "1"))
    yield case(BROKER, "", ("num.partitions", "1"))
    for resource_type, key, value in ((METRICS, "interval.ms", "1000"), (GROUP, "share.delivery.count.limit", "7")):
        yield case(resource_type, "x", (key, value))
        yield described(resource_type, "x")
        yield case(resource_type, "x")
    yield case(LOGGER, "1", ("root", "INFO"))
    yield case(0, "x", ("a", "b"))
    for version in range(3):
        yield case(TOPIC, "ok", ("retention.ms", "9"), validate_only=True, version=version)
    yield described(TOPIC, "ok")


# --- the cluster ---


def cluster():
    describe = m.DescribeClusterRequest
    yield "cluster", 0, describe()
    yield "cluster with operations", 2, describe(include_cluster_authorized_operations=True)
    yield "controllers", 2, describe(endpoint_type=2)
    yield "endpoint type 3", 1, describe(endpoint_type=3)
    yield "fenced brokers", 2, describe(include_fenced_brokers=True)

    quorum = m.DescribeQuorumRequest

    def voters_of(topic, partitions, version=2):
        data = quorum.TopicData(
            topic_name=topic, partitions=[quorum.PartitionData(partition_index=one) for one in partitions]
        )
        return f"quorum of {topic} {partitions}", version, quorum(topics=[data])

    for version in range(3):
        yield voters_of("__cluster_metadata", [0], version)
    for topic, partitions in (("zz", [0]), ("__cluster_metadata", [1]), ("__cluster_metadata", [0, 1])):
        yield voters_of(topic, partitions)
    yield voters_of("__cluster_metadata", [])
    yield "quorum of nothing", 2, quorum(topics=[])
    for broker_id in (2, -1):
        yield f"unregister {broker_id}", 0, m.UnregisterBrokerRequest(broker_id=broker_id)

    pages = m.DescribeTopicPartitionsRequest

    def page(*names, limit=2000, cursor=None):
        request = pages(
            topics=[pages.TopicRequest(name=name) for name in names],
            response_partition_limit=limit,
            cursor=None if cursor is None else pages.Cursor(topic_name=cursor[0], partition_index=cursor[1]),
        )
        return f"partitions of {names} {limit} {cursor}", 0, request

    for names in (("ok",), (), ("zz",), ("a b",), ("ok", "ok")):
        yield page(*names)
    for limit in (-1, 0, 1, 2):
        yield page("a.b", "c.d", "ok", limit=limit)
    for cursor in (("ok", 1), ("ok", 9), ("ok", -1), ("zz", 0), ("b", 0)):
        yield page("ok", "a.b", limit=2, cursor=cursor)
    for cursor in (("ok", 2), ("b", 0)):
        yield page(limit=3, cursor=cursor)
    yield page("ok", "zz", cursor=("zz", 1))


def features():
    update = m.UpdateFeaturesRequest

    def case(*updates, validate_only=False, version=2):
        request = update(
            feature_updates=[
                update.FeatureUpdateKey(feature=name, max_version_level=level, upgrade_type=upgrade_type)
                for name, level, upgrade_type in updates
            ],
            validate_only=validate_only,
            timeout_ms=5000,
        )
        return f"update {updates}", version, request

    for level, upgrade_type in ((30, 1), (31, 1), (29, 1), (29, 2), (29, 3), (3, 3), (0, 1)):
        yield case(("metadata.version", level, upgrade_type))
    for level, upgrade_type in ((0, 2), (1, 1), (2, 1)):
        yield case(("kraft.version", level, upgrade_type))
    for upgrade_type in (0, 9):
        yield case(("eligible.leader.replicas.version", 1, upgrade_type))
    yield case(("eligible.leader.replicas.version", 0, 2), validate_only=True)
    yield case(("nope", 1, 1))
    yield case(("nope", 0, 1))
    yield case(("", 1, 1))
    yield case()
    yield case(("metadata.version", 30, 1), version=1)
    for name in ("eligible.leader.replicas.version", "nope"):
        yield case((name, 1, 1), version=0)


def credentials():
    alter = m.AlterUserScramCredentialsRequest
    describe = m.DescribeUserScramCredentialsRequest

    def case(*upsertions, without=()):
        request = alter(
            upsertions=[
                alter.ScramCredentialUpsertion(
                    name=name, mechanism=mechanism, iterations=iterations, salt=b"salt", salted_password=b"p" * 32
                )
                for name, mechanism, iterations in upsertions
            ],
            deletions=[alter.ScramCredentialDeletion(name=name, mechanism=mechanism) for name, mechanism in without],
        )
        return f"scram {upsertions} without {without}", 0, request

    def users(names):
        request = describe(users=None if names is None else [describe.UserName(name=name) for name in names])
        return f"users {names}", 0, request

    yield users(None)
    yield case(("a", 1, 4096), ("b", 2, 5000))
    for names in (None, [], ["a", "zz"], ["a", "a"], [""]):
        yield users(names)
    for one in (("a", 1, 4095), ("a", 1, 16385), ("a", 0, 4096), ("a", 3, 4096), ("", 1, 4096)):
        yield case(one)
    for one in (("zz", 1), ("a", 2), ("a", 0), ("", 1)):
        yield case(without=[one])
    yield case(("a", 1, 4096), without=[("a", 1)])
    yield case(("a", 1, 4096), ("a", 2, 4097))
    yield case(("y", 1, 4096), without=[("zz", 1)])
    yield case()
    yield case(without=[("a", 1), ("a", 2), ("b", 2)])
    yield case(("a", 2, 4096))
    yield users(None)


def quotas():
    alter = m.AlterClientQuotasRequest
    describe = m.DescribeClientQuotasRequest
    rate = "producer_byte_rate"
    alice, app, address = ("user", "alice"), ("client-id", "app"), ("ip", "127.0.0.1")

    def change(*entities, validate_only=False, version=1):
        request = alter(
            entries=[
                alter.EntryData(
                    entity=[alter.EntityData(entity_type=kind, entity_name=name) for kind, name in entity],
                    ops=[alter.OpData(key=key, value=value or 0, remove=value is None) for key, value in ops],
                )
                for entity, ops in entities
            ],
            validate_only=validate_only,
        )
        return f"quota {entities} {validate_only}", version, request

    def found(*components, strict=False, version=1):
        request = describe(
            components=[
                describe.ComponentData(entity_type=kind, match_type=match_type, match=match)
                for kind, match_type, match in components
            ],
            strict=strict,
        )
        return f"quotas of {components} {strict}", version, request

    yield found()
    for entity, ops in (
        # High enough that no client is throttled.
        ([alice], [(rate, 1e9)]),
        ([alice, app], [(rate, 2e9), ("consumer_byte_rate", 3e9)]),
        ([("user", None)], [("request_percentage", 100_000.5)]),
        ([("client-id", None)], [("controller_mutation_rate", 1e6)]),
        ([address], [("connection_creation_rate", 100_000)]),
        ([("ip", None)], [("connection_creation_rate", 200_000)]),
        ([("user", "")], [(rate, 3)]),
        ([("client-id", "")], [(rate, 3)]),
        ([alice], [("nope", 1)]),
        ([alice], [(rate, 0)]),
        ([alice], [(rate, -1)]),
        ([alice], [(rate, 1.5)]),
        ([alice], [(rate, 1e19)]),
        ([alice], [("request_percentage", 0)]),
        ([alice], [("connection_creation_rate", 1)]),
        ([address], [(rate, 1)]),
        ([address], [("connection_creation_rate", 1.5)]),
        ([("ip", "300.1.1.1")], [("connection_creation_rate", 1)]),
        ([alice, address], [(rate, 1)]),
        ([("zzz", "a")], [(rate, 1)]),
        ([], [(rate, 1)]),
        ([alice, alice], [(rate, 1e9)]),
        ([alice, ("user", "bob")], [(rate, 1e9)]),
        ([alice], [(rate, 1e9), (rate, 2e9)]),
        ([alice], [("consumer_byte_rate", None)]),
        ([alice], [("nope", None)]),
    ):
        yield change((entity, ops))
    for version in range(2):
        yield change(([alice], [(rate, 7e9)]), validate_only=True, version=version)
    # Only tried, because Apache refuses the second and keeps the first, which we do not.
    yield change(([("user", "q")], [(rate, 1)]), ([("user", "q")], [(rate, 1)]), validate_only=True)
    yield change()
    for strict in (False, True):
        yield found(strict=strict)
        yield found(("user", 0, "alice"), strict=strict)
    for components in (
        [("user", 1, None)],
        [("user", 2, None)],
        [("client-id", 2, None), ("user", 2, None)],
        [("ip", 2, None)],
        [("zz", 0, "a")],
        [("user", 0, None)],
        [("user", 5, None)],
        [("user", 0, "a"), ("user", 0, "b")],
        [("", 0, "a")],
        [("ip", 0, "127.0.0.1"), ("user", 2, None)],
        [("user", 1, "x")],
        [("user", 2, "x")],
        [("user", 0, "")],
        [("user", 0, "zzz")],
    ):
        yield found(*components)
    yield found(version=0)
    for entity, keys in (
        ([alice], [rate]),
        ([("user", "bob")], [rate]),
        ([alice, app], [rate, "consumer_byte_rate"]),
        ([("user", None)], ["request_percentage"]),
        ([("client-id", None)], ["controller_mutation_rate"]),
        ([address], ["connection_creation_rate"]),
        ([("ip", None)], ["connection_creation_rate"]),
    ):
        yield change((entity, [(key, None) for key in keys]))
    yield found()


def elections():
    elect = m.ElectLeadersRequest

    def election(election_type, topics, version=2):
        request = elect(
            election_type=election_type,
            topic_partitions=(
                None
                if topics is None
                else [elect.TopicPartitions(topic=name, partitions=indexes) for name, indexes in topics]
            ),
            timeout_ms=5000,
        )
        return f"elect {election_type} {topics}", version, request

    for election_type in (0, 1, 5):
        yield election(election_type, None)
        yield election(election_type, [("ok", [0])])
    yield election(0, [("ok", [0, 99]), ("zz", [0]), ("", [0])])
    yield election(0, [])
    yield election(0, [("ok", [0, 0])])
    yield election(0, [("ok", [0])], version=0)
    yield election(0, None, version=0)

    reassign = m.AlterPartitionReassignmentsRequest

    def reassignment(*topics, version=1, allow=True):
        request = reassign(
            timeout_ms=5000,
            allow_replication_factor_change=allow,
            topics=[
                reassign.ReassignableTopic(
                    name=name,
                    partitions=[
                        reassign.ReassignablePartition(partition_index=index, replicas=replicas)
                        for index, replicas in partitions
                    ],
                )
                for name, partitions in topics
            ],
        )
        return f"reassign {topics}", version, request

    for replicas in ([1], None, [2], [1, 1], [], [-1]):
        yield reassignment(("ok", [(0, replicas)]))
    yield reassignment(("ok", [(99, [1])]), ("zz", [(0, [1]), (1, None)]))
    yield reassignment(("ok", [(0, [1, 2])]), allow=False)
    yield reassignment(("ok", [(0, [1]), (0, [1])]))
    yield reassignment()
    yield reassignment(("ok", [(0, [1])]), version=0)
    under_way = m.ListPartitionReassignmentsRequest
    for topics in (None, [], [("ok", [0])], [("zz", [0])], [("ok", [99])]):
        request = under_way(
            timeout_ms=5000,
            topics=(
                None
                if topics is None
                else [
                    under_way.ListPartitionReassignmentsTopics(name=name, partition_indexes=indexes)
                    for name, indexes in topics
                ]
            ),
        )
        yield f"reassignments of {topics}", 0, request


def what_is_off():
    for version in range(1, 4):
        acls = m.DescribeAclsRequest(resource_type_filter=1, pattern_type_filter=3, operation=1, permission_type=1)
        yield "acls", version, acls
    creation = m.CreateAclsRequest.AclCreation(
        resource_type=2, resource_name="x", principal="User:a", host="*", operation=3, permission_type=3
    )
    for version in range(1, 4):
        yield "create acls", version, m.CreateAclsRequest(creations=[creation, creation])
    yield "create no acls", 3, m.CreateAclsRequest(creations=[])
    found = m.DeleteAclsRequest.DeleteAclsFilter(
        resource_type_filter=1, pattern_type_filter=3, operation=1, permission_type=1
    )
    for version in range(1, 4):
        yield "delete acls", version, m.DeleteAclsRequest(filters=[found, found])
    yield "delete no acls", 3, m.DeleteAclsRequest(filters=[])
    for version in range(1, 4):
        yield "create token", version, m.CreateDelegationTokenRequest(max_lifetime_ms=1000)
        yield "describe tokens", version, m.DescribeDelegationTokenRequest(owners=None)
    for_bob = m.CreateDelegationTokenRequest(
        max_lifetime_ms=1000, owner_principal_type="User", owner_principal_name="bob"
    )
    yield "create token for another", 3, for_bob
    for version in (1, 2):
        yield "renew token", version, m.RenewDelegationTokenRequest(hmac=b"x", renew_period_ms=5)
        yield "expire token", version, m.ExpireDelegationTokenRequest(hmac=b"x", expiry_time_period_ms=5)


def voters():
    add = m.AddRaftVoterRequest
    voter_directory = b"2" * 16

    def addition(cluster_id, voter_id, directory_id, *listeners, version=1):
        request = add(
            cluster_id=cluster_id,
            timeout_ms=3000,
            voter_id=voter_id,
            voter_directory_id=directory_id,
            listeners=[add.Listener(name=name, host="localhost", port=1) for name in listeners],
        )
        return f"add {cluster_id} {voter_id} {listeners}", version, request

    yield addition("nope", 2, voter_directory, "CONTROLLER")
    yield addition(None, 2, voter_directory, "CONTROLLER", version=0)
    yield addition(None, 2, voter_directory, "CONTROLLER")
    yield addition(None, 1, voter_directory, "CONTROLLER")
    yield addition(None, 2, voter_directory)
    yield addition(None, 2, voter_directory, "X")
    yield addition(None, -1, voter_directory, "CONTROLLER")
    yield addition(None, 2, ZERO, "CONTROLLER")
    for cluster_id, voter_id, directory_id in (
        ("nope", 2, voter_directory),
        (None, 2, voter_directory),
        (None, 1, voter_directory),
        (None, -1, ZERO),
    ):
        request = m.RemoveRaftVoterRequest(cluster_id=cluster_id, voter_id=voter_id, voter_directory_id=directory_id)
        yield f"remove {cluster_id} {voter_id}", 0, request


# --- partitions ---


def partitions():
    yield create(new("data", 2), new("comp", cleanup_policy="compact"), validate_only=False)
    describe = m.DescribeProducersRequest
    for topics in ([("data", [0, 99]), ("zz", [0])], [], [("a b", [0])], [("", [0])], [("data", [0, 0])]):
        request = describe(
            topics=[describe.TopicRequest(name=name, partition_indexes=indexes) for name, indexes in topics]
        )
        yield f"producers of {topics}", 0, request

    sizes = m.DescribeLogDirsRequest

    def directories(topics, version=5):
        request = sizes(
            topics=(
                None
                if topics is None
                else [sizes.DescribableLogDirTopic(topic=name, partitions=indexes) for name, indexes in topics]
            )
        )
        return f"directories of {topics}", version, request

    for version in range(1, 6):
        yield directories([("data", [0])], version)
    for topics in (None, [], [("data", [0, 99]), ("zz", [0])], [("data", [0, 0]), ("data", [1])]):
        yield directories(topics)

    move = m.AlterReplicaLogDirsRequest
    for version in (1, 2):
        wanted = move.AlterReplicaLogDir(
            path="/nowhere", topics=[move.AlterReplicaLogDirTopic(name="data", partitions=[0])]
        )
        yield "move to nowhere", version, move(dirs=[wanted])
    yield "move nothing", 2, move(dirs=[])

    delete = m.DeleteRecordsRequest
    for version, topics in (
        *((version, [("data", [(0, 0)])]) for version in range(3)),
        (2, [("data", [(0, 1)])]),
        (2, [("data", [(0, -1)])]),
        (2, [("data", [(0, -2)])]),
        (2, [("data", [(1, 0), (99, 0)]), ("zz", [(0, 1)]), ("__cluster_metadata", [(0, 1)])]),
        (2, [("comp", [(0, 0)])]),
        (2, []),
    ):
        request = delete(
            topics=[
                delete.DeleteRecordsTopic(
                    name=name,
                    partitions=[
                        delete.DeleteRecordsPartition(partition_index=index, offset=offset) for index, offset in offsets
                    ],
                )
                for name, offsets in topics
            ],
            timeout_ms=5000,
        )
        yield f"delete records {topics}", version, request
