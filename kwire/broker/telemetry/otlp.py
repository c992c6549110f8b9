"""Metrics in OpenTelemetry's protocol (OTLP), the form in which clients push them.

Responsible for: the numbers in a push. Must not depend on: which client pushes, where the numbers go.

The generated classes (``opentelemetry-proto``) are imported with this module, which is when the first metrics arrive.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from google.protobuf.message import DecodeError
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_DELTA, MetricsData

from kwire.broker.telemetry.pushed_metrics import Point

# The types of metrics with one number a point, and those with a count and a sum.
_NUMBERS: Final = ("gauge", "sum")


class Metrics(NamedTuple):
    """The metrics of one push. ``labels`` belong to the client, such as client_rack or transactional_id."""

    labels: Mapping[str, str]
    points: Sequence[Point]


def decode_metrics(payload: bytes) -> Metrics:
    """Decode a push. Raises ValueError for bytes that are no metrics.

    A histogram or summary gives two points, whose names end with ``.count`` and ``.sum``.
    """
    data = MetricsData()
    try:
        data.ParseFromString(payload)
    except DecodeError as error:
        raise ValueError(f"not metrics in OTLP: {error}") from error
    labels: dict[str, str] = {}
    points: list[Point] = []
    for resource in data.resource_metrics:
        labels.update(_labels(resource.resource.attributes))
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                points.extend(_points(metric))
    return Metrics(labels, points)


def _points(metric: Any) -> Iterator[Point]:
    kind = metric.WhichOneof("data")
    if kind is None:
        return
    points = getattr(metric, kind)
    # Gauges and summaries have no temporality.
    is_delta = getattr(points, "aggregation_temporality", None) == AGGREGATION_TEMPORALITY_DELTA
    for point in points.data_points:
        labels = _labels(point.attributes)
        if kind in _NUMBERS:
            which = point.WhichOneof("value")
            if which is not None:
                yield Point(metric.name, getattr(point, which), labels, is_delta)
        else:
            yield Point(f"{metric.name}.count", point.count, labels, is_delta)
            yield Point(f"{metric.name}.sum", point.sum, labels, is_delta)


def _labels(attributes: Any) -> dict[str, str]:
    return {each.key: _text(each.value) for each in attributes}


def _text(value: Any) -> str:
    kind = value.WhichOneof("value")
    return "" if kind is None else str(getattr(value, kind)).strip()
