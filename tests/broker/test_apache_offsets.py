"""A partition of ``__consumer_offsets`` that Apache Kafka 4.3.1 wrote, and how it described the groups in it.

In it: classic groups with and without members, offsets with a retention of their own, deleted ones, transactions that
committed, aborted and were open when the broker was killed, and groups of the newer protocol, one with a member.
"""

import gzip
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from kwire.broker.coordination.replay import replay_log
from kwire.coordinators.group.commands import GroupConfig
from kwire.coordinators.group.coordinator import GroupCoordinator
from kwire.storage.log import Log, LogConfig
from kwire.testing.memory.files import MemoryFiles

RECORDED = json.loads(gzip.decompress(Path(__file__).with_name("apache_offsets.json.gz").read_bytes()))
NOW_MS = 1_800_000_000_000


@pytest.fixture(scope="module")
def machine():
    files = MemoryFiles()
    files.make_directory("/p")
    files.write_bytes("/p/00000000000000000000.log", bytes.fromhex(RECORDED["log"]), durable=True)
    opened = Log.open(files, "/p", LogConfig(), now_ms=NOW_MS)
    machine = GroupCoordinator(GroupConfig())
    for _ in replay_log(SimpleNamespace(log=opened, is_committed=lambda offset: True), machine):
        pass
    configs = {"consumer.session.timeout.ms": 45_000}
    machine.loaded(SimpleNamespace(topic_exists=lambda topic_id: True, group_config=lambda group_id: configs), NOW_MS)
    return machine


def test_the_groups_of_apache_are_listed(machine):
    listed = {
        each.group_id: {"protocol_type": each.protocol_type, "state": each.state, "type": each.group_type}
        for each in machine.list_groups()
    }

    expected = {
        group_id: {name: group[name] for name in ("protocol_type", "state", "type")}
        for group_id, group in RECORDED["groups"].items()
    }
    assert listed == expected


def test_the_offsets_of_apache_are_fetched(machine):
    for group_id, group in RECORDED["groups"].items():
        fetched = machine.fetch_offsets(group_id, None, require_stable=False)
        offsets = [
            [topic, each.partition, each.offset, each.leader_epoch, each.metadata]
            for topic, partitions in fetched
            for each in partitions
        ]
        assert sorted(offsets) == group["offsets"]


def test_the_open_transaction_of_apache_is_open(machine):
    fetched = machine.fetch_offsets("txgroup", None, require_stable=True)

    codes = [[topic, each.partition, each.error] for topic, partitions in fetched for each in partitions]
    assert sorted(codes) == RECORDED["groups"]["txgroup"]["unstable"]


def test_members_have_their_assignments(machine):
    members = machine.describe("static").members

    found = [[each.member_id, each.group_instance_id, each.assignment.decode()] for each in members]
    assert found == RECORDED["groups"]["static"]["members"]
