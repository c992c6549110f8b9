"""The table of what is served: key, name and versions of each API.

Responsible for: which API is served at which versions; a request for another closes the connection. Must not depend on:
what a handler does.

The handler is ``handle`` in the module that a row names by its key and name, as ``kwire.api.k12_heartbeat``, which is
imported at the first request. The functions here import what they need when they are called, so that start-up pays only
for what is used.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Final

from kwire.api.rows import Row, make_table
from kwire.broker.broker import Broker
from kwire.broker.clients.client import Client
from kwire.broker.clients.response_cache import Caching
from kwire.broker.requests.context import Connection
from kwire.broker.requests.table import ApiTable, Handler, Shortcut
from kwire.metadata.features import SHARE_VERSION
from kwire.personas import persona

if TYPE_CHECKING:  # a class of a message, and a dictionary type with a key for each config, take time to make
    from kwire.metadata.configs.types import BrokerValues
    from kwire.wire.messages import ApiVersionsResponse, ListGroupsResponse, MetadataResponse

# Every client needs these: imported before the broker is ready.
EAGER: Final = (0, 1, 3, 18)


def api_table(
    settings: BrokerValues,
    features: Mapping[str, int],
    controller: Mapping[int, tuple[int, int]] | None = None,
) -> ApiTable:
    """Make the table of one broker, in order of the keys.

    It has the rows that are served with these settings and finalized feature levels, as they are at the start.
    ``controller`` is what the active controller serves, where that is another process.
    """
    release = persona(settings["kwire.as.release"])
    if release is None:
        return make_table(ROWS, settings, features, controller)
    from kwire.api.persona_rows import as_release

    return make_table(as_release(ROWS, release), settings, features, controller)


# An API that changes metadata: a broker with another controller forwards its requests there.


def _forward() -> Handler:
    from kwire.api import forwarding

    return forwarding.handle


def _forward_configs() -> Handler:
    """Load the handler that changes log levels here, and forwards the rest."""
    from kwire.api import forwarding

    return forwarding.handle_configs


# When an API is served


def _share_groups(_settings: BrokerValues, features: Mapping[str, int]) -> bool:
    return features.get(SHARE_VERSION, 0) > 0


def _takes_client_metrics(settings: BrokerValues, _features: Mapping[str, int]) -> bool:
    return settings["kwire.client.metrics.sink"] != "none"


# Requests that are answered without their handler


def _template_cache(broker: Broker, connection: Connection) -> Shortcut:
    from kwire.api.produce_template_cache import ProduceTemplateCache

    return ProduceTemplateCache(broker, connection)


def _image_version(broker: Broker) -> Hashable:
    return broker.image.version


def _metadata_may_be_kept(response: MetadataResponse) -> bool:
    from kwire.api import k03_metadata

    return k03_metadata.may_be_kept(response)


def _groups_version(broker: Broker) -> Hashable:
    return broker.groups.listing_version()


def _groups_may_be_kept(response: ListGroupsResponse) -> bool:
    return not (response.throttle_time_ms or response.error_code)


def _features_version(broker: Broker) -> Hashable:
    return broker.image.version, broker.controller.applied_offset


def _versions_may_be_kept(response: ApiVersionsResponse) -> bool:
    from kwire.api import k18_api_versions

    return k18_api_versions.may_be_kept(response)


_METADATA: Final = Caching(_image_version, _metadata_may_be_kept)
_GROUPS: Final = Caching(_groups_version, _groups_may_be_kept)
_VERSIONS: Final = Caching(_features_version, _versions_may_be_kept, Client.after_api_versions)

# What a broker's listener serves, in order of the keys.
ROWS: Final = (
    Row(0, "Produce", (3, 13), advertised=(0, 13), shortcut=_template_cache),
    Row(1, "Fetch", (4, 18)),
    Row(2, "ListOffsets", (1, 11)),
    Row(3, "Metadata", (0, 13), caching=_METADATA),
    Row(8, "OffsetCommit", (2, 10)),
    Row(9, "OffsetFetch", (1, 10)),
    Row(10, "FindCoordinator", (0, 6)),
    Row(11, "JoinGroup", (0, 9)),
    Row(12, "Heartbeat", (0, 4)),
    Row(13, "LeaveGroup", (0, 5)),
    Row(14, "SyncGroup", (0, 5)),
    Row(15, "DescribeGroups", (0, 6)),
    Row(16, "ListGroups", (0, 5), caching=_GROUPS),
    Row(17, "SaslHandshake", (0, 1)),
    Row(18, "ApiVersions", (0, 5), caching=_VERSIONS),
    Row(19, "CreateTopics", (2, 7), forward=_forward),
    Row(20, "DeleteTopics", (1, 6), forward=_forward),
    Row(21, "DeleteRecords", (0, 2)),
    Row(22, "InitProducerId", (0, 5)),
    Row(23, "OffsetForLeaderEpoch", (2, 4)),
    Row(24, "AddPartitionsToTxn", (0, 5)),
    Row(25, "AddOffsetsToTxn", (0, 4)),
    Row(26, "EndTxn", (0, 5)),
    Row(27, "WriteTxnMarkers", (1, 2)),
    Row(28, "TxnOffsetCommit", (0, 6)),
    Row(29, "DescribeAcls", (1, 3)),
    Row(30, "CreateAcls", (1, 3), forward=_forward),
    Row(31, "DeleteAcls", (1, 3), forward=_forward),
    Row(32, "DescribeConfigs", (1, 4)),
    Row(33, "AlterConfigs", (0, 2), forward=_forward_configs),
    Row(34, "AlterReplicaLogDirs", (1, 2)),
    Row(35, "DescribeLogDirs", (1, 5)),
    Row(36, "SaslAuthenticate", (0, 2)),
    Row(37, "CreatePartitions", (0, 3), forward=_forward),
    Row(38, "CreateDelegationToken", (1, 3), forward=_forward),
    Row(39, "RenewDelegationToken", (1, 2), forward=_forward),
    Row(40, "ExpireDelegationToken", (1, 2), forward=_forward),
    Row(41, "DescribeDelegationToken", (1, 3)),
    Row(42, "DeleteGroups", (0, 3)),
    Row(43, "ElectLeaders", (0, 2), forward=_forward),
    Row(44, "IncrementalAlterConfigs", (0, 1), forward=_forward_configs),
    Row(45, "AlterPartitionReassignments", (0, 1), forward=_forward),
    Row(46, "ListPartitionReassignments", (0, 0), forward=_forward),
    Row(47, "OffsetDelete", (0, 0)),
    Row(48, "DescribeClientQuotas", (0, 1)),
    Row(49, "AlterClientQuotas", (0, 1), forward=_forward),
    Row(50, "DescribeUserScramCredentials", (0, 0)),
    Row(51, "AlterUserScramCredentials", (0, 0), forward=_forward),
    Row(55, "DescribeQuorum", (0, 2), forward=_forward),
    Row(57, "UpdateFeatures", (0, 2), forward=_forward),
    Row(60, "DescribeCluster", (0, 2)),
    Row(61, "DescribeProducers", (0, 0)),
    Row(64, "UnregisterBroker", (0, 0), forward=_forward),
    Row(65, "DescribeTransactions", (0, 0)),
    Row(66, "ListTransactions", (0, 2)),
    Row(68, "ConsumerGroupHeartbeat", (0, 1)),
    Row(69, "ConsumerGroupDescribe", (0, 1)),
    Row(71, "GetTelemetrySubscriptions", (0, 0), when=_takes_client_metrics),
    Row(72, "PushTelemetry", (0, 0), when=_takes_client_metrics),
    Row(74, "ListConfigResources", (0, 1)),
    Row(75, "DescribeTopicPartitions", (0, 0)),
    Row(76, "ShareGroupHeartbeat", (1, 1), when=_share_groups),
    Row(77, "ShareGroupDescribe", (1, 1), when=_share_groups),
    Row(78, "ShareFetch", (1, 2), when=_share_groups),
    Row(79, "ShareAcknowledge", (1, 2), when=_share_groups),
    Row(80, "AddRaftVoter", (0, 1), forward=_forward),
    Row(81, "RemoveRaftVoter", (0, 0), forward=_forward),
    Row(83, "InitializeShareGroupState", (0, 0), when=_share_groups),
    Row(84, "ReadShareGroupState", (0, 0), when=_share_groups),
    Row(85, "WriteShareGroupState", (0, 1), when=_share_groups),
    Row(86, "DeleteShareGroupState", (0, 0), when=_share_groups),
    Row(87, "ReadShareGroupStateSummary", (0, 1), when=_share_groups),
    Row(88, "StreamsGroupHeartbeat", (0, 1)),
    Row(89, "StreamsGroupDescribe", (0, 1)),
    Row(90, "DescribeShareGroupOffsets", (0, 1), when=_share_groups),
    Row(91, "AlterShareGroupOffsets", (0, 0), when=_share_groups),
    Row(92, "DeleteShareGroupOffsets", (0, 0), when=_share_groups),
    Row(93, "StreamsGroupTopologyDescriptionUpdate", (0, 0)),
    Row(94, "UnregisterController", (0, 0), forward=_forward),
)
