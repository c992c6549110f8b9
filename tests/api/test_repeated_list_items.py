"""No request that lists things twice, or a few wrong values beside right ones, finds a bug, whatever its API is.

Requests of every API and version are made at random from names that exist and names that do not, and items of their
lists are repeated as they are or with another value. An answer, a refusal (KafkaError) and a violation of the protocol
are right; any other exception is a bug, which a connection would answer by closing.
"""

from __future__ import annotations

import copy
import random

import pytest
import trio
from peer import Peer, all_apis

from kwire.broker.start import open_broker
from kwire.errors import KafkaError, ProtocolViolation
from kwire.metadata.configs.effective import BrokerSettings
from kwire.testing.memory.files import MemoryFiles
from kwire.wire import codec
from kwire.wire.batches.records import Record, build_batch

REQUESTS_EACH = 25
# A wait (JoinGroup, Fetch) is left as if the client had closed its connection.
PATIENCE_S = 0.3
NAMES = ("t", "u", "g", "h", "no-such", "bad name", "", "range", "m-1", "retention.ms", "cleanup.policy", "0", "1", "2")
NUMBERS = (0, 0, 0, 1, 1, 2, 3, 5, 7, -1, -1, -2, 100, 30_000)
BATCH = build_batch([Record(0, 1_700_000_000_000, b"k", b"v")])


class Requests:
    """Random requests of one API."""

    def __init__(self, seed, topic_ids):
        self._random = random.Random(seed)
        self._topic_ids = topic_ids

    def make(self, key, version):
        cls = codec.request_class(key)
        return self._structure(cls, cls, cls.FIELDS, version)

    def _structure(self, root, cls, fields, version):
        return cls(**{field.name: self._value(root, field, version) for field in fields if version in field.versions})

    def _value(self, root, field, version):
        if version in field.nullable and self._random.random() < 0.1:
            return None
        if field.type == "array":
            items = [self._one(root, field, version) for _ in range(self._random.choice((0, 1, 1, 1, 2, 3)))]
            for item in list(items):
                for _ in range(self._random.choice((0, 0, 1, 1, 2))):
                    items.insert(self._random.randint(0, len(items)), self._repeated(root, field, version, item))
            return items
        return self._one(root, field, version)

    def _repeated(self, root, field, version, item):
        item = copy.deepcopy(item)
        if field.struct is not None and self._random.random() < 0.3:
            changed = self._random.choice([one for one in field.struct.fields if version in one.versions])
            setattr(item, changed.name, self._value(root, changed, version))
        return item

    def _one(self, root, field, version):  # noqa: PLR0911 - one type a line
        if field.struct is not None:
            return self._structure(root, getattr(root, field.struct.name), field.struct.fields, version)
        kind = field.item or field.type
        pick = self._random.choice
        match kind:
            case "bool":
                return pick((True, False))
            case "string":
                return pick(NAMES)
            case "bytes":
                return pick((b"", b"m", bytes(20)))
            case "records":
                return pick((BATCH, BATCH, BATCH[:-1], b""))
            case "uuid":
                return pick((*self._topic_ids, bytes(16), bytes(15) + b"\x09"))
            case "float64":
                return pick((0.0, 1.0, -1.0, float("inf")))
        if field.name.endswith("_ms"):
            return pick((0, 1, 10, 6000)) if kind != "int8" else 0
        number = pick(NUMBERS)
        if kind.startswith("u"):
            return abs(number)
        return number if kind != "int8" or number < 128 else 1


@pytest.fixture
async def small_broker():
    settings = BrokerSettings({"log.dirs": "/data", "group.initial.rebalance.delay.ms": "0"})
    async with open_broker(settings, MemoryFiles(), endpoints=[Peer.endpoint]) as running:
        yield running


def served():
    return [pytest.param(key, id=api.name) for key, api in sorted(all_apis().items())]


@pytest.mark.parametrize("key", served())
async def test_repeated_items_are_answered_or_refused(autojump_clock, small_broker, key):
    client = Peer(small_broker)
    topic_ids = [await client.create_topic(name, 2) for name in ("t", "u")]
    lowest, highest = all_apis()[key].served
    requests = Requests(key, topic_ids)
    answered = 0
    for turn in range(REQUESTS_EACH):
        version = lowest + turn % (highest - lowest + 1)
        request = requests.make(key, version)
        with trio.move_on_after(PATIENCE_S):
            try:
                await client.call(version, request)
            except (KafkaError, ProtocolViolation):
                continue
            answered += 1
    assert answered or key == 17, "each request was refused whole: the test asks for nothing"
