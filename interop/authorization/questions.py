"""What each principal asks: one request or more of every API, about what it may and what it may not."""

import base64
from collections.abc import Iterator
from typing import Any, NamedTuple

from interop.authorization.principals import Names, one_acl
from interop.oracle.asker import records

Json = dict[str, Any]
NO_ID = "a3dpcmUtbm8tc3VjaC1pZA"
TOPIC, BROKER, LOGGER, METRICS, GROUP = 2, 4, 8, 16, 32


class Question(NamedTuple):
    """A request body for all versions of an API from ``lowest`` to ``highest``."""

    api: str
    label: str
    body: Json
    lowest: int = 0
    highest: int = 99


NO_TOKEN = "AAAA"
NETWORKS = (
    "10.0.0.0/8", "10.1.2.3/8", "::/0", "2001:db8::/+32", "10.0.0.0/33", "10.0.0.256/8", "10.0.0/8", "10.0.0.0/",
    "host/8", "10.0.0.0/8/8", "::1/", "::1/129", "::1/-1", "::1/99999999999", "a:b/8", "::ffff:10.0.0.1/96",
    "[::1]/64", "*/8",
)  # fmt: skip


class Prepared(NamedTuple):
    """What exists: the ids of topics by name, and the HMACs of the principal's delegation token and of the admin's."""

    ids: dict[str, str]
    own_hmac: str = NO_TOKEN
    admins_hmac: str = NO_TOKEN

    def named(self, name: str, **more: Any) -> Json:
        """A topic in a request, by name and by id."""
        topic_id = self.ids.get(name, NO_ID)
        return {"name": name, "topic": name, "topicId": topic_id, **more}


def questions(names: Names, topics: Prepared) -> Iterator[Question]:
    """Everything, in an order in which what is deleted comes last."""
    yield from _data(names, topics)
    yield from _groups(names, topics)
    yield from _transactions(names, topics)
    yield from _modern_groups(names)
    yield from _configs(names)
    yield from _cluster(names)
    yield from _acls(names)
    yield from _topics(names)
    yield from _tokens(names, topics)
    yield from _deletions(names, topics)


def _fields(entry: Json, *keys: str) -> Json:
    return {key: entry[key] for key in keys}


def _data(names: Names, topics: Prepared) -> Iterator[Question]:
    for name in (names.topic, names.hidden, names.missing, names.hidden_missing):
        topic = topics.named(name)
        batch = base64.b64encode(records("a")).decode()
        produced = {**_fields(topic, "name", "topicId"), "partitionData": [{"index": 0, "records": batch}]}
        yield Question("Produce", name, {"acks": -1, "timeoutMs": 5000, "topicData": [produced]}, 3)
        fetched = {
            **_fields(topic, "topic", "topicId"),
            "partitions": [{"partition": 0, "currentLeaderEpoch": -1, "fetchOffset": 0, "partitionMaxBytes": 1}],
        }
        body = {"replicaId": -1, "maxWaitMs": 0, "minBytes": 0, "maxBytes": 1, "sessionEpoch": -1, "topics": [fetched]}
        yield Question("Fetch", name, body, 4)
        follower = {**body, "replicaId": 7, "replicaState": {"replicaId": 7, "replicaEpoch": 1}}
        yield Question("Fetch", f"{name} as a follower", follower, 4)
        listed = {"name": name, "partitions": [{"partitionIndex": 0, "timestamp": -2}]}
        yield Question("ListOffsets", name, {"replicaId": -1, "topics": [listed]}, 1)
        asked = {
            "topics": [{"name": name}],
            "allowAutoTopicCreation": False,
            "includeTopicAuthorizedOperations": True,
        }
        yield Question("Metadata", name, {**asked, "includeClusterAuthorizedOperations": True}, 4)
        by_id = {"topics": [{"name": None, "topicId": topic["topicId"]}], "includeTopicAuthorizedOperations": True}
        yield Question("Metadata", f"{name} by id", by_id, 12)
        yield Question("DescribeTopicPartitions", name, {"topics": [{"name": name}], "responsePartitionLimit": 10})
        epochs = [{"partition": 0, "currentLeaderEpoch": -1, "leaderEpoch": 0}]
        wanted = {"replicaId": -1, "topics": [{"topic": name, "partitions": epochs}]}
        yield Question("OffsetForLeaderEpoch", name, wanted)
        yield Question("DescribeProducers", name, {"topics": [{"name": name, "partitionIndexes": [0]}]})
        emptied = [{"name": name, "partitions": [{"partitionIndex": 0, "offset": 0}]}]
        yield Question("DeleteRecords", name, {"topics": emptied, "timeoutMs": 5000})
    yield Question("Metadata", "everything", {"topics": None, "includeTopicAuthorizedOperations": True}, 1)


