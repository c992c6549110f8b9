"""Share groups (KIP-932): members, descriptions, start offsets, and what other APIs answer for a share group."""

import time

from interop.oracle.asker import Asker, Json
from interop.oracle.stories.groups import MEMBER, beat, commit, join
from interop.oracle.story import story

OTHER = MEMBER.replace("Me", "Yo")
NO_ID = "AAAAAAAAAAAAAAAAAAAAbg"


def share_beat(group: str, member: str, epoch: int, topics: list[str] | None = None, **fields: object) -> Json:
    return {
        "groupId": group, "memberId": member, "memberEpoch": epoch, "rackId": None, "subscribedTopicNames": topics,
        **fields,
    }  # fmt: skip


def warm_share_coordinator(ask: Asker) -> None:
    """The first state of a share partition creates the topic of the share coordinator."""
    body = {"keyType": 2, "coordinatorKeys": [f"{ask.prefix}-g:{NO_ID}:0"]}
    found = ask.until("FindCoordinator", 6, body, lambda got: got["coordinators"][0]["errorCode"] == 0, timeout_s=60)
    assert found
    state = {"groupId": f"{ask.prefix}-warm", "topics": [{"topicId": NO_ID, "partitions": [{"partition": 0}]}]}
    not_loaded = (14, 15, 16)
    ask.until(
        "ReadShareGroupStateSummary", 0, state,
        lambda got: got["results"][0]["partitions"][0]["errorCode"] not in not_loaded, timeout_s=60,
    )  # fmt: skip


def configure(ask: Asker, group: str, **configs: str) -> None:
    """Set configs of a group; underscores in a name stand for points."""
    wanted = [{"name": name.replace("_", "."), "configOperation": 0, "value": value} for name, value in configs.items()]
    resource = {"resourceType": 32, "resourceName": group, "configs": wanted}
    answer = ask.ask("IncrementalAlterConfigs", 1, {"resources": [resource]}, note=False)
    assert answer["responses"][0]["errorCode"] == 0, answer
    ask.wait_for_metadata()


def settled(ask: Asker, group: str, member: str, topics: list[str], partitions: int) -> int:
    """Join, and send heartbeats until the member has so many partitions; its epoch."""
    epoch = 0
    deadline = time.monotonic() + 60
    names: list[str] | None = topics
    while True:
        answer = ask.ask("ShareGroupHeartbeat", 1, share_beat(group, member, epoch, names), note=False)
        assert answer["errorCode"] == 0, answer
        epoch = answer["memberEpoch"]
        assigned = (answer["assignment"] or {}).get("topicPartitions", [])
        if sum(len(each["partitions"]) for each in assigned) == partitions:
            return epoch
        assert time.monotonic() < deadline, answer
        time.sleep(0.1)  # a poll, bounded above


def look(ask: Asker, label: str, *groups: str) -> None:
    body = {"groupIds": list(groups), "includeAuthorizedOperations": True}
    ask.ask("ShareGroupDescribe", 1, body, label=label)


def say(ask: Asker, label: str, group: str, member: str, epoch: int, *args: object, **fields: object) -> int:
    body = share_beat(group, member, epoch, *args, **fields)  # type: ignore[arg-type]
    return int(ask.ask("ShareGroupHeartbeat", 1, body, label=label).get("memberEpoch", 0))


