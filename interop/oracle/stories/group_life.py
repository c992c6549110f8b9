"""A classic group whose members have connections of their own: rebalances, timeouts, replaced members."""

import time

from interop.oracle.asker import Asker, Json
from interop.oracle.stories.groups import b64, commit, join, subscription
from interop.oracle.story import story

APIS = ("JoinGroup", "SyncGroup", "Heartbeat", "LeaveGroup", "DescribeGroups", "OffsetCommit")
# Long enough for a request of one connection to be handled before the next connection sends.
IN_ORDER_S = 0.15


class Member:
    """A member of a group on its own connection; ``protocols`` are pairs of a name and its metadata."""

    def __init__(
        self,
        ask: Asker,
        name: str,
        group: str,
        *,
        protocols: tuple[tuple[str, str], ...] = (("range", subscription("x")),),
        instance: str | None = None,
        session_ms: int = 10_000,
        rebalance_ms: int = 5000,
    ) -> None:
        self.ask = ask.other(name)
        self.group = group
        self.protocols = protocols
        self.instance = instance
        self.session_ms = session_ms
        self.rebalance_ms = rebalance_ms
        self.member_id = ""
        self.generation = -1
        self.protocol = protocols[0][0]

    def send_join(self, label: str = "") -> None:
        """A new dynamic member first gets its id; the JoinGroup that waits is answered by ``joined``."""
        if not self.member_id and self.instance is None:
            self.member_id = self.ask.ask("JoinGroup", 9, self.join_request(), label=label)["memberId"]
        self.ask.send("JoinGroup", 9, self.join_request(), label=label)
        time.sleep(IN_ORDER_S)

    def joined(self) -> Json:
        answer = self.ask.receive()
        if answer.get("errorCode") == 0:
            self.member_id, self.generation = answer["memberId"], answer["generationId"]
            self.protocol = answer["protocolName"]
        return answer

    def send_sync(self, label: str = "", **assignments: str) -> None:
        """``assignments`` by member id, which only the leader gives."""
        given = [{"memberId": member_id, "assignment": b64(text)} for member_id, text in assignments.items()]
        body = {**self._who(), "protocolType": "consumer", "protocolName": self.protocol, "assignments": given}
        self.ask.send("SyncGroup", 5, body, label=label)
        time.sleep(IN_ORDER_S)

    def synced(self) -> Json:
        return self.ask.receive()

    def beat(self, label: str = "") -> Json:
        return self.ask.ask("Heartbeat", 4, self._who(), label=label)

    def beat_until(self, code: int, timeout_s: float = 20) -> None:
        self.ask.until("Heartbeat", 4, self._who(), lambda got: got["errorCode"] == code, timeout_s=timeout_s)

    def commit(self, topic: str, offset: int, label: str = "") -> None:
        body = commit(
            self.group,
            (topic, "", 0, offset, ""),
            member=self.member_id,
            generation=self.generation,
            instance=self.instance,
        )
        self.ask.ask("OffsetCommit", 8, body, label=label)

    def leave(self) -> None:
        who = {"memberId": self.member_id, "groupInstanceId": self.instance}
        self.ask.ask("LeaveGroup", 5, {"groupId": self.group, "members": [who]})

    def join_request(self) -> Json:
        wish = join(
            self.group, self.member_id, protocols=self.protocols, instance=self.instance, session=self.session_ms
        )
        return {**wish, "rebalanceTimeoutMs": self.rebalance_ms}

    def _who(self) -> Json:
        return {
            "groupId": self.group,
            "generationId": self.generation,
            "memberId": self.member_id,
            "groupInstanceId": self.instance,
        }


def describe(ask: Asker, group: str, label: str) -> None:
    ask.ask("DescribeGroups", 6, {"groups": [group]}, label=label)


def rebalance(*members: Member, label: str = "") -> None:
    """All join and sync; the first is the leader and assigns to each member its place in the list."""
    for member in members:
        member.send_join(label)
    for member in members:
        member.joined()
    assign(*members, label=label)


def assign(*members: Member, label: str = "") -> None:
    for member in members[1:]:
        member.send_sync(label)
    members[0].send_sync(label, **{each.member_id: f"part {place}" for place, each in enumerate(members)})
    for member in members:
        member.synced()