def _groups(names: Names, topics: Prepared) -> Iterator[Question]:
    asked = [topics.named(name) for name in (names.topic, names.hidden, names.missing)]
    for group in (names.group, f"x-{names.group}"):
        committed = [
            {
                **_fields(topic, "name", "topicId"),
                "partitions": [{"partitionIndex": 0, "committedOffset": 1, "committedMetadata": ""}],
            }
            for topic in asked
        ]
        body = {"groupId": group, "generationIdOrMemberEpoch": -1, "memberId": "", "topics": committed}
        yield Question("OffsetCommit", group, body)
        wanted = [{**_fields(topic, "name", "topicId"), "partitionIndexes": [0]} for topic in asked]
        several = [{"groupId": group, "topics": wanted}, {"groupId": f"{group}-2", "topics": None}]
        one = {"groupId": group, "topics": [{"name": each["name"], "partitionIndexes": [0]} for each in wanted]}
        yield Question("OffsetFetch", group, one, 1, 7)
        yield Question("OffsetFetch", f"{group} everything", {"groupId": group, "topics": None}, 2, 7)
        yield Question("OffsetFetch", group, {"groups": several}, 8)
        yield Question("OffsetFetch", f"{group} everything", {"groups": [{"groupId": group, "topics": None}]}, 8)
        protocols = [{"name": "range", "metadata": ""}]
        join = {"groupId": group, "sessionTimeoutMs": 10, "rebalanceTimeoutMs": 10, "protocolType": "consumer"}
        yield Question("JoinGroup", group, {**join, "memberId": "unknown", "protocols": protocols})
        member = {"groupId": group, "generationId": 1, "memberId": "unknown"}
        yield Question("SyncGroup", group, {**member, "protocolType": "consumer", "protocolName": "range"})
        yield Question("Heartbeat", group, member)
        yield Question("LeaveGroup", group, {"groupId": group, "members": [{"memberId": "unknown"}]}, 3)
        yield Question("LeaveGroup", group, {"groupId": group, "memberId": "unknown"}, 0, 2)
        yield Question("DescribeGroups", group, {"groups": [group], "includeAuthorizedOperations": True})
        yield Question("FindCoordinator", group, {"key": group, "keyType": 0}, 0, 3)
        yield Question("FindCoordinator", group, {"keyType": 0, "coordinatorKeys": [group]}, 4)
    yield Question("ListGroups", "all", {})


