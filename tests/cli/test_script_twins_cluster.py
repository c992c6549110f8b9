"""The twins of the official scripts against a real broker: offsets, records, log directories, features, the quorum."""

import json
import re

import pytest

from kwire.cli.script_twins import TWINS
from kwire.kafka_release import RELEASE


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
def test_invalid_lines_of_get_offsets_are_refused(script, argv, complaint):
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
def test_an_invalid_file_of_offsets_is_refused(script, tmp_path, text, complaint):
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


def test_features_of_releases_are_printed_without_a_broker(script):
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


@pytest.mark.parametrize("name", sorted(TWINS))
def test_every_script_has_help(script, name):
    shown = script(name, "--help", alone=True)
    text = shown.out + shown.err
    assert shown.code in (0, 1)
    assert len(text) > 50


def test_every_script_that_has_one_says_kafka_s_version(script):
    for name in ("kafka-topics", "kafka-console-producer", "kafka-configs", "kafka-server-start"):
        assert script(name, "--version", alone=True) == (0, f"{RELEASE}\n", "")
