"""The twins of the official scripts against a real broker: scripts that send, read and measure."""

import json
import re
import signal
import subprocess
import sys


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
        running.communicate(timeout=150)
    finally:
        running.kill()
        running.wait()
    assert running.returncode == 130


def test_partitions_are_listed_in_the_order_of_their_names(script):
    script("kafka-topics", "--create", "--topic", "eleven", "--partitions", "11")
    listed = script("kafka-get-offsets", "--topic", "eleven")
    assert [line.split(":")[1] for line in listed.lines][:4] == ["0", "1", "10", "2"]
