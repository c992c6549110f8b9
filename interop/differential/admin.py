"""Every API whose requests can be drawn from its spec alone, with values that fit the names of its fields."""

from typing import Any

from interop.advertised import KEYS
from interop.differential.operations import Json
from interop.differential.world import TOPICS, World, reference
from interop.oracle.stories.groups import subscription
from kwire.wire import codec
from kwire.wire.spec import Field

# How often each is drawn. What is left out here is drawn with more sense elsewhere, or would change the whole cluster.
APIS: dict[str, int] = {
    "CreateTopics": 8, "DeleteTopics": 5, "CreatePartitions": 6, "Metadata": 8, "DescribeTopicPartitions": 4,
    "DescribeConfigs": 7, "AlterConfigs": 6, "IncrementalAlterConfigs": 12, "ListConfigResources": 2,
    "DescribeClientQuotas": 4, "AlterClientQuotas": 6, "DescribeUserScramCredentials": 2,
    "AlterUserScramCredentials": 3, "ElectLeaders": 2, "AlterPartitionReassignments": 3,
    "ListPartitionReassignments": 2, "DescribeLogDirs": 2, "DescribeCluster": 1,
    "DescribeAcls": 1, "CreateAcls": 1, "DeleteAcls": 1, "DescribeDelegationToken": 1, "CreateDelegationToken": 1,
    "RenewDelegationToken": 1, "ExpireDelegationToken": 1, "FindCoordinator": 2, "ListGroups": 1, "ListTransactions": 1,
    "DescribeGroups": 1, "DeleteGroups": 1, "OffsetCommit": 3, "OffsetFetch": 3, "OffsetDelete": 2, "DeleteRecords": 2,
    "DescribeProducers": 1, "DescribeTransactions": 1, "ListOffsets": 2, "OffsetForLeaderEpoch": 1,
    "SaslHandshake": 1, "AlterReplicaLogDirs": 1, "Heartbeat": 1, "LeaveGroup": 1, "SyncGroup": 1,
    "JoinGroup": 2, "TxnOffsetCommit": 1, "AddOffsetsToTxn": 1, "EndTxn": 1, "WriteTxnMarkers": 1, "InitProducerId": 2,
}  # fmt: skip
TOPIC_CONFIGS = {
    "cleanup.policy": ("delete", "compact", "", "nonsense", "compact,delete", None),
    "retention.ms": ("-1", "1000000", "-2", "", "x", None),
    "min.insync.replicas": ("1", "0", "5"),
    "compression.type": ("gzip", "none", "zstd", "producer"),
    "compression.gzip.level": ("-1", "9", "10"),
    "segment.bytes": ("1048576", "1", "2147483648"),
    "leader.replication.throttled.replicas": ("*", "0:1", "x", ""),
    "unclean.leader.election.enable": ("true", "TRUE", "maybe"),
    "message.timestamp.type": ("LogAppendTime", "logappendtime"),
    "no.such.config": ("1",),
    "remote.storage.enable": ("false", "true"),
    "local.retention.ms": ("-2", "100", "-3"),
    "max.message.bytes": ("1000", "-1"),
    " retention.bytes": ("5",),
}
OTHER_CONFIGS = {
    16: {"interval.ms": ("1000", "5", "x"), "metrics": ("a,b", "", None), "match": ("client_id=x", "x", "")},
    32: {"consumer.session.timeout.ms": ("45000", "1", "x"), "consumer.heartbeat.interval.ms": ("5000",),
         "share.session.timeout.ms": ("45000", "x"), "nonsense": ("1",)},
    4: {"log.cleaner.threads": ("1", "2", "3", "0", None), "log.retention.ms": ("100000", "x"),
        "message.max.bytes": ("1000012", "-1"), "log.local.retention.ms": ("100", "-2"), "nonsense": ("1",),
        "broker.id": ("1",), "advertised.listeners": ("x",), "log.cleanup.policy": ("delete", "x")},
}  # fmt: skip
NUMBERS: dict[str, tuple[Any, ...]] = {
    "partitionIndex": (0, 0, 1, 2, 7, -1), "partitions": (0, 1, 7), "partitionIndexes": (0, 1, 7),
    "numPartitions": (1, 2, -1, 0), "replicationFactor": (1, 1, -1, 2, 0), "brokerIds": (1, 1, 2, -1),
    "brokers": (1, 1, 2), "replicas": (1, 1, 2), "count": (2, 3, 4, 1, 0, -1), "timeoutMs": (1000,),
    "resourceType": (2, 2, 2, 16, 32, 4, 0, 1, 99), "configOperation": (0, 0, 0, 1, 2, 3, 9),
    "keyType": (0, 0, 1, 2, 5), "electionType": (0, 1, 7), "mechanism": (1, 2, 0, 9), "iterations": (4096, 8192, 1),
    "matchType": (0, 1, 2, 5), "timestamp": (-1, -2, -3, 0), "generationId": (-1, 0, 1), "memberEpoch": (-1, 0),
    "generationIdOrMemberEpoch": (-1, -1, 1), "committedOffset": (5, 0, -1), "sessionTimeoutMs": (60_000, 1),
    "rebalanceTimeoutMs": (500,), "transactionTimeoutMs": (60_000, 0), "producerId": (-1, 7), "producerEpoch": (-1, 0),
    "currentLeaderEpoch": (-1, 0, 1), "leaderEpoch": (0, 1), "offset": (0, 1, -1), "coordinatorEpoch": (0,),
    "responsePartitionLimit": (2000, 1, 0), "patternType": (3, 4, 1), "patternTypeFilter": (3, 1),
    "retentionTimeMs": (-1,), "replicaId": (-1,), "durationFilter": (-1, 0), "transactionVersion": (0, 1),
    "resourceTypeFilter": (2, 1), "permissionType": (2, 3), "operation": (2, 3), "permissionTypeFilter": (1,),
    "isolationLevel": (0, 1), "resourceTypes": (2, 4, 16, 32, 99), "endpointType": (1, 1, 2, 0),
}  # fmt: skip
TEXTS: dict[str, tuple[Any, ...]] = {
    "groupId": ("~g0", "~g0", "~g1", ""), "groupsNames": ("~g0", "~g1", ""), "groups": ("~g0", "~g1"),
    "memberId": ("", "", "m"), "groupInstanceId": (None, None, "i0"), "transactionalId": ("~x0", "~x0", None, ""),
    "transactionalIds": ("~x0", "~x1"), "coordinatorKeys": ("~g0", "~x0", ""), "key": ("~g0", "~x0", ""),
    "protocolType": ("consumer", "consumer", ""), "reason": (None, "why"), "metadata": ("",),
    "committedMetadata": ("", "m", None), "entityType": ("client-id", "user", "ip", "nonsense"),
    "entityName": ("~e0", "~e0", "~e1"), "match": ("~e0", None), "clientSoftwareName": ("a", ""),
    "clientSoftwareVersion": ("1",), "statesFilter": ("Stable", "Empty"), "typesFilter": ("classic",),
    "stateFilters": ("Ongoing", "Empty"), "transactionalIdPattern": (None,), "path": ("/nowhere",),
    "principal": ("User:a",), "host": ("*",), "principalType": ("User",), "principalName": ("a",),
}  # fmt: skip
SET, DELETE = 0, 1
QUOTAS = {"producer_byte_rate": (1e6,), "consumer_byte_rate": (1e6, -1.0), "request_percentage": (50.0,), "x": (1.0,),
          "connection_creation_rate": (5.0, 2.5), "controller_mutation_rate": (10.0,)}  # fmt: skip
