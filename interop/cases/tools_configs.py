"""kafka-configs for topics, brokers, clients, users, groups and client metrics."""

import threading

from interop.cases.releases import FOUR, RELEASES, Tools, tools


@tools(releases=RELEASES, smoke=True)
def configs_of_a_topic(run: Tools) -> None:
    topic = run.topic()
    entity = ("configs", "--entity-type", "topics", "--entity-name", topic)
    run.tool(*entity, "--alter", "--add-config", "retention.ms=7200000,max.message.bytes=500000").ok().prints(
        "Completed updating"
    )
    run.tool(*entity, "--describe").ok().prints(
        "retention.ms=7200000", "max.message.bytes=500000", "DYNAMIC_TOPIC_CONFIG"
    )
    run.tool(*entity, "--describe", "--all").ok().prints(
        "segment.bytes=1073741824", "DEFAULT_CONFIG", "min.insync.replicas"
    )
    run.tool(*entity, "--alter", "--delete-config", "retention.ms").ok()
    assert "retention.ms" not in run.tool(*entity, "--describe").ok().out


@tools(releases=RELEASES)
def configs_list_values_with_brackets(run: Tools) -> None:
    topic = run.topic()
    entity = ("configs", "--entity-type", "topics", "--entity-name", topic)
    run.tool(*entity, "--alter", "--add-config", "cleanup.policy=[delete,compact]").ok()
    run.tool(*entity, "--describe").ok().prints("cleanup.policy=delete,compact")


@tools(releases=RELEASES)
def configs_refused(run: Tools) -> None:
    topic = run.topic()
    entity = ("configs", "--entity-type", "topics", "--entity-name", topic)
    run.tool(*entity, "--alter", "--add-config", "retention.ms=soon").failed("retention.ms")
    run.tool(*entity, "--alter", "--add-config", "no.such.config=1").failed("no.such.config")
    run.tool(*entity, "--alter", "--add-config", "cleanup.policy=shred").failed("cleanup.policy")
    unset = run.tool(*entity, "--alter", "--delete-config", "retention.ms")
    assert (unset.code == 0) == (run.release in FOUR), unset


@tools()
def configs_of_an_unknown_topic(run: Tools) -> None:
    entity = ("configs", "--entity-type", "topics", "--entity-name", "no-such-topic-at-all")
    run.tool(*entity, "--alter", "--add-config", "retention.ms=1000").failed("UnknownTopicOrPartition")


@tools()
def configs_from_a_file(run: Tools) -> None:
    topic = run.topic()
    file = run.folder / "topic.properties"
    file.write_text("retention.ms=123456\nsegment.bytes=2000000\n")
    entity = ("configs", "--entity-type", "topics", "--entity-name", topic)
    run.tool(*entity, "--alter", "--add-config-file", str(file)).ok()
    run.tool(*entity, "--describe").ok().prints("retention.ms=123456", "segment.bytes=2000000")


one_at_a_time = threading.Lock()


@tools(releases=RELEASES)
def configs_of_a_broker(run: Tools) -> None:
    entity = ("configs", "--entity-type", "brokers", "--entity-name", "1")
    everything = run.tool(*entity, "--describe", "--all").ok()
    everything.prints("log.retention.hours=168", "node.id=1", "offsets.topic.num.partitions=50")
    with one_at_a_time:  # three releases change the same broker
        run.tool(*entity, "--alter", "--add-config", "log.cleaner.threads=2").ok()
        run.tool(*entity, "--describe").ok().prints("log.cleaner.threads=2", "DYNAMIC_BROKER_CONFIG")
        run.tool(*entity, "--alter", "--delete-config", "log.cleaner.threads").ok()


@tools()
def configs_of_all_brokers(run: Tools) -> None:
    entity = ("configs", "--entity-type", "brokers", "--entity-default")
    run.tool(*entity, "--alter", "--add-config", "log.retention.ms=86400000").ok()
    run.tool(*entity, "--describe").ok().prints("log.retention.ms=86400000", "DYNAMIC_DEFAULT_BROKER_CONFIG")
    topic = run.topic()
    run.tool("configs", "--entity-type", "topics", "--entity-name", topic, "--describe", "--all").ok().prints(
        "retention.ms=86400000"
    )
    run.tool(*entity, "--alter", "--delete-config", "log.retention.ms").ok()


