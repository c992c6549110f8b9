"""Exactly once: a copy program that is killed and restarted, hanging transactions, random producers on both brokers."""

import base64
import os
import random
import re
import shutil
import threading
import time
from pathlib import Path

from interop.brokers import Apache, Kwire, copy_data
from interop.case import Run, case
from interop.jars import CURRENT, classpath
from interop.java import CLASSES, compile_sources
from interop.oracle.asker import Asker, records
from interop.oracle.stories.transactions import add, end, init, settled
from interop.oracle.story import report, warm
from interop.processes import JavaProcess
from interop.waiting import wait_until
from kwire.wire.batches.batch import HEADER_BYTES, read_batch_header
from kwire.wire.batches.records import read_records

QUICK_TO_ABORT = {"transaction.abort.timed.out.transaction.cleanup.interval.ms": "200"}
compiling = threading.Lock()


# A consume-transform-produce loop


@case("transactions", "java", "copy-that-is-killed-and-restarted")
def copy_killed(run: Run) -> None:
    copy = Copy(run, run.broker)
    copy.start()
    for _ in range(3):
        copy.feed(400)
        copy.wait_for_progress()
        copy.kill()
        copy.feed(100)
        copy.start()
    copy.feed(200)
    copy.finish()


@case("transactions", "java", "copy-while-the-broker-is-killed-and-restarted")
def broker_killed(run: Run) -> None:
    broker = run.own_broker()
    broker.start()
    copy = Copy(run, broker)
    copy.start()
    for upset in (broker.kill, broker.stop):
        copy.feed(400)
        copy.wait_for_progress()
        upset()
        time.sleep(1)  # the copy notices that the broker is away
        broker.start()
        copy.feed(200)
        copy.wait_for_progress()
    copy.finish()


@case("transactions", "java", "copy-that-a-second-one-takes-over")
def taken_over(run: Run) -> None:
    copy = Copy(run, run.broker)
    copy.start()
    copy.feed(400)
    copy.wait_for_progress()
    first, copy.process = copy.process, copy.new_process()
    copy.process.start()
    copy.process.wait_for("ready")
    copy.feed(400)
    first.wait_for("fenced", alive=False)
    first.kill()
    copy.finish()


class Copy:
    """Values in one topic, some in aborted transactions; the copy must hold each committed value once."""

    def __init__(self, run: Run, broker: Apache | Kwire) -> None:
        self.run = run
        self.broker = broker
        self.number = 0
        self.expected: list[str] = []
        at = ("--bootstrap-server", broker.bootstrap)
        self.source, self.target = run.unique("from"), run.unique("to")
        for topic in (self.source, self.target):
            run.tool("topics", *at, "--create", "--topic", topic, "--partitions", "3").ok()
        with compiling:
            compile_sources()
        self.process = self.new_process()

    def new_process(self) -> JavaProcess:
        self.number += 1
        class_path = os.pathsep.join([classpath(CURRENT), str(CLASSES / f"for-{CURRENT}")])
        return JavaProcess(
            "the copy", self.run.folder / f"copy-{self.number}.log", class_path,
            "TransactionalCopy", self.broker.bootstrap, self.source, self.target, f"{self.source}-group",
            f"{self.source}-tx",
        )  # fmt: skip

    def start(self) -> None:
        self.process.start()

    def kill(self) -> None:
        self.process.kill()

    def feed(self, count: int) -> None:
        from confluent_kafka import Producer

        producer = Producer(
            {"bootstrap.servers": self.broker.bootstrap, "transactional.id": f"{self.source}-feed", "linger.ms": 1}
        )
        producer.init_transactions(30)
        while count > 0:
            some = [f"v{len(self.expected) + n}" for n in range(min(count, 50))]
            for commit in (False, True):
                producer.begin_transaction()
                for value in some:
                    producer.produce(self.source, value if commit else f"aborted {value}", key=value)
                if commit:
                    producer.commit_transaction(30)
                else:
                    producer.flush(30)
                    producer.abort_transaction(30)
            self.expected += some
            count -= len(some)

    def wait_for_progress(self) -> None:
        before = self.process.output.count("copied ")

        def has_progress() -> bool:
            self.process.assert_alive()
            return self.process.output.count("copied ") >= before + 2

        wait_until(has_progress, lambda: f"the copy makes no progress\n{self.process.tail()}", timeout_s=90)

    def copied(self, *, committed: bool) -> list[str]:
        return self.run.read_to_end(self.target, committed=committed, server=self.broker.bootstrap)

    def finish(self) -> None:
        deadline = time.monotonic() + 90
        while len(found := self.copied(committed=True)) < len(self.expected):
            self.process.assert_alive()
            assert time.monotonic() < deadline, f"{len(found)} of {len(self.expected)} arrived:\n{self.process.tail()}"
        self.process.kill()
        found = self.copied(committed=True)
        assert sorted(found) == sorted(self.expected), _differences(found, self.expected)
        everything = self.copied(committed=False)
        assert len(everything) > len(found), "nothing was aborted, so nothing was proved"