def _transactions(names: Names, topics: Prepared) -> Iterator[Question]:
    producer = {"producerId": 4711, "producerEpoch": 0}
    asked = [topics.named(name) for name in (names.topic, names.hidden)]
    for transaction in (names.transaction, f"x-{names.transaction}"):
        one = {"transactionalId": transaction, **producer}
        yield Question("FindCoordinator", transaction, {"key": transaction, "keyType": 1}, 1, 3)
        yield Question("FindCoordinator", transaction, {"keyType": 1, "coordinatorKeys": [transaction]}, 4)
        added = [{"name": topic["name"], "partitions": [0]} for topic in asked]
        old = {
            "v3AndBelowTransactionalId": transaction,
            "v3AndBelowProducerId": 4711,
            "v3AndBelowProducerEpoch": 0,
            "v3AndBelowTopics": added,
        }
        yield Question("AddPartitionsToTxn", transaction, old, 0, 3)
        yield Question("AddPartitionsToTxn", transaction, {"transactions": [{**one, "topics": added}]}, 4)
        yield Question("AddOffsetsToTxn", transaction, {**one, "groupId": names.group})
        yield Question("AddOffsetsToTxn", f"{transaction} hidden group", {**one, "groupId": f"x-{names.group}"})
        yield Question("EndTxn", transaction, {**one, "committed": False})
        offsets = [
            {
                "name": topic["name"],
                "partitions": [{"partitionIndex": 0, "committedOffset": 1, "committedMetadata": ""}],
            }
            for topic in asked
        ]
        committed = {**one, "groupId": names.group, "generationIdOrMemberEpoch": -1, "memberId": "", "topics": offsets}
        yield Question("TxnOffsetCommit", transaction, committed)
        yield Question("DescribeTransactions", transaction, {"transactionalIds": [transaction]})
        batch = records("a", transactional=True, producer_id=4711, producer_epoch=0, base_sequence=0)
        encoded = base64.b64encode(batch).decode()
        produced = [
            {**_fields(topic, "name", "topicId"), "partitionData": [{"index": 0, "records": encoded}]}
            for topic in asked
        ]
        body = {"acks": -1, "timeoutMs": 5000, "transactionalId": transaction, "topicData": produced}
        yield Question("Produce", f"{transaction} transactional", body, 3)
    unknown = {"transactionTimeoutMs": 60000, "producerId": 4711, "producerEpoch": 0}
    yield Question("InitProducerId", "of another", {**unknown, "transactionalId": f"x-{names.transaction}"}, 3)
    fresh = {"transactionTimeoutMs": 60000, "producerId": -1, "producerEpoch": -1}
    yield Question("InitProducerId", "idempotent", {**fresh, "transactionalId": None})
    yield Question(
        "InitProducerId", "too long", {**fresh, "transactionalId": names.transaction, "transactionTimeoutMs": -1}
    )
    yield Question("ListTransactions", "all", {})
    marked = [{"name": names.missing, "partitionIndexes": [0]}]
    marker = {**producer, "transactionResult": False, "topics": marked, "coordinatorEpoch": 0}
    yield Question("WriteTxnMarkers", "missing", {"markers": [marker]}, 1)


def _modern_groups(names: Names) -> Iterator[Question]:
    for group in (names.group, f"x-{names.group}"):
        member = {"groupId": group, "memberId": "unknown", "memberEpoch": 7}
        for topic in (names.topic, names.hidden):
            beat = {**member, "subscribedTopicNames": [topic], "topicPartitions": [], "rebalanceTimeoutMs": 1000}
            yield Question("ConsumerGroupHeartbeat", f"{group} {topic}", beat)
            shared = {**member, "subscribedTopicNames": [topic]}
            yield Question("ShareGroupHeartbeat", f"{group} {topic}", shared, 1)
        yield Question("ConsumerGroupDescribe", group, {"groupIds": [group], "includeAuthorizedOperations": True})
        yield Question("ShareGroupDescribe", group, {"groupIds": [group], "includeAuthorizedOperations": True}, 1)
        yield Question("StreamsGroupDescribe", group, {"groupIds": [group], "includeAuthorizedOperations": True})
        offsets = {"groupId": group, "topics": [{"topicName": names.topic, "partitions": [0]}]}
        yield Question("DescribeShareGroupOffsets", group, {"groups": [offsets]})