@story("ShareGroupHeartbeat", "ShareGroupDescribe", smoke=True)
def life_of_a_share_group(ask: Asker) -> None:
    warm_share_coordinator(ask)
    topic = ask.topic("t", 1)
    group = f"{ask.prefix}-g"
    epoch = settled(ask, group, MEMBER, [topic], 1)
    ask.note("epoch when settled", epoch)
    say(ask, "settled", group, MEMBER, epoch, [topic])
    say(ask, "nothing new", group, MEMBER, epoch)
    look(ask, "one member", group)
    say(ask, "an epoch ahead", group, MEMBER, epoch + 1)
    say(ask, "an epoch long past", group, MEMBER, epoch - 2)
    say(ask, "a member that never joined", group, OTHER, 1)
    say(ask, "joins again", group, MEMBER, 0, [topic])
    other = settled(ask, group, OTHER, [topic], 1)
    ask.note("epoch of the second", other)
    epoch = say(ask, "the first after the second joined", group, MEMBER, epoch)
    say(ask, "again", group, MEMBER, epoch)
    look(ask, "two members", group)
    say(ask, "subscribes to a topic that does not exist", group, OTHER, other, [f"{ask.prefix}-none"])
    look(ask, "of two topics", group)
    say(ask, "leaves", group, OTHER, -1)
    say(ask, "leaves again", group, OTHER, -1)
    say(ask, "after it left", group, OTHER, other)
    look(ask, "one member again", group)
    ask.ask("ListGroups", 5, {"typesFilter": ["share"]}, own=True)
    ask.ask("ListGroups", 5, {"statesFilter": ["Stable"], "typesFilter": ["Share"]}, own=True, label="stable")
    ask.ask("ListGroups", 5, {"statesFilter": ["Empty"]}, own=True, label="empty")
    ask.ask("ListGroups", 4, {}, own=True)
    ask.ask("DeleteGroups", 2, {"groupsNames": [group]}, label="not empty")
    say(ask, "the last one leaves", group, MEMBER, -1)
    look(ask, "empty", group)
    ask.ask("ListGroups", 5, {"statesFilter": ["Empty"]}, own=True, label="empty now")
    ask.each_version("DeleteGroups", {"groupsNames": [group]}, lowest=2)
    look(ask, "deleted", group)


@story("ShareGroupHeartbeat")
def heartbeats_of_share_groups_refused(ask: Asker) -> None:
    topic = ask.topic("t", 1)
    group = f"{ask.prefix}-g"
    for label, body in (
        ("no group", share_beat("", MEMBER, 0, [topic])),
        ("a blank group", share_beat("  ", MEMBER, 0, [topic])),
        ("no member", share_beat(group, "", 0, [topic])),
        ("a blank member", share_beat(group, "   ", 0, [topic])),
        ("a long member", share_beat(group, "x" * 37, 0, [topic])),
        ("the longest member", share_beat(f"{group}-long", "x" * 36, 0, [topic])),
        ("no topics", share_beat(group, MEMBER, 0, [])),
        ("topics left out", share_beat(group, MEMBER, 0)),
        ("an empty rack", share_beat(group, MEMBER, 0, [topic], rackId="")),
        ("an empty topic name", share_beat(f"{group}-names", MEMBER, 0, [""])),
        ("a bad topic name", share_beat(f"{group}-bad", MEMBER, 0, ["bad name"])),
        ("a topic twice", share_beat(f"{group}-twice", MEMBER, 0, [topic, topic])),
        ("epoch -2", share_beat(group, MEMBER, -2, [topic])),
        ("epoch -3", share_beat(group, MEMBER, -3)),
        ("leaves a group that does not exist", share_beat(f"{group}-none", MEMBER, -1)),
        ("a group that does not exist", share_beat(f"{group}-none", MEMBER, 3)),
    ):
        ask.ask("ShareGroupHeartbeat", 1, body, label=label)
    for label, groups in (
        ("nothing", []),
        ("no name", [""]),
        ("one that does not exist", [f"{group}-none"]),
        ("several", [f"{group}-long", f"{group}-none", f"{group}-long", ""]),
    ):
        look(ask, label, *groups)


