"""Where a share group begins to read a partition.

Responsible for: share.auto.offset.reset (KIP-932). Must not depend on: share partitions, configs.
"""

from __future__ import annotations

import re
from typing import Final

from kwire.errors import Code, KafkaError
from kwire.storage.log import Log

_BY_DURATION: Final = "by_duration:"
_DURATION: Final = re.compile(
    r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d*)?)S)?)?", re.IGNORECASE | re.ASCII
)
_UNITS_MS: Final = (86_400_000, 3_600_000, 60_000, 1000)


def first_start_offset(log: Log, reset: str, now_ms: int) -> int:
    """The start offset for ``reset``: "latest", "earliest", or "by_duration:" and an ISO 8601 duration.

    Raises KafkaError(OFFSET_NOT_AVAILABLE) for a duration after whose begin nothing was written.
    """
    if reset == "earliest":
        return log.log_start_offset
    if reset == "latest":
        return log.high_watermark
    found = log.offset_for_timestamp(now_ms - _duration_ms(reset.removeprefix(_BY_DURATION)))
    if found is None:
        raise KafkaError(Code.OFFSET_NOT_AVAILABLE)
    return found.offset


def _duration_ms(text: str) -> int:
    """An ISO 8601 duration that the rules of the config have accepted; signs were refused or mean nothing."""
    found = _DURATION.fullmatch(text.replace("+", ""))
    assert found is not None
    return int(sum(float(part or 0) * unit for part, unit in zip(found.groups(), _UNITS_MS, strict=True)))