def _differences(found: list[str], expected: list[str]) -> str:
    twice = sorted({value for value in found if found.count(value) > 1})
    missing, more = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
    return f"missing {missing[:5]}, twice {twice[:5]}, more {more[:5]}"


# With tools


def readable(run: Run, topic: str, server: str) -> int:
    """How many records a consumer of committed records reads."""
    return len(run.read_to_end(topic, committed=True, server=server))


@case("transactions", "tools", "hanging-transactions-are-found-and-aborted")
def hanging(run: Run) -> None:
    # Without verification (KIP-890) a late batch may open a transaction that no producer ends.
    broker = run.own_broker({"transaction.partition.verification.enable": "false"})
    broker.start()
    at = ("--bootstrap-server", broker.bootstrap)
    asker = Asker(broker.port, "hang", broker.name == "kwire")
    warm(broker)
    # The official script and its twin see the same, and each aborts a transaction.
    for name, script in (("official", run.tool), ("twin", run.twin)):
        topic = asker.topic(name, 2)
        producer, epoch = init(asker, f"hang-{name}")
        batch = records("late", producer_id=producer, producer_epoch=epoch, base_sequence=0, transactional=True)
        asker.produce(topic, batch, 9, partition=1, transactional_id=f"hang-{name}")
        for partition in (0, 1):
            asker.produce(topic, records(*map(str, range(10))), 9, partition=partition)
        assert readable(run, topic, broker.bootstrap) == 10, "the hanging transaction holds nothing back"
        find = ("transactions", *at, "find-hanging", "--broker-id", "1", "--topic", topic)
        found = run.tool(*find).ok()
        assert run.twin(*find).ok().out == found.out
        found.prints(topic, str(producer))
        (line,) = [line.split() for line in found.lines if line.startswith(topic)]
        script("transactions", *at, "abort", "--topic", topic, "--partition", "1", "--start-offset", line[5]).ok()
        left = run.tool(*find).ok()
        assert not [line for line in left.lines if line.startswith(topic)], left.out
        assert run.twin(*find).ok().out == left.out
        assert readable(run, topic, broker.bootstrap) == 20

    # A transaction of the coordinator is aborted by force, which fences its producer.
    producer, epoch = init(asker, "force-tx")
    add(asker, "force-tx", producer, epoch, topic, 0)
    run.tool("transactions", *at, "forceTerminateTransaction", "--transactionalId", "force-tx").ok()
    settled(asker, "force-tx")
    answer = end(asker, "force-tx", producer, epoch, True)
    assert answer["errorCode"] == 90, answer
    asker.close()


