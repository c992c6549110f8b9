"""Share groups, streams groups and telemetry."""

from interop.oracle.asker import Asker, records, versions
from interop.oracle.story import story

MEMBER = "oracleMemberIdOracleMe"


def share_beat(group: str, member: str, epoch: int, topics: list[str] | None = None) -> dict:
    return {"groupId": group, "memberId": member, "memberEpoch": epoch, "rackId": None, "subscribedTopicNames": topics}


@story("ShareGroupHeartbeat", "ShareGroupDescribe", "ShareFetch", "ShareAcknowledge")
def life_of_a_share_group(ask: Asker) -> None:
    topic = ask.topic("t")
    topic_id = ask.topic_id(topic)
    group = f"{ask.prefix}-g"
    ask.ask("IncrementalAlterConfigs", 1, {"resources": [
        {"resourceType": 32, "resourceName": group, "configs": [{"name": "share.auto.offset.reset", "configOperation": 0, "value": "earliest"}]}
    ]})  # fmt: skip
    ask.produce(topic, records("a", "b", "c"), note=False)
    ask.on_append_result()
    ask.ask("ShareGroupHeartbeat", 1, share_beat(group, MEMBER, 0, [topic]), label="join", note=False)
    answer: dict = {}
    for _ in range(100):  # partitions are assigned when the share coordinator has made their state
        answer = ask.ask(
            "ShareGroupHeartbeat", 1, share_beat(group, MEMBER, answer.get("memberEpoch", 0), [topic]), note=False
        )
        if answer["errorCode"] == 0 and answer["assignment"] and answer["assignment"]["topicPartitions"]:
            break
        ask.on_append_result(0.1)
    epoch = answer["memberEpoch"]
    ask.note("joined", ask.normalizer.normal({**answer, "memberEpoch": "an epoch"}, "ShareGroupHeartbeat"))
    ask.ask("ShareGroupDescribe", 1, {"groupIds": [group, "no-such-group", ""], "includeAuthorizedOperations": True})
    ask.ask("ListGroups", 5, {}, own=True)

    def fetch(epoch: int, *acks: tuple[int, int, int]) -> dict:
        batches = [{"firstOffset": a, "lastOffset": b, "acknowledgeTypes": [t]} for a, b, t in acks]
        part = {"partitionIndex": 0, "partitionMaxBytes": 1 << 20, "acknowledgementBatches": batches}
        return {
            "groupId": group, "memberId": MEMBER, "shareSessionEpoch": epoch, "maxWaitMs": 500, "minBytes": 1, "maxBytes": 1 << 20,
            "maxRecords": 100, "batchSize": 100, "topics": [{"topicId": topic_id, "partitions": [part]}], "forgottenTopicsData": [],
        }  # fmt: skip

    answer = ask.ask("ShareFetch", 1, fetch(0), note=False)
    session = 1
    while answer and not any(p["records"] for r in answer.get("responses", []) for p in r["partitions"]):
        answer = ask.ask("ShareFetch", 1, fetch(session), note=False)
        session += 1
        assert session < 60, answer
    ask.note("first records", ask.normalizer.normal(answer, "ShareFetch"))
    ask.ask("ShareFetch", 1, fetch(session, (0, 0, 1)), label="accept the first")
    ask.ask("ShareFetch", 1, fetch(session), label="the epoch again")
    part = {
        "partitionIndex": 0,
        "acknowledgementBatches": [{"firstOffset": 1, "lastOffset": 1, "acknowledgeTypes": [2]}],
    }
    body = {
        "groupId": group,
        "memberId": MEMBER,
        "shareSessionEpoch": session + 1,
        "topics": [{"topicId": topic_id, "partitions": [part]}],
    }
    ask.ask("ShareAcknowledge", 1, body, label="release the second")
    ask.ask("ShareFetch", 1, fetch(session + 2), label="it comes again")
    ask.ask("ShareAcknowledge", 1, {**body, "shareSessionEpoch": session + 9}, label="wrong epoch")
    wish = [
        {"groupId": group, "topics": [{"topicName": topic, "partitions": [0, 7]}]},
        {"groupId": "no-such-group", "topics": None},
    ]
    for version in versions("DescribeShareGroupOffsets"):
        ask.ask("DescribeShareGroupOffsets", version, {"groups": wish})
    offsets = [{"topicName": topic, "partitions": [{"partitionIndex": 0, "startOffset": 1}]}]
    ask.ask("AlterShareGroupOffsets", 0, {"groupId": group, "topics": offsets}, label="not empty")
    ask.ask("ShareGroupHeartbeat", 1, share_beat(group, MEMBER, epoch + 5), label="epoch ahead")
    ask.ask("ShareGroupHeartbeat", 1, share_beat(group, "nobody", 2), label="unknown member")
    ask.ask("ShareGroupHeartbeat", 1, share_beat(f"{group}-no", MEMBER, 2), label="unknown group")
    ask.ask("ShareGroupHeartbeat", 1, share_beat("", MEMBER, 0, [topic]), label="empty group")
    ask.ask("ShareGroupHeartbeat", 1, share_beat(group, "", 0, [topic]), label="empty member")
    ask.ask("ShareGroupHeartbeat", 1, share_beat(group, MEMBER, 0, None), label="no topics")
    ask.ask("DeleteGroups", 2, {"groupsNames": [group]}, label="not empty")
    ask.ask("ShareGroupHeartbeat", 1, share_beat(group, MEMBER, -1), label="leave")
    ask.ask("AlterShareGroupOffsets", 0, {"groupId": group, "topics": offsets}, label="empty now")
    ask.ask(
        "DeleteShareGroupOffsets", 0, {"groupId": group, "topics": [{"topicName": topic}, {"topicName": "no-such"}]}
    )
    ask.ask("DeleteGroups", 2, {"groupsNames": [group]})


