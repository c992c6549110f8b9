"""The twins of the official scripts against a real broker: what they print, where, and their exit codes."""

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from kwire.cli.script_twins import TWINS, run, server_start, server_stop


class Ended(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def lines(self):
        return self.out.splitlines()


@pytest.fixture
def script(bootstrap, capsys, monkeypatch, tmp_path):
    """Runs a script in this process, with the broker's address on its line unless ``alone``."""

    def ended(name, *argv, stdin=None, alone=False):
        server = [] if alone else ["--bootstrap-server", bootstrap]
        if stdin is not None:
            (tmp_path / "stdin").write_text(stdin, newline="")
        capsys.readouterr()
        with Path(os.devnull if stdin is None else tmp_path / "stdin").open() as given:
            monkeypatch.setattr(sys, "stdin", given)
            try:
                code = run(name, [*server, *argv])
            except SystemExit as leaving:
                code = leaving.code
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return ended


@pytest.fixture
def topic(request, script):
    """A topic of the test's own, of one partition."""
    name = re.sub(r"[\W_]+", "-", f"{request.node.name[:100]}-{os.getpid()}")
    assert script("kafka-topics", "--create", "--topic", name, "--partitions", "1").code == 0
    return name


@pytest.fixture
def produce(script):
    def sent(topic, text, *argv):
        ended = script("kafka-console-producer", "--topic", topic, *argv, stdin=text)
        assert ended == (0, "", "")

    return sent


def process(bootstrap, name, *argv, **how):
    """A script as a process of its own."""
    command = [sys.executable, "-m", "kwire", "scripts", name, "--bootstrap-server", bootstrap, *argv]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **how)


# ---- kafka-topics


def test_a_topic_s_life(script):
    made = script("kafka-topics", "--create", "--topic", "life", "--partitions", "2", "--config", "retention.ms=7000")
    assert made == (0, "Created topic life.\n", "")
    assert "life" in script("kafka-topics.sh", "--list").lines
    described = script("kafka-topics", "--describe", "--topic", "life")
    assert re.sub(r"TopicId: \S+", "TopicId: ID", described.out) == (
        "Topic: life\tTopicId: ID\tPartitionCount: 2\tReplicationFactor: 1\t"
        "Configs: min.insync.replicas=1,retention.ms=7000\n"
        "\tTopic: life\tPartition: 0\tLeader: 1\tReplicas: 1\tIsr: 1\tElr: \tLastKnownElr: \n"
        "\tTopic: life\tPartition: 1\tLeader: 1\tReplicas: 1\tIsr: 1\tElr: \tLastKnownElr: \n"
    )
    topic_id = re.search(r"TopicId: (\S+)", described.out)[1]
    assert "Elr: N/A" in script("kafka-topics", "--describe", "--topic-id", topic_id).out
    assert script("kafka-topics", "--alter", "--topic", "life", "--partitions", "5") == (0, "", "")
    assert "PartitionCount: 5" in script("kafka-topics", "--describe", "--topic", "life").out
    assert script("kafka-topics", "--delete", "--topic", "life") == (0, "", "")
    assert "life" not in script("kafka-topics", "--list").lines


def failed(message):
    return (1, f"Error while executing topic command : {message}\n", "")


def test_refusals_are_told_on_stdout_with_exit_code_1(script, topic):
    assert script("kafka-topics", "--create", "--topic", topic) == failed(f"Topic '{topic}' already exists.")
    assert script("kafka-topics", "--create", "--topic", topic, "--if-not-exists") == (0, "", "")
    missing = failed("Topic 'no-such' does not exist as expected")
    for action in ("--describe", "--delete"):
        assert script("kafka-topics", action, "--topic", "no-such") == missing
        assert script("kafka-topics", action, "--topic", "no-such", "--if-exists") == (0, "", "")
    assert script("kafka-topics", "--alter", "--topic", topic, "--partitions", "1") == failed(
        "Topic already has 1 partition(s)."
    )
    assert script("kafka-topics", "--create", "--topic", "x", "--partitions", "0") == failed(
        "The partitions must be greater than 0"
    )
    assert script("kafka-topics", "--create", "--topic", "x", "--config", "nosuch=1") == failed(
        "Unknown topic config name: nosuch"
    )
    assert script("kafka-topics", "--create", "--topic", "x", "--replica-assignment", "1:1") == failed(
        "Partition replica lists may not contain duplicate entries: 1"
    )


def test_a_wrong_line_is_refused_on_stderr(script):
    both = script("kafka-topics", "--list", "--create")
    assert both.code == 1
    assert both.out == ""
    assert both.err.startswith("Command must include exactly one action: --list, --describe, --create, --alter or")
    assert script("kafka-topics", "--create").err.startswith('Missing required argument "[topic]"')
    assert script("kafka-topics", "--list", alone=True) == (1, "", "--bootstrap-server must be specified\n")
    assert script("kafka-topics", "--nosuch").err == "nosuch is not a recognized option\n"


def test_topics_are_chosen_by_expression_and_by_state(script, topic):
    assert script("kafka-topics", "--list", "--topic", f"{topic}|nothing").out == f"{topic}\n"
    assert script("kafka-topics", "--list", "--topic", "nothing").out == "\n"
    at_min = script("kafka-topics", "--describe", "--topic", topic, "--at-min-isr-partitions")
    assert at_min.lines == [f"\tTopic: {topic}\tPartition: 0\tLeader: 1\tReplicas: 1\tIsr: 1\tElr: \tLastKnownElr: "]
    for state in ("under-replicated", "unavailable", "under-min-isr"):
        assert script("kafka-topics", "--describe", "--topic", topic, f"--{state}-partitions") == (0, "", "")


