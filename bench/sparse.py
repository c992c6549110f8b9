"""A log of many GB that occupies a few MB: real headers and indexes, and holes in place of the records.

Headers, positions and sizes read as in a full log; only a CRC check would fail, and a fetch checks none.
"""

import re
import struct
import time
from pathlib import Path

_SEGMENT_BATCHES = 1000
_BATCH_RECORDS = 1000
_BATCH_BYTES = 1_048_576
_HEADER = struct.Struct(">qiibIhiqqqhii")
_OFFSET_ENTRY = struct.Struct(">ii")
_TIME_ENTRY = struct.Struct(">qi")
_CHECKPOINTS = ("recovery-point-offset-checkpoint", "replication-offset-checkpoint")


def fill(data: Path, topic: str, gigabytes: int) -> int:
    """Put so many segments of 1 GB into partition 0 of a data directory left cleanly; gives the end offset."""
    folder = data / f"{topic}-0"
    snapshots = [path.read_bytes() for path in folder.glob("*.snapshot")]
    for suffix in ("log", "index", "timeindex", "snapshot"):
        for path in folder.glob(f"*.{suffix}"):
            path.unlink()
    begun_ms = int(time.time() * 1000) - 3_600_000
    for number in range(gigabytes):
        _segment(folder, number * _SEGMENT_BATCHES * _BATCH_RECORDS, begun_ms + number * _SEGMENT_BATCHES)
    end_offset = gigabytes * _SEGMENT_BATCHES * _BATCH_RECORDS
    (folder / f"{end_offset:020d}.snapshot").write_bytes(snapshots[0])
    for name in _CHECKPOINTS:
        path = data / name
        line = re.compile(rf"^{re.escape(topic)} 0 \d+$", re.MULTILINE)
        text, count = line.subn(f"{topic} 0 {end_offset}", path.read_text())
        assert count == 1, f"{name} has no line for {topic}"
        path.write_text(text)
    return end_offset


def _segment(folder: Path, base_offset: int, first_ms: int) -> None:
    name = folder / f"{base_offset:020d}"
    offsets, times = [], []
    with name.with_suffix(".log").open("wb") as log:
        for number in range(_SEGMENT_BATCHES):
            at_ms = first_ms + number
            first, last = number * _BATCH_RECORDS, (number + 1) * _BATCH_RECORDS - 1
            header = _HEADER.pack(
                base_offset + first, _BATCH_BYTES - 12, 0, 2, 0, 0, _BATCH_RECORDS - 1, at_ms, at_ms, -1, -1, -1,
                _BATCH_RECORDS,
            )  # fmt: skip
            log.seek(number * _BATCH_BYTES)
            log.write(header)
            if number:
                offsets.append(_OFFSET_ENTRY.pack(last, number * _BATCH_BYTES))
                times.append(_TIME_ENTRY.pack(at_ms, last))
        log.truncate(_SEGMENT_BATCHES * _BATCH_BYTES)
    name.with_suffix(".index").write_bytes(b"".join(offsets))
    name.with_suffix(".timeindex").write_bytes(b"".join(times))
