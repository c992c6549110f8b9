"""kafka-console-producer and kafka-console-consumer."""

import time

from interop.cases.releases import FOUR, RELEASES, Tools, tools
from kwire.coordinators.machine import partition_for

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


def producer_property(release: str) -> str:
    return "--reader-property" if release in FOUR else "--property"


def consumer_property(release: str) -> str:
    return "--formatter-property" if release in FOUR else "--property"


@tools(releases=RELEASES, smoke=True)
def console_round_trip(run: Tools) -> None:
    topic = run.topic()
    run.produce(topic, "one", "two", "{'user_id': 1, 'recipient_id': 2, 'message': 'Hi.'}")
    assert run.consume(topic, 3) == ["one", "two", "{'user_id': 1, 'recipient_id': 2, 'message': 'Hi.'}"]


@tools(releases=RELEASES)
def console_keys_and_separators(run: Tools) -> None:
    topic = run.topic()
    reader = producer_property(run.release)
    run.produce(topic, "k1=v1", "k2=v2", args=(reader, "parse.key=true", reader, "key.separator=="))
    formatter = consumer_property(run.release)
    seen = run.consume(topic, 2, formatter, "print.key=true", formatter, "key.separator=|")
    assert seen == ["k1|v1", "k2|v2"], seen


@tools(releases=(*FOUR, "3.9.1"))
def console_headers_partition_offset_timestamp(run: Tools) -> None:
    topic = run.topic()
    reader = producer_property(run.release)
    run.produce(topic, "h1:a,h2:b\tkey\tvalue", args=(reader, "parse.key=true", reader, "parse.headers=true"))
    formatter = consumer_property(run.release)
    wanted = [
        argument
        for name in ("key", "headers", "partition", "offset", "timestamp")
        for argument in (formatter, f"print.{name}=true")
    ]
    (line,) = run.consume(topic, 1, *wanted)
    words = line.split("\t")
    assert words[0].startswith("CreateTime:"), line
    assert words[1:] == ["Partition:0", "Offset:0", "h1:a,h2:b", "key", "value"], line


@tools(releases=(*FOUR, "3.9.1"))
def console_null_marker(run: Tools) -> None:
    topic = run.topic()
    reader = producer_property(run.release)
    run.produce(topic, "k\tNIL", "NIL\tv", args=(reader, "parse.key=true", reader, "null.marker=NIL"))
    formatter = consumer_property(run.release)
    seen = run.consume(topic, 2, formatter, "print.key=true", formatter, "null.literal=<none>")
    assert seen == ["k\t<none>", "<none>\tv"], seen


@tools(releases=RELEASES)
def console_every_codec(run: Tools) -> None:
    topic = run.topic()
    for codec in CODECS:
        run.produce(topic, *(f"{codec}-{n}" for n in range(20)), args=("--compression-codec", codec))
    assert run.consume(topic, 100) == [f"{codec}-{n}" for codec in CODECS for n in range(20)]


@tools(releases=RELEASES)
def console_acks_and_sync(run: Tools) -> None:
    topic = run.topic()
    for acks in ("0", "1", "all"):
        producer = "--command-property" if run.release in FOUR else "--producer-property"
        extra = (producer, "enable.idempotence=false") if acks != "all" and run.release != "2.8.2" else ()
        run.produce(topic, f"acks-{acks}", args=("--request-required-acks", acks, *extra))
    run.produce(topic, "sync", args=("--sync",))
    assert sorted(run.consume(topic, 4)) == ["acks-0", "acks-1", "acks-all", "sync"]


@tools(releases=RELEASES)
def console_one_partition_and_offset(run: Tools) -> None:
    topic = run.topic()
    run.produce(topic, *map(str, range(10)))
    read = ("--topic", topic, "--partition", "0", "--timeout-ms", "20000")
    assert run.tool("console-consumer", *read, "--offset", "7", "--max-messages", "3").ok().lines == ["7", "8", "9"]
    assert run.tool("console-consumer", *read, "--offset", "earliest", "--max-messages", "1").ok().lines == ["0"]


@tools(releases=RELEASES)
def console_only_new_without_from_beginning(run: Tools) -> None:
    topic = run.topic()
    run.produce(topic, "old")
    listening = run.start_tool("console-consumer", "--topic", topic, "--max-messages", "1", "--timeout-ms", "40000")
    # The consumer does not report its first fetch, so messages are sent until it has read one.
    for n in range(60):
        run.produce(topic, f"new-{n}")
        if "new" in listening.out:
            break
        time.sleep(0.2)  # the consumer has the time to print what it read
    seen = listening.wait().ok().lines
    assert len(seen) == 1, seen
    assert seen[0].startswith("new-"), seen


