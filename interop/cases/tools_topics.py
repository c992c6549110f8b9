"""kafka-topics, with every option of its help."""

import re

from interop.cases.releases import RELEASES, Tools, tools


@tools(releases=RELEASES, smoke=True)
def topics_create_list_describe_delete(run: Tools) -> None:
    name = run.unique("plain")
    run.tool("topics", "--create", "--topic", name, "--partitions", "3", "--replication-factor", "1").ok().prints(
        f"Created topic {name}."
    )
    assert name in run.tool("topics", "--list").ok().lines
    described = run.tool("topics", "--describe", "--topic", name).ok()
    described.prints(f"Topic: {name}", "PartitionCount: 3", "ReplicationFactor: 1")
    assert described.out.count("Leader: 1") == 3, described.out
    assert described.out.count("Isr: 1") == 3, described.out
    run.tool("topics", "--delete", "--topic", name).ok()
    assert name not in run.tool("topics", "--list").ok().lines


@tools()
def topics_describe_layout(run: Tools) -> None:
    name = run.topic("layout", partitions=2, configs={"retention.ms": "3600000"})
    first, *rest = run.tool("topics", "--describe", "--topic", name).ok().lines
    ours = r"Configs: min\.insync\.replicas=1,retention\.ms=3600000"
    counts = r"PartitionCount: 2\tReplicationFactor: 1"
    assert re.fullmatch(rf"Topic: {name}\tTopicId: [\w-]{{22}}\t{counts}\t{ours}\s*", first), first
    expected = [f"Topic: {name}\tPartition: {n}\tLeader: 1\tReplicas: 1\tIsr: 1\tElr: \tLastKnownElr:" for n in (0, 1)]
    assert [line.strip() for line in rest] == expected, rest


@tools()
def topics_describe_by_id(run: Tools) -> None:
    name = run.topic("by-id")
    found = re.search(r"TopicId: (\S+)", run.tool("topics", "--describe", "--topic", name).ok().out)
    assert found
    run.tool("topics", "--describe", "--topic-id", found[1]).ok().prints(f"Topic: {name}")
    run.tool("topics", "--describe", "--topic-id", "AAAAAAAAAAAAAAAAAAAAbg").failed("TopicId")


@tools(releases=RELEASES)
def topics_create_twice(run: Tools) -> None:
    name = run.topic("twice")
    run.tool("topics", "--create", "--topic", name).failed(f"Topic '{name}' already exists.")
    run.tool("topics", "--create", "--topic", name, "--if-not-exists").ok()


@tools(releases=RELEASES)
def topics_delete_unknown(run: Tools) -> None:
    run.tool("topics", "--delete", "--topic", "no-such-topic-at-all").failed("does not exist as expected")
    run.tool("topics", "--delete", "--topic", "no-such-topic-at-all", "--if-exists").ok()


@tools(releases=RELEASES)
def topics_create_with_configs(run: Tools) -> None:
    name = run.topic("configs", configs={"cleanup.policy": "compact", "max.message.bytes": "2000000"})
    run.tool("topics", "--describe", "--topic", name).ok().prints("cleanup.policy=compact", "max.message.bytes=2000000")
    run.tool("topics", "--describe", "--topics-with-overrides").ok().prints(f"Topic: {name}")


@tools(releases=RELEASES)
def topics_create_with_bad_config(run: Tools) -> None:
    name = run.unique("bad")
    run.tool("topics", "--create", "--topic", name, "--config", "retention.ms=soon").failed("retention.ms")
    run.tool("topics", "--create", "--topic", name, "--config", "no.such.config=1").failed("no.such.config")
    assert name not in run.tool("topics", "--list").ok().lines


@tools(releases=RELEASES)
def topics_invalid_names(run: Tools) -> None:
    run.tool("topics", "--create", "--topic", "white space").failed("white space")
    run.tool("topics", "--create", "--topic", "x" * 250).failed()
    run.tool("topics", "--create", "--topic", "..").failed()


