"""Transactions: fencing, repeated requests after a lost answer, and the records that are then in the log."""

import base64
import time
from collections.abc import Iterable

from interop.oracle.asker import FIXED_TIME_MS, Asker, records, versions
from interop.oracle.stories.transactions import APIS, add, end, init, settled
from interop.oracle.story import story
from kwire.coordinators.machine import partition_for
from kwire.coordinators.transaction.records import read_record
from kwire.wire.batches.batch import HEADER_BYTES, read_batch_header
from kwire.wire.batches.records import read_records

STATE_TOPIC = "__transaction_state"


def written(ask: Asker, name: str, *, label: str = "records") -> None:
    """What ``__transaction_state`` has of this id."""
    where = partition_for(name, 50)
    answer = ask.fetch(STATE_TOPIC, 0, 12, partition=where, note=False)
    raw = memoryview(base64.b64decode(answer["responses"][0]["partitions"][0]["records"] or b""))
    found = []
    while len(raw) > HEADER_BYTES:
        size = read_batch_header(raw).size_bytes
        for record in read_records(raw[:size]):
            entry = read_record(record.key or b"", record.value)
            assert entry is not None
            if entry.transactional_id == name:
                found.append(plain(record.value, entry.transaction))
        raw = raw[size:]
    ask.note(label, ask.normalizer.normal(found, "Fetch"))


def plain(value: bytes | None, transaction) -> dict:
    if transaction is None:
        return {"tombstone": True}
    started = "never" if transaction.start_ms == -1 else "once"
    return {
        "version": int.from_bytes(value[:2], "big"),
        "state": transaction.state.title,
        "producerId": transaction.producer_id,
        "previous": {"producerId": transaction.previous_producer_id},
        "next": {"producerId": transaction.next_producer_id},
        "epoch": transaction.producer_epoch,
        "timeout": transaction.timeout_ms,
        "partitions": sorted(map(str, transaction.partitions)),
        "started": started,
        "client": transaction.client_version,
    }


def batch(text: str, producer: int, epoch: int, sequence: int = 0) -> bytes:
    return records(text, producer_id=producer, producer_epoch=epoch, base_sequence=sequence, transactional=True)


def describe(ask: Asker, name: str, *, label: str = "") -> None:
    """The order of topics and partitions is that of a hash table."""
    answer = ask.ask("DescribeTransactions", 0, {"transactionalIds": [name]}, note=False)
    for state in answer["transactionStates"]:
        state["topics"].sort(key=lambda topic: topic["topic"])
        for topic in state["topics"]:
            topic["partitions"].sort()
    ask.note(f"DescribeTransactions {label}", ask.normalizer.normal(answer, "DescribeTransactions"))


def init_until(ask: Asker, name: str, **fields) -> tuple[int, int]:
    """InitProducerId until the transaction before is over."""
    body = {"transactionalId": name, "transactionTimeoutMs": 60_000, "producerId": -1, "producerEpoch": -1, **fields}
    answer = ask.until("InitProducerId", 5, body, lambda got: got["errorCode"] != 51)
    ask.note("init in the end", ask.normalizer.normal(answer, "InitProducerId"))
    return answer["producerId"], answer["producerEpoch"]


@story("InitProducerId", *APIS)
def init_producer_id_repeated(ask: Asker) -> None:
    topic = ask.topic("t")
    for version in (3, 4, 5):
        name = f"{ask.prefix}-tx{version}"
        init(ask, name, version, producer=7, epoch=3, label="of an unknown id")
        name = f"{name}-b"
        producer, epoch = init(ask, name, version)
        init(ask, name, version, producer=producer, epoch=-1, label="no epoch")
        init(ask, name, version, producer=-1, epoch=epoch, label="no id")
        init(ask, name, version, producer=producer + 1, epoch=epoch, label="the id of another")
        init(ask, name, version, producer=producer, epoch=epoch + 1, label="an epoch ahead")
        init(ask, name, version, producer=producer, epoch=epoch, label="goes on")
        init(ask, name, version, producer=producer, epoch=epoch, label="lost the answer")
        init(ask, name, version, producer=producer, epoch=epoch + 1, label="goes on again")
        init(ask, name, version, producer=producer, epoch=epoch, label="lost two answers")
        init(ask, name, version, producer=producer, epoch=epoch + 2, timeout_ms=30_000, label="another timeout")
        add(ask, name, producer, epoch + 3, topic, 0)
        init(ask, name, version, producer=producer + 1, epoch=0, label="the id of another, while open")
        init(ask, name, version, producer=producer, epoch=epoch, label="an old epoch, while open")
        settled(ask, name)
        init(ask, name, version, producer=producer, epoch=epoch + 3, label="fenced by that")
        init_until(ask, name, producerId=producer, producerEpoch=epoch + 4)
        written(ask, name)
        init(ask, None, version, producer=5, epoch=1, label="no transactional id but an epoch")
        init(ask, None, version, timeout_ms=-5, label="no transactional id")
    for timeout_ms in (900_000, 900_001, 2**31 - 1):
        init(ask, f"{ask.prefix}-t", timeout_ms=timeout_ms, label=f"timeout {timeout_ms}")


