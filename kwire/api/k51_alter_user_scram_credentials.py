"""AlterUserScramCredentials (key 51).

Versions: 0.

Behaviour: stores, replaces and deletes SCRAM credentials as metadata records (KIP-554). The client salts the
password; what is kept are the two keys that come of it. A user may stand once in a request.
"""

from __future__ import annotations

from kwire.broker.requests.context import Context
from kwire.errors import KafkaError
from kwire.metadata.commands import AlterUserScramCredentials
from kwire.metadata.credentials import ScramDeletion, ScramUpsertion
from kwire.metadata.entities import ScramCredential
from kwire.security.authorizer import denied
from kwire.security.operations import Operation, ResourceType
from kwire.security.sasl.scram_keys import ScramKeys, keys_of_salted_password
from kwire.wire.messages import AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse

Result = AlterUserScramCredentialsResponse.AlterUserScramCredentialsResult

_NO_KEYS = ScramKeys(b"", b"")


async def handle(context: Context, request: AlterUserScramCredentialsRequest) -> AlterUserScramCredentialsResponse:
    if not context.may_cluster(Operation.ALTER):
        return _denied(request)
    broker = context.broker
    deletions = [ScramDeletion(item.name, item.mechanism) for item in request.deletions]
    upsertions = [_upsertion(item) for item in request.upsertions]
    outcomes = await broker.controller.submit(AlterUserScramCredentials(deletions, upsertions))
    results: dict[str, Result] = {}
    users = [item.user for item in deletions] + [item.user for item in upsertions]
    for user, outcome in zip(users, outcomes, strict=True):
        result = results.setdefault(user, Result(user=user, error_message=None))
        if isinstance(outcome, KafkaError):
            result.error_code, result.error_message = outcome.code, outcome.message
    return AlterUserScramCredentialsResponse(throttle_time_ms=context.throttle_ms, results=list(results.values()))


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
