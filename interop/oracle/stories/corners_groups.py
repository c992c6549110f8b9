"""Repeated names, invalid partitions and unknown members in requests about groups."""

from interop.oracle.asker import Asker, records, versions
from interop.oracle.stories.groups import b64, commit, join, joined, subscription
from interop.oracle.story import story


@story("OffsetCommit", "OffsetFetch", "OffsetDelete")
def offsets_of_odd_requests(ask: Asker) -> None:
    topic = ask.topic("t", 2)
    topic_id = ask.topic_id(topic)
    group = f"{ask.prefix}-g"

    def entry(partition: int, offset: int, metadata: str | None = "", name: str = topic) -> tuple:
        return (name, topic_id if name == topic else "AAAAAAAAAAAAAAAAAAAAAA", partition, offset, metadata)

    for version in (2, 8, 9, 10):
        for label, body in (
            ("a partition twice", commit(group, entry(0, 1), entry(0, 2))),
            ("offset -2", commit(group, entry(0, -2))),
            ("a huge offset", commit(group, entry(0, 2**62))),
            ("partition -1", commit(group, entry(-1, 1))),
            ("no name", commit(group, entry(0, 1, name=""))),
            ("the longest metadata", commit(group, entry(1, 1, "x" * 4096))),
            ("a byte more metadata", commit(group, entry(1, 2, "x" * 4097))),
            ("one good, one bad", commit(group, entry(0, 3), entry(0, 1, name="no-such"))),
            ("a member without a generation", commit(group, entry(0, 4), member="unknown-id")),
            ("a generation without a member", commit(group, entry(0, 5), generation=3)),
            ("generation -2", commit(group, entry(0, 6), generation=-2)),
            ("an instance without a member", commit(group, entry(0, 7), instance="one")),
        ):
            ask.ask("OffsetCommit", version, body, label=label)
    for version in versions("OffsetFetch"):
        twice = [{"name": topic, "partitionIndexes": [0, 0, -1]}]
        no_name = [{"name": "", "partitionIndexes": [0]}]
        for label, topics in (("a partition twice", twice), ("a topic twice", twice * 2), ("no name", no_name)):
            if version < 8:
                ask.ask("OffsetFetch", version, {"groupId": group, "topics": topics}, label=label)
                continue
            by_id = [{**one, "topicId": topic_id if one["name"] else "AAAAAAAAAAAAAAAAAAAAAA"} for one in topics]
            groups = [{"groupId": group, "memberId": None, "memberEpoch": -1, "topics": by_id}]
            ask.ask("OffsetFetch", version, {"groups": groups}, label=label)
        if version >= 8:
            topics = [{**one, "topicId": topic_id} for one in twice]
            one = {"groupId": group, "memberId": None, "memberEpoch": -1, "topics": topics}
            ask.ask("OffsetFetch", version, {"groups": [one, one]}, label="a group twice")
            ask.ask("OffsetFetch", version, {"groups": [{**one, "groupId": ""}]}, label="no group")
    for label, names in (
        ("a partition twice", [(topic, [0, 0])]),
        ("a topic twice", [(topic, [0]), (topic, [1])]),
        ("partition -1", [(topic, [-1])]),
        ("no name", [("", [0])]),
        ("bad name", [("bad name", [0])]),
        ("no partitions", [(topic, [])]),
    ):
        topics = [{"name": name, "partitions": [{"partitionIndex": p} for p in parts]} for name, parts in names]
        ask.ask("OffsetDelete", 0, {"groupId": group, "topics": topics}, label=label)


