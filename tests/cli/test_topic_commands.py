"""`kwire topics`, as a person types it."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from fake_broker import fake_broker

from kwire.cli.main import main
from kwire.errors import Code
from kwire.wire.messages import MetadataResponse


@pytest.fixture
def topics(kafka):
    def run(*arguments):
        return CliRunner(env={"KWIRE_BOOTSTRAP": kafka.bootstrap_servers}).invoke(main, ["topics", *arguments])

    return run


def columns(output):
    return [line.split() for line in output.splitlines()]


def test_create_list_describe_delete(topics):
    assert (
        topics("create", "messages", "orders", "--partitions", "3").output
        == "created topic messages\ncreated topic orders\n"
    )

    assert columns(topics("list").stdout) == [
        ["TOPIC", "PARTITIONS", "REPLICAS"],
        ["messages", "3", "1"],
        ["orders", "3", "1"],
    ]
    described = topics("describe", "messages").stdout.splitlines()
    assert described[0].startswith("messages: 3 partitions, replication factor 1, id ")
    assert described[1].split() == ["PARTITION", "LEADER", "REPLICAS", "IN", "SYNC", "FIRST", "OFFSET", "END", "OFFSET"]
    assert [line.split() for line in described[2:]] == [[str(index), "1", "1", "1", "0", "0"] for index in range(3)]

    assert topics("delete", "messages").output == "deleted topic messages\n"
    assert [topic["name"] for topic in json.loads(topics("list", "--json").stdout)] == ["orders"]


def test_describe_prints_settings_and_offsets_as_json(topics, kafka):
    topics("create", "messages", "--set", "retention.ms=60000", "--set", "cleanup.policy = compact")
    topics("create", "others")
    CliRunner().invoke(main, ["produce", "-b", kafka.bootstrap_servers, "messages", "--key", "k", "hello"])

    shown = {topic["name"]: topic for topic in json.loads(topics("describe", "--json").stdout)}

    assert shown["messages"]["settings"] == {"cleanup.policy": "compact", "retention.ms": "60000"}
    assert shown["others"]["settings"] == {}
    (partition,) = shown["messages"]["partitions"]
    assert (partition["leader"], partition["firstOffset"], partition["endOffset"]) == (1, 0, 1)


def test_alter_grows_a_topic_and_changes_its_settings(topics):
    topics("create", "messages", "--set", "retention.ms=60000")

    ended = topics("alter", "messages", "-p", "2", "--set", "segment.ms=1000", "--unset", "retention.ms")

    assert ended.output == "changed the settings of topic messages\ntopic messages has 2 partitions now\n"
    (shown,) = json.loads(topics("describe", "messages", "--json").stdout)
    assert shown["settings"] == {"segment.ms": "1000"}
    assert len(shown["partitions"]) == 2


def test_internal_topics_are_shown_when_asked_for(topics, kafka):
    CliRunner().invoke(main, ["groups", "list", "-b", kafka.bootstrap_servers])
    topics("create", "messages")
    CliRunner().invoke(
        main, ["groups", "reset", "readers", "-b", kafka.bootstrap_servers, "--topic", "messages", "--to", "earliest"]
    )

    assert "__consumer_offsets" not in topics("list").stdout
    assert "__consumer_offsets" in topics("list", "--internal").stdout


def test_no_topics_is_reported_on_stderr(topics):
    ended = topics("list")

    assert (ended.exit_code, ended.stdout) == (0, "")
    assert "kwire topics create" in ended.stderr
    assert topics("list", "--json").stdout == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["describe", "mesages"], "kwire: there is no topic mesages; did you mean messages?\n"),
        (["delete", "messages", "nothing"], "kwire: there is no topic nothing\n"),
        (["alter", "nothing", "-p", "2"], "kwire: there is no topic nothing\n"),
        (["create", "messages"], "kwire: Topic 'messages' already exists (TOPIC_ALREADY_EXISTS)\n"),
    ],
)
def test_a_refusal_is_one_sentence(topics, arguments, message):
    topics("create", "messages")

    ended = topics(*arguments)

    assert (ended.exit_code, ended.output) == (1, message)
    assert "messages" in topics("list").stdout


def test_the_message_of_the_broker_is_printed(topics):
    ended = topics("create", "messages", "--replication-factor", "3")

    assert ended.exit_code == 1
    assert "only 1 broker(s) are registered" in ended.output
    assert ended.output.endswith("(INVALID_REPLICATION_FACTOR)\n")


def test_if_not_exists_and_if_exists_avoid_the_error(topics):
    topics("create", "messages", "-p", "2")

    assert topics("create", "messages", "--if-not-exists").output == "topic messages exists already\n"
    assert topics("delete", "nothing", "messages", "--if-exists").output == "deleted topic messages\n"


@pytest.mark.parametrize("arguments", [["alter", "messages"], ["create", "messages", "--set", "retention.ms"]])
def test_missing_arguments_are_a_usage_error(topics, arguments):
    ended = topics(*arguments)

    assert ended.exit_code == 2
    assert "--set" in ended.output


def test_an_unreachable_broker_is_reported_with_advice(kafka):
    kafka.stop()
    ended = CliRunner().invoke(main, ["topics", "list", "-b", kafka.bootstrap_servers])

    assert ended.exit_code == 1
    assert ended.output.startswith("kwire: nothing listens on ")
    assert f"kwire doctor {kafka.bootstrap_servers}" in ended.output
    assert "kwire serve" in ended.output


def test_a_client_config_names_the_broker_and_unused_settings_are_reported(kafka, tmp_path):
    settings = tmp_path / "client.properties"
    settings.write_text(f"bootstrap.servers={kafka.bootstrap_servers}\nlinger.ms=5\n")

    ended = CliRunner().invoke(main, ["topics", "create", "messages", "--config", str(settings)])

    assert ended.exit_code == 0
    assert ended.stdout == "created topic messages\n"
    assert ended.stderr == f"kwire: {settings}: no effect here: linger.ms\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read "),
        ("security.protocol=TLS\n", "Invalid value TLS for configuration security.protocol"),
        (
            "security.protocol=SSL\nssl.truststore.location=x.jks\n",
            "ssl.truststore.location=x.jks: cannot read x.jks: No such file",
        ),
    ],
)
def test_settings_that_cannot_be_honoured_are_one_sentence(tmp_path, content, message):
    settings = tmp_path / "client.properties"
    if content is not None:
        settings.write_text(content)

    ended = CliRunner().invoke(main, ["topics", "list", "--config", str(settings)])

    assert ended.exit_code == 1
    assert message in ended.output
    assert ended.output.count("\n") == 1


def test_a_topic_whose_metadata_is_an_error_is_listed_with_the_error():
    topic = MetadataResponse.MetadataResponseTopic
    node = MetadataResponse.MetadataResponseBroker(node_id=1, host="127.0.0.1", port=1)
    answer = MetadataResponse(
        brokers=[node],
        topics=[
            topic(error_code=Code.LEADER_NOT_AVAILABLE, name="young", partitions=[]),
            topic(error_code=Code.KAFKA_STORAGE_ERROR, name="broken", partitions=[]),
        ],
    )
    with fake_broker({3: (0, 12), 18: (0, 4)}, {3: answer}) as broker:
        run = CliRunner().invoke(main, ["topics", "list", "-b", broker.address])
    assert columns(run.stdout)[1:] == [["broken", "KAFKA_STORAGE_ERROR", "-"], ["young", "LEADER_NOT_AVAILABLE", "-"]]
