"""Transactions: the coordinator's answers, the markers they leave, and what each isolation level then sees."""

from interop.oracle.asker import Asker, records, versions
from interop.oracle.story import story

APIS = ("InitProducerId", "AddPartitionsToTxn", "AddOffsetsToTxn", "EndTxn", "TxnOffsetCommit")


def init(
    ask: Asker,
    transactional_id: str,
    version: int = 5,
    *,
    timeout_ms: int = 60_000,
    producer: int = -1,
    epoch: int = -1,
    label: str = "",
) -> tuple[int, int]:
    body = {
        "transactionalId": transactional_id,
        "transactionTimeoutMs": timeout_ms,
        "producerId": producer,
        "producerEpoch": epoch,
    }
    answer = ask.ask("InitProducerId", version, body, label=label)
    return answer.get("producerId", -1), answer.get("producerEpoch", -1)


def add(
    ask: Asker,
    transactional_id: str,
    producer: int,
    epoch: int,
    topic: str,
    *partitions: int,
    version: int = 3,
    label: str = "",
) -> None:
    topics = [{"name": topic, "partitions": list(partitions)}]
    old = {
        "v3AndBelowTransactionalId": transactional_id,
        "v3AndBelowProducerId": producer,
        "v3AndBelowProducerEpoch": epoch,
        "v3AndBelowTopics": topics,
    }
    ask.ask("AddPartitionsToTxn", version, old, label=label)


def end(
    ask: Asker, transactional_id: str, producer: int, epoch: int, commit: bool, *, version: int = 4, label: str = ""
) -> dict:
    body = {"transactionalId": transactional_id, "producerId": producer, "producerEpoch": epoch, "committed": commit}
    return ask.ask("EndTxn", version, body, label=label)


def settled(ask: Asker, transactional_id: str) -> None:
    """Until the markers are written."""
    body = {"transactionalIds": [transactional_id]}
    done = ("CompleteCommit", "CompleteAbort", "Empty")
    ask.until("DescribeTransactions", 0, body, lambda got: got["transactionStates"][0]["transactionState"] in done)


@story("EndTxn", *APIS, smoke=True)
def commits_and_aborts(ask: Asker) -> None:
    topic = ask.topic("t", 2)
    for version in range(5):
        name = f"{ask.prefix}-tx{version}"
        producer, epoch = init(ask, name, min(version, 4))
        for sequence, commit in enumerate((True, False, True)):
            add(ask, name, producer, epoch, topic, 0, version=min(version, 3))
            batch = records(
                f"{commit}", producer_id=producer, producer_epoch=epoch, base_sequence=sequence, transactional=True
            )
            ask.produce(topic, batch, 9, transactional_id=name)
            ask.fetch(topic, 0, 12, isolationLevel=1, label="while open, committed only", maxBytes=1 << 24)
            ask.each_version("DescribeTransactions", {"transactionalIds": [name]}, label="ongoing")
            ask.ask("DescribeProducers", 0, {"topics": [{"name": topic, "partitionIndexes": [0]}]}, label="while open")
            end(ask, name, producer, epoch, commit, version=version)
            settled(ask, name)
    for version in versions("Fetch"):
        for isolation in (0, 1):
            ask.fetch(topic, 0, version, isolationLevel=isolation, label=f"isolation {isolation}")
    entry = {"partitionIndex": 0, "currentLeaderEpoch": -1, "timestamp": -1}
    for isolation in (0, 1):
        body = {"replicaId": -1, "isolationLevel": isolation, "topics": [{"name": topic, "partitions": [entry]}]}
        ask.ask("ListOffsets", 7, body, label=f"isolation {isolation}")