@case("transactions", "tools", "the-official-dump-log-reads-every-file")
def dump_log(run: Run) -> None:
    broker = run.own_broker(QUICK_TO_ABORT)
    broker.start()
    asker = Asker(broker.port, "dump", broker.name == "kwire")
    warm(broker)
    topic = asker.topic("t")
    for n, commit in enumerate((True, False, True)):
        producer, epoch = init(asker, "dump-tx")
        batch = records(f"v{n}", producer_id=producer, producer_epoch=epoch, base_sequence=0, transactional=True)
        asker.produce(topic, batch, 12, transactional_id="dump-tx")
        end(asker, "dump-tx", producer, epoch, commit, version=5)
        settled(asker, "dump-tx")
    asker.close()
    broker.stop()

    def dump(name: str, *args: str) -> str:
        files = sorted(path for path in broker.data.glob(name) if path.stat().st_size)
        assert files, f"there is no {name}"
        return run.tool("dump-log", *args, "--files", ",".join(map(str, files))).ok().out

    states = dump("__transaction_state-*/*.log", "--transaction-log-decoder", "--print-data-log")
    found = re.findall(r"transactionalId[^}]*dump-tx.*?transactionStatus[^0-9]*(\d)", states)
    # Empty, Ongoing, PrepareCommit, CompleteCommit, and so on.
    assert "".join(found) in ("0124135124", "0124" + "0135" + "0124"), states
    data = dump(f"{topic}-0/*.log", "--print-data-log", "--deep-iteration")
    assert data.count("endTxnMarker: COMMIT") == 2, data
    assert data.count("endTxnMarker: ABORT") == 1, data
    aborted = dump(f"{topic}-0/*.txnindex")
    assert f"producerId: {producer}" in aborted, aborted
    assert "firstOffset: 2" in aborted, aborted
    assert f"producerId: {producer}" in dump(f"{topic}-0/*.snapshot")


@case("transactions", "data directories", "apache-ends-what-was-open")
def apache_goes_on(run: Run) -> None:
    handed_over(run, "kwire", "apache")


@case("transactions", "data directories", "kwire-ends-what-was-open")
def kwire_goes_on(run: Run) -> None:
    handed_over(run, "apache", "kwire")


# An Apache broker that is still starting completes the transactions that are overdue by then, but writes no markers to
# partitions that it does not lead yet, and so leaves them hanging: this one is to be overdue only when it serves.
LATE_MS = {"kwire": 2_000, "apache": 45_000}


def handed_over(run: Run, first: str, second: str) -> None:
    """The first broker is killed, and the producer continues with the second on a copy of the directory."""
    one = run.own_broker(QUICK_TO_ABORT, kind=first)
    one.start()
    warm(one)
    asker = Asker(one.port, "hand", first == "kwire")
    topic = asker.topic("t", 2)
    held: dict[str, tuple[int, int]] = {}
    for name in ("commits", "aborts", "late"):
        held[name] = init(asker, name, timeout_ms=LATE_MS[second] if name == "late" else 600_000)
        write(asker, topic, name, held[name], 0)
        if name != "late":
            offsets(asker, topic, name, *held[name])
    asker.close()
    one.kill()

    other = run.own_broker(QUICK_TO_ABORT, kind=second, data=copy_data(one.data, run.folder / "copy"))
    other.start()
    warm(other)
    asker = Asker(other.port, "hand", second == "kwire")
    ready(asker, topic)
    late = {"transactionalIds": ["late"]}
    asker.until(
        "DescribeTransactions", 0, late, lambda got: got["transactionStates"][0]["transactionState"] == "CompleteAbort",
        timeout_s=90,
    )  # fmt: skip
    for name, commit in (("commits", True), ("aborts", False)):
        write(asker, topic, name, held[name], 1)
        answer = end(asker, name, *held[name], commit, version=5)
        assert answer["errorCode"] == 0, answer
        settled(asker, name)
        wish = {"groupId": f"{name}-group", "topics": [{"name": topic, "partitionIndexes": [0]}], "requireStable": True}
        got = asker.until("OffsetFetch", 7, wish, lambda got: got["topics"][0]["partitions"][0]["errorCode"] == 0)
        committed = got["topics"][0]["partitions"][0]["committedOffset"]
        assert committed == (7 if commit else -1), (name, got)
    asker.close()
    seen = run.read_to_end(topic, committed=True, server=other.bootstrap)
    assert sorted(seen) == ["commits-0", "commits-1"], seen
    everything = run.read_to_end(topic, committed=False, server=other.bootstrap)
    assert sorted(everything) == ["aborts-0", "aborts-1", "commits-0", "commits-1", "late-0"], everything


