"""UpdateFeatures (key 57).

Versions: 0-2.

Behaviour: changes finalized feature levels, all of a request or none (KIP-584). Only levels that this broker serves
can be finalized; metadata.version can go up, and down only where no record would be lost.

Version notes: 0 has a flag that allows a downgrade, 1 an upgrade type and ``validate_only`` (KIP-778); 2 answers
without a result per feature (KIP-1022).
"""

from __future__ import annotations

from typing import Final

from kwire.api.probes import UNKNOWN_NAME, Probe
from kwire.broker.controller.interface import only
from kwire.broker.requests.context import Context
from kwire.errors import Code, KafkaError
from kwire.metadata.commands.nodes import UpdateFeatures
from kwire.metadata.decisions.update_features import FeatureUpdate, UpgradeType
from kwire.security.operations import Operation
from kwire.wire.messages import UpdateFeaturesRequest, UpdateFeaturesResponse

PROBE: Probe = {
    "feature_updates": [{"feature": f"{UNKNOWN_NAME}.version", "max_version_level": 1}],
    "timeout_ms": 1000,
    "validate_only": True,
}

_UPGRADE_TYPES_SINCE: Final = 1
_NO_RESULTS_SINCE: Final = 2


async def handle(context: Context, request: UpdateFeaturesRequest) -> UpdateFeaturesResponse:
    updates = [
        FeatureUpdate(update.feature, update.max_version_level, _upgrade_type(context, update))
        for update in request.feature_updates
    ]
    command = UpdateFeatures(updates, validate_only=request.validate_only)
    try:
        context.authorize_cluster(Operation.ALTER)
        only(await context.broker.controller.submit(command))
    except KafkaError as refusal:
        return UpdateFeaturesResponse(
            throttle_time_ms=context.throttle_ms, error_code=refusal.code, error_message=refusal.message
        )
    results = [
        UpdateFeaturesResponse.UpdatableFeatureResult(feature=update.name, error_message=Code.NONE.name)
        for update in updates
    ]
    return UpdateFeaturesResponse(
        throttle_time_ms=context.throttle_ms,
        error_message=None,
        results=[] if context.api_version >= _NO_RESULTS_SINCE else results,  # KIP-1022
    )


def _upgrade_type(context: Context, update: UpdateFeaturesRequest.FeatureUpdateKey) -> int:
    if context.api_version >= _UPGRADE_TYPES_SINCE:  # KIP-778
        return update.upgrade_type
    return UpgradeType.UNSAFE_DOWNGRADE if update.allow_downgrade else UpgradeType.UPGRADE
