"""Checks that AddRaftVoter and RemoveRaftVoter share.

Responsible for: the refusals that both begin with, and how a voter is named in them. Must not depend on: the rest of
the request.
"""

from __future__ import annotations

from kwire.broker.controller.interface import Voter
from kwire.broker.requests.context import Context
from kwire.errors import Code, KafkaError
from kwire.types import Uuid, uuid_text


def check_cluster(context: Context, cluster_id: str | None) -> None:
    """Refuse a request that is meant for another cluster."""
    own = context.broker.cluster_id
    if cluster_id is not None and cluster_id != own:
        message = f'The given id "{cluster_id}" doesn\'t match the cluster id "{own}"'
        raise KafkaError(Code.INCONSISTENT_CLUSTER_ID, message)


def check_dynamic(voter: Voter) -> Uuid:
    """Return the voter's directory id. Raises KafkaError where the settings name the voters (kraft.version 0)."""
    if voter.directory_id is None:
        message = "Cluster doesn't support changing voters because the kraft.version feature is 0"
        raise KafkaError(Code.UNSUPPORTED_VERSION, message)
    return voter.directory_id


async def current_voter(context: Context) -> Voter:
    """Return the one voter of the metadata quorum."""
    quorum = await context.broker.controller.describe_quorum()
    return quorum.voters[0]


def replica_key(voter_id: int, directory_id: Uuid) -> str:
    return f"ReplicaKey(id={voter_id}, directoryId={uuid_text(directory_id)})"
