"""Streams groups (KIP-1071): joining, topologies and their topics, tasks, static members, refusals, other kinds."""

import time

from interop.oracle.asker import Asker
from interop.oracle.stories.consumer_groups import first_of
from interop.oracle.stories.groups import MEMBER, beat, commit, join, joined, subscription
from interop.oracle.story import story

OTHER = MEMBER.replace("Me", "Yo")
APIS = ("StreamsGroupHeartbeat", "StreamsGroupDescribe")


def info(name: str, partitions: int = 0, configs: dict[str, str] | None = None) -> dict:
    pairs = [{"key": key, "value": value} for key, value in (configs or {}).items()]
    return {"name": name, "partitions": partitions, "replicationFactor": 0, "topicConfigs": pairs}


def subtopology(name: str, *sources: str, **fields) -> dict:
    return {
        "subtopologyId": name, "sourceTopics": list(sources), "sourceTopicRegex": [], "stateChangelogTopics": [],
        "repartitionSinkTopics": [], "repartitionSourceTopics": [], "copartitionGroups": [], **fields,
    }  # fmt: skip


def tasks(**partitions: list[int]) -> list[dict]:
    return [{"subtopologyId": name.strip("_"), "partitions": held} for name, held in partitions.items()]


def body(group: str, member: str, epoch: int, **fields) -> dict:
    nothing: dict = {"activeTasks": [], "standbyTasks": [], "warmupTasks": []}
    return {
        "groupId": group,
        "memberId": member,
        "memberEpoch": epoch,
        "endpointInformationEpoch": -1,
        **nothing,
        **fields,
    }


def first(*subtopologies: dict, epoch: int = 0, process: str = "p1", **fields) -> dict:
    topology = {"epoch": epoch, "subtopologies": list(subtopologies)}
    return {"rebalanceTimeoutMs": 5000, "topology": topology, "processId": process, **fields}


def say(  # noqa: PLR0917
    ask: Asker, group: str, member: str, epoch: int, label: str, version: int = 1, **fields
) -> dict:
    return ask.ask("StreamsGroupHeartbeat", version, body(group, member, epoch, **fields), label=label)


def look(ask: Asker, group: str, label: str, version: int = 1) -> None:
    request = {"groupIds": [group], "includeAuthorizedOperations": True}
    ask.ask("StreamsGroupDescribe", version, request, label=label)


def group_of(ask: Asker, stem: str = "g", **configs: str) -> str:
    """A group that settles at once: without delays, and with the same heartbeat interval on both brokers."""
    group = f"{ask.prefix}-{stem}"
    wanted = {
        "streams.initial.rebalance.delay.ms": "0", "streams.assignment.interval.ms": "0",
        "streams.heartbeat.interval.ms": "5000", **{name.replace("_", "."): value for name, value in configs.items()},
    }  # fmt: skip
    changes = [{"name": name, "configOperation": 0, "value": value} for name, value in wanted.items()]
    entry = {"resourceType": 32, "resourceName": group, "configs": changes}
    ask.ask("IncrementalAlterConfigs", 1, {"resources": [entry], "validateOnly": False}, label=f"of {stem}")

    def is_set(answer: dict) -> bool:
        found = {each["name"]: each["value"] for each in answer["results"][0]["configs"]}
        return all(found.get(name) == value for name, value in wanted.items())

    described = {"resources": [{"resourceType": 32, "resourceName": group, "configurationKeys": None}]}
    ask.until("DescribeConfigs", 4, described, is_set)
    return group


def settled(ask: Asker, group: str, member: str, epoch: int, version: int = 1, **fields) -> int:
    """Beat until the member has tasks that stay; gives its epoch."""
    quiet = 0
    owned: dict = {"activeTasks": [], "standbyTasks": [], "warmupTasks": []}
    for _ in range(60):
        request = {**body(group, member, epoch, **fields), **owned}
        answer = ask.ask("StreamsGroupHeartbeat", version, request, note=False)
        assert answer["errorCode"] == 0, answer
        quiet = quiet + 1 if answer["memberEpoch"] == epoch and not answer["status"] else 0
        epoch = answer["memberEpoch"]
        owned = {kind: owned[kind] if answer[kind] is None else answer[kind] for kind in owned}
        if quiet > 1:
            break
        time.sleep(0.1)  # a poll, bounded above
    ask.note("settled", [epoch, owned])
    return epoch