SUBSCRIPTIONS = (subscription("t0"), subscription("t0", "t1"))


class AdminLife:
    """Draws requests of any API from its fields."""

    def __init__(self, world: World) -> None:
        self.world = world

    def step(self) -> None:
        api = self.world.weighted(APIS)
        version = self.world.version(api)
        body = self._struct(api, codec.request_class(KEYS[api]).FIELDS, version)
        if api == "CreateAcls":
            for creation in body["creations"] or ():
                creation |= {"resourceType": 2, "operation": 3, "permissionType": 3}
        if api == "JoinGroup":
            body["memberId"] = reference("id.any", "") if self.world.chance(0.5) else ""
        if api in ("AlterConfigs", "IncrementalAlterConfigs", "DescribeConfigs"):
            self._fit_configs(body, altering=api != "DescribeConfigs")
        # A connection of its own where one request may keep the others waiting.
        on = "joiner" if api in ("JoinGroup", "SyncGroup") else "admin"
        self.world.ask(on, api, body, version=version)

    def _struct(self, api: str, fields: tuple[Field, ...], version: int) -> Json:
        return {
            field.json: self._field(api, field, version)
            for field in fields
            if version in field.versions and not (field.tag is not None and self.world.chance(0.9))
        }

    def _field(self, api: str, field: Field, version: int) -> Any:
        world = self.world
        if field.type != "array":
            return self._value(api, field, field.type, version)
        if version in field.nullable and world.chance(0.15):
            return None
        if (api, field.json) == ("CreateTopics", "assignments") and world.chance(0.8):
            return []
        count = world.weighted({0: 1, 1: 12, 2: 6, 3: 1})
        if (api, field.json) == ("CreatePartitions", "assignments"):
            count = 1
            if world.chance(0.7):
                return None
        return [self._value(api, field, field.item, version) for _ in range(count)]

    def _value(self, api: str, field: Field, kind: str, version: int) -> Any:  # noqa: PLR0911 - one type a line
        world = self.world
        match kind:
            case "struct":
                assert field.struct is not None
                return self._struct(api, field.struct.fields, version)
            case "bool":
                return world.chance(0.3) if field.json != "allowAutoTopicCreation" else world.chance(0.1)
            case "uuid":
                return {"$id": world.topic()} if world.chance(0.5) else "AAAAAAAAAAAAAAAAAAAAAA"
            case "float64":
                return world.one(1e6, 2.5)
            case "bytes" if api == "JoinGroup":
                # Apache Kafka never answers a join whose subscription has an impossible count of topics.
                return world.one("", *SUBSCRIPTIONS)
            case "bytes":
                return world.one("", "c2FsdHNhbHQ=")
            case "string":
                return self._text(api, field, version)
        value = world.random.choice(NUMBERS.get(field.json, (0, 1, -1)))
        if field.type != "array" and field.has_default and world.chance(0.3):
            return field.default
        return value

    def _text(self, api: str, field: Field, version: int) -> Any:
        world = self.world
        if api in ("DescribeClientQuotas", "AlterClientQuotas") and field.json == "key":
            return world.random.choice(list(QUOTAS))
        if api == "AlterUserScramCredentials" or (field.json == "name" and api == "DescribeUserScramCredentials"):
            return world.one("~u0", "~u1")
        if field.json in TEXTS:
            value = world.random.choice(TEXTS[field.json])
            return value if value is not None or version in field.nullable else ""
        if version in field.nullable and world.chance(0.1):
            return None
        return world.one(*TOPICS, *TOPICS, "~new", "~a.b", "~a_b", "__consumer_offsets" if api == "Metadata" else "~t0")

    def _fit_configs(self, body: Json, *, altering: bool) -> None:
        """Names and values of configs that belong to the type of their resource, mostly."""
        world = self.world
        for resource in body["resources"] or ():
            kind = resource["resourceType"]
            names = {4: "1", 32: "~g0", 16: "~c0"}
            if world.chance(0.9):
                resource["resourceName"] = names.get(kind) or world.topic()
            known = OTHER_CONFIGS.get(kind, TOPIC_CONFIGS)
            if not altering:
                # All keys of a broker are compared elsewhere; its addresses and folders differ.
                keys = world.some(list(known)) or [next(iter(known))]
                resource["configurationKeys"] = keys if kind == 4 or world.chance(0.6) else None
                continue
            for config in resource["configs"] or ():
                config["name"] = world.random.choice(list(known))
                config["value"] = world.random.choice(known[config["name"]])
            # Of several operations that are refused Apache Kafka names the first in the order of a hash table.
            for config in (resource["configs"] or ())[1:]:
                if config.get("configOperation", SET) not in (SET, DELETE):
                    config["configOperation"] = SET
            if kind in (0, 4):
                body["validateOnly"] = True
