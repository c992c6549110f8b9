"""Partitions on files in memory without a broker: for what receives single parts of it."""

from __future__ import annotations

from kwire.broker.background.file_remover import FileRemover
from kwire.broker.clock import Clock
from kwire.broker.directories.log_dirs import LogDirs
from kwire.broker.partitions.cluster_view import ClusterView
from kwire.broker.partitions.flusher import Flusher
from kwire.broker.partitions.partition import Partition
from kwire.broker.partitions.partitions import Partitions
from kwire.broker.storage_failures import StorageFailures
from kwire.metadata.configs.effective import BrokerSettings, EffectiveConfigs
from kwire.metadata.image import MetadataImage
from kwire.testing.memory.files import MemoryFiles
from kwire.wire.batches.batch import read_batch_header
from kwire.wire.batches.records import Record, build_batch, read_records
from kwire.wire.messages import ConfigRecord, PartitionRecord, TopicRecord

NODE_ID = 1
TOPIC_RESOURCE = 2


class LogParts:
    """The parts that moves, cleaner and housekeeping share; ``create`` makes a topic of one partition."""

    def __init__(
        self, *, log_dirs: tuple[str, ...] = ("a",), files: MemoryFiles | None = None, **settings: str
    ) -> None:
        self.files = MemoryFiles()
        self.clock = Clock()
        self.image = MetadataImage()
        texts = {key.replace("_", "."): value for key, value in settings.items()}
        self.configs = EffectiveConfigs(self.image, BrokerSettings(texts), NODE_ID)
        self.dirs = LogDirs.open(self.files, log_dirs, node_id=NODE_ID, cluster_id="c", clock=self.clock)
        self.storage_failures = StorageFailures(self.clock)
        self.file_remover = FileRemover(files=self.files, clock=self.clock, storage_failures=self.storage_failures)
        self.flusher = Flusher(self.clock, self.dirs)
        self.partitions = Partitions(
            cluster=ClusterView.of_one(1),
            node_id=NODE_ID,
            image=self.image,
            configs=self.configs,
            dirs=self.dirs,
            clock=self.clock,
            remove_later=self.file_remover.remove_when_due,
            flush=self.flusher.flush,
        )

    def create(self, topic: str, **configs: str) -> Partition:
        topic_id = topic.encode().rjust(16, b"-")
        records = [
            TopicRecord(name=topic, topic_id=topic_id),
            *(
                ConfigRecord(resource_type=TOPIC_RESOURCE, resource_name=topic, name=key.replace("_", "."), value=value)
                for key, value in configs.items()
            ),
            PartitionRecord(partition_id=0, topic_id=topic_id, replicas=[NODE_ID], isr=[NODE_ID], leader=NODE_ID),
        ]
        self.partitions.on_metadata_delta(self.image.apply(records))
        return self.partitions.get(topic, 0)


def append(partition: Partition, *keys: bytes, size: int = 10) -> None:
    """Append one batch for each key, timestamped in 1970."""
    for key in keys:
        batch = memoryview(build_batch([Record(0, 1, key, bytes(size))]))
        partition.append(batch, read_batch_header(batch), acks=-1)


def offsets(partition: Partition) -> list[int]:
    log = partition.log
    return [read_batch_header(batch).base_offset for batch in log.read_batches(log.log_start_offset)]


def keys(partition: Partition) -> list[bytes | None]:
    log = partition.log
    return [
        record.key for batch in log.read_batches(log.log_start_offset) for record in read_records(memoryview(batch))
    ]
