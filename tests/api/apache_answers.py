"""Answers in a form in which two brokers can be compared: what differs by nature is blotted out, and all order."""

import re

from kwire.wire.message import Message

# Fields that differ between any two brokers, or two runs of one.
_VARY = {
    "topic_id",
    "replica_directory_id",
    "port",
    "log_end_offset",
    "high_watermark",
    "last_fetch_timestamp",
    "last_caught_up_timestamp",
    "total_bytes",
    "usable_bytes",
    "leader_epoch",
    "log_dir",
    "cluster_id",
}
_UNSET = {bytes(16), -1, ""}
_DIRECTORY_ID = re.compile(r"directoryId=[\w-]{22}")
_CLUSTER_ID = re.compile(r'cluster id "[\w-]{22}"')


def comparable(value, field=""):
    if isinstance(value, Message):
        return {name: comparable(getattr(value, name), name) for name in value.__slots__}
    if isinstance(value, list):
        return _list([comparable(item) for item in value], field)
    if field in _VARY:
        return "unset" if value in _UNSET else "set"
    if field == "documentation":
        return None  # Apache's words, which we do not repeat
    if isinstance(value, str):
        return _CLUSTER_ID.sub("cluster id", _DIRECTORY_ID.sub("directoryId", value))
    return value.hex() if isinstance(value, bytes) else value


def _list(items, field):
    if field == "configs":
        # kwire's own configs stand beside Kafka's.
        return {item["name"]: item for item in items if not item["name"].startswith("kwire.")}
    return items if field == "synonyms" else sorted(items, key=repr)


def new_ids(response):
    """Ids of the topics that a response tells."""
    topics = getattr(response, "topics", [])
    return {
        topic.name: topic.topic_id for topic in topics if hasattr(topic, "topic_id") and topic.topic_id != bytes(16)
    }
