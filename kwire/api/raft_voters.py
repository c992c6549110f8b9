"""What AddRaftVoter and RemoveRaftVoter check alike.

Owns: the refusals that both begin with, and how a voter is named in them. May not know: what is asked for.
"""

from __future__ import annotations

from kwire.broker.requests.context import Context
from kwire.errors import Code, KafkaError
from kwire.types import Uuid, uuid_text
from kwire.wire.messages import VotersRecord


def check_cluster(context: Context, cluster_id: str | None) -> None:
    """Refuse a request that is meant for another cluster."""
    own = context.broker.cluster_id
    if cluster_id is not None and cluster_id != own:
        message = f'The given id "{cluster_id}" doesn\'t match the cluster id "{own}"'
        raise KafkaError(Code.INCONSISTENT_CLUSTER_ID, message)


def check_dynamic(voter: VotersRecord.Voter | None) -> None:
    """Refuse where the voters stand in the settings (kraft.version 0)."""
    if voter is None:
        message = "Cluster doesn't support changing voters because the kraft.version feature is 0"
        raise KafkaError(Code.UNSUPPORTED_VERSION, message)


def current_voter(context: Context) -> VotersRecord.Voter | None:
    """Give the one voter, if the metadata log names it."""
    voters = context.broker.metadata_log.quorum.voters
    return voters.voters[0] if voters is not None and voters.voters else None


def replica_key(voter_id: int, directory_id: Uuid) -> str:
    return f"ReplicaKey(id={voter_id}, directoryId={uuid_text(directory_id)})"
