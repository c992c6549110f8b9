"""Requests of groups that repeat topics, partitions and members, and join metadata over the record size."""

from interop.oracle.asker import Asker
from interop.oracle.stories.groups import b64, commit, join, joined
from interop.oracle.story import story

UNKNOWN_ID = "AAAAAAAAAAAAAAAAAAAAbg"


def offsets(*partitions: tuple[int, int]) -> list[dict]:
    return [
        {"partitionIndex": index, "committedOffset": offset, "committedLeaderEpoch": -1, "committedMetadata": ""}
        for index, offset in partitions
    ]


@story("OffsetCommit", "OffsetFetch", "DescribeGroups", "DeleteGroups")
def offset_commits_that_repeat(ask: Asker) -> None:
    """Also commits to the group without a name: stories that run at the same time share it, so no other story does."""
    topic = ask.topic("t", 2)
    topic_id = ask.topic_id(topic)

    def known(*partitions: tuple[int, int]) -> dict:
        return {"name": topic, "topicId": topic_id, "partitions": offsets(*partitions)}

    def unknown(*partitions: tuple[int, int]) -> dict:
        return {"name": "no-such", "topicId": UNKNOWN_ID, "partitions": offsets(*partitions)}

    for version in (2, 8, 9, 10):
        group = f"{ask.prefix}-{version}"
        body = commit(group)
        for label, topics in {
            "no partitions": [known()],
            "none, then one": [known(), known((0, 1))],
            "topic twice": [known((0, 1)), known((1, 2))],
            "partition twice": [known((0, 1), (0, 5))],
            "unknown, no partitions": [unknown()],
            "unknown twice": [unknown((0, 1)), unknown((1, 1)), known((0, 3))],
            "bad, good, bad": [known((9, 1)), known((0, 3)), known((9, 2))],
        }.items():
            ask.ask("OffsetCommit", version, {**body, "topics": topics}, label=label)
        ask.ask("OffsetFetch", 7, {"groupId": group, "topics": None}, label=str(version))
        topics = [known((0, 1)), known((1, 2)), unknown((0, 1))]
        ask.ask("OffsetCommit", version, {**body, "groupId": "", "topics": topics}, label="no group")
        fetched = {"groupId": "", "topics": [{"name": topic, "partitionIndexes": [0, 1]}]}
        ask.ask("OffsetFetch", 7, fetched, label=f"no group {version}")
    ask.each_version("DescribeGroups", {"groups": [""]}, label="no group")
    ask.each_version("DeleteGroups", {"groupsNames": [""]}, label="no group")


@story("LeaveGroup", "OffsetDelete", "DescribeGroups", "DeleteGroups")
def group_requests_that_repeat(ask: Asker) -> None:
    group = f"{ask.prefix}-g"
    topic = ask.topic("t", 2)
    member_id, _ = joined(ask, group, protocols=(("range", ""),))
    member = {"memberId": member_id, "groupInstanceId": None}
    ask.ask("LeaveGroup", 5, {"groupId": group, "members": [member, member]}, label="twice")
    ask.ask("LeaveGroup", 5, {"groupId": group, "members": []}, label="none")
    first, second = {"partitionIndex": 0}, {"partitionIndex": 1}
    ask.ask("OffsetCommit", 8, commit(group, (topic, "", 0, 1, "")))
    ask.ask("OffsetDelete", 0, {"groupId": group, "topics": [{"name": topic, "partitions": [first, first]}]})
    ask.ask("OffsetCommit", 8, commit(group, (topic, "", 0, 1, ""), (topic, "", 1, 1, "")))
    twice = [{"name": topic, "partitions": [first]}, {"name": topic, "partitions": [second]}]
    ask.ask("OffsetDelete", 0, {"groupId": group, "topics": twice}, label="topic twice")
    ask.ask("OffsetDelete", 0, {"groupId": group, "topics": [{"name": topic, "partitions": []}]}, label="no partitions")
    ask.ask("DescribeGroups", 5, {"groups": [group, group]})
    repeated = [{"name": topic, "partitionIndexes": [0, 0, 1]}, {"name": topic, "partitionIndexes": [0]}]
    wanted = {"groupId": group, "memberId": None, "memberEpoch": -1, "topics": repeated}
    ask.ask("OffsetFetch", 9, {"groups": [wanted]})
    ask.ask("DeleteGroups", 2, {"groupsNames": [group, group]})


@story("JoinGroup", "SyncGroup")
def join_metadata_over_the_record_size(ask: Asker) -> None:
    """A static member whose new metadata cannot be written keeps its old metadata."""
    large = b64(b"\0" * 2_000_000)
    assignment = b64("x")
    group = f"{ask.prefix}-static"
    member_id, _ = joined(ask, group, protocols=(("range", ""),), instance="i")
    ids = {"groupId": group, "generationId": 1, "memberId": member_id, "groupInstanceId": "i"}
    named = {**ids, "protocolType": "consumer", "protocolName": "range"}
    ask.ask("SyncGroup", 5, {**named, "assignments": [{"memberId": member_id, "assignment": assignment}]})
    joined(ask, group, protocols=(("range", large),), instance="i")
    ask.ask("Heartbeat", 4, ids)
    for version in (2, 9):
        too_large = join(f"{ask.prefix}-{version}", protocols=(("range", large),))
        ask.ask("JoinGroup", version, too_large, label="a dynamic member")
