"""Formatters of kafka-console-consumer for records of the internal topics: one JSON object per record.

Responsible for: the formatters for offsets, group metadata and transactions. Must not depend on: the schemas
(``kwire.wire`` does).
"""

from __future__ import annotations

import json
from typing import Final, NamedTuple

from kwire.cli.dump.dump_decoders import name_transaction_state
from kwire.cli.records.lines import ConsumedRecord
from kwire.errors import ProtocolViolation
from kwire.wire.codec import coordinator_classes, decode, to_json

_OFFSET_COMMIT: Final = frozenset({0, 1})
_GROUP_METADATA: Final = frozenset({2})
_TRANSACTION: Final = frozenset({0})


class CoordinatorFormatter(NamedTuple):
    """Shows the records of ``family`` whose type is among ``types``, and passes over the rest."""

    family: str
    types: frozenset[int]

    def write(self, record: ConsumedRecord) -> bytes:
        if record.key is None or len(record.key) < 2:
            return b""
        record_type = int.from_bytes(record.key[:2], "big")
        classes = coordinator_classes(self.family, record_type)
        if record_type not in self.types or classes is None:
            return b""
        key_class, value_class = classes
        shown: dict[str, object] = {}
        try:
            key = decode(key_class, 0, memoryview(record.key)[2:])
            shown["key"] = {"type": record_type, "data": to_json(key, 0)}
            shown["value"] = None
            if record.value is not None:
                version = int.from_bytes(record.value[:2], "big")
                value = decode(value_class, version, memoryview(record.value)[2:])
                value_json = to_json(value, version)
                if value_class.NAME == "TransactionLogValue":
                    name_transaction_state(value_json)
                shown["value"] = {"version": version, "data": value_json}
        except ProtocolViolation:
            shown.setdefault("key", {"type": record_type, "data": "unknown"})
            shown["value"] = {"version": -1, "data": "unknown"}
        return json.dumps(shown, separators=(",", ":"), ensure_ascii=False).encode()


COORDINATOR_FORMATTERS: Final = {
    "OffsetsMessageFormatter": CoordinatorFormatter("group", _OFFSET_COMMIT),
    "GroupMetadataMessageFormatter": CoordinatorFormatter("group", _GROUP_METADATA),
    "TransactionLogMessageFormatter": CoordinatorFormatter("transaction", _TRANSACTION),
}