def test_a_name_that_metrics_confuse_is_warned_of(script):
    made = script("kafka-topics", "--create", "--topic", "dotted.name")
    assert made.lines[0].startswith("WARNING: Due to limitations in metric names")
    assert made.lines[1] == "Created topic dotted.name."


def test_zookeeper_is_taken_and_the_broker_asked(script, bootstrap, monkeypatch):
    monkeypatch.setenv("KWIRE_BOOTSTRAP", bootstrap)
    made = script("kafka-topics", "--create", "--zookeeper", "zookeeper:2181", "--topic", "by-zookeeper", alone=True)
    assert (made.code, made.out) == (0, "Created topic by-zookeeper.\n")
    assert f"asking the broker {bootstrap} instead of zookeeper:2181" in made.err


def test_a_broker_that_is_not_there_is_told_at_once_and_waited_for(script, tmp_path):
    (tmp_path / "short").write_text("default.api.timeout.ms=0\n")
    gone = script(
        "kafka-topics", "--list", "--bootstrap-server", "localhost:1", "--command-config", str(tmp_path / "short"),
        alone=True,
    )  # fmt: skip
    assert gone.code == 1
    assert gone.out == (
        "Error while executing topic command : Timed out waiting for a node assignment. Call: listTopics\n"
    )
    assert gone.err == "WARN kafka-topics: nothing listens on localhost:1 (connection refused)\n"


def test_a_name_that_does_not_resolve_is_refused_at_once(script):
    gone = script("kafka-topics", "--list", "--bootstrap-server", "kwire.invalid:9092", alone=True)
    assert gone.code == 1
    assert "No resolvable bootstrap urls given in bootstrap.servers" in gone.err


# ---- the console


def consume(script, topic, *argv):
    return script("kafka-console-consumer", "--topic", topic, "--timeout-ms", "3000", *argv)


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


def test_keys_headers_and_nulls_go_there_and_back(script, topic, produce):
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


def test_a_group_goes_on_where_it_stopped_and_not_beyond(script, topic, produce):
    produce(topic, "a\nb\nc\n")
    group = ("--group", f"{topic}-group", "--from-beginning", "--max-messages")
    assert consume(script, topic, *group, "2").out == "a\nb\n"
    assert consume(script, topic, *group, "1").out == "c\n"


def test_without_a_group_nothing_is_left_behind(script, topic, produce):
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


def test_old_spellings_are_taken_with_a_word(script, bootstrap, topic, produce):
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
            "--timeout-ms", "3000",
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
def test_consumer_lines_that_make_no_sense_are_refused(script, argv, complaint):
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
def test_producer_lines_that_make_no_sense_are_refused(script, topic, argv, complaint):
    ended = script("kafka-console-producer", "--topic", topic, *argv, stdin="k\tv\nx\n")
    assert ended.code == 1
    assert complaint in ended.err


def test_what_was_read_before_a_bad_line_is_sent(script, topic):
    script("kafka-console-producer", "--topic", topic, "--reader-property", "parse.key=true", stdin="k\tgood\nbad\n")
    assert consume(script, topic, "--from-beginning", "--max-messages", "1").out == "good\n"


def test_a_record_that_is_refused_is_told_and_the_script_goes_on(script):
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
    shown = script(
        "kafka-console-consumer", "--topic", "__consumer_offsets", "--from-beginning", "--timeout-ms", "1500",
        "--formatter", "org.apache.kafka.tools.consumer.OffsetsMessageFormatter",
    ).out  # fmt: skip
    documents = [json.loads(f'{{"key"{text}') for text in shown.split('{"key"')[1:]]
    # The consumer may have committed by its clock before it did so at its end.
    commit = [each for each in documents if each["key"]["data"]["group"] == f"{topic}-json"][-1]
    assert commit["key"] == {"type": 1, "data": {"group": f"{topic}-json", "topic": topic, "partition": 0}}
    assert commit["value"]["data"]["offset"] == 1


def test_only_new_records_are_read_without_from_beginning(bootstrap, topic, produce):
    produce(topic, "old\n")
    reader = process(bootstrap, "kafka-console-consumer", "--topic", topic)
    try:
        deadline = time.monotonic() + 30
        while not select.select([reader.stdout], [], [], 0.1)[0]:
            assert time.monotonic() < deadline, "the consumer printed nothing"
            produce(topic, "new\n")
        reader.send_signal(signal.SIGINT)
        out, err = reader.communicate(timeout=30)
    finally:
        reader.kill()
        reader.wait()
    lines = out.splitlines()
    assert set(lines) == {"new"}
    assert err == f"Processed a total of {len(lines)} messages\n"


def _until_stable(script, group):
    deadline = time.monotonic() + 30
    while "Stable" not in script("kafka-consumer-groups", "--describe", "--group", group, "--state").out:
        assert time.monotonic() < deadline, f"group {group} did not become stable"
        time.sleep(0.05)  # another process is starting


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_consumer_that_is_stopped_leaves_its_group_and_says_how_much_it_read(bootstrap, script, topic, number, code):
    script("kafka-console-producer", "--topic", topic, stdin="a\nb\n")
    group = f"stopped-{code}"
    reader = process(bootstrap, "kafka-console-consumer", "--topic", topic, "--group", group, "--from-beginning")
    try:
        assert [reader.stdout.readline(), reader.stdout.readline()] == ["a\n", "b\n"]
        reader.send_signal(number)
        _, err = reader.communicate(timeout=30)
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
        assert reader.wait(30) != 0
    finally:
        reader.kill()
        reader.stderr.close()
        reader.wait()
    assert err.startswith("Unable to write to standard out, closing consumer.\n")


# ---- kafka-consumer-groups


