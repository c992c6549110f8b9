"""The twins of the official scripts against a real broker: kafka-console-producer and kafka-console-consumer."""

import json
import select
import signal
import time

import pytest
from script_runs import consume, process


def test_lines_become_records_and_lines_again(script, topic, produce):
    produce(topic, "a\nb\r\n\nd")
    assert consume(script, topic, "--from-beginning", "--max-messages", "4") == (
        0,
        "a\nb\n\nd\n",
        "Processed a total of 4 messages\n",
    )


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_records_of_every_codec_are_sent_and_read(script, topic, produce, codec):
    produce(topic, f"in {codec}\n" * 50, "--compression-codec", codec)
    read = consume(script, topic, "--from-beginning", "--max-messages", "50")
    assert read.out == f"in {codec}\n" * 50


def test_keys_headers_and_nulls_are_read_as_they_were_written(script, topic, produce):
    produce(
        topic,
        "h:1,n:NIL\tk\tv\n\tNIL\tNIL\n",
        "--reader-property", "parse.key=true",
        "--reader-property", "parse.headers=true",
        "--reader-property", "null.marker=NIL",
        "--reader-property", "ignore.error=true",
    )  # fmt: skip
    read = consume(
        script, topic, "--partition", "0", "--offset", "earliest", "--max-messages", "2",
        "--formatter-property", "print.key=true",
        "--formatter-property", "print.headers=true",
        "--formatter-property", "print.offset=true",
        "--formatter-property", "print.partition=true",
        "--formatter-property", "key.separator= | ",
    )  # fmt: skip
    assert read.lines == ["Partition:0 | Offset:0 | h:1,n:null | k | v", "Partition:0 | Offset:1 | :null | null | null"]


def test_reading_may_begin_anywhere_in_a_partition(script, topic, produce):
    produce(topic, "a\nb\nc\n")
    assert consume(script, topic, "--partition", "0", "--offset", "1", "--max-messages", "1").out == "b\n"
    assert consume(script, topic, "--partition", "0", "--from-beginning", "--max-messages", "1").out == "a\n"


def test_a_group_continues_at_the_last_printed_record(script, topic, produce):
    produce(topic, "a\nb\nc\n")
    group = ("--group", f"{topic}-group", "--from-beginning", "--max-messages")
    assert consume(script, topic, *group, "2").out == "a\nb\n"
    assert consume(script, topic, *group, "1").out == "c\n"


def test_without_a_group_no_group_remains(script, topic, produce):
    produce(topic, "a\n")
    assert consume(script, topic, "--from-beginning", "--max-messages", "1").out == "a\n"
    assert "console-consumer" not in script("kafka-consumer-groups", "--describe", "--all-groups").out


def test_a_record_that_cannot_be_shown_ends_the_script_or_is_skipped(script, topic, produce):
    produce(topic, "short\n12345678\n")
    as_long = ("--from-beginning", "--max-messages", "2", "--value-deserializer", "LongDeserializer")
    ended = consume(script, topic, *as_long)
    assert (ended.code, ended.out) == (1, "")
    assert "Size of data received by LongDeserializer is not 8" in ended.err
    assert consume(script, topic, *as_long, "--skip-message-on-error").out == "3544952156018063160\n"


def test_old_spellings_are_accepted_with_a_warning(script, bootstrap, topic, produce):
    sent = script(
        "kafka-console-producer", "--broker-list", bootstrap, "--topic", topic, "--property", "parse.key=true",
        stdin="k\tv\n", alone=True,
    )  # fmt: skip
    assert (sent.code, sent.err) == (0, "")
    assert sent.out.startswith("Warning: --property is deprecated")
    read = consume(script, topic, "--from-beginning", "--max-messages", "1", "--property", "print.key=true")
    assert read.lines[0].startswith("Option --property is deprecated")
    assert read.lines[1] == "k\tv"


def test_topics_are_read_by_expression_under_both_names(script, topic, produce):
    produce(topic, "a\n")
    for name in ("--include", "--whitelist"):
        read = script(
            "kafka-console-consumer", name, f"{topic}|none", "--from-beginning", "--max-messages", "1",
            "--timeout-ms", "150000",
        )  # fmt: skip
        assert read.out == "a\n"


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        ([], "Exactly one of the following arguments is required: [topic], [include]"),
        (["--topic", "t", "--offset", "1"], "The partition is required when offset is specified."),
        (["--topic", "t", "--partition", "0", "--group", "g"], "Options group and partition cannot be specified"),
        (["--topic", "t", "--partition", "0", "--offset", "x"], "The provided offset value 'x' is incorrect."),
        (["--include", "t", "--partition", "0"], "The topic is required when partition is specified."),
        (["--topic", "t", "--formatter", "my.Own"], "my.Own is a Java class that cannot be loaded here"),
        (["--topic", "t", "--isolation-level", "x"], "Invalid value x for configuration isolation.level"),
        (
            ["--topic", "t", "--from-beginning", "--command-property", "auto.offset.reset=latest"],
            "Can't simultaneously specify --from-beginning and 'auto.offset.reset=latest'",
        ),
        (["--topic", "t", "--command-property", "group.protocol=consumer"], "group.protocol=consumer is not supported"),
        (["--topic", "t", "--group", "a", "--command-property", "group.id=b"], "Detected group ids: 'a', 'b'"),
        (["--topic", "a,b"], "Invalid topics: [a,b]"),
    ],
)
def test_invalid_lines_of_the_consumer_are_refused(script, argv, complaint):
    ended = script("kafka-console-consumer", *argv)
    assert ended.code == 1
    assert complaint in ended.err


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["--reader-property", "parse.key=true"], "No key separator found on line number 2: 'x'"),
        (["--request-required-acks", "7"], "Invalid value 7 for configuration acks: String must be one of"),
        (["--compression-codec", "lz5"], "Invalid value lz5 for configuration compression.type"),
        (["--reader-property", "headers.delimiter=,"], "headers.delimiter and headers.separator may not be equal"),
        (["--line-reader", "my.Reader"], "my.Reader is a Java class"),
    ],
)
def test_invalid_lines_of_the_producer_are_refused(script, topic, argv, complaint):
    ended = script("kafka-console-producer", "--topic", topic, *argv, stdin="k\tv\nx\n")
    assert ended.code == 1
    assert complaint in ended.err


