"""Share groups (KIP-932): fetches, sessions, acknowledgements, delivery counts, isolation, dead letters."""

import base64
import time

from interop.oracle.asker import Asker, Json, records
from interop.oracle.stories.groups import MEMBER
from interop.oracle.stories.share_groups import NO_ID, OTHER, configure, settled, warm_share_coordinator
from interop.oracle.story import story
from kwire.wire.batches.batch import read_batch_header
from kwire.wire.batches.records import Record, read_records

ZERO_ID = "AAAAAAAAAAAAAAAAAAAAAA"
# Long enough to load a share partition, which its first fetch begins.
LOADING_MS = 3000
GAP, ACCEPT, RELEASE, REJECT, RENEW = range(5)


class Session:
    """The share session of one member on a connection of its own: it knows the next epoch."""

    def __init__(self, ask: Asker, group: str, member: str = MEMBER, name: str = "") -> None:
        self.ask = ask.other(name) if name else ask
        self.group = group
        self.member = member
        self.epoch = 0

    def fetch(
        self, label: str, topic_id: str = "", *, partitions: tuple[int, ...] = (0,), version: int = 2,
        acks: tuple[tuple[int, ...], ...] = (), epoch: int | None = None, note: bool = True, **fields: object,
    ) -> Json:  # fmt: skip
        """`acks`: (partition, first, last, type, ...)."""
        wanted = [{"partitionIndex": index, "acknowledgementBatches": batches_of(acks, index)} for index in partitions]
        body = {
            "groupId": self.group, "memberId": self.member,
            "shareSessionEpoch": self.epoch if epoch is None else epoch,
            "maxWaitMs": 0, "minBytes": 1, "maxBytes": 1 << 20, "maxRecords": 500, "batchSize": 500,
            "shareAcquireMode": 0, "isRenewAck": False,
            "topics": [{"topicId": topic_id, "partitions": wanted}] if topic_id else [], "forgottenTopicsData": [],
            **fields,
        }  # fmt: skip
        answer = self.ask.ask("ShareFetch", version, body, label=label, note=note)
        if epoch is None and answer.get("errorCode") == 0:
            self.epoch += 1
        return answer

    def until_acquired(self, topic_id: str, **fields: object) -> None:
        """A partition's state is loaded by its first fetch; what comes then is not compared."""
        deadline = time.monotonic() + 30
        while True:
            answer = self.fetch("", topic_id, note=False, **fields)  # type: ignore[arg-type]
            partitions = [one for topic in answer["responses"] for one in topic["partitions"]]
            if any(one["acquiredRecords"] for one in partitions):
                return
            assert time.monotonic() < deadline, answer
            time.sleep(0.05)  # a poll, bounded above

    def acknowledge(
        self, label: str, topic_id: str, *acks: tuple[int, ...], version: int = 2, epoch: int | None = None,
        renew: bool = False, **fields: object,
    ) -> Json:  # fmt: skip
        indexes = dict.fromkeys(each[0] for each in acks)
        wanted = [{"partitionIndex": index, "acknowledgementBatches": batches_of(acks, index)} for index in indexes]
        body = {
            "groupId": self.group, "memberId": self.member,
            "shareSessionEpoch": self.epoch if epoch is None else epoch, "isRenewAck": renew,
            "topics": [{"topicId": topic_id, "partitions": wanted}] if wanted else [], **fields,
        }  # fmt: skip
        answer = self.ask.ask("ShareAcknowledge", version, body, label=label)
        if epoch is None and answer.get("errorCode") == 0:
            self.epoch += 1
        return answer


def batches_of(acks: tuple[tuple[int, ...], ...], index: int) -> list[Json]:
    return [
        {"firstOffset": first, "lastOffset": last, "acknowledgeTypes": types}
        for at, first, last, *types in acks
        if at == index
    ]


def reading(ask: Asker, partitions: int = 1, **configs: str) -> tuple[str, str, str]:
    """A topic, its id and a group whose member has all partitions and reads from the beginning."""
    warm_share_coordinator(ask)
    topic = ask.topic("t", partitions)
    group = f"{ask.prefix}-g"
    configure(ask, group, share_auto_offset_reset="earliest", **configs)
    settled(ask, group, MEMBER, [topic], partitions)
    return topic, ask.topic_id(topic), group