@pytest.fixture
def group(script, topic, produce):
    """A group that has read two of the topic's five records and left."""
    produce(topic, "1\n2\n3\n4\n5\n")
    name = f"{topic}-g"[-40:]
    consume(script, topic, "--group", name, "--from-beginning", "--max-messages", "2")
    return name


def row(*columns):
    return re.compile(r"\s+".join(re.escape(str(column)) for column in columns))


def test_a_group_is_described(script, topic, group):
    described = script("kafka-consumer-groups", "--describe", "--group", group)
    assert described.err == f"\nConsumer group '{group}' has no active members.\n"
    heading = ("GROUP", "TOPIC", "PARTITION", "CURRENT-OFFSET", "LOG-END-OFFSET", "LAG", "CONSUMER-ID", "HOST")
    assert described.lines[0] == ""
    assert row(*heading, "CLIENT-ID").fullmatch(described.lines[1])
    assert row(group, topic, 0, 2, 5, 3, "-", "-", "-").fullmatch(described.lines[2])
    state = script("kafka-consumer-groups", "--describe", "--group", group, "--state")
    assert row("Empty", 0).search(state.lines[2])
    assert group in script("kafka-consumer-groups", "--list").lines
    listed = script("kafka-consumer-groups", "--list", "--state", "empty", "--type")
    assert any(row(group, "Classic", "Empty", "").fullmatch(line) for line in listed.lines)


def test_members_are_described(bootstrap, script, topic):
    reader = process(
        bootstrap, "kafka-console-consumer", "--topic", topic, "--group", "membered",
        "--command-property", "client.id=me", "--command-property", "group.instance.id=one",
    )  # fmt: skip
    try:
        _until_stable(script, "membered")
        members = script("kafka-consumer-groups", "--describe", "--group", "membered", "--members", "--verbose")
        live = script("kafka-consumer-groups", "--describe", "--group", "membered")
        refused = script("kafka-consumer-groups", "--delete", "--group", "membered")
        moved = script(
            "kafka-consumer-groups", "--reset-offsets", "--group", "membered", "--topic", topic, "--to-earliest",
            "--execute",
        )  # fmt: skip
    finally:
        reader.terminate()
        reader.communicate(timeout=30)
    assert re.search(rf"membered\s+one-\S+\s+one\s+/127\.0\.0\.1\s+me\s+1\s+-\s+{topic}:0\s+-\s+-", members.out)
    assert re.search(rf"membered\s+{topic}\s+0\s+.*one-\S+\s+/127\.0\.0\.1\s+me", live.out)
    assert "could not be deleted due to: org.apache.kafka.common.errors.GroupNotEmptyException" in refused.out
    assert "Assignments can only be reset if the group 'membered' is inactive, but the current state is" in moved.out


def test_a_group_that_is_not_there_is_told_with_exit_code_0(script):
    missing = script("kafka-consumer-groups", "--describe", "--group", "nobody")
    assert missing.code == 0
    assert missing.out == (
        "\nError: Executing consumer group command failed due to"
        " org.apache.kafka.common.errors.GroupIdNotFoundException: Group nobody not found.\n"
    )


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--to-earliest"], 0),
        (["--to-latest"], 5),
        (["--to-current"], 2),
        (["--to-offset", "4"], 4),
        (["--to-offset", "99"], 5),
        (["--shift-by", "-1"], 1),
        (["--shift-by", "-9"], 0),
        (["--to-datetime", "2000-01-01T00:00:00.000"], 0),
        (["--to-datetime", "2000-01-01T00:00:00.000+05:30"], 0),
        (["--to-datetime", "2199-01-01T00:00:00.000"], 5),
        (["--by-duration", "P1DT2H3M4.5S"], 0),
        (["--by-duration", "PT0S"], 5),
    ],
)
def test_offsets_are_moved_in_every_way(script, topic, group, argv, expected):
    planned = script("kafka-consumer-groups", "--reset-offsets", "--group", group, "--all-topics", "--dry-run", *argv)
    assert row(group, topic, 0, expected).fullmatch(planned.lines[-1])
    assert row(group, topic, 0, 2, 5, 3).match(script("kafka-consumer-groups", "--describe", "--group", group).lines[2])
    script("kafka-consumer-groups", "--reset-offsets", "--group", group, "--topic", f"{topic}:0", "--execute", *argv)
    described = script("kafka-consumer-groups", "--describe", "--group", group).lines[2]
    assert row(group, topic, 0, expected, 5, 5 - expected).match(described)


def test_moved_offsets_are_exported_and_read_back(script, topic, group, tmp_path):
    reset = ("--reset-offsets", "--group", group, "--topic", topic, "--dry-run")
    exported = script("kafka-consumer-groups", *reset, "--to-offset", "4", "--export")
    assert exported.out == f"{topic},0,4\n\n"
    (tmp_path / "plan.csv").write_text(exported.out)
    back = script("kafka-consumer-groups", *reset, "--from-file", str(tmp_path / "plan.csv"))
    assert row(group, topic, 0, 4).fullmatch(back.lines[-1])
    gone = script("kafka-consumer-groups", *reset, "--from-file", str(tmp_path / "none.csv"))
    assert "Unable to read file" in gone.out


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["--to-datetime", "yesterday"], "It does not contain a 'T' according to ISO8601 format"),
        (["--to-datetime", "2020-01-01T00:00"], 'Unparseable date: "2020-01-01T00:00Z"'),
        (["--by-duration", "1 day"], "Text cannot be parsed to a Duration"),
        (["--to-offset", "x"], "Cannot parse argument 'x' of option to-offset"),
    ],
)
def test_times_that_cannot_be_read_are_told(script, group, argv, complaint):
    ended = script("kafka-consumer-groups", "--reset-offsets", "--group", group, "--all-topics", "--dry-run", *argv)
    assert ended.code == 0
    assert complaint in ended.out