@story("StreamsGroupHeartbeat", "StreamsGroupDescribe")
def streams_groups(ask: Asker) -> None:
    topic = ask.topic("t", 2)
    group = f"{ask.prefix}-g"
    subtopology = {
        "subtopologyId": "0", "sourceTopics": [topic], "sourceTopicRegex": [], "stateChangelogTopics": [], "repartitionSinkTopics": [],
        "repartitionSourceTopics": [], "copartitionGroups": [],
    }  # fmt: skip
    body = {
        "groupId": group, "memberId": MEMBER, "memberEpoch": 0, "endpointInformationEpoch": 0, "instanceId": None, "rackId": None,
        "rebalanceTimeoutMs": 5000, "topology": {"epoch": 0, "subtopologies": [subtopology]}, "activeTasks": [], "standbyTasks": [],
        "warmupTasks": [], "processId": "process", "userEndpoint": None, "clientTags": [], "taskOffsets": None, "taskEndOffsets": None,
        "shutdownApplication": False,
    }  # fmt: skip
    answer = ask.ask("StreamsGroupHeartbeat", 0, body, label="join")
    later = {
        **body, "memberEpoch": answer.get("memberEpoch", 1), "topology": None, "activeTasks": None, "standbyTasks": None,
        "warmupTasks": None, "processId": None, "clientTags": None, "rebalanceTimeoutMs": -1,
    }  # fmt: skip
    ask.ask("StreamsGroupHeartbeat", 0, later, label="later")
    ask.ask("StreamsGroupDescribe", 0, {"groupIds": [group, "no-such-group"], "includeAuthorizedOperations": True})
    ask.ask("StreamsGroupHeartbeat", 0, {**later, "memberEpoch": 99}, label="epoch ahead")
    ask.ask("StreamsGroupHeartbeat", 0, {**later, "memberId": "nobody"}, label="unknown member")
    ask.ask("StreamsGroupHeartbeat", 0, {**body, "groupId": ""}, label="empty group")
    ask.ask("StreamsGroupHeartbeat", 0, {**body, "memberId": ""}, label="empty member")
    ask.ask("StreamsGroupHeartbeat", 0, {**later, "memberEpoch": -1}, label="leave")
    ask.ask("DeleteGroups", 2, {"groupsNames": [group]})


@story("GetTelemetrySubscriptions", "PushTelemetry")
def telemetry(ask: Asker) -> None:
    ask.ask("GetTelemetrySubscriptions", 0, {"clientInstanceId": "AAAAAAAAAAAAAAAAAAAAAA"})
