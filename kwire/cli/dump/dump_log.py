"""The content of the files of a log: the twin of the official kafka-dump-log.

Responsible for: its options, its output, the reader for each kind of file. Must not depend on: brokers. It only reads
files.

The lines equal those of the official tool, because scripts compare and grep them. Mismatches (index entries with a
wrong position, gaps between offsets) are printed at the end to stderr, as the official tool does.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, TextIO

from kwire.cli.dump.dump_batches import INT32_MAX, FileBatch, base_offset_of, batches
from kwire.cli.dump.dump_decoders import (
    TEXT_DECODER,
    Decoder,
    coordinator_decoder,
    metadata_decoder,
    plain_decoder,
    show_control,
)
from kwire.cli.dump.dump_indexes import Faults, IndexOptions, show_offset_index, show_time_index, show_transaction_index
from kwire.cli.java.exits import Failure
from kwire.cli.java.options import Option, Parsed, Wrong, parse
from kwire.errors import KafkaError, ProtocolViolation
from kwire.storage.snapshots import read_snapshot
from kwire.wire.batches.batch import NO_SEQUENCE, BatchHeader, is_valid_batch
from kwire.wire.batches.compression import Codec
from kwire.wire.batches.records import Record, read_records

ABOUT: Final = (
    "This tool helps to parse a log file and dump its contents to the console, useful for debugging a seemingly "
    "corrupt log segment."
)
OPTIONS: Final = (
    Option("files", "REQUIRED: The comma separated list of files to dump.", "file1, file2, ..."),
    Option("print-data-log", "Print the content of records. Set by every decoder option."),
    Option("deep-iteration", "Read single records, not only batches. Set by --print-data-log."),
    Option("skip-record-metadata", "Print records without their metadata; skips control records."),
    Option("index-sanity-check", "Only check an index, as a broker does when it starts."),
    Option("verify-index-only", "Only compare an index with its log, without printing it."),
    Option(
        "max-message-size", "Size of the largest batch that an index entry may point to.", "size", default="5242880"
    ),
    Option("max-bytes", "How many bytes of each .log file to read.", "size", default=str(INT32_MAX)),
    Option("offsets-decoder", "Decode records of __consumer_offsets."),
    Option("transaction-log-decoder", "Decode records of __transaction_state."),
    Option("share-group-state-decoder", "Decode records of __share_group_state."),
    Option("cluster-metadata-decoder", "Decode records of the cluster metadata log and its snapshots."),
    Option("remote-log-metadata-decoder", "Not available: kwire has no tiered storage."),
    Option("key-decoder-class", "How keys are shown.", "String", optional_value=True, default=TEXT_DECODER),
    Option("value-decoder-class", "How values are shown.", "String", optional_value=True, default=TEXT_DECODER),
)
_COORDINATORS: Final = {
    "offsets-decoder": "group",
    "transaction-log-decoder": "transaction",
    "share-group-state-decoder": "share",
}
_DECODING: Final = (
    "print-data-log",
    "cluster-metadata-decoder",
    "remote-log-metadata-decoder",
    "key-decoder-class",
    "value-decoder-class",
    *_COORDINATORS,
)


def dump_main(argv: Sequence[str], stdout: TextIO, stderr: TextIO | None = None) -> int:
    """Run the tool with the official options; returns the exit code. Errors are printed to ``stderr``."""
    errors = sys.stderr if stderr is None else stderr
    try:
        given = parse("kafka-dump-log", ABOUT, OPTIONS, argv)
        given.require("files")
        _Dump(given, stdout, errors).run()
    except Failure as failure:
        print(failure.message, file=stdout if failure.stream == "out" else errors)
        return failure.code
    except (Wrong, OSError, KafkaError, ProtocolViolation, ValueError) as error:
        print(error, file=errors)
        return 1
    return 0


class _Dump:
    def __init__(self, given: Parsed, stdout: TextIO, stderr: TextIO) -> None:
        self.files = given.text("files").split(",")
        self.prints_content = any(given.has(name) for name in _DECODING)
        self.deep = self.prints_content or given.has("deep-iteration")
        self.skips_metadata = given.has("skip-record-metadata")
        self.bytes_max = given.number("max-bytes") or 0
        self.index_options = IndexOptions(
            sanity_only=given.has("index-sanity-check"),
            verify_only=given.has("verify-index-only"),
            batch_bytes_max=given.number("max-message-size") or 0,
        )
        self.decoder = _decoder(given)
        self.faults = Faults()
        self._stdout = stdout
        self._stderr = stderr

    def run(self) -> None:
        for name in self.files:
            self._stdout.write(f"Dumping {name}\n")
            for line in self._lines(Path(name)):
                self._stdout.write(line + "\n")
        for line in self.faults.lines():
            print(line, file=self._stderr)

    def _lines(self, path: Path) -> Iterator[str]:
        match path.suffix:
            case ".log" | ".checkpoint":
                return self._log(path)
            case ".index":
                return show_offset_index(path, self.index_options, self.faults)
            case ".timeindex":
                return show_time_index(path, self.index_options, self.faults)
            case ".txnindex":
                return show_transaction_index(path)
            case ".snapshot":
                return self._producers(path)
            case _:
                print(f"Ignoring unknown file {path}", file=self._stderr)
                return iter(())

    # --- logs, and snapshots of the metadata log

    def _log(self, path: Path) -> Iterator[str]:
        yield _headline(path)
        end = 0
        last_offset = -1
        for found in batches(path, 0, self.bytes_max):
            yield _batch_line(found)
            end = found.position + found.header.size_bytes
            if not self.deep:
                continue
            for record in read_records(found.content):
                if record.offset != last_offset + 1:
                    self.faults.gaps.setdefault(str(path.absolute()), {})[last_offset] = record.offset
                last_offset = record.offset
                yield self._record_line(found.header, record)
        left_bytes = path.stat().st_size - end
        if left_bytes > 0 and self.bytes_max == INT32_MAX:
            yield f"Found {left_bytes} invalid bytes at the end of {path.name}"

    def _record_line(self, header: BatchHeader, record: Record) -> str:
        words = [] if self.skips_metadata else [_record_words(header, record)]
        if self.prints_content and not header.is_control:
            key, payload = self.decoder(record)
            if self.skips_metadata and (key, payload) != (None, None):
                words.append("|")
            if key is not None:
                words.append(f"key: {key}")
            if payload is not None:
                words.append(f"payload: {payload}")
        return " ".join(words)

    # --- producers

    def _producers(self, path: Path) -> Iterator[str]:
        producers = read_snapshot(path.read_bytes())
        if producers is None:
            print(f"Snapshot is corrupt (its CRC or its length is wrong): {path}", file=self._stderr)
            return
        for producer in producers:
            words = (
                f"producerId: {producer.producer_id} producerEpoch: {producer.epoch} "
                f"coordinatorEpoch: {producer.coordinator_epoch} "
                f"currentTxnFirstOffset: {_optional(producer.transaction_first_offset)} "
                f"lastTimestamp: {producer.last_timestamp_ms}"
            )
            for batch in producer.batches[:1]:
                words += (
                    f" firstSequence: {batch.base_sequence} lastSequence: {batch.last_sequence} "
                    f"lastOffset: {batch.last_offset} offsetDelta: {batch.offset_delta} timestamp: {batch.timestamp_ms}"
                )
            yield words


def _decoder(given: Parsed) -> Decoder:
    for name, family in _COORDINATORS.items():
        if given.has(name):
            return coordinator_decoder(family)
    if given.has("cluster-metadata-decoder"):
        return metadata_decoder
    if given.has("remote-log-metadata-decoder"):
        raise ValueError("remote-log-metadata-decoder: kwire has no tiered storage, so there are no such records")
    return plain_decoder(
        given.value("key-decoder-class") or TEXT_DECODER, given.value("value-decoder-class") or TEXT_DECODER
    )


# ---- lines


def _headline(path: Path) -> str:
    if path.suffix == ".log":
        return f"Log starting offset: {base_offset_of(path)}"
    if path.name == "bootstrap.checkpoint":
        return "KRaft bootstrap snapshot"
    parts = re.fullmatch(r"(\d{20})-(\d{10})\.checkpoint", path.name)
    if parts is None:
        raise ValueError(f"{path.name} is not the name of a snapshot, OFFSET-EPOCH.checkpoint")
    return f"Snapshot end offset: {int(parts[1])}, epoch: {int(parts[2])}"


def _batch_line(found: FileBatch) -> str:
    header = found.header
    return (
        f"baseOffset: {header.base_offset} lastOffset: {header.last_offset} count: {header.record_count} "
        f"baseSequence: {header.base_sequence} lastSequence: {header.last_sequence} "
        f"producerId: {header.producer_id} producerEpoch: {header.producer_epoch} "
        f"partitionLeaderEpoch: {header.leader_epoch} isTransactional: {_java_boolean(header.is_transactional)} "
        f"isControl: {_java_boolean(header.is_control)} deleteHorizonMs: {_optional(header.delete_horizon_ms)} "
        f"position: {found.position} {_time_name(header)}: {header.max_timestamp} size: {header.size_bytes} "
        f"magic: {header.magic} compresscodec: {Codec(header.codec).name.lower()} crc: {header.crc} "
        f"isvalid: {_java_boolean(is_valid_batch(found.content, 0, header))}"
    )


def _record_words(header: BatchHeader, record: Record) -> str:
    sequence = NO_SEQUENCE
    if header.base_sequence >= 0:
        sequence = (header.base_sequence + record.offset - header.base_offset) & INT32_MAX
    words = (
        f"| offset: {record.offset} {_time_name(header)}: {record.timestamp_ms} "
        f"keySize: {-1 if record.key is None else len(record.key)} "
        f"valueSize: {-1 if record.value is None else len(record.value)} "
        f"sequence: {sequence} headerKeys: [{','.join(name for name, _ in record.headers)}]"
    )
    return f"{words} {show_control(record)}" if header.is_control else words


def _time_name(header: BatchHeader) -> str:
    return "LogAppendTime" if header.is_log_append_time else "CreateTime"


def _java_boolean(value: bool) -> str:
    return "true" if value else "false"


def _optional(number: int | None) -> str:
    return "OptionalLong.empty" if number is None or number == -1 else f"OptionalLong[{number}]"
