"""The table of what is served: key, name, versions and where the handler is.

Responsible for: which API is served at which versions; a request for another closes the connection. Must not depend on:
what a handler does.

Each thunk imports its handler, so that start-up pays only for what is used, while mypy and the import contracts see
every edge.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING

from kwire.api.cluster_rows import CLUSTER_ROWS, forward, forward_configs
from kwire.api.share_rows import SHARE_ROWS
from kwire.api.streams_rows import STREAMS_ROWS
from kwire.api.telemetry_rows import TELEMETRY_ROWS
from kwire.broker.broker import Broker
from kwire.broker.clients.client import Client
from kwire.broker.clients.response_cache import Caching
from kwire.broker.requests.context import Connection
from kwire.broker.requests.table import ApiTable, Handler, Row, Shortcut, make_table
from kwire.personas import persona

if TYPE_CHECKING:  # a class of a message is made when it is imported
    from kwire.metadata.configs.types import BrokerValues
    from kwire.wire.messages import ApiVersionsResponse, ListGroupsResponse, MetadataResponse


def _k00() -> Handler:
    from kwire.api import k00_produce

    return k00_produce.handle


def _k00_template_cache(broker: Broker, connection: Connection) -> Shortcut:
    from kwire.api.produce_template_cache import ProduceTemplateCache

    return ProduceTemplateCache(broker, connection)


def _k01() -> Handler:
    from kwire.api import k01_fetch

    return k01_fetch.handle


def _k02() -> Handler:
    from kwire.api import k02_list_offsets

    return k02_list_offsets.handle


def _k03() -> Handler:
    from kwire.api import k03_metadata

    return k03_metadata.handle


def _image_version(broker: Broker) -> Hashable:
    return broker.image.version


def _features_version(broker: Broker) -> Hashable:
    return broker.image.version, broker.controller.applied_offset


def _k03_may_be_kept(response: MetadataResponse) -> bool:
    from kwire.api import k03_metadata

    return k03_metadata.may_be_kept(response)


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


def _groups_version(broker: Broker) -> Hashable:
    return broker.groups.listing_version()


def _k16_may_be_kept(response: ListGroupsResponse) -> bool:
    return not (response.throttle_time_ms or response.error_code)


def _k17() -> Handler:
    from kwire.api import k17_sasl_handshake

    return k17_sasl_handshake.handle


def _k18() -> Handler:
    from kwire.api import k18_api_versions

    return k18_api_versions.handle


def _k18_may_be_kept(response: ApiVersionsResponse) -> bool:
    from kwire.api import k18_api_versions

    return k18_api_versions.may_be_kept(response)


def _k19() -> Handler:
    from kwire.api import k19_create_topics

    return k19_create_topics.handle


def _k20() -> Handler:
    from kwire.api import k20_delete_topics

    return k20_delete_topics.handle


def _k21() -> Handler:
    from kwire.api import k21_delete_records

    return k21_delete_records.handle


def _k22() -> Handler:
    from kwire.api import k22_init_producer_id

    return k22_init_producer_id.handle


def _k23() -> Handler:
    from kwire.api import k23_offset_for_leader_epoch

    return k23_offset_for_leader_epoch.handle


def _k24() -> Handler:
    from kwire.api import k24_add_partitions_to_txn

    return k24_add_partitions_to_txn.handle


def _k25() -> Handler:
    from kwire.api import k25_add_offsets_to_txn

    return k25_add_offsets_to_txn.handle


def _k26() -> Handler:
    from kwire.api import k26_end_txn

    return k26_end_txn.handle


def _k27() -> Handler:
    from kwire.api import k27_write_txn_markers

    return k27_write_txn_markers.handle


def _k28() -> Handler:
    from kwire.api import k28_txn_offset_commit

    return k28_txn_offset_commit.handle


def _k29() -> Handler:
    from kwire.api import k29_describe_acls

    return k29_describe_acls.handle


def _k30() -> Handler:
    from kwire.api import k30_create_acls

    return k30_create_acls.handle


def _k31() -> Handler:
    from kwire.api import k31_delete_acls

    return k31_delete_acls.handle


def _k32() -> Handler:
    from kwire.api import k32_describe_configs

    return k32_describe_configs.handle


def _k33() -> Handler:
    from kwire.api import k33_alter_configs

    return k33_alter_configs.handle


def _k34() -> Handler:
    from kwire.api import k34_alter_replica_log_dirs

    return k34_alter_replica_log_dirs.handle


def _k35() -> Handler:
    from kwire.api import k35_describe_log_dirs

    return k35_describe_log_dirs.handle


def _k36() -> Handler:
    from kwire.api import k36_sasl_authenticate

    return k36_sasl_authenticate.handle


def _k37() -> Handler:
    from kwire.api import k37_create_partitions

    return k37_create_partitions.handle


def _k38() -> Handler:
    from kwire.api import k38_create_delegation_token

    return k38_create_delegation_token.handle


def _k39() -> Handler:
    from kwire.api import k39_renew_delegation_token

    return k39_renew_delegation_token.handle


def _k40() -> Handler:
    from kwire.api import k40_expire_delegation_token

    return k40_expire_delegation_token.handle


def _k41() -> Handler:
    from kwire.api import k41_describe_delegation_token

    return k41_describe_delegation_token.handle


def _k42() -> Handler:
    from kwire.api import k42_delete_groups

    return k42_delete_groups.handle


def _k43() -> Handler:
    from kwire.api import k43_elect_leaders

    return k43_elect_leaders.handle


def _k44() -> Handler:
    from kwire.api import k44_incremental_alter_configs

    return k44_incremental_alter_configs.handle


def _k45() -> Handler:
    from kwire.api import k45_alter_partition_reassignments

    return k45_alter_partition_reassignments.handle


def _k46() -> Handler:
    from kwire.api import k46_list_partition_reassignments

    return k46_list_partition_reassignments.handle


def _k47() -> Handler:
    from kwire.api import k47_offset_delete

    return k47_offset_delete.handle


def _k48() -> Handler:
    from kwire.api import k48_describe_client_quotas

    return k48_describe_client_quotas.handle


def _k49() -> Handler:
    from kwire.api import k49_alter_client_quotas

    return k49_alter_client_quotas.handle


def _k50() -> Handler:
    from kwire.api import k50_describe_user_scram_credentials

    return k50_describe_user_scram_credentials.handle


def _k51() -> Handler:
    from kwire.api import k51_alter_user_scram_credentials

    return k51_alter_user_scram_credentials.handle


def _k60() -> Handler:
    from kwire.api import k60_describe_cluster

    return k60_describe_cluster.handle


def _k61() -> Handler:
    from kwire.api import k61_describe_producers

    return k61_describe_producers.handle


def _k65() -> Handler:
    from kwire.api import k65_describe_transactions

    return k65_describe_transactions.handle


def _k66() -> Handler:
    from kwire.api import k66_list_transactions

    return k66_list_transactions.handle


def _k68() -> Handler:
    from kwire.api import k68_consumer_group_heartbeat

    return k68_consumer_group_heartbeat.handle


def _k69() -> Handler:
    from kwire.api import k69_consumer_group_describe

    return k69_consumer_group_describe.handle


def _k74() -> Handler:
    from kwire.api import k74_list_config_resources

    return k74_list_config_resources.handle


def _k75() -> Handler:
    from kwire.api import k75_describe_topic_partitions

    return k75_describe_topic_partitions.handle


_K18_CACHING = Caching(_features_version, _k18_may_be_kept, Client.after_api_versions)

_ROWS = (
    Row(0, "Produce", (3, 13), _k00, advertised=(0, 13), shortcut=_k00_template_cache),
    Row(1, "Fetch", (4, 18), _k01),
    Row(2, "ListOffsets", (1, 11), _k02),
    Row(3, "Metadata", (0, 13), _k03, caching=Caching(_image_version, _k03_may_be_kept)),
    Row(8, "OffsetCommit", (2, 10), _k08),
    Row(9, "OffsetFetch", (1, 10), _k09),
    Row(10, "FindCoordinator", (0, 6), _k10),
    Row(11, "JoinGroup", (0, 9), _k11),
    Row(12, "Heartbeat", (0, 4), _k12),
    Row(13, "LeaveGroup", (0, 5), _k13),
    Row(14, "SyncGroup", (0, 5), _k14),
    Row(15, "DescribeGroups", (0, 6), _k15),
    Row(16, "ListGroups", (0, 5), _k16, caching=Caching(_groups_version, _k16_may_be_kept)),
    Row(17, "SaslHandshake", (0, 1), _k17),
    Row(18, "ApiVersions", (0, 5), _k18, caching=_K18_CACHING),
    Row(19, "CreateTopics", (2, 7), _k19, forward=forward),
    Row(20, "DeleteTopics", (1, 6), _k20, forward=forward),
    Row(21, "DeleteRecords", (0, 2), _k21),
    Row(22, "InitProducerId", (0, 5), _k22),
    Row(23, "OffsetForLeaderEpoch", (2, 4), _k23),
    Row(24, "AddPartitionsToTxn", (0, 5), _k24),
    Row(25, "AddOffsetsToTxn", (0, 4), _k25),
    Row(26, "EndTxn", (0, 5), _k26),
    Row(27, "WriteTxnMarkers", (1, 2), _k27),
    Row(28, "TxnOffsetCommit", (0, 6), _k28),
    Row(29, "DescribeAcls", (1, 3), _k29),
    Row(30, "CreateAcls", (1, 3), _k30, forward=forward),
    Row(31, "DeleteAcls", (1, 3), _k31, forward=forward),
    Row(32, "DescribeConfigs", (1, 4), _k32),
    Row(33, "AlterConfigs", (0, 2), _k33, forward=forward_configs),
    Row(34, "AlterReplicaLogDirs", (1, 2), _k34),
    Row(35, "DescribeLogDirs", (1, 5), _k35),
    Row(36, "SaslAuthenticate", (0, 2), _k36),
    Row(37, "CreatePartitions", (0, 3), _k37, forward=forward),
    Row(38, "CreateDelegationToken", (1, 3), _k38, forward=forward),
    Row(39, "RenewDelegationToken", (1, 2), _k39, forward=forward),
    Row(40, "ExpireDelegationToken", (1, 2), _k40, forward=forward),
    Row(41, "DescribeDelegationToken", (1, 3), _k41),
    Row(42, "DeleteGroups", (0, 3), _k42),
    Row(43, "ElectLeaders", (0, 2), _k43, forward=forward),
    Row(44, "IncrementalAlterConfigs", (0, 1), _k44, forward=forward_configs),
    Row(45, "AlterPartitionReassignments", (0, 1), _k45, forward=forward),
    Row(46, "ListPartitionReassignments", (0, 0), _k46, forward=forward),
    Row(47, "OffsetDelete", (0, 0), _k47),
    Row(48, "DescribeClientQuotas", (0, 1), _k48),
    Row(49, "AlterClientQuotas", (0, 1), _k49, forward=forward),
    Row(50, "DescribeUserScramCredentials", (0, 0), _k50),
    Row(51, "AlterUserScramCredentials", (0, 0), _k51, forward=forward),
    Row(60, "DescribeCluster", (0, 2), _k60),
    Row(61, "DescribeProducers", (0, 0), _k61),
    Row(65, "DescribeTransactions", (0, 0), _k65),
    Row(66, "ListTransactions", (0, 2), _k66),
    Row(68, "ConsumerGroupHeartbeat", (0, 1), _k68),
    Row(69, "ConsumerGroupDescribe", (0, 1), _k69),
    Row(74, "ListConfigResources", (0, 1), _k74),
    Row(75, "DescribeTopicPartitions", (0, 0), _k75),
)

# Every client needs these: imported before the broker is ready.
EAGER = (0, 1, 3, 18)


def api_table(
    settings: BrokerValues,
    features: Mapping[str, int],
    controller: Mapping[int, tuple[int, int]] | None = None,
) -> ApiTable:
    """Make the table of one broker, in order of the keys.

    It has the rows that are served with these settings and finalized feature levels, as they are at the start.
    ``controller`` is what the active controller serves, where that is another process.
    """
    rows = table_rows()
    release = persona(settings["kwire.as.release"])
    if release is not None:
        from kwire.api.persona_rows import as_release

        rows = as_release(rows, release)
    return make_table(rows, settings, features, controller)


def table_rows() -> list[Row]:
    """List the rows of what a broker's listener serves, in order of the keys."""
    return sorted((*_ROWS, *CLUSTER_ROWS, *SHARE_ROWS, *STREAMS_ROWS, *TELEMETRY_ROWS), key=lambda row: row.key)
