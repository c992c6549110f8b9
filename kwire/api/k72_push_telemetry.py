"""PushTelemetry (key 72).

Versions: 0. Served where GetTelemetrySubscriptions is.

Behaviour: checks the push, then decodes its metrics in a thread, writes them into the log and keeps them for ``kwire
ctl`` and the console. Metrics that cannot be decompressed or decoded are answered with INVALID_RECORD, as Apache Kafka
does when its reporter raises.
"""

from __future__ import annotations

from kwire.api.probes import Probe
from kwire.broker.requests.context import Context
from kwire.broker.telemetry.log_sink import log_metrics
from kwire.broker.telemetry.pushed_metrics import Point
from kwire.errors import KafkaError
from kwire.wire.messages import PushTelemetryRequest, PushTelemetryResponse

# A client instance id of zeros is invalid.
PROBE: Probe = {}


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
            codec = request.compression_type
            points: list[Point] = []

            def read() -> None:
                points.extend(log_metrics(instance, codec, payload, bytes_max=bytes_max))

            await context.connection.in_thread(read)
            telemetry.take_metrics(instance, points)
    except KafkaError as refusal:
        return PushTelemetryResponse(throttle_time_ms=context.throttle_ms, error_code=refusal.code)
    return PushTelemetryResponse(throttle_time_ms=context.throttle_ms)
