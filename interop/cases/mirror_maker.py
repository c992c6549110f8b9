"""MirrorMaker 2: topics, configs and group offsets of one broker, copied to another while all are restarted."""

from collections.abc import Mapping

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource

from interop.brokers import free_port
from interop.case import Run, case
from interop.frameworks.pipeline import PARTITIONS, RETENTION_MS, Pipeline
from interop.jars import CONNECT, classpath
from interop.processes import JavaProcess
from interop.waiting import wait_until

EVERY_SECOND = (
    "refresh.topics", "refresh.groups", "sync.topic.configs", "sync.group.offsets", "emit.checkpoints",
    "emit.heartbeats",
)  # fmt: skip
OF_ONE_BROKER = (
    "checkpoints.topic", "heartbeats.topic", "offset-syncs.topic", "offset.storage", "status.storage", "config.storage",
)  # fmt: skip


def mirror(line: Pipeline, *, exactly: bool) -> JavaProcess:
    """From the cluster named one to the cluster named two; the topic `t` becomes `one.t`."""
    line.output = f"one.{line.input}"
    properties = {
        "clusters": "one, two",
        "one.bootstrap.servers": line.broker.bootstrap,
        "two.bootstrap.servers": line.into.bootstrap,
        "one->two.enabled": "true",
        "one->two.topics": line.input,
        "sync.group.offsets.enabled": "true",
        "replication.factor": "1",
        "dedicated.mode.enable.internal.rest": "true",
        "listeners": f"http://localhost:{free_port()}",
        "session.timeout.ms": "6000",
        "heartbeat.interval.ms": "500",
        "scheduled.rebalance.max.delay.ms": "1000",
        "offset.flush.interval.ms": "500",
        "one->two.exactly.once.source.support": "enabled" if exactly else "disabled",
        "two.exactly.once.source.support": "enabled" if exactly else "disabled",
        **{f"{name}.interval.seconds": "1" for name in EVERY_SECOND},
        **{f"{name}.replication.factor": "1" for name in OF_ONE_BROKER},
    }
    folder = line.folder("mirror")
    config = folder / "mirror.properties"
    config.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
    release = f"mirror-{CONNECT}"
    main = "org.apache.kafka.connect.mirror.MirrorMaker"
    return JavaProcess("MirrorMaker", folder / "mirror.log", classpath(release), main, str(config))


def commit(line: Pipeline, group: str, offsets: Mapping[int, int]) -> None:
    consumer = Consumer({"bootstrap.servers": line.broker.bootstrap, "group.id": group})
    consumer.commit(offsets=[TopicPartition(line.input, *pair) for pair in offsets.items()], asynchronous=False)
    consumer.close()


def mirrored_offsets(line: Pipeline, group: str) -> list[int]:
    consumer = Consumer({"bootstrap.servers": line.into.bootstrap, "group.id": group})
    try:
        partitions = [TopicPartition(line.output, n) for n in range(PARTITIONS)]
        return [partition.offset for partition in consumer.committed(partitions, timeout=30)]
    finally:
        consumer.close()


def config(bootstrap: str, topic: str, name: str) -> str | None:
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    (described,) = admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, topic)]).values()
    return described.result(30)[name].value


def copied(line: Pipeline, group: str, *, exactly: bool) -> None:
    app = line.started(mirror(line, exactly=exactly))

    def killed() -> None:
        app.kill()
        app.start()

    def stopped() -> None:
        app.stop(100)
        app.start()

    line.feed(500)
    line.wait()
    line.upset(killed, line.broker_killed, line.into_killed, stopped)
    line.assert_copied(exactly=exactly)

    # A group that has read everything continues at the end of the copies.
    commit(line, group, ends(line))
    wait_until(
        lambda: min(mirrored_offsets(line, group)) >= 0,
        lambda: f"the group's offsets in the target: {mirrored_offsets(line, group)}\n{app.tail()}",
        pause_s=0.5,
    )
    assert config(line.into.bootstrap, line.output, "retention.ms") == RETENTION_MS
    app.stop(100)


def ends(line: Pipeline) -> dict[int, int]:
    consumer = Consumer({"bootstrap.servers": line.broker.bootstrap, "group.id": "reader"})
    try:
        return {n: consumer.get_watermark_offsets(TopicPartition(line.input, n), 30)[1] for n in range(PARTITIONS)}
    finally:
        consumer.close()


@case("frameworks", f"MirrorMaker {CONNECT}", "all-restarted")
def all_restarted(run: Run) -> None:
    with Pipeline(run, run.own_broker(), into=run.own_broker()) as line:
        copied(line, run.unique("group"), exactly=False)


@case("frameworks", f"MirrorMaker {CONNECT}", "exactly-once-all-restarted")
def exactly_once(run: Run) -> None:
    with Pipeline(run, run.own_broker(), into=run.own_broker()) as line:
        copied(line, run.unique("group"), exactly=True)


@case("frameworks", f"MirrorMaker {CONNECT}", "from-apache-kafka-all-restarted")
def from_apache(run: Run) -> None:
    with Pipeline(run, run.own_broker(kind="apache"), into=run.own_broker()) as line:
        copied(line, run.unique("group"), exactly=True)


@case("frameworks", f"MirrorMaker {CONNECT}", "to-apache-kafka-all-restarted")
def to_apache(run: Run) -> None:
    with Pipeline(run, run.own_broker(), into=run.own_broker(kind="apache")) as line:
        copied(line, run.unique("group"), exactly=True)
