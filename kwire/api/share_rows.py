"""The rows of share groups (KIP-932) in the table of what is served.

Responsible for: their keys, versions and handlers; they are served while share.version is finalized. Must not depend
on: what a handler does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kwire.broker.requests.table import Handler, Row
from kwire.metadata.features import SHARE_VERSION

if TYPE_CHECKING:  # a dictionary type with a key for each config takes time to make
    from kwire.metadata.configs.types import BrokerValues


def _k76() -> Handler:
    from kwire.api import k76_share_group_heartbeat

    return k76_share_group_heartbeat.handle


def _k77() -> Handler:
    from kwire.api import k77_share_group_describe

    return k77_share_group_describe.handle


def _k78() -> Handler:
    from kwire.api import k78_share_fetch

    return k78_share_fetch.handle


def _k79() -> Handler:
    from kwire.api import k79_share_acknowledge

    return k79_share_acknowledge.handle


def _k83() -> Handler:
    from kwire.api import k83_initialize_share_group_state

    return k83_initialize_share_group_state.handle


def _k84() -> Handler:
    from kwire.api import k84_read_share_group_state

    return k84_read_share_group_state.handle


def _k85() -> Handler:
    from kwire.api import k85_write_share_group_state

    return k85_write_share_group_state.handle


def _k86() -> Handler:
    from kwire.api import k86_delete_share_group_state

    return k86_delete_share_group_state.handle


def _k87() -> Handler:
    from kwire.api import k87_read_share_group_state_summary

    return k87_read_share_group_state_summary.handle


def _k90() -> Handler:
    from kwire.api import k90_describe_share_group_offsets

    return k90_describe_share_group_offsets.handle


def _k91() -> Handler:
    from kwire.api import k91_alter_share_group_offsets

    return k91_alter_share_group_offsets.handle


def _k92() -> Handler:
    from kwire.api import k92_delete_share_group_offsets

    return k92_delete_share_group_offsets.handle


def _share_groups(_settings: BrokerValues, features: Mapping[str, int]) -> bool:
    return features.get(SHARE_VERSION, 0) > 0


SHARE_ROWS = (
    Row(76, "ShareGroupHeartbeat", (1, 1), _k76, when=_share_groups),
    Row(77, "ShareGroupDescribe", (1, 1), _k77, when=_share_groups),
    Row(78, "ShareFetch", (1, 2), _k78, when=_share_groups),
    Row(79, "ShareAcknowledge", (1, 2), _k79, when=_share_groups),
    Row(83, "InitializeShareGroupState", (0, 0), _k83, when=_share_groups),
    Row(84, "ReadShareGroupState", (0, 0), _k84, when=_share_groups),
    Row(85, "WriteShareGroupState", (0, 1), _k85, when=_share_groups),
    Row(86, "DeleteShareGroupState", (0, 0), _k86, when=_share_groups),
    Row(87, "ReadShareGroupStateSummary", (0, 1), _k87, when=_share_groups),
    Row(90, "DescribeShareGroupOffsets", (0, 1), _k90, when=_share_groups),
    Row(91, "AlterShareGroupOffsets", (0, 0), _k91, when=_share_groups),
    Row(92, "DeleteShareGroupOffsets", (0, 0), _k92, when=_share_groups),
)
