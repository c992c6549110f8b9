"""Mutated requests by the hundred thousand through connections to a real broker.

Whatever comes, the broker answers or closes; it never meets an exception that it did not expect, keeps nothing of the
connections that are over, serves others meanwhile, and a restart finds the state that it had.
KWIRE_FUZZ_SECONDS=600 looks longer, KWIRE_FUZZ_SEED=n elsewhere.
"""

from __future__ import annotations

import os
import random
import struct
import time
from typing import Any

import pytest
import trio
import trio.testing
from peer import Peer, apis_of

from kwire.broker.broker import Broker
from kwire.broker.endpoint import Endpoint
from kwire.broker.start import open_broker
from kwire.metadata.configs.effective import BrokerSettings
from kwire.server.bindings import Limits
from kwire.server.connections import connection
from kwire.server.connections.connection import serve_connection
from kwire.server.connections.registry import ConnectionRegistry, Listener
from kwire.testing.memory.files import MemoryFiles
from kwire.testing.memory.transport import MemoryTransport
from kwire.wire import codec
from kwire.wire import messages as m
from kwire.wire.batches.records import Record, build_batch, read_records
from kwire.wire.spec import Field

FRAMES = 100_000
USUAL_SECONDS = 20.0
SECONDS = float(os.environ.get("KWIRE_FUZZ_SECONDS", USUAL_SECONDS))
SEED = int(os.environ.get("KWIRE_FUZZ_SEED", "20261123"))
FRAMES_A_CONNECTION = 4
ENDPOINT = Endpoint("PLAINTEXT", "PLAINTEXT", "localhost", 9092)
SETTINGS = BrokerSettings(
    {"log.dirs": "/data", "offsets.topic.num.partitions": "2", "log.segment.bytes": "1048576", "num.partitions": "2"}
)
WITNESS = "the-witness"


class Recorder:
    """Stands in for the connection's log: counts, and keeps what must not be."""

    def __init__(self) -> None:
        self.violations = 0
        self.frames = 0
        self.failures: list[tuple[BaseException, dict[str, Any]]] = []

    def warning(self, *_: object, **__: object) -> None:
        self.violations += 1

    def failure(self, _event: str, error: BaseException, **values: Any) -> None:
        self.failures.append((error, values))

    def debug(self, *_: object, **__: object) -> None: ...

    def read_header(self, frame: memoryview) -> codec.RequestHeader:
        self.frames += 1
        return codec.read_header(frame)


class Corpus:
    """Requests that mean something to this broker: every API at every version, empty, filled, and odd."""

    def __init__(self, broker: Broker, topic_id: bytes, dice: random.Random) -> None:
        self._dice = dice
        self._usual: dict[str, Any] = {
            "string": "f",
            "bytes": b"\0\1\0\0\0\1\0\6fuzzed\xff\xff\xff\xff",
            "records": batch(b"fuzz"),
            "bool": True,
            "uuid": topic_id,
            "float64": 1.0,
        }
        self._odd: dict[str, tuple[Any, ...]] = {
            "string": ("", "f", "fuzzed", "\0", "../x", "é" * 300, "__consumer_offsets", "a.b"),
            "bytes": (b"", b"\xff\xff", self._usual["bytes"], bytes(100)),
            "records": (b"", bytes(61), self._usual["records"], self._usual["records"][:-1], batch(b"1") + batch(b"2")),
            "bool": (True, False),
            "uuid": (topic_id, bytes(16), b"\xff" * 16),
            "float64": (0.0, -1.0, 1e300, float("nan"), float("inf")),
            "int8": (-128, -1, 0, 1, 2, 127),
            "int16": (-(2**15), -2, -1, 0, 1, 2, 2**15 - 1),
            "uint16": (0, 1, 2**16 - 1),
            "int32": (-(2**31), -2, -1, 0, 1, 2, 100, 2**31 - 1),
            "uint32": (0, 1, 2**32 - 1),
            "int64": (-(2**63), -5, -4, -3, -2, -1, 0, 1, 100, 2**63 - 1),
        }
        self._apis = [(api.key, version) for api in apis_of(broker).values() for version in _versions(api)]
        self.frames = [self._frame(*one, odd) for one in self._apis for odd in (None, False)]

    def odd(self) -> bytes:
        """A request in order, of values that are not."""
        return self._frame(*self._dice.choice(self._apis), True)

    def _frame(self, key: int, version: int, odd: bool | None) -> bytes:
        cls = codec.request_class(key)
        request = cls() if odd is None else self._filled(cls, cls.FIELDS, version, odd)
        return codec.encode_request(key, version, 7, "fuzz", request)[4:]

    def _filled(self, cls: Any, fields: tuple[Field, ...], version: int, odd: bool) -> Any:
        there = [field for field in fields if version in field.versions]
        return cls(**{field.name: self._value(cls, field, version, odd) for field in there})

    def _value(self, cls: Any, field: Field, version: int, odd: bool) -> Any:
        if odd and version in field.nullable and self._dice.random() < 0.2:
            return None
        if field.type != "array":
            return self._value_of(cls, field, field.type, version, odd)
        count = self._dice.choice((0, 1, 1, 2, 3)) if odd else 1
        return [self._value_of(cls, field, field.item, version, odd) for _ in range(count)]

    def _value_of(self, cls: Any, field: Field, kind: str, version: int, odd: bool) -> Any:
        if kind == "struct":
            assert field.struct is not None
            root = getattr(m, cls.__qualname__.split(".")[0])
            return self._filled(getattr(root, field.struct.name), field.struct.fields, version, odd)
        if kind == "string" and self._dice.random() < 0.7:
            return {"name": "fuzzed", "topic": "fuzzed", "protocol_type": "consumer"}.get(field.name, "f")
        if odd and self._dice.random() < 0.7:
            return self._dice.choice(self._odd[kind])
        return self._usual.get(kind, 1)


