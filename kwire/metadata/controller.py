"""The embedded controller's door: every command that changes metadata, one function each.

Owns: nothing; it names what the files beside it offer. A command takes the image and plain values and gives a
``Decision``: records to append to the metadata log, and one result or refusal for each item.
"""

from __future__ import annotations

from kwire.metadata.alter_configs import ConfigChange, Operation, alter_configs, alter_configs_incrementally
from kwire.metadata.credentials import (
    QuotaChange,
    ScramDeletion,
    ScramUpsertion,
    alter_client_quotas,
    alter_scram_credentials,
)
from kwire.metadata.decision import DONE, Decision, Outcome
from kwire.metadata.elections import Reassignment, alter_reassignments, elect_leaders
from kwire.metadata.nodes import (
    Registration,
    assign_directories,
    register_broker,
    reserve_producer_ids,
    stop_broker,
    unregister_broker,
)
from kwire.metadata.topics import (
    USE_DEFAULT,
    Created,
    NewPartitions,
    NewTopic,
    create_partitions,
    create_topics,
    delete_topics,
)
from kwire.metadata.update_features import FeatureUpdate, UpgradeType, update_features

__all__ = [
    "DONE",
    "USE_DEFAULT",
    "ConfigChange",
    "Created",
    "Decision",
    "FeatureUpdate",
    "NewPartitions",
    "NewTopic",
    "Operation",
    "Outcome",
    "QuotaChange",
    "Reassignment",
    "Registration",
    "ScramDeletion",
    "ScramUpsertion",
    "UpgradeType",
    "alter_client_quotas",
    "alter_configs",
    "alter_configs_incrementally",
    "alter_reassignments",
    "alter_scram_credentials",
    "assign_directories",
    "create_partitions",
    "create_topics",
    "delete_topics",
    "elect_leaders",
    "register_broker",
    "reserve_producer_ids",
    "stop_broker",
    "unregister_broker",
    "update_features",
]
