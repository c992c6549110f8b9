"""The embedded controller's door: every command that changes metadata, one function each.

Owns: nothing; it names what the files beside it offer. A command takes the image and plain values and gives a
``Decision``: records to append to the metadata log, and one result or refusal for each item.
"""

from __future__ import annotations

from kwire.metadata.decision import DONE, Decision, Outcome
from kwire.metadata.topics import (
    USE_DEFAULT,
    Created,
    NewPartitions,
    NewTopic,
    create_partitions,
    create_topics,
    delete_topics,
)

__all__ = [
    "DONE",
    "USE_DEFAULT",
    "Created",
    "Decision",
    "NewPartitions",
    "NewTopic",
    "Outcome",
    "create_partitions",
    "create_topics",
    "delete_topics",
]
