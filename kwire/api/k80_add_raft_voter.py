"""AddRaftVoter (key 80).

Versions: 0-1.

Behaviour: no voter is added to the metadata quorum of this one node (KIP-853). A request that Apache Kafka refuses gets
the same refusal; one that it tries is answered as when the new voter cannot be reached.

Version notes: 1 asks for an answer before the change is committed, which makes no difference to a refusal.
"""

from __future__ import annotations

from kwire.api.probes import NO_BROKER, NO_ID, UNKNOWN_NAME, Probe
from kwire.api.raft_voters import check_cluster, check_dynamic, current_voter, replica_key
from kwire.broker.requests.context import Context
from kwire.errors import Code, KafkaError
from kwire.security.operations import Operation
from kwire.types import ZERO_UUID
from kwire.wire.messages import AddRaftVoterRequest, AddRaftVoterResponse

PROBE: Probe = {
    "cluster_id": UNKNOWN_NAME,
    "timeout_ms": 1000,
    "voter_id": NO_BROKER,
    "voter_directory_id": NO_ID,
}


async def handle(context: Context, request: AddRaftVoterRequest) -> AddRaftVoterResponse:
    try:
        context.authorize_cluster(Operation.ALTER)
        await _refuse(context, request)
    except KafkaError as refusal:
        return AddRaftVoterResponse(
            throttle_time_ms=context.throttle_ms, error_code=refusal.code, error_message=refusal.message
        )
    raise AssertionError("a voter was added")


async def _refuse(context: Context, request: AddRaftVoterRequest) -> None:
    check_cluster(context, request.cluster_id)
    if request.voter_id < 0 or request.voter_directory_id == ZERO_UUID:
        raise KafkaError(Code.INVALID_REQUEST, "Add voter request didn't include a valid voter")
    voter = await current_voter(context)
    listener = voter.endpoints[0].name if voter.endpoints else "CONTROLLER"
    if not any(point.name == listener for point in request.listeners):
        given = ", ".join(
            f"ListenerName({point.name})={point.host}/<unresolved>:{point.port}" for point in request.listeners
        )
        raise KafkaError(
            Code.INVALID_REQUEST,
            f"Add voter request didn't include the endpoint (Endpoints(endpoints={{{given}}})) for the default "
            f"listener ListenerName({listener})",
        )
    directory_id = check_dynamic(voter)
    if request.voter_id == voter.node_id:
        raise KafkaError(
            Code.DUPLICATE_VOTER,
            f"The voter id for {replica_key(request.voter_id, request.voter_directory_id)} is already part of the set "
            f"of voters [{replica_key(voter.node_id, directory_id)}].",
        )
    message = "Aborted add voter operation for since API_VERSIONS returned an error BROKER_NOT_AVAILABLE"
    raise KafkaError(Code.REQUEST_TIMED_OUT, message)