@tools()
def topics_colliding_names(run: Tools) -> None:
    stem = run.unique("collide")
    run.tool("topics", "--create", "--topic", f"{stem}.a").ok().prints("WARNING: Due to limitations in metric names")
    run.tool("topics", "--create", "--topic", f"{stem}_a").failed("collides with existing topic")


@tools(releases=RELEASES)
def topics_replication_factor_too_large(run: Tools) -> None:
    run.tool("topics", "--create", "--topic", run.unique("rf"), "--replication-factor", "3").failed("replicat")


@tools()
def topics_zero_partitions(run: Tools) -> None:
    run.tool("topics", "--create", "--topic", run.unique("zero"), "--partitions", "0").failed("partition")


@tools()
def topics_replica_assignment(run: Tools) -> None:
    name = run.unique("assigned")
    run.tool("topics", "--create", "--topic", name, "--replica-assignment", "1,1,1").ok()
    run.tool("topics", "--describe", "--topic", name).ok().prints("PartitionCount: 3")
    run.tool("topics", "--create", "--topic", run.unique("assigned"), "--replica-assignment", "7").failed("7")


@tools(releases=RELEASES)
def topics_add_partitions(run: Tools) -> None:
    name = run.topic("grow", partitions=2)
    run.tool("topics", "--alter", "--topic", name, "--partitions", "5").ok()
    run.tool("topics", "--describe", "--topic", name).ok().prints("PartitionCount: 5")
    run.tool("topics", "--alter", "--topic", name, "--partitions", "3").failed("partition")
    run.tool("topics", "--alter", "--topic", name, "--partitions", "5").failed("partition")


@tools(releases=RELEASES)
def topics_filters_with_nothing_wrong(run: Tools) -> None:
    healthy = run.topic("healthy")
    for flag in (
        "--under-replicated-partitions",
        "--unavailable-partitions",
        "--under-min-isr-partitions",
        "--at-min-isr-partitions",
    ):
        listed = run.tool("topics", "--describe", flag).ok()
        if flag != "--at-min-isr-partitions":
            # Other cases share the broker, and some of their topics are unhealthy on purpose.
            assert healthy not in listed.out, listed.out


@tools(releases=RELEASES)
def topics_exclude_internal(run: Tools) -> None:
    topic = run.topic("internal")
    run.produce(topic, "x")
    run.consume(topic, 1, "--group", run.unique("g"))
    assert "__consumer_offsets" in run.tool("topics", "--list").ok().lines
    assert "__consumer_offsets" not in run.tool("topics", "--list", "--exclude-internal").ok().lines


@tools(releases=RELEASES)
def topics_by_pattern(run: Tools) -> None:
    stem = run.unique("pattern")
    for suffix in ("a", "b"):
        run.tool("topics", "--create", "--topic", f"{stem}-{suffix}").ok()
    assert run.tool("topics", "--list", "--topic", f"{stem}-.*").ok().lines == [f"{stem}-a", f"{stem}-b"]
    run.tool("topics", "--delete", "--topic", f"{stem}-.*").ok()
    assert run.tool("topics", "--list", "--topic", f"{stem}-.*").ok().lines == []


@tools()
def topics_describe_unknown(run: Tools) -> None:
    run.tool("topics", "--describe", "--topic", "no-such-topic-at-all").failed("does not exist as expected")
    run.tool("topics", "--describe", "--topic", "no-such-topic-at-all", "--if-exists").ok()


@tools()
def topics_paged_describe(run: Tools) -> None:
    name = run.topic("paged", partitions=25)
    described = run.tool("topics", "--describe", "--topic", name, "--partition-size-limit-per-response", "10").ok()
    assert described.out.count("Leader: 1") == 25, described.out


@tools()
def topics_delete_internal(run: Tools) -> None:
    name = run.topic("recreate", partitions=2)
    run.produce(name, "before")
    run.tool("topics", "--delete", "--topic", name).ok()
    run.tool("topics", "--create", "--topic", name).ok()
    run.produce(name, "after")
    assert run.consume(name, 1) == ["after"]
