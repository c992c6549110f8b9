"""The twin of kafka-streams-groups against a real broker."""

import pytest
from streams_member import StreamsMember

from kwire.cli.admin.streams_groups import StoredTopology, TopologyNode
from kwire.cli.script_twins.groups.streams_group_tables import topology_text

NAME = "kafka-streams-groups"


@pytest.fixture
def group(script, topic):
    """A name for a group whose first assignment has no delay; the topic has three records."""
    name = f"{topic}-g"[-40:]
    config = ("--entity-type", "groups", "--entity-name", name, "--add-config", "streams.initial.rebalance.delay.ms=0")
    assert script("kafka-configs", "--alter", *config).code == 0
    assert script("kafka-console-producer", "--topic", topic, stdin="1\n2\n3\n").code == 0
    return name


@pytest.fixture
def run(script):
    return lambda *argv: script(NAME, *argv)


@pytest.fixture
def member(bootstrap, script, group, topic):
    """The one member of the group, with a task and a changelog."""
    changelog = f"{group}-counts-changelog"
    assert script("kafka-topics", "--create", "--topic", changelog).code == 0
    member = StreamsMember(bootstrap, group, topic, [changelog])
    member.join()
    yield member
    member.leave()


def empty(bootstrap, group, topic, committed=2):
    """Make the group: it has no members, and an offset."""
    member = StreamsMember(bootstrap, group, topic)
    member.join()
    member.leave(committed)


def columns(line):
    return line.split()


def test_a_live_group_is_described(run, bootstrap, topic, group, member):
    assert group in run("--list").lines
    assert [group, "Stable"] in map(columns, run("--list", "--state", "stable").lines)
    offsets = run("--describe", "--group", group)
    assert (offsets.code, offsets.err) == (0, "")
    assert list(map(columns, offsets.lines)) == [
        ["GROUP", "TOPIC", "PARTITION", "OFFSET-LAG"],
        [group, topic, "0", "3"],
    ]
    verbose = run("--describe", "--group", group, "--offsets", "--verbose")
    assert columns(verbose.lines[0])[3:] == ["CURRENT-OFFSET", "LEADER-EPOCH", "LOG-END-OFFSET", "OFFSET-LAG"]
    assert columns(verbose.lines[1])[3:] == ["-", "-", "3", "3"]
    heading, row = map(columns, run("--describe", "--group", group, "--members").lines)
    assert heading == ["GROUP", "MEMBER", "PROCESS", "CLIENT-ID", "ASSIGNMENTS"]
    assert row == [group, "member-1", "a-process", "counter", "ACTIVE:", "0:[0];"]
    verbose = run("--describe", "--group", group, "--members", "--verbose").lines[1]
    assert columns(verbose)[2:6] == ["3", "member-1", "streams", columns(verbose)[1]]
    assert verbose.endswith("ACTIVE: 0:[0]; TARGET-ACTIVE: 0:[0]; ")
    state = run("--describe", "--group", group, "--state")
    assert columns(state.lines[1])[2:] == ["(1)", "sticky", "Stable", "1"]
    assert "GROUP-EPOCH" in run("--describe", "--group", group, "--state", "--verbose").lines[0]


def test_a_group_with_members_is_neither_reset_nor_deleted(run, topic, group, member):
    reset = run("--reset-offsets", "--group", group, "--input-topic", topic, "--to-earliest", "--execute")
    assert reset.code == 0
    assert f"Assignments can only be reset if the group '{group}' is inactive, but the current state is Stable." in (
        reset.out
    )
    deleted = run("--delete", "--group", group, "--group", "nosuch")
    assert deleted.code == 0
    assert f"GroupNotEmptyException: Streams group '{group}' is not EMPTY." in deleted.out
    assert "IllegalArgumentException: Group 'nosuch' does not exist or is not a streams group." in deleted.out
    forgotten = run("--delete-offsets", "--group", group, "--input-topic", topic)
    assert "Error: Encountered some partition-level error" in forgotten.out


def test_an_empty_group_has_a_state_and_no_rows(run, bootstrap, topic, group):
    empty(bootstrap, group, topic)
    assert run("--describe", "--group", group) == (0, "", "")
    assert run("--describe", "--group", group, "--members") == (0, "", "")
    state = run("--describe", "--group", group, "--state")
    assert state.lines[:2] == ["", f"Error: Streams group '{group}' has no active members."]
    assert columns(state.lines[3])[-2:] == ["Empty", "0"]