@story(*APIS, smoke=True)
def life_of_a_streams_group(ask: Asker) -> None:
    topic, changelog = ask.topic("t", 2), f"{ask.prefix}-changelog"
    group = group_of(ask)
    counting = subtopology("0", topic, stateChangelogTopics=[info(changelog, configs={"cleanup.policy": "compact"})])
    for version in (0, 1):
        look(ask, group, "before", version)
    answer = say(ask, group, MEMBER, 0, "joins", **first(counting))
    look(ask, group, "one member, no tasks yet")
    ask.ready(changelog, 2)
    epoch = settled(ask, group, MEMBER, answer["memberEpoch"])
    for version in (0, 1):
        look(ask, group, "one member", version)
    say(ask, group, MEMBER, epoch, "nothing new", activeTasks=tasks(_0=[0, 1]))
    say(ask, group, MEMBER, epoch, "at version 0", 0, activeTasks=tasks(_0=[0, 1]))
    ask.ask("ListGroups", 5, {}, own=True)
    ask.ask("ListGroups", 5, {"statesFilter": ["stable"], "typesFilter": ["streams"]}, own=True)
    ask.ask("DescribeGroups", 6, {"groups": [group]})
    ask.ask("DeleteGroups", 2, {"groupsNames": [group]}, label="not empty")
    ask.ask("ConsumerGroupDescribe", 1, {"groupIds": [group]}, label="of a streams group")
    ask.ask("ConsumerGroupHeartbeat", 1, beat(group, OTHER, 0, **first_of(topic)), label="to a streams group")
    ask.ask("JoinGroup", 9, join(group, protocols=(("range", subscription(topic)),)), label="to a streams group")
    member = {"member": MEMBER, "generation": epoch}
    ask.ask("OffsetCommit", 9, commit(group, (topic, "", 0, 4, ""), **member), label="with its epoch")
    ask.ask("OffsetCommit", 8, commit(group, (topic, "", 0, 4, ""), **member), label="before member epochs")
    newer, older = {**member, "generation": epoch + 1}, {**member, "generation": 0}
    ask.ask("OffsetCommit", 9, commit(group, (topic, "", 0, 4, ""), **newer), label="with a newer epoch")
    ask.ask("OffsetCommit", 9, commit(group, (topic, "", 0, 4, ""), **older), label="with an older epoch")
    ask.ask("OffsetCommit", 9, commit(group, ("elsewhere", "", 0, 4, ""), **older), label="not its topic")
    ask.ask("OffsetCommit", 9, commit(group, (topic, "", 9, 4, ""), **older), label="not its partition")
    ask.ask("OffsetCommit", 9, commit(group, (topic, "", 0, 4, ""), member="x", generation=1), label="of no member")
    ask.ask("OffsetCommit", 9, commit(group, (topic, "", 0, 4, "")), label="without a member")
    fetch = {"groupId": group, "memberId": MEMBER, "memberEpoch": epoch, "topics": None}
    for label, fields in (
        ("of the member", {}), ("stale", {"memberEpoch": 1}), ("of no member", {"memberId": "x"}),
        ("without a member", {"memberId": None, "memberEpoch": -1}),
    ):  # fmt: skip
        ask.ask("OffsetFetch", 9, {"groups": [{**fetch, **fields}], "requireStable": False}, label=label)
    deletion = {"groupId": group, "topics": [{"name": topic, "partitions": [{"partitionIndex": 0}]}]}
    ask.ask("OffsetDelete", 0, deletion, label="that the group reads")
    second = say(ask, group, OTHER, 0, "a second process joins", **first(counting, process="p2"))
    answer = say(ask, group, MEMBER, epoch, "it must revoke", activeTasks=tasks(_0=[0, 1]))
    say(ask, group, OTHER, second["memberEpoch"], "it waits")
    look(ask, group, "both reconcile")
    answer = say(ask, group, MEMBER, answer["memberEpoch"], "it has revoked", activeTasks=answer["activeTasks"] or [])
    epoch = answer["memberEpoch"]
    theirs = settled(ask, group, OTHER, second["memberEpoch"])
    look(ask, group, "two members")
    say(ask, group, OTHER, -1, "leaves")
    say(ask, group, OTHER, theirs, "is gone")
    say(ask, group, MEMBER, -1, "the last one leaves")
    look(ask, group, "empty")
    ask.ask("ListGroups", 5, {}, own=True)
    ask.ask("DeleteGroups", 2, {"groupsNames": [group]}, label="empty")
    look(ask, group, "deleted")


