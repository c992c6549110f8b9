"""Consumer groups of the new protocol: migration, static members, regular expressions, offsets, other kinds of groups."""

import struct
import time

from interop.oracle.asker import Asker
from interop.oracle.stories.groups import MEMBER, b64, beat, commit, join, joined, subscription
from interop.oracle.story import story

OTHER = MEMBER.replace("Me", "Yo")


def first_of(topic: str | None = None, regex: str | None = None) -> dict:
    names = None if topic is None else [topic]
    return {
        "rebalanceTimeoutMs": 5000, "subscribedTopicNames": names, "subscribedTopicRegex": regex, "topicPartitions": [],
    }  # fmt: skip


def say(ask: Asker, group: str, member: str, epoch: int, label: str, **fields) -> int:
    body = beat(group, member, epoch, **fields)
    return int(ask.ask("ConsumerGroupHeartbeat", 1, body, label=label).get("memberEpoch", 0))


def owns(topic_id: str, *partitions: int) -> list:
    return [{"topicId": topic_id, "partitions": list(partitions)}]


def look(ask: Asker, group: str, label: str) -> None:
    ask.ask("ConsumerGroupDescribe", 1, {"groupIds": [group]}, label=label)


def assignment(topic: str, *partitions: int) -> str:
    name = struct.pack(">h", len(topic)) + topic.encode()
    held = struct.pack(f">i{len(partitions)}i", len(partitions), *partitions)
    return b64(struct.pack(">hi", 0, 1) + name + held + struct.pack(">i", -1))


def classic_pair(ask: Asker, group: str, topic: str) -> str:
    """A classic group of one member that has both partitions."""
    member, _ = joined(ask, group, protocols=(("range", subscription(topic)),))
    body = {
        "groupId": group, "generationId": 1, "memberId": member, "protocolType": "consumer", "protocolName": "range",
        "assignments": [{"memberId": member, "assignment": assignment(topic, 0, 1)}],
    }  # fmt: skip
    ask.ask("SyncGroup", 5, body)
    return member


@story("ConsumerGroupHeartbeat", "ConsumerGroupDescribe")
def a_classic_group_is_upgraded_and_downgraded(ask: Asker) -> None:
    topic = ask.topic("t", 2)
    topic_id = ask.topic_id(topic)
    group = f"{ask.prefix}-g"
    classic = classic_pair(ask, group, topic)
    heartbeat = {"groupId": group, "generationId": 1, "memberId": classic}
    epoch = say(ask, group, MEMBER, 0, "a consumer member joins", **first_of(topic))
    look(ask, group, "upgraded")
    ask.ask("DescribeGroups", 6, {"groups": [group]}, label="upgraded")
    ask.ask("ListGroups", 5, {}, own=True)
    ask.ask("Heartbeat", 4, heartbeat, label="the classic member has to join again")
    sync = {
        "groupId": group, "generationId": 1, "memberId": classic, "protocolType": "consumer", "protocolName": "range",
        "assignments": [],
    }  # fmt: skip
    ask.ask("SyncGroup", 5, sync, label="before it has joined")
    wish = (("range", subscription(topic)),)
    answer = ask.ask("JoinGroup", 9, join(group, classic, protocols=wish), label="it joins, and gives up one")
    generation = answer["generationId"]
    ask.ask("SyncGroup", 5, {**sync, "generationId": generation}, label="what it keeps")
    ask.ask("SyncGroup", 5, {**sync, "generationId": 99}, label="wrong generation")
    ask.ask("SyncGroup", 5, {**sync, "generationId": generation, "protocolName": "other"}, label="wrong protocol")
    ask.ask("SyncGroup", 5, {**sync, "memberId": MEMBER, "generationId": generation}, label="a consumer member")
    ask.ask("Heartbeat", 4, {**heartbeat, "generationId": generation}, label="in its generation")
    ask.ask("Heartbeat", 4, {**heartbeat, "generationId": 77}, label="in another generation")
    ask.ask("Heartbeat", 4, {**heartbeat, "memberId": "unknown-id"}, label="of an unknown member")
    ask.ask("JoinGroup", 9, join(group, classic, protocols=(("other", ""),)), label="another protocol")
    ask.ask("JoinGroup", 9, join(group, classic, protocols=wish, kind="connect"), label="another protocol type")
    answer = ask.ask("JoinGroup", 9, join(group, classic, protocols=wish), label="it joins again")
    ask.ask("SyncGroup", 5, {**sync, "generationId": answer["generationId"]}, label="again")
    epoch = say(ask, group, MEMBER, epoch, "the consumer member gets what is free")
    epoch = say(ask, group, MEMBER, epoch, "it owns one", topicPartitions=owns(topic_id, 1))
    look(ask, group, "both")
    offsets = (topic, "", 0, 4, "")
    ask.ask("OffsetCommit", 9, commit(group, offsets, member=classic, generation=answer["generationId"]))
    ask.ask("OffsetCommit", 9, commit(group, offsets, member=classic, generation=77), label="wrong generation")
    leaving = {"groupId": group, "members": [{"memberId": MEMBER, "groupInstanceId": None}]}
    ask.ask("LeaveGroup", 5, leaving, label="of the consumer member")
    look(ask, group, "downgraded")
    say(ask, group, MEMBER, epoch, "the consumer member is gone")
    described = ask.ask("DescribeGroups", 6, {"groups": [group]}, note=False)
    ask.note("its state", described["groups"][0]["groupState"])
    ask.ask("Heartbeat", 4, {**heartbeat, "generationId": answer["generationId"]}, label="after the downgrade")
    leaving = {"groupId": group, "members": [{"memberId": classic, "groupInstanceId": None}]}
    ask.ask("LeaveGroup", 5, leaving, label="of the classic member")


