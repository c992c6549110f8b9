"""What may differ between two brokers that answer alike: ids, times, ports, and the order of what has none."""

import base64
import re
import time
from typing import Any

from kwire.errors import KafkaError
from kwire.wire.batches import batch as batches
from kwire.wire.batches.records import read_records

NO_ID = "AAAAAAAAAAAAAAAAAAAAAA"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
KAFKA_UUID = re.compile(r"(?<![\w/+-])[A-Za-z0-9_-]{22}(?![\w/+-])")
# Fields whose values are made up by the broker; the first one seen is number 1, so that equal stays equal.
MADE_UP = {
    "topicId", "clusterId", "producerId", "sessionId", "memberId", "leader", "members", "directoryId", "topicIds",
    "incarnationId", "tokenId", "hmac",
}  # fmt: skip
# Fields that measure this broker, not its answer.
MEASURED = {
    "port": "a port", "totalBytes": "bytes", "usableBytes": "bytes", "logDir": "a folder", "brokerEpoch": "an epoch",
    "finalizedFeaturesEpoch": "an epoch", "offsetLag": None, "clientInstanceId": "an id",
}  # fmt: skip
# In DescribeQuorum they count the records of the cluster's own log.
QUORUM = {"highWatermark": "an offset", "logEndOffset": "an offset", "leaderEpoch": "an epoch"}
OWNED_BY = ("name", "groupId", "transactionalId", "topicName", "resourceName", "topic", "user")
SORTED_BY = (
    "name", "topicName", "topic", "groupId", "configName", "configKey", "partitionIndex", "index", "partition",
    "resourceType", "resourceName", "feature", "apiKey", "transactionalId", "user", "memberId", "logDir", "nodeId",
    "brokerId", "errorCode", "entityType", "mechanism", "key", "principal", "operation", "permissionType", "host",
)  # fmt: skip
# In these the order is part of the answer; in the others it is that of a hash table, or has no meaning.
ORDERED_APIS = {
    "Fetch",
    "DescribeTopicPartitions",
    "FindCoordinator",
    "ShareFetch",
    "ShareAcknowledge",
    "DescribeQuorum",
}


