"""ApiVersions (key 18).

Versions: 0-5.

Behaviour: what this broker serves, and its features: supported ranges and finalized levels. A version that is not
served is answered at version 0 with UNSUPPORTED_VERSION by the connection, which alone sees it. Each connection begins
with this request, so encoded responses are kept and sent again (``response_cache``).

Version notes: 3 client software name and version, checked (KIP-511), features (KIP-584); 4 a feature's lowest
supported level may be 0, which earlier versions could not parse, so such features are listed from 4 on (KAFKA-17011);
5 the cluster and the broker that the client means to be connected to (KIP-1242): REBOOTSTRAP_REQUIRED when it is
another, so that the client finds its cluster again.
"""

from __future__ import annotations

import re
from typing import Final

from kwire.api.probes import Probe
from kwire.broker.requests.context import Context
from kwire.errors import Code
from kwire.metadata.features import supported_features
from kwire.personas import Persona, persona
from kwire.wire.messages import ApiVersionsRequest, ApiVersionsResponse

PROBE: Probe = {"client_software_name": "kwire-selfcheck", "client_software_version": "1"}

_SOFTWARE_SINCE: Final = 3  # KIP-511
_ZERO_FEATURES_SINCE: Final = 4  # KAFKA-17011
_NO_NODE: Final = -1
_SOFTWARE = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?")


def handle(context: Context, request: ApiVersionsRequest) -> ApiVersionsResponse:
    if context.api_version >= _SOFTWARE_SINCE and not (
        _SOFTWARE.fullmatch(request.client_software_name) and _SOFTWARE.fullmatch(request.client_software_version)
    ):
        return ApiVersionsResponse(error_code=Code.INVALID_REQUEST)
    code = _check_destination(context, request)
    if code is not Code.NONE:
        return ApiVersionsResponse(error_code=code)
    context.connection.client = context.client.after_api_versions(request)
    answer = ApiVersionsResponse(api_keys=advertised(context), throttle_time_ms=context.throttle_ms)
    release = persona(context.broker.configs.broker["kwire.as.release"])
    if release is None or release.has_features:
        _add_features(context, answer, release)
    else:
        answer.finalized_features_epoch = 0  # the version of ZooKeeper's node of features in a new cluster
    return answer


def may_be_kept(response: ApiVersionsResponse) -> bool:
    """Whether an equal request may be sent the same response, as long as the metadata and the APIs stay the same."""
    return not (response.throttle_time_ms or response.error_code)


def _add_features(context: Context, answer: ApiVersionsResponse, release: Persona | None) -> None:
    finalized = context.broker.controller.finalized_features
    supported = supported_features(release)
    order = supported if release is None else {**release.finalized, **supported}
    answer.supported_features = [
        ApiVersionsResponse.SupportedFeatureKey(name=name, min_version=lowest, max_version=highest)
        for name, (lowest, highest) in supported.items()
        if lowest > 0 or context.api_version >= _ZERO_FEATURES_SINCE
    ]
    answer.finalized_features_epoch = finalized.epoch
    answer.finalized_features = [
        ApiVersionsResponse.FinalizedFeatureKey(name=name, max_version_level=level, min_version_level=level)
        for name in order
        if (level := finalized.levels.get(name, 0)) > 0
    ]


def _check_destination(context: Context, request: ApiVersionsRequest) -> Code:
    """Check the cluster and broker that the client means; it names both or, not knowing them yet, neither."""
    if (request.cluster_id is None) != (request.node_id == _NO_NODE):
        return Code.INVALID_REQUEST
    broker = context.broker
    if request.cluster_id is None or (request.cluster_id, request.node_id) == (broker.cluster_id, broker.node_id):
        return Code.NONE
    return Code.REBOOTSTRAP_REQUIRED


def advertised(context: Context) -> list[ApiVersionsResponse.ApiVersion]:
    return [
        ApiVersionsResponse.ApiVersion(api_key=api.key, min_version=api.advertised[0], max_version=api.advertised[1])
        for api in context.connection.apis.values()
    ]