def test_moving_offsets_without_execute_says_that_nothing_happens(script, group):
    ended = script("kafka-consumer-groups", "--reset-offsets", "--group", group, "--all-topics", "--to-earliest")
    assert ended.err.startswith("WARN: No action will be performed as the --execute option is missing.")


def test_offsets_and_groups_are_deleted(script, topic, group):
    forgotten = script("kafka-consumer-groups", "--delete-offsets", "--group", group, "--topic", topic)
    assert forgotten.lines[0] == f"Request succeeded for deleting offsets from group {group}."
    assert row(topic, 0, "Successful", "").fullmatch(forgotten.lines[3])
    deleted = script("kafka-consumer-groups", "--delete", "--group", group)
    again = script("kafka-consumer-groups", "--delete", "--group", group)
    # A group without members goes with its last offset.
    assert "GroupIdNotFoundException: The group id does not exist." in deleted.out + again.out
    assert again.lines[1] == "Error: Deletion of some consumer groups failed:"


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        ([], "Command must include exactly one action"),
        (["--describe"], "Option [describe] takes one of these options: [group], [all-groups]"),
        (["--describe", "--group", "g", "--members", "--state"], "takes at most one of these options"),
        (["--list", "--group", "g"], 'Option "[group]" can\'t be used with option "[list]"'),
        (["--list", "--state", "odd"], "Invalid state list 'odd'. Valid states are: "),
        (["--list", "--type", "odd"], "Invalid types list 'odd'. Valid types are: Consumer, Classic"),
        (["--reset-offsets", "--group", "g", "--dry-run", "--to-latest"], "One of the reset scopes should be defined"),
        (["--reset-offsets", "--group", "g", "--all-topics", "--dry-run"], "requires one of the following scenarios"),
        (["--delete-offsets", "--group", "g"], "takes the following options: [topic], [group]"),
    ],
)
def test_group_lines_that_make_no_sense_are_refused(script, argv, complaint):
    ended = script("kafka-consumer-groups", *argv)
    assert ended.code == 1
    assert complaint in ended.err


def test_an_expression_is_validated_without_a_broker(script):
    assert script("kafka-consumer-groups", "--validate-regex", "a.*", alone=True).out == (
        "The regular expression `a.*` is valid.\n"
    )
    assert script("kafka-consumer-groups", "--validate-regex", "a(*", alone=True).out == (
        "The regular expression `a(*` is invalid: missing argument to repetition operator.\n"
    )


def test_bytes_that_are_not_utf_8_become_replacement_characters(bootstrap, script, topic):
    sender = process(bootstrap, "kafka-console-producer", "--topic", topic, stdin=subprocess.PIPE)
    sender.stdin.buffer.write(b"a\xff\xfeb\xe2\x82\n")
    assert sender.communicate(timeout=30) == ("", "")
    assert consume(script, topic, "--from-beginning", "--max-messages", "1").out == "a\ufffd\ufffdb\ufffd\n"


# ---- kafka-configs


def test_topic_configs_are_set_shown_and_set_back(script, topic):
    alter = ("--alter", "--entity-type", "topics", "--entity-name", topic)
    done = f"Completed updating config for topic {topic}.\n"
    added = script("kafka-configs", *alter, "--add-config", "retention.ms=5000,cleanup.policy=[compact,delete]")
    assert added == (0, done, "")
    assert script("kafka-configs", "--describe", "--topic", topic).lines == [
        f"Dynamic configs for topic {topic} are:",
        (
            "  cleanup.policy=compact,delete sensitive=false "
            "synonyms={DYNAMIC_TOPIC_CONFIG:cleanup.policy=compact,delete, DEFAULT_CONFIG:log.cleanup.policy=delete}"
        ),
        "  retention.ms=5000 sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:retention.ms=5000}",
    ]
    assert script("kafka-configs", *alter, "--delete-config", "retention.ms,cleanup.policy").out == done
    assert len(script("kafka-configs", "--describe", "--topic", topic).lines) == 1
    assert len(script("kafka-configs", "--describe", "--topic", topic, "--all").lines) > 30


def test_configs_come_from_a_file(script, topic, tmp_path):
    (tmp_path / "configs").write_text("retention.ms=77\nmax.message.bytes=2000\n")
    script("kafka-configs", "--alter", "--topic", topic, "--add-config-file", str(tmp_path / "configs"))
    shown = script("kafka-configs", "--describe", "--topic", topic).out
    assert "  max.message.bytes=2000 " in shown
    assert "  retention.ms=77 " in shown


def test_config_refusals_name_the_line_and_the_reason(script, topic):
    refused = script("kafka-configs", "--alter", "--topic", topic, "--add-config", "nosuch=1")
    assert refused.code == 1
    assert refused.err.splitlines()[0].startswith("Error while executing config command with args '--bootstrap-server")
    assert refused.err.splitlines()[1].endswith("InvalidConfigurationException: Unknown topic config name: nosuch")
    missing = script("kafka-configs", "--describe", "--topic", "no-such")
    assert missing == (0, "The topic 'no-such' doesn't exist and doesn't have dynamic config.\n", "")


def test_brokers_have_configs_of_their_own_and_defaults(script):
    script("kafka-configs", "--alter", "--broker", "1", "--add-config", "log.cleaner.threads=2")
    assert "  log.cleaner.threads=2 sensitive=false" in script("kafka-configs", "--describe", "--broker", "1").out
    script("kafka-configs", "--alter", "--broker", "1", "--delete-config", "log.cleaner.threads")
    assert script("kafka-configs", "--describe", "--broker", "1").lines == ["Dynamic configs for broker 1 are:"]
    every = script("kafka-configs", "--describe", "--entity-type", "brokers").lines
    assert "Default configs for brokers in the cluster are:" in every
    assert script("kafka-configs", "--describe", "--broker", "9").out == (
        "The broker '9' doesn't exist and doesn't have dynamic config.\n"
    )