@story("OffsetDelete", "DeleteGroups", "DescribeGroups", "JoinGroup", "SyncGroup", "LeaveGroup")
def groups_in_use(ask: Asker) -> None:
    topic, other = ask.topic("t"), ask.topic("u")
    ask.produce(topic, records("a"), note=False)
    group = f"{ask.prefix}-g"
    member, _ = joined(ask, group, protocols=(("range", subscription(topic)),))
    sync = {
        "groupId": group,
        "generationId": 1,
        "memberId": member,
        "protocolType": "consumer",
        "protocolName": "range",
    }
    ask.ask("SyncGroup", 5, {**sync, "assignments": [{"memberId": member, "assignment": b64("x")}]})
    entries = [(name, "", 0, 1, "") for name in (topic, other)]
    ask.ask("OffsetCommit", 8, commit(group, *entries, member=member, generation=1))
    for name in (topic, other):
        topics = [{"name": name, "partitions": [{"partitionIndex": 0}]}]
        ask.ask("OffsetDelete", 0, {"groupId": group, "topics": topics}, label=f"of {name}")
    both = [{"name": name, "partitions": [{"partitionIndex": 0}]} for name in (topic, other)]
    ask.ask("OffsetDelete", 0, {"groupId": group, "topics": both}, label="of both")
    for version in versions("DeleteGroups"):
        names = [group, group, f"{group}-no-such"]
        ask.ask("DeleteGroups", version, {"groupsNames": names}, label="in use, and twice")
        ask.ask("DeleteGroups", version, {"groupsNames": []}, label="nothing")
    for version in versions("DescribeGroups"):
        ask.ask("DescribeGroups", version, {"groups": [group, group, f"{group}-no-such"]}, label="twice")
        ask.ask("DescribeGroups", version, {"groups": []}, label="nothing")
    unknown = {"memberId": "unknown-id", "groupInstanceId": None}
    for version in versions("LeaveGroup"):
        ask.ask("LeaveGroup", version, {"groupId": group, "memberId": "unknown-id", "members": [unknown, unknown]})
        ask.ask("LeaveGroup", version, {"groupId": "", "memberId": member, "members": [unknown]}, label="no group")
        if version >= 3:
            ask.ask("LeaveGroup", version, {"groupId": group, "members": []}, label="no members")
    here = {"memberId": member, "groupInstanceId": None}
    ask.ask("LeaveGroup", 5, {"groupId": group, "members": [here, here]}, label="twice")


@story("JoinGroup", "SyncGroup", "Heartbeat", "LeaveGroup")
def static_members_of_odd_requests(ask: Asker) -> None:
    group = f"{ask.prefix}-g"
    wish = (("range", subscription("x")),)
    member, _ = joined(ask, group, protocols=wish, instance="one")
    for label, body in (
        ("an empty instance", join(f"{group}-e", protocols=wish, instance="")),
        ("an instance with blanks", join(f"{group}-b", protocols=wish, instance="a b")),
        ("a long instance", join(f"{group}-l", protocols=wish, instance="x" * 300)),
        ("the instance of another member", join(group, "unknown-id", protocols=wish, instance="one")),
        ("an unknown instance with a member", join(group, member, protocols=wish, instance="two")),
        ("other protocols", join(group, member, protocols=(("other", ""),), instance="one")),
        ("a protocol twice", join(f"{group}-t", protocols=wish * 2)),
        ("a protocol without a name", join(f"{group}-n", protocols=(("", ""),))),
        ("blanks for a group", join(" ", protocols=wish)),
    ):
        ask.ask("JoinGroup", 9, body, label=label)
    sync = {
        "groupId": group, "generationId": 1, "memberId": member, "groupInstanceId": "one", "protocolType": "consumer",
        "protocolName": "range", "assignments": [],
    }  # fmt: skip
    for label, fields in (
        ("another instance", {"groupInstanceId": "two"}),
        ("another generation", {"generationId": 9}),
        ("another protocol", {"protocolName": "other"}),
        ("another type", {"protocolType": "connect"}),
        ("no protocol", {"protocolName": None, "protocolType": None}),
        ("another member", {"memberId": "unknown-id"}),
        ("another group", {"groupId": "no-such"}),
    ):
        ask.ask("SyncGroup", 5, {**sync, **fields}, label=label)
    beat = {"groupId": group, "generationId": 1, "memberId": member, "groupInstanceId": "one"}
    for label, fields in (
        ("generation -1", {"generationId": -1}),
        ("no member", {"memberId": ""}),
        ("no instance", {"groupInstanceId": None}),
        ("no group", {"groupId": ""}),
        ("another group", {"groupId": "no-such"}),
    ):
        ask.ask("Heartbeat", 4, {**beat, **fields}, label=label)
    ask.ask(
        "LeaveGroup",
        5,
        {
            "groupId": group,
            "members": [
                {"memberId": "unknown-id", "groupInstanceId": "one"},
                {"memberId": "", "groupInstanceId": ""},
                {"memberId": member, "groupInstanceId": None},
            ],
        },
        label="three ways",
    )
