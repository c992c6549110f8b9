"""The slow path of produce, against what Apache Kafka 4.3.1 answered and stored for the same bytes.

``official_validation.json`` is written by ``tools/official_answers.py``: each case is the bytes sent, the time, the
error code, the record errors and the message of the answer, and the batch in the log afterwards.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from kwire.broker.partitions.validate import (
    NO_LIMIT_MS,
    InvalidRecords,
    LargeBatch,
    RecordChecks,
    RecordError,
    Validated,
    ValidationSettings,
    validate,
)
from kwire.errors import Code, KafkaError
from kwire.limits import (
    CHECKED_BYTES_MAX,
    CHECKED_RECORDS_MAX,
    OPENED_INLINE_BYTES_MAX,
    OPENED_INLINE_RECORDS_MAX,
)
from kwire.types import TopicPartition
from kwire.wire.batches.batch import (
    CRC_POSITION,
    STAMP_BYTES,
    check_batch,
    is_valid_batch,
    read_batch_header,
    read_only_batch,
    with_log_append_time,
)
from kwire.wire.batches.compression import Codec
from kwire.wire.batches.records import Record, assemble_batch, build_batch, read_records

NOW_MS = 1_800_000_000_000
PARTITION = TopicPartition("letters", 3)

TOPICS = {
    "plain": ValidationSettings(),
    "compact": ValidationSettings(compacted=True),
    "append": ValidationSettings(log_append_time=True),
    "before": ValidationSettings(timestamp_before_max_ms=1000),
    "wide": ValidationSettings(timestamp_after_max_ms=NO_LIMIT_MS),
    "none": ValidationSettings(codec=Codec.NONE),
    "gz": ValidationSettings(codec=Codec.GZIP),
    "sn": ValidationSettings(codec=Codec.SNAPPY),
    "l4": ValidationSettings(codec=Codec.LZ4),
    "zs": ValidationSettings(codec=Codec.ZSTD),
    "small": ValidationSettings(codec=Codec.NONE, max_message_bytes=200),
    "appendgz": ValidationSettings(codec=Codec.GZIP, log_append_time=True),
    "compactgz": ValidationSettings(codec=Codec.GZIP, compacted=True),
}

# Where the answer differs from the recorded one on purpose, or is given by another package.
DIFFERENT = {
    "pid 9 seq gap": "the log's producer state refuses it",
    "length huge": "Java's int overflows; for us it is a batch that is not all there",
    "long varint": "we call it INVALID_RECORD like every other malformed record",
    "gz length long": "Kafka stores a compressed record whose own length lies; readers fail on it then",
    "gz to gz length wrong small": "the same",
}
OFFICIAL = [
    pytest.param(case, id=f"{case['name']} ({case['topic']})")
    for case in json.loads((Path(__file__).parent / "official_validation.json").read_text())
    if case["name"] not in DIFFERENT
]
REFUSED = [case for case in OFFICIAL if case.values[0]["code"]]
STORED = [case for case in OFFICIAL if not case.values[0]["code"]]


def _validated(
    sent: memoryview, settings: ValidationSettings, now_ms: int, partition: object, *, trusted: bool = True
) -> Validated:
    """As a partition does with what a producer sent."""
    header = read_only_batch(sent)
    batch = sent[: header.size_bytes]
    check_batch(batch, header)
    return validate(batch, header, settings, now_ms, partition=partition, trusted=trusted)


def _produce(case: dict, settings: ValidationSettings) -> Validated:
    sent = memoryview(bytes.fromhex(case["sent"]))
    return _validated(sent, settings, case["now_ms"], TopicPartition(case["topic"], 0))


def _strict(case: dict) -> ValidationSettings:
    return replace(TOPICS[case["topic"]], record_checks=RecordChecks.STRICT)


@pytest.mark.parametrize("case", REFUSED)
def test_batches_that_kafka_refuses_are_refused_with_the_same_message(case):
    with pytest.raises(KafkaError) as refusal:
        _produce(case, _strict(case))
    error = refusal.value
    assert error.code == case["code"]
    if not case["errors"]:
        assert not isinstance(error, InvalidRecords)
        return
    assert [list(item) for item in error.record_errors] == case["errors"]
    assert error.message == case["message"]


@pytest.mark.parametrize("case", STORED)
def test_batches_that_kafka_accepts_are_stored_with_the_same_bytes(case):
    batch, header = _produce(case, _strict(case))
    stored = bytes.fromhex(case["stored"])
    theirs = read_batch_header(stored)
    assert is_valid_batch(batch, 0, header)
    if TOPICS[case["topic"]].log_append_time:
        # What the log does on writing.
        batch = bytes(batch[:STAMP_BYTES]) + with_log_append_time(batch, 0, header, theirs.max_timestamp) + batch[61:]
        header = read_batch_header(batch)
    if header.codec == read_batch_header(bytes.fromhex(case["sent"])).codec:
        assert bytes(batch[CRC_POSITION:]) == stored[CRC_POSITION:]
    # Another library compresses to other bytes: then all but length and CRC must be the same, and the records.
    same = {"base_offset": 0, "length": 0, "leader_epoch": 0, "crc": 0}
    assert header._replace(**same) == theirs._replace(**same)
    records = [record._replace(offset=record.offset - theirs.base_offset) for record in read_records(stored)]
    assert list(read_records(batch)) == records


@pytest.mark.parametrize("case", REFUSED)
def test_on_an_untrusted_connection_kwire_refuses_what_kafka_refuses(case):
    with pytest.raises(KafkaError) as refusal:
        _validated(
            memoryview(bytes.fromhex(case["sent"])),
            TOPICS[case["topic"]],
            case["now_ms"],
            TopicPartition(case["topic"], 0),
            trusted=False,
        )
    assert refusal.value.code == case["code"]


@pytest.mark.parametrize("case", STORED)
def test_the_usual_path_refuses_nothing_that_kafka_stores(case):
    batch, header = _produce(case, TOPICS[case["topic"]])
    assert is_valid_batch(batch, 0, header)


# ---- which batches are opened


def _validate(batch: memoryview, settings: ValidationSettings | None = None, *, trusted: bool = True) -> Validated:
    return _validated(batch, settings or ValidationSettings(), NOW_MS, PARTITION, trusted=trusted)


def _lying_batch(timestamp_ms: int = NOW_MS, **options: object) -> memoryview:
    """Make a batch whose payload is no record at all, which is found when the batch is opened."""
    batch = build_batch([Record(0, timestamp_ms, b"key", b"value")], **options)
    return memoryview(assemble_batch(read_batch_header(batch), b"no record"))


@pytest.mark.parametrize(
    "settings",
    [
        ValidationSettings(),
        ValidationSettings(codec=Codec.NONE),
        ValidationSettings(log_append_time=True),
        ValidationSettings(log_append_time=True, timestamp_before_max_ms=1),
        ValidationSettings(timestamp_after_max_ms=0),
    ],
)
def test_the_usual_path_reads_the_header_alone_and_copies_nothing(settings):
    sent = _lying_batch()
    batch, _ = _validate(sent, settings)
    assert batch.obj is sent.obj
    assert batch == sent


@pytest.mark.parametrize(
    ("settings", "sent"),
    [
        (ValidationSettings(record_checks=RecordChecks.STRICT), _lying_batch()),
        (ValidationSettings(compacted=True), _lying_batch()),
        (ValidationSettings(codec=Codec.GZIP), _lying_batch()),
        (ValidationSettings(timestamp_before_max_ms=10**9), _lying_batch()),
        (ValidationSettings(), _lying_batch(log_append_time_ms=NOW_MS)),
        (ValidationSettings(), _lying_batch(NOW_MS + 3_600_001)),
    ],
)
def test_a_batch_is_opened_when_settings_or_header_concern_single_records(settings, sent):
    with pytest.raises(KafkaError) as refusal:
        _validate(sent, settings)
    assert refusal.value.code is Code.INVALID_RECORD


def _usual(codec: Codec = Codec.NONE, count: int = 3, size: int = 20) -> memoryview:
    records = [Record(index, NOW_MS + index, b"key", bytes(size)) for index in range(count)]
    return memoryview(build_batch(records, codec=codec))


def _with_payload(batch: memoryview, payload: bytes, **header: int) -> memoryview:
    return memoryview(assemble_batch(read_batch_header(batch)._replace(**header), payload))


def test_attributes_without_a_meaning_are_kept_until_the_header_is_written_again():
    sent = _with_payload(_usual(), _usual()[61:].tobytes(), attributes=0x80)
    assert _validate(sent, ValidationSettings(), trusted=False)[1].attributes == 0x80
    wrong = _with_payload(_usual(), _usual()[61:].tobytes(), attributes=0x80, max_timestamp=NOW_MS + 9)
    _, header = _validate(wrong, ValidationSettings(), trusted=False)
    assert (header.attributes, header.max_timestamp) == (0, NOW_MS + 2)


@pytest.mark.parametrize("codec", list(Codec))
def test_garbage_under_a_right_crc_is_refused_on_a_connection_that_is_not_trusted(codec):
    garbage = _with_payload(_usual(codec), b"\x55" * 100)
    code = Code.UNKNOWN_SERVER_ERROR if codec else Code.INVALID_RECORD
    for settings in (ValidationSettings(), ValidationSettings(record_checks=RecordChecks.STRICT)):
        with pytest.raises(KafkaError) as refusal:
            _validate(garbage, settings, trusted=False)
        assert refusal.value.code is code
    with pytest.raises(KafkaError) as refusal:
        _validate(garbage, ValidationSettings(record_checks=RecordChecks.STRICT), trusted=True)
    assert refusal.value.code is code


@pytest.mark.parametrize("codec", [Codec.GZIP, Codec.LZ4, Codec.ZSTD])
@pytest.mark.parametrize("checks", list(RecordChecks))
def test_records_that_do_not_begin_as_their_codec_are_never_stored(codec, checks):
    plain = _with_payload(_usual(), bytes(_usual()[61:]), attributes=int(codec))
    with pytest.raises(KafkaError) as refusal:
        _validate(plain, ValidationSettings(record_checks=checks))
    assert refusal.value.code is Code.UNKNOWN_SERVER_ERROR


@pytest.mark.parametrize("codec", list(Codec))
@pytest.mark.parametrize(("checks", "trusted"), [(RecordChecks.FIRST, False), (RecordChecks.STRICT, True)])
def test_a_max_timestamp_that_disagrees_with_the_records_is_corrected(codec, checks, trusted):
    sent = _usual(codec)
    wrong = _with_payload(sent, bytes(sent[61:]), max_timestamp=NOW_MS + 1000)
    batch, header = _validate(wrong, ValidationSettings(record_checks=checks), trusted=trusted)
    assert batch == sent
    assert header.max_timestamp == NOW_MS + 2


def test_with_header_checks_records_are_not_read():
    settings = ValidationSettings(record_checks=RecordChecks.HEADER)
    assert _validate(_lying_batch(), settings, trusted=False)[0] == _lying_batch()


def test_a_large_first_batch_is_checked_in_part():
    sent = _usual(count=CHECKED_RECORDS_MAX + 10)
    broken = bytearray(sent[61:])
    broken[-1:] = b"\x09"  # a header count in the last record
    late = _with_payload(sent, bytes(broken))
    assert _validate(late, trusted=False)[0] == late
    broken[0] = 0x41  # a negative length in the first
    with pytest.raises(KafkaError):
        _validate(_with_payload(sent, bytes(broken)), trusted=False)
    with pytest.raises(KafkaError):
        _validate(late, ValidationSettings(record_checks=RecordChecks.STRICT))


@pytest.mark.parametrize("codec", [Codec.GZIP, Codec.SNAPPY, Codec.LZ4, Codec.ZSTD])
def test_a_first_batch_that_opens_to_more_than_is_checked_is_stored(codec):
    sent = _usual(codec, count=1, size=CHECKED_BYTES_MAX + 1)
    settings = ValidationSettings(max_message_bytes=2 * CHECKED_BYTES_MAX)
    assert _validate(sent, settings, trusted=False)[0] == sent


def test_a_time_just_within_the_limit_is_not_opened():
    _, header = _validate(_lying_batch(NOW_MS + 3_600_000))
    assert header.max_timestamp == NOW_MS + 3_600_000


# ---- codes that need no recording


def test_a_partial_second_batch_is_left_out():
    whole = build_batch([Record(0, NOW_MS, b"key", b"value")])
    batch, _ = _validate(memoryview(whole + whole[:-1]))
    assert batch == whole


def test_all_record_errors_are_listed_and_three_are_in_the_message():
    keyless = build_batch([Record(index, NOW_MS, None, b"value") for index in range(5)])
    with pytest.raises(InvalidRecords) as refusal:
        _validate(memoryview(keyless), ValidationSettings(compacted=True))
    assert refusal.value.code is Code.INVALID_RECORD
    message = "Compacted topic cannot accept message without key in topic partition letters-3"
    assert list(refusal.value.record_errors) == [RecordError(index, message) for index in range(5)]
    assert refusal.value.message.count(message) == 3


def test_a_batch_that_holds_more_than_may_be_opened_is_too_large():
    sent = build_batch([Record(0, NOW_MS, b"key", bytes(5000))], codec=Codec.ZSTD)
    with pytest.raises(KafkaError) as refusal:
        _validate(memoryview(sent), ValidationSettings(compacted=True, opened_bytes_max=1000))
    assert refusal.value.code is Code.MESSAGE_TOO_LARGE


@pytest.mark.parametrize("codec", list(Codec))
def test_the_topics_level_is_used(codec):
    records = [Record(index, NOW_MS, b"key", __doc__.encode()) for index in range(20)]
    level = {Codec.GZIP: 1, Codec.LZ4: 12, Codec.ZSTD: -100}.get(codec)
    sent = memoryview(build_batch(records, codec=Codec.SNAPPY if codec is Codec.NONE else Codec.NONE))
    batch, _ = _validate(sent, ValidationSettings(codec=codec, compression_level=level))
    assert batch == build_batch(records, codec=codec, level=level)


# ---- which batches are validated in a thread

MANY_RECORDS = [Record(i, NOW_MS, b"key", b"v") for i in range(OPENED_INLINE_RECORDS_MAX + 1)]
LARGE_RECORD = [Record(0, NOW_MS, b"key", bytes(OPENED_INLINE_BYTES_MAX))]
FEW_RECORDS = [Record(0, NOW_MS, b"key", b"v")]
LARGE = {
    "many records to a compacted topic": (MANY_RECORDS, Codec.NONE, ValidationSettings(compacted=True)),
    "large and recompressed": (LARGE_RECORD, Codec.NONE, ValidationSettings(codec=Codec.GZIP)),
    "opens large": (LARGE_RECORD, Codec.ZSTD, ValidationSettings(codec=Codec.GZIP)),
    "opens large and strict": (LARGE_RECORD, Codec.LZ4, ValidationSettings(record_checks=RecordChecks.STRICT)),
    "too late a timestamp": (
        [Record(0, NOW_MS + 7_200_000, b"key", bytes(OPENED_INLINE_BYTES_MAX))],
        Codec.GZIP,
        ValidationSettings(),
    ),
    "opens larger than its topic allows": (
        [Record(0, NOW_MS, b"key", bytes(200_000))],
        Codec.ZSTD,
        ValidationSettings(codec=Codec.GZIP, opened_bytes_max=100_000),
    ),
}


def _outcome(validated):
    try:
        batch, header = validated()
    except KafkaError as refusal:
        return refusal.code, refusal.message, getattr(refusal, "record_errors", None)
    return bytes(batch), header


@pytest.mark.parametrize("name", LARGE)
def test_a_large_batch_is_validated_in_a_thread_with_the_same_result(name):
    records, codec, settings = LARGE[name]
    batch = memoryview(build_batch(records, codec=codec))
    header = read_only_batch(batch)
    with pytest.raises(LargeBatch) as found:
        validate(batch, header, settings, NOW_MS, partition=PARTITION, inline=True)
    large = found.value
    large.validate()
    here = partial(validate, batch, header, settings, NOW_MS, partition=PARTITION)
    assert _outcome(partial(large.result, settings)) == _outcome(here)


def test_a_refused_large_batch_is_freed_at_once():
    batch = memoryview(build_batch([Record(0, NOW_MS, b"key", bytes(200_000))], codec=Codec.ZSTD))
    settings = ValidationSettings(codec=Codec.GZIP, opened_bytes_max=100_000)
    with pytest.raises(LargeBatch) as found:
        validate(batch, read_only_batch(batch), settings, NOW_MS, partition=PARTITION, inline=True)
    large = found.value
    large.validate()
    with pytest.raises(KafkaError) as refusal:
        large.result(settings)
    assert (refusal.value.__cause__, refusal.value.__context__) == (None, None)
    assert large._refusal is None


def test_a_large_batch_is_validated_by_the_settings_at_the_time_of_its_append():
    batch = memoryview(build_batch([Record(0, NOW_MS, None, bytes(OPENED_INLINE_BYTES_MAX))]))
    header = read_only_batch(batch)
    with pytest.raises(LargeBatch) as found:
        validate(batch, header, ValidationSettings(codec=Codec.GZIP), NOW_MS, partition=PARTITION, inline=True)
    found.value.validate()
    with pytest.raises(InvalidRecords):
        found.value.result(ValidationSettings(compacted=True))


@pytest.mark.parametrize("codec", Codec)
def test_a_small_batch_is_validated_on_the_event_loop(codec):
    batch = memoryview(build_batch(FEW_RECORDS, codec=codec))
    _, header = validate(
        batch, read_only_batch(batch), ValidationSettings(codec=Codec.GZIP), NOW_MS, partition=PARTITION, inline=True
    )
    assert header.codec == Codec.GZIP


@pytest.mark.parametrize("codec", Codec)
def test_a_large_batch_of_the_usual_path_stays_on_the_event_loop(codec):
    batch = memoryview(build_batch(LARGE_RECORD, codec=codec))
    kept, _ = validate(batch, read_only_batch(batch), ValidationSettings(), NOW_MS, partition=PARTITION, inline=True)
    assert kept == batch