class Normalizer:
    """One per story and broker: the numbering of made-up values spans all its answers."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, Any], str] = {}

    def known_id(self, topic_id: str, name: str) -> None:
        self._names["id", topic_id] = f"id of {name}"

    def normal(self, answer: Any, api: str, own_prefix: str | None = None) -> Any:
        return self._value(answer, "", api, own_prefix)

    def _value(self, value: Any, key: str, api: str, own: str | None) -> Any:
        if isinstance(value, dict):
            return {name: self._field(item, name, api, own) for name, item in value.items()}
        if isinstance(value, list):
            items = [item for item in value if not self._is_foreign(item, own)]
            if api == "DescribeConfigs":  # kwire's own configs, which it lists beside Kafka's
                items = (
                    [item for item in items if not str(item["name"]).startswith("kwire.")]
                    if key == "configs"
                    else items
                )
            if api not in ORDERED_APIS and items and isinstance(items[0], dict):
                items.sort(key=self._order)
            if api == "DescribeTransactions" and items and isinstance(items[0], int):
                items.sort()
            return [self._field(item, key, api, own) for item in items]
        return value

    def _field(self, value: Any, key: str, api: str, own: str | None) -> Any:  # noqa: PLR0911 - one rule a line
        if isinstance(value, (dict, list)):
            return self._value(value, key, api, own)
        if key == "records" and isinstance(value, str):
            return self.batches(base64.b64decode(value))
        if key in ("metadata", "assignment", "protocolMetadata", "memberMetadata", "memberAssignment"):
            return value
        if key in MEASURED and value not in (None, -1, ""):
            return MEASURED[key] if MEASURED[key] is not None else value
        if api == "DescribeQuorum" and key in QUORUM and isinstance(value, int) and value > 0:
            return QUORUM[key]
        if key in MADE_UP and value not in (None, "", -1, 0, NO_ID):
            return self._made_up(key, value)
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, (int, float)) and abs(value - time.time() * 1000) < 3_600_000:
            return "now"
        return self._text(value) if isinstance(value, str) else value

    def _made_up(self, key: str, value: Any) -> Any:
        if isinstance(value, str) and UUID.search(value):
            return self._text(value)
        kind = "id" if key in ("topicId", "topicIds") else key
        return self._names.setdefault((kind, value), f"{kind} {sum(k == kind for k, _ in self._names) + 1}")

    def _text(self, text: str) -> str:
        text = UUID.sub(
            lambda found: self._names.setdefault(("uuid", found[0]), f"<uuid {self._count('uuid') + 1}>"), text
        )
        text = re.sub(r"localhost[:/]\S*\d{4,5}", "localhost:<port>", text)
        text = re.sub(r"-?\b\d{13,19}\b", "<time>", text)
        text = KAFKA_UUID.sub(lambda found: found[0] if found[0] == NO_ID else "<id>", text)
        for (kind, value), name in self._names.items():
            if kind in ("id", "producerId", "memberId") and len(str(value)) > 3:
                text = text.replace(str(value), f"<{name}>")
        return text

    def _count(self, kind: str) -> int:
        return sum(known == kind for known, _ in self._names)

    def _order(self, item: Any) -> str:
        if not isinstance(item, dict):
            return str(item)
        if "issueTimestamp" in item:  # a delegation token
            return f"{item['principalName']}|{item['issueTimestamp']}"
        if "producerId" in item:
            known = self._names.get(("producerId", item["producerId"]))
            return f"{item['producerId']:>20}" if known is None else known
        keys = [(key, item[key]) for key in SORTED_BY if key in item]
        if "topicId" in item and not item.get("name"):
            return self._id_order(item)
        if not keys or keys == [("errorCode", item.get("errorCode"))]:
            return _canonical(item)
        texts = [f"{value:>12}" if isinstance(value, int) else self._known(str(value)) for _, value in keys]
        return "|".join([*texts, self._id_order(item)])

    def _id_order(self, item: dict[str, Any]) -> str:
        """No topic id comes first, then the ids in the order in which they were first seen, then new ones."""
        topic_id = item.get("topicId", NO_ID)
        return "" if topic_id == NO_ID else self._names.get(("id", topic_id), "~")

    def _known(self, text: str) -> str:
        """A made-up id sorts by when it was first seen; Apache Kafka's ids of members are not always UUIDs."""
        if ("memberId", text) in self._names:
            return self._names["memberId", text]
        return UUID.sub(lambda found: self._names.get(("uuid", found[0]), ""), text)

    def _is_foreign(self, item: Any, own: str | None) -> bool:
        """Of a listing of everything, only what the story made is compared."""
        if own is None:
            return False
        if isinstance(item, str):
            return not item.startswith(own)
        names = [item[key] for key in OWNED_BY if isinstance(item, dict) and key in item]
        return bool(names) and not any(str(name).startswith(own) for name in names)

    def batches(self, raw: bytes) -> Any:
        """Stored batches, header by header and record by record; a cut last one as its size."""
        found: list[Any] = []
        position = 0
        view = memoryview(raw)
        while len(raw) - position >= batches.HEADER_BYTES:
            header = batches.read_batch_header(view, position)
            size = header.size_bytes
            if size > len(raw) - position:
                break
            fields = {name: self._field(value, name, "", None) for name, value in header._asdict().items()}
            fields = {name: self._batch_field(name, value) for name, value in fields.items()}
            whole = view[position : position + size]
            made_here = header.producer_id >= 0 or header.is_log_append_time or header.is_control
            if made_here:
                fields["crc"] = "made here"
                fields["records"] = _records(whole)
            else:
                fields["bytes"] = raw[position + 21 : position + size].hex()
                if header.codec:
                    fields["records"] = _records(whole)
            found.append(fields)
            position += size
        if position < len(raw):
            found.append({"cut batch": "bytes"})
        return found

    def _batch_field(self, name: str, value: Any) -> Any:
        if name == "producer_id" and isinstance(value, int) and value >= 0:
            return self._made_up("producerId", value)
        return value


def _records(batch: memoryview) -> Any:
    try:
        return [_record(record) for record in read_records(batch)]
    except KafkaError:
        return "unreadable"


def _record(record: Any) -> list[Any]:
    timestamp = "now" if abs(record.timestamp_ms - time.time() * 1000) < 3_600_000 else record.timestamp_ms
    key = record.key.hex() if record.key is not None else None
    value = record.value.hex() if record.value is not None else None
    return [
        record.offset,
        timestamp,
        key,
        value,
        [[name, v.hex() if v is not None else None] for name, v in record.headers],
    ]


def _canonical(value: Any) -> str:
    """A text of the value in which no order of a list or dict shows."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_canonical(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(sorted(map(_canonical, value))) + "]"
    return repr(value)


def differences(apache: Any, other: Any, path: str = "") -> list[str]:
    """Each as `path: Apache Kafka's value, the other's value`."""
    if isinstance(apache, dict) and isinstance(other, dict):
        found: list[str] = []
        for key in [*apache, *(key for key in other if key not in apache)]:
            if key not in other or key not in apache:
                found.append(f"{path}.{key}: {_brief(apache.get(key, 'absent'))} / {_brief(other.get(key, 'absent'))}")
            else:
                found += differences(apache[key], other[key], f"{path}.{key}")
        return found
    if isinstance(apache, list) and isinstance(other, list) and len(apache) == len(other):
        return [
            line
            for n, (one, two) in enumerate(zip(apache, other, strict=True))
            for line in differences(one, two, f"{path}[{n}]")
        ]
    return [] if apache == other else [f"{path}: {_brief(apache)} / {_brief(other)}"]


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 240 else text[:150] + " ... " + text[-80:]
