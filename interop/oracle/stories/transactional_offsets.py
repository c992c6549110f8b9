"""Offsets in transactions beside rebalances, deletions and other commits; markers of producers that do not exist."""

from interop.oracle.asker import Asker, Json
from interop.oracle.stories.group_life import Member, assign
from interop.oracle.stories.groups import commit
from interop.oracle.stories.transaction_edges import batch
from interop.oracle.stories.transactions import APIS, add, end, init, settled
from interop.oracle.story import story


class Producer:
    """A transactional producer of version 5 requests, which need no AddOffsetsToTxn (KIP-890)."""

    def __init__(self, ask: Asker, name: str, topic: str) -> None:
        self.ask, self.name, self.topic = ask, name, topic
        self.producer, self.epoch = init(ask, name)

    def commit(self, group: str, offset: int, label: str = "", *, partition: int = 0, **fields: object) -> Json:
        part = {
            "partitionIndex": partition,
            "committedOffset": offset,
            "committedLeaderEpoch": -1,
            "committedMetadata": "",
        }
        body = {
            "transactionalId": self.name, "groupId": group, "producerId": self.producer, "producerEpoch": self.epoch,
            "generationIdOrMemberEpoch": -1, "memberId": "", "groupInstanceId": None,
            "topics": [{"name": self.topic, "partitions": [part]}], **fields,
        }  # fmt: skip
        return self.ask.ask("TxnOffsetCommit", 5, body, label=label)

    def end(self, commits: bool) -> None:
        answer = end(self.ask, self.name, self.producer, self.epoch, commits, version=5)
        settled(self.ask, self.name)
        self.producer, self.epoch = answer["producerId"], answer["producerEpoch"]


def look(ask: Asker, group: str, topic: str, label: str, *, wait: bool = False) -> None:
    """What OffsetFetch answers; ``wait`` until no transaction is pending, as markers follow the end."""
    wish = {"groupId": group, "topics": [{"name": topic, "partitionIndexes": [0, 1]}], "requireStable": True}
    if wait:
        ask.until("OffsetFetch", 7, wish, lambda got: all(p["errorCode"] != 88 for p in got["topics"][0]["partitions"]))
    for stable in (True, False):
        ask.ask("OffsetFetch", 7, {**wish, "requireStable": stable}, label=f"{label}, stable {stable}")
    ask.ask("OffsetFetch", 7, {**wish, "topics": None}, label=f"{label}, all")


@story("TxnOffsetCommit", "JoinGroup", "SyncGroup", *APIS)
def transactional_offsets_in_a_rebalance(ask: Asker) -> None:
    topic = ask.topic("t", 2)
    group = f"{ask.prefix}-g"
    producer = Producer(ask, f"{ask.prefix}-tx", topic)
    first, second = Member(ask, "first", group), Member(ask, "second", group, instance="i")

    def as_member(member: Member, label: str, **fields: object) -> None:
        who = {
            "memberId": member.member_id,
            "generationIdOrMemberEpoch": member.generation,
            "groupInstanceId": member.instance,
        }
        producer.commit(group, 5, label, **{**who, **fields})

    producer.commit(group, 1, "no group yet")
    first.send_join()
    first.joined()
    as_member(first, "joined, not synced")
    producer.commit(group, 2, "joined, not synced, by no member")
    first.send_sync(**{first.member_id: "all"})
    first.synced()
    as_member(first, "stable")
    second.send_join()
    as_member(first, "while it rebalances")
    as_member(first, "while it rebalances, next generation", generationIdOrMemberEpoch=first.generation + 1)
    producer.commit(group, 3, "while it rebalances, by no member")
    first.send_join()
    first.joined()
    second.joined()
    as_member(first, "completing")
    as_member(second, "completing, static")
    as_member(second, "completing, another instance", groupInstanceId="j")
    as_member(second, "completing, without its instance", groupInstanceId=None)
    as_member(first, "completing, with an instance of another", groupInstanceId="i")
    as_member(first, "completing, generation only", memberId="")
    as_member(first, "completing, instance only", memberId="", generationIdOrMemberEpoch=-1, groupInstanceId="i")
    assign(first, second)
    look(ask, group, topic, "pending")
    first.leave()
    as_member(first, "left")
    producer.end(True)
    look(ask, group, topic, "committed", wait=True)
    first.ask.close()
    second.ask.close()