@story("EndTxn", *APIS)
def transactions_of_version_2(ask: Asker) -> None:
    """KIP-890: partitions are added by the produce request, and each end of a transaction raises the epoch."""
    topic = ask.topic("t", 2)
    name = f"{ask.prefix}-tx"
    producer, epoch = init(ask, name)
    for n, commit in enumerate((True, False, True)):
        batch = records(f"v{n}", producer_id=producer, producer_epoch=epoch, base_sequence=0, transactional=True)
        ask.produce(topic, batch, 12, transactional_id=name)
        ask.produce(topic, batch, 12, partition=1, transactional_id=name)
        answer = end(ask, name, producer, epoch, commit, version=5)
        settled(ask, name)
        end(ask, name, producer, epoch, commit, version=5, label="again")
        old = records("zombie", producer_id=producer, producer_epoch=epoch, base_sequence=1, transactional=True)
        ask.produce(topic, old, 12, transactional_id=name, label="with the old epoch")
        producer, epoch = answer["producerId"], answer["producerEpoch"]
    end(ask, name, producer, epoch, False, version=5, label="abort of nothing")
    ask.fetch(topic, 0, 12, isolationLevel=1)
    ask.fetch(topic, 0, 12, partition=1)


@story("EndTxn", *APIS)
def transactions_refused(ask: Asker) -> None:
    topic = ask.topic("t", 2)
    name = f"{ask.prefix}-tx"
    init(ask, "", label="empty id")
    init(ask, name, timeout_ms=0, label="no timeout")
    init(ask, name, timeout_ms=-1, label="negative timeout")
    init(ask, name, timeout_ms=10**9, label="long timeout")
    init(ask, name, producer=5, epoch=0, label="another producer id and epoch")
    producer, epoch = init(ask, name)
    init(ask, name, producer=producer, epoch=7, label="an epoch ahead")
    init(ask, name, producer=producer + 100_000, epoch=0, label="another producer id")
    producer, epoch = init(ask, name, producer=producer, epoch=epoch, label="recovers")
    for label, (who, pid, ep) in {
        "no such id": (f"{name}-no", producer, epoch),
        "empty id": ("", producer, epoch),
        "another producer": (name, producer + 100_000, epoch),
        "old epoch": (name, producer, epoch - 1),
        "epoch ahead": (name, producer, epoch + 5),
    }.items():
        for version in range(4):
            add(ask, who, pid, ep, topic, 0, version=version, label=label)
        for version in range(5):
            end(ask, who, pid, ep, True, version=version, label=label)
            body = {"transactionalId": who, "producerId": pid, "producerEpoch": ep, "groupId": f"{name}-g"}
            ask.ask("AddOffsetsToTxn", min(version, 4), body, label=label)
    add(ask, name, producer, epoch, topic, 9, label="bad partition")
    add(ask, name, producer, epoch, "no-such", 0, label="unknown topic")
    add(ask, name, producer, epoch, topic, 0, 9, label="one good one bad")
    end(ask, name, producer, epoch, True, label="nothing to commit")
    end(ask, name, producer, epoch, False, label="nothing to abort")
    batch = records("x", producer_id=producer, producer_epoch=epoch, base_sequence=0, transactional=True)
    ask.produce(topic, batch, 9, transactional_id=name, label="not added before")
    ask.produce(topic, batch, 9, transactional_id=f"{name}-no", label="of another id")
    ask.produce(topic, batch, 9, label="without an id")
    add(ask, name, producer, epoch, topic, 0)
    plain = records("x", producer_id=producer, producer_epoch=epoch, base_sequence=0)
    ask.produce(topic, plain, 9, transactional_id=name, label="a plain batch with an id")
    mixed = batch + records("y")
    ask.produce(topic, mixed, 9, transactional_id=name, label="mixed batches")
    ask.produce(topic, batch, 9, transactional_id=name)
    ask.produce(topic, records("plain"), 9, label="a plain batch in between")
    old = records("x", producer_id=producer, producer_epoch=epoch - 1, base_sequence=0, transactional=True)
    ask.produce(topic, old, 9, transactional_id=name, label="old epoch")
    end(ask, name, producer, epoch, True)
    settled(ask, name)
    end(ask, name, producer, epoch, True, label="again")
    end(ask, name, producer, epoch, False, label="abort after commit")
    ask.produce(topic, batch, 9, transactional_id=name, label="after the end")