def stable_group(ask: Asker, group: str, count: int, **fields: object) -> list[Member]:
    """Members that joined one after the other, so that the first is the leader of a known order."""
    members = [Member(ask, f"member {number}", group, **fields) for number in range(count)]  # type: ignore[arg-type]
    rebalance(members[0])
    for present in range(1, count):
        members[present].send_join()
        for member in members[:present]:
            member.beat_until(27)
        for member in members[:present]:
            member.send_join()
        for member in members[: present + 1]:
            member.joined()
        assign(*members[: present + 1])
    return members


def close(*members: Member) -> None:
    for member in members:
        member.ask.close()


@story(*APIS, "OffsetFetch")
def cooperative_rebalance(ask: Asker) -> None:
    """A member that must give up a partition joins again with new metadata as soon as it has (KIP-429)."""
    topic = ask.topic("t", 2)
    group = f"{ask.prefix}-g"

    def owning(*partitions: int) -> tuple[tuple[str, str], ...]:
        return (("cooperative-sticky", subscription(topic, *(f"own-{each}" for each in partitions))),)

    first = Member(ask, "first", group, protocols=owning())
    rebalance(first, label="alone")
    first.protocols = owning(0, 1)
    second = Member(ask, "second", group, protocols=owning())
    second.send_join("comes")
    first.beat_until(27)
    first.commit(topic, 5, "before it joins again")
    describe(ask, group, "a member comes")
    first.send_join("still owning both")
    first.joined()
    second.joined()
    first.commit(topic, 6, "before it syncs")
    second.send_sync("nothing yet")
    first.send_sync("gives one up", **{first.member_id: "0", second.member_id: ""})
    first.synced()
    second.synced()
    first.commit(topic, 7, "of what it gives up")
    first.protocols = owning(0)
    first.send_join("owning one")
    second.beat("the other gave one up")
    second.commit(topic, 8, "while it rebalances")
    second.send_join("for the second time")
    first.joined()
    second.joined()
    second.send_sync("gets one")
    first.send_sync("gives", **{first.member_id: "0", second.member_id: "1"})
    first.synced()
    second.synced()
    describe(ask, group, "both have one")
    second.leave()
    first.beat("the other left")
    first.send_join("alone again")
    first.joined()
    describe(ask, group, "not yet synced")
    first.send_sync("all again", **{first.member_id: "0,1"})
    first.synced()
    ask.ask("OffsetFetch", 7, {"groupId": group, "topics": None})
    close(first, second)


@story(*APIS)
def rebalance_timeouts(ask: Asker) -> None:
    """A member that sends heartbeats without joining, then a leader that joins without syncing, are removed."""
    group = f"{ask.prefix}-g"
    first, second = stable_group(ask, group, 2, rebalance_ms=1500, session_ms=30_000)
    third = Member(ask, "third", group, rebalance_ms=1500, session_ms=30_000)
    third.send_join("comes")
    first.beat_until(27)
    first.send_join("joins")
    second.beat("does not join")
    describe(ask, group, "one is awaited")
    first.joined()
    third.joined()
    second.beat("too late")
    second.send_join("too late")
    second.joined()
    describe(ask, group, "the late one is gone")
    third.send_sync("waits for the leader")
    third.synced()
    first.beat("did not sync")
    describe(ask, group, "the leader did not sync")
    third.beat("after the sync timeout")
    third.send_join("alone")
    third.joined()
    third.send_sync("alone", **{third.member_id: "all"})
    third.synced()
    describe(ask, group, "the follower leads")
    close(first, second, third)


@story(*APIS)
def followers_that_do_not_sync(ask: Asker) -> None:
    """The group is stable once the leader has assigned; a follower that never sends SyncGroup is removed later."""
    group = f"{ask.prefix}-g"
    first, second = stable_group(ask, group, 2, rebalance_ms=1500, session_ms=30_000)
    second.protocols = (("range", subscription("x", "changed")),)
    second.send_join("changed")
    first.beat_until(27)
    first.send_join()
    first.joined()
    second.joined()
    first.send_sync("assigns", **{first.member_id: "a", second.member_id: "b"})
    first.synced()
    describe(ask, group, "stable, one did not sync")
    second.beat("before it syncs")
    first.beat_until(27)
    describe(ask, group, "the follower is removed")
    second.send_sync("too late")
    second.synced()
    second.beat("too late")
    first.send_join("alone")
    first.joined()
    close(first, second)


