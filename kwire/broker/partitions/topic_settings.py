"""The settings of a topic's partitions, made from its effective configs.

Responsible for: the translation, config by config. Must not depend on: where a value came from
(``metadata.configs.effective`` does).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kwire.broker.partitions.partition import TopicSettings
from kwire.broker.partitions.validate import RecordChecks, ValidationSettings
from kwire.limits import OPENED_BYTES_MAX, OPENED_BYTES_MIN, OPENED_FACTOR
from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.replication.throttle import throttled_partitions
from kwire.storage.config import LogConfig
from kwire.wire.batches.compression import Codec

if TYPE_CHECKING:  # a dictionary type with a key for each config takes time to make
    from kwire.metadata.configs.types import TopicValues


def topic_settings(configs: EffectiveConfigs, topic: str) -> TopicSettings:
    """The current settings of every partition of ``topic``."""
    values = configs.topic(topic)
    policies = values["cleanup.policy"]
    log_append_time = values["message.timestamp.type"] == "LogAppendTime"
    return TopicSettings(
        log=LogConfig(
            segment_bytes=values["internal.segment.bytes"] or values["segment.bytes"],
            segment_ms=values["segment.ms"],
            segment_jitter_ms=values["segment.jitter.ms"],
            segment_index_bytes=values["segment.index.bytes"],
            index_interval_bytes=values["index.interval.bytes"],
            preallocate=values["preallocate"],
            flush_messages=values["flush.messages"],
            flush_ms=values["flush.ms"],
            delete="delete" in policies,
            compact="compact" in policies,
            retention_ms=values["retention.ms"],
            retention_bytes=values["retention.bytes"],
            file_delete_delay_ms=values["file.delete.delay.ms"],
            delete_retention_ms=values["delete.retention.ms"],
            min_compaction_lag_ms=values["min.compaction.lag.ms"],
            max_compaction_lag_ms=values["max.compaction.lag.ms"],
            min_cleanable_dirty_ratio=values["min.cleanable.dirty.ratio"],
            log_append_time=log_append_time,
        ),
        validation=_validation(
            values,
            compacted="compact" in policies,
            log_append_time=log_append_time,
            record_checks=RecordChecks(configs.broker["kwire.record.checks"]),
        ),
        min_insync_replicas=values["min.insync.replicas"],
        throttled_as_leader=throttled_partitions(values["leader.replication.throttled.replicas"], configs.node_id),
        throttled_as_follower=throttled_partitions(values["follower.replication.throttled.replicas"], configs.node_id),
    )


def _validation(
    values: TopicValues, *, compacted: bool, log_append_time: bool, record_checks: RecordChecks
) -> ValidationSettings:
    name = values["compression.type"]
    codec = None if name == "producer" else Codec.NONE if name == "uncompressed" else Codec[name.upper()]
    return ValidationSettings(
        codec=codec,
        compression_level=_compression_level(values, codec),
        compacted=compacted,
        log_append_time=log_append_time,
        timestamp_before_max_ms=values["message.timestamp.before.max.ms"],
        timestamp_after_max_ms=values["message.timestamp.after.max.ms"],
        max_message_bytes=values["max.message.bytes"],
        opened_bytes_max=min(OPENED_BYTES_MAX, max(OPENED_BYTES_MIN, OPENED_FACTOR * values["max.message.bytes"])),
        record_bytes_max=values["max.decompressed.message.bytes"],
        record_checks=record_checks,
    )


def _compression_level(values: TopicValues, codec: Codec | None) -> int | None:
    match codec:
        case Codec.GZIP:
            return values["compression.gzip.level"]
        case Codec.LZ4:
            return values["compression.lz4.level"]
        case Codec.ZSTD:
            return values["compression.zstd.level"]
        case _:
            return None