@story("ConsumerGroupHeartbeat")
def static_members_of_a_consumer_group(ask: Asker) -> None:
    topic = ask.topic("t", 2)
    ask.wait_for_metadata()  # the group coordinator follows the broker's metadata
    topic_id = ask.topic_id(topic)
    group = f"{ask.prefix}-g"
    epoch = say(ask, group, MEMBER, 0, "joins", **first_of(topic), instanceId="one")
    epoch = say(ask, group, MEMBER, epoch, "owns both", instanceId="one", topicPartitions=owns(topic_id, 0, 1))
    say(ask, group, MEMBER, epoch, "an instance that is not there", instanceId="two")
    say(ask, group, OTHER, epoch, "another member of the instance", instanceId="one")
    say(ask, group, OTHER, -1, "another member leaves", instanceId="one")
    say(ask, group, MEMBER, -1, "leaves as an instance that is not there", instanceId="two")
    say(ask, group, MEMBER, -2, "goes for a while", instanceId="one")
    look(ask, group, "away")
    ask.ask("OffsetCommit", 9, commit(group, (topic, "", 0, 4, ""), member=MEMBER, generation=epoch), label="away")
    epoch = say(ask, group, OTHER, 0, "comes back with another id", **first_of(topic), instanceId="one")
    look(ask, group, "back")
    say(ask, group, MEMBER, epoch, "the first id is fenced", instanceId="one")
    epoch = say(ask, group, OTHER, epoch, "owns both again", instanceId="one", topicPartitions=owns(topic_id, 0, 1))
    wish = (("range", subscription(topic)),)
    ask.ask("JoinGroup", 9, join(group, "x", protocols=wish, instance="one"), label="classic, with a wrong id")
    ask.ask("JoinGroup", 9, join(group, "x", protocols=wish, instance="none"), label="classic, of no instance")
    answer = ask.ask("JoinGroup", 9, join(group, protocols=wish, instance="one"), label="classic replaces it")
    look(ask, group, "downgraded by a replacement")
    heartbeat = {"groupId": group, "generationId": answer["generationId"], "memberId": answer["memberId"]}
    ask.ask("Heartbeat", 4, {**heartbeat, "groupInstanceId": "one"}, label="of the replacement")
    sync = {
        **heartbeat,
        "groupInstanceId": "one",
        "protocolType": "consumer",
        "protocolName": "range",
        "assignments": [],
    }
    ask.ask("SyncGroup", 5, sync, label="of the replacement")
    leaving = {"groupId": group, "members": [{"memberId": "", "groupInstanceId": "one"}]}
    ask.ask("LeaveGroup", 5, leaving, label="by its instance")


