"""Opening a log after a stop of any kind: clean, killed, or a crash of the machine.

Responsible for: which files belong to the log, what must be checked, where a torn end is cut off, bringing indexes,
epochs and producer state up to the end of the log. Must not depend on: other logs, clocks, threads.

What is checked depends on how the last run stopped:

* clean: nothing has changed since it was closed. The last segment is read from its last index entry on.
* killed, same boot: the page cache lost nothing, so only the last write can be torn. Behind the last index entry of the
  last segment headers are read, and the last few batches are checked with their CRC.
* anything else: what was not synced may be missing anywhere, so every batch from the recovery point on is checked.

The log ends at the first batch that is not whole and sound; what follows is removed, later segments included. An
index that is missing, or disagrees with its log, is rebuilt; so is a leader-epoch-checkpoint that cannot be read, from
the epochs that the batches carry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import takewhile
from typing import Final, TypeAlias

from kwire.errors import StorageFailure
from kwire.storage.checkpoints import LEADER_EPOCH_CHECKPOINT, read_epochs
from kwire.storage.config import LogConfig
from kwire.storage.epochs import LeaderEpochs
from kwire.storage.files import Files
from kwire.storage.producer_state import Producer, ProducerStates, check_batch, check_marker
from kwire.storage.recovery.losses import Cause, Cuts, Loss, doubtful_from, is_legacy_message, missing_segments
from kwire.storage.segments.lookup import segment_index
from kwire.storage.segments.segment import (
    DELETED_SUFFIX,
    INDEX_SUFFIX,
    LOG_SUFFIX,
    RELATIVE_OFFSET_MAX,
    SUFFIXES,
    TIME_INDEX_SUFFIX,
    TRANSACTION_INDEX_SUFFIX,
    AppendedBatch,
    Segment,
    file_name,
    walk_headers,
)
from kwire.storage.snapshots import SNAPSHOT_SUFFIX, Snapshots
from kwire.wire.batches.batch import (
    HEADER_BYTES,
    NO_TIMESTAMP,
    BatchHeader,
    is_valid_batch,
    read_batch_header,
    read_end_marker,
)

Progress: TypeAlias = Callable[[int, int], None]
Batches: TypeAlias = Iterator[tuple[int, BatchHeader]]  # position and header of each

CLEANED_SUFFIX: Final = ".cleaned"
SWAP_SUFFIX: Final = ".swap"
_OFFSET_DIGITS: Final = 20
_CHECK_BYTES: Final = 1024 * 1024
# A kill can leave only the last write incomplete: an append is one batch, or a few, and at most this many bytes.
_TORN_BYTES_MAX: Final = 2 * 1024 * 1024
# The index is rebuilt when this many entries at its end point to no batch.
_INDEX_TRIES: Final = 3
_INDEX_SUFFIXES: Final = (INDEX_SUFFIX, TIME_INDEX_SUFFIX)


class Stop(Enum):
    """How the last use of the log ended."""

    CLEAN = "clean"
    KILLED = "killed"
    CRASHED = "crashed"

    @classmethod
    def of(cls, *, clean: bool, same_boot: bool) -> Stop:
        if clean:
            return cls.CLEAN
        return cls.KILLED if same_boot else cls.CRASHED


@dataclass(slots=True)
class Recovered:
    """All that a log needs to continue."""

    segments: list[Segment]
    log_start_offset: int
    end_offset: int
    recovery_point: int
    producers: ProducerStates
    snapshots: Snapshots
    epochs: LeaderEpochs
    exists: bool
    any_aborted: bool
    losses: list[Loss]
    # From here on records may be missing though later ones are there; the end offset where nothing is in doubt.
    doubtful_from: int


def recover(
    files: Files,
    path: str,
    config: LogConfig,
    *,
    now_ms: int,
    recovery_point: int,
    log_start_offset: int,
    stop: Stop,
    on_progress: Progress | None = None,
    keep_cut_bytes: bool = False,
) -> Recovered:
    """Open what is in directory ``path``. Raises StorageFailure.

    ``keep_cut_bytes``: what is cut off is kept in files beside the log, see ``losses``.
    """
    names = files.sizes(path)
    if all(name.endswith(".checkpoint") for name in names):  # of metadata, in a directory that was just formatted
        return _empty(files, path, log_start_offset, now_ms, exists=bool(names))
    if stop is not Stop.CLEAN or any(name.endswith((DELETED_SUFFIX, CLEANED_SUFFIX, SWAP_SUFFIX)) for name in names):
        names = _finish_replacements(files, path, names)
    cuts = Cuts(files, path, keep=keep_cut_bytes, preallocated=config.preallocate)
    cuts.losses += missing_segments(names, _offsets(names, LOG_SUFFIX), log_start_offset)
    if stop is not Stop.CLEAN or cuts.losses:
        _remove_orphans(files, path, names)
    segments = [
        Segment(files, path, offset, names=names, created_ms=now_ms) for offset in _offsets(names, LOG_SUFFIX)
    ] or [Segment(files, path, log_start_offset, names=names, created_ms=now_ms)]
    _repair_indexes(segments, names, config, stop)
    if stop is Stop.CRASHED:
        _check_unsynced(segments, recovery_point, config, on_progress, cuts)
    elif stop is Stop.KILLED:
        _check_tail(segments[-1], config, cuts, lost_bytes_max=_TORN_BYTES_MAX)
    end_offset, end_position = segments[-1].read_end()
    if end_position != segments[-1].size_bytes:
        # The log was marked as cleanly closed, but is damaged.
        _check_tail(segments[-1], config, cuts)
        end_offset, _ = segments[-1].read_end()
    if end_offset > segments[-1].base_offset + RELATIVE_OFFSET_MAX + 1 or end_offset < segments[-1].base_offset:
        log_path = segments[-1].path(LOG_SUFFIX)
        raise StorageFailure(log_path, f"damaged: its last batch ends at offset {end_offset - 1}")
    losses = cuts.total(
        log_start_offset,
        end_offset,
        known_end=max([recovery_point, *_offsets(names, SNAPSHOT_SUFFIX)]),
        incomplete_batch_is_loss=stop is not Stop.KILLED,
    )
    snapshots = Snapshots(files, path, _offsets(names, SNAPSHOT_SUFFIX), recovery_point=recovery_point)
    # After a loss of power aborted transactions are noted again, from batches that a later snapshot would skip.
    snapshots.remove_above(recovery_point if stop is Stop.CRASHED else end_offset)
    if end_offset < log_start_offset:
        # The log ends below its log start offset: none of its records is valid.
        for segment in segments:
            segment.remove()  # what is below the log start offset was deleted, so this is no loss
        segments = [Segment(files, path, log_start_offset, names={}, created_ms=now_ms)]
        end_offset = log_start_offset
    log_start_offset = max(log_start_offset, segments[0].base_offset)
    recovery_point = min(recovery_point, end_offset)
    for segment in segments[segment_index(segments, recovery_point) :]:
        segment.unsynced = recovery_point < end_offset
    # A loss of power may take a whole file that was not synced, and leave a later one.
    may_lack = stop is Stop.CRASHED and segments[-1].base_offset > recovery_point
    recovered = Recovered(
        segments=segments,
        log_start_offset=log_start_offset,
        end_offset=end_offset,
        recovery_point=recovery_point,
        producers=ProducerStates(),
        snapshots=snapshots,
        epochs=_read_epochs(files, path, segments),
        exists=True,
        any_aborted=any(name.endswith(TRANSACTION_INDEX_SUFFIX) for name in names),
        losses=losses,
        doubtful_from=doubtful_from(losses, end_offset, unsynced_from=recovery_point if may_lack else end_offset),
    )
    recovered.epochs.truncate_to(end_offset)
    recovered.epochs.truncate_before(log_start_offset)
    recovered.any_aborted |= replay(
        segments,
        recovered.producers,
        recovered.epochs,
        snapshots,
        end_offset=end_offset,
        now_ms=now_ms,
    )
    # Thousands of logs may be opened at a start: only those that are used keep a descriptor.
    for segment in segments:
        segment.close()
    return recovered


def replay(
    segments: Sequence[Segment],
    producers: ProducerStates,
    epochs: LeaderEpochs,
    snapshots: Snapshots,
    *,
    end_offset: int,
    now_ms: int,
) -> bool:
    """Replay the log from the latest snapshot on into producers and epochs. True if it has an abort marker.

    Batches below the log start offset count as long as they are there (Apache Kafka passes over them, and then may
    refuse the next sequence of a producer of which it has only seen a marker).
    """
    start = snapshots.load_latest(producers, segments[0].base_offset, end_offset)
    found_abort = False
    if start < end_offset:
        for segment, position, header in _walk_from(segments, start):
            if header.leader_epoch > epochs.latest:
                epochs.assign(header.leader_epoch, header.base_offset)
            if header.producer_id >= 0:
                found_abort |= _replay_batch(producers, segment, position, header, now_ms)
    # At a start every marker in the log counts as below the high watermark.
    producers.high_watermark_moved(end_offset)
    return found_abort


def _replay_batch(producers: ProducerStates, segment: Segment, position: int, header: BatchHeader, now_ms: int) -> bool:
    before = producers.producers.get(header.producer_id) or Producer(header.producer_id)
    if not header.is_control:
        row = AppendedBatch(header.base_offset, header.last_offset, header.max_timestamp, header.size_bytes)
        producers.apply(check_batch(before, header, row, now_ms=now_ms, check_sequence=False, fenced=False))
        return False
    marker = read_end_marker(segment.file.read(position, header.size_bytes))
    if marker is None:
        return False
    change = check_marker(before, header, marker, header.base_offset, now_ms=now_ms, fenced=False)
    producers.apply(change)
    if change.completed is None or not change.completed.aborted:
        return False
    segment.aborted.append(producers.aborted(change.completed))
    return True


def _walk_from(segments: Sequence[Segment], offset: int) -> Iterator[tuple[Segment, int, BatchHeader]]:
    for index, segment in enumerate(segments):
        if index + 1 < len(segments) and segments[index + 1].base_offset <= offset:
            continue
        found = segment.find(offset) if offset > segment.base_offset else None
        if found is None and offset > segment.base_offset:
            continue
        for position, header in segment.walk(found.position if found else 0):
            yield segment, position, header


def _read_epochs(files: Files, path: str, segments: Sequence[Segment]) -> LeaderEpochs:
    """Return the epochs of the checkpoint, or those of the batches if it is missing or damaged.

    Without this a follower or consumer that asks where an old epoch ended would get no answer (KIP-101, KIP-320). The
    headers of the whole log are read, but only once: the caller writes the checkpoint.
    """
    entries = read_epochs(files.read_bytes(f"{path}/{LEADER_EPOCH_CHECKPOINT}"))
    if entries or not any(segment.size_bytes for segment in segments):
        return LeaderEpochs(entries or ())
    epochs = LeaderEpochs()
    for segment in segments:
        for _, header in segment.walk():
            epochs.assign(header.leader_epoch, header.base_offset)
    epochs.rebuilt = epochs.changed
    return epochs


def _empty(files: Files, path: str, log_start_offset: int, now_ms: int, *, exists: bool) -> Recovered:
    return Recovered(
        segments=[Segment(files, path, log_start_offset, names={}, created_ms=now_ms)],
        log_start_offset=log_start_offset,
        end_offset=log_start_offset,
        recovery_point=log_start_offset,
        producers=ProducerStates(),
        snapshots=Snapshots(files, path, ()),
        epochs=LeaderEpochs(),
        exists=exists,
        any_aborted=False,
        losses=[],
        doubtful_from=log_start_offset,
    )


def _offsets(names: dict[str, int], suffix: str) -> list[int]:
    """The offsets in the names of the files with this suffix, ascending."""
    length = _OFFSET_DIGITS + len(suffix)
    return sorted(int(name[:_OFFSET_DIGITS]) for name in names if len(name) == length and name.endswith(suffix))


# --- what a stop can leave behind


def _finish_replacements(files: Files, path: str, names: dict[str, int]) -> dict[str, int]:
    """Remove files whose deletion or creation was interrupted by the stop, and finish replacing segments (compaction).

    Cleaned segments are first named .cleaned, then, all of them being complete, .swap, then take their places. A
    .cleaned file means that the renaming to .swap was not done, so the old segments are kept.
    """
    unfinished = [name for name in names if CLEANED_SUFFIX in name]
    first_unfinished = min((_offset_of(name) for name in unfinished), default=None)
    for name in list(names):
        swap_is_incomplete = (
            name.endswith(SWAP_SUFFIX) and first_unfinished is not None and _offset_of(name) >= first_unfinished
        )
        if name.endswith((DELETED_SUFFIX, ".tmp")) or CLEANED_SUFFIX in name or swap_is_incomplete:
            files.remove(f"{path}/{name}")
            del names[name]
    swapped = {name.removesuffix(SWAP_SUFFIX): size for name, size in names.items() if name.endswith(SWAP_SUFFIX)}
    _remove_replaced(files, path, names, swapped)
    for name, size in swapped.items():
        files.rename(f"{path}/{name}{SWAP_SUFFIX}", f"{path}/{name}")
        del names[name + SWAP_SUFFIX]
        names[name] = size
    return names


def _remove_replaced(files: Files, path: str, names: dict[str, int], swapped: dict[str, int]) -> None:
    """Remove the segments for which there are ``swapped`` ones."""
    offsets = _offsets(swapped, LOG_SUFFIX)
    if not offsets:
        return
    last = file_name(offsets[-1]) + LOG_SUFFIX
    file = files.open(f"{path}/{last}{SWAP_SUFFIX}", size=swapped[last])
    end_offset = offsets[-1] + 1
    for _, header in walk_headers(file, 0, file.size):
        end_offset = header.next_offset
    file.close()
    for offset in _offsets(names, LOG_SUFFIX):
        if offsets[0] <= offset < end_offset:
            of_segment = [file_name(offset) + suffix for suffix in reversed(SUFFIXES)]
            for name in [name for name in of_segment if name in names]:
                files.remove(f"{path}/{name}")
                del names[name]


def _remove_orphans(files: Files, path: str, names: dict[str, int]) -> None:
    """Remove indexes without a .log file, so that a later segment of the same name does not use their entries."""
    logs = {file_name(offset) for offset in _offsets(names, LOG_SUFFIX)}
    for suffix in SUFFIXES[1:]:
        for offset in _offsets(names, suffix):
            if file_name(offset) not in logs:
                files.remove(f"{path}/{file_name(offset)}{suffix}")
                del names[file_name(offset) + suffix]


def _offset_of(name: str) -> int:
    digits = name[:_OFFSET_DIGITS]
    return int(digits) if digits.isdigit() else -1


# --- checking


def _repair_indexes(segments: Sequence[Segment], names: dict[str, int], config: LogConfig, stop: Stop) -> None:
    """Rebuild indexes of which a file is missing; after a kill the last segment may have none yet."""
    for segment in segments:
        missing = [suffix for suffix in _INDEX_SUFFIXES if file_name(segment.base_offset) + suffix not in names]
        none_yet = stop is Stop.KILLED and segment is segments[-1] and len(missing) == 2
        has_entries = any(names.get(file_name(segment.base_offset) + suffix) for suffix in _INDEX_SUFFIXES)
        is_emptied = not segment.size_bytes and has_entries
        if is_emptied or (missing and segment.size_bytes and not none_yet):
            segment.rebuild_indexes(config.index_interval_bytes)


def _check_tail(segment: Segment, config: LogConfig, cuts: Cuts, *, lost_bytes_max: int | None = None) -> None:
    """Check the batches from the last one on that is indexed and sound.

    With ``lost_bytes_max`` only this many bytes at the end can differ from what was written: of the batches before them
    only headers are read.
    """
    offsets = segment.offsets
    offsets.truncate_to_position(segment.size_bytes)
    for _ in range(_INDEX_TRIES):
        if offsets.last is None:
            break
        last_offset, position = offsets.last
        found = next(sound_batches(segment, position), None)
        if found is not None and found[1].last_offset == last_offset + segment.base_offset:
            if not _times_fit(segment, position):
                break
            intact_below = -1 if lost_bytes_max is None else _intact_below(segment, position, lost_bytes_max)
            _index(segment, position, sound_batches(segment, position, intact_below), config, cuts)
            return
        offsets.truncate_entries(len(offsets) - 1)
    # There is no such batch near the end, or the times are not those of the batches: the indexes are rebuilt.
    intact_below = -1 if lost_bytes_max is None else _intact_below(segment, 0, lost_bytes_max)
    _index(segment, 0, sound_batches(segment, 0, intact_below), config, cuts)


def _times_fit(segment: Segment, position: int) -> bool:
    """Whether the time index has the largest timestamp up to the batch at ``position``, which is indexed."""
    segment.forget_index_from(position)
    last, last_indexed = segment.times.last, segment.offsets.last
    found = None if last is None else segment.find(last[1] + segment.base_offset)
    if (segment.times.last, segment.offsets.last) != (last, last_indexed):
        return False  # find() met another damaged entry and rebuilt both indexes
    headers = takewhile(lambda one: one[0] <= position, segment.walk(found.position if found else 0))
    times = [header.max_timestamp for _, header in headers]
    latest_ms = max(times, default=NO_TIMESTAMP)
    if last is None:
        return latest_ms == NO_TIMESTAMP
    return bool(times) and times[0] == latest_ms == last[0]


def _intact_below(segment: Segment, position: int, lost_bytes_max: int) -> int:
    """Return the offset behind the last batch before the bytes that may be lost; -1 if there is none.

    The written part ends where the headers end, as a preallocated file is longer. The last batch does not count.
    """
    ends = [(at + header.size_bytes, header.next_offset) for at, header in segment.walk(position)]
    for end, next_offset in reversed(ends[:-1]):
        if end <= ends[-1][0] - lost_bytes_max:
            return next_offset
    return -1


def _check_unsynced(
    segments: list[Segment], recovery_point: int, config: LogConfig, on_progress: Progress | None, cuts: Cuts
) -> None:
    """Check all batches from the recovery point on; segments behind a bad one are removed.

    The pages of an index may have been lost anywhere, so the indexes of these segments are rebuilt; also that of the
    segment that ends at the recovery point, which may have been sealed after the last sync.
    """
    first = segment_index(segments, max(0, recovery_point - 1))
    total = sum(segment.size_bytes for segment in segments[first:])
    done = 0
    for index in range(first, len(segments)):
        segment = segments[index]
        size_bytes = segment.size_bytes
        segment.aborted.keep_synced(segment.base_offset, recovery_point)
        end_offset = segments[index + 1].base_offset if index + 1 < len(segments) else None
        batches = sound_batches(segment, 0, synced_below=recovery_point, end_offset=end_offset)
        is_whole = _index(segment, 0, batches, config, cuts)
        done += size_bytes
        if on_progress is not None:
            on_progress(done, total)
        if not is_whole:
            for later in segments[index + 1 :]:
                cuts.remove(later, Cause.DAMAGED_BATCH)
            del segments[index + 1 :]
            return


def _index(segment: Segment, position: int, batches: Batches, config: LogConfig, cuts: Cuts) -> bool:
    """Index ``batches``, which begin at ``position``, and cut off the bytes behind them. True if there were none."""
    segment.forget_index_from(position)
    end = segment.index_batches(batches, position, config.index_interval_bytes)
    is_whole = end == segment.size_bytes
    if not is_whole:
        next_offset = segment.base_offset
        for _, header in walk_headers(segment.file, segment.offsets.last[1] if segment.offsets.last else 0, end):
            next_offset = header.next_offset
        cuts.cut(segment, end, next_offset)
    segment.write_out()
    return is_whole


def sound_batches(segment: Segment, position: int, synced_below: int = -1, end_offset: int | None = None) -> Batches:
    """Give position and header of each batch from ``position`` on, up to the first that is not whole and sound.

    Of batches below offset ``synced_below`` only headers are read. ``end_offset``: where the next segment begins.
    """
    file = segment.file
    next_offset = segment.base_offset
    highest = next_offset + RELATIVE_OFFSET_MAX if end_offset is None else end_offset - 1
    if synced_below >= 0:
        for at, header in segment.walk(position):
            in_order = next_offset <= header.base_offset <= header.last_offset <= highest
            if header.next_offset > synced_below or not in_order:
                break
            yield at, header
            next_offset = header.next_offset
            position = at + header.size_bytes
    end = file.size
    while position + HEADER_BYTES <= end:
        chunk = memoryview(file.read(position, min(_CHECK_BYTES, end - position)))
        at = 0
        while at + HEADER_BYTES <= len(chunk):
            header = read_batch_header(chunk, at)
            size_bytes = header.size_bytes
            if position == at == 0 and is_legacy_message(chunk, header):
                raise StorageFailure(file.path, "written by a Kafka before 0.11, in a format that is not read here")
            if size_bytes < HEADER_BYTES or position + at + size_bytes > end:
                return
            if at + size_bytes > len(chunk):
                if at:
                    break
                chunk = memoryview(file.read(position, size_bytes))
            # No CRC covers the offsets: they follow the last, and are within the segment.
            in_order = next_offset <= header.base_offset <= header.last_offset <= highest
            if not in_order or not is_valid_batch(chunk, at, header):
                return
            yield position + at, header
            next_offset = header.next_offset
            at += size_bytes
        if at == 0:
            return
        position += at
