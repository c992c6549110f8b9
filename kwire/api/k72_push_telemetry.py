"""PushTelemetry (key 72).

Versions: 0. Served where GetTelemetrySubscriptions is.

Behaviour: checks the push, then decodes its metrics in a thread and writes them into the log. Metrics that cannot be
decompressed or decoded are answered with INVALID_RECORD, as Apache Kafka does when its reporter raises.
"""

from __future__ import annotations

from functools import partial

from kwire.broker.requests.context import Context
from kwire.broker.telemetry.log_sink import log_metrics
from kwire.errors import KafkaError
from kwire.wire.messages import PushTelemetryRequest, PushTelemetryResponse


async def handle(context: Context, request: PushTelemetryRequest) -> PushTelemetryResponse:
    telemetry = context.broker.telemetry
    try:
        instance = telemetry.admit_push(
            context,
            request.client_instance_id,
            subscription_id=request.subscription_id,
            terminating=request.terminating,
            compression_type=request.compression_type,
            size_bytes=len(request.metrics),
        )
        if request.metrics:
            # A copy, because the buffer of the request may be used again while the thread runs.
            payload = bytes(request.metrics)
            bytes_max = telemetry.bytes_max
            log = partial(log_metrics, instance, request.compression_type, payload, bytes_max=bytes_max)
            await context.connection.in_thread(log)
    except KafkaError as refusal:
        return PushTelemetryResponse(throttle_time_ms=context.throttle_ms, error_code=refusal.code)
    return PushTelemetryResponse(throttle_time_ms=context.throttle_ms)
