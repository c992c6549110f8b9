"""`kwire doctor --data`: each thing that can be wrong with a log directory that no broker uses."""

from __future__ import annotations

import json

import pytest
import trio
from click.testing import CliRunner
from peer import Peer

from kwire.broker.directories import loss_report
from kwire.broker.start import open_broker
from kwire.cli.main import main
from kwire.metadata.configs.effective import BrokerSettings
from kwire.storage.os_files import OsFiles
from kwire.storage.recovery.losses import Cause, Loss
from kwire.types import TopicPartition
from kwire.wire.batches.batch import read_batch_header
from kwire.wire.batches.records import Record, build_batch

LOG = f"t-0/{0:020d}.log"
METADATA_LOG = f"__cluster_metadata-0/{0:020d}.log"


def running(path):
    return open_broker(BrokerSettings({"log.dirs": str(path)}), OsFiles(), endpoints=[Peer.endpoint])


@pytest.fixture
def data(tmp_path):
    """A log directory that was left cleanly, with five records in one partition."""

    async def fill():
        async with running(tmp_path) as broker:
            await Peer(broker).create_topic("t")
            for _ in range(5):
                batch = memoryview(build_batch([Record(0, 0, b"k", b"v")]))
                broker.partitions.get("t", 0).append(batch, read_batch_header(batch), acks=-1)

    trio.run(fill)
    return tmp_path


def examined(path):
    """The exit code, and level and text of each finding by step."""
    ended = CliRunner().invoke(main, ["doctor", "--data", str(path), "--json"])
    findings = {}
    for finding in json.loads(ended.stdout)["findings"]:
        findings.setdefault(finding["step"], []).append((finding["level"], finding["what"]))
    return ended.exit_code, findings


def flip(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def contents(path):
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_a_sound_directory_has_no_findings_but_ok_and_is_not_changed(data):
    before = contents(data)
    code, findings = examined(data)
    assert code == 0
    assert {level for each in findings.values() for level, _ in each} == {"ok"}
    assert findings["logs"] == [("ok", findings["logs"][0][1])]
    assert findings["logs"][0][1].startswith("1 logs are sound: 5 batches, ")
    assert set(findings) == {"lock", "identity", "stop", "checkpoints", "metadata", "logs", "losses"}
    assert contents(data) == before

    shown = CliRunner().invoke(main, ["doctor", "--data", str(data)])
    assert shown.exit_code == 0
    assert shown.stdout.endswith("The log directory is sound.\n")


def test_a_directory_in_use_is_not_examined(data):
    async def examine():
        async with running(data):
            return examined(data)

    code, findings = trio.run(examine)
    assert code == 1
    assert list(findings) == ["lock"]
    assert "in use" in findings["lock"][0][1]


def test_a_path_that_is_not_a_directory_is_a_problem(tmp_path):
    code, findings = examined(tmp_path / "nowhere")
    assert (code, list(findings)) == (1, ["data"])


@pytest.mark.parametrize(
    ("content", "level"),
    [(None, "problem"), ("", "problem"), ("cluster.id=x\n", "problem"), ("node.id=1\n", "problem")],
)
def test_meta_properties_without_a_required_key_are_a_problem(data, content, level):
    if content is None:
        (data / "meta.properties").unlink()
    else:
        (data / "meta.properties").write_text(content)
    code, findings = examined(data)
    assert code == 1
    assert [one for one, _ in findings["identity"]] == ["problem"]


def test_an_unclean_stop_is_a_warning(data):
    (data / ".kafka_cleanshutdown").unlink()
    code, findings = examined(data)
    assert (code, findings["stop"][0][0]) == (0, "warning")


def test_a_damaged_checkpoint_is_named(data):
    (data / "log-start-offset-checkpoint").write_text("0\n5\n")
    code, findings = examined(data)
    assert (code, findings["checkpoints"]) == (0, [("warning", "cannot read log-start-offset-checkpoint")])


def test_a_damaged_batch_is_a_problem_with_its_place(data):
    size = (data / LOG).stat().st_size // 5
    flip(data / LOG, 2 * size + size - 1)
    code, findings = examined(data)
    assert code == 1
    what = f"{data}/{LOG}: no sound batch at position {2 * size} (offset 2), {3 * size} bytes follow"
    assert findings["logs"] == [("problem", what)]


def test_a_missing_log_file_is_a_problem(data):
    (data / LOG).unlink()
    code, findings = examined(data)
    assert code == 1
    assert Cause.SEGMENT_MISSING in findings["logs"][0][1]


def test_a_damaged_metadata_log_is_a_problem(data):
    flip(data / METADATA_LOG, (data / METADATA_LOG).stat().st_size - 1)
    code, findings = examined(data)
    assert code == 1
    assert findings["metadata"][0][0] == "problem"
    assert METADATA_LOG in findings["metadata"][0][1]


def test_preallocated_zeros_at_the_end_are_sound(data):
    (data / LOG).write_bytes((data / LOG).read_bytes() + bytes(5000))
    assert examined(data)[0] == 0


def test_losses_of_earlier_recoveries_are_shown(data):
    losses = [Loss(10, 30, 2000, Cause.DAMAGED_BATCH), Loss(40, 41, 9, Cause.SHORT_LOG)]
    loss_report.write(OsFiles(), str(data), TopicPartition("t", 0), losses, time_ms=1_700_000_000_000)
    code, findings = examined(data)
    assert code == 0
    assert findings["losses"][0] == ("warning", "recoveries have lost at least 21 records in 1 partitions")
    assert findings["losses"][1] == (
        "warning",
        "2023-11-14T22:13:20+00:00 t-0: offsets 10 to 30, 2000 bytes: a batch fails its check",
    )


def test_folders_that_are_no_partitions_are_named_here_and_once_at_a_start(data, capsys):
    for name in ("lost+found", ".snapshot", "t-0.0123-delete", "t-0.0123-stray"):
        (data / name).mkdir()
    _, findings = examined(data)
    assert ("warning", "folders that are not partitions: .snapshot, lost+found") in findings["logs"]

    async def start():
        async with running(data) as broker:
            assert broker.partitions.get("t", 0).log.end_offset == 5

    trio.run(start)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "folders" in line]
    assert "folders='.snapshot, lost+found'" in line
    assert (data / "lost+found").is_dir()


def test_an_address_and_a_directory_are_too_much(data):
    ended = CliRunner().invoke(main, ["doctor", "localhost:9092", "--data", str(data)])
    assert ended.exit_code == 2
