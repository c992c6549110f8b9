"""Every list of every request, with many items: the work between two points at which others run does not grow with it.

Counted are the calls of Python functions within one step of a task. Of each list a short and a long one are sent; what
the long one needs more, item by item, has to be done in further steps.
"""

from __future__ import annotations

import contextlib

import pytest
import trio
from loop_steps import Steps
from peer import Peer, all_apis

from kwire.broker.controller.interface import only
from kwire.broker.requests.context import Context
from kwire.broker.requests.dispatch import dispatch
from kwire.broker.start import open_broker
from kwire.errors import KafkaError, ProtocolViolation
from kwire.metadata.commands.topics import CreateTopics
from kwire.metadata.configs.effective import BrokerSettings
from kwire.metadata.decisions.topics import NewTopic
from kwire.testing.memory.files import MemoryFiles
from kwire.wire import codec
from kwire.wire.batches.records import Record, build_batch

SHORT, LONG = 80, 200
# A call is a third of a microsecond. Making an object for an item is one call; work for it is at least ten.
CALLS_PER_ITEM_MAX = 5
# The first use of a handler, or of a task that it leaves behind, imports and compiles what it needs.
ATTEMPTS = 2
# On the clock of the test, which jumps when a request waits.
PATIENCE_S = 0.3
BATCH = build_batch([Record(0, 1_700_000_000_000, b"k", b"v")])
SETTINGS = {
    "log.dirs": "/data",
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:ANONYMOUS",
    "group.initial.rebalance.delay.ms": "0",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.num.partitions": "1",
    "share.coordinator.state.topic.num.partitions": "1",
}
NUMBERS = {
    "acks": -1, "current_leader_epoch": -1, "generation_id": -1, "generation_id_or_member_epoch": -1, "timestamp": -1,
    "replica_id": -1, "resource_type": 2, "num_partitions": 1, "replication_factor": 1, "count": LONG + 1,
    "partition_max_bytes": 1000, "max_bytes": 1000, "transaction_timeout_ms": 1000, "session_timeout_ms": 6000,
    "rebalance_timeout_ms": 100, "operation": 3, "permission_type": 3, "pattern_type": 3, "resource_pattern_type": 3,
    "mechanism": 1, "iterations": 4096, "upgrade_type": 1, "max_version_level": 1, "max_records": 10,
}  # fmt: skip
TEXTS = {"protocol_type": "consumer", "host": "*", "principal": "User:a", "entity_type": "client-id"}
INDEXES = {"index", "partition", "partition_index", "partitions", "partition_indexes"}
# What is done at once, because others may see no part of it (docs/decisions/turns.md), or in slices of bounded size
# that are longer than these lists.
AT_ONCE = {
    ("ShareGroupHeartbeat", "subscribed_topic_names"): "one record has the state of all topics of the group",
    ("StreamsGroupHeartbeat", "subtopologies"): "a topology is compared with that of the group as a whole",
    ("OffsetCommit", "topics"): "200 offsets are one batch",
    ("OffsetCommit", "topics.partitions"): "200 offsets are one batch",
    ("TxnOffsetCommit", "topics"): "200 offsets are one batch",
    ("TxnOffsetCommit", "topics.partitions"): "200 offsets are one batch",
    ("CreateTopics", "topics.assignments"): "the partitions of a topic that is created",
    ("CreatePartitions", "topics.assignments"): "the partitions of a topic that grows",
}


def lists_of(fields, before=()):
    """The path of each list of a request: the names of the lists down to it, and the versions that have all of them."""
    for field in fields:
        if field.type == "array":
            yield (*before, field)
        if field.struct is not None:
            yield from lists_of(field.struct.fields, (*before, field) if field.type == "array" else before)


class Requests:
    """Requests of one API in which one list is long."""

    def __init__(self, key, version, topic_ids):
        self._root = codec.request_class(key)
        self._version = version
        self._topic_ids = topic_ids

    def make(self, path, count):
        return self._structure(self._root, self._root.FIELDS, path, count, 0)

    def _structure(self, cls, fields, path, count, number):
        wanted = [field for field in fields if self._version in field.versions]
        return cls(**{field.name: self._value(field, path, count, number) for field in wanted})

    def _value(self, field, path, count, number):
        if field.type != "array":
            return self._one(field, path, count, number)
        if path == (field.name,):
            return [self._one(field, (), count, index) for index in range(count)]
        return [self._one(field, path[1:] if path[:1] == (field.name,) else (), count, number)]

    def _one(self, field, path, count, number):  # noqa: PLR0911 (one type a line)
        if field.struct is not None:
            cls = getattr(self._root, field.struct.name)
            return self._structure(cls, field.struct.fields, path, count, number)
        match field.item or field.type:
            case "bool":
                return False
            case "string":
                return TEXTS.get(field.name, f"topic-{number}")
            case "bytes":
                return b""
            case "records":
                return BATCH
            case "uuid":
                return self._topic_ids[number]
            case "float64":
                return 1e9
        return number if field.name in INDEXES else NUMBERS.get(field.name, 0)


def apis():
    return [pytest.param(key, id=api.name) for key, api in sorted(all_apis().items())]


def lists_served(key):
    """The path of each list of an API's requests, with the newest version that has it."""
    lowest, highest = all_apis()[key].served
    for path in lists_of(codec.request_class(key).FIELDS):
        versions = [one for one in range(lowest, highest + 1) if all(one in field.versions for field in path)]
        names = tuple(field.name for field in path)
        if versions and (all_apis()[key].name, ".".join(names)) not in AT_ONCE:
            yield names, versions[-1]


async def most_calls(broker, key, version, request):
    """Within one step of a task, while the request is handled."""
    peer = Peer(broker)
    context = Context(broker, peer, key, version, "test", 1)
    await trio.lowlevel.checkpoint()
    with Steps() as steps, trio.move_on_after(PATIENCE_S):
        await trio.lowlevel.checkpoint()
        with contextlib.suppress(KafkaError, ProtocolViolation):
            await dispatch(peer.apis[key], context, request)
    peer.close()
    return steps.most


@pytest.mark.parametrize("key", apis())
async def test_a_longer_list_takes_more_steps_of_the_same_length(autojump_clock, key):
    growing = {}
    async with open_broker(BrokerSettings(SETTINGS), MemoryFiles(), endpoints=[Peer.endpoint]) as broker:
        topics = [NewTopic(f"topic-{number}", LONG if number == 0 else 1) for number in range(LONG)]
        created = [only([one]) for one in await broker.controller.submit(CreateTopics(topics))]
        for path, version in lists_served(key):
            requests = Requests(key, version, [one.topic_id for one in created])
            for _ in range(ATTEMPTS):
                counted = [
                    await most_calls(broker, key, version, requests.make(path, count)) for count in (1, SHORT, LONG)
                ]
                if counted[2] - counted[1] <= CALLS_PER_ITEM_MAX * (LONG - SHORT):
                    break
            else:
                growing[".".join(path)] = counted
    assert growing == {}
