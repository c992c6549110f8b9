"""The rows of streams groups (KIP-1071) in the table of what is served.

Responsible for: their keys, versions and handlers. Must not depend on: what a handler does.
"""

from __future__ import annotations

from kwire.broker.requests.table import Handler, Row


def _k88() -> Handler:
    from kwire.api import k88_streams_group_heartbeat

    return k88_streams_group_heartbeat.handle


def _k89() -> Handler:
    from kwire.api import k89_streams_group_describe

    return k89_streams_group_describe.handle


def _k93() -> Handler:
    from kwire.api import k93_streams_group_topology_description_update

    return k93_streams_group_topology_description_update.handle


STREAMS_ROWS = (
    Row(88, "StreamsGroupHeartbeat", (0, 1), _k88),
    Row(89, "StreamsGroupDescribe", (0, 1), _k89),
    Row(93, "StreamsGroupTopologyDescriptionUpdate", (0, 0), _k93),
)
