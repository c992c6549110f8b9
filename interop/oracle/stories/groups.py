"""Offsets, classic groups, the new consumer groups, and what lists and deletes them."""

import base64
import struct
import time

from interop.oracle.asker import Asker, records, versions
from interop.oracle.story import story


def b64(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def subscription(*topics: str) -> str:
    """Version 0 of the consumer protocol's subscription."""
    names = b"".join(struct.pack(">h", len(t)) + t.encode() for t in topics)
    return b64(struct.pack(">hi", 0, len(topics)) + names + struct.pack(">i", -1))


def commit(group: str, *entries: tuple, member: str = "", generation: int = -1, instance: str | None = None) -> dict:
    topics = [
        {
            "name": name, "topicId": topic_id,
            "partitions": [{"partitionIndex": p, "committedOffset": o, "committedLeaderEpoch": -1, "committedMetadata": m}],
        }
        for name, topic_id, p, o, m in entries
    ]  # fmt: skip
    return {
        "groupId": group, "generationIdOrMemberEpoch": generation, "memberId": member, "groupInstanceId": instance,
        "retentionTimeMs": -1, "topics": topics,
    }  # fmt: skip


@story("OffsetCommit", "OffsetFetch", "OffsetDelete", "DeleteGroups", smoke=True)
def offsets_of_a_simple_group(ask: Asker) -> None:
    topic = ask.topic("t", 3)
    topic_id = ask.topic_id(topic)
    for version in versions("OffsetCommit"):
        group = f"{ask.prefix}-g{version}"
        ask.ask("OffsetCommit", version, commit(group, (topic, topic_id, 0, 5, "note"), (topic, topic_id, 1, 6, None)))
        ask.ask("OffsetCommit", version, commit(group, (topic, topic_id, 9, 5, "")), label="bad partition")
        unknown = ("no-such", "AAAAAAAAAAAAAAAAAAAAbg", 0, 5, "")
        ask.ask("OffsetCommit", version, commit(group, unknown), label="unknown topic")
        ask.ask("OffsetCommit", version, commit(group, (topic, topic_id, 0, -1, "")), label="negative offset")
        ask.ask("OffsetCommit", version, commit(group, (topic, topic_id, 0, 1, "x" * 5000)), label="long metadata")
        ask.ask(
            "OffsetCommit",
            version,
            commit(group, (topic, topic_id, 0, 1, ""), member="unknown-id", generation=3),
            label="unknown member",
        )
        ask.ask(
            "OffsetCommit",
            version,
            commit(f"{group}-new", (topic, topic_id, 0, 1, ""), member="unknown-id", generation=3),
            label="unknown member of no group",
        )
        ask.ask("OffsetCommit", version, commit(group), label="nothing")
    for version in versions("OffsetFetch"):
        group = f"{ask.prefix}-g{version + 1 if version < 9 else version}"
        if version < 8:
            topics = [{"name": topic, "partitionIndexes": [0, 1, 2, 9]}, {"name": "no-such", "partitionIndexes": [0]}]
            ask.ask("OffsetFetch", version, {"groupId": group, "topics": topics, "requireStable": True})
            ask.ask("OffsetFetch", version, {"groupId": "no-such-group", "topics": topics}, label="unknown group")
            ask.ask("OffsetFetch", version, {"groupId": group, "topics": []}, label="no topics")
            if version >= 2:
                ask.ask("OffsetFetch", version, {"groupId": group, "topics": None}, label="all topics")
            continue
        topics = [
            {"name": topic, "topicId": topic_id, "partitionIndexes": [0, 1, 2, 9]},
            {"name": "no-such", "topicId": "AAAAAAAAAAAAAAAAAAAAbg", "partitionIndexes": [0]},
        ]
        entry = {"groupId": group, "memberId": None, "memberEpoch": -1}
        ask.ask("OffsetFetch", version, {"groups": [{**entry, "topics": topics}], "requireStable": True})
        both = [
            {**entry, "topics": None},
            {**entry, "groupId": "no-such-group", "topics": None},
            {**entry, "topics": []},
        ]
        ask.ask("OffsetFetch", version, {"groups": both}, label="all topics of two groups")
        ask.ask("OffsetFetch", version, {"groups": []}, label="no groups")
        if version >= 9:
            member = [{**entry, "memberId": "unknown-id", "memberEpoch": 3, "topics": topics[:1]}]
            ask.ask("OffsetFetch", version, {"groups": member}, label="unknown member")


@story("OffsetDelete", "OffsetCommit")
def delete_offsets(ask: Asker) -> None:
    topic = ask.topic("t", 3)
    group = f"{ask.prefix}-g"
    ask.ask("OffsetCommit", 9, commit(group, (topic, "", 0, 5, ""), (topic, "", 1, 5, "")))
    for label, name, partitions, of in (
        ("one there", topic, [0], group),
        ("one not there", topic, [2], group),
        ("bad partition", topic, [9], group),
        ("unknown topic", "no-such", [0], group),
        ("unknown group", topic, [0], "no-such-group"),
        ("no group", topic, [0], ""),
    ):
        parts = [{"partitionIndex": p} for p in partitions]
        ask.ask("OffsetDelete", 0, {"groupId": of, "topics": [{"name": name, "partitions": parts}]}, label=label)
    ask.ask("OffsetDelete", 0, {"groupId": group, "topics": []}, label="nothing")


@story("FindCoordinator", smoke=True)
def find_coordinator(ask: Asker) -> None:
    for version in versions("FindCoordinator"):
        for kind in (0, 1, 2, 5) if version >= 1 else (0,):
            for key in (f"{ask.prefix}-g", "", "AAA:0:1"):
                body = {"key": key, "keyType": kind, "coordinatorKeys": [key]}
                ask.ask("FindCoordinator", version, body, label=f"kind {kind} key {key!r}")
    for version in (4, 5, 6):
        ask.ask("FindCoordinator", version, {"keyType": 0, "coordinatorKeys": ["a", "b", "a", ""]}, label="several")
        ask.ask("FindCoordinator", version, {"keyType": 0, "coordinatorKeys": []}, label="none")


def join(
    group: str,
    member: str = "",
    *,
    protocols: tuple = (("range", ""),),
    kind: str = "consumer",
    instance: str | None = None,
    session: int = 10_000,
) -> dict:
    return {
        "groupId": group, "sessionTimeoutMs": session, "rebalanceTimeoutMs": 5000, "memberId": member, "groupInstanceId": instance,
        "protocolType": kind, "protocols": [{"name": n, "metadata": m} for n, m in protocols], "reason": "because",
    }  # fmt: skip


def joined(ask: Asker, group: str, version: int = 9, **fields) -> tuple[str, dict]:
    """Joins as KIP-394 has it: first for a member id, then with it."""
    answer = ask.ask("JoinGroup", version, join(group, **fields))
    if answer["errorCode"] == 79:  # MEMBER_ID_REQUIRED
        answer = ask.ask("JoinGroup", version, join(group, answer["memberId"], **fields))
    return answer["memberId"], answer


@story("JoinGroup", "SyncGroup", "Heartbeat", "LeaveGroup", "DescribeGroups", "OffsetCommit", smoke=True)
def life_of_a_classic_group(ask: Asker) -> None:
    topic = ask.topic("t", 2)
    wish = (("range", subscription(topic)), ("roundrobin", subscription(topic)))
    for version in versions("JoinGroup"):
        group = f"{ask.prefix}-g{version}"
        member, answer = joined(ask, group, version, protocols=wish)
        generation = answer["generationId"]
        sync = min(version, 5)
        assignment = [{"memberId": member, "assignment": b64("mine")}]
        body = {
            "groupId": group, "generationId": generation, "memberId": member, "protocolType": "consumer", "protocolName": "range",
            "assignments": assignment,
        }  # fmt: skip
        for label, changed in (
            ("wrong generation", {"generationId": 99}),
            ("unknown member", {"memberId": "unknown-id"}),
            ("unknown group", {"groupId": f"{group}-no"}),
            ("wrong protocol type", {"protocolType": "connect"}),
            ("wrong protocol name", {"protocolName": "sticky"}),
            ("empty group", {"groupId": ""}),
        ):
            ask.ask("SyncGroup", sync, {**body, **changed}, label=label)
        ask.ask("SyncGroup", sync, body)
        ask.ask("SyncGroup", sync, body, label="again")
        beat = {"groupId": group, "generationId": generation, "memberId": member}
        for label, changed in (
            ("fine", {}),
            ("wrong generation", {"generationId": 99}),
            ("unknown member", {"memberId": "unknown-id"}),
            ("unknown group", {"groupId": f"{group}-no"}),
            ("empty group", {"groupId": ""}),
        ):
            ask.ask("Heartbeat", min(version, 4), {**beat, **changed}, label=label)
        describe = min(version, 6)
        ask.ask("DescribeGroups", describe, {"groups": [group, f"{group}-no"], "includeAuthorizedOperations": True})
        owner = {"member": member, "generation": generation}
        ask.ask("OffsetCommit", 8, commit(group, (topic, "", 0, 3, ""), **owner), label="by the member")
        ask.ask(
            "OffsetCommit", 8, commit(group, (topic, "", 0, 3, ""), member=member, generation=0), label="old generation"
        )
        ask.ask("OffsetCommit", 8, commit(group, (topic, "", 0, 3, "")), label="from outside")
        ask.ask("DeleteGroups", 2, {"groupsNames": [group]}, label="not empty")
        parts = [{"partitionIndex": 0}]
        ask.ask(
            "OffsetDelete", 0, {"groupId": group, "topics": [{"name": topic, "partitions": parts}]}, label="subscribed"
        )
        leave = min(version, 5)
        unknown = {"memberId": "unknown-id", "groupInstanceId": None}
        ask.ask(
            "LeaveGroup",
            leave,
            {"groupId": group, "memberId": "unknown-id", "members": [unknown]},
            label="unknown member",
        )
        leaving = {"memberId": member, "groupInstanceId": None, "reason": "done"}
        ask.ask("LeaveGroup", leave, {"groupId": group, "memberId": member, "members": [leaving]})
        ask.ask("LeaveGroup", leave, {"groupId": group, "memberId": member, "members": [leaving]}, label="again")
        ask.ask("LeaveGroup", leave, {"groupId": "", "memberId": member, "members": [leaving]}, label="empty group")
        ask.ask("DescribeGroups", describe, {"groups": [group]}, label="empty now")
        ask.ask(
            "OffsetDelete", 0, {"groupId": group, "topics": [{"name": topic, "partitions": parts}]}, label="empty now"
        )
        ask.ask("DeleteGroups", min(version, 2), {"groupsNames": [group, f"{group}-no"]})
        ask.ask("DescribeGroups", describe, {"groups": [group]}, label="deleted")


@story("JoinGroup")
def joins_refused(ask: Asker) -> None:
    group = f"{ask.prefix}-g"
    wish = (("range", subscription("x")),)
    member, _ = joined(ask, group, protocols=wish)
    for version in (2, 5, 9):
        for label, body in (
            ("empty group", join("", protocols=wish)),
            ("session too short", join(f"{group}-s", protocols=wish, session=1)),
            ("session too long", join(f"{group}-s", protocols=wish, session=10**9)),
            ("no protocols", join(f"{group}-s", protocols=())),
            ("no protocol type", join(f"{group}-s", protocols=wish, kind="")),
            ("other protocol type", join(group, protocols=wish, kind="connect")),
            ("no common protocol", join(group, protocols=(("other", ""),))),
            ("unknown member", join(group, "unknown-id", protocols=wish)),
            ("unknown member of no group", join(f"{group}-s", "unknown-id", protocols=wish)),
        ):
            ask.ask("JoinGroup", version, body, label=label)
    ask.ask("LeaveGroup", 5, {"groupId": group, "members": [{"memberId": member, "groupInstanceId": None}]})


@story("JoinGroup", "SyncGroup", "LeaveGroup", "DescribeGroups")
def two_members_rebalance(ask: Asker) -> None:
    group = f"{ask.prefix}-g"
    wish = (("range", subscription("x")), ("roundrobin", subscription("x")))
    other_wish = (("roundrobin", subscription("x", "y")),)
    first, answer = joined(ask, group, protocols=wish)
    sync = {"groupId": group, "generationId": 1, "memberId": first, "protocolType": "consumer", "protocolName": "range"}
    ask.ask("SyncGroup", 5, {**sync, "assignments": [{"memberId": first, "assignment": b64("all")}]})
    other = ask.other("second")
    member_id = other.ask("JoinGroup", 9, join(group, protocols=other_wish))["memberId"]
    ask.ask("DescribeGroups", 5, {"groups": [group]}, label="a pending member")
    other.send("JoinGroup", 9, join(group, member_id, protocols=other_wish))
    beat = {"groupId": group, "generationId": 1, "memberId": first}
    ask.until("Heartbeat", 4, beat, lambda got: got["errorCode"] == 27)
    ask.ask("Heartbeat", 4, beat, label="while rebalancing")
    ask.ask("SyncGroup", 5, {**sync, "assignments": []}, label="while rebalancing")
    ask.ask(
        "OffsetCommit", 8, commit(group, ("x", "", 0, 1, ""), member=first, generation=1), label="while rebalancing"
    )
    ask.ask("DescribeGroups", 5, {"groups": [group]}, label="preparing")
    answer = ask.ask("JoinGroup", 9, join(group, first, protocols=wish), label="again")
    answers = [answer, other.receive()]
    leader = next(a for a in answers if a["members"])
    ask.note("one leader with two members", len(leader["members"]))
    ask.ask("DescribeGroups", 5, {"groups": [group]}, label="completing")
    ask.ask("Heartbeat", 4, {**beat, "generationId": 2}, label="completing")
    ask.ask("OffsetCommit", 8, commit(group, ("x", "", 0, 1, ""), member=first, generation=2), label="completing")
    ids = [first, member_id]
    follower = {
        "groupId": group,
        "generationId": 2,
        "protocolType": "consumer",
        "protocolName": "roundrobin",
        "assignments": [],
    }
    other.send("SyncGroup", 5, {**follower, "memberId": member_id})
    time.sleep(0.2)  # the SyncGroup of the follower comes first
    assignments = [{"memberId": m, "assignment": b64(f"part {n}")} for n, m in enumerate(ids)]
    ask.ask("SyncGroup", 5, {**follower, "memberId": first, "assignments": assignments})
    other.receive()
    ask.ask("DescribeGroups", 5, {"groups": [group]}, label="stable")
    # The leader joins again with the same subscription: a rebalance; the follower does: only the answer.
    other.ask("JoinGroup", 9, join(group, member_id, protocols=other_wish), label="follower, nothing new")
    ask.ask("LeaveGroup", 5, {"groupId": group, "members": [{"memberId": first, "groupInstanceId": None}]})
    other.ask(
        "Heartbeat", 4, {"groupId": group, "generationId": 2, "memberId": member_id}, label="after the other left"
    )
    other.ask("JoinGroup", 9, join(group, member_id, protocols=other_wish), label="alone")
    both = [{"memberId": member_id, "groupInstanceId": None}, {"memberId": "unknown-id", "groupInstanceId": None}]
    ask.ask("LeaveGroup", 5, {"groupId": group, "members": both}, label="two at once")
    other.close()


@story("JoinGroup", "SyncGroup", "Heartbeat", "LeaveGroup", "DescribeGroups")
def static_members(ask: Asker) -> None:
    group = f"{ask.prefix}-g"
    wish = (("range", subscription("x")),)
    first, _ = joined(ask, group, protocols=wish, instance="one")
    sync = {
        "groupId": group, "generationId": 1, "memberId": first, "groupInstanceId": "one", "protocolType": "consumer",
        "protocolName": "range", "assignments": [{"memberId": first, "assignment": b64("all")}],
    }  # fmt: skip
    ask.ask("SyncGroup", 5, sync)
    ask.ask("DescribeGroups", 5, {"groups": [group]})
    beat = {"groupId": group, "generationId": 1, "memberId": first, "groupInstanceId": "one"}
    ask.ask("Heartbeat", 4, beat)
    ask.ask("Heartbeat", 4, {**beat, "groupInstanceId": "two"}, label="unknown instance")
    # The instance comes back without its member id: it gets a new one and keeps its assignment; the old one is fenced.
    second = ask.ask("JoinGroup", 9, join(group, protocols=wish, instance="one"), label="comes back")["memberId"]
    ask.ask("Heartbeat", 4, beat, label="the old member id")
    ask.ask("SyncGroup", 5, sync, label="the old member id")
    ask.ask(
        "OffsetCommit",
        8,
        commit(group, ("x", "", 0, 1, ""), member=first, generation=1, instance="one"),
        label="the old member id",
    )
    ask.ask("JoinGroup", 9, join(group, first, protocols=wish, instance="one"), label="the old member id")
    ask.ask(
        "LeaveGroup",
        5,
        {"groupId": group, "members": [{"memberId": first, "groupInstanceId": "one"}]},
        label="the old member id",
    )
    ask.ask("Heartbeat", 4, {**beat, "memberId": second})
    ask.ask("SyncGroup", 5, {**sync, "memberId": second, "assignments": []})
    ask.ask(
        "LeaveGroup",
        5,
        {"groupId": group, "members": [{"memberId": "", "groupInstanceId": "two"}]},
        label="unknown instance",
    )
    ask.ask(
        "LeaveGroup",
        5,
        {"groupId": group, "members": [{"memberId": "", "groupInstanceId": "one"}]},
        label="by instance",
    )
    ask.ask("DescribeGroups", 5, {"groups": [group]}, label="empty")


@story("ListGroups", "DescribeGroups", "JoinGroup", "SyncGroup")
def list_groups(ask: Asker) -> None:
    topic = ask.topic("t")
    ask.ask("OffsetCommit", 8, commit(f"{ask.prefix}-simple", (topic, "", 0, 1, "")))
    group = f"{ask.prefix}-live"
    member, _ = joined(ask, group, protocols=(("range", subscription(topic)),))
    body = {
        "groupId": group,
        "generationId": 1,
        "memberId": member,
        "protocolType": "consumer",
        "protocolName": "range",
    }
    ask.ask("SyncGroup", 5, {**body, "assignments": [{"memberId": member, "assignment": b64("x")}]})
    connect = f"{ask.prefix}-connect"
    joined(ask, connect, protocols=(("sessioned", b64("x")),), kind="connect")
    for version in versions("ListGroups"):
        ask.ask("ListGroups", version, own=True)
        if version >= 4:
            for states in (["Stable"], ["stable", "Empty"], ["NoSuch"], ["CompletingRebalance"]):
                ask.ask("ListGroups", version, {"statesFilter": states}, label=str(states), own=True)
        if version >= 5:
            for types in (["classic"], ["Classic"], ["consumer"], ["share"], ["streams"], ["nosuch"], [""]):
                ask.ask("ListGroups", version, {"typesFilter": types}, label=str(types), own=True)
    ask.ask("DescribeGroups", 6, {"groups": [connect, f"{ask.prefix}-simple"]})
    ask.ask("LeaveGroup", 5, {"groupId": group, "members": [{"memberId": member, "groupInstanceId": None}]})


@story("JoinGroup")
def a_session_times_out(ask: Asker) -> None:
    group = f"{ask.prefix}-g"
    wish = (("range", subscription("x")),)
    member, _ = joined(ask, group, protocols=wish, session=6000)
    body = {
        "groupId": group,
        "generationId": 1,
        "memberId": member,
        "protocolType": "consumer",
        "protocolName": "range",
    }
    ask.ask("SyncGroup", 5, {**body, "assignments": [{"memberId": member, "assignment": b64("x")}]})
    ask.until(
        "DescribeGroups", 5, {"groups": [group]}, lambda got: got["groups"][0]["groupState"] == "Empty", timeout_s=20
    )
    ask.ask("DescribeGroups", 5, {"groups": [group]}, label="after the session timed out")
    ask.ask("Heartbeat", 4, {"groupId": group, "generationId": 1, "memberId": member}, label="too late")


def beat(group: str, member: str, epoch: int, **fields) -> dict:
    return {
        "groupId": group, "memberId": member, "memberEpoch": epoch, "instanceId": None, "rackId": None,
        "rebalanceTimeoutMs": -1, "subscribedTopicNames": None, "serverAssignor": None, "topicPartitions": None, **fields,
    }  # fmt: skip


MEMBER = "oracleMemberIdOracleMe"


@story("ConsumerGroupHeartbeat", "ConsumerGroupDescribe", smoke=True)
def life_of_a_consumer_group(ask: Asker) -> None:
    topic = ask.topic("t", 2)
    ask.wait_for_metadata()  # the group coordinator follows the broker's metadata
    for version in versions("ConsumerGroupHeartbeat"):
        group = f"{ask.prefix}-g{version}"
        first = {"rebalanceTimeoutMs": 5000, "subscribedTopicNames": [topic], "topicPartitions": []}
        member = "" if version == 0 else MEMBER
        joined_now = ask.ask("ConsumerGroupHeartbeat", version, beat(group, member, 0, **first), label="join")
        member = joined_now.get("memberId") or member
        epoch = joined_now.get("memberEpoch", 0)
        ask.ask("ConsumerGroupHeartbeat", version, beat(group, member, epoch), label="nothing new")
        owned = [{"topicId": ask.topic_id(topic), "partitions": [0, 1]}]
        ask.ask("ConsumerGroupHeartbeat", version, beat(group, member, epoch, topicPartitions=owned), label="owns both")
        ask.each_version(
            "ConsumerGroupDescribe", {"groupIds": [group, "no-such-group"], "includeAuthorizedOperations": True}
        )
        ask.ask("ListGroups", 5, {}, own=True)
        ask.ask("DescribeGroups", 6, {"groups": [group]}, label="of the new kind")
        ask.ask("OffsetCommit", 9, commit(group, (topic, "", 0, 4, ""), member=member, generation=epoch))
        ask.ask(
            "OffsetCommit",
            9,
            commit(group, (topic, "", 0, 4, ""), member=member, generation=epoch + 5),
            label="epoch ahead",
        )
        ask.ask(
            "OffsetCommit",
            9,
            commit(group, (topic, "", 0, 4, ""), member="unknown-id", generation=epoch),
            label="unknown member",
        )
        entry = {"groupId": group, "memberId": member, "memberEpoch": epoch, "topics": None}
        ask.ask("OffsetFetch", 9, {"groups": [entry]})
        ask.ask("OffsetFetch", 9, {"groups": [{**entry, "memberEpoch": epoch + 3}]}, label="stale epoch")
        ask.ask("ConsumerGroupHeartbeat", version, beat(group, member, epoch + 7), label="epoch ahead")
        ask.ask("ConsumerGroupHeartbeat", version, beat(group, "unknown-id", 3), label="unknown member")
        ask.ask("ConsumerGroupHeartbeat", version, beat(f"{group}-no", member, 3), label="unknown group")
        ask.ask("DeleteGroups", 2, {"groupsNames": [group]}, label="not empty")
        ask.ask("ConsumerGroupHeartbeat", version, beat(group, member, -1), label="leave")
        ask.ask("ConsumerGroupDescribe", 1, {"groupIds": [group]}, label="empty")
        ask.ask("DeleteGroups", 2, {"groupsNames": [group]})


@story("ConsumerGroupHeartbeat")
def consumer_heartbeats_refused(ask: Asker) -> None:
    topic = ask.topic("t", 2)
    ask.wait_for_metadata()  # the group coordinator follows the broker's metadata
    group = f"{ask.prefix}-g"
    first = {"rebalanceTimeoutMs": 5000, "subscribedTopicNames": [topic], "topicPartitions": []}
    for version in versions("ConsumerGroupHeartbeat"):
        for label, body in (
            ("empty group", beat("", MEMBER, 0, **first)),
            ("empty member", beat(group, "", 0, **first)),
            ("empty member, later", beat(group, "", 3)),
            ("no topics", beat(group, MEMBER, 0, **{**first, "subscribedTopicNames": []})),
            ("null topics", beat(group, MEMBER, 0, **{**first, "subscribedTopicNames": None})),
            (
                "owns something at first",
                beat(
                    group,
                    MEMBER,
                    0,
                    **{**first, "topicPartitions": [{"topicId": "AAAAAAAAAAAAAAAAAAAAbg", "partitions": [0]}]},
                ),
            ),
            ("no rebalance timeout", beat(group, MEMBER, 0, **{**first, "rebalanceTimeoutMs": -1})),
            ("unknown assignor", beat(group, MEMBER, 0, **first, serverAssignor="fancy")),
            ("empty instance", beat(group, MEMBER, 0, **first, instanceId="")),
            ("empty rack", beat(group, MEMBER, 0, **first, rackId="")),
            ("epoch -2 without instance", beat(group, MEMBER, -2)),
            ("epoch -5", beat(group, MEMBER, -5)),
            ("a regex", beat(group, MEMBER, 0, **{**first, "subscribedTopicNames": None}, subscribedTopicRegex="o-.*")),
            (
                "a bad regex",
                beat(group, MEMBER, 0, **{**first, "subscribedTopicNames": None}, subscribedTopicRegex="["),
            ),
        ):
            ask.ask("ConsumerGroupHeartbeat", version, body, label=label)
    ask.ask("ConsumerGroupDescribe", 1, {"groupIds": [""]}, label="no group")
    classic = f"{ask.prefix}-classic"
    joined(ask, classic, protocols=(("range", subscription("x")),))
    ask.ask("ConsumerGroupDescribe", 1, {"groupIds": [classic]}, label="a classic group")


@story("ConsumerGroupHeartbeat")
def two_members_of_a_consumer_group(ask: Asker) -> None:
    topic = ask.topic("t", 4)
    ask.wait_for_metadata()  # the group coordinator follows the broker's metadata
    topic_id = ask.topic_id(topic)
    group = f"{ask.prefix}-g"
    first = {"rebalanceTimeoutMs": 5000, "subscribedTopicNames": [topic], "topicPartitions": []}
    one, two = MEMBER, MEMBER.replace("Me", "Yo")
    every = [{"topicId": topic_id, "partitions": [0, 1, 2, 3]}]

    def say(member: str, epoch: int, label: str, **fields) -> int:
        return int(
            ask.ask("ConsumerGroupHeartbeat", 1, beat(group, member, epoch, **fields), label=label).get(
                "memberEpoch", 0
            )
        )

    epoch = say(one, 0, "first joins", **first)
    epoch = say(one, epoch, "first owns all", topicPartitions=every)
    second = say(two, 0, "second joins", **first)
    epoch = say(one, epoch, "first gets its new assignment")
    kept = [{"topicId": topic_id, "partitions": [0, 1]}]
    epoch = say(one, epoch, "first gave up two", topicPartitions=kept)
    second = say(two, second, "second gets them")
    ask.ask("ConsumerGroupDescribe", 1, {"groupIds": [group]}, label="both")
    say(one, -1, "first leaves")
    second = say(two, second, "second gets its new assignment")
    ask.ask("ConsumerGroupHeartbeat", 1, beat(group, one, 0, instanceId="one", **first), label="a static member")
    ask.ask(
        "ConsumerGroupHeartbeat",
        1,
        beat(group, MEMBER[::-1], 0, instanceId="one", **first),
        label="its instance is in use",
    )
    ask.ask("ConsumerGroupHeartbeat", 1, beat(group, one, -2, instanceId="one"), label="it goes for a while")
    ask.ask("ConsumerGroupHeartbeat", 1, beat(group, MEMBER[::-1], 0, instanceId="one", **first), label="it comes back")
    say(two, -1, "second leaves")


@story("OffsetCommit", "OffsetFetch")
def offsets_of_a_deleted_topic(ask: Asker) -> None:
    topic = ask.topic("t")
    ask.produce(topic, records("a"), note=False)
    group = f"{ask.prefix}-g"
    ask.ask("OffsetCommit", 8, commit(group, (topic, "", 0, 1, "")))
    ask.ask("DeleteTopics", 5, {"topicNames": [topic], "timeoutMs": 9000})
    ask.wait_for_metadata(1.0)
    ask.ask("OffsetFetch", 7, {"groupId": group, "topics": None}, label="after the topic was deleted")
