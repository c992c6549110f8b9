"""How a classic group elects its protocol: ties, and names that a request repeats."""

from interop.oracle.asker import Asker
from interop.oracle.stories.groups import join, joined
from interop.oracle.story import story


@story("JoinGroup", "SyncGroup", "Heartbeat")
def votes_that_tie(ask: Asker) -> None:
    """Each pair has names of different buckets of a Java HashMap: else the random ids of members decide."""
    for names in (
        ("range", "roundrobin"),
        ("roundrobin", "range"),
        ("b", "a"),
        ("zz", "aab"),
        ("range", "sticky"),
        ("range", "cooperative-sticky"),
        ("x1", "sticky"),
    ):
        group = f"{ask.prefix}-{'-'.join(names)}"
        first_order = tuple((name, "") for name in names)
        first, _ = joined(ask, group, protocols=first_order)
        member = {"groupId": group, "generationId": 1, "memberId": first}
        ask.ask("SyncGroup", 5, {**member, "protocolType": "consumer", "protocolName": names[0], "assignments": []})
        other = ask.other("second")
        second_order = tuple(reversed(first_order))
        second = other.ask("JoinGroup", 9, join(group, protocols=second_order))["memberId"]
        other.send("JoinGroup", 9, join(group, second, protocols=second_order))
        ask.until("Heartbeat", 4, member, lambda got: got["errorCode"] == 27)
        ask.send("JoinGroup", 9, join(group, first, protocols=first_order))
        answers = [ask.receive(note=False), other.receive(note=False)]
        ask.note(f"{names} and reversed", [answer["protocolName"] for answer in answers])
        other.close()


@story("JoinGroup", "Heartbeat")
def protocol_names_repeated(ask: Asker) -> None:
    """A group whose only member repeats its only protocol never completes a join in Apache Kafka."""
    for version in (5, 9, 2):
        group = f"{ask.prefix}-{version}"
        wish = (("range", ""), ("range", ""))
        member_id = ask.ask("JoinGroup", version, join(group, protocols=wish))["memberId"] if version > 3 else ""
        ask.send("JoinGroup", version, join(group, member_id, protocols=wish), label="repeated")
        ask.receive(timeout_s=3)
        ask.ask("Heartbeat", 4, {"groupId": group, "generationId": 7, "memberId": "unknown"}, label="still served")