def test_quotas_are_set_for_users_clients_and_defaults(script):
    alter = ("--alter", "--entity-type", "users", "--entity-name", "quota-user")
    script("kafka-configs", *alter, "--add-config", "producer_byte_rate=1024,consumer_byte_rate=2048")
    script(
        "kafka-configs",
        *alter,
        "--entity-type",
        "clients",
        "--entity-name",
        "c",
        "--add-config",
        "request_percentage=5",
    )
    script(
        "kafka-configs", "--alter", "--user", "quota-user", "--client-defaults", "--add-config", "request_percentage=7"
    )
    assert script("kafka-configs", "--describe", "--user", "quota-user").out == (
        "Quota configs for user-principal 'quota-user' are consumer_byte_rate=2048.0, producer_byte_rate=1024.0\n"
    )
    both = script("kafka-configs", "--describe", "--user", "quota-user", "--entity-type", "clients").lines
    assert sorted(both) == [
        "Quota configs for user-principal 'quota-user', client-id 'c' are request_percentage=5.0",
        "Quota configs for user-principal 'quota-user', the default client-id are request_percentage=7.0",
    ]
    script("kafka-configs", *alter, "--delete-config", "producer_byte_rate,consumer_byte_rate")
    assert script("kafka-configs", "--describe", "--user", "quota-user").out == ""


def test_scram_credentials_are_set_shown_and_deleted(script):
    alter = ("--alter", "--entity-type", "users", "--entity-name", "scram-user")
    script("kafka-configs", *alter, "--add-config", "SCRAM-SHA-256=[iterations=8192,password=secret]")
    script("kafka-configs", *alter, "--add-config", "SCRAM-SHA-512=[password=secret]")
    said, _, credentials = script("kafka-configs", "--describe", "--user", "scram-user").out.partition(" are ")
    assert said == "SCRAM credential configs for user-principal 'scram-user'"
    assert sorted(credentials.strip().split(", ")) == [
        "SCRAM-SHA-256=iterations=8192",
        "SCRAM-SHA-512=iterations=4096",
    ]
    script("kafka-configs", *alter, "--delete-config", "SCRAM-SHA-256")
    assert "SHA-256" not in script("kafka-configs", "--describe", "--user", "scram-user").out
    weak = script("kafka-configs", *alter, "--add-config", "SCRAM-SHA-256=[iterations=1,password=x]")
    assert weak.err == "Iterations 1 is less than the minimum 4096 required for SCRAM-SHA-256\n"


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["--describe"], "At least one entity type must be specified"),
        (["--describe", "--entity-type", "odd"], "Invalid entity type odd, the entity type must be one of topics"),
        (["--describe", "--topic", "t", "--entity-type", "topics"], "Duplicate entity type(s) specified: topics"),
        (["--alter", "--topic", "t"], "At least one of --add-config, --add-config-file, or --delete-config"),
        (
            ["--alter", "--entity-type", "topics", "--add-config", "a=b"],
            "An entity name must be specified with --alter",
        ),
        (["--alter", "--topic", "t", "--add-config", "a"], "Invalid entity config: all configs to be added must be in"),
        (["--describe", "--broker", "x"], "must be a valid integer broker id, but it is: x"),
        (["--alter", "--client", "c", "--add-config", "a=1"], "Unexpected config names: Set(a)"),
        (
            ["--alter", "--user", "u", "--add-config", "SCRAM-SHA-512=[password=x],producer_byte_rate=5"],
            "Cannot alter both quota and SCRAM credential configs simultaneously",
        ),
    ],
)
def test_config_lines_that_make_no_sense_are_refused(script, argv, complaint):
    ended = script("kafka-configs", *argv)
    assert ended.code == 1
    assert complaint in ended.err


# ---- offsets, records, directories, the cluster


def test_offsets_are_printed_for_topics_and_partitions(script, topic, produce):
    produce(topic, "a\nb\n")
    assert script("kafka-get-offsets", "--topic", topic).out == f"{topic}:0:2\n"
    assert script("kafka-get-offsets", "--topic", topic, "--time", "earliest").out == f"{topic}:0:0\n"
    assert script("kafka-get-offsets", "--topic", topic, "--time", "0").out == f"{topic}:0:0\n"
    assert script("kafka-get-offsets", "--topic", topic, "--time", "9999999999999").out == ""
    assert script("kafka-get-offsets", "--topic-partitions", f"{topic}:0-1,none").out == f"{topic}:0:2\n"
    assert script("kafka-get-offsets", "--topic-partitions", f"{topic}:1-").code == 1


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["--topic", "no-such"], "Could not match any topic-partitions with the specified filters"),
        (["--time", "noon"], "Malformed time argument noon. Please use -1 or latest / -2 or earliest"),
        (
            ["--partitions", "x"],
            "--partitions expects a comma separated list of numeric partition ids, but received: x",
        ),
        (["--topic", "a", "--topic-partitions", "a:1"], "--topic-partitions cannot be used with --topic or"),
        (["--topic-partitions", "a:x"], "Invalid rule specification: a:x"),
    ],
)
def test_offset_lines_that_make_no_sense_are_refused(script, argv, complaint):
    ended = script("kafka-get-offsets", *argv)
    assert ended.code == 1
    assert ended.err.startswith("Error occurred: ")
    assert complaint in ended.err