def _versions(api: Any) -> range:
    return range(api.served[0], api.served[1] + 1)


def batch(value: bytes) -> bytes:
    return build_batch([Record(0, 1_700_000_000_000, b"k", value, ())])


def mutated(dice: random.Random, corpus: Corpus) -> bytes:
    """One request, its length in front; half of them in order with odd values, half with bytes changed."""
    if dice.random() < 0.5:
        frame = bytearray(corpus.odd())
        return struct.pack(">i", len(frame)) + frame
    frame = bytearray(dice.choice(corpus.frames))
    for _ in range(dice.choice((0, 1, 1, 1, 2, 2, 3, 8))):
        place = dice.randrange(len(frame)) if frame else 0
        match dice.randrange(9):
            case 0:
                frame[place : place + 1] = bytes([dice.randrange(256)])
            case 1:
                frame[place : place + 1] = bytes([frame[place] ^ 1 << dice.randrange(8)]) if frame else b""
            case 2:
                frame[place : place + 4] = struct.pack(
                    ">i", dice.choice((-(2**31), -2, -1, 0, 1, 255, 65536, 2**31 - 1))
                )
            case 3:
                frame[place : place + 2] = struct.pack(">h", dice.choice((-(2**15), -2, -1, 0, 1, 255, 2**15 - 1)))
            case 4:
                frame[place : place + 5] = b"\xff\xff\xff\xff" + bytes([dice.choice((0x07, 0x0F, 0x7F, 0xFF))])
            case 5:
                del frame[place : place + dice.randrange(1, 30)]
            case 6:
                frame[place:place] = dice.randbytes(dice.randrange(1, 30))
            case 7:
                other = dice.choice(corpus.frames)
                frame[place:] = other[dice.randrange(len(other)) :]
            case 8:
                frame[2:4] = struct.pack(">h", dice.randrange(-2, 20))
    size = len(frame) if dice.random() < 0.98 else dice.choice((-1, 0, 1, 7, len(frame) + 5, 2**31 - 1))
    return struct.pack(">i", size) + frame


