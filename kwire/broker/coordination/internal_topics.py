"""The topics that the broker makes for itself.

Owns: with how many partitions and which configs each is created. May not know: who needs it, what is in it.
"""

from __future__ import annotations

from kwire import types
from kwire.metadata.controller import NewTopic
from kwire.metadata.effective import EffectiveConfigs


def new_topic(name: str, configs: EffectiveConfigs) -> NewTopic:
    """``name`` as the broker creates it unasked: an internal topic as its settings say, any other by the defaults."""
    match name:
        case types.OFFSETS_TOPIC:
            return NewTopic(
                name,
                partitions=configs.broker["offsets.topic.num.partitions"],
                replication_factor=configs.broker["offsets.topic.replication.factor"],
                configs={
                    "segment.bytes": str(configs.broker["offsets.topic.segment.bytes"]),
                    "cleanup.policy": "compact",
                    "compression.type": "producer",
                },
            )
        case types.TRANSACTION_TOPIC:
            return NewTopic(
                name,
                partitions=configs.broker["transaction.state.log.num.partitions"],
                replication_factor=configs.broker["transaction.state.log.replication.factor"],
                configs={
                    "segment.bytes": str(configs.broker["transaction.state.log.segment.bytes"]),
                    "cleanup.policy": "compact",
                    "compression.type": "uncompressed",
                    "unclean.leader.election.enable": "false",
                    "min.insync.replicas": str(configs.broker["transaction.state.log.min.isr"]),
                },
            )
        case types.SHARE_STATE_TOPIC:
            return NewTopic(
                name,
                partitions=configs.broker["share.coordinator.state.topic.num.partitions"],
                replication_factor=configs.broker["share.coordinator.state.topic.replication.factor"],
                configs={
                    "segment.bytes": str(configs.broker["share.coordinator.state.topic.segment.bytes"]),
                    "cleanup.policy": "delete",
                    "compression.type": "producer",
                    "retention.ms": "-1",
                    "min.insync.replicas": str(configs.broker["share.coordinator.state.topic.min.isr"]),
                },
            )
        case _:
            return NewTopic(name)