def test_records_are_deleted_up_to_an_offset(script, topic, produce, tmp_path):
    produce(topic, "a\nb\nc\n")
    path = tmp_path / "offsets.json"
    path.write_text(
        json.dumps(
            {
                "version": 1,
                "partitions": [
                    {"topic": topic, "partition": 0, "offset": 2},
                    {"topic": "no-such", "partition": 0, "offset": 2},
                ],
            }
        )
    )
    deleted = script("kafka-delete-records", "--offset-json-file", str(path))
    assert deleted.lines[:2] == ["Executing records delete operation", "Records delete operation completed:"]
    assert f"partition: {topic}-0\tlow_watermark: 2" in deleted.lines
    assert any(line.startswith("partition: no-such-0\terror: org.apache") for line in deleted.lines)
    assert script("kafka-get-offsets", "--topic", topic, "--time", "earliest").out == f"{topic}:0:2\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "The input string is not a valid JSON"),
        ('{"version": 2, "partitions": []}', "Not supported version field value 2"),
        ('{"version": 1}', "Missing partitions field"),
        ('{"partitions": [{"topic": "t", "partition": 0}]}', "No such field exists: `offset`"),
        (
            json.dumps({"partitions": [{"topic": "t", "partition": 0, "offset": 1}] * 2}),
            "Offset json file contains duplicate topic partitions: t-0",
        ),
    ],
)
def test_a_file_of_offsets_that_makes_no_sense_is_refused(script, tmp_path, text, complaint):
    (tmp_path / "offsets.json").write_text(text)
    ended = script("kafka-delete-records", "--offset-json-file", str(tmp_path / "offsets.json"))
    assert ended == (1, "", f"{complaint}\n")


def test_log_directories_are_described_as_json(script, topic, produce):
    produce(topic, "a\n")
    described = script("kafka-log-dirs", "--describe", "--topic-list", topic)
    assert described.lines[:2] == [
        "Querying brokers for log directories information",
        "Received log directory information from brokers 1",
    ]
    document = json.loads(described.lines[2])
    [directory] = document["brokers"][0]["logDirs"]
    [partition] = directory["partitions"]
    assert directory["error"] is None
    assert partition["partition"] == f"{topic}-0"
    assert partition["size"] > 60
    missing = script("kafka-log-dirs", "--describe", "--broker-list", "1,7")
    assert missing == (
        1,
        "",
        "ERROR: The given brokers do not exist from --broker-list: 7. Current existent brokers: 1\n",
    )


def test_served_versions_are_listed(script, bootstrap):
    listed = script("kafka-broker-api-versions").lines
    assert listed[0] == f"{bootstrap} (id: 1 rack: null isFenced: false) -> ("
    assert "\tProduce(0): 0 to 13 [usable: 13]," in listed
    assert "\tInitProducerId(22): 0 to 5 [usable: 5]," in listed
    assert listed[-1] == ")"


def test_the_cluster_is_identified(script, bootstrap):
    assert re.fullmatch(
        r"Cluster ID: [\w-]{22}\n", script("kafka-cluster", "cluster-id", *_b(bootstrap), alone=True).out
    )
    listed = script("kafka-cluster", "list-endpoints", *_b(bootstrap), alone=True).lines
    assert listed[0].split() == ["ID", "HOST", "PORT", "RACK", "STATE", "ENDPOINT_TYPE"]
    assert listed[1].split() == ["1", *bootstrap.split(":"), "null", "unfenced", "broker"]
    gone = script("kafka-cluster", "unregister", *_b(bootstrap), "--id", "77", alone=True)
    assert gone.code == 1
    assert "BrokerIdNotRegisteredException" in gone.err


def _b(bootstrap):
    return ["--bootstrap-server", bootstrap]


def test_features_are_described_and_changed(script):
    described = script("kafka-features", "describe").lines
    assert re.fullmatch(
        r"Feature: metadata\.version {26}SupportedMinVersion: 3\.3-IV3 {10}SupportedMaxVersion: \S+ +"
        r"FinalizedVersionLevel: \S+ +Epoch: \d+",
        next(line for line in described if "metadata.version" in line),
    )
    refused = script("kafka-features", "upgrade", "--feature", "nosuch.version=7")
    assert refused.code == 1
    assert refused.out.startswith("Could not upgrade nosuch.version to 7. ")
    assert refused.err == "1 out of 1 operation(s) failed.\n"


def test_features_of_releases_are_told_without_a_broker(script):
    mapping = script("kafka-features", "version-mapping", "--release-version", "4.0", alone=True)
    assert mapping.lines[:4] == [
        "metadata.version=25 (4.0)",
        "kraft.version=1",
        "transaction.version=2",
        "group.version=1",
    ]
    needs = script(
        "kafka-features", "feature-dependencies", "--feature", "eligible.leader.replicas.version=1", alone=True
    )
    assert needs.lines == ["eligible.leader.replicas.version=1 requires:", "    metadata.version=23 (4.0-IV1)"]
    unknown = script("kafka-features", "version-mapping", "--release-version", "9.9", alone=True)
    assert unknown.err.startswith("Unknown metadata.version '9.9'. Supported metadata.version are: 3.3-IV3, ")


def test_the_metadata_quorum_is_described(script):
    status = script("kafka-metadata-quorum", "describe", "--status").lines
    assert [line.split(":")[0] for line in status] == [
        "ClusterId", "LeaderId", "LeaderEpoch", "HighWatermark", "MaxFollowerLag", "MaxFollowerLagTimeMs",
        "CurrentVoters", "CurrentObservers",
    ]  # fmt: skip
    assert json.loads(status[6].split(maxsplit=1)[1])[0]["id"] == 1
    replication = script("kafka-metadata-quorum", "describe", "--replication").lines
    assert replication[0].split() == [
        "NodeId", "DirectoryId", "LogEndOffset", "Lag", "LastFetchTimestamp", "LastCaughtUpTimestamp", "Status",
    ]  # fmt: skip
    assert replication[1].split()[-1] == "Leader"
    human = script("kafka-metadata-quorum", "describe", "--replication", "--human-readable").out
    assert "ms ago" in human
    neither = script("kafka-metadata-quorum", "describe")
    assert neither.err == "One of --status or --replication must be specified with describe sub-command\n"


