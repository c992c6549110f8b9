"""The official scripts' names and the main classes behind them, which moved from release to release."""

_TOOLS = "org.apache.kafka.tools."
_CURRENT = {
    "topics": _TOOLS + "TopicCommand",
    "configs": _TOOLS + "ConfigCommand",
    "console-producer": _TOOLS + "ConsoleProducer",
    "console-consumer": _TOOLS + "consumer.ConsoleConsumer",
    "console-share-consumer": _TOOLS + "consumer.ConsoleShareConsumer",
    "consumer-groups": _TOOLS + "consumer.group.ConsumerGroupCommand",
    "share-groups": _TOOLS + "consumer.group.ShareGroupCommand",
    "streams-groups": _TOOLS + "streams.StreamsGroupCommand",
    "groups": _TOOLS + "GroupsCommand",
    "get-offsets": _TOOLS + "GetOffsetShell",
    "delete-records": _TOOLS + "DeleteRecordsCommand",
    "broker-api-versions": _TOOLS + "BrokerApiVersionsCommand",
    "log-dirs": _TOOLS + "LogDirsCommand",
    "leader-election": _TOOLS + "LeaderElectionCommand",
    "reassign-partitions": _TOOLS + "reassign.ReassignPartitionsCommand",
    "features": _TOOLS + "FeatureCommand",
    "metadata-quorum": _TOOLS + "MetadataQuorumCommand",
    "cluster": _TOOLS + "ClusterTool",
    "transactions": _TOOLS + "TransactionsCommand",
    "producer-perf-test": _TOOLS + "ProducerPerformance",
    "consumer-perf-test": _TOOLS + "ConsumerPerformance",
    "e2e-latency": _TOOLS + "EndToEndLatency",
    "verifiable-producer": _TOOLS + "VerifiableProducer",
    "verifiable-consumer": _TOOLS + "VerifiableConsumer",
    "client-compatibility": _TOOLS + "ClientCompatibilityTest",
    "client-metrics": _TOOLS + "ClientMetricsCommand",
    "acls": _TOOLS + "AclCommand",
    "delegation-tokens": _TOOLS + "DelegationTokenCommand",
    "replica-verification": _TOOLS + "ReplicaVerificationTool",
    "streams-application-reset": _TOOLS + "StreamsResetter",
    "dump-log": _TOOLS + "DumpLogSegments",
    "storage": "kafka.tools.StorageTool",
}
_MOVED = {
    "4.3.1": {
        "configs": "kafka.admin.ConfigCommand",
    },
    "4.0.1": {
        "configs": "kafka.admin.ConfigCommand",
        "acls": "kafka.admin.AclCommand",
        "broker-api-versions": "kafka.admin.BrokerApiVersionsCommand",
        "dump-log": "kafka.tools.DumpLogSegments",
    },
    "3.9.1": {
        "configs": "kafka.admin.ConfigCommand",
        "console-producer": "kafka.tools.ConsoleProducer",
        "acls": "kafka.admin.AclCommand",
        "broker-api-versions": "kafka.admin.BrokerApiVersionsCommand",
        "dump-log": "kafka.tools.DumpLogSegments",
    },
    "2.8.2": {
        "configs": "kafka.admin.ConfigCommand",
        "topics": "kafka.admin.TopicCommand",
        "console-producer": "kafka.tools.ConsoleProducer",
        "console-consumer": "kafka.tools.ConsoleConsumer",
        "consumer-groups": "kafka.admin.ConsumerGroupCommand",
        "get-offsets": "kafka.tools.GetOffsetShell",
        "delete-records": "kafka.admin.DeleteRecordsCommand",
        "broker-api-versions": "kafka.admin.BrokerApiVersionsCommand",
        "log-dirs": "kafka.admin.LogDirsCommand",
        "leader-election": "kafka.admin.LeaderElectionCommand",
        "reassign-partitions": "kafka.admin.ReassignPartitionsCommand",
        "features": "kafka.admin.FeatureCommand",
        "dump-log": "kafka.tools.DumpLogSegments",
        "consumer-perf-test": "kafka.tools.ConsumerPerformance",
        "acls": "kafka.admin.AclCommand",
    },
}


def main_class(tool: str, release: str) -> str:
    return _MOVED.get(release, {}).get(tool, _CURRENT[tool])
