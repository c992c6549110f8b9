"""AlterUserScramCredentials (key 51).

Versions: 0.

Behaviour: stores, replaces and deletes SCRAM credentials as metadata records (KIP-554). The client salts the
password; the broker stores the two keys that are derived from it. A request may list a user once.
"""

from __future__ import annotations

from kwire.api.pacing import paced
from kwire.api.probes import UNKNOWN_NAME, Probe
from kwire.broker.requests.context import Context
from kwire.errors import KafkaError
from kwire.metadata.commands.security import AlterUserScramCredentials
from kwire.metadata.decisions.credentials import ScramDeletion, ScramUpsertion
from kwire.metadata.entities import ScramCredential
from kwire.security.authorizer import denied
from kwire.security.operations import Operation, ResourceType
from kwire.security.sasl.scram_keys import ScramKeys, keys_of_salted_password
from kwire.wire.messages import AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse

PROBE: Probe = {"deletions": [{"name": UNKNOWN_NAME, "mechanism": 1}]}

Result = AlterUserScramCredentialsResponse.AlterUserScramCredentialsResult

_NO_KEYS = ScramKeys(b"", b"")


async def handle(context: Context, request: AlterUserScramCredentialsRequest) -> AlterUserScramCredentialsResponse:
    if not context.may_cluster(Operation.ALTER):
        return _denied(request)
    # The results of one user do not depend on the other users.
    by_user: dict[str, tuple[list[ScramDeletion], list[ScramUpsertion]]] = {}
    for deletion in request.deletions:
        by_user.setdefault(deletion.name, ([], []))[0].append(ScramDeletion(deletion.name, deletion.mechanism))
    async for item in paced(context, request.upsertions):
        by_user.setdefault(item.name, ([], []))[1].append(_upsertion(item))
    results = []
    async for user, (deletions, upsertions) in paced(context, by_user.items()):
        outcomes = await context.broker.controller.submit(AlterUserScramCredentials(deletions, upsertions))
        result = Result(user=user, error_message=None)
        if isinstance(outcomes[0], KafkaError):
            result.error_code, result.error_message = outcomes[0].code, outcomes[0].message
        results.append(result)
    return AlterUserScramCredentialsResponse(throttle_time_ms=context.throttle_ms, results=results)


def _denied(request: AlterUserScramCredentialsRequest) -> AlterUserScramCredentialsResponse:
    refusal = denied(ResourceType.CLUSTER)
    users = {item.name for item in request.deletions} | {item.name for item in request.upsertions}
    results = [Result(user=user, error_code=refusal.code, error_message=refusal.message) for user in sorted(users)]
    return AlterUserScramCredentialsResponse(results=results)


def _upsertion(item: AlterUserScramCredentialsRequest.ScramCredentialUpsertion) -> ScramUpsertion:
    # The command refuses an unknown mechanism and missing keys, in the order of Apache Kafka's checks.
    try:
        keys = keys_of_salted_password(item.mechanism, item.salted_password) if item.salted_password else _NO_KEYS
    except KeyError:
        keys = _NO_KEYS
    credential = ScramCredential(bytes(item.salt), keys.stored_key, keys.server_key, item.iterations)
    return ScramUpsertion(item.name, item.mechanism, credential)
