"""DescribeUserScramCredentials (key 50).

Versions: 0.

Behaviour: which mechanisms a user has a credential for, and with how many iterations; never anything secret (KIP-554).
Null or no users means all of them. A user that is listed twice, or has no credential, gets an error of its own.
"""

from __future__ import annotations

from collections import Counter

from kwire.api.pacing import paced
from kwire.api.probes import UNKNOWN_NAME, Probe
from kwire.broker.requests.context import Context
from kwire.errors import Code
from kwire.metadata.entities import ScramMechanism
from kwire.security.authorizer import denied
from kwire.security.operations import Operation, ResourceType
from kwire.wire.messages import DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse

PROBE: Probe = {"users": [{"name": UNKNOWN_NAME}]}

Result = DescribeUserScramCredentialsResponse.DescribeUserScramCredentialsResult


async def handle(
    context: Context, request: DescribeUserScramCredentialsRequest
) -> DescribeUserScramCredentialsResponse:
    if not context.may_cluster(Operation.DESCRIBE):
        refusal = denied(ResourceType.CLUSTER)
        return DescribeUserScramCredentialsResponse(
            throttle_time_ms=context.throttle_ms,
            error_code=refusal.code,
            error_message=None,
            results=[Result(error_code=refusal.code, error_message=None) for _ in request.users or ()],
        )
    scram = context.broker.image.scram
    counts = Counter(user.name for user in request.users or ())
    names = list(counts) or sorted({user for user, _ in scram})
    return DescribeUserScramCredentialsResponse(
        throttle_time_ms=context.throttle_ms,
        results=[_describe(context, name, counts[name]) async for name in paced(context, names)],
    )


def _describe(context: Context, name: str, times_asked: int) -> Result:
    if times_asked > 1:
        message = f"Cannot describe SCRAM credentials for the same user twice in a single request: {name}"
        return Result(user=name, error_code=Code.DUPLICATE_RESOURCE, error_message=message)
    scram = context.broker.image.scram
    infos = [
        DescribeUserScramCredentialsResponse.CredentialInfo(mechanism=mechanism, iterations=credential.iterations)
        for mechanism in ScramMechanism
        if (credential := scram.get((name, mechanism))) is not None
    ]
    if not infos:
        message = f"Attempt to describe a user credential that does not exist: {name}"
        return Result(user=name, error_code=Code.RESOURCE_NOT_FOUND, error_message=message)
    return Result(user=name, credential_infos=infos)