def test_no_topology_is_stored(run, bootstrap, topic, group):
    empty(bootstrap, group, topic)
    ended = run("--describe", "--group", group, "--topology")
    assert ended == (1, f"\nError: No topology description is stored for streams group '{group}'.\n", "")


def test_offsets_are_reset(run, bootstrap, topic, group, tmp_path):
    empty(bootstrap, group, topic)
    reset = ("--reset-offsets", "--group", group)
    planned = run(*reset, "--all-input-topics", "--shift-by", "-1", "--dry-run")
    heading = f"\n{'GROUP':<30} {'TOPIC':<30} {'PARTITION':<10} {'NEW-OFFSET':<15}\n"
    assert planned == (0, f"{heading}{group:<30} {topic:<30} {0:<10} {1:<15}\n", "")
    assert run(*reset, "--input-topic", f"{topic}:0", "--to-latest", "--execute").out.split()[-1] == "3"
    exported = run(*reset, "--all-input-topics", "--to-current", "--dry-run", "--export")
    assert exported == (0, f"{topic},0,3\n\n", "")
    (tmp_path / "plan.csv").write_text(f"{topic},0,1\n")
    assert run(*reset, "--from-file", str(tmp_path / "plan.csv"), "--execute").out.split()[-1] == "1"
    assert run(*reset, "--all-input-topics", "--to-current", "--dry-run", "--export").lines[0] == f"{topic},0,1"


def test_the_current_offset_stays_even_beyond_the_end(run, bootstrap, topic, group):
    empty(bootstrap, group, topic, committed=9)
    reset = ("--reset-offsets", "--group", group, "--all-input-topics", "--dry-run", "--export")
    assert run(*reset, "--to-current").lines[0] == f"{topic},0,9"
    assert run(*reset, "--shift-by", "1").lines[0] == f"{topic},0,3"


def test_topics_of_other_applications_are_not_reset(run, script, bootstrap, topic, group):
    empty(bootstrap, group, topic)
    script("kafka-topics", "--create", "--topic", f"{topic}-other")
    ended = run("--reset-offsets", "--group", group, "--input-topic", f"{topic}-other", "--to-earliest", "--dry-run")
    assert ended.lines[:2] == ["", f"Error: One or more topics are not part of the group '{group}'."]
    assert ended.code == 0
    missing = run("--reset-offsets", "--group", group, "--input-topic", f"{topic}:7", "--to-earliest", "--dry-run")
    failed = "\nError: Executing streams group command failed due to "
    assert missing == (1, f'{failed}The partitions "{topic}-7" do not exist\n', "")


def test_offsets_are_deleted(run, bootstrap, topic, group):
    empty(bootstrap, group, topic)
    named = run("--delete-offsets", "--group", group, "--input-topic", f"{topic}:0", "--input-topic", "nosuch")
    assert named.lines[0] == f"Request succeeded for deleting offsets from group {group}."
    rows = [line.split(maxsplit=2) for line in named.lines[3:]]
    assert [topic, "0", "Successful"] in [list(map(str.strip, row)) for row in rows]
    assert any(row[:2] == ["nosuch", "-"] and "UnknownTopicOrPartitionException" in row[2] for row in rows)
    left = run("--delete-offsets", "--group", group, "--all-input-topics")
    assert left.lines[0] == f"Request succeeded for deleting offsets from group {group}."
    assert len(left.lines) == 3


def test_internal_topics_are_deleted_with_the_group(run, script, group, member):
    member.leave()
    ended = run("--delete", "--group", group, "--delete-all-internal-topics")
    assert ended.lines == [
        f"Deletion of requested streams groups ('{group}') was successful.",
        f"Deletion of associated internal topics of the streams groups ('{group}') was successful.",
    ]
    assert f"{group}-counts-changelog" not in script("kafka-topics", "--list").lines
    assert group not in run("--list").lines


def test_internal_topics_are_deleted_with_a_reset(run, script, topic, group, member):
    member.leave(committed=2)
    reset = ("--reset-offsets", "--group", group, "--all-input-topics", "--to-earliest", "--execute")
    changelog = f"{group}-counts-changelog"
    assert run(*reset, "--delete-internal-topic", changelog).out.split()[-1] == "0"
    assert changelog not in script("kafka-topics", "--list").lines
    again = run(*reset, "--delete-internal-topic", changelog)
    assert f"Deleting internal topics for group '{group}' failed because the topics do not exist." in again.out
    assert again.code == 0


