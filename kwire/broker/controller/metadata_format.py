"""What a data directory holds before its first start, as ``kafka-storage format --standalone`` lays it out.

Responsible for: ``bootstrap.checkpoint`` (the initial feature levels and users) and the snapshot at offset 0 that has
the voters. Must not depend on: the log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from kwire.metadata import features
from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.metadata.image import MetadataImage, Record
from kwire.metadata.log.log_format import BOOTSTRAP, Quorum, SnapshotId, read_snapshot, write_snapshot
from kwire.storage.files import Files
from kwire.types import METADATA_TOPIC, Uuid
from kwire.wire.message import Message
from kwire.wire.messages import FeatureLevelRecord, VotersRecord

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
    bootstrap = write_snapshot(
        [*(FeatureLevelRecord(name=name, feature_level=level) for name, level in levels.items()), *users],
        Quorum(0, None),
        metadata_version=levels[features.METADATA_VERSION],
        epoch=0,
        now_ms=now_ms,
        last_timestamp_ms=0,
    )
    files.make_directory(path)
    quorum = Quorum(features.SERVED[features.KRAFT_VERSION].highest, _own_vote(identity))
    voters = write_snapshot([], quorum, metadata_version=0, epoch=0, now_ms=now_ms, last_timestamp_ms=now_ms)
    # The voters first: a directory that has a bootstrap file counts as formatted.
    files.write_bytes(f"{path}/{SnapshotId(0, 0).file_name}", b"".join(voters), durable=True)
    files.write_bytes(f"{directory}/{BOOTSTRAP}", b"".join(bootstrap), durable=True)
    return quorum


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