def _configs(names: Names) -> Iterator[Question]:
    resources = (
        (TOPIC, names.topic),
        (TOPIC, names.hidden),
        (TOPIC, names.missing),
        (TOPIC, names.hidden_missing),
        (BROKER, "1"),
        (BROKER, ""),
        (LOGGER, "1"),
        (METRICS, f"{names.principal}-m"),
        (GROUP, names.group),
        (GROUP, f"x-{names.group}"),
    )
    for kind, name in resources:
        label = f"{kind} {name!r}"
        keys = {
            BROKER: ["num.partitions"],
            LOGGER: ["no.such.logger"],
            GROUP: ["consumer.session.timeout.ms"],
        }.get(kind)
        wanted = {"resourceType": kind, "resourceName": name, "configurationKeys": keys}
        yield Question("DescribeConfigs", label, {"resources": [wanted], "includeSynonyms": True}, 1)
        change = {"name": "no.such.config", "value": "1", "configOperation": 0}
        altered = {"resourceType": kind, "resourceName": name, "configs": []}
        if kind != LOGGER:
            yield Question("AlterConfigs", label, {"resources": [altered], "validateOnly": True})
        changed = {**altered, "configs": [change] if kind in (TOPIC, GROUP) else []}
        yield Question("IncrementalAlterConfigs", label, {"resources": [changed], "validateOnly": True})
    yield Question("ListConfigResources", "metrics", {"resourceTypes": [METRICS]})


def _cluster(names: Names) -> Iterator[Question]:
    user = {"entityType": "user", "entityName": names.unknown_user}
    yield Question("DescribeCluster", "operations", {"includeClusterAuthorizedOperations": True, "endpointType": 1})
    yield Question("DescribeLogDirs", "topic", {"topics": [{"topic": names.topic, "partitions": [0]}]}, 1)
    quota = {"entity": [user], "ops": [{"key": "producer_byte_rate", "value": 1.0, "remove": False}]}
    yield Question("AlterClientQuotas", "user", {"entries": [quota], "validateOnly": True})
    wanted = {"entityType": "user", "matchType": 0, "match": names.unknown_user}
    yield Question("DescribeClientQuotas", "user", {"components": [wanted], "strict": True})
    yield Question("DescribeUserScramCredentials", "user", {"users": [{"name": names.unknown_user}]})
    yield Question("AlterUserScramCredentials", "user", {"deletions": [{"name": names.unknown_user, "mechanism": 1}]})
    partition = {"partitionIndex": 0}
    quorum = [{"topicName": "__cluster_metadata", "partitions": [partition]}]
    yield Question("DescribeQuorum", "metadata", {"topics": quorum})
    update = {"feature": "no.such.feature", "maxVersionLevel": 1, "upgradeType": 1, "allowDowngrade": False}
    yield Question("UpdateFeatures", "unknown", {"featureUpdates": [update], "timeoutMs": 5000, "validateOnly": True})
    yield Question("UnregisterBroker", "unknown", {"brokerId": 999})
    voter = {"clusterId": "other", "voterId": 7, "voterDirectoryId": NO_ID}
    yield Question("AddRaftVoter", "of another cluster", {**voter, "timeoutMs": 5000, "listeners": []})
    yield Question("RemoveRaftVoter", "of another cluster", voter)
    for name in (names.topic, names.hidden):
        elected = [{"topic": name, "partitions": [0]}]
        yield Question("ElectLeaders", name, {"electionType": 0, "topicPartitions": elected, "timeoutMs": 5000})
        moved = [{"name": name, "partitions": [{"partitionIndex": 0, "replicas": None}]}]
        yield Question("AlterPartitionReassignments", name, {"topics": moved, "timeoutMs": 5000})
        listed = [{"name": name, "partitionIndexes": [0]}]
        yield Question("ListPartitionReassignments", name, {"topics": listed, "timeoutMs": 5000})
        path = [{"path": "/nowhere", "topics": [{"name": name, "partitions": [0]}]}]
        yield Question("AlterReplicaLogDirs", name, {"dirs": path}, 1)
    yield Question("GetTelemetrySubscriptions", "new", {"clientInstanceId": "AAAAAAAAAAAAAAAAAAAAAA"})