def test_a_refusal_of_the_broker_ends_with_exit_code_1(run):
    failed = "\nError: Executing streams group command failed due to "
    missing = "org.apache.kafka.common.errors.GroupIdNotFoundException: Group nosuch not found.\n"
    assert run("--describe", "--group", "nosuch") == (1, failed + missing, "")
    wrapped = f"{failed}java.util.concurrent.ExecutionException: {missing}"
    assert run("--delete-offsets", "--group", "nosuch", "--all-input-topics") == (1, wrapped, "")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("--list --verbose", "Option(s) [verbose] are unavailable given other options on the command line"),
        ("--list --describe --all-groups", "Command must include exactly one action: --list, --describe, --delete,"),
        ("--describe", "Option [describe] takes one of these options: [all-groups], [group]"),
        ("--describe --group g --state --topology", "Option [describe] takes at most one of these options: [members],"),
        ("--describe --group g --state empty", "Option [describe] does not take a value for [state]"),
        ("--describe --group g --input-topic t", 'Option "[input-topic]" can\'t be used with option "[describe]"'),
        ("--delete --group g --all-groups", 'Option "[group]" can\'t be used with option "[all-groups]"'),
        ("--delete --group g --input-topic t", "Kafka Streams does not support topic-specific offset deletion"),
        ("--delete --group g --execute", "Only Option [reset-offsets] accepts [execute] or [dry-run]"),
        ("--delete-offsets --group g", "Option [delete-offsets] takes the [group] and one of these options:"),
        (
            "--delete-offsets --group g --group h --input-topic t",
            "Option [delete-offsets] supports only one [group] at a time, but found: [g, h]",
        ),
        ("--reset-offsets --group g", "Option [reset-offsets] takes the option: [execute] or [dry-run]"),
        ("--reset-offsets --dry-run --execute", "Option [reset-offsets] only accepts one of [execute] and [dry-run]"),
        (
            "--reset-offsets --group g --dry-run --to-latest --to-earliest",
            'Option "[to-earliest]" can\'t be used with option "[to-latest]"',
        ),
        (
            "--reset-offsets --group g --dry-run --delete-all-internal-topics",
            "Option [delete-all-internal-topics] takes [execute] when [reset-offsets] is used.",
        ),
        (
            "--reset-offsets --group nosuch --dry-run --to-latest",
            "One of the reset scopes should be defined: --all-input-topics, --input-topic.",
        ),
        ("--list --state odd", "Invalid state list 'odd'. Valid states are: "),
        (
            "--reset-offsets --group g --dry-run --input-topic t --to-offset first",
            "Cannot parse argument 'first' of option to-offset",
        ),
        ("--list --timeout soon", "Cannot parse argument 'soon' of option timeout"),
    ],
)
def test_a_wrong_line_is_refused_in_the_official_words(run, line, complaint):
    ended = run(*line.split())
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith(complaint)


def test_a_stored_topology_is_printed_as_kafka_streams_describes_it():
    def node(name, kind, *successors, topics=(), stores=(), sink=None):
        return TopologyNode(name, kind, list(topics), sink, list(stores), list(successors))

    nodes = [
        node("read", "Source", "count", topics=["words"]),
        node("count", "Processor", "write", stores=["counts"]),
        node("write", "Sink", sink="totals"),
    ]
    everywhere = (node("global", "Source", "load", topics=["names"]), node("load", "Processor", stores=["all"]))
    assert topology_text(StoredTopology("AVAILABLE", {"0": nodes}, [everywhere])) == (
        "Topologies:\n"
        "   Sub-topology: 0\n"
        "    Source: read (topics: [words])\n"
        "      --> count\n"
        "    Processor: count (stores: [counts])\n"
        "      --> write\n"
        "      <-- read\n"
        "    Sink: write (topic: totals)\n"
        "      <-- count\n"
        "\n"
        "   Sub-topology: 1 for global store (will not generate tasks)\n"
        "    Source: global (topics: [names])\n"
        "      --> load\n"
        "    Processor: load (stores: [all])\n"
        "      --> none\n"
        "      <-- global\n"
        "\n"
    )