def test_lines_before_an_invalid_line_are_sent(script, topic):
    script("kafka-console-producer", "--topic", topic, "--reader-property", "parse.key=true", stdin="k\tgood\nbad\n")
    assert consume(script, topic, "--from-beginning", "--max-messages", "1").out == "good\n"


def test_a_refused_record_is_printed_and_the_script_continues(script):
    sent = script("kafka-console-producer", "--topic", "no good", stdin="abc\n")
    assert sent.code == 0
    assert sent.err == (
        "ERROR Error when sending message to topic no good with key: null, value: 3 bytes with error:\n"
        "org.apache.kafka.common.errors.InvalidTopicException: Invalid topics: [no good]\n"
    )
    assert script("kafka-console-producer", "--topic", "no good", "--sync", stdin="abc\n").code == 1


def test_records_of_internal_topics_are_shown_as_json(script, topic, produce):
    produce(topic, "a\n")
    consume(script, topic, "--group", f"{topic}-json", "--from-beginning", "--max-messages", "1")
    commits = []
    # A read ends when nothing came for some time: the first, on a busy machine, before the records.
    for timeout_ms in ("1500", "15000"):
        shown = script(
            "kafka-console-consumer", "--topic", "__consumer_offsets", "--from-beginning", "--timeout-ms", timeout_ms,
            "--formatter", "org.apache.kafka.tools.consumer.OffsetsMessageFormatter",
        ).out  # fmt: skip
        documents = [json.loads(f'{{"key"{text}') for text in shown.split('{"key"')[1:]]
        commits = [each for each in documents if each["key"]["data"]["group"] == f"{topic}-json"]
        if commits:
            break
    commit = commits[-1]  # the consumer may have committed by its clock before it did so at its end
    assert commit["key"] == {"type": 1, "data": {"group": f"{topic}-json", "topic": topic, "partition": 0}}
    assert commit["value"]["data"]["offset"] == 1


def test_only_new_records_are_read_without_from_beginning(bootstrap, topic, produce):
    produce(topic, "old\n")
    reader = process(bootstrap, "kafka-console-consumer", "--topic", topic)
    try:
        deadline = time.monotonic() + 150
        while not select.select([reader.stdout], [], [], 0.1)[0]:
            assert time.monotonic() < deadline, "the consumer printed nothing"
            produce(topic, "new\n")
        reader.send_signal(signal.SIGINT)
        out, err = reader.communicate(timeout=150)
    finally:
        reader.kill()
        reader.wait()
    lines = out.splitlines()
    assert set(lines) == {"new"}
    assert err == f"Processed a total of {len(lines)} messages\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_consumer_leaves_its_group_and_prints_its_count(bootstrap, script, topic, number, code):
    script("kafka-console-producer", "--topic", topic, stdin="a\nb\n")
    group = f"stopped-{code}"
    reader = process(bootstrap, "kafka-console-consumer", "--topic", topic, "--group", group, "--from-beginning")
    try:
        assert [reader.stdout.readline(), reader.stdout.readline()] == ["a\n", "b\n"]
        reader.send_signal(number)
        _, err = reader.communicate(timeout=150)
    finally:
        reader.kill()
        reader.wait()
    assert reader.returncode == code
    assert err == "Processed a total of 2 messages\n"
    assert "Empty" in script("kafka-consumer-groups", "--describe", "--group", group, "--state").out


def test_a_reader_of_the_output_may_leave(bootstrap, topic, produce):
    produce(topic, "a\n" * 1000)
    reader = process(bootstrap, "kafka-console-consumer", "--topic", topic, "--from-beginning")
    try:
        assert reader.stdout.readline() == "a\n"
        reader.stdout.close()
        produce(topic, "b\n" * 100_000)
        err = reader.stderr.read()
        assert reader.wait(150) != 0
    finally:
        reader.kill()
        reader.stderr.close()
        reader.wait()
    assert err.startswith("Unable to write to standard out, closing consumer.\n")
    assert "Traceback" not in err