@tools()
def configs_of_a_broker_refused(run: Tools) -> None:
    entity = ("configs", "--entity-type", "brokers", "--entity-name", "1")
    run.tool(*entity, "--alter", "--add-config", "node.id=7").failed("node.id")
    run.tool(*entity, "--alter", "--add-config", "log.retention.ms=soon").failed("log.retention.ms")
    run.tool("configs", "--entity-type", "brokers", "--entity-name", "9", "--describe").ok().prints("doesn't exist")


@tools(releases=(*FOUR, "3.9.1"))
def configs_short_forms(run: Tools) -> None:
    topic = run.topic()
    run.tool("configs", "--topic", topic, "--alter", "--add-config", "flush.messages=5").ok()
    run.tool("configs", "--topic", topic, "--describe").ok().prints("flush.messages=5")
    run.tool("configs", "--broker", "1", "--describe").ok()
    run.tool("configs", "--broker-defaults", "--describe").ok()


@tools(releases=RELEASES, requires=("AlterClientQuotas",))
def configs_quotas_of_clients_and_users(run: Tools) -> None:
    client, user = run.unique("client"), run.unique("user")
    for entity in (("clients", client), ("users", user)):
        kind, name = entity
        run.tool(
            "configs",
            "--alter",
            "--entity-type",
            kind,
            "--entity-name",
            name,
            "--add-config",
            "producer_byte_rate=1048576",
        ).ok()
        run.tool("configs", "--describe", "--entity-type", kind, "--entity-name", name).ok().prints(
            "producer_byte_rate=1048576"
        )
        run.tool(
            "configs", "--alter", "--entity-type", kind, "--entity-name", name, "--delete-config", "producer_byte_rate"
        ).ok()
        assert (
            "producer_byte_rate"
            not in run.tool("configs", "--describe", "--entity-type", kind, "--entity-name", name).ok().out
        )


@tools(releases=(*FOUR, "3.9.1"), requires=("AlterClientQuotas",))
def configs_quota_of_an_ip(run: Tools) -> None:
    ip = ("--entity-type", "ips", "--entity-name", "127.0.0.9")
    run.tool("configs", "--alter", *ip, "--add-config", "connection_creation_rate=500").ok()
    run.tool("configs", "--describe", *ip).ok().prints("connection_creation_rate=500")
    run.tool("configs", "--alter", *ip, "--delete-config", "connection_creation_rate").ok()
    run.tool("configs", "--alter", *ip, "--add-config", "producer_byte_rate=500").failed()


@tools(releases=(*FOUR, "3.9.1"), requires=("DescribeClientQuotas",))
def configs_scram_users(run: Tools) -> None:
    user = run.unique("scram")
    entity = ("configs", "--entity-type", "users", "--entity-name", user)
    run.tool(*entity, "--alter", "--add-config", "SCRAM-SHA-256=[iterations=4096,password=secret]").ok()
    run.tool(*entity, "--describe").ok().prints("SCRAM-SHA-256=iterations=4096")
    run.tool(*entity, "--alter", "--delete-config", "SCRAM-SHA-256").ok()
    run.tool(*entity, "--alter", "--delete-config", "SCRAM-SHA-256").failed()


@tools()
def configs_of_a_group(run: Tools) -> None:
    group = run.unique("group")
    entity = ("configs", "--entity-type", "groups", "--entity-name", group)
    run.tool(*entity, "--alter", "--add-config", "consumer.session.timeout.ms=50000").ok()
    run.tool(*entity, "--describe").ok().prints("consumer.session.timeout.ms=50000")
    run.tool(*entity, "--alter", "--add-config", "consumer.session.timeout.ms=1").failed("consumer.session.timeout.ms")
    run.tool(*entity, "--alter", "--add-config", "no.such=1").failed("no.such")
    run.tool(*entity, "--alter", "--delete-config", "consumer.session.timeout.ms").ok()


@tools()
def configs_of_client_metrics(run: Tools) -> None:
    name = run.unique("metrics")
    run.tool("client-metrics", "--alter", "--name", name, "--metrics", "org.apache.kafka.", "--interval", "30000").ok()
    run.tool("client-metrics", "--list").ok().prints(name)
    run.tool("client-metrics", "--describe", "--name", name).ok().prints("interval.ms=30000")
    run.tool("client-metrics", "--delete", "--name", name).ok()
