"""How a dump prints a record's key and value: as text, or as the JSON of an internal topic's records.

Responsible for: the decoders of kafka-dump-log, and how control records are printed. Must not depend on: files,
batches, the command line.

The JSON has Kafka's own form, on one line without spaces, so that the output of both tools can be compared. A record
that cannot be decoded is printed as an error and the dump continues, because logs that are dumped are often damaged.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

from kwire.coordinators.transaction.transaction import State
from kwire.errors import ProtocolViolation
from kwire.wire import codec
from kwire.wire.batches.records import Record
from kwire.wire.messages import (
    ConsumerProtocolAssignment,
    ConsumerProtocolSubscription,
    EndTxnMarker,
    KRaftVersionRecord,
    LeaderChangeMessage,
    SnapshotFooterRecord,
    SnapshotHeaderRecord,
    VotersRecord,
)
from kwire.wire.varint import read_unsigned_varint


class DecodedRecord(NamedTuple):
    """Key and payload as text; None is not printed."""

    key: str | None
    payload: str | None


class Decoder(Protocol):
    def __call__(self, record: Record) -> DecodedRecord: ...


# ---- values of any kind


def _as_text(content: bytes) -> str:
    return content.decode("utf-8", "replace")


def _as_number(byte_count: int) -> Callable[[bytes], str]:
    def show(content: bytes) -> str:
        if len(content) < byte_count:
            raise ValueError(f"{len(content)} bytes where a number of {byte_count} was expected")
        return str(int.from_bytes(content[:byte_count], "big", signed=True))

    return show


_PACKAGE: Final = "org.apache.kafka.tools.api."
TEXT_DECODER: Final = _PACKAGE + "StringDecoder"
# Kafka's DefaultDecoder returns an array, and Java prints its memory address; kwire prints the bytes in hexadecimal.
VALUE_DECODERS: Final[dict[str, Callable[[bytes], str]]] = {
    TEXT_DECODER: _as_text,
    _PACKAGE + "IntegerDecoder": _as_number(4),
    _PACKAGE + "LongDecoder": _as_number(8),
    _PACKAGE + "DefaultDecoder": bytes.hex,
}


def plain_decoder(key_class: str = TEXT_DECODER, value_class: str = TEXT_DECODER) -> Decoder:
    """Decode key and value separately. Raises ValueError for a class that is not one of Kafka's own."""
    for name in (key_class, value_class):
        if name not in VALUE_DECODERS:
            raise ValueError(
                f"{name}: custom decoders are Java classes and cannot be loaded here; "
                f"supported are {', '.join(VALUE_DECODERS)}"
            )
    show_key, show_value = VALUE_DECODERS[key_class], VALUE_DECODERS[value_class]

    def decode(record: Record) -> DecodedRecord:
        return DecodedRecord(
            None if record.key is None else show_key(record.key),
            None if record.value is None else show_value(record.value),
        )

    return decode


# ---- internal topics


def coordinator_decoder(family: str) -> Decoder:
    """Decode the records of a coordinator's topic; ``family`` is "group", "transaction" or "share"."""

    def decode(record: Record) -> DecodedRecord:
        if record.key is None:
            raise ValueError(
                f"Failed to decode message at offset {record.offset} using the specified decoder "
                "(message had a missing key)"
            )
        try:
            return _coordinator_record(family, record.key, record.value, record.offset)
        except ProtocolViolation as error:
            return DecodedRecord(f"Error at offset {record.offset}, skipping. {error}", None)

    return decode


def _coordinator_record(family: str, key: bytes, value: bytes | None, offset: int) -> DecodedRecord:
    record_type = _leading_int16(key)
    classes = codec.coordinator_classes(family, record_type)
    if classes is None:
        return DecodedRecord(f"Unknown record type {record_type} at offset {offset}, skipping.", None)
    key_class, value_class = classes
    key_json = codec.to_json(codec.decode(key_class, 0, key[2:]), 0)
    shown_key = _line({"type": str(record_type), "data": key_json})
    if value is None:
        return DecodedRecord(shown_key, "<DELETE>")
    version = _leading_int16(value)
    value_json = codec.to_json(codec.decode(value_class, version, value[2:]), version)
    if value_class.NAME == "GroupMetadataValue":
        _decode_members(value_json)
    if value_class.NAME == "TransactionLogValue":
        name_transaction_state(value_json)
    return DecodedRecord(shown_key, _line({"version": str(version), "data": value_json}))