@story(*APIS)
def streams_heartbeats_that_are_refused(ask: Asker) -> None:
    topic = ask.topic("t", 2)
    group = group_of(ask)
    good = first(subtopology("0", topic))
    for label, member, epoch, fields in (
        ("no member id", "", 0, good), ("blank rack", MEMBER, 0, {**good, "rackId": " "}),
        ("blank instance", MEMBER, 0, {**good, "instanceId": ""}), ("no timeout", MEMBER, 0, {**good, "rebalanceTimeoutMs": -1}),
        ("no topology", MEMBER, 0, {**good, "topology": None}), ("owns when joining", MEMBER, 0, {**good, "activeTasks": tasks(_0=[0])}),
        ("owns standby", MEMBER, 0, {**good, "standbyTasks": tasks(_0=[0])}), ("owns warmup", MEMBER, 0, {**good, "warmupTasks": tasks(_0=[0])}),
        ("one kind only", MEMBER, 1, {"standbyTasks": None}), ("-2 without instance", MEMBER, -2, {}), ("-3", MEMBER, -3, {}),
        ("topology later", MEMBER, 1, {"topology": good["topology"]}), ("no group", MEMBER, 1, {}), ("leaves no group", MEMBER, -1, {}),
        ("regex", MEMBER, 0, first(subtopology("0", sourceTopicRegex=["a.*"]))),
        ("changelog with partitions", MEMBER, 0, first(subtopology("0", topic, stateChangelogTopics=[info("c", 2)]))),
        ("internal topic", MEMBER, 0, first(subtopology("0", "__consumer_offsets"))),
        ("bad name", MEMBER, 0, first(subtopology("0", "a b", repartitionSinkTopics=["c/d"]))),
        ("no sources", MEMBER, 0, first(subtopology("0"))),
        ("the same id twice", MEMBER, 0, first(subtopology("0", topic), subtopology("0", topic))),
    ):  # fmt: skip
        say(ask, group, member, epoch, label, **fields)
    answer = say(ask, group, MEMBER, 0, "joins", **good)
    epoch = settled(ask, group, MEMBER, answer["memberEpoch"])
    say(ask, group, MEMBER, epoch + 1, "greater epoch")
    say(ask, group, MEMBER, epoch - 1, "smaller epoch", activeTasks=tasks(_0=[7]))
    say(ask, group, OTHER, epoch, "unknown member")
    say(ask, group, OTHER, -1, "an unknown member leaves")
    say(ask, group, MEMBER, epoch, "unknown subtopology", activeTasks=tasks(_9=[0]))
    say(ask, group, MEMBER, epoch, "unknown task", activeTasks=tasks(_0=[2]))
    say(ask, group, MEMBER, epoch, "unknown standby task", standbyTasks=tasks(_0=[-1]))
    twice = [{"subtopologyId": "0", "partition": 0, "offset": 5}] * 2
    say(ask, group, MEMBER, epoch, "offsets twice", taskOffsets=twice)
    say(ask, group, OTHER, 0, "another topology", **first(subtopology("0", topic, repartitionSinkTopics=["x"])))
    say(ask, group, OTHER, 0, "a newer topology", **first(subtopology("0", topic), epoch=3))
    look(ask, group, "as before")
    for name in ("", f"{ask.prefix}-none"):
        look(ask, name, "no such group")
    description = {
        "groupId": group,
        "memberId": MEMBER,
        "topologyEpoch": 0,
        "topologyDescription": {"subtopologies": [], "globalStores": []},
    }
    ask.ask("StreamsGroupTopologyDescriptionUpdate", 0, description)


