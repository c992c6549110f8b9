"""The table of what is served: key, name, versions and where the handler is.

Owns: which API is served at which versions. What is not here is not advertised and closes the connection. May not
know: what a handler does.

Each thunk holds the import of its handler, so that start-up pays only for what is used, while mypy and the import
contracts see every edge.
"""

from __future__ import annotations

from kwire.broker.dispatch import Api, ApiTable, Handler


def _k00() -> Handler:
    from kwire.api import k00_produce

    return k00_produce.handle


def _k01() -> Handler:
    from kwire.api import k01_fetch

    return k01_fetch.handle


def _k02() -> Handler:
    from kwire.api import k02_list_offsets

    return k02_list_offsets.handle


def _k03() -> Handler:
    from kwire.api import k03_metadata

    return k03_metadata.handle


def _k08() -> Handler:
    from kwire.api import k08_offset_commit

    return k08_offset_commit.handle


def _k09() -> Handler:
    from kwire.api import k09_offset_fetch

    return k09_offset_fetch.handle


def _k10() -> Handler:
    from kwire.api import k10_find_coordinator

    return k10_find_coordinator.handle


def _k11() -> Handler:
    from kwire.api import k11_join_group

    return k11_join_group.handle


def _k12() -> Handler:
    from kwire.api import k12_heartbeat

    return k12_heartbeat.handle


def _k13() -> Handler:
    from kwire.api import k13_leave_group

    return k13_leave_group.handle


def _k14() -> Handler:
    from kwire.api import k14_sync_group

    return k14_sync_group.handle


def _k15() -> Handler:
    from kwire.api import k15_describe_groups

    return k15_describe_groups.handle


def _k16() -> Handler:
    from kwire.api import k16_list_groups

    return k16_list_groups.handle


def _k18() -> Handler:
    from kwire.api import k18_api_versions

    return k18_api_versions.handle


def _k22() -> Handler:
    from kwire.api import k22_init_producer_id

    return k22_init_producer_id.handle


def _k23() -> Handler:
    from kwire.api import k23_offset_for_leader_epoch

    return k23_offset_for_leader_epoch.handle


def _k42() -> Handler:
    from kwire.api import k42_delete_groups

    return k42_delete_groups.handle


def _k47() -> Handler:
    from kwire.api import k47_offset_delete

    return k47_offset_delete.handle


_APIS = (
    Api(0, "Produce", (3, 13), _k00, advertised=(0, 13)),
    Api(1, "Fetch", (4, 18), _k01),
    Api(2, "ListOffsets", (1, 11), _k02),
    Api(3, "Metadata", (0, 13), _k03),
    Api(8, "OffsetCommit", (2, 10), _k08),
    Api(9, "OffsetFetch", (1, 10), _k09),
    Api(10, "FindCoordinator", (0, 6), _k10),
    Api(11, "JoinGroup", (0, 9), _k11),
    Api(12, "Heartbeat", (0, 4), _k12),
    Api(13, "LeaveGroup", (0, 5), _k13),
    Api(14, "SyncGroup", (0, 5), _k14),
    Api(15, "DescribeGroups", (0, 6), _k15),
    Api(16, "ListGroups", (0, 5), _k16),
    Api(18, "ApiVersions", (0, 4), _k18),
    Api(22, "InitProducerId", (0, 5), _k22),
    Api(23, "OffsetForLeaderEpoch", (2, 4), _k23),
    Api(42, "DeleteGroups", (0, 2), _k42),
    Api(47, "OffsetDelete", (0, 0), _k47),
)

# Every client needs these: imported before the broker says that it is ready.
EAGER = (0, 1, 3, 18)


def api_table() -> ApiTable:
    """What a broker of this release serves, in order of the keys."""
    return {api.key: api for api in _APIS}
