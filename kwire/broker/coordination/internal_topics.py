"""The topics that the broker makes for itself.

Owns: with how many partitions and which configs each is created. May not know: who needs it, what is in it.
"""

from __future__ import annotations

from typing import cast

from kwire.metadata.controller import NewTopic
from kwire.metadata.effective import EffectiveConfigs
from kwire.types import OFFSETS_TOPIC, SHARE_STATE_TOPIC, TRANSACTION_TOPIC


def new_topic(name: str, configs: EffectiveConfigs) -> NewTopic:
    """``name`` as the broker creates it unasked: an internal topic as its settings say, any other by the defaults."""
    prefix = _SETTINGS.get(name)
    if prefix is None:
        return NewTopic(name)
    own = {"segment.bytes": str(configs.broker(f"{prefix}.segment.bytes")), **_CONFIGS[name]}
    if name != OFFSETS_TOPIC:
        own["min.insync.replicas"] = str(configs.broker(f"{prefix}.min.isr"))
    return NewTopic(
        name,
        partitions=cast("int", configs.broker(f"{prefix}.num.partitions")),
        replication_factor=cast("int", configs.broker(f"{prefix}.replication.factor")),
        configs=own,
    )


_SETTINGS = {
    OFFSETS_TOPIC: "offsets.topic",
    TRANSACTION_TOPIC: "transaction.state.log",
    SHARE_STATE_TOPIC: "share.coordinator.state.topic",
}
_CONFIGS = {
    OFFSETS_TOPIC: {"cleanup.policy": "compact", "compression.type": "producer"},
    TRANSACTION_TOPIC: {
        "cleanup.policy": "compact",
        "compression.type": "uncompressed",
        "unclean.leader.election.enable": "false",
    },
    SHARE_STATE_TOPIC: {"cleanup.policy": "delete", "compression.type": "producer", "retention.ms": "-1"},
}
