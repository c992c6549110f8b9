"""The file ``partition.metadata``: to which topic a partition's directory belongs.

Responsible for: reading the topic id, and replacing a damaged file. Must not depend on: the metadata image.
"""

from __future__ import annotations

from typing import Final

from kwire.broker.directories.log_dirs import LogDir
from kwire.broker.logs import Logger
from kwire.storage import checkpoints
from kwire.types import Uuid, uuid_text

log = Logger("kwire.broker")

# Two ids of 22 characters that are alike in all but this many are one id, damaged.
_DAMAGED_CHARACTERS_MAX: Final = 2


def topic_id_in(one: LogDir, path: str) -> Uuid | None:
    """Return the topic id that a partition's directory has; None without one. Raises StorageFailure."""
    return checkpoints.read_partition_metadata(one.files.read_bytes(f"{path}/{checkpoints.PARTITION_METADATA}"))


def is_of_topic(one: LogDir, path: str, topic_id: Uuid) -> bool:
    """Whether a partition's directory is that of the topic with this id. A damaged file is replaced.

    Raises StorageFailure.
    """
    file = f"{path}/{checkpoints.PARTITION_METADATA}"
    content = one.files.read_bytes(file)
    found = checkpoints.read_partition_metadata(content)
    if content is None or found == topic_id:
        return True
    if found is None or _differs_by_damage(found, topic_id):
        log.warning("damaged file replaced: the topic id is that of the metadata log", path=file)
        one.files.write_bytes(file, checkpoints.write_partition_metadata(topic_id), durable=False)
        return True
    return False


def _differs_by_damage(topic_id: Uuid, known: Uuid) -> bool:
    """Whether two ids differ in so few characters that one is the other with a damaged byte: ids are random."""
    pairs = zip(uuid_text(topic_id), uuid_text(known), strict=True)
    return sum(one != other for one, other in pairs) <= _DAMAGED_CHARACTERS_MAX