@story("ShareGroupHeartbeat", "ConsumerGroupHeartbeat", "JoinGroup", "OffsetCommit", "OffsetFetch")
def a_share_group_is_no_other_group(ask: Asker) -> None:
    topic = ask.topic("t", 1)
    topic_id = ask.topic_id(topic)
    group = f"{ask.prefix}-g"
    say(ask, "joins", group, MEMBER, 0, [topic])
    first = {"rebalanceTimeoutMs": 5000, "subscribedTopicNames": [topic], "topicPartitions": []}
    for when in ("with a member", "empty"):
        ask.ask("ConsumerGroupHeartbeat", 1, beat(group, OTHER, 0, **first), label=when)
        ask.ask("JoinGroup", 9, join(group), label=when)
        ask.ask("Heartbeat", 4, {"groupId": group, "generationId": 1, "memberId": MEMBER}, label=when)
        sync = {
            "groupId": group, "generationId": 1, "memberId": MEMBER, "protocolType": "consumer",
            "protocolName": "range", "assignments": [],
        }  # fmt: skip
        ask.ask("SyncGroup", 5, sync, label=when)
        leaving = {"groupId": group, "members": [{"memberId": MEMBER, "groupInstanceId": None}]}
        ask.ask("LeaveGroup", 5, leaving, label=when)
        ask.ask("OffsetCommit", 9, commit(group, (topic, topic_id, 0, 4, "")), label=when)
        ask.ask("OffsetCommit", 9, commit(group, (topic, topic_id, 0, 4, ""), member=MEMBER, generation=1), label=when)
        entry = {"groupId": group, "memberId": None, "memberEpoch": -1, "topics": None}
        for version in (8, 9, 10):
            ask.ask("OffsetFetch", version, {"groups": [entry]}, label=when)
        for member, epoch in ((MEMBER, 1), ("", 1), (MEMBER, -1), (None, 1)):
            named = {**entry, "memberId": member, "memberEpoch": epoch}
            ask.ask("OffsetFetch", 9, {"groups": [named]}, label=f"{when}, {member!r} {epoch}")
        parts = [{"name": topic, "partitions": [{"partitionIndex": 0}]}]
        ask.ask("OffsetDelete", 0, {"groupId": group, "topics": parts}, label=when)
        ask.ask("DescribeGroups", 5, {"groups": [group]}, label=when)
        ask.ask("DescribeGroups", 6, {"groups": [group]}, label=when)
        ask.ask("ConsumerGroupDescribe", 1, {"groupIds": [group]}, label=when)
        if when == "with a member":
            say(ask, "leaves", group, MEMBER, -1)
    simple = f"{ask.prefix}-simple"
    ask.ask("OffsetCommit", 9, commit(simple, (topic, topic_id, 0, 4, "")))
    consumer = f"{ask.prefix}-consumer"
    ask.ask("ConsumerGroupHeartbeat", 1, beat(consumer, OTHER, 0, **first), label="joins")
    for label, name in (("a simple group", simple), ("a consumer group", consumer)):
        say(ask, f"{label}, joins", name, MEMBER, 0, [topic])
        say(ask, f"{label}, stays", name, MEMBER, 3)
        say(ask, f"{label}, leaves", name, MEMBER, -1)
        look(ask, label, name)
        every = {"groups": [{"groupId": name, "topics": None}]}
        ask.ask("DescribeShareGroupOffsets", 1, every, label=label)
        ask.ask("DeleteShareGroupOffsets", 0, {"groupId": name, "topics": [{"topicName": topic}]}, label=label)
        starts = [{"topicName": topic, "partitions": [{"partitionIndex": 0, "startOffset": 0}]}]
        ask.ask("AlterShareGroupOffsets", 0, {"groupId": name, "topics": starts}, label=label)