@story("AddPartitionsToTxn", *APIS)
def partitions_added_in_batches(ask: Asker) -> None:
    topic = ask.topic("t", 2)
    name = f"{ask.prefix}-tx"
    producer, epoch = init(ask, name)
    for version in (4, 5):
        for only_look in (True, False, True):
            entry = {
                "transactionalId": name, "producerId": producer, "producerEpoch": epoch, "verifyOnly": only_look,
                "topics": [{"name": topic, "partitions": [0, 1]}],
            }  # fmt: skip
            ask.ask("AddPartitionsToTxn", version, {"transactions": [entry]}, label=f"verify {only_look}")
        unknown = {**entry, "transactionalId": f"{name}-no"}
        ask.ask("AddPartitionsToTxn", version, {"transactions": [entry, unknown]}, label="two")
    end(ask, name, producer, epoch, False)


@story("TxnOffsetCommit", *APIS)
def offsets_in_transactions(ask: Asker) -> None:
    topic = ask.topic("t", 2)
    topic_id = ask.topic_id(topic)
    for version in versions("TxnOffsetCommit"):
        name, group = f"{ask.prefix}-tx{version}", f"{ask.prefix}-g{version}"
        producer, epoch = init(ask, name)

        def offsets(offset: int, **fields) -> dict:
            parts = [
                {"partitionIndex": 0, "committedOffset": offset, "committedLeaderEpoch": -1, "committedMetadata": "m"}
            ]
            body = {
                "transactionalId": name, "groupId": group, "producerId": producer, "producerEpoch": epoch,
                "generationIdOrMemberEpoch": -1, "memberId": "", "groupInstanceId": None,
                "topics": [{"name": topic, "topicId": topic_id, "partitions": parts}],
            }  # fmt: skip
            return {**body, **fields}

        for n, commit in enumerate((True, False)):
            if version < 5:
                body = {"transactionalId": name, "producerId": producer, "producerEpoch": epoch, "groupId": group}
                ask.ask("AddOffsetsToTxn", min(version, 4), body)
            ask.ask("TxnOffsetCommit", version, offsets(10 + n))
            wish = {"groupId": group, "topics": [{"name": topic, "partitionIndexes": [0]}]}
            ask.ask("OffsetFetch", 7, {**wish, "requireStable": True}, label="stable, while pending")
            ask.ask("OffsetFetch", 7, {**wish, "requireStable": False}, label="unstable, while pending")
            answer = end(ask, name, producer, epoch, commit, version=5 if version >= 5 else 4)
            settled(ask, name)
            if version >= 5:
                producer, epoch = answer["producerId"], answer["producerEpoch"]
            ask.until(
                "OffsetFetch",
                7,
                {**wish, "requireStable": True},
                lambda got: got["topics"][0]["partitions"][0]["errorCode"] == 0,
            )
            ask.ask("OffsetFetch", 7, {**wish, "requireStable": True}, label="after the end")
        if version >= 3:
            ask.ask(
                "TxnOffsetCommit",
                version,
                offsets(5, memberId="unknown-id", generationIdOrMemberEpoch=3),
                label="unknown member",
            )
            ask.ask("TxnOffsetCommit", version, offsets(5, generationIdOrMemberEpoch=3), label="unknown generation")
        ask.ask("TxnOffsetCommit", version, offsets(5, producerEpoch=epoch + 9), label="epoch ahead")
        ask.ask("TxnOffsetCommit", version, offsets(5, groupId=""), label="no group")
        bad = [
            {
                "name": "no-such",
                "topicId": "AAAAAAAAAAAAAAAAAAAAbg",
                "partitions": offsets(5)["topics"][0]["partitions"],
            }
        ]
        ask.ask("TxnOffsetCommit", version, offsets(5, topics=bad), label="unknown topic")


