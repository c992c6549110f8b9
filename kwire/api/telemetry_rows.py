"""The rows of the API table for the metrics that clients push (KIP-714): keys 71 and 72.

Responsible for: their versions, and that they are served where the metrics go somewhere. Must not depend on: what a
handler does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kwire.broker.requests.table import Handler, Row

if TYPE_CHECKING:  # a dictionary type with a key for each config takes time to make
    from kwire.metadata.configs.types import BrokerValues


def _k71() -> Handler:
    from kwire.api import k71_get_telemetry_subscriptions

    return k71_get_telemetry_subscriptions.handle


def _k72() -> Handler:
    from kwire.api import k72_push_telemetry

    return k72_push_telemetry.handle


def _takes_client_metrics(settings: BrokerValues, _features: Mapping[str, int]) -> bool:
    return settings["kwire.client.metrics.sink"] != "none"


TELEMETRY_ROWS = (
    Row(71, "GetTelemetrySubscriptions", (0, 0), _k71, when=_takes_client_metrics),
    Row(72, "PushTelemetry", (0, 0), _k72, when=_takes_client_metrics),
)