@tools(releases=RELEASES)
def console_group_resumes(run: Tools) -> None:
    topic, group = run.topic(), run.unique("group")
    run.produce(topic, "a", "b")
    assert run.consume(topic, 2, "--group", group) == ["a", "b"]
    run.produce(topic, "c")
    assert run.consume(topic, 1, "--group", group) == ["c"]


@tools(releases=(*FOUR, "3.9.1"))
def console_timeout_says_how_many(run: Tools) -> None:
    topic = run.topic()
    run.produce(topic, "a", "b")
    ended = run.tool("console-consumer", "--topic", topic, "--from-beginning", "--timeout-ms", "2000").ok()
    assert ended.lines == ["a", "b"]
    ended.prints("Processed a total of 2 messages")


@tools(releases=RELEASES)
def console_include_pattern(run: Tools) -> None:
    stem = run.unique("several")
    for suffix in ("a", "b"):
        run.tool("topics", "--create", "--topic", f"{stem}-{suffix}").ok()
        run.produce(f"{stem}-{suffix}", suffix)
    flag = "--include" if run.release != "2.8.2" else "--whitelist"
    seen = run.tool(
        "console-consumer", flag, f"{stem}-.*", "--from-beginning", "--max-messages", "2", "--timeout-ms", "20000"
    ).ok()
    assert sorted(seen.lines) == ["a", "b"]


@tools()
def console_auto_creates_a_topic(run: Tools) -> None:
    topic = run.unique("auto")
    run.produce(topic, "hello")
    assert run.consume(topic, 1) == ["hello"]
    run.tool("topics", "--describe", "--topic", topic).ok().prints("PartitionCount: 1")


@tools()
def console_isolation_levels(run: Tools) -> None:
    topic = run.topic()
    run.produce(topic, "plain")
    for level in ("read_committed", "read_uncommitted"):
        assert run.consume(topic, 1, "--isolation-level", level) == ["plain"]


@tools()
def console_offsets_formatter_reads_the_internal_topic(run: Tools) -> None:
    topic, group = run.topic(), run.unique("offsets")
    run.produce(topic, "a", "b", "c")
    run.consume(topic, 3, "--group", group)
    seen = run.tool(
        "console-consumer", "--topic", "__consumer_offsets", "--from-beginning", "--timeout-ms", "3000",
        "--formatter", "org.apache.kafka.tools.consumer.OffsetsMessageFormatter",
    )  # fmt: skip
    mine = [line for line in seen.ok().lines if group in line]
    assert mine, seen.out
    assert any('"offset":3' in line and topic in line for line in mine), mine


@tools()
def console_group_metadata_formatter(run: Tools) -> None:
    topic, group = run.topic(), run.unique("groupmeta")
    run.produce(topic, "a")
    run.consume(topic, 1, "--group", group, "--command-property", "group.protocol=classic")
    # The other groups of this broker, which write all the time, are mostly in other partitions.
    partition = str(partition_for(group, 50))
    seen = run.tool(
        "console-consumer", "--topic", "__consumer_offsets", "--partition", partition, "--offset", "earliest",
        "--timeout-ms", "3000", "--formatter", "org.apache.kafka.tools.consumer.GroupMetadataMessageFormatter",
    )  # fmt: skip
    assert any(group in line and '"protocolType":"consumer"' in line for line in seen.ok().lines), seen.out


@tools(releases=RELEASES)
def console_megabyte(run: Tools) -> None:
    topic = run.topic()
    run.produce(topic, "m" * 900_000)
    (line,) = run.consume(topic, 1)
    assert len(line) == 900_000


@tools()
def console_too_large_is_refused(run: Tools) -> None:
    topic = run.topic(configs={"max.message.bytes": "10000"})
    finished = run.tool("console-producer", "--topic", topic, stdin="m" * 50_000 + "\n")
    finished.prints("RecordTooLargeException")
    run.produce(topic, "small")
    assert run.consume(topic, 1) == ["small"]


@tools(releases=RELEASES)
def console_many_lines(run: Tools) -> None:
    topic = run.topic(partitions=3)
    lines = [f"line-{n}" for n in range(5000)]
    run.produce(topic, *lines)
    assert sorted(run.consume(topic, 5000)) == sorted(lines)


@tools(requires=("ConsumerGroupHeartbeat",))
def console_classic_and_new_group_protocol(run: Tools) -> None:
    topic = run.topic(partitions=2)
    run.produce(topic, "a", "b", "c")
    for protocol in ("classic", "consumer"):
        seen = run.consume(
            topic, 3, "--group", run.unique(protocol), "--command-property", f"group.protocol={protocol}"
        )
        assert sorted(seen) == ["a", "b", "c"], (protocol, seen)