@story("DescribeShareGroupOffsets", "AlterShareGroupOffsets", "DeleteShareGroupOffsets")
def offsets_of_a_share_group(ask: Asker) -> None:
    warm_share_coordinator(ask)
    topic = ask.topic("t", 2)
    unread = ask.topic("unread", 1)
    group = f"{ask.prefix}-g"

    def describe(label: str) -> None:
        named = [
            {"topicName": topic, "partitions": [0, 1]},
            {"topicName": unread, "partitions": [0]},
            {"topicName": f"{ask.prefix}-none", "partitions": [0]},
            {"topicName": "", "partitions": [0]},
        ]
        for version in (0, 1):
            for which, topics in (("all", None), ("some", named), ("none", [])):
                body = {"groups": [{"groupId": group, "topics": topics}]}
                ask.ask("DescribeShareGroupOffsets", version, body, label=f"{label}, {which}")

    def alter(label: str, *starts: tuple[str, int, int], of: str = group) -> None:
        topics: dict[str, list[Json]] = {}
        for name, index, start in starts:
            topics.setdefault(name, []).append({"partitionIndex": index, "startOffset": start})
        wanted = [{"topicName": name, "partitions": partitions} for name, partitions in topics.items()]
        ask.ask("AlterShareGroupOffsets", 0, {"groupId": of, "topics": wanted}, label=label)

    def delete(label: str, *names: str, of: str = group) -> None:
        body = {"groupId": of, "topics": [{"topicName": name} for name in names]}
        ask.ask("DeleteShareGroupOffsets", 0, body, label=label)

    describe("no group")
    body = {"groups": [{"groupId": group, "topics": [{"topicName": topic, "partitions": [0, -1]}]}]}
    ask.ask("DescribeShareGroupOffsets", 1, body, label="partition -1")
    delete("no group", topic)
    epoch = settled(ask, group, MEMBER, [topic], 2)
    describe("never fetched")
    alter("with a member", (topic, 0, 0))
    delete("with a member", topic)
    delete("nothing, with a member")
    say(ask, "leaves", group, MEMBER, -1)
    ask.note("epoch", epoch)
    alter("one", (topic, 0, 5))
    describe("altered")
    alter("both and others", (topic, 1, 0), (topic, 7, 0), (f"{ask.prefix}-none", 0, 0), ("", 0, 0))
    alter("partition -1", (topic, 1, 0), (topic, -1, 0), of=f"{group}-bad")
    alter("start -1", (topic, 1, -1))
    alter("start -2", (topic, 1, -2))
    alter("a partition twice", (topic, 1, 3), (topic, 1, 4))
    alter("a topic that was never read", (unread, 0, 1))
    alter("nothing")
    alter("no group", (topic, 0, 1), of="")
    alter("a new group", (topic, 0, 1), of=f"{group}-new")
    alter("only what does not exist", (f"{ask.prefix}-none", 0, 0), of=f"{group}-other")
    look(ask, "after alterations", group, f"{group}-new", f"{group}-other")
    describe("altered again")
    delete("a topic that does not exist", f"{ask.prefix}-none")
    delete("one and others", topic, f"{ask.prefix}-none", "")
    delete("again", topic)
    delete("a topic twice", unread, unread)
    delete("nothing")
    delete("no group", topic, of="")
    describe("deleted")
    groups = [
        {"groupId": group, "topics": None},
        {"groupId": "", "topics": None},
        {"groupId": f"{group}-none", "topics": []},
    ]
    ask.ask("DescribeShareGroupOffsets", 1, {"groups": groups}, label="several groups")
    ask.ask("DescribeShareGroupOffsets", 1, {"groups": []}, label="no groups")
    ask.ask("DeleteGroups", 2, {"groupsNames": [group, f"{group}-new", f"{group}-none"]})