def name_transaction_state(value: dict[str, Any]) -> None:
    """Show the state by its name, as the tools of Kafka 4.4 do; a number that is no state stays, as text."""
    status = value["transactionStatus"]
    try:
        value["transactionStatus"] = State(status).title
    except ValueError:
        value["transactionStatus"] = str(status)


_EMBEDDED: Final = (("subscription", ConsumerProtocolSubscription), ("assignment", ConsumerProtocolAssignment))


def _decode_members(group: dict[str, Any]) -> None:
    """Decode the subscription and assignment bytes of a classic group; other bytes stay base64."""
    if group.get("protocolType") != "consumer":
        return
    for member in group["members"]:
        for name, cls in _EMBEDDED:
            try:
                member[name] = _embedded_json(cls, base64.b64decode(member[name]))
            except (ProtocolViolation, ValueError):
                continue


def _embedded_json(cls: type[codec.Message], content: bytes) -> dict[str, Any]:
    version = _leading_int16(content)
    return codec.to_json(codec.decode(cls, version, content[2:]), version)


def metadata_decoder(record: Record) -> DecodedRecord:
    """Decode a record of the cluster metadata log: frame version, type and version as varints, then the body."""
    try:
        content = record.value or b""
        frame_version, position = read_unsigned_varint(content, 0)
        record_type, position = read_unsigned_varint(content, position)
        version, position = read_unsigned_varint(content, position)
        cls = codec.metadata_class(record_type)
        if frame_version != 1:
            return DecodedRecord(None, f"Error at {record.offset}, skipping. frame version {frame_version} is unknown")
        if cls is None:
            return DecodedRecord(None, f"Error at {record.offset}, skipping. Unknown metadata id {record_type}")
        body = codec.to_json(codec.decode(cls, version, content[position:]), version)
    except (ProtocolViolation, ValueError, IndexError) as error:
        return DecodedRecord(None, f"Error at {record.offset}, skipping. {error}")
    return DecodedRecord(None, _line({"type": _type_name(cls.NAME), "version": version, "data": body}))


def _type_name(class_name: str) -> str:
    """TopicRecord -> TOPIC_RECORD."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", class_name).upper()


# ---- control records

_KRAFT_CONTROLS: Final = {
    2: ("LeaderChange:", LeaderChangeMessage),
    3: ("SnapshotHeader", SnapshotHeaderRecord),
    4: ("SnapshotFooter", SnapshotFooterRecord),
    5: ("KRaftVersion", KRaftVersionRecord),
    6: ("KRaftVoters", VotersRecord),
}
_END_MARKERS: Final = {0: "ABORT", 1: "COMMIT"}


def show_control(record: Record) -> str:
    """Describe a control record. Raises ProtocolViolation, ValueError."""
    kind = _leading_int16((record.key or b"")[2:])
    value = record.value or b""
    if kind in _END_MARKERS:
        marker = codec.decode(EndTxnMarker, 0, value[2:])
        return f"endTxnMarker: {_END_MARKERS[kind]} coordinatorEpoch: {marker.coordinator_epoch}"
    if kind not in _KRAFT_CONTROLS:
        return f"controlType: UNKNOWN({kind})"
    name, cls = _KRAFT_CONTROLS[kind]
    # The first field of these messages is their version.
    version = _leading_int16(value)
    return f"{name} {_line(codec.to_json(codec.decode(cls, version, value), version))}"


def _leading_int16(content: bytes) -> int:
    if len(content) < 2:
        raise ProtocolViolation("too short for a version")
    return int.from_bytes(content[:2], "big", signed=True)


def _line(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
