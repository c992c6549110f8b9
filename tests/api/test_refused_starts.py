"""Starts that are refused before anything is changed: damaged files, and quorums that are not served."""

import re

import pytest
import trio
from byte_flips import open_on, write_directory
from peer import Peer

from kwire.broker.start import open_broker
from kwire.errors import StorageFailure
from kwire.metadata.configs.effective import BrokerSettings
from kwire.metadata.configs.values import ConfigProblem
from kwire.testing.memory.files import MemoryFiles
from kwire.wire.batches.batch import read_batch_header

LOG = "/kwire/__cluster_metadata-0/00000000000000000000.log"
META = "/kwire/meta.properties"


@pytest.fixture(scope="module")
def stopped():
    """The files of a broker that stopped cleanly."""
    files = MemoryFiles()
    trio.run(write_directory, files)
    return files


def contents(files):
    return {path: bytes(files.content(path)) for path in files.paths()}


async def refusal(files):
    before = contents(files)
    with pytest.raises(StorageFailure) as refused:
        async with open_on(files):
            pass
    after = contents(files)
    after.pop("/kwire/.lock", None)
    before.pop("/kwire/.lock", None)
    assert after == before, "a refused start changes nothing"
    return str(refused.value)


def second_batch(files):
    return read_batch_header(memoryview(files.content(LOG))).size_bytes


async def test_a_damaged_metadata_batch_is_refused_with_file_position_and_offset(stopped):
    files = stopped.fork()
    position = second_batch(files)
    files.content(LOG)[position + 70] ^= 1
    message = await refusal(files)
    assert message.startswith(f"{LOG}: the metadata log is damaged at position {position} (offset ")
    assert "fails its checksum. Nothing was changed. Restore the directory from a copy" in message


async def test_a_second_start_is_refused_with_the_same_message(stopped):
    files = stopped.fork()
    files.content(LOG)[second_batch(files) + 70] ^= 1
    assert await refusal(files) == await refusal(files)


async def test_a_clean_stop_leaves_no_incomplete_batch_so_one_is_refused(stopped):
    files = stopped.fork()
    del files.content(LOG)[-3:]
    assert "ends within a batch" in await refusal(files)


async def test_a_kill_can_leave_an_incomplete_batch_which_is_cut_with_a_warning(stopped, capsys):
    files = stopped.fork()
    files.remove("/kwire/.kafka_cleanshutdown")
    del files.content(LOG)[-3:]
    async with open_on(files) as broker:
        assert {"a", "b"} <= set(broker.image.topics)
    assert "incomplete batch at the end of the metadata log is cut" in capsys.readouterr().err


async def test_a_kill_cannot_damage_a_whole_batch_so_one_is_refused(stopped):
    files = stopped.fork()
    files.remove("/kwire/.kafka_cleanshutdown")
    files.content(LOG)[-3] ^= 1
    assert "fails its checksum" in await refusal(files)


async def test_missing_meta_properties_beside_data_is_refused(stopped):
    files = stopped.fork()
    files.remove(META)
    assert await refusal(files) == (
        f"{META}: the file is missing, but the directory holds data (__cluster_metadata-0). Nothing was changed."
        " Restore the file from a copy, or choose an empty directory"
    )


def without_metadata_log(files):
    """As a broker's directory whose controllers are other nodes."""
    for path in files.paths():
        if path.startswith("/kwire/__cluster_metadata-0/") or path.endswith("/bootstrap.checkpoint"):
            files.remove(path)


async def test_a_directory_of_a_broker_whose_controllers_are_other_nodes_is_refused(stopped):
    files = stopped.fork()
    without_metadata_log(files)
    message = await refusal(files)
    held = "/kwire/__consumer_offsets-0"
    assert re.fullmatch(
        rf"/kwire/__cluster_metadata-0: the metadata log is missing, but {held} is there: it belongs to a broker of"
        r" cluster [\w-]{22}, whose controllers are other nodes\. Nothing was changed\. Start it with its"
        r" server\.properties, .* kwire cluster; if .*",
        message,
    )


async def test_such_a_directory_without_partitions_is_refused_too(stopped):
    files = stopped.fork()
    without_metadata_log(files)
    for name in files.directories("/kwire"):
        files.remove_directory(f"/kwire/{name}")
    assert "/kwire/.kafka_cleanshutdown is there: it belongs to a broker" in await refusal(files)