@story("InitProducerId", *APIS)
def init_producer_id_fences_the_producer_before(ask: Asker) -> None:
    topic = ask.topic("t")
    name = f"{ask.prefix}-tx"
    producer, epoch = init(ask, name)
    add(ask, name, producer, epoch, topic, 0)
    batch = records("first", producer_id=producer, producer_epoch=epoch, base_sequence=0, transactional=True)
    ask.produce(topic, batch, 9, transactional_id=name)
    body = {"transactionalId": name, "transactionTimeoutMs": 60_000, "producerId": -1, "producerEpoch": -1}
    answer = ask.until("InitProducerId", 5, body, lambda got: got["errorCode"] == 0)
    ask.note("the epoch went up", answer["producerEpoch"] > epoch)
    end(ask, name, producer, epoch, True, label="by the first")
    add(ask, name, producer, epoch, topic, 0, label="by the first")
    ask.produce(topic, batch, 9, transactional_id=name, label="by the first")
    ask.fetch(topic, 0, 12, isolationLevel=1)


@story("ListTransactions", "DescribeTransactions", *APIS)
def list_transactions(ask: Asker) -> None:
    topic = ask.topic("t")
    for state in ("empty", "ongoing", "done"):
        name = f"{ask.prefix}-{state}"
        producer, epoch = init(ask, name)
        if state != "empty":
            add(ask, name, producer, epoch, topic, 0)
        if state == "done":
            end(ask, name, producer, epoch, True)
            settled(ask, name)
    for version in versions("ListTransactions"):
        for label, body in (
            ("all", {}),
            ("ongoing", {"stateFilters": ["Ongoing"]}),
            ("unknown state", {"stateFilters": ["Sleeping"]}),
            ("older than a day", {"durationFilter": 86_400_000}),
            ("of no producer", {"producerIdFilters": [999_999_999]}),
            ("by pattern", {"transactionalIdPattern": f"{ask.prefix}-(done|empty)"}),
            ("by bad pattern", {"transactionalIdPattern": "["}),
        ):
            ask.ask("ListTransactions", version, body, label=label, own=True)
    names = [f"{ask.prefix}-{state}" for state in ("empty", "ongoing", "done", "no")] + [""]
    ask.ask("DescribeTransactions", 0, {"transactionalIds": names})


@story("WriteTxnMarkers", *APIS)
def write_txn_markers(ask: Asker) -> None:
    topic = ask.topic("t", 2)
    name = f"{ask.prefix}-tx"
    producer, epoch = init(ask, name)
    add(ask, name, producer, epoch, topic, 0)
    batch = records("hanging", producer_id=producer, producer_epoch=epoch, base_sequence=0, transactional=True)
    ask.produce(topic, batch, 9, transactional_id=name)
    for version in versions("WriteTxnMarkers"):
        for label, ep, partitions, where in (
            ("bad partition", epoch, [9], topic),
            ("unknown topic", epoch, [0], "no-such"),
            ("epoch behind", epoch - 1, [0], topic),
            ("nothing open there", epoch, [1], topic),
            ("abort", epoch, [0], topic),
        ):
            marker = {
                "producerId": producer, "producerEpoch": ep, "transactionResult": False, "coordinatorEpoch": 0,
                "topics": [{"name": where, "partitionIndexes": partitions}],
            }  # fmt: skip
            ask.ask("WriteTxnMarkers", version, {"markers": [marker]}, label=label)
    ask.fetch(topic, 0, 12)
    ask.fetch(topic, 0, 12, partition=1)


@story("InitProducerId", *APIS)
def a_transaction_times_out(ask: Asker) -> None:
    topic = ask.topic("t")
    name = f"{ask.prefix}-tx"
    producer, epoch = init(ask, name, timeout_ms=1000)
    add(ask, name, producer, epoch, topic, 0)
    batch = records("late", producer_id=producer, producer_epoch=epoch, base_sequence=0, transactional=True)
    ask.produce(topic, batch, 9, transactional_id=name)
    state = {"transactionalIds": [name]}
    done = ("CompleteAbort",)
    ask.until(
        "DescribeTransactions",
        0,
        state,
        lambda got: got["transactionStates"][0]["transactionState"] in done,
        timeout_s=30,
    )
    end(ask, name, producer, epoch, True, label="too late")
    ask.produce(topic, batch, 9, transactional_id=name, label="too late")
    ask.fetch(topic, 0, 12, isolationLevel=1)
