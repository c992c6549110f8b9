"""The metadata log against directories that Apache Kafka 4.3.1 wrote (one killed, one stopped in order).

Both hold topics (one deleted), configs of every kind of resource, SCRAM credentials, a quota, an ACL, a block of
producer ids, and a snapshot in the middle of the log.
"""

import errno
import json
import shutil
import tarfile
from pathlib import Path

import pytest

from kwire.broker.clock import Clock
from kwire.broker.controller.embedded import EmbeddedController
from kwire.broker.controller.metadata_log import MetadataLog
from kwire.broker.directories.log_dirs import LogDirs
from kwire.broker.endpoint import Endpoint
from kwire.errors import StorageFailure
from kwire.metadata import features
from kwire.metadata.cluster.nodes import reserve_producer_ids
from kwire.metadata.configs.effective import BrokerSettings, EffectiveConfigs
from kwire.metadata.configs.values import ConfigProblem
from kwire.metadata.decisions.topics import NewTopic, create_topics, delete_topics
from kwire.metadata.entities import PreservedRecord, Resource, ResourceType, ScramMechanism
from kwire.metadata.image import MetadataImage
from kwire.metadata.log.frames import decode_record, encode_record
from kwire.metadata.log.log_format import (
    Quorum,
    control_batch,
    data_batch,
    decode_control,
    list_snapshots,
    read_snapshot,
)
from kwire.metadata.log.snapshot import snapshot_records
from kwire.storage.os_files import OsFiles
from kwire.testing.memory.files import MemoryFiles
from kwire.wire.batches.batch import read_batch_header
from kwire.wire.batches.records import read_records
from kwire.wire.messages import (
    AbortTransactionRecord,
    BeginTransactionRecord,
    ConfigRecord,
    EndTransactionRecord,
    TopicRecord,
)

pytestmark = pytest.mark.usefixtures("mock_clock")

APACHE = Path(__file__).with_name("apache_metadata.tar.gz")
LISTENER = Endpoint("PLAINTEXT", "PLAINTEXT", "localhost", 9092)


class Home:
    """One data directory, opened and closed as a broker does."""

    def __init__(self, path, settings=None, files=None):
        self.path = str(path)
        self.files = files or OsFiles()
        self.settings = BrokerSettings(settings or {})
        self.clock = Clock()

    def open(self):
        self.dirs = LogDirs.open(self.files, [self.path], node_id=1, cluster_id=None, clock=self.clock)
        self.log = MetadataLog.open(self.files, self.dirs, node_id=1, settings=self.settings, clock=self.clock)
        self.controller = EmbeddedController(
            log=self.log,
            configs=EffectiveConfigs(self.log.image, self.settings, 1),
            clock=self.clock,
            on_storage_failure=lambda _: None,
        )
        self.controller.register([LISTENER], [one.id for one in self.dirs.dirs])
        return self.log

    def stop(self):
        epoch = self.controller.broker_epoch
        self.controller.close()
        self.dirs.mark_clean(epoch)
        self.dirs.release()

    def kill(self):
        self.log.log.flush()
        self.dirs.release()

    def create(self, *topics):
        configs = EffectiveConfigs(self.log.image, self.settings, 1)
        decision = create_topics(self.log.image, configs, topics, uuid=self.clock.uuid)
        return self.log.apply(decision.records)

    def snapshots(self):
        return list_snapshots(self.files.sizes(f"{self.path}/__cluster_metadata-0"))


def reserve(home):
    first, records = reserve_producer_ids(home.log.image, 1)
    home.log.apply(records)
    return first


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "data")


@pytest.fixture
def apache(tmp_path):
    with tarfile.open(APACHE) as packed:
        packed.extractall(tmp_path, filter="data")
    return tmp_path


def state_of(image):
    """Everything that a snapshot would say."""
    return sorted(encode_record(record, 30) for record in snapshot_records(image))


def batches_of(path):
    content = memoryview(path.read_bytes())
    position = 0
    while position < len(content):
        header = read_batch_header(content, position)
        yield header, content[position : position + header.size_bytes]
        position += header.size_bytes


# --- our own directories ---


def test_a_new_directory_is_formatted_and_bootstrapped(home):
    log = home.open()
    assert log.finalized_features == {
        name: min(levels.highest, log.image.features.get(name, levels.highest))
        for name, levels in features.SERVED.items()
    }
    assert [voter.voter_id for voter in log.quorum.voters.voters] == [1]
    assert log.quorum.voters.voters[0].voter_directory_id == home.dirs.dirs[0].id
    assert log.image.config(ResourceType.BROKER, "") == {"min.insync.replicas": "1"}
    broker = log.image.brokers[1]
    assert (broker.fenced, broker.epoch, broker.log_dirs) == (
        False,
        home.controller.broker_epoch,
        (home.dirs.dirs[0].id,),
    )