async def test_a_formatted_directory_of_such_a_broker_is_refused_too(stopped):
    files = stopped.fork()
    bootstrap = bytes(files.content("/kwire/bootstrap.checkpoint"))
    without_metadata_log(files)
    files.write_bytes("/kwire/bootstrap.checkpoint", bootstrap, durable=True)
    assert "the metadata log is missing" in await refusal(files)


async def test_a_new_log_directory_before_that_of_the_metadata_log_is_refused(stopped):
    files = stopped.fork()
    settings = BrokerSettings({"log.dirs": "/new,/kwire"})
    said = r"there is one at /kwire/__cluster_metadata-0\..* metadata\.log\.dir=/kwire"
    with pytest.raises(StorageFailure, match=said):
        async with open_broker(settings, files, endpoints=[Peer.endpoint]):
            pass
    assert not [path for path in files.paths() if path.startswith("/new/__cluster_metadata-0")]


async def test_a_start_that_ended_before_the_metadata_log_was_written_is_repeated(stopped):
    files = MemoryFiles()
    files.make_directory("/kwire")
    files.write_bytes(META, bytes(stopped.content(META)), durable=True)
    async with open_on(files) as broker:
        assert broker.image.metadata_version


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00\xff garbage", b"version=1\nnode.id=1\n", b"version=1\ncluster.id=x\nnode.id=one\n",
     b"version=1\ncluster.id=x\nnode.id=1\ndirectory.id=short\n"],
)  # fmt: skip
async def test_meta_properties_without_cluster_or_node_id_are_refused(stopped, content):
    files = stopped.fork()
    files.write_bytes(META, content, durable=True)
    message = await refusal(files)
    assert message.startswith(f"{META}: the file is damaged: it must have the lines version=1, cluster.id=")
    assert "Restore it from a copy" in message


async def test_a_directory_id_that_is_not_the_voters_is_refused(stopped):
    files = stopped.fork()
    text = bytes(files.content(META)).decode()
    at = text.index("directory.id=") + len("directory.id=")
    swapped = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
    files.write_bytes(META, swapped.encode(), durable=True)
    assert "but this node votes as" in await refusal(files)


async def test_a_damaged_topic_id_of_a_partition_is_replaced_and_nothing_is_set_aside(stopped, capsys):
    files = stopped.fork()
    path = "/kwire/a-0/partition.metadata"
    whole = bytes(files.content(path))
    files.content(path)[-2] = ord("A") if whole[-2] != ord("A") else ord("B")
    async with open_on(files) as broker:
        assert broker.partitions.get("a", 0).log.end_offset == 4
    assert not any("-stray" in name for name in files.paths())
    assert bytes(files.content(path)) == whole
    assert "damaged file replaced" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("controller.quorum.voters", "1@a:9093,2@b:9093,3@c:9093"),
        ("controller.quorum.voters", "2@b:9093"),
        ("controller.quorum.bootstrap.servers", "a:9093,b:9093"),
    ],
)
async def test_a_quorum_of_other_nodes_is_refused_in_one_sentence(name, text):
    settings = BrokerSettings({"log.dirs": "/kwire", name: text})
    files = MemoryFiles()
    with pytest.raises(ConfigProblem) as refused:
        async with open_broker(settings, files, endpoints=[Peer.endpoint]):
            pass
    assert refused.value.name == name
    assert "not served: a controller of kwire is the only one of its cluster" in str(refused.value)
    assert files.paths() == []


@pytest.mark.parametrize(
    ("texts", "name"),
    [
        ({}, "controller.quorum.bootstrap.servers"),
        ({"controller.quorum.voters": "1@a:9093"}, "node.id"),
    ],
)
async def test_a_broker_without_the_controller_role_needs_controllers(texts, name):
    listener = {"listeners": "P://localhost:0", "inter.broker.listener.name": "P"}
    protocols = {"listener.security.protocol.map": "CONTROLLER:PLAINTEXT,P:PLAINTEXT"}
    texts = {"log.dirs": "/kwire", "node.id": "1", "process.roles": "broker", **listener, **protocols, **texts}
    with pytest.raises(ConfigProblem) as refused:
        async with open_broker(BrokerSettings(texts), MemoryFiles(), endpoints=[Peer.endpoint]):
            pass
    assert refused.value.name == name


async def test_a_quorum_of_this_node_alone_is_served():
    texts = {"controller.quorum.voters": "1@localhost:9093", "process.roles": "controller,broker"}
    files = MemoryFiles()
    settings = BrokerSettings({"log.dirs": "/kwire", **texts})
    async with open_broker(settings, files, endpoints=[Peer.endpoint]) as broker:
        assert broker.node_id == 1
