"""The state of a cluster of processes as a whole: what the data directories of its nodes hold.

Responsible for: emptying, copying and replacing these directories. Must not depend on: running nodes; the caller halts
or ends them first.

    FOLDER/snapshots/NAME/
      controller-100/, broker-1/, ...      what the data directory of each node held
"""

from __future__ import annotations

import shutil
import time
import urllib.parse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from kwire.broker.controller.metadata_format import Identity, format_if_new
from kwire.broker.controller.metadata_replay import MetadataReplay
from kwire.broker.steps import run_at_once
from kwire.control.state import StateError
from kwire.metadata.cluster.leadership import fence
from kwire.metadata.cluster.partition_changes import PartitionChanges
from kwire.metadata.configs.effective import BrokerSettings, EffectiveConfigs
from kwire.metadata.image import MetadataImage
from kwire.metadata.log.log_format import data_batch
from kwire.metadata.log.snapshot import snapshot_records
from kwire.storage import checkpoints
from kwire.storage.config import LogConfig
from kwire.storage.log import Log
from kwire.storage.os_files import OsFiles
from kwire.testing.clusters.local_cluster import LocalCluster
from kwire.testing.clusters.nodes import CONTROLLERS
from kwire.types import METADATA_TOPIC, METADATA_TOPIC_ID, uuid_from_text
from kwire.wire.batches.batch import read_batch_header
from kwire.wire.message import Message
from kwire.wire.messages import ProducerIdsRecord, UserScramCredentialRecord

_LOCK: Final = ".lock"
_SUFFIX: Final = ".snapshot"  # so that no name is "." or ".."


def clear(cluster: LocalCluster) -> None:
    """Remove all that the nodes have, except their identities and super users.

    Producer ids are not given out a second time.
    """
    kept = _kept_records(cluster)
    for node in cluster.nodes:
        data = cluster.data(node)
        for path in list(data.iterdir()) if data.exists() else ():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != checkpoints.META_PROPERTIES:
                path.unlink()
    if kept:
        _format_controller(cluster, kept)


def copy_data(cluster: LocalCluster, target: Path) -> None:
    """Copy what each node has to ``target``, a folder that does not exist. Nothing may write meanwhile."""
    target.mkdir(parents=True)
    for node in cluster.nodes:
        shutil.copytree(cluster.data(node), target / node.folder_name, ignore=shutil.ignore_patterns(_LOCK))


def replace_data(cluster: LocalCluster, source: Path) -> None:
    """Give each node what ``copy_data`` has copied. The nodes must not run."""
    for node in cluster.nodes:
        data = cluster.data(node)
        shutil.rmtree(data, ignore_errors=True)
        shutil.copytree(source / node.folder_name, data)
    end_sessions(cluster)


def snapshot_folder(cluster: LocalCluster, name: str) -> Path:
    """Where a snapshot of that name is kept. Raises StateError for a name that is empty."""
    if not name:
        raise StateError("a snapshot needs a name")
    return cluster.folder / "snapshots" / (urllib.parse.quote(name, safe="") + _SUFFIX)


def snapshot_names(cluster: LocalCluster) -> list[str]:
    """Give the names of the snapshots that there are."""
    folder = cluster.folder / "snapshots"
    found = folder.iterdir() if folder.exists() else ()
    return sorted(urllib.parse.unquote(path.name.removesuffix(_SUFFIX)) for path in found if path.suffix == _SUFFIX)


def check_nodes(cluster: LocalCluster, source: Path) -> None:
    """Raise StateError if ``source`` is not a copy of a cluster with these nodes."""
    missing = [node.name for node in cluster.nodes if not (source / node.folder_name).is_dir()]
    if missing:
        raise StateError(f"{source} has no copy of {', '.join(missing)}")


def end_sessions(cluster: LocalCluster) -> None:
    """Record in the controller's log that every broker is fenced, so that brokers need not wait to register again.

    The controller would give each broker of its log ``broker.session.timeout.ms`` to come back, and refuse another
    process with its id meanwhile. Leaders leave the in-sync sets last, since only they have all records of acks=1; they
    lead again when they return.
    """
    opened = open_metadata(cluster)
    if opened is None:
        return
    image, log = opened
    controller = cluster.controller
    configs = EffectiveConfigs(image, BrokerSettings(cluster.own_settings(controller)), node_id=controller.id)
    _append(image, log, list(_leaders_alone(image, configs)))
    for broker in list(image.brokers.values()):
        if not broker.fenced:
            _append(image, log, fence(image, configs, broker))
    log.close()


def _leaders_alone(image: MetadataImage, configs: EffectiveConfigs) -> Iterator[Message]:
    """Take every replica but the leader out of the in-sync sets."""
    changes = PartitionChanges(image, configs)
    for topic in image.topics.values():
        for partition in topic.partitions:
            if partition.leader in partition.isr:
                record = changes.change(topic.name, partition, isr=[partition.leader])
                if record is not None:
                    yield record


def _kept_records(cluster: LocalCluster) -> list[Message]:
    """Read from the controller's files which producer id is the next, and how super users log in."""
    opened = open_metadata(cluster)
    if opened is None:
        return []
    image, log = opened
    log.close()
    users = set(cluster.super_users)
    kept: list[Message] = [
        record
        for record in snapshot_records(image)
        if isinstance(record, UserScramCredentialRecord) and record.name in users
    ]
    if image.next_producer_id:
        kept.append(ProducerIdsRecord(broker_id=-1, broker_epoch=-1, next_producer_id=image.next_producer_id))
    return kept


def open_metadata(cluster: LocalCluster) -> tuple[MetadataImage, Log] | None:
    """Open and replay the controller's log; None where there is none yet."""
    directory = str(cluster.data(cluster.controller) / f"{METADATA_TOPIC}-0")
    files = OsFiles()
    if not files.sizes(directory):
        return None
    loaded = MetadataReplay(files, directory)
    run_at_once(loaded.load_snapshot())
    log = Log.open(
        files,
        directory,
        LogConfig(),
        now_ms=_now_ms(),
        log_start_offset=loaded.snapshot.offset,
        clean=False,
        same_boot=True,
        topic_id=METADATA_TOPIC_ID,
    )
    run_at_once(loaded.replay(log))
    return loaded.image, log


def _append(image: MetadataImage, log: Log, records: Sequence[Message]) -> None:
    """Append records to the log, and apply them to the image."""
    if not records:
        return
    now_ms, epoch = _now_ms(), log.latest_epoch
    batch = memoryview(data_batch(records, image.metadata_version, offset=log.end_offset, epoch=epoch, now_ms=now_ms))
    header = read_batch_header(batch)
    log.append(batch, [header], leader_epoch=epoch, now_ms=now_ms, assign_offsets=False, check_sequence=False)
    image.apply(records)


def _now_ms() -> int:
    return int(time.time() * 1000)


def _format_controller(cluster: LocalCluster, records: Sequence[Message]) -> None:
    """Format the controller's directory, so that its metadata log begins with these records."""
    node = cluster.controller
    files, data = OsFiles(), str(cluster.data(node))
    properties = checkpoints.read_properties(files.read_bytes(f"{data}/{checkpoints.META_PROPERTIES}"))
    assert properties is not None
    identity = Identity(node.id, uuid_from_text(properties["directory.id"]), CONTROLLERS, "localhost", node.port)
    format_if_new(files, data, identity, _now_ms(), users=records)