def test_a_formatted_directory_and_its_epoch_outlast_a_power_cut():
    files = MemoryFiles()
    home = Home("/data", files=files)
    home.open()
    home.log.flush()
    paths = ("/data/bootstrap.checkpoint", "/data/__cluster_metadata-0/quorum-state")
    before = [bytes(files.content(path)) for path in paths]
    files.cut_power(lambda _: 0)
    assert [bytes(files.content(path)) for path in paths] == before
    assert home.open().epoch == 2


def test_the_first_batch_of_an_epoch_is_the_leader_change(home):
    home.open()
    home.stop()
    home.open()
    log = home.log
    starts = {}
    for batch in log.log.read_batches(0):
        header = read_batch_header(batch)
        starts.setdefault(header.leader_epoch, header)
    assert list(starts) == [1, 2]
    assert all(header.is_control for header in starts.values())
    state = json.loads(Path(home.path, "__cluster_metadata-0/quorum-state").read_text())
    assert state == {
        "leaderId": 1,
        "leaderEpoch": 2,
        "votedId": -1,
        "votedDirectoryId": "AAAAAAAAAAAAAAAAAAAAAA",
        "data_version": 1,
    }


def test_a_restart_gives_the_same_image(home):
    home.open()
    home.create(NewTopic("a", 3, configs={"retention.ms": "5"}), NewTopic("b"))
    home.log.apply(delete_topics(home.log.image, [home.log.image.topics["b"].id]).records)
    assert reserve(home) == 0
    topics, configs = dict(home.log.image.topics), dict(home.log.image.configs)
    home.stop()
    image = home.open().image
    assert (dict(image.topics), dict(image.configs)) == (topics, configs)
    assert reserve(home) == 1000


def test_a_kill_loses_nothing_that_was_applied(home):
    home.open()
    home.create(NewTopic("a"))
    home.kill()
    assert set(home.open().image.topics) == {"a"}


def test_a_torn_record_at_the_end_is_cut(home):
    home.open()
    home.create(NewTopic("a"))
    before = home.log.end_offset
    home.create(NewTopic("b"))
    home.kill()
    path = Path(home.path, "__cluster_metadata-0/00000000000000000000.log")
    path.write_bytes(path.read_bytes()[:-3])
    (Path(home.path) / ".boot-id").unlink()
    log = home.open()
    assert set(log.image.topics) == {"a"}
    assert log.end_offset > before


def test_snapshots_bound_what_a_start_replays(home):
    home.open()
    for number in range(500):
        home.create(NewTopic(f"t{number}"))
    home.stop()
    assert len(home.snapshots()) == 1
    log = home.open()
    assert len(log.image.topics) == 500
    assert log.size_bytes < 1000
    assert log.log_start_offset == home.snapshots()[0].offset


async def test_a_snapshot_is_written_when_enough_was_appended(tmp_path):
    home = Home(tmp_path / "data", {"metadata.log.max.record.bytes.between.snapshots": "2000"})
    home.open()
    for number in range(30):
        home.create(NewTopic(f"t{number}"))
        if home.log.snapshot_due.is_set():
            await home.log.write_due_snapshot()
    (kept,) = home.snapshots()
    assert 0 < kept.offset < home.log.end_offset
    before = state_of(home.log.image)
    home.kill()
    log = home.open()
    assert set(log.image.topics) == {f"t{number}" for number in range(30)}
    assert len(before) > 60


async def test_a_snapshot_that_cannot_be_written_does_not_undo_the_change(capsys):
    settings = {"metadata.log.max.record.bytes.between.snapshots": "2000"}
    home = Home("/data", settings, MemoryFiles())
    home.open()
    home.files.fault = lambda _, path: OSError(errno.ENOSPC, "full") if ".checkpoint" in path else None
    for number in range(30):
        home.create(NewTopic(f"t{number}"))
    await home.log.write_due_snapshot()
    assert "no metadata snapshot" in capsys.readouterr().err
    assert len(home.log.image.topics) == 30
    # It is tried again after the next change.
    assert not home.log.snapshot_due.is_set()
    home.files.fault = None
    home.create(NewTopic("next"))
    await home.log.write_due_snapshot()
    assert [snapshot.offset for snapshot in home.snapshots()] == [home.log.end_offset]


async def test_an_old_snapshot_is_renewed_by_time(tmp_path):
    home = Home(tmp_path / "data", {"metadata.log.max.snapshot.interval.ms": "60000"})
    home.open()
    home.log.tick()
    assert not home.log.snapshot_due.is_set()
    home.clock.advance(60_001)
    home.log.tick()
    await home.log.write_due_snapshot()
    assert [snapshot.offset for snapshot in home.snapshots()] == [home.log.end_offset]