@story("EndTxn", *APIS)
def end_txn_repeated(ask: Asker) -> None:
    """The table of KIP-890: from each state, with each epoch, to each end."""
    topic = ask.topic("t")
    for state in ("Empty", "CompleteAbort", "CompleteCommit"):
        for commit in (True, False):
            for ahead in (-1, 0, 1):
                name = f"{ask.prefix}-{state}-{commit}-{ahead}"
                producer, epoch = init(ask, name)
                if state != "Empty":
                    add(ask, name, producer, epoch, topic, 0)
                    answer = end(ask, name, producer, epoch, state == "CompleteCommit", version=5)
                    settled(ask, name)
                    producer, epoch = answer["producerId"], answer["producerEpoch"]
                where = f"{state}, commit {commit}, epoch {ahead:+}"
                for version in (4, 5):
                    end(ask, name, producer, epoch + ahead, commit, version=version, label=where)
                    settled(ask, name)
                end(ask, name, producer + 1000, epoch + ahead, commit, version=5, label=f"{where}, other id")
                written(ask, name)
    name = f"{ask.prefix}-open"
    producer, epoch = init(ask, name)
    for ahead in (-1, 1):
        add(ask, name, producer, epoch, topic, 0)
        for version in range(6):
            end(ask, name, producer, epoch + ahead, False, version=version, label=f"open, epoch {ahead:+}")
    end(ask, name, producer, epoch, True, version=4, label="the old way")
    settled(ask, name)
    end(ask, name, producer, epoch, True, version=5, label="then the new way")
    end(ask, name, producer, epoch, False, version=5, label="then the new way, abort")
    settled(ask, name)
    written(ask, name)
    for version in range(6):
        end(ask, f"{ask.prefix}-unknown-id", 5, 0, True, version=version, label="of an unknown id")
        end(ask, "", 5, 0, True, version=version, label="of no id")


@story("AddPartitionsToTxn", *APIS)
def partitions_are_added(ask: Asker) -> None:
    topic = ask.topic("t", 3)
    name = f"{ask.prefix}-tx"
    producer, epoch = init(ask, name)
    add(ask, name, producer, epoch, topic, label="none")
    written(ask, name)
    add(ask, name, producer, epoch, topic, 0, 0, label="one twice")
    add(ask, name, producer, epoch, topic, 1, 0, label="one more")
    add(ask, name, producer, epoch, topic, 1, label="again")
    add(ask, name, producer, epoch, STATE_TOPIC, 0, label="an internal one")
    describe(ask, name)
    for version in (4, 5):
        for only_look in (True, False):
            for label, change in (
                ("known", {}),
                ("new", {"topics": [{"name": topic, "partitions": [1, 2]}]}),
                (
                    "no such",
                    {"topics": [{"name": topic, "partitions": [0, 9]}, {"name": "no-such", "partitions": [0]}]},
                ),
                ("epoch behind", {"producerEpoch": epoch - 1}),
                ("epoch ahead", {"producerEpoch": epoch + 1}),
                ("other id", {"producerId": producer + 1000}),
                ("unknown id", {"transactionalId": f"{name}-unknown-id"}),
                ("no name", {"transactionalId": ""}),
            ):
                wish = {
                    "transactionalId": name, "producerId": producer, "producerEpoch": epoch, "verifyOnly": only_look,
                    "topics": [{"name": topic, "partitions": [0, 1]}], **change,
                }  # fmt: skip
                body = {"transactions": [wish]}
                ask.ask("AddPartitionsToTxn", version, body, label=f"{label}, verify {only_look}")
    written(ask, name)
    end(ask, name, producer, epoch, True)
    settled(ask, name)
    for only_look in (True, False):
        wish = {
            "transactionalId": name, "producerId": producer, "producerEpoch": epoch, "verifyOnly": only_look,
            "topics": [{"name": topic, "partitions": [0]}],
        }  # fmt: skip
        ask.ask("AddPartitionsToTxn", 4, {"transactions": [wish]}, label=f"after the end, verify {only_look}")
    written(ask, name)
    for version in versions("AddOffsetsToTxn"):
        for label, change in (
            ("good", {}),
            ("again", {}),
            ("epoch behind", {"producerEpoch": epoch - 1}),
            ("other id", {"producerId": producer + 1000}),
            ("unknown id", {"transactionalId": f"{name}-unknown-id"}),
            ("no name", {"transactionalId": ""}),
            ("no group", {"groupId": ""}),
        ):
            wish = {"transactionalId": name, "producerId": producer, "producerEpoch": epoch, "groupId": name, **change}
            ask.ask("AddOffsetsToTxn", version, wish, label=label)
    written(ask, name)