# ---- kafka-storage, kafka-server-start, kafka-server-stop


@pytest.fixture
def properties(tmp_path):
    """A server.properties as KRaft quick starts have it."""
    path = tmp_path / "server.properties"
    path.write_text(
        "process.roles=broker,controller\nnode.id=3\ncontroller.listener.names=CONTROLLER\n"
        "listeners=PLAINTEXT://localhost:0,CONTROLLER://localhost:0\n"
        f"controller.quorum.bootstrap.servers=localhost:9093\nlog.dirs={tmp_path}/one,{tmp_path}/two\n"
    )
    return path


def test_random_ids_are_good_for_clusters(script):
    made = script("kafka-storage", "random-uuid", alone=True)
    assert re.fullmatch(r"[A-Za-z0-9_][\w-]{21}\n", made.out)


def test_directories_are_formatted_once(script, properties, tmp_path):
    nothing = script("kafka-storage", "info", "-c", str(properties), alone=True)
    assert nothing == (
        1,
        f"Found problems:\n  {tmp_path}/one does not exist\n  {tmp_path}/two does not exist\n\n",
        "",
    )
    layout = ("format", "--standalone", "-c", str(properties), "-t")
    made = script("kafka-storage", *layout, "4jKqCjRWTNqjDS2sRyJUFg", alone=True)
    assert made.code == 0
    assert made.lines[1:] == [
        f"Formatting data directory {tmp_path}/two with metadata.version 4.3-IV0.",
        f"Formatting dynamic metadata voter directory {tmp_path}/one with metadata.version 4.3-IV0.",
    ]
    info = script("kafka-storage", "info", "-c", str(properties), alone=True)
    assert info.code == 0
    assert info.lines[:4] == ["Found log directories:", f"  {tmp_path}/one", f"  {tmp_path}/two", ""]
    assert re.match(r"Found metadata: {cluster.id=4jKqCjRWTNqjDS2sRyJUFg, directory.id=\S+, node.id=3, ", info.lines[4])
    again = script("kafka-storage", *layout, "4jKqCjRWTNqjDS2sRyJUFg", alone=True)
    assert "is already formatted. Use --ignore-formatted to ignore this directory" in again.err
    passed_over = script("kafka-storage", *layout, "4jKqCjRWTNqjDS2sRyJUFg", "--ignore-formatted", alone=True)
    assert passed_over.out == "All of the log directories are already formatted.\n"
    other = script("kafka-storage", *layout, "other", alone=True)
    assert "Expected other, but read 4jKqCjRWTNqjDS2sRyJUFg" in other.err


def test_a_server_starts_on_a_formatted_directory(script, properties):
    script(
        "kafka-storage", "format", "-t", "my-cluster", "-c", str(properties), "--release-version", "4.1",
        "--feature", "transaction.version=1", alone=True,
    )  # fmt: skip
    command, daemon = server_start.serve_command([str(properties), "--override", "num.partitions=3"])
    assert not daemon
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            address = server.stdout.readline().split("//")[1].strip()
            cluster = script("kafka-cluster", "cluster-id", "--bootstrap-server", address, alone=True)
            features = script("kafka-features", "--bootstrap-server", address, "describe", alone=True).out
            script("kafka-topics", "--bootstrap-server", address, "--create", "--topic", "t", alone=True)
            topics = script("kafka-topics", "--bootstrap-server", address, "--describe", alone=True).out
        finally:
            server.terminate()
            server.communicate(timeout=30)
    assert cluster == Ended(0, "Cluster ID: my-cluster\n", "")
    assert re.search(r"metadata.version .*FinalizedVersionLevel: 4.1-IV1 ", features)
    assert re.search(r"transaction.version .*FinalizedVersionLevel: 1 ", features)
    assert "PartitionCount: 3" in topics


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["--feature", "nosuch=1"], "Unsupported feature: nosuch. Supported features are: "),
        (["--feature", "transaction.version=9"], "No feature:transaction.version with feature level 9"),
        (["--release-version", "9.9"], "Unknown metadata.version '9.9'"),
        (["--add-scram", "SCRAM-SHA-256=[name=a,password=b]"], "--add-scram is not available here"),
        (["--initial-controllers", "1@a:1:AAAA,2@b:2:BBBB"], "--initial-controllers must name this node alone"),
    ],
)
def test_formats_that_cannot_be_are_refused(script, properties, argv, complaint):
    ended = script("kafka-storage", "format", "-t", "x", "-c", str(properties), *argv, alone=True)
    assert ended.code == 1
    assert complaint in ended.err
    assert not (properties.parent / "one").exists()


@pytest.mark.parametrize("command", ["info", "format"])
@pytest.mark.parametrize("key", ["process.roles", "node.id", "controller.listener.names"])
def test_a_required_setting_that_is_missing_is_named_as_the_official_tool_does(script, properties, command, key):
    lines = properties.read_text().splitlines(keepends=True)
    properties.write_text("".join(line for line in lines if not line.startswith(f"{key}=")))
    argv = [command, "-c", str(properties), *(["-t", "x"] if command == "format" else [])]
    message = f'org.apache.kafka.common.config.ConfigException: Missing required configuration "{key}" which has'
    assert script("kafka-storage", *argv, alone=True) == (
        1,
        "",
        f'Exception in thread "main" {message} no default value.\n',
    )
    assert not (properties.parent / "one").exists()