@story("ShareFetch", "ShareAcknowledge", smoke=True)
def share_fetch_and_acknowledge(ask: Asker) -> None:
    topic, topic_id, group = reading(ask)
    for _ in range(4):
        ask.produce(topic, records("a", "b", "c"), note=False)
    one = Session(ask, group)
    one.fetch("the session begins", topic_id, maxRecords=3, maxWaitMs=LOADING_MS)
    one.fetch("more", maxRecords=4)
    two = Session(ask, group, OTHER, "two")
    two.fetch("another member", topic_id, maxRecords=1)
    two.fetch("nothing left")
    one.acknowledge("accept", topic_id, (0, 0, 2, ACCEPT))
    one.acknowledge("accept again", topic_id, (0, 0, 2, ACCEPT))
    one.acknowledge("each its own", topic_id, (0, 3, 5, ACCEPT, RELEASE, REJECT))
    one.acknowledge("of the other", topic_id, (0, 9, 11, ACCEPT))
    one.acknowledge("past the end", topic_id, (0, 6, 20, ACCEPT))
    one.acknowledge("never acquired", topic_id, (0, 50, 60, ACCEPT))
    one.acknowledge("only part of a batch", topic_id, (0, 6, 6, RELEASE))
    one.fetch("what was released", maxRecords=1)
    one.fetch("and more", maxRecords=1)
    one.fetch("with acknowledgements", topic_id, acks=((0, 7, 7, ACCEPT),), version=1)
    one.fetch("with wrong ones", topic_id, acks=((0, 7, 7, ACCEPT),))
    two.fetch("the session ends, with acknowledgements", topic_id, acks=((0, 9, 9, ACCEPT),), epoch=-1)
    two.fetch("ended", epoch=two.epoch)
    # Apache Kafka gives back what a session held after the answer that ends it.
    one.fetch("what the other gave back", maxWaitMs=LOADING_MS)
    one.acknowledge("the session ends", topic_id, (0, 10, 10, ACCEPT), epoch=-1)
    one.acknowledge("ended", topic_id, (0, 11, 11, ACCEPT))
    ask.ask("DescribeShareGroupOffsets", 1, {"groups": [{"groupId": group, "topics": None}]}, label="in the end")
    two.ask.close()


@story("ShareFetch", "ShareAcknowledge")
def share_sessions_and_unknown_topics(ask: Asker) -> None:
    _, topic_id, group = reading(ask, 2)
    one = Session(ask, group)
    one.fetch("begins", topic_id, note=False)
    for label, at in (("an unknown topic", NO_ID), ("no topic id", ZERO_ID)):
        one.fetch(label, at, partitions=(0,))
        one.fetch(f"{label}, again")
        one.fetch(f"{label}, forgotten", forgottenTopicsData=[{"topicId": at, "partitions": [0]}])
    one.fetch("after errors")
    one.acknowledge("an unknown topic", NO_ID, (0, 0, 0, ACCEPT))