@story(
    "InitializeShareGroupState", "ReadShareGroupState", "WriteShareGroupState", "DeleteShareGroupState",
    "ReadShareGroupStateSummary",
)  # fmt: skip
def states_of_share_partitions(ask: Asker) -> None:
    warm_share_coordinator(ask)
    topic = ask.topic("t", 2)
    topic_id = ask.topic_id(topic)
    group = f"{ask.prefix}-g"

    def state(
        api: str, label: str, *partitions: Json, version: int = 0, of: str = group, topic: str = topic_id
    ) -> None:
        body = {"groupId": of, "topics": [{"topicId": topic, "partitions": list(partitions)}]}
        ask.ask(api, version, body, label=label)

    def read(label: str, index: int = 0, leader: int = 0) -> None:
        state("ReadShareGroupState", label, {"partition": index, "leaderEpoch": leader})

    def summary(label: str, index: int = 0) -> None:
        for version in (0, 1):
            state("ReadShareGroupStateSummary", label, {"partition": index, "leaderEpoch": -1}, version=version)

    def write(label: str, *batches: tuple[int, int, int, int], version: int = 1, **fields: int) -> None:
        changed = [
            {"firstOffset": first, "lastOffset": last, "deliveryState": kind, "deliveryCount": count}
            for first, last, kind, count in batches
        ]
        given = {"partition": 0, "stateEpoch": 1, "leaderEpoch": 0, "startOffset": 0, "deliveryCompleteCount": 0}
        state("WriteShareGroupState", label, {**given, **fields, "stateBatches": changed}, version=version)

    def initialize(label: str, epoch: int, start: int, index: int = 0) -> None:
        wanted = {"partition": index, "stateEpoch": epoch, "startOffset": start}
        state("InitializeShareGroupState", label, wanted)

    read("leader -1", leader=-1)
    read("not there")
    summary("not there")
    write("not there", (0, 4, 0, 1))
    state("DeleteShareGroupState", "not there", {"partition": 0})
    initialize("first", 1, -1)
    read("first")
    summary("first")
    initialize("again", 1, 0)
    initialize("an older epoch", 0, 0)
    initialize("epoch -1", -1, 7)
    summary("epoch -1")
    initialize("a newer epoch", 1, 0)
    write("a batch", (0, 4, 0, 1))
    write("a part of it", (2, 3, 2, 1))
    read("combined")
    write("a higher count", (0, 1, 0, 2), (4, 4, 4, 1))
    read("combined again")
    write("leader -1", (5, 6, 0, 1), leaderEpoch=-1)
    write("state -1", (5, 6, 0, 1), stateEpoch=-1)
    write("neighbours that are alike", (5, 6, 0, 1), (7, 7, 0, 1))
    read("neighbours that are alike")
    write("a newer leader", (5, 6, 0, 1), leaderEpoch=7)
    read("leader 5", leader=5)
    read("leader 3", leader=3)
    write("leader 3", (5, 6, 0, 1), leaderEpoch=3)
    write("an older state", (5, 6, 0, 1), stateEpoch=0, leaderEpoch=5)
    write("a newer state", (5, 6, 0, 1), stateEpoch=9, leaderEpoch=5)
    summary("leader 5")
    write("the start moves", startOffset=3, leaderEpoch=5, deliveryCompleteCount=2)
    summary("the start moved")
    read("the start moved", leader=5)
    write("start -1", (8, 9, 0, 1), startOffset=-1, leaderEpoch=5)
    read("start -1", leader=5)
    write("a count and start -1", startOffset=-1, leaderEpoch=5, deliveryCompleteCount=3)
    summary("a count and start -1")
    write("at version 0", (10, 10, 2, 1), version=0, leaderEpoch=5, startOffset=3)
    summary("at version 0")
    write("what cannot be", (20, 15, 0, 1), leaderEpoch=5, startOffset=3)
    write("state 3", (21, 22, 3, 1), leaderEpoch=5, startOffset=3)
    write("state 1", (23, 24, 1, 1), leaderEpoch=5, startOffset=3)
    write("state 9", (25, 26, 9, 1), leaderEpoch=5, startOffset=3)
    read("after what cannot be", leader=5)
    for label, one, at in (
        ("partition -1", -1, topic_id),
        ("partition 7", 7, topic_id),
        ("an unknown topic", 0, NO_ID),
        ("no topic", 0, "AAAAAAAAAAAAAAAAAAAAAA"),
    ):
        state("InitializeShareGroupState", label, {"partition": one, "stateEpoch": 1, "startOffset": 0}, topic=at)
        state("ReadShareGroupState", label, {"partition": one, "leaderEpoch": 0}, topic=at)
        given = {"partition": one, "stateEpoch": 1, "leaderEpoch": 0, "startOffset": 0, "stateBatches": []}
        state("WriteShareGroupState", label, given, topic=at)
        state("ReadShareGroupStateSummary", label, {"partition": one, "leaderEpoch": 0}, topic=at)
        state("DeleteShareGroupState", label, {"partition": one}, topic=at)
    for api, wanted in (
        ("InitializeShareGroupState", {"stateEpoch": 1, "startOffset": 0}),
        ("ReadShareGroupState", {"leaderEpoch": 5}),
        ("WriteShareGroupState", {"stateEpoch": 1, "leaderEpoch": 5, "startOffset": 3, "stateBatches": []}),
        ("ReadShareGroupStateSummary", {"leaderEpoch": 5}),
    ):
        ask.ask(api, 0, {"groupId": group, "topics": []}, label="no topics")
        ask.ask(api, 0, {"groupId": group, "topics": [{"topicId": topic_id, "partitions": []}]}, label="no partitions")
        state(api, "no group", {"partition": 0, **wanted}, of="")
        state(api, "two partitions", {"partition": 0, **wanted}, {"partition": 1, **wanted})
    ask.ask("DeleteShareGroupState", 0, {"groupId": group, "topics": []}, label="no topics")
    state("DeleteShareGroupState", "no group", {"partition": 0}, of="")
    state("DeleteShareGroupState", "both", {"partition": 0}, {"partition": 1})
    read("deleted")
    summary("deleted")