@story("Produce", *APIS)
def produce_outside_of_the_transaction(ask: Asker) -> None:
    topic = ask.topic("t", 3)
    topic_id = ask.topic_id(topic)
    for version in (3, 8, 10, 11, 12, 13):
        name = f"{ask.prefix}-tx{version}"
        producer, epoch = init(ask, name)

        def produce(data: bytes, label: str, *, partition: int = 0, who: str | None = "", acks: int = -1) -> None:
            ask.produce(
                topic, data, version, partition=partition, label=label, acks=acks, topic_id=topic_id,
                transactional_id=name if who == "" else who,
            )  # fmt: skip

        produce(batch("x", producer, epoch), "of an unknown id", who=f"{name}-unknown-id")
        produce(batch("x", producer, epoch), "of no name", who="")
        produce(batch("x", producer, epoch), "without a name", who=None)
        produce(batch("x", producer, epoch, 3), "not added, later sequence", partition=1)
        produce(batch("x", producer, epoch), "not added")
        produce(batch("x", producer, epoch, 1), "its second batch")
        produce(batch("x", producer, epoch), "once more")
        produce(batch("x", producer + 1000, epoch), "of another id", partition=2)
        produce(batch("x", producer, epoch + 1), "epoch ahead", partition=2)
        produce(batch("x", producer, epoch - 1) if epoch else batch("x", producer, epoch), "epoch behind", partition=2)
        produce(batch("x", producer, epoch), "no such partition", partition=9)
        produce(records("plain"), "plain records with a name", partition=2)
        produce(records("plain", producer_id=producer, producer_epoch=epoch, base_sequence=0), "not in it", partition=2)
        describe(ask, name, label=f"v{version}")
        add(ask, name, producer, epoch, topic, 0, 1)
        produce(batch("x", producer, epoch), "added")
        produce(batch("x", producer, epoch, 5), "a gap")
        produce(batch("x", producer, epoch, 1), "in sequence")
        produce(batch("x", producer, epoch, 1), "in sequence again")
        produce(records("plain", producer_id=producer, producer_epoch=epoch, base_sequence=2), "plain while open")
        produce(batch("x", producer, epoch, 2), "acks 1", acks=1)
        produce(batch("x", producer, epoch, 4), "first of a partition", partition=1)
        produce(batch("x", producer, epoch), "first of a partition", partition=1)
        ask.ask("DescribeProducers", 0, {"topics": [{"name": topic, "partitionIndexes": [0, 1, 2]}]})
        old_epoch = epoch
        answer = end(ask, name, producer, epoch, False, version=5)
        settled(ask, name)
        produce(batch("x", producer, old_epoch, 3), "after the end")
        produce(batch("x", producer, old_epoch, 2), "a duplicate after the end")
        producer, epoch = answer["producerId"], answer["producerEpoch"]
        produce(batch("x", producer, epoch, 1), "sequence 1 with the new epoch")
        produce(batch("x", producer, epoch), "sequence 0 with the new epoch")
        end(ask, name, producer, epoch, False, version=5)
        settled(ask, name)
        ask.fetch(topic, 0, 12, label=f"v{version}")