@story("ConsumerGroupHeartbeat")
def a_subscription_by_regular_expression(ask: Asker) -> None:
    topic = ask.topic("one", 1)
    ask.wait_for_metadata()  # the group coordinator follows the broker's metadata
    group = f"{ask.prefix}-g"
    regex = f"{ask.prefix}-o.*"
    epoch = say(ask, group, MEMBER, 0, "joins", **first_of(None, regex))

    def is_resolved(answer: dict) -> bool:
        return bool(answer["groups"][0]["groupEpoch"] >= 2)

    ask.until("ConsumerGroupDescribe", 1, {"groupIds": [group]}, is_resolved)
    epoch = say(ask, group, MEMBER, epoch, "it is resolved")
    look(ask, group, "resolved")
    epoch = say(ask, group, MEMBER, epoch, "names instead", subscribedTopicNames=[topic], subscribedTopicRegex="")
    look(ask, group, "by names")
    epoch = say(ask, group, MEMBER, epoch, "a bad expression", subscribedTopicRegex="a(b")
    for number, bad in enumerate(("*", "a**", "a{1001}", "(?=a)", "[b-a]", "\\8", "a\\", "(?<n", ")")):
        say(ask, group, MEMBER, epoch, f"bad expression {number}", subscribedTopicRegex=bad)
    say(ask, group, MEMBER, -1, "leaves")


@story("ConsumerGroupHeartbeat", "OffsetCommit", "OffsetFetch", "TxnOffsetCommit", "OffsetDelete")
def offsets_of_a_consumer_group(ask: Asker) -> None:
    topic = ask.topic("t", 2)
    ask.wait_for_metadata()  # the group coordinator follows the broker's metadata
    topic_id = ask.topic_id(topic)
    group = f"{ask.prefix}-g"
    old = say(ask, group, MEMBER, 0, "joins", **first_of(topic))
    say(ask, group, MEMBER, old, "owns both", topicPartitions=owns(topic_id, 0, 1))
    other = say(ask, group, OTHER, 0, "another joins", **first_of(topic))
    say(ask, group, MEMBER, old, "has to give up one")
    ask.ask(
        "OffsetCommit", 9, commit(group, (topic, topic_id, 1, 3, ""), member=MEMBER, generation=old), label="revoking"
    )
    epoch = say(ask, group, MEMBER, old, "gave up one", topicPartitions=owns(topic_id, 0))
    other = say(ask, group, OTHER, other, "gets it")
    for version in (2, 8, 9, 10):
        for label, body in (
            ("now", commit(group, (topic, topic_id, 0, 5, ""), member=MEMBER, generation=epoch)),
            ("as before, what it kept", commit(group, (topic, topic_id, 0, 5, ""), member=MEMBER, generation=old)),
            ("as before, what it lost", commit(group, (topic, topic_id, 1, 5, ""), member=MEMBER, generation=old)),
            ("before all", commit(group, (topic, topic_id, 0, 5, ""), member=MEMBER, generation=old - 1)),
            ("of the future", commit(group, (topic, topic_id, 0, 5, ""), member=MEMBER, generation=epoch + 1)),
            ("of an unknown member", commit(group, (topic, topic_id, 0, 5, ""), member="unknown-id", generation=epoch)),
            ("of an admin", commit(group, (topic, topic_id, 0, 5, ""))),
        ):
            ask.ask("OffsetCommit", version, body, label=label)
    entry = {"groupId": group, "memberId": MEMBER, "memberEpoch": epoch, "topics": None}
    for version in (8, 9, 10):
        for label, fields in (
            ("now", {}),
            ("as before", {"memberEpoch": old}),
            ("of an unknown member", {"memberId": "unknown-id"}),
            ("of an admin", {"memberId": None, "memberEpoch": -1}),
            ("without an id", {"memberId": "", "memberEpoch": 0}),
        ):
            ask.ask("OffsetFetch", version, {"groups": [{**entry, **fields}]}, label=label)
    ask.ask("OffsetDelete", 0, {"groupId": group, "topics": [{"name": topic, "partitions": [{"partitionIndex": 0}]}]})
    ask.ask("DeleteGroups", 2, {"groupsNames": [group]})
    say(ask, group, MEMBER, -1, "leaves")
    say(ask, group, OTHER, -1, "the other leaves")
    ask.ask("OffsetCommit", 9, commit(group, (topic, topic_id, 0, 9, "")), label="of an admin, in an empty group")
    ask.ask("OffsetDelete", 0, {"groupId": group, "topics": [{"name": topic, "partitions": [{"partitionIndex": 0}]}]})
    ask.ask("DeleteGroups", 2, {"groupsNames": [group]}, label="empty")


