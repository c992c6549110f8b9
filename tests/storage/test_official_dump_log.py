"""The official dump-log reads what storage writes."""

import random
import re
import subprocess

import pytest
from log_batches import NOW, append, append_marker, batch, marker
from official import class_path

from kwire.storage.config import LogConfig
from kwire.storage.log import Log
from kwire.storage.os_files import OsFiles

# The tool counts from -1, so it prints this for the first record of each later segment of any log.
FIRST_RECORD = re.compile(r"Non-consecutive offsets in \S+(\d{20})\.log\n  -1 is followed by (\d+)\n")


@pytest.fixture
def dump(tmp_path):
    jars = class_path()

    def run(*options, suffixes):
        names = sorted(path.name for path in (tmp_path / "t-0").iterdir() if path.suffix in suffixes)
        assert names
        done = subprocess.run(
            [
                *("java", "-cp", jars, "org.apache.kafka.tools.DumpLogSegments"),
                *options,
                *("--files", ",".join(names)),
            ],
            cwd=tmp_path / "t-0",
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout, FIRST_RECORD.sub("", done.stderr)

    return run


@pytest.fixture
def log(tmp_path):
    """Every kind of batch in four segments, left open."""
    config = LogConfig(segment_bytes=60_000, index_interval_bytes=1000)
    log = Log.open(OsFiles(), f"{tmp_path}/t-0", config, now_ms=NOW, clean=True, topic_id=bytes(range(16)))
    chance = random.Random(4)
    sequences = {1: 0, 2: 0}
    while len(log.segments) < 4 or log.active.size_bytes < 20_000:
        producer_id = chance.choice([-1, 1, 2])
        count = chance.randint(1, 5)
        stamp = {}
        if producer_id > 0:
            stamp = {"producer_id": producer_id, "sequence": sequences[producer_id], "transactional": producer_id == 2}
            sequences[producer_id] += count
        now_ms = NOW + log.end_offset * 10
        view = batch(
            count,
            size=chance.randint(0, 1500),
            codec=chance.randint(0, 4),
            timestamp_ms=now_ms + chance.randint(-500, 500),
            **stamp,
        )
        append(log, view, now_ms=now_ms, leader_epoch=log.end_offset // 100)
        if producer_id == 2 and chance.random() < 0.3:
            append_marker(log, marker(2, committed=chance.random() < 0.5), leader_epoch=log.end_offset // 100)
    return log


@pytest.mark.parametrize("stopped", ["closed", "killed", "recovered"])
def test_the_official_tool_has_no_complaint(log, dump, stopped):
    if stopped == "closed":
        log.close()
    if stopped == "recovered":
        Log.open(OsFiles(), log.path, log.config, now_ms=NOW).close()
    out, complaints = dump("--index-sanity-check", suffixes={".index", ".timeindex"})
    verdicts = [line for line in out.splitlines() if not line.startswith("Dumping")]
    assert all(line.endswith(("passed sanity check.", "is empty.")) for line in verdicts), out
    assert complaints == ""
    out, complaints = dump("--deep-iteration", suffixes={".log", ".index", ".timeindex", ".txnindex", ".snapshot"})
    assert complaints == ""
    assert len(re.findall(r"^\| offset: \d+ ", out, re.MULTILINE)) == log.end_offset
    assert "isvalid: false" not in out
    aborted = re.findall(r"producerId: (\d+) firstOffset: (\d+) lastOffset: (\d+) lastStableOffset: (\d+)", out)
    assert [tuple(map(int, each)) for each in aborted] == [tuple(each) for each in log.aborted_transactions(0, 10**9)]


def test_the_official_tool_reads_the_producers(log, dump):
    log.close()
    out, complaints = dump(suffixes={".snapshot"})
    assert complaints == ""
    latest = out[out.rindex("Dumping") :]
    for producer in log.producers.producers.values():
        assert re.search(
            rf"producerId: {producer.producer_id} producerEpoch: {producer.epoch} .*"
            rf"lastSequence: {producer.last_sequence} lastOffset: {producer.last_offset} ",
            latest,
        )