@story(*APIS)
def topologies_and_the_topics_that_exist(ask: Asker) -> None:
    two, three = ask.topic("two", 2), ask.topic("three", 3)
    pair = [{"sourceTopics": [0, 1], "sourceTopicRegex": [], "repartitionSourceTopics": []}]
    mixed = [{"sourceTopics": [0], "sourceTopicRegex": [], "repartitionSourceTopics": [0]}]
    inner = [{"sourceTopics": [], "sourceTopicRegex": [], "repartitionSourceTopics": [0, 1]}]
    p = ask.prefix
    for number, (label, parts) in enumerate((
        ("missing sources", [subtopology("0", f"{p}-b", f"{p}-a", two), subtopology("1", f"{p}-c", f"{p}-d")]),
        ("not copartitioned", [subtopology("0", two, three, copartitionGroups=pair)]),
        ("a fixed repartition topic differs", [
            subtopology("0", two, repartitionSinkTopics=[f"{p}-r1"]),
            subtopology("1", two, repartitionSourceTopics=[info(f"{p}-r1", 3)], copartitionGroups=mixed)]),
        ("fixed repartition topics differ", [
            subtopology("0", two, repartitionSinkTopics=[f"{p}-r2", f"{p}-r3"]),
            subtopology("1", repartitionSourceTopics=[info(f"{p}-r2", 3), info(f"{p}-r3", 4)], copartitionGroups=inner)]),
        ("a loop", [subtopology("0", repartitionSourceTopics=[info(f"{p}-l")], repartitionSinkTopics=[f"{p}-l"])]),
        ("no sink", [subtopology("0", two, repartitionSourceTopics=[info(f"{p}-n")])]),
        ("an internal topic of another size", [subtopology("0", two, stateChangelogTopics=[info(three)])]),
        ("a copartition index", [subtopology("0", two, copartitionGroups=pair)]),
        ("a negative count", [subtopology("0", repartitionSourceTopics=[info(f"{p}-m", -2)])]),
    )):  # fmt: skip
        group = group_of(ask, f"g{number}")
        say(ask, group, MEMBER, 0, label, **first(*parts))
        look(ask, group, label)
    group = group_of(ask, "all")
    names = [f"{p}-{name}" for name in ("first", "second", "store", "other")]
    parts = [
        subtopology("0", three, repartitionSinkTopics=names[:2]),
        subtopology("1", two, repartitionSourceTopics=[info(names[0])], copartitionGroups=mixed,
            stateChangelogTopics=[info(names[2], configs={"cleanup.policy": "compact", "retention.ms": "5000"})]),
        subtopology("2", repartitionSourceTopics=[info(names[1])], stateChangelogTopics=[info(names[3])]),
    ]  # fmt: skip
    answer = say(ask, group, MEMBER, 0, "internal topics are created", **first(*parts))
    for name, count in zip(names, (2, 3, 2, 3), strict=True):
        ask.ready(name, count)
    described = {
        "resources": [
            {"resourceType": 2, "resourceName": names[2], "configurationKeys": ["cleanup.policy", "retention.ms"]}
        ]
    }
    ask.ask("DescribeConfigs", 4, described)
    settled(ask, group, MEMBER, answer["memberEpoch"])
    look(ask, group, "with all topics")


@story(*APIS)
def static_members_of_a_streams_group(ask: Asker) -> None:
    topic = ask.topic("t", 2)
    group = group_of(ask)
    wish = first(subtopology("0", topic), userEndpoint={"host": "here", "port": 1})
    answer = say(ask, group, MEMBER, 0, "joins", **wish, instanceId="one")
    epoch = settled(ask, group, MEMBER, answer["memberEpoch"], instanceId="one")
    say(ask, group, OTHER, 0, "its instance is taken", **wish, instanceId="one")
    say(ask, group, MEMBER, epoch, "an instance that is not there", instanceId="two")
    say(ask, group, OTHER, epoch, "another member of the instance", instanceId="one")
    say(ask, group, OTHER, -1, "another member leaves", instanceId="one")
    say(ask, group, MEMBER, -1, "leaves as another instance", instanceId="two")
    say(ask, group, MEMBER, -2, "goes for a while", instanceId="one")
    look(ask, group, "away")
    ask.ask("OffsetCommit", 9, commit(group, (topic, "", 0, 4, ""), member=MEMBER, generation=epoch), label="away")
    answer = say(ask, group, OTHER, 0, "comes back with another id", **wish, instanceId="one")
    look(ask, group, "back")
    say(ask, group, MEMBER, epoch, "the first id is fenced", instanceId="one")
    settled(ask, group, OTHER, answer["memberEpoch"], instanceId="one")
    look(ask, group, "settled")
    say(ask, group, OTHER, -1, "leaves for good", instanceId="one")
    look(ask, group, "empty")