@story("ShareFetch", "ShareAcknowledge")
def share_sessions(ask: Asker) -> None:
    topic, topic_id, group = reading(ask, 2)
    one = Session(ask, group)
    for version in (1, 2):
        for label, fields in (
            ("no group", {"groupId": None}),
            ("an empty group", {"groupId": ""}),
            ("no member", {"memberId": None}),
            ("an empty member", {"memberId": ""}),
            ("a long member", {"memberId": "x" * 37}),
        ):
            one.fetch(label, topic_id, version=version, epoch=0, **fields)
            one.acknowledge(label, topic_id, (0, 0, 0, ACCEPT), version=version, epoch=1, **fields)
        one.fetch("no session", topic_id, version=version, epoch=3)
        one.fetch("ends what never began", version=version, epoch=-1)
        one.fetch("epoch -2", version=version, epoch=-2)
        one.acknowledge("no session", topic_id, (0, 0, 0, ACCEPT), version=version, epoch=1)
        one.acknowledge("epoch 0", topic_id, (0, 0, 0, ACCEPT), version=version, epoch=0)
        one.acknowledge("ends what never began", topic_id, version=version, epoch=-1)
        one.fetch("acknowledges at the begin", topic_id, acks=((0, 0, 0, ACCEPT),), version=version, epoch=0)
    one.fetch("nothing yet", topic_id, maxWaitMs=1000)
    one.fetch("what was never fetched", topic_id, partitions=(1,), acks=((1, 0, 0, ACCEPT),))
    one.fetch("ends", epoch=-1)
    one.epoch = 0
    other_group = Session(ask, f"{group}-none", OTHER, "stateless")
    other_group.fetch("a group that does not exist", topic_id, maxWaitMs=LOADING_MS)
    other_group.fetch("again", topic_id, maxWaitMs=LOADING_MS)
    one.fetch("begins", topic_id, note=False)
    one.fetch("begins again", topic_id, epoch=0)
    one.epoch = 1
    one.fetch("nothing to say")
    one.fetch("a partition is added", topic_id, partitions=(1,), maxWaitMs=1000)
    one.fetch("nothing new")
    ask.produce(topic, records("a"), partition=1, note=False)
    ask.produce(topic, records("b"), partition=0, note=False)
    one.fetch("both", note=False)
    one.fetch("an old epoch", epoch=1)
    one.fetch("an epoch ahead", epoch=one.epoch + 1)
    one.fetch("partition 7", topic_id, partitions=(7,))
    one.fetch("partition 7, again")
    one.fetch("partition 7, forgotten", forgottenTopicsData=[{"topicId": topic_id, "partitions": [7]}])
    one.fetch("after errors")
    one.fetch("forgotten", forgottenTopicsData=[{"topicId": topic_id, "partitions": [0, 1, 7]}])
    one.fetch("after that")
    one.acknowledge("partition 7", topic_id, (7, 0, 0, ACCEPT))
    one.acknowledge("nothing", topic_id)
    one.acknowledge("an epoch ahead", topic_id, (0, 0, 0, ACCEPT), epoch=one.epoch + 1)
    for label, batches in (
        ("backwards", [(0, 5, 4, ACCEPT)]),
        ("no types", [(0, 0, 0)]),
        ("type 4 without renewal", [(0, 0, 0, RENEW)]),
        ("type 9", [(0, 0, 0, 9)]),
        ("type -1", [(0, 0, 0, -1)]),
        ("too many types", [(0, 0, 0, ACCEPT, ACCEPT)]),
        ("too few types", [(0, 0, 2, ACCEPT, ACCEPT)]),
        ("out of order", [(0, 5, 5, ACCEPT), (0, 0, 0, ACCEPT)]),
        ("overlapping", [(0, 0, 1, ACCEPT), (0, 1, 2, ACCEPT)]),
        ("negative", [(0, -1, 0, ACCEPT)]),
    ):
        for version in (1, 2):
            one.acknowledge(label, topic_id, *batches, version=version)
            one.fetch(label, topic_id, acks=tuple(batches), version=version)
    for label, fields in (
        ("no records", {"maxRecords": 0}),
        ("no bytes", {"maxBytes": 0}),
        ("negative records", {"maxRecords": -1}),
        ("batches of 0", {"batchSize": 0}),
        ("less than no bytes", {"minBytes": -1}),
        ("more than there is", {"minBytes": 1 << 20, "maxWaitMs": 50}),
        ("an unknown mode", {"shareAcquireMode": 5}),
    ):
        ask.produce(topic, records("x"), note=False)
        one.fetch(label, topic_id, **fields)
    other_group.ask.close()


@story("ShareFetch", "ShareAcknowledge")
def delivery_counts_and_modes(ask: Asker) -> None:
    topic, topic_id, group = reading(ask, share_delivery_count_limit="3")
    ask.produce(topic, records(*"abcdefgh"), note=False)
    # While the group has a session, its share partitions stay as they are in memory.
    keeper = Session(ask, group, MEMBER.replace("Me", "Ke"), "keeper")
    keeper.fetch("keeps the group", topic_id, maxRecords=0)
    one = Session(ask, group)
    one.until_acquired(topic_id)
    for count in (1, 2):
        one.acknowledge(f"released {count}", topic_id, (0, 0, 7, RELEASE))
        for turn in range(3):
            one.fetch(f"again {count}.{turn}", topic_id)
    one.acknowledge("the last time", topic_id, (0, 0, 0, RELEASE))
    one.fetch("after the last time", topic_id)
    for turn in range(9):
        one.fetch(f"one by one {turn}", topic_id)
    ask.ask("DescribeShareGroupOffsets", 1, {"groups": [{"groupId": group, "topics": None}]})
    one.fetch("ends", epoch=-1)
    for _ in range(3):
        ask.produce(topic, records("a", "b", "c", "d"), note=False)
    two = Session(ask, group, OTHER, "strict")
    for turn in range(6):
        two.fetch(f"strict {turn}", topic_id, maxRecords=3, shareAcquireMode=1, maxWaitMs=0 if turn else LOADING_MS)
    two.fetch("ends", epoch=-1)
    three = Session(ask, group, OTHER, "small batches")
    for turn in range(6):
        three.fetch(f"batches of 2, {turn}", topic_id, maxRecords=6, batchSize=2, maxWaitMs=0 if turn else LOADING_MS)
    for each in (keeper, two, three):
        each.ask.close()