def ready(asker: Asker, topic: str) -> None:
    wish = {"replicaId": -1, "topics": [{"name": topic, "partitions": [{"partitionIndex": 0, "timestamp": -1}]}]}
    asker.until("ListOffsets", 7, wish, lambda got: got["topics"][0]["partitions"][0]["errorCode"] == 0, timeout_s=60)
    wish = {"transactionalIds": ["commits", "aborts", "late"]}
    asker.until(
        "DescribeTransactions", 0, wish, lambda got: all(each["errorCode"] == 0 for each in got["transactionStates"]),
        timeout_s=60,
    )  # fmt: skip


def write(asker: Asker, topic: str, name: str, held: tuple[int, int], sequence: int) -> None:
    producer, epoch = held
    batch = records(
        f"{name}-{sequence}", producer_id=producer, producer_epoch=epoch, base_sequence=sequence, transactional=True
    )
    answer = asker.produce(topic, batch, 12, transactional_id=name)
    assert answer["responses"][0]["partitionResponses"][0]["errorCode"] == 0, answer


def offsets(asker: Asker, topic: str, name: str, producer: int, epoch: int) -> None:
    part = {"partitionIndex": 0, "committedOffset": 7, "committedLeaderEpoch": -1, "committedMetadata": ""}
    body = {
        "transactionalId": name, "groupId": f"{name}-group", "producerId": producer, "producerEpoch": epoch,
        "generationIdOrMemberEpoch": -1, "memberId": "", "groupInstanceId": None,
        "topics": [{"name": topic, "partitions": [part]}],
    }  # fmt: skip
    answer = asker.ask("TxnOffsetCommit", 5, body)
    assert answer["topics"][0]["partitions"][0]["errorCode"] == 0, answer


# The same random producers on both brokers


@case("transactions", "random producers", "both-brokers-show-the-same")
def random_producers(run: Run) -> None:
    seed = int(os.environ.get("KWIRE_INTEROP_SEED", "0")) or random.randrange(1, 10**6)
    brokers = [run.own_broker(QUICK_TO_ABORT, kind=kind) for kind in ("apache", "kwire")]
    for broker in brokers:
        broker.start()
        warm(broker)
    deadline = time.monotonic() + 50
    rounds = 0
    while time.monotonic() < deadline:
        transcripts = []
        for broker in brokers:
            asker = Asker(broker.port, f"r{seed}", broker.name == "kwire")
            try:
                Interleaving(asker, seed).play()
            except AssertionError as failure:
                raise AssertionError(f"seed {seed}, {broker.name}: {failure}") from failure
            asker.close()
            transcripts.append(asker.transcript)
        try:
            report("random-producers", *transcripts)
        except AssertionError as failure:
            raise AssertionError(f"seed {seed}: {failure}") from failure
        seed += 1
        rounds += 1
    assert rounds > 0
    shutil.rmtree(Path(brokers[0].folder), ignore_errors=True)


