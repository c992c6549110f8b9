"""`kwire groups` on the command line."""

from __future__ import annotations

import json

import click
import pytest
from click.testing import CliRunner
from kafka import KafkaConsumer

from kwire.cli.connections.broker_option import asking
from kwire.cli.main import main
from kwire.cli.resources.groups import reset
from kwire.wire.messages import (
    ShareGroupHeartbeatRequest,
    ShareGroupHeartbeatResponse,
    StreamsGroupHeartbeatRequest,
    StreamsGroupHeartbeatResponse,
)


@pytest.fixture
def kwire(kafka):
    def run(*arguments):
        return CliRunner(env={"KWIRE_BOOTSTRAP": kafka.bootstrap_servers}).invoke(main, arguments)

    return run


@pytest.fixture
def readers(kafka, kwire):
    """A group that has read three of five records of messages, and has no members now."""
    kafka.create_topic("messages", 2)
    kwire("produce", "messages", "-p", "0", *"abc")
    kwire("produce", "messages", "-p", "1", *"de")
    first = kwire("consume", "messages", "--group", "readers", "--from-beginning", "-e")
    assert sorted(first.stdout.split()) == list("abcde")
    kwire("groups", "reset", "readers", "--topic", "messages:0", "--to", "1")
    return "readers"


def offsets(kwire, group):
    (shown,) = json.loads(kwire("groups", "describe", group, "--json").stdout)
    return {(row["topic"], row["partition"]): row["committed"] for row in shown["partitions"]}


def test_list_shows_state_type_and_protocol(kwire, readers):
    assert [line.split() for line in kwire("groups", "list").stdout.splitlines()] == [
        ["GROUP", "STATE", "TYPE", "PROTOCOL"],
        ["readers", "Empty", "Classic", "consumer"],
    ]
    (listed,) = json.loads(kwire("groups", "list", "--json").stdout)
    assert (listed["group"], listed["state"]) == ("readers", "Empty")


def test_no_groups_is_reported_on_stderr(kwire):
    ended = kwire("groups", "list")

    assert (ended.exit_code, ended.stdout) == (0, "")
    assert "--group" in ended.stderr
    assert kwire("groups", "list", "--json").stdout == "[]\n"


def test_describe_shows_lag(kwire, readers):
    lines = kwire("groups", "describe", readers).stdout.splitlines()

    assert lines[0] == "readers: Empty, no members"
    assert [line.split() for line in lines[1:]] == [
        ["TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "CLIENT", "HOST"],
        ["messages", "0", "1", "3", "2", "-", "-"],
        ["messages", "1", "2", "2", "0", "-", "-"],
    ]


def test_a_group_with_members_is_described_and_is_not_reset_or_deleted(kafka, kwire, readers):
    consumer = KafkaConsumer(
        "messages", bootstrap_servers=kafka.bootstrap_servers, group_id=readers, client_id="one", api_version=(2, 6)
    )
    while not consumer.assignment():
        consumer.poll(timeout_ms=100)
    shown = kwire("groups", "describe", readers).stdout
    moved = kwire("groups", "reset", readers, "--to", "latest")
    deleted = kwire("groups", "delete", readers)
    consumer.close(autocommit=False)

    assert shown.startswith("readers: Stable, 1 member, assignor range\n")
    assert [line.split()[5] for line in shown.splitlines()[2:]] == ["one", "one"]
    assert moved.output == "kwire: group readers has members (one): stop its consumers first\n"
    assert (moved.exit_code, deleted.exit_code) == (1, 1)
    assert offsets(kwire, readers)["messages", 0] == 1


@pytest.mark.parametrize(
    ("arguments", "after"),
    [
        (["--to", "earliest"], [0, 0]),
        (["--to", "latest"], [3, 2]),
        (["--to", "2"], [2, 2]),
        (["--to", "99"], [3, 2]),
        (["--by", "1"], [2, 2]),
        (["--by", "-5"], [0, 0]),
        (["--to", "2020-01-31T12:00"], [0, 0]),
        (["--to", "2099-01-31T12:00:00+01:00"], [3, 2]),
        (["--to", "earliest", "--topic", "messages:1"], [1, 0]),
        (["--to", "latest", "--topic", "messages:0,1"], [3, 2]),
    ],
    ids=str,
)
def test_reset_keeps_offsets_between_the_first_record_and_the_end(kwire, readers, arguments, after):
    ended = kwire("groups", "reset", readers, *arguments)

    assert ended.exit_code == 0, ended.output
    assert list(offsets(kwire, readers).values()) == after


def test_a_dry_run_prints_the_new_offsets_and_changes_nothing(kwire, readers):
    ended = kwire("groups", "reset", readers, "--to", "latest", "--dry-run")

    assert [line.split() for line in ended.stdout.splitlines()] == [
        ["TOPIC", "PARTITION", "BEFORE", "AFTER"],
        ["messages", "0", "1", "3"],
        ["messages", "1", "2", "2"],
    ]
    assert "Dry run" in ended.stderr
    assert offsets(kwire, readers) == {("messages", 0): 1, ("messages", 1): 2}


def test_a_reset_creates_a_group_that_does_not_exist(kwire, readers):
    ended = kwire("groups", "reset", "new", "--topic", "messages", "--to", "1", "--json")

    assert json.loads(ended.stdout) == [
        {"topic": "messages", "partition": 0, "before": None, "after": 1},
        {"topic": "messages", "partition": 1, "before": None, "after": 1},
    ]
    assert offsets(kwire, "new") == {("messages", 0): 1, ("messages", 1): 1}


def test_a_deleted_group_is_not_listed(kwire, readers):
    assert kwire("groups", "delete", readers).output == "deleted group readers\n"
    assert kwire("groups", "list").stdout == ""


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["describe", "unknown"], "there is no group unknown"),
        (["delete", "unknown"], "there is no group unknown"),
        (["reset", "unknown", "--to", "earliest"], "group unknown has no committed offsets; name the topics"),
        (["reset", "readers", "--to", "1", "--topic", "mesages"], "there is no topic mesages; did you mean messages?"),
        (
            ["reset", "readers", "--to", "1", "--topic", "messages:7"],
            "there is no partition 7 of topic messages, which has partitions 0 to 1",
        ),
        (
            ["reset", "new", "--by", "1", "--topic", "messages"],
            "has no committed offset for messages-0, so --by cannot move it",
        ),
    ],
)
def test_a_refusal_is_one_sentence(kwire, readers, arguments, sentence):
    ended = kwire("groups", *arguments)

    assert ended.exit_code == 1
    assert ended.output.startswith("kwire: ")
    assert ended.output.count("\n") == 1
    assert sentence in ended.output