@story("TxnOffsetCommit", "OffsetCommit", "OffsetDelete", "DeleteGroups", *APIS)
def transactional_offsets_and_other_changes(ask: Asker) -> None:
    """The later record wins; deleted offsets and groups do not come back with the end of a transaction."""
    topic = ask.topic("t", 2)
    first = Producer(ask, f"{ask.prefix}-tx1", topic)
    second = Producer(ask, f"{ask.prefix}-tx2", topic)
    for ends in (True, False):
        prefix = f"{ask.prefix}-{'commit' if ends else 'abort'}"
        plain, both, deleted, gone = (f"{prefix}-{name}" for name in ("plain", "both", "deleted", "gone"))
        first.commit(plain, 5)
        ask.ask("OffsetCommit", 8, commit(plain, (topic, "", 0, 7, "")), label="after the pending one")
        ask.ask("OffsetCommit", 8, commit(both, (topic, "", 0, 3, "")), label="before the pending ones")
        first.commit(both, 5, "first")
        second.commit(both, 6, "second")
        first.commit(both, 8, "again")
        first.commit(both, 9, "the other partition", partition=1)
        first.commit(deleted, 5)
        wish = {"groupId": deleted, "topics": [{"name": topic, "partitions": [{"partitionIndex": 0}]}]}
        ask.ask("OffsetDelete", 0, wish, label="pending")
        first.commit(gone, 5)
        for group in (plain, both, deleted, gone):
            look(ask, group, topic, f"{group} pending")
        ask.ask("DescribeGroups", 6, {"groups": [plain, both, deleted, gone]}, label="pending")
        ask.ask("DeleteGroups", 2, {"groupsNames": [gone]}, label="pending")
        ask.ask("DescribeGroups", 6, {"groups": [gone]}, label="deleted")
        ask.ask("DeleteGroups", 2, {"groupsNames": [gone]}, label="again")
        first.end(ends)
        look(ask, plain, topic, "plain, first ended", wait=True)
        look(ask, deleted, topic, "deleted, first ended", wait=True)
        look(ask, gone, topic, "gone, first ended", wait=True)
        ask.ask("OffsetFetch", 7, {"groupId": both, "topics": None, "requireStable": False}, label="one is open")
        second.end(ends)
        look(ask, both, topic, "both, both ended", wait=True)
        ask.ask("DescribeGroups", 6, {"groups": [plain, both, deleted, gone]}, label="ended")
        ask.ask("DeleteGroups", 2, {"groupsNames": [plain, both, deleted, gone]}, label="ended")


@story("WriteTxnMarkers", *APIS)
def markers_of_no_producer(ask: Asker) -> None:
    topic = ask.topic("t", 2)
    name = f"{ask.prefix}-tx"
    producer, epoch = init(ask, name)
    add(ask, name, producer, epoch, topic, 0)
    ask.produce(topic, batch("x", producer, epoch), 9, transactional_id=name)
    for version in (1, 2):
        for producer_id, marker_epoch in (
            (producer, -2),
            (producer, -1),
            (producer, -32768),
            (producer, 32767),
            (-1, 0),
            (-1, -1),
            (-2, 0),
            (-(2**63), 0),
            (999_999, 0),
            (999_998, -1),
            (999_997, -2),
        ):
            for partition in (0, 1):
                marker = {
                    "producerId": producer_id, "producerEpoch": marker_epoch, "transactionResult": True,
                    "coordinatorEpoch": 0, "transactionVersion": 0,
                    "topics": [{"name": topic, "partitionIndexes": [partition]}],
                }  # fmt: skip
                who = "the producer" if producer_id == producer else str(producer_id)
                ask.ask(
                    "WriteTxnMarkers", version, {"markers": [marker]},
                    label=f"of {who}, epoch {marker_epoch}, partition {partition}",
                )  # fmt: skip
    for partition in (0, 1):
        ask.fetch(topic, 0, 12, partition=partition)
        ask.ask("DescribeProducers", 0, {"topics": [{"name": topic, "partitionIndexes": [partition]}]})
