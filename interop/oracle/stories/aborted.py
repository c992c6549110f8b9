"""Which aborted transactions a fetch names: those that begin below a bound that is found in the offset index."""

import base64
import itertools
import random
import time

from interop.oracle.asker import Asker, records
from interop.oracle.stories.transactions import APIS, add, end, init, settled
from interop.oracle.story import story
from kwire.wire.batches.batch import HEADER_BYTES, read_batch_header

# How the index and the segments of a log may be cut: an entry for each batch but the first, for a few, for none that
# is young, and segments that are full of entries after a few batches.
SHAPES = {
    "dense": {"index.interval.bytes": "0"},
    "sparse": {"index.interval.bytes": "700"},
    "bare": {},
    "segments": {"index.interval.bytes": "0", "segment.index.bytes": "84"},
    "sparse-segments": {"index.interval.bytes": "300", "segment.index.bytes": "48"},
}


@story("Fetch", "DescribeTransactions", *APIS)
def aborted_transactions_of_a_fetch(ask: Asker) -> None:
    """From each batch to each of the next few, and a byte more or less, as far as a committed reader may see."""
    for shape, configs in SHAPES.items():
        topic = ask.topic(shape, 1, configs)
        dice = random.Random(shape)
        names = [f"{ask.prefix}-{shape}-{n}" for n in range(4)]
        held = {name: init(ask, name) for name in names}
        sequences = dict.fromkeys(names, 0)
        is_open: set[str] = set()
        # Ahead of the brokers' clocks, so that it is never a marker that is the latest: which batches have an entry in
        # the time index, and with it where a segment is full, would hang on the speed of the machine.
        clock = itertools.count(int(time.time() * 1000) + 1_800_000, 1000)

        def write(name: str, topic: str = topic, dice: random.Random = dice, **state) -> None:
            held, sequences, is_open = state["held"], state["sequences"], state["is_open"]
            producer, epoch = held[name]
            if name not in is_open:
                add(ask, name, producer, epoch, topic, 0)
            texts = ["x" * dice.choice((1, 90, 400)) for _ in range(dice.randrange(1, 4))]
            batch = records(
                *texts,
                timestamp_ms=next(state["clock"]),
                producer_id=producer,
                producer_epoch=epoch,
                base_sequence=sequences[name],
                transactional=True,
            )
            ask.produce(topic, batch, 9, transactional_id=name)
            sequences[name] += len(texts)
            is_open.add(name)

        def finish(name: str, commit: bool, is_open: set[str] = is_open, held: dict = held) -> None:
            end(ask, name, *held[name], commit)
            settled(ask, name)
            is_open.discard(name)

        for turn in range(2):
            for _ in range(24):
                # The first one is open to the end of the turn and holds the others back.
                name = dice.choice(names[1:])
                if name in is_open and dice.random() < 0.6:
                    finish(name, dice.random() < 0.2)
                elif dice.random() < 0.2:
                    ask.produce(topic, records("plain", timestamp_ms=next(clock)), 9)
                else:
                    write(name, held=held, sequences=sequences, is_open=is_open, clock=clock)
                if _ == 12 + turn:
                    write(names[0], held=held, sequences=sequences, is_open=is_open, clock=clock)
            look(ask, topic, f"{shape}, turn {turn}, one is open")
            finish(names[0], turn == 1)
            for name in sorted(is_open):
                finish(name, False)
            look(ask, topic, f"{shape}, turn {turn}, all are decided")


def look(ask: Asker, topic: str, label: str) -> None:
    batches = layout(ask, topic)
    ask.note(f"{label}, batches", batches)
    sizes = [size for _, _, size in batches]
    for first, (base, last, _) in enumerate(batches):
        limits = {1, 1 << 20}
        for whole in itertools.accumulate(sizes[first : first + 7]):
            limits |= {whole - 1, whole, whole + 1}
        for offset in {base, last}:
            for limit in sorted(limits):
                answer = ask.fetch(topic, offset, 12, isolationLevel=1, partitionMaxBytes=limit, note=False)
                part = answer["responses"][0]["partitions"][0]
                seen = {key: part[key] for key in ("errorCode", "lastStableOffset", "abortedTransactions")}
                seen["bytes"] = len(part["records"] or "")
                ask.note(f"{label}, from {offset}, {limit} bytes", ask.normalizer.normal(seen, "Fetch"))


def layout(ask: Asker, topic: str) -> list[tuple[int, int, int]]:
    """First and last offset and size of each batch, whatever segments they lie in."""
    found: list[tuple[int, int, int]] = []
    while True:
        offset = found[-1][1] + 1 if found else 0
        raw = memoryview(fetched(ask, topic, offset))
        if not raw:
            return found
        while len(raw) >= HEADER_BYTES:
            header = read_batch_header(raw)
            found.append((header.base_offset, header.last_offset, header.size_bytes))
            raw = raw[header.size_bytes :]


def fetched(ask: Asker, topic: str, offset: int) -> bytes:
    answer = ask.fetch(topic, offset, 12, note=False)
    return base64.b64decode(answer["responses"][0]["partitions"][0]["records"] or b"")


@story("Fetch", "DescribeTransactions", *APIS)
def aborted_transactions_of_what_does_not_fit(ask: Asker) -> None:
    """Two partitions, and room for the first alone, or for a piece of the second."""
    topic = ask.topic("t", 2, {"index.interval.bytes": "0"})
    name = f"{ask.prefix}-tx"
    producer, epoch = init(ask, name)
    for turn in range(4):
        add(ask, name, producer, epoch, topic, 0, 1)
        for partition in (0, 1):
            batch = records(
                "x" * 100, producer_id=producer, producer_epoch=epoch, base_sequence=turn, transactional=True
            )
            ask.produce(topic, batch, 9, partition=partition, transactional_id=name)
        if turn < 3:
            end(ask, name, producer, epoch, False)
            settled(ask, name)
    size = layout(ask, topic)[0][2]
    for version in (4, 10, 11, 12):
        for offset in range(8):
            for room in (1, size, size + 1, 2 * size - 1, 2 * size, 2 * size + 1, 5 * size, 1 << 20):
                parts = [
                    {"partition": n, "currentLeaderEpoch": -1, "fetchOffset": offset, "partitionMaxBytes": 1 << 20}
                    for n in (0, 1)
                ]
                body = {
                    "replicaId": -1, "maxWaitMs": 0, "minBytes": 0, "maxBytes": room, "sessionId": 0,
                    "sessionEpoch": -1, "isolationLevel": 1, "topics": [{"topic": topic, "partitions": parts}],
                }  # fmt: skip
                ask.ask("Fetch", version, body, label=f"from {offset}, {room} bytes")
    for limit in (0, 1, size - 1, size, size + 1):
        ask.fetch(topic, 0, 12, isolationLevel=1, partitionMaxBytes=limit, label=f"{limit} bytes of one")