@story(*APIS)
def standby_tasks_endpoints_tags_and_shutdown(ask: Asker) -> None:
    topic, changelog = ask.topic("t", 3), f"{ask.prefix}-c"
    group = group_of(ask, streams_num_standby_replicas="1", streams_rack_aware_assignment_tags="zone,cluster")
    parts = subtopology("0", topic, stateChangelogTopics=[info(changelog)])
    tags = [{"key": "zone", "value": "a"}]
    here, there = {"host": "here", "port": 7}, {"host": "there", "port": 8}
    answer = say(ask, group, MEMBER, 0, "joins", **first(parts, userEndpoint=here, clientTags=tags))
    ask.ready(changelog, 3)
    say(ask, group, MEMBER, answer["memberEpoch"], "version 0 has no status of tags", 0)
    for _ in range(3):
        answer = say(ask, group, MEMBER, answer["memberEpoch"], "gets its tasks")
    offsets = [{"subtopologyId": "0", "partition": n, "offset": 10 * n} for n in range(3)]
    say(ask, group, MEMBER, answer["memberEpoch"], "reports offsets", taskOffsets=offsets, taskEndOffsets=offsets)
    second = say(ask, group, OTHER, 0, "another process joins", **first(parts, process="p2", userEndpoint=there))
    first_epoch, second_epoch = answer["memberEpoch"], second["memberEpoch"]
    held = {MEMBER: {"activeTasks": tasks(_0=[0, 1, 2])}, OTHER: {}}
    for turn in range(4):
        for member, epoch in ((MEMBER, first_epoch), (OTHER, second_epoch)):
            answer = say(ask, group, member, epoch, f"turn {turn}", **held[member])
            for kind in ("activeTasks", "standbyTasks"):
                if answer[kind] is not None:
                    held[member] = {**held[member], kind: answer[kind]}
            if member == MEMBER:
                first_epoch = answer["memberEpoch"]
            else:
                second_epoch = answer["memberEpoch"]
    look(ask, group, "with standby tasks")
    say(ask, group, MEMBER, first_epoch, "asks for the end", shutdownApplication=True, **held[MEMBER])
    say(ask, group, OTHER, second_epoch, "gets it", **held[OTHER])
    say(ask, group, MEMBER, -1, "leaves", shutdownApplication=True)
    say(ask, group, OTHER, -1, "leaves too")
    say(ask, group, OTHER, 0, "joins again", **first(parts, process="p2"))


@story(*APIS)
def streams_groups_and_other_kinds_of_groups(ask: Asker) -> None:
    topic = ask.topic("t", 1)
    wish = first(subtopology("0", topic))
    group = group_of(ask, "classic")
    member, _ = joined(ask, group, protocols=(("range", subscription(topic)),))
    say(ask, group, MEMBER, 0, "a classic group", **wish)
    leaving = {"groupId": group, "members": [{"memberId": member, "groupInstanceId": None}]}
    ask.ask("LeaveGroup", 5, leaving)
    say(ask, group, MEMBER, 0, "an empty classic group", **wish)
    look(ask, group, "converted")
    say(ask, group, MEMBER, -1, "leaves")
    joined(ask, group, protocols=(("range", subscription(topic)),))
    ask.ask("DescribeGroups", 6, {"groups": [group]}, label="converted back")
    look(ask, group, "converted back")
    group = group_of(ask, "consumer")
    ask.ask("ConsumerGroupHeartbeat", 1, beat(group, OTHER, 0, **first_of(topic)), label="joins")
    say(ask, group, MEMBER, 0, "a consumer group", **wish)
    look(ask, group, "a consumer group")
    ask.ask("ConsumerGroupHeartbeat", 1, beat(group, OTHER, -1))
    say(ask, group, MEMBER, 0, "an empty consumer group", **wish)
    group = group_of(ask, "offsets")
    ask.ask("OffsetCommit", 9, commit(group, (topic, "", 0, 4, "")))
    say(ask, group, MEMBER, 0, "a group with offsets only", **wish)
    fetch = {"groupId": group, "memberId": None, "memberEpoch": -1, "topics": None}
    ask.ask("OffsetFetch", 9, {"groups": [fetch], "requireStable": False})
