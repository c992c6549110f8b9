"""Share groups, streams groups and telemetry."""

from interop.oracle.asker import Asker
from interop.oracle.story import story

MEMBER = "oracleMemberIdOracleMe"


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
    ask.ask("StreamsGroupHeartbeat", 0, {**later, "memberId": "unknown-id"}, label="unknown member")
    ask.ask("StreamsGroupHeartbeat", 0, {**body, "groupId": ""}, label="empty group")
    ask.ask("StreamsGroupHeartbeat", 0, {**body, "memberId": ""}, label="empty member")
    ask.ask("StreamsGroupHeartbeat", 0, {**later, "memberEpoch": -1}, label="leave")
    ask.ask("DeleteGroups", 2, {"groupsNames": [group]})


@story("GetTelemetrySubscriptions", "PushTelemetry")
def telemetry(ask: Asker) -> None:
    ask.ask("GetTelemetrySubscriptions", 0, {"clientInstanceId": "AAAAAAAAAAAAAAAAAAAAAA"})