def test_a_wrong_target_is_refused_also_for_an_unknown_group(kwire, readers):
    ended = kwire("groups", "reset", "unknown", "--to", "yesterday")

    assert ended.exit_code == 2
    assert "--to yesterday: write earliest, latest, an offset, or a time" in ended.output


def test_the_topic_of_a_reset_completes(kafka, readers):
    (option,) = [parameter for parameter in reset.params if parameter.name == "topics"]
    context = click.Context(reset)
    context.params["bootstrap"] = kafka.bootstrap_servers

    assert [item.value for item in option.shell_complete(context, "mess")] == ["messages"]


@pytest.mark.parametrize("arguments", [[], ["--to", "1", "--by", "1"], ["--to", "yesterday"]])
def test_a_reset_with_too_few_or_too_many_targets_is_a_usage_error(kwire, readers, arguments):
    ended = kwire("groups", "reset", readers, *arguments)

    assert ended.exit_code == 2
    assert "--to" in ended.output


def test_a_share_group_is_described(kafka, kwire, readers):
    request = ShareGroupHeartbeatRequest(
        group_id="workers", member_id="AAAAAAAAAAAAAAAAAAAAAQ", member_epoch=0, subscribed_topic_names=["messages"]
    )
    with asking(kafka.bootstrap_servers, None) as cluster:
        cluster.call_on(cluster.coordinator("workers"), request, ShareGroupHeartbeatResponse)
        shown = kwire("groups", "describe").stdout

    assert "workers: Stable, 1 member, assignor simple, epoch 2, assignment of epoch 2\n" in shown
    assert "MEMBER" in shown
    assert f"{readers}: Empty, no members\n" in shown
    assert kwire("groups", "describe", "none").output == "kwire: there is no group none\n"


@pytest.mark.kafka(config={"group.streams.initial.rebalance.delay.ms": "0"})
def test_a_streams_group_is_described_with_its_tasks(kafka, kwire):
    kafka.create_topic("messages", 2)
    subtopology = StreamsGroupHeartbeatRequest.Subtopology(subtopology_id="0", source_topics=["messages"])
    request = StreamsGroupHeartbeatRequest(
        group_id="app",
        member_id="m",
        member_epoch=0,
        process_id="p",
        rebalance_timeout_ms=1000,
        topology=StreamsGroupHeartbeatRequest.Topology(subtopologies=[subtopology]),
        active_tasks=[],
        standby_tasks=[],
        warmup_tasks=[],
    )
    with asking(kafka.bootstrap_servers, None) as cluster:
        cluster.call_on(cluster.coordinator("app"), request, StreamsGroupHeartbeatResponse)
    shown = kwire("groups", "describe", "app").stdout
    (told,) = json.loads(kwire("groups", "describe", "app", "--json").stdout)

    assert shown.startswith("app: Stable, 1 member, assignor sticky, epoch 2, assignment of epoch 2\n")
    assert "ACTIVE TASKS" in shown
    assert told["members"][0]["tasks"] == {"active": {"0": [0, 1]}, "standby": {}, "warmup": {}}
    assert [(row["topic"], row["partition"]) for row in told["partitions"]] == [("messages", 0), ("messages", 1)]