@story("ShareFetch", "ShareAcknowledge")
def share_locks_are_renewed(ask: Asker) -> None:
    topic, topic_id, group = reading(ask)
    ask.produce(topic, records("a", "b", "c"), note=False)
    one = Session(ask, group)
    one.until_acquired(topic_id)
    none = {"maxRecords": 0, "maxBytes": 0, "minBytes": 0, "maxWaitMs": 0, "batchSize": 0}
    one.acknowledge("renewed", topic_id, (0, 0, 1, RENEW), renew=True)
    one.acknowledge("renewed and accepted", topic_id, (0, 0, 1, RENEW, ACCEPT), renew=True)
    one.acknowledge("what is not held", topic_id, (0, 1, 1, RENEW), renew=True)
    one.fetch("renewed", topic_id, acks=((0, 2, 2, RENEW),), isRenewAck=True, **none)
    one.fetch("renewed, and asks for records", topic_id, acks=((0, 2, 2, RENEW),), isRenewAck=True)
    one.fetch("renewed, a minimum", topic_id, acks=((0, 2, 2, RENEW),), isRenewAck=True, **{**none, "minBytes": 1})
    one.fetch("nothing to renew", topic_id, isRenewAck=True, **none)
    one.acknowledge("at version 1", topic_id, (0, 2, 2, RENEW), version=1)
    configure(ask, group, share_renew_acknowledge_enable="false")
    one.acknowledge("not enabled", topic_id, (0, 2, 2, RENEW), renew=True)
    one.fetch("not enabled", topic_id, acks=((0, 2, 2, RENEW),), isRenewAck=True, **none)
    one.acknowledge("accepted", topic_id, (0, 2, 2, ACCEPT), renew=True)


@story("ShareFetch", "ShareAcknowledge")
def share_partitions_after_deletion_of_records(ask: Asker) -> None:
    topic, topic_id, group = reading(ask)
    for _ in range(4):
        ask.produce(topic, records("a", "b", "c"), note=False)
    one = Session(ask, group)
    one.until_acquired(topic_id, maxRecords=3)
    gone = [{"name": topic, "partitions": [{"partitionIndex": 0, "offset": 7}]}]
    ask.ask("DeleteRecords", 2, {"topics": gone, "timeoutMs": 5000})
    one.fetch("what is left", topic_id)
    one.acknowledge("what was deleted", topic_id, (0, 0, 2, ACCEPT))
    one.acknowledge("both", topic_id, (0, 0, 11, ACCEPT))
    one.acknowledge("what is left", topic_id, (0, 7, 11, ACCEPT))
    ask.ask("DescribeShareGroupOffsets", 1, {"groups": [{"groupId": group, "topics": None}]})
    ask.ask("DeleteTopics", 6, {"topics": [{"name": topic, "topicId": ZERO_ID}], "timeoutMs": 10000}, note=False)
    ask.wait_for_metadata(1)
    one.fetch("a topic that was deleted")
    one.acknowledge("a topic that was deleted", topic_id, (0, 11, 11, ACCEPT))
    ask.ask("DescribeShareGroupOffsets", 1, {"groups": [{"groupId": group, "topics": None}]}, label="deleted")