@story("Produce", *APIS)
def two_producers_in_one_request(ask: Asker) -> None:
    topic = ask.topic("t", 2)
    name = f"{ask.prefix}-tx"
    producer, epoch = init(ask, name)
    add(ask, name, producer, epoch, topic, 0, 1)
    for version in (9, 12):
        for label, first, second in (
            ("two ids", batch("x", producer, epoch), batch("x", producer + 1000, 0)),
            ("two epochs", batch("x", producer, epoch), batch("x", producer, epoch + 1)),
            ("one of them plain", batch("x", producer, epoch), records("plain")),
            ("one of them broken", batch("x", producer, epoch, 1), b"?" * 70),
        ):
            for who in (name, None):
                parts = [
                    {"index": index, "records": base64.b64encode(raw).decode()}
                    for index, raw in enumerate((first, second))
                ]
                body = {
                    "acks": -1, "timeoutMs": 1000, "transactionalId": who,
                    "topicData": [{"name": topic, "partitionData": parts}],
                }  # fmt: skip
                ask.ask("Produce", version, body, label=f"{label}, {'with' if who else 'without'} a name")
    ask.fetch(topic, 0, 12)


@story("TxnOffsetCommit", *APIS)
def offsets_of_members(ask: Asker) -> None:
    """KIP-447: a commit by a former member is fenced."""
    topic = ask.topic("t", 2)
    topic_id = ask.topic_id(topic)
    group = f"{ask.prefix}-g"
    member, generation = join(ask, group, topic)
    name = f"{ask.prefix}-tx"
    producer, epoch = init(ask, name)
    for version in (2, 3, 4, 5, 6):

        def commit(label: str, offset: int = 5, *, index: int = 0, metadata: str | None = "m", **fields) -> None:
            parts = [
                {
                    "partitionIndex": index,
                    "committedOffset": offset,
                    "committedLeaderEpoch": 0,
                    "committedMetadata": metadata,
                }
            ]
            body = {
                "transactionalId": name, "groupId": group, "producerId": producer, "producerEpoch": epoch,
                "topics": [{"name": topic, "topicId": topic_id, "partitions": parts}], **fields,
            }  # fmt: skip
            if version >= 3:
                body = {"generationIdOrMemberEpoch": -1, "memberId": "", "groupInstanceId": None, **body}
            ask.ask("TxnOffsetCommit", version, body, label=label)

        if version < 5:
            commit("not added")
            wish = {"transactionalId": name, "producerId": producer, "producerEpoch": epoch, "groupId": group}
            ask.ask("AddOffsetsToTxn", 3, wish)
        commit("without a member")
        if version >= 3:
            commit("of the member", memberId=member, generationIdOrMemberEpoch=generation)
            commit("of a generation ahead", memberId=member, generationIdOrMemberEpoch=generation + 1)
            commit("of a generation behind", memberId=member, generationIdOrMemberEpoch=generation - 1)
            commit("of an unknown member", memberId="other", generationIdOrMemberEpoch=generation)
            commit("of an unknown instance", memberId=member, generationIdOrMemberEpoch=generation, groupInstanceId="i")
            commit("without a generation", memberId=member)
            commit("without a name", generationIdOrMemberEpoch=generation)
            commit("of no group", groupId=f"{group}-none", memberId=member, generationIdOrMemberEpoch=1)
        commit("of a new group", groupId=f"{group}-new{version}")
        commit("no group", groupId="")
        commit("bad partition", index=7)
        commit("long metadata", metadata="x" * 5000)
        commit("no metadata", metadata=None)
        commit("epoch behind", producerEpoch=epoch - 1)
        commit("epoch ahead", producerEpoch=epoch + 1)
        commit("other id", producerId=producer + 1000)
        commit("of an unknown transaction", transactionalId=f"{name}-unknown-id")
        commit("no transaction", transactionalId="")
        describe(ask, name, label=f"v{version}")
        answer = end(ask, name, producer, epoch, version % 2 == 0, version=5)
        settled(ask, name)
        producer, epoch = answer["producerId"], answer["producerEpoch"]
        for wanted in (group, f"{group}-new{version}"):
            wish = {"groupId": wanted, "topics": [{"name": topic, "partitionIndexes": [0, 1]}], "requireStable": True}
            ask.until("OffsetFetch", 7, wish, stable)
            ask.ask("OffsetFetch", 7, wish, label="after the end")
    ask.ask(
        "OffsetDelete",
        0,
        {"groupId": f"{group}-new5", "topics": [{"name": topic, "partitions": [{"partitionIndex": 0}]}]},
    )
    ask.ask("DeleteGroups", 2, {"groupsNames": [f"{group}-new4"]})