class Served:
    """A broker in memory, reached as peers reach it."""

    def __init__(self, broker: Broker, nursery: trio.Nursery) -> None:
        self.broker = broker
        self.nursery = nursery
        self.connections = ConnectionRegistry(apis_of(broker), broker.clock, lambda: Limits(queued_bytes_max=104857600))
        self.listener = Listener(ENDPOINT, self.connections)

    def connect(self) -> MemoryTransport:
        transport = MemoryTransport()
        self.nursery.start_soon(serve_connection, self.broker, transport, self.listener)
        return transport

    async def ask(self, transport: MemoryTransport, key: int, version: int, request: Any) -> Any:
        transport.feed(codec.encode_request(key, version, 1, "innocent", request))
        frame = await transport.next_frame()
        assert frame is not None, "an innocent connection was closed"
        return codec.decode_response(key, version, memoryview(frame))[1]

    async def produce(self, transport: MemoryTransport, topic_id: bytes, value: bytes) -> int:
        partition = m.ProduceRequest.PartitionProduceData(index=0, records=batch(value))
        topic = m.ProduceRequest.TopicProduceData(topic_id=topic_id, partition_data=[partition])
        response = await self.ask(transport, 0, 13, m.ProduceRequest(acks=-1, timeout_ms=1000, topic_data=[topic]))
        (answer,) = response.responses[0].partition_responses
        assert answer.error_code == 0
        return answer.base_offset

    async def values(self, transport: MemoryTransport, topic_id: bytes) -> list[bytes | None]:
        partition = m.FetchRequest.FetchPartition(partition=0, fetch_offset=0, partition_max_bytes=2**30)
        topic = m.FetchRequest.FetchTopic(topic_id=topic_id, partitions=[partition])
        request = m.FetchRequest(max_wait_ms=0, session_epoch=-1, max_bytes=2**30, topics=[topic])
        records = (await self.ask(transport, 1, 13, request)).responses[0].partitions[0].records
        found, view = [], memoryview(records)
        while view:
            size = 12 + int.from_bytes(view[8:12], "big")
            found += [record.value for record in read_records(view[:size])]
            view = view[size:]
        return found


async def fuzz(served: Served, corpus: Corpus, witness_id: bytes, recorder: Recorder, dice: random.Random) -> int:
    """Returns how often the witness was written."""
    innocent = served.connect()
    deadline = time.monotonic() + SECONDS
    rounds = 0
    while time.monotonic() < deadline and (recorder.frames < FRAMES or SECONDS > USUAL_SECONDS):
        peers = [served.connect() for _ in range(50)]
        for peer in peers:
            peer.feed(b"".join(mutated(dice, corpus) for _ in range(FRAMES_A_CONNECTION)))
            peer.finish() if dice.random() < 0.9 else peer.reset()
        assert await served.produce(innocent, witness_id, b"%d" % rounds) == rounds
        rounds += 1
        for peer in peers:
            await peer.wait_closed()
    innocent.finish()
    await innocent.wait_closed()
    return rounds


async def test_mutated_requests_leave_the_broker_consistent(monkeypatch):
    recorder = Recorder()
    monkeypatch.setattr(connection, "log", recorder)
    monkeypatch.setattr(connection, "read_header", recorder.read_header)
    dice = random.Random(SEED)
    files = MemoryFiles()
    async with (
        open_broker(SETTINGS, files, endpoints=[ENDPOINT]) as broker,
        trio.open_nursery() as nursery,
    ):
        served = Served(broker, nursery)
        topic_id = await Peer(broker).create_topic("fuzzed")
        witness_id = await Peer(broker).create_topic(WITNESS)

        rounds = await fuzz(served, Corpus(broker, topic_id, dice), witness_id, recorder, dice)

        if recorder.failures:
            error, values = recorder.failures[0]
            pytest.fail(
                f"{len(recorder.failures)} unexpected exceptions, the first in {values}: {error!r}", pytrace=False
            )
        assert recorder.violations > rounds
        assert len(served.connections) == 0
        assert served.connections.memory._bytes == 0
        last = served.connect()
        assert await served.values(last, witness_id) == [b"%d" % number for number in range(rounds)]
        topics = set(broker.image.topics)
        nursery.cancel_scope.cancel()

    async with open_broker(SETTINGS, files, endpoints=[ENDPOINT]) as again, trio.open_nursery() as nursery:
        served = Served(again, nursery)
        assert set(again.image.topics) == topics
        assert await served.values(served.connect(), witness_id) == [b"%d" % number for number in range(rounds)]
        nursery.cancel_scope.cancel()