@story("ShareFetch", "InitProducerId", "AddPartitionsToTxn", "EndTxn")
def share_groups_and_transactions(ask: Asker) -> None:
    topic, topic_id, group = reading(ask)
    name = f"{ask.prefix}-x"
    body = {"transactionalId": name, "transactionTimeoutMs": 60000, "producerId": -1, "producerEpoch": -1}
    made = ask.until("InitProducerId", 4, body, lambda got: got["errorCode"] == 0)
    sequence = 0
    for committed in (False, True, False):
        producer = {"transactionalId": name, "producerId": made["producerId"], "producerEpoch": made["producerEpoch"]}
        batch = records(
            "a", "b", producer_id=made["producerId"], producer_epoch=made["producerEpoch"], base_sequence=sequence,
            transactional=True,
        )  # fmt: skip
        wanted = [{"name": topic, "partitions": [0]}]
        v3 = {f"v3AndBelow{field[0].upper()}{field[1:]}": value for field, value in producer.items()}
        ask.until(
            "AddPartitionsToTxn", 3, {**v3, "v3AndBelowTopics": wanted},
            lambda got: got["resultsByTopicV3AndBelow"][0]["resultsByPartition"][0]["partitionErrorCode"] == 0,
        )  # fmt: skip
        ask.produce(topic, batch, transactional_id=name, note=False)
        sequence += 2
        ask.until("EndTxn", 3, {**producer, "committed": committed}, lambda got: got["errorCode"] == 0)
        ask.wait_for_metadata()
        ask.produce(topic, records("plain"), note=False)
    one = Session(ask, group)
    one.fetch("everything", topic_id, maxWaitMs=LOADING_MS)
    one.fetch("ends", epoch=-1)
    committed_only = f"{group}-committed"
    configure(ask, committed_only, share_auto_offset_reset="earliest", share_isolation_level="read_committed")
    settled(ask, committed_only, OTHER, [topic], 1)
    two = Session(ask, committed_only, OTHER, "committed")
    two.fetch("committed", topic_id, maxWaitMs=LOADING_MS)
    two.fetch("committed, again", topic_id)
    two.acknowledge("what was aborted", topic_id, (0, 0, 1, ACCEPT))
    two.acknowledge("a plain record", topic_id, (0, 3, 3, ACCEPT))
    ask.ask("DescribeShareGroupOffsets", 1, {"groups": [{"groupId": committed_only, "topics": None}]})
    two.ask.close()


def letters(ask: Asker, topic: str, count: int) -> list[Record]:
    """The records of the topic's one partition, once there are so many."""
    deadline = time.monotonic() + 30
    while True:
        answer = ask.fetch(topic, note=False)
        stored = memoryview(base64.b64decode(answer["responses"][0]["partitions"][0]["records"] or ""))
        found: list[Record] = []
        while stored:
            size = read_batch_header(stored).size_bytes
            found += read_records(stored[:size])
            stored = stored[size:]
        if len(found) >= count:
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.1)  # a poll, bounded above


@story("ShareFetch", "ShareAcknowledge")
def dead_letters_of_a_share_group(ask: Asker) -> None:
    prefix = f"dlq.{ask.prefix}"
    enabled = {"errors.deadletterqueue.group.enable": "true"}
    wish = {"numPartitions": 1, "replicationFactor": 1}
    for stem, configs in (("copied", enabled), ("bare", enabled), ("closed", {})):
        texts = [{"name": key, "value": value} for key, value in configs.items()]
        topics = [{"name": f"{prefix}-{stem}", **wish, "configs": texts}]
        assert ask.ask("CreateTopics", 7, {"topics": topics, "timeoutMs": 10000}, note=False)
        ask.ready(f"{prefix}-{stem}", 1)
    topic, topic_id, group = reading(ask, share_delivery_count_limit="2")
    for stem, copied in (("copied", "true"), ("bare", "false")):
        configure(
            ask, group, errors_deadletterqueue_topic_name=f"{prefix}-{stem}",
            errors_deadletterqueue_copy_record_enable=copied,
        )  # fmt: skip
        ask.produce(topic, records("a", "b", None, "d"), note=False)
        one = Session(ask, group)
        one.until_acquired(topic_id)
        first = 0 if stem == "copied" else 4
        one.acknowledge(
            f"{stem}, rejected", topic_id, (0, first, first + 1, REJECT), (0, first + 2, first + 2, RELEASE)
        )
        one.acknowledge(f"{stem}, accepted", topic_id, (0, first + 3, first + 3, ACCEPT))
        one.until_acquired(topic_id)
        one.acknowledge(f"{stem}, released", topic_id, (0, first + 2, first + 2, RELEASE))
        one.fetch(f"{stem}, nothing left", topic_id)
        one.fetch(f"{stem}, ends", epoch=-1)
        for letter in letters(ask, f"{prefix}-{stem}", 3):
            headers = [(name, (value or b"").decode()) for name, value in letter.headers]
            ask.note(f"{stem}, letter {letter.offset}", [repr(letter.key), repr(letter.value), headers])
    configure(ask, group, errors_deadletterqueue_topic_name=f"{prefix}-closed")
    ask.produce(topic, records("x"), note=False)
    one = Session(ask, group)
    one.until_acquired(topic_id)
    one.acknowledge("a topic that allows none", topic_id, (0, 8, 8, REJECT))
    every = {"groups": [{"groupId": group, "topics": None}]}

    def is_over(answer: Json) -> bool:
        return bool(answer["groups"][0]["topics"][0]["partitions"][0]["lag"] == 0)

    ask.until("DescribeShareGroupOffsets", 1, every, is_over)
    ask.ask("DescribeShareGroupOffsets", 1, every, label="in the end")