@story(*APIS)
def sessions_end_in_a_rebalance(ask: Asker) -> None:
    """A silent member of a stable group; a member that got its id and never came back."""
    group = f"{ask.prefix}-g"
    first, second = stable_group(ask, group, 2, rebalance_ms=30_000, session_ms=6000)
    first.beat_until(27)
    describe(ask, group, "one is silent")
    second.beat("too late")
    second.commit("x", 3, "too late")
    pending = Member(ask, "pending", group, session_ms=6000)
    pending.ask.ask("JoinGroup", 9, pending.join_request(), label="gets an id")
    first.send_join("waits for the pending one")
    describe(ask, group, "one is pending")
    first.joined()
    first.send_sync("alone", **{first.member_id: "all"})
    first.synced()
    describe(ask, group, "alone")
    close(first, second, pending)


@story(*APIS)
def metadata_of_members_changes(ask: Asker) -> None:
    group = f"{ask.prefix}-g"
    leader, follower = members = stable_group(ask, group, 2)
    follower.send_join("follower, the same")
    follower.joined()
    leader.beat("a follower asked for nothing")
    leader.send_join("leader, the same")
    follower.beat("the leader asked for a rebalance")
    follower.send_join("after the leader")
    leader.joined()
    follower.joined()
    leader.send_join("leader, not yet synced, the same")
    leader.joined()
    follower.send_sync("waits")
    leader.protocols = (("range", subscription("x", "leader")),)
    leader.send_join("leader, not yet synced, changed")
    follower.synced()
    follower.send_join("after the change")
    leader.joined()
    follower.joined()
    assign(*members)
    follower.protocols = (("range", subscription("x", "follower")), ("other", subscription("x")))
    follower.send_join("follower, changed")
    leader.beat("a follower changed")
    describe(ask, group, "preparing")
    follower.protocols = (("range", subscription("x", "follower 2")),)
    replaced = follower.ask
    follower.ask = ask.other("follower, new connection")
    follower.send_join("changed again while it waits")
    # Apache Kafka never answers the request that another one of the member replaces.
    replaced.receive(timeout_s=1)
    replaced.close()
    leader.send_join()
    leader.joined()
    follower.joined()
    assign(*members)
    describe(ask, group, "stable")
    follower.protocols = (("other", subscription("x")),)
    follower.send_join("follower, no common protocol")
    follower.joined()
    leader.beat("after a refused change")
    close(*members)


@story(*APIS)
def static_members_replaced_in_a_rebalance(ask: Asker) -> None:
    """KIP-345: the instance comes back on a new connection before, in and after each phase of a rebalance."""
    for phase in ("waits to join", "did not join", "joined", "waits to sync", "stable", "stable, changed"):
        for role in ("leader", "follower"):
            group = f"{ask.prefix}-{role}-{phase.replace(' ', '-').replace(',', '')}"
            replace_static_member(ask, group, phase, role)


def replace_static_member(ask: Asker, group: str, phase: str, role: str) -> None:
    first, second = Member(ask, "first", group, instance="one"), Member(ask, "second", group, instance="two")
    rebalance(first)
    second.send_join()
    first.beat_until(27)
    first.send_join()
    first.joined()
    second.joined()
    assign(first, second)
    old, other = (first, second) if role == "leader" else (second, first)
    label = f"{role}, {phase}"
    if not phase.startswith("stable"):
        (other if phase == "did not join" else old).protocols = (("range", subscription("x", "changed")),)
        (other if phase == "did not join" else old).send_join(label)
    if phase in ("joined", "waits to sync"):
        other.send_join(label)
        old.joined()
        other.joined()
    if phase == "waits to sync":
        assignments = {first.member_id: "1", second.member_id: "2"} if old is first else {}
        if not assignments:
            old.send_sync(label)
    new = Member(ask, "new", group, instance=old.instance, protocols=old.protocols)
    if phase == "stable, changed":
        new.protocols = (("range", subscription("x", "new")),)
    new.send_join(label)
    if phase == "waits to join":
        old.joined()
    if phase == "waits to sync" and role == "follower":
        old.synced()
    old.beat(f"{label}: the old one")
    other.beat(f"{label}: the other")
    describe(ask, group, label)
    if phase.startswith("stable"):
        new.joined()
        new.beat(f"{label}: the new one")
        new.send_sync(f"{label}: the new one")
        new.synced()
    else:
        if phase != "did not join":
            other.send_join(f"{label}: again")
        new.joined()
        other.joined()
    describe(ask, group, f"{label}: in the end")
    close(first, second, new)
