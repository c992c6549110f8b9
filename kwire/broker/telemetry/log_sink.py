"""Writes the metrics of clients into the log: ``kwire.client.metrics.sink=log``.

Responsible for: decompressing the metrics of a push, and their log lines. Must not depend on: which pushes are
admitted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from kwire.broker.logs import Logger
from kwire.broker.telemetry.client_telemetry import ClientInstance
from kwire.broker.telemetry.pushed_metrics import Point
from kwire.errors import Code, KafkaError
from kwire.limits import LOGGED_METRICS_MAX
from kwire.wire.batches.compression import decompress

log = Logger("kwire.telemetry")

_CLIENT_SHOWN: Final = ("client_id", "client_software_name", "client_software_version", "client_instance_id")


def log_metrics(instance: ClientInstance, compression_type: int, payload: bytes, *, bytes_max: int) -> Sequence[Point]:
    """Write an info line for each metric, and a debug line for the push as a whole; the metrics that have a line.

    ``bytes_max`` is how much it may be after decompression. Raises KafkaError: TELEMETRY_TOO_LARGE for more,
    INVALID_RECORD for bytes that are no compressed metrics. Call it in a thread: it is slow.
    """
    # Protobuf is a large import, and only pushes need it.
    from kwire.broker.telemetry.otlp import decode_metrics  # noqa: PLC0415

    try:
        metrics = decode_metrics(decompress(compression_type, payload, limit_bytes=bytes_max))
    except KafkaError as error:
        too_large = error.code is Code.RECORD_LIST_TOO_LARGE
        raise KafkaError(Code.TELEMETRY_TOO_LARGE if too_large else Code.INVALID_RECORD, error.message) from error
    except ValueError as error:
        raise KafkaError(Code.INVALID_RECORD, str(error)) from error
    client = {name: instance.attributes[name] for name in _CLIENT_SHOWN}
    for point in metrics.points[:LOGGED_METRICS_MAX]:
        labels = {"labels": _joined(point.labels)} if point.labels else {}
        log.info("client metric", name=point.name, value=point.value, **labels, **client)
    if len(metrics.points) > LOGGED_METRICS_MAX:
        log.warning("client metrics not logged", count=len(metrics.points) - LOGGED_METRICS_MAX, **client)
    log.debug(
        "client metrics pushed",
        points=len(metrics.points),
        bytes=len(payload),
        terminating=instance.terminating,
        labels=_joined(metrics.labels),
        **client,
    )
    return metrics.points[:LOGGED_METRICS_MAX]


def _joined(labels: Mapping[str, str]) -> str:
    return ",".join(f"{name}={value}" for name, value in labels.items())
