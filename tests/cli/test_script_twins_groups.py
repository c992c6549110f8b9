"""The twins of the official scripts against a real broker: kafka-consumer-groups."""

import re
import subprocess

import pytest
from script_runs import consume, process, until_stable


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
        until_stable(script, "membered")
        members = script("kafka-consumer-groups", "--describe", "--group", "membered", "--members", "--verbose")
        live = script("kafka-consumer-groups", "--describe", "--group", "membered")
        refused = script("kafka-consumer-groups", "--delete", "--group", "membered")
        moved = script(
            "kafka-consumer-groups", "--reset-offsets", "--group", "membered", "--topic", topic, "--to-earliest",
            "--execute",
        )  # fmt: skip
    finally:
        reader.terminate()
        reader.communicate(timeout=150)
    assert re.search(rf"membered\s+one-\S+\s+one\s+/127\.0\.0\.1\s+me\s+1\s+-\s+{topic}:0\s+-\s+-", members.out)
    assert re.search(rf"membered\s+{topic}\s+0\s+.*one-\S+\s+/127\.0\.0\.1\s+me", live.out)
    assert "could not be deleted due to: org.apache.kafka.common.errors.GroupNotEmptyException" in refused.out
    assert "Assignments can only be reset if the group 'membered' is inactive, but the current state is" in moved.out


def test_a_group_that_does_not_exist_is_printed_with_exit_code_0(script):
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
def test_times_that_cannot_be_read_are_refused(script, group, argv, complaint):
    ended = script("kafka-consumer-groups", "--reset-offsets", "--group", group, "--all-topics", "--dry-run", *argv)
    assert ended.code == 0
    assert complaint in ended.out


def test_moving_offsets_without_execute_warns_and_changes_nothing(script, group):
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
def test_invalid_lines_of_groups_are_refused(script, argv, complaint):
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
    assert sender.communicate(timeout=150) == ("", "")
    assert consume(script, topic, "--from-beginning", "--max-messages", "1").out == "a\ufffd\ufffdb\ufffd\n"
