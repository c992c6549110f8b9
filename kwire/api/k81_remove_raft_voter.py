"""RemoveRaftVoter (key 81).

Versions: 0.

Behaviour: the only voter of the metadata quorum cannot be removed, and there is no other (KIP-853): VOTER_NOT_FOUND.
"""

from __future__ import annotations

from kwire.api.probes import NO_BROKER, NO_ID, UNKNOWN_NAME, Probe
from kwire.api.raft_voters import check_cluster, check_dynamic, current_voter, replica_key
from kwire.broker.requests.context import Context
from kwire.errors import Code, KafkaError
from kwire.security.operations import Operation
from kwire.types import ZERO_UUID
from kwire.wire.messages import RemoveRaftVoterRequest, RemoveRaftVoterResponse

PROBE: Probe = {"cluster_id": UNKNOWN_NAME, "voter_id": NO_BROKER, "voter_directory_id": NO_ID}


async def handle(context: Context, request: RemoveRaftVoterRequest) -> RemoveRaftVoterResponse:
    try:
        context.authorize_cluster(Operation.ALTER)
        await _refuse(context, request)
    except KafkaError as refusal:
        return RemoveRaftVoterResponse(
            throttle_time_ms=context.throttle_ms, error_code=refusal.code, error_message=refusal.message
        )
    raise AssertionError("a voter was removed")


async def _refuse(context: Context, request: RemoveRaftVoterRequest) -> None:
    check_cluster(context, request.cluster_id)
    if request.voter_id < 0 or request.voter_directory_id == ZERO_UUID:
        raise KafkaError(Code.INVALID_REQUEST, "Remove voter request didn't include a valid voter")
    voter = await current_voter(context)
    directory_id = check_dynamic(voter)
    raise KafkaError(
        Code.VOTER_NOT_FOUND,
        f"Cannot remove voter {replica_key(request.voter_id, request.voter_directory_id)} from the set of voters "
        f"[{replica_key(voter.node_id, directory_id)}]",
    )