def stable(answer: dict) -> bool:
    return all(each["errorCode"] == 0 for topic in answer["topics"] for each in topic["partitions"])


def join(ask: Asker, group: str, topic: str) -> tuple[str, int]:
    wish = {
        "groupId": group, "sessionTimeoutMs": 60_000, "rebalanceTimeoutMs": 60_000, "memberId": "",
        "groupInstanceId": None, "protocolType": "consumer",
        "protocols": [{"name": "range", "metadata": subscription(topic)}],
    }  # fmt: skip
    member = ask.ask("JoinGroup", 5, wish, note=False)["memberId"]
    generation = ask.ask("JoinGroup", 5, {**wish, "memberId": member}, note=False)["generationId"]
    assignment = {"memberId": member, "assignment": base64.b64encode(b"\0\0").decode()}
    wish = {
        "groupId": group, "generationId": generation, "memberId": member, "groupInstanceId": None,
        "assignments": [assignment],
    }  # fmt: skip
    ask.ask("SyncGroup", 3, wish, note=False)
    return member, generation


def subscription(topic: str) -> str:
    raw = b"\0\0" + b"\0\0\0\1" + len(topic).to_bytes(2, "big") + topic.encode() + b"\xff\xff\xff\xff"
    return base64.b64encode(raw).decode()


@story("WriteTxnMarkers", *APIS)
def markers_of_each_epoch(ask: Asker) -> None:
    topic = ask.topic("t", 4)
    for kind in (0, 1, 2):
        name = f"{ask.prefix}-tx{kind}"
        producer, epoch = init(ask, name)
        producer, epoch = init(ask, name)
        producer, epoch = init(ask, name)
        add(ask, name, producer, epoch, topic, *range(4))
        for partition in range(4):
            ask.produce(topic, batch("x", producer, epoch), 9, partition=partition, transactional_id=name)
        for partition, ahead in enumerate((-1, 0, 1, 5)):
            for commit in (True, False):
                marker = {
                    "producerId": producer, "producerEpoch": epoch + ahead, "transactionResult": commit,
                    "coordinatorEpoch": 3 if commit else 2, "transactionVersion": kind,
                    "topics": [{"name": topic, "partitionIndexes": [partition]}],
                }  # fmt: skip
                label = f"transaction version {kind}, epoch {ahead:+}, commit {commit}"
                ask.ask("WriteTxnMarkers", 2, {"markers": [marker]}, label=label)
            ask.ask("DescribeProducers", 0, {"topics": [{"name": topic, "partitionIndexes": [partition]}]})
        describe(ask, name)
    for partition in range(4):
        ask.fetch(topic, 0, 12, partition=partition, isolationLevel=1)
    ask.ask("WriteTxnMarkers", 2, {"markers": []}, label="none")


@story("EndTxn", *APIS)
def end_txn_of_aborted_transactions(ask: Asker) -> None:
    """After the timeout aborted a transaction, the epoch of a request decides its answer."""
    names = {}
    for version in (4, 5):
        for commit in (True, False):
            name = topic = ask.topic(f"{version}-{commit}")
            producer, epoch = init(ask, name, timeout_ms=500)
            add(ask, name, producer, epoch, topic, 0)
            ask.produce(topic, batch(name, producer, epoch), 9, transactional_id=name)
            names[name] = (version, commit, producer, epoch)
    for name, (version, commit, producer, epoch) in names.items():
        topic = name
        ask.until("DescribeTransactions", 0, {"transactionalIds": [name]}, is_aborted, timeout_s=30)
        ask.produce(topic, batch("y", producer, epoch, 1), 9, transactional_id=name, label="too late")
        add(ask, name, producer, epoch, topic, 0, label="too late")
        end(ask, name, producer, epoch, commit, version=version, label="too late")
        end(ask, name, producer, epoch, commit, version=version, label="too late, again")
        written(ask, name)
        init(ask, name, producer=producer, epoch=epoch, label="goes on")
        init(ask, name, producer=producer, epoch=epoch + 1, label="goes on with the next epoch")
        ask.fetch(topic, 0, 12, isolationLevel=1)


