"""GetTelemetrySubscriptions (key 71).

Versions: 0. Served where client metrics go somewhere (``kwire.client.metrics.sink``), as Apache Kafka does where a
reporter takes them.

Behaviour: gives a client its instance id, and what the subscriptions that match it ask for together (KIP-714).
"""

from __future__ import annotations

from typing import Final

from kwire.api.probes import NO_ID, Probe
from kwire.broker.requests.context import Context
from kwire.errors import KafkaError
from kwire.wire.batches.compression import Codec
from kwire.wire.messages import GetTelemetrySubscriptionsRequest, GetTelemetrySubscriptionsResponse

PROBE: Probe = {"client_instance_id": NO_ID}

# In the order of preference.
_ACCEPTED: Final = (Codec.ZSTD, Codec.LZ4, Codec.GZIP, Codec.SNAPPY)


def handle(context: Context, request: GetTelemetrySubscriptionsRequest) -> GetTelemetrySubscriptionsResponse:
    telemetry = context.broker.telemetry
    try:
        instance = telemetry.subscribe(context, request.client_instance_id)
    except KafkaError as refusal:
        return GetTelemetrySubscriptionsResponse(throttle_time_ms=context.throttle_ms, error_code=refusal.code)
    return GetTelemetrySubscriptionsResponse(
        throttle_time_ms=context.throttle_ms,
        client_instance_id=instance.id,
        subscription_id=instance.requested.subscription_id,
        accepted_compression_types=list(_ACCEPTED),
        push_interval_ms=instance.requested.interval_ms,
        telemetry_max_bytes=telemetry.bytes_max,
        delta_temporality=True,
        requested_metrics=list(instance.requested.metrics),
    )
