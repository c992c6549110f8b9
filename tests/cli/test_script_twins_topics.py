"""The twins of the official scripts against a real broker: kafka-topics."""

import re


def test_a_topic_is_created_changed_and_deleted(script):
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


def test_refusals_are_printed_on_stdout_with_exit_code_1(script, topic):
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


def test_a_name_that_collides_in_metrics_gets_a_warning(script):
    made = script("kafka-topics", "--create", "--topic", "dotted.name")
    assert made.lines[0].startswith("WARNING: Due to limitations in metric names")
    assert made.lines[1] == "Created topic dotted.name."


def test_zookeeper_is_accepted_and_the_broker_of_its_host_is_used(script, bootstrap, monkeypatch):
    monkeypatch.setenv("KWIRE_BOOTSTRAP", bootstrap)
    made = script("kafka-topics", "--create", "--zookeeper", "zookeeper:2181", "--topic", "by-zookeeper", alone=True)
    assert (made.code, made.out) == (0, "Created topic by-zookeeper.\n")
    assert f"asking the broker {bootstrap} instead of zookeeper:2181" in made.err


def test_a_broker_that_cannot_be_reached_is_printed_at_once_and_waited_for(script, tmp_path):
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