def test_a_damaged_snapshot_is_passed_over_for_the_one_before(home, capsys):
    home.open()
    home.create(NewTopic("a"))
    home.kill()
    directory = Path(home.path, "__cluster_metadata-0")
    whole = (directory / home.snapshots()[0].file_name).read_bytes()
    (directory / "00000000000000000005-0000000001.checkpoint").write_bytes(whole[:-5])
    assert set(home.open().image.topics) == {"a"}
    assert "skipped" in capsys.readouterr().err


def test_a_log_that_begins_after_every_snapshot_is_refused(home):
    home.open()
    for number in range(500):
        home.create(NewTopic(f"t{number}"))
    home.stop()
    Path(home.path, "__cluster_metadata-0", home.snapshots()[0].file_name).unlink()
    with pytest.raises(StorageFailure, match=r"no valid snapshot reaches|the records are gone"):
        home.open()
    home.dirs.release()


def test_a_refused_append_changes_nothing():
    home = Home("/data", files=MemoryFiles())
    home.open()
    image = home.log.image
    before = (image.version, home.log.end_offset)
    home.files.free_bytes = 0
    with pytest.raises(StorageFailure):
        home.create(NewTopic("a"))
    assert (image.version, home.log.end_offset) == before
    assert "a" not in image.topics


def test_the_machine_crashing_bumps_leader_epochs_and_a_kill_does_not(home):
    home.open()
    home.create(NewTopic("a"))
    home.kill()
    assert home.open().image.partition("a", 0).leader_epoch == 0
    home.kill()
    Path(home.path, ".boot-id").write_text("another run of the machine")
    assert home.open().image.partition("a", 0).leader_epoch == 1


def test_records_of_a_transaction_count_when_it_ends(home):
    home.open()
    topic = TopicRecord(name="t", topic_id=b"\x01" * 16)
    home.log._append_records([BeginTransactionRecord(name="x"), topic])
    home.log._append_records([EndTransactionRecord()])
    home.kill()
    assert set(home.open().image.topics) == {"t"}


def test_a_transaction_that_never_ended_is_aborted(home):
    home.open()
    home.log._append_records([BeginTransactionRecord(name="x"), TopicRecord(name="t", topic_id=b"\x01" * 16)])
    home.kill()
    log = home.open()
    assert dict(log.image.topics) == {}
    kinds = [
        type(decode_record(record.value))
        for batch in log.log.read_batches(0)
        if not read_batch_header(batch).is_control
        for record in read_records(batch)
    ]
    assert AbortTransactionRecord in kinds


def test_a_record_of_an_unknown_kind_is_kept_through_log_and_snapshot(home):
    unknown = PreservedRecord(record_type=99, version=3, body=b"what is this")
    home.open()
    home.log.apply([unknown])
    home.log.snapshot()
    home.kill()
    assert list(home.open().image.preserved) == [unknown]


def test_the_metadata_directory_must_be_one_of_the_log_directories(tmp_path):
    home = Home(tmp_path / "data", {"metadata.log.dir": str(tmp_path / "elsewhere")})
    with pytest.raises(ConfigProblem) as refused:
        home.open()
    assert refused.value.expected == "one of log.dirs"
    home.dirs.release()


# --- directories of Apache Kafka ---


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_all_metadata_that_apache_wrote_is_read(apache, how):
    image = Home(apache / how).open().image
    assert {name: len(topic.partitions) for name, topic in image.topics.items()} == {"alpha": 3, "beta": 2}
    assert {partition.leader for topic in image.topics.values() for partition in topic.partitions} == {1}
    assert {partition.isr for topic in image.topics.values() for partition in topic.partitions} == {(1,)}
    assert {(resource.type.name, resource.name): dict(configs) for resource, configs in image.configs.items()} == {
        ("TOPIC", "alpha"): {"retention.ms": "5000", "cleanup.policy": "compact"},
        ("TOPIC", "beta"): {"max.message.bytes": "777"},
        ("BROKER", ""): {"min.insync.replicas": "1", "log.retention.ms": "123456"},
        ("BROKER", "1"): {"log.cleaner.threads": "2"},
        ("GROUP", "g1"): {"consumer.session.timeout.ms": "50000"},
        ("CLIENT_METRICS", "cm"): {"metrics": "org.apache.kafka", "interval.ms": "5000"},
    }
    assert {(user, mechanism): one.iterations for (user, mechanism), one in image.scram.items()} == {
        ("alice", ScramMechanism.SCRAM_SHA_256): 4096,
        ("bob", ScramMechanism.SCRAM_SHA_512): 8192,
    }
    assert {entity: dict(quotas) for entity, quotas in image.quotas.items()} == {
        (("ip", "127.0.0.1"),): {"connection_creation_rate": 10.0}
    }
    assert [acl.resource_name for acl in image.acls.values()] == ["alpha"]
    assert image.next_producer_id == 1000
    assert sorted(image.controllers) == [1]


