"""What a data directory holds before its first start, as ``kafka-storage format --standalone`` lays it out.

Responsible for: ``bootstrap.checkpoint`` (the initial feature levels and users), the snapshot at offset 0 that has the
voters, and the first records of the log that are made from them. Must not depend on: the log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from kwire.metadata import features
from kwire.metadata.cluster.nodes import bootstrap_records
from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.metadata.image import MetadataImage, Record
from kwire.metadata.log.log_format import (
    BOOTSTRAP,
    Quorum,
    SnapshotId,
    data_batch,
    read_snapshot,
    stamped,
    write_snapshot,
)
from kwire.storage.files import Files
from kwire.types import METADATA_TOPIC, Uuid
from kwire.wire.message import Message
from kwire.wire.messages import (
    BeginTransactionRecord,
    EndTransactionRecord,
    FeatureLevelRecord,
    VotersRecord,
)

_CONTROLLER_PORT = 9093


class Identity(NamedTuple):
    """The voter of the log, and the address of its controller, which only other voters would use."""

    node_id: int
    directory_id: Uuid
    controller_listener: str
    controller_host: str
    controller_port: int


def format_if_new(
    files: Files,
    directory: str,
    identity: Identity,
    now_ms: int,
    *,
    levels: Mapping[str, int] | None = None,
    users: Sequence[Message] = (),
) -> Quorum | None:
    """Format a directory that is not formatted, by default with the served levels. Returns its quorum, None if it was.

    ``users`` are UserScramCredentialRecords for the first start (KIP-900).
    """
    path = f"{directory}/{METADATA_TOPIC}-0"
    if files.sizes(path) or files.read_bytes(f"{directory}/{BOOTSTRAP}") is not None:
        return None
    levels = levels or features.bootstrap_levels()
    bootstrap = _bootstrap_snapshot(levels, users) if users else _levels_snapshot(tuple(levels.items()))
    files.make_directory(path)
    quorum = Quorum(features.SERVED[features.KRAFT_VERSION].highest, _own_vote(identity))
    voters = write_snapshot([], quorum, metadata_version=0, epoch=0, now_ms=now_ms, last_timestamp_ms=now_ms)
    # The voters first: a directory that has a bootstrap file counts as formatted.
    files.write_bytes(f"{path}/{SnapshotId(0, 0).file_name}", b"".join(voters), durable=True)
    files.write_bytes(f"{directory}/{BOOTSTRAP}", b"".join(stamped(batch, now_ms) for batch in bootstrap), durable=True)
    return quorum


def _bootstrap_snapshot(levels: Mapping[str, int], users: Sequence[Message]) -> Sequence[bytes]:
    """Return the batches of ``bootstrap.checkpoint`` with timestamp 0."""
    records = [*(FeatureLevelRecord(name=name, feature_level=level) for name, level in levels.items()), *users]
    level = levels[features.METADATA_VERSION]
    return list(
        write_snapshot(records, Quorum(0, None), metadata_version=level, epoch=0, now_ms=0, last_timestamp_ms=0)
    )


@lru_cache(maxsize=4)  # a test has many brokers, or resets one, with the same levels
def _levels_snapshot(levels: tuple[tuple[str, int], ...]) -> Sequence[bytes]:
    return _bootstrap_snapshot(dict(levels), ())


@lru_cache(maxsize=4)
def bootstrap_transaction(
    levels: tuple[tuple[str, int], ...], min_insync_replicas: int
) -> tuple[Sequence[Record], bytes]:
    """Return the first records of a new cluster, and the batch that frames them; its timestamp is 0."""
    records = bootstrap_records(dict(levels), min_insync_replicas=min_insync_replicas)
    return records, framed_batch(records, dict(levels))


def framed_batch(records: Sequence[Record], levels: Mapping[str, int]) -> bytes:
    """Return the batch that has the first records as one transaction; its timestamp is 0."""
    framed = [BeginTransactionRecord(name="Bootstrap records"), *records, EndTransactionRecord()]
    return data_batch(framed, levels.get(features.METADATA_VERSION, 0), offset=0, epoch=0, now_ms=0)


def formatted(files: Files, directory: str) -> tuple[dict[str, int], list[Record]]:
    """Read what a directory was formatted with: feature levels, and other records, which are its first users.

    Levels are capped by what is served: no more is ever finalized.
    """
    path = f"{directory}/{BOOTSTRAP}"
    content = files.read_bytes(path)
    if content is None:
        return features.bootstrap_levels(), []
    records = read_snapshot(path, content).records
    chosen = MetadataImage()
    chosen.apply(records)
    levels = {
        name: min(level, features.SERVED[name].highest)
        for name, level in chosen.features.items()
        if name in features.SERVED
    }
    return levels, [record for record in records if not isinstance(record, FeatureLevelRecord)]


def controller_endpoint(configs: EffectiveConfigs) -> tuple[str, str, int]:
    """Find listener name, host and port of the controller that a KRaft configuration names, or Kafka's usual ones."""
    name = configs.broker["controller.listener.names"][0]
    node_id = configs.node_id
    for listener in (*(configs.broker["advertised.listeners"] or ()), *configs.broker["listeners"]):
        listener_name, _, address = listener.partition("://")
        if listener_name == name:
            return name, *_host_and_port(address)
    for voter in configs.broker["controller.quorum.voters"]:
        voter_id, _, address = voter.partition("@")
        if voter_id == str(node_id):
            return name, *_host_and_port(address)
    for address in configs.broker["controller.quorum.bootstrap.servers"]:
        return name, *_host_and_port(address)
    return name, "localhost", _CONTROLLER_PORT


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]") or "localhost", int(port)


def _own_vote(identity: Identity) -> VotersRecord:
    return VotersRecord(
        voters=[
            VotersRecord.Voter(
                voter_id=identity.node_id,
                voter_directory_id=identity.directory_id,
                endpoints=[
                    VotersRecord.Endpoint(
                        name=identity.controller_listener,
                        host=identity.controller_host,
                        port=identity.controller_port,
                    )
                ],
                kraft_version_feature=VotersRecord.KRaftVersionFeature(
                    max_supported_version=features.SERVED[features.KRAFT_VERSION].highest
                ),
            )
        ]
    )