@story("ConsumerGroupHeartbeat")
def consumer_heartbeats_to_other_kinds_of_groups(ask: Asker) -> None:
    topic = ask.topic("t", 2)
    ask.wait_for_metadata()  # the group coordinator follows the broker's metadata
    simple = f"{ask.prefix}-simple"
    ask.ask("OffsetCommit", 8, commit(simple, (topic, "", 0, 1, "")))
    say(ask, simple, MEMBER, 3, "a simple group")
    say(ask, simple, MEMBER, 0, "joins a simple group", **first_of(topic))
    ask.ask("OffsetFetch", 7, {"groupId": simple, "topics": None}, label="its offsets stay")
    connect = f"{ask.prefix}-connect"
    member, _ = joined(ask, connect, protocols=(("sessioned", b64("x")),), kind="connect")
    say(ask, connect, MEMBER, 0, "joins a connect group", **first_of(topic))
    say(ask, connect, MEMBER, 2, "a connect group")
    say(ask, connect, MEMBER, -1, "leaves a connect group")
    ask.ask("LeaveGroup", 5, {"groupId": connect, "members": [{"memberId": member, "groupInstanceId": None}]})
    say(ask, connect, MEMBER, 0, "joins an empty connect group", **first_of(topic))
    empty = f"{ask.prefix}-empty"
    say(ask, empty, MEMBER, 0, "joins", **first_of(topic))
    say(ask, empty, MEMBER, -1, "leaves")
    joined(ask, empty, protocols=(("range", subscription(topic)),))
    ask.wait_for_metadata()  # a description shows what is committed, and the join was answered before
    look(ask, empty, "a classic group now")


@story("ConsumerGroupHeartbeat")
def a_consumer_group_follows_its_topics(ask: Asker) -> None:
    topic = ask.topic("t", 1)
    ask.wait_for_metadata()  # the group coordinator follows the broker's metadata
    topic_id = ask.topic_id(topic)
    group = f"{ask.prefix}-g"
    epoch = say(ask, group, MEMBER, 0, "joins", **first_of(topic))
    epoch = say(ask, group, MEMBER, epoch, "owns one", topicPartitions=owns(topic_id, 0))
    more = {"topics": [{"name": topic, "count": 3, "assignments": None}], "timeoutMs": 10000}
    ask.ask("CreatePartitions", 3, more, note=False)
    ask.ready(topic, 3)
    ask.wait_for_metadata()
    epoch = say(ask, group, MEMBER, epoch, "gets the new partitions")
    epoch = say(ask, group, MEMBER, epoch, "owns three", topicPartitions=owns(topic_id, 0, 1, 2))
    names = {"subscribedTopicNames": [topic, f"{ask.prefix}-later"]}
    epoch = say(ask, group, MEMBER, epoch, "subscribes to a topic that is to come", **names)
    later = ask.topic("later", 1)
    ask.wait_for_metadata()
    epoch = say(ask, group, MEMBER, epoch, "it is there")
    epoch = say(ask, group, MEMBER, epoch, "with another assignor", serverAssignor="range")
    look(ask, group, "both topics")
    ask.ask("DeleteTopics", 5, {"topicNames": [later], "timeoutMs": 10000}, note=False)
    time.sleep(0 if ask.eager else 0.5)  # Apache applies the deletion after its answer
    epoch = say(ask, group, MEMBER, epoch, "it is gone")
    epoch = say(ask, group, MEMBER, epoch, "owns three again", topicPartitions=owns(topic_id, 0, 1, 2))
    look(ask, group, "one topic")
    say(ask, group, MEMBER, epoch, "no topics", subscribedTopicNames=[])
    look(ask, group, "none")
