"""The file ``quorum-state`` and the first batch of an epoch: how this node becomes the leader of its own quorum.

Responsible for: the JSON of ``quorum-state`` and the control records that begin an epoch. Must not depend on: the
metadata image.

    quorum-state   {"leaderId":1,"leaderEpoch":7,"votedId":-1,"votedDirectoryId":"...","data_version":1}

``data_version`` 0 belongs to kraft.version 0, where the settings name the voters. Each start of the broker begins a
new epoch. With one voter there is no election: the node increments the epoch and writes LeaderChange.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from kwire.broker.endpoint import Endpoint
from kwire.broker.logs import Logger
from kwire.metadata.log.log_format import (
    KRAFT_VERSION,
    KRAFT_VOTERS,
    LEADER_CHANGE,
    Quorum,
    control_batch,
)
from kwire.storage.files import Files
from kwire.types import uuid_text
from kwire.wire.message import Message
from kwire.wire.messages import KRaftVersionRecord, LeaderChangeMessage, VotersRecord

logger = Logger("kwire.metadata")

QUORUM_STATE: Final = "quorum-state"


def read_leader_epoch(files: Files, directory: str) -> int:
    """Read the epoch of the last election, 0 when there was none.

    A file that cannot be read counts as 0 and is reported: the batches of the log carry the epoch too.
    """
    path = f"{directory}/{QUORUM_STATE}"
    content = files.read_bytes(path)
    if content is None:
        return 0
    try:
        return max(0, int(json.loads(content)["leaderEpoch"]))
    except (ValueError, KeyError, TypeError) as error:
        logger.warning("damaged file replaced: the epoch is that of the metadata log", path=path, error=repr(error))
        return 0


def has_led(files: Files, directory: str) -> bool:
    """Whether a leader was ever elected here."""
    return files.read_bytes(f"{directory}/{QUORUM_STATE}") is not None


def write_quorum_state(files: Files, directory: str, *, node_id: int, epoch: int, kraft_version: int) -> None:
    """Record durably that ``node_id`` leads ``epoch``. Raises StorageFailure."""
    state: dict[str, object]
    if kraft_version:
        state = {
            "leaderId": node_id,
            "leaderEpoch": epoch,
            "votedId": -1,
            "votedDirectoryId": uuid_text(bytes(16)),
            "data_version": 1,
        }
    else:
        state = {
            "clusterId": "",
            "leaderId": node_id,
            "leaderEpoch": epoch,
            "votedId": -1,
            "appliedOffset": 0,
            "currentVoters": [{"voterId": node_id}],
            "data_version": 0,
        }
    content = json.dumps(state, separators=(",", ":")).encode("ascii")
    files.write_bytes(f"{directory}/{QUORUM_STATE}", content, durable=True)


def leader_change_batch(
    quorum: Quorum, *, node_id: int, epoch: int, offset: int, now_ms: int, copies_voters: bool
) -> bytes:
    """Build the first batch of an epoch.

    ``copies_voters``: the log is empty, so the voters of the formatted directory are copied into it.
    """
    voter = LeaderChangeMessage.Voter(voter_id=node_id)
    controls: list[tuple[int, Message]] = [
        (LEADER_CHANGE, LeaderChangeMessage(leader_id=node_id, voters=[voter], granting_voters=[voter]))
    ]
    if quorum.kraft_version and copies_voters:
        controls.append((KRAFT_VERSION, KRaftVersionRecord(kraft_version=quorum.kraft_version)))
        if quorum.voters is not None:
            controls.append((KRAFT_VOTERS, quorum.voters))
    return control_batch(controls, offset=offset, epoch=epoch, now_ms=now_ms)


def with_endpoints(voters: VotersRecord, node_id: int, endpoints: Sequence[Endpoint]) -> VotersRecord:
    """Give the voters with the listeners that ``node_id`` has now (KIP-853)."""
    listed = [VotersRecord.Endpoint(name=one.name, host=one.host, port=one.port) for one in endpoints]
    return VotersRecord(
        version=voters.version,
        voters=[
            VotersRecord.Voter(
                voter_id=voter.voter_id,
                voter_directory_id=voter.voter_directory_id,
                endpoints=listed if voter.voter_id == node_id else voter.endpoints,
                kraft_version_feature=voter.kraft_version_feature,
            )
            for voter in voters.voters
        ],
    )