def test_levels_that_are_not_served_are_kept_and_left_out_of_responses(apache):
    log = Home(apache / "killed").open()
    assert set(log.image.features) == set(features.KNOWN) - {"kraft.version"}
    assert log.finalized_features == {
        name: min(levels.highest, log.image.features.get(name, levels.highest))
        for name, levels in features.SERVED.items()
    }


def test_a_directory_that_was_formatted_and_never_started(apache):
    directory = apache / "killed" / "__cluster_metadata-0"
    for path in directory.iterdir():
        if path.name != "00000000000000000000-0000000000.checkpoint":
            path.unlink()
    log = Home(apache / "killed").open()
    assert log.quorum.kraft_version == 1
    # What was asked for and is not served is not finalized.
    assert set(log.image.features) == set(features.SERVED) - {"kraft.version"}


def test_a_quorum_named_in_the_settings_stays_one(apache):
    directory = apache / "killed" / "__cluster_metadata-0"
    shutil.rmtree(directory)  # which is how Kafka formats a directory for such a quorum
    log = Home(apache / "killed").open()
    log.snapshot()
    assert log.quorum == Quorum(0, None)
    assert json.loads((directory / "quorum-state").read_text())["data_version"] == 0
    (made,) = list_snapshots(OsFiles().sizes(str(directory)))
    assert read_snapshot("x", (directory / made.file_name).read_bytes()).quorum == Quorum(0, None)


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_a_snapshot_of_a_log_of_apache_has_the_same_content_as_the_log(apache, how):
    home = Home(apache / how)
    log = home.open()
    before = state_of(log.image)
    log.snapshot()
    home.kill()
    (made,) = home.snapshots()
    again = MetadataImage()
    content = (apache / how / "__cluster_metadata-0" / made.file_name).read_bytes()
    again.apply(read_snapshot("x", content).records)
    assert state_of(again) == before


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_every_batch_that_apache_wrote_is_written_back_byte_for_byte(apache, how):
    directory = apache / how / "__cluster_metadata-0"
    checked = 0
    for path in [apache / how / "bootstrap.checkpoint", *directory.glob("*.checkpoint"), *directory.glob("*.log")]:
        for header, batch in batches_of(path):
            records = list(read_records(batch))
            where = {"offset": header.base_offset, "epoch": header.leader_epoch, "now_ms": records[0].timestamp_ms}
            if header.is_control:
                decoded = [decode_control(record) for record in records]
                if any(message is None for _, message in decoded):
                    continue
                ours = control_batch(decoded, **where)
            else:
                ours = data_batch([decode_record(record.value) for record in records], 30, **where)
            assert ours == bytes(batch)
            checked += 1
    assert checked > 20


def test_apaches_snapshot_is_ours_record_for_record(apache):
    directory = apache / "stopped" / "__cluster_metadata-0"
    (path,) = [path for path in directory.glob("*.checkpoint") if not path.name.startswith("0" * 20)]
    snapshot = read_snapshot("x", path.read_bytes())
    image = MetadataImage()
    image.apply(snapshot.records)
    assert state_of(image) == sorted(encode_record(record, 30) for record in snapshot.records)


@pytest.mark.parametrize("cut", [1, 80, 200])
def test_a_snapshot_that_is_not_whole_is_refused(apache, cut):
    directory = apache / "stopped" / "__cluster_metadata-0"
    content = max(directory.glob("*.checkpoint")).read_bytes()
    with pytest.raises(StorageFailure):
        read_snapshot("x", content[:-cut])


def test_a_flipped_bit_in_a_snapshot_is_noticed(apache):
    directory = apache / "stopped" / "__cluster_metadata-0"
    content = bytearray(max(directory.glob("*.checkpoint")).read_bytes())
    content[300] ^= 1
    with pytest.raises(StorageFailure, match="damaged"):
        read_snapshot("x", bytes(content))


def test_configs_changed_by_records_are_in_the_effective_configs(home):
    log = home.open()
    configs = EffectiveConfigs(log.image, home.settings, 1)
    assert configs.topic("t")["retention.ms"] == 604_800_000
    delta = log.apply(
        [ConfigRecord(resource_type=ResourceType.BROKER, resource_name="", name="log.retention.ms", value="7")]
    )
    assert configs.topic("t")["retention.ms"] == 7
    assert delta.configs_changed == {Resource(ResourceType.BROKER, "")}