def _acls(names: Names) -> Iterator[Question]:
    principal = f"User:{names.unknown_user}"
    creation = one_acl(names.unknown_user, names.topic)
    yield Question("CreateAcls", "one", {"creations": [creation]}, 1)
    for field in ("resourceType", "resourcePatternType", "operation", "permissionType"):
        yield Question("CreateAcls", f"any {field}", {"creations": [{**creation, field: 1}, creation]}, 1)
        yield Question("CreateAcls", f"no such {field}", {"creations": [{**creation, field: 99}, creation]}, 1)
    odd = (
        {"resourceType": 4},
        {"resourceName": ""},
        {"principal": "alice"},
        {"principal": ""},
        {"host": ""},
        {"host": "no.such.host"},
        *({"host": host} for host in NETWORKS),
        {"resourcePatternType": 4, "resourceName": "*"},
    )
    yield Question("CreateAcls", "odd", {"creations": [*({**creation, **each} for each in odd), creation]}, 1)
    wanted = {
        "resourceTypeFilter": 1,
        "resourceNameFilter": None,
        "patternTypeFilter": 1,
        "principalFilter": principal,
        "hostFilter": None,
        "operation": 1,
        "permissionType": 1,
    }
    yield Question("DescribeAcls", "of an unknown user", wanted, 1)
    yield Question("DeleteAcls", "of an unknown user", {"filters": [wanted, {**wanted, "operation": 77}]}, 1)
    yield Question("DescribeAcls", "of an unknown user, deleted", wanted, 1)


def _topics(names: Names) -> Iterator[Question]:
    for name in (names.topic, names.missing, names.hidden_missing):
        wanted = {"name": name, "numPartitions": 1, "replicationFactor": 1}
        yield Question("CreateTopics", name, {"topics": [wanted], "timeoutMs": 5000, "validateOnly": True})
    for name in (names.topic, names.hidden, names.missing, names.hidden_missing):
        body = {"topics": [{"name": name, "count": 3, "assignments": None}], "timeoutMs": 5000, "validateOnly": True}
        yield Question("CreatePartitions", name, body)


def _tokens(names: Names, prepared: Prepared) -> Iterator[Question]:
    """First what there is, then what changes it: Apache's brokers apply a change a moment after it was answered."""
    own, unknown = ({"principalType": "User", "principalName": name} for name in (names.principal, names.unknown_user))
    for label, owners in (("all", None), ("none", []), ("own", [own]), ("of an unknown user", [unknown])):
        yield Question("DescribeDelegationToken", label, {"owners": owners})
    for label, hmac in (("own", prepared.own_hmac), ("the admin's", prepared.admins_hmac), ("no", NO_TOKEN)):
        yield Question("RenewDelegationToken", label, {"hmac": hmac, "renewPeriodMs": 3_000_000})
        yield Question("ExpireDelegationToken", label, {"hmac": hmac, "expiryTimePeriodMs": 3_000_000})
    created = {"renewers": [], "maxLifetimeMs": 3_000_000}
    owner = {"ownerPrincipalType": "User", "ownerPrincipalName": names.unknown_user}
    yield Question("CreateDelegationToken", "own", created)
    yield Question("CreateDelegationToken", "for an unknown user", {**created, **owner}, 3)
    renewers = [{"principalType": "Group", "principalName": "g"}]
    yield Question("CreateDelegationToken", "group as renewer", {**created, "renewers": renewers})


def _deletions(names: Names, topics: Prepared) -> Iterator[Question]:
    for name in (names.topic, names.hidden, names.missing):
        deleted = [{"name": name, "partitions": [{"partitionIndex": 0}]}]
        for group in (names.group, f"x-{names.group}"):
            yield Question("OffsetDelete", f"{group} {name}", {"groupId": group, "topics": deleted})
    for group in (names.group, f"x-{names.group}"):
        yield Question("DeleteGroups", group, {"groupsNames": [group]})
    for name in (names.missing, names.hidden_missing):
        yield Question("DeleteTopics", name, {"topicNames": [name], "timeoutMs": 5000}, 1, 5)
        yield Question("DeleteTopics", name, {"topics": [{"name": name}], "timeoutMs": 5000}, 6)
    for name in (names.topic, names.hidden):
        by_id = [{"name": None, "topicId": topics.named(name)["topicId"]}]
        yield Question("DeleteTopics", f"{name} by id", {"topics": by_id, "timeoutMs": 5000}, 6)
        yield Question("DeleteTopics", name, {"topicNames": [name], "timeoutMs": 5000}, 1, 5)