def test_a_configuration_that_is_not_there_is_named(script):
    ended = script("kafka-storage", "info", "-c", "/nowhere.properties", alone=True)
    assert ended.code == 1
    assert "/nowhere.properties" in ended.err


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["s.properties"], (["--config", "s.properties"], False)),
        (["-daemon", "s.properties"], (["--config", "s.properties"], True)),
        (["-name", "x", "s.properties"], (["--config", "s.properties"], False)),
        (["s", "--override", "a=b", "--override=c=d"], (["--config", "s", "--set", "a=b", "--set", "c=d"], False)),
    ],
)
def test_server_start_becomes_serve(argv, expected):
    command, daemon = server_start.serve_command(argv)
    assert (command[4:], daemon) == expected
    assert command[:4] == [sys.executable, "-m", "kwire", "serve"]


@pytest.mark.parametrize("argv", [[], ["-daemon"], ["s", "--override"], ["s", "--nosuch", "x"]])
def test_server_start_shows_its_usage(script, argv):
    assert script("kafka-server-start", *argv, alone=True).err == f"{server_start.USAGE}\n"


def test_server_stop_finds_brokers_by_their_command_line(script, monkeypatch):
    processes = [
        (11, "/usr/bin/python3 -m kwire serve --data d"),
        (12, "/home/me/.venv/bin/python /home/me/.venv/bin/kwire serve"),
        (13, "kwire serve"),
        (14, "vim kwire serve.txt"),
        (15, "python -m kwire scripts kafka-topics"),
        (16, "grep kwire served"),
    ]
    signals = []
    monkeypatch.setattr(server_stop, "_processes", lambda: processes)
    monkeypatch.setattr(server_stop.os, "kill", lambda pid, number: signals.append((pid, number)))
    assert script("kafka-server-stop", alone=True) == (0, "", "")
    assert signals == [(11, signal.SIGTERM), (12, signal.SIGTERM), (13, signal.SIGTERM)]
    monkeypatch.setenv("SIGNAL", "KILL")
    processes[:] = processes[:1]
    script("kafka-server-stop", alone=True)
    assert signals[-1] == (11, signal.SIGKILL)
    processes.clear()
    assert script("kafka-server-stop", alone=True) == (1, "No kafka server to stop\n", "")


def test_processes_are_listed():
    assert any("pytest" in command or "python" in command for _, command in server_stop._processes())


# ---- all of them


@pytest.mark.parametrize("name", sorted(TWINS))
def test_every_script_has_help(script, name):
    shown = script(name, "--help", alone=True)
    text = shown.out + shown.err
    assert shown.code in (0, 1)
    assert len(text) > 50


def test_every_script_that_has_one_says_kafka_s_version(script):
    for name in ("kafka-topics", "kafka-console-producer", "kafka-configs", "kafka-server-start"):
        assert script(name, "--version", alone=True) == (0, "4.3.1\n", "")


# ---- scripts that send, read and measure


def events(ended):
    return [json.loads(line) for line in ended.out.splitlines()]


def test_numbers_are_sent_and_read_with_an_event_for_each(script, topic):
    sent = script("kafka-verifiable-producer", "--topic", topic, "--max-messages", "3", "--repeating-keys", "2")
    assert [each["name"] for each in events(sent)] == [
        "startup_complete", *["producer_send_success"] * 3, "shutdown_complete", "tool_data",
    ]  # fmt: skip
    successes = events(sent)[1:4]
    assert [(each["key"], each["value"], each["offset"]) for each in successes] == [
        ("0", "0", 0), ("1", "1", 1), ("0", "2", 2),
    ]  # fmt: skip
    read = script(
        "kafka-verifiable-consumer",
        "--topic",
        topic,
        "--group-id",
        f"{topic[-30:]}-v",
        "--max-messages",
        "2",
        "--verbose",
    )
    records = [each for each in events(read) if each["name"] == "record_data"]
    assert [(each["value"], each["offset"]) for each in records] == [("0", 0), ("1", 1)]
    committed = [each for each in events(read) if each["name"] == "offsets_committed"]
    assert committed[-1]["offsets"] == [{"topic": topic, "partition": 0, "offset": 2}]
    assert committed[-1]["success"] is True


def test_throughput_is_measured_in_both_directions(script, topic):
    sent = script(
        "kafka-producer-perf-test", "--topic", topic, "--num-records", "50", "--record-size", "10",
        "--throughput", "-1", "--warmup-records", "10", "--command-property", "compression.type=zstd",
    )  # fmt: skip
    assert sent.code == 0
    assert re.match(r"50 records sent, [\d.]+ records/sec \([\d.]+ MB/sec\), .* ms 99.9th\.$", sent.lines[1])
    assert sent.lines[2].startswith("40 steady state records sent, ")
    read = script("kafka-consumer-perf-test", "--topic", topic, "--num-records", "50", "--hide-header")
    assert read.code == 0
    assert read.lines[0].split(", ")[4] == "50"


def test_replicas_are_compared_until_the_script_is_stopped(bootstrap, script, topic, produce):
    produce(topic, "a\nb\n")
    command = [sys.executable, "-m", "kwire", "scripts", "kafka-replica-verification", "--broker-list", bootstrap]
    command += ["--topics-include", topic, "--time", "-2", "--report-interval-ms", "1", "--max-wait-ms", "50"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert running.stdout.readline().endswith(": verification process is started\n")
        assert f"max lag is 0 for partition {topic}-0 at offset 2 among 1 partitions" in running.stdout.readline()
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=30)
    finally:
        running.kill()
        running.wait()
    assert running.returncode == 130


def test_partitions_are_listed_in_the_order_of_their_names(script):
    script("kafka-topics", "--create", "--topic", "eleven", "--partitions", "11")
    listed = script("kafka-get-offsets", "--topic", "eleven")
    assert [line.split(":")[1] for line in listed.lines][:4] == ["0", "1", "10", "2"]