class Interleaving:
    """The sequence of one seed: four transactional ids, two partitions, a group, and random choices."""

    def __init__(self, ask: Asker, seed: int) -> None:
        self.ask = ask
        self.dice = random.Random(seed)
        self.topic = ask.topic("t", 2)
        self.group = f"{ask.prefix}-g"
        self.values = 0
        self.held: dict[str, tuple[int, int]] = {}
        self.sequences: dict[tuple[str, int], int] = {}
        self.is_open: set[str] = set()

    def play(self) -> None:
        for _ in range(40):
            step = self.dice.choices(
                (self.write, self.plain, self.end, self.end_again, self.offset, self.successor, self.late, self.zombie),
                (40, 8, 20, 4, 10, 5, 2, 5),
            )[0]
            step()
        self.look("while some are open")
        for name in sorted(self.is_open):
            # The process crashed; the next producer with its transactional id aborts the transaction.
            self.introduce(name)
        self.look("at the end")

    def write(self) -> None:
        name, partition = self.some(), self.dice.randrange(2)
        version, sequence = self.dice.choice((9, 11, 12)), self.sequences.get((name, partition), 0)
        if version < 12:
            add(self.ask, name, *self.held[name], self.topic, partition)
        texts = [self.text() for _ in range(self.dice.randrange(1, 3))]
        producer, epoch = self.held[name]
        batch = records(*texts, producer_id=producer, producer_epoch=epoch, base_sequence=sequence, transactional=True)
        self.ask.produce(self.topic, batch, version, partition=partition, transactional_id=name)
        self.sequences[name, partition] = sequence + len(texts)
        self.is_open.add(name)

    def plain(self) -> None:
        self.ask.produce(self.topic, records(self.text()), 9, partition=self.dice.randrange(2))

    def end(self) -> None:
        if self.is_open:
            self.finish(self.dice.choice(sorted(self.is_open)), self.dice.random() < 0.6, self.dice.choice((4, 5)))

    def end_again(self) -> None:
        """Repeat a request, as after a lost answer."""
        if not self.is_open:
            return
        name, commit, version = (
            self.dice.choice(sorted(self.is_open)),
            self.dice.random() < 0.6,
            self.dice.choice((4, 5)),
        )
        before = self.held[name]
        self.finish(name, commit, version)
        end(self.ask, name, *before, commit, version=version, label="again")
        end(self.ask, name, *before, not commit, version=4, label="otherwise")

    def finish(self, name: str, commit: bool, version: int) -> None:
        answer = end(self.ask, name, *self.held[name], commit, version=version)
        assert answer["errorCode"] == 0, answer
        settled(self.ask, name)
        self.is_open.discard(name)
        if version == 5:
            self.become(name, answer["producerId"], answer["producerEpoch"])

    def offset(self) -> None:
        name, version = self.some(), self.dice.choice((3, 5))
        producer, epoch = self.held[name]
        who = {"transactionalId": name, "producerId": producer, "producerEpoch": epoch, "groupId": self.group}
        if version < 5:
            self.ask.ask("AddOffsetsToTxn", 3, who)
        self.values += 1
        part = {
            "partitionIndex": self.dice.randrange(2), "committedOffset": self.values, "committedLeaderEpoch": -1,
            "committedMetadata": "",
        }  # fmt: skip
        body = {**who, "generationIdOrMemberEpoch": -1, "memberId": "", "groupInstanceId": None}
        self.ask.ask("TxnOffsetCommit", version, {**body, "topics": [{"name": self.topic, "partitions": [part]}]})
        self.is_open.add(name)

    def successor(self) -> None:
        name = self.some()
        before = self.held[name]
        self.introduce(name)
        add(self.ask, name, *before, self.topic, 0, label="by the one before")

    def late(self) -> None:
        """A transaction exceeds its timeout, and its client ends it after that."""
        name = f"{self.ask.prefix}-late"
        self.introduce(name, timeout_ms=300)
        producer, epoch = self.held[name]
        batch = records(self.text(), producer_id=producer, producer_epoch=epoch, base_sequence=0, transactional=True)
        self.ask.produce(self.topic, batch, 12, transactional_id=name)
        body = {"transactionalIds": [name]}
        self.ask.until(
            "DescribeTransactions",
            0,
            body,
            lambda got: got["transactionStates"][0]["transactionState"] == "CompleteAbort",
        )
        version = self.dice.choice((4, 5))
        end(self.ask, name, producer, epoch, self.dice.random() < 0.5, version=version, label="too late")

    def zombie(self) -> None:
        name = self.some()
        producer, epoch = self.held[name]
        batch = records(
            "zombie", producer_id=producer, producer_epoch=max(0, epoch - 1), base_sequence=99, transactional=True
        )
        self.ask.produce(self.topic, batch, self.dice.choice((9, 12)), transactional_id=name, label="by a zombie")
        if epoch == 0:
            # The batch was from the current producer with a sequence gap; a transaction may have started.
            self.introduce(name)

    def some(self) -> str:
        name = f"{self.ask.prefix}-{self.dice.randrange(4)}"
        if name not in self.held:
            self.introduce(name)
        return name

    def introduce(self, name: str, timeout_ms: int = 600_000) -> None:
        body = {"transactionalId": name, "transactionTimeoutMs": timeout_ms, "producerId": -1, "producerEpoch": -1}
        answer = self.ask.until("InitProducerId", 5, body, lambda got: got["errorCode"] != 51)
        assert answer["errorCode"] == 0, answer
        self.ask.note("producer", self.ask.normalizer.normal(answer, "InitProducerId"))
        self.become(name, answer["producerId"], answer["producerEpoch"])
        self.is_open.discard(name)

    def become(self, name: str, producer: int, epoch: int) -> None:
        self.held[name] = producer, epoch
        for partition in range(2):
            self.sequences.pop((name, partition), None)

    def text(self) -> str:
        self.values += 1
        return f"v{self.values}"

    def look(self, label: str) -> None:
        """The records and end offsets that consumers of both isolation levels receive."""
        for partition in range(2):
            for isolation in (0, 1):
                where = f"{label}, isolation {isolation}"
                answer = self.ask.fetch(self.topic, 0, 12, partition=partition, isolationLevel=isolation, note=False)
                seen = answer["responses"][0]["partitions"][0]
                state = {key: seen[key] for key in ("highWatermark", "lastStableOffset", "abortedTransactions")}
                state["given"] = given_to_the_application(seen, isolation)
                self.ask.note(where, self.ask.normalizer.normal(state, "Fetch"))
                part = {"partitionIndex": partition, "currentLeaderEpoch": -1, "timestamp": -1}
                body = {
                    "replicaId": -1,
                    "isolationLevel": isolation,
                    "topics": [{"name": self.topic, "partitions": [part]}],
                }
                self.ask.ask("ListOffsets", 7, body, label=where)
        wish = {"groupId": self.group, "topics": [{"name": self.topic, "partitionIndexes": [0, 1]}]}
        for stable in (True, False):
            self.ask.ask("OffsetFetch", 7, {**wish, "requireStable": stable}, label=f"{label}, stable {stable}")


def given_to_the_application(answer: dict, isolation: int) -> list[tuple[int, str]]:
    """The offsets and values that the Java consumer returns for a fetched partition."""
    aborted = sorted((each["firstOffset"], each["producerId"]) for each in answer["abortedTransactions"] or ())
    being_aborted: set[int] = set()
    given = []
    raw = memoryview(base64.b64decode(answer["records"] or b""))
    while len(raw) >= HEADER_BYTES:
        header = read_batch_header(raw)
        while aborted and aborted[0][0] <= header.last_offset:
            being_aborted.add(aborted.pop(0)[1])
        found = list(read_records(raw[: header.size_bytes]))
        if header.is_control:
            if found[0].key == bytes(4):  # an abort
                being_aborted.discard(header.producer_id)
        elif isolation == 0 or not header.is_transactional or header.producer_id not in being_aborted:
            given += [(record.offset, (record.value or b"").decode()) for record in found]
        raw = raw[header.size_bytes :]
    return given