def is_aborted(answer: dict) -> bool:
    return answer["transactionStates"][0]["transactionState"] == "CompleteAbort"


@story("ListTransactions", *APIS)
def transactions_are_filtered(ask: Asker) -> None:
    topic = ask.topic("t")
    made: dict[str, int] = {}
    for name in ("alpha", "beta", "alphabet"):
        made[name], epoch = init(ask, f"{ask.prefix}-{name}")
        if name != "beta":
            add(ask, f"{ask.prefix}-{name}", made[name], epoch, topic, 0)
    time.sleep(0.05)  # the transactions have lasted longer than nothing
    for label, body in patterns(ask.prefix):
        ask.ask("ListTransactions", 2, body, label=label, own=True)
    for label, body in (
        ("by producer", {"producerIdFilters": [made["alpha"], made["beta"]]}),
        ("open and by producer", {"producerIdFilters": [made["beta"]], "stateFilters": ["Ongoing"]}),
        ("longer than nothing", {"durationFilter": 0}),
        ("longer than 10 ms", {"durationFilter": 10}),
        ("longer than -2", {"durationFilter": -2}),
        ("states in other case", {"stateFilters": ["ongoing", "Empty"]}),
        ("states without transactions", {"stateFilters": ["Dead", "PrepareEpochFence"]}),
        ("no state", {"stateFilters": [""]}),
    ):
        ask.ask("ListTransactions", 1, body, label=label, own=True)
    ask.ask("DescribeTransactions", 0, {"transactionalIds": []}, label="none")


def patterns(prefix: str) -> Iterable[tuple[str, dict]]:
    for pattern in ("alpha", ".*alpha", ".*-(alpha|beta)", ".*ALPHA", "(?i).*ALPHA", "", "(", "*", "[a", "a{2,1}"):
        yield f"pattern {pattern}", {"transactionalIdPattern": pattern}
    yield "pattern of all of it", {"transactionalIdPattern": f"{prefix}-alpha"}


@story("ListOffsets", "Fetch", *APIS)
def offsets_and_open_transactions(ask: Asker) -> None:
    """The offsets that each isolation level sees while a transaction is open before the end of the log."""
    topic = ask.topic("t")
    first, second = f"{ask.prefix}-first", f"{ask.prefix}-second"
    held = {name: init(ask, name) for name in (first, second)}
    ask.produce(topic, records("before", "before"), 9)
    for name in (first, second, first):
        add(ask, name, *held[name], topic, 0)
        sequence = 1 if name == first and held.get("once") else 0
        ask.produce(topic, batch(name, *held[name], sequence), 9, transactional_id=name)
        held["once"] = (0, 0)
        ask.produce(topic, records("between"), 9)
    look_everywhere(ask, topic, "both are open")
    end(ask, second, *held[second], False)
    settled(ask, second)
    look_everywhere(ask, topic, "the second was aborted")
    end(ask, first, *held[first], True)
    settled(ask, first)
    look_everywhere(ask, topic, "the first has committed")


def look_everywhere(ask: Asker, topic: str, label: str) -> None:
    for version in (2, 5, 7, 8, 10, 11):
        for isolation in (0, 1):
            for timestamp in (-1, -2, -3, -4, -5, 0, FIXED_TIME_MS, FIXED_TIME_MS + 1, FIXED_TIME_MS * 2):
                part = {"partitionIndex": 0, "currentLeaderEpoch": -1, "timestamp": timestamp}
                wish = {"replicaId": -1, "isolationLevel": isolation, "topics": [{"name": topic, "partitions": [part]}]}
                where = (
                    f"{label}, isolation {isolation}, time {timestamp if timestamp < 1 else timestamp - FIXED_TIME_MS}"
                )
                ask.ask("ListOffsets", version, {**wish, "timeoutMs": 1000}, label=where)
    for isolation in (0, 1):
        for offset in range(10):
            fields = {"isolationLevel": isolation, "label": f"{label}, isolation {isolation}, from {offset}"}
            answer = ask.fetch(topic, offset, 12, note=False, **fields)
            part = answer["responses"][0]["partitions"][0]
            ask.note(fields["label"], {key: part[key] for key in ("errorCode", "highWatermark", "lastStableOffset")})
            ask.note(f"{fields['label']}, bytes", len(part["records"] or ""))
