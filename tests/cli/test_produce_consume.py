"""`kwire produce` and `kwire consume`, as a person types them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from kafka import KafkaConsumer
from official import missing

from kwire.cli.main import main
from kwire.cli.records import kafka_python_clients


@pytest.fixture
def kwire(kafka):
    def run(*arguments):
        return CliRunner(env={"KWIRE_BOOTSTRAP": kafka.bootstrap_servers}).invoke(main, arguments)

    return run


@pytest.fixture
def shell(kafka):
    """Run a line of shell with kwire on the path."""
    environment = {
        **os.environ,
        "KWIRE_BOOTSTRAP": kafka.bootstrap_servers,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }

    def run(line):
        return subprocess.run(line, shell=True, capture_output=True, env=environment, timeout=150, check=False)

    return run


@contextmanager
def consuming(kafka, *arguments):
    command = [sys.executable, "-m", "kwire", "consume", "-b", kafka.bootstrap_servers, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def read_all(kwire, topic, *arguments):
    ended = kwire("consume", topic, "--from-beginning", "--until-end", *arguments)
    assert ended.exit_code == 0, ended.output
    return ended.stdout


def records(kwire, topic):
    return [json.loads(line) for line in read_all(kwire, topic, "--json").splitlines()]


def test_lines_of_standard_input_are_records(shell, kwire):
    ended = shell("printf 'hello\\n\\nworld' | kwire produce messages")

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
    assert read_all(kwire, "messages") == "hello\n\nworld\n"


def test_arguments_are_records(kwire):
    kwire("produce", "messages", "{'user_id': 1, 'recipient_id': 2, 'message': 'Hi.'}", "again")

    assert read_all(kwire, "messages") == "{'user_id': 1, 'recipient_id': 2, 'message': 'Hi.'}\nagain\n"


@pytest.mark.kafka(topics={"scores": 4})
def test_keys_headers_partitions_and_codecs(shell, kwire):
    shell("printf 'alice=1\\nbob=2=3\\n' | kwire produce scores --key-separator = --header from=test --header empty=")
    kwire("produce", "scores", "--key", "alice", "--partition", "3", "--compression", "zstd", "x" * 1000)

    found = {(record["key"], record["value"]): record for record in records(kwire, "scores")}

    assert set(found) == {("alice", "1"), ("bob", "2=3"), ("alice", "x" * 1000)}
    assert found["alice", "1"]["headers"] == [["from", "test"], ["empty", ""]]
    assert found["alice", "x" * 1000]["partition"] == 3


def test_produce_reads_the_json_of_consume(shell, kwire):
    first = [
        '{"key": null, "value": "text", "timestamp": 1000}',
        '{"key": {"base64": "/w=="}, "value": null, "headers": [["a", "1"], ["a", null]], "partition": 0}',
        '{"value": {"user_id": 1}, "headers": {"b": "2"}}',
        "",
    ]
    shell("printf '%s\\n' " + " ".join(f"'{line}'" for line in first) + " | kwire produce messages --json")
    shell("kwire consume messages --from-beginning -e --json | kwire produce copy --json")

    copied = records(kwire, "copy")

    assert copied == [{**record, "topic": "copy"} for record in records(kwire, "messages")]
    assert [(record["key"], record["value"]) for record in copied] == [
        (None, "text"),
        ({"base64": "/w=="}, None),
        (None, '{"user_id": 1}'),
    ]
    assert copied[0]["timestamp"] == 1000
    assert copied[1]["headers"] == [["a", "1"], ["a", None]]
    assert copied[2]["headers"] == [["b", "2"]]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("hello", "line 2 is not JSON"),
        ("5", "line 2 is not a record"),
        ('{"key": "a"}', "line 2 is not a record"),
        ('{"value": "a", "ky": "b"}', "a record has no field 'ky'"),
        ('{"value": {"base64": "%"}}', "is not base64"),
        ('{"value": "a", "headers": [1]}', "headers are"),
        ('{"value": "a", "partition": "0"}', "partition '0' is not a number"),
    ],
)
def test_a_wrong_line_is_named_and_earlier_lines_are_sent(kwire, shell, line, message):
    ended = shell(f"""printf '%s\\n' '{{"value": "good"}}' '{line}' | kwire produce messages --json""")

    assert ended.returncode == 1
    assert message in ended.stderr.decode()
    assert "1 record sent before it" in ended.stderr.decode()
    assert read_all(kwire, "messages") == "good\n"


def test_a_line_without_the_separator_is_named(shell):
    ended = shell("printf 'a=1\\nb\\n' | kwire produce messages --key-separator =")

    assert ended.returncode == 1
    assert ended.stderr.decode() == ("kwire: No key separator found on line number 2: 'b'; 1 record sent before it\n")


@pytest.mark.kafka(config={"auto.create.topics.enable": "false", "message.max.bytes": "1000"}, topics={"small": 1})
def test_records_that_cannot_be_sent_are_reported(kwire, kafka, monkeypatch):
    from kwire.cli.records import produce

    monkeypatch.setattr(produce, "_MAX_BLOCK_MS", 0)
    nowhere = kwire("produce", "nowhere", "a", "b")
    partition = kwire("produce", "small", "--partition", "3", "a")
    large = kwire("produce", "small", "a", "b" * 2000)

    assert nowhere.exit_code == partition.exit_code == large.exit_code == 1
    assert nowhere.output == (
        "kwire: there is no topic nowhere, and the broker does not create topics automatically.\n"
        f"Create it: kwire topics create nowhere -b {kafka.bootstrap_servers}\n"
    )
    assert (
        "1 of 1 record could not be sent: there is no partition 3 of topic small, which has one partition, 0"
        in partition.output
    )
    assert "1 of 2 records could not be sent: " in large.output
    assert "MESSAGE_TOO_LARGE" in large.output
    assert read_all(kwire, "small") == "a\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--key", "a", "--key-separator", "="],
        ["--key", "a", "--json"],
        ["--json", "--key-separator", "="],
        ["--key-separator", ""],
        ["--header", "a"],
    ],
    ids=str,
)
def test_options_of_produce_that_do_not_go_together(kwire, arguments):
    assert kwire("produce", "messages", *arguments, "value").exit_code == 2


def test_without_from_beginning_only_new_records_are_shown(kafka, kwire):
    kafka.create_topic("messages")
    kwire("produce", "messages", "old")
    with consuming(kafka, "messages", "--max-messages", "1") as process:
        # The consumer does not report when it is ready; records that are sent after that are new.
        number = 0
        while process.poll() is None:
            kwire("produce", "messages", f"new {number}")
            number += 1
        shown = process.stdout.read()

    assert re.fullmatch(r"new \d+\n", shown)
    assert process.returncode == 0


def test_a_group_resumes_at_its_committed_offset(kwire):
    kwire("produce", "messages", "a", "b", "c")

    first = kwire("consume", "messages", "--group", "readers", "--from-beginning", "-n", "2")
    second = kwire("consume", "messages", "--group", "readers", "--from-beginning", "-e")
    third = kwire("consume", "messages", "--group", "readers", "--from-beginning", "-e")

    assert (first.stdout, second.stdout, third.stdout) == ("a\nb\n", "c\n", "")


@pytest.mark.kafka(topics={"messages": 2})
def test_one_partition_from_an_offset(kwire):
    kwire("produce", "messages", "-p", "1", "a", "b", "c")
    kwire("produce", "messages", "-p", "0", "other")

    ended = kwire("consume", "messages", "-p", "1", "-o", "1", "-e")

    assert ended.stdout == "b\nc\n"


def test_verbose_prints_the_other_fields_of_a_record(kwire):
    kwire("produce", "messages", "--key", "k", "--header", "a=1", "hello")
    kwire("produce", "messages", "plain")

    first, second = (line.split("\t") for line in read_all(kwire, "messages", "-v").splitlines())

    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first[2])
    assert [*first[:2], *first[3:]] == ["messages-0", "0", "k", "a=1", "hello"]
    assert second[3:] == ["-", "-", "plain"]


@pytest.mark.kafka(config={"advertised.listeners": "PLAINTEXT://nowhere.invalid:9092"})
def test_an_unreachable_advertised_address_is_reported_with_a_hint_at_doctor(kafka, kwire):
    ended = kwire("produce", "messages", "a")

    assert ended.exit_code == 1
    assert ended.stderr.endswith(f"\nLook closer: kwire doctor {kafka.bootstrap_servers}\n")


def test_the_next_poll_waits_for_a_join_that_outlasted_one(kafka):
    consumer = kafka_python_clients.consumer({"group.id": "readers"}, bootstrap=kafka.bootstrap_servers)
    coordinator = consumer._coordinator
    before = coordinator.need_rejoin()

    coordinator._join_task = object()
    under_way = coordinator.need_rejoin()

    coordinator._join_task = None
    consumer.close()
    assert (before, under_way) == (False, True)


def test_until_end_of_nothing_ends_at_once(kafka, kwire):
    kafka.create_topic("messages")

    assert read_all(kwire, "messages") == ""


def test_until_end_of_an_unknown_topic_is_refused_with_a_similar_name(kafka, kwire):
    kafka.create_topic("messages")

    ended = kwire("consume", "mesages", "--until-end")

    assert (ended.exit_code, ended.stdout) == (1, "")
    assert ended.stderr == "kwire: there is no topic mesages; did you mean messages?\n"


@pytest.mark.kafka(topics={"messages": 2})
def test_a_transaction_that_was_aborted_is_left_out_and_the_end_is_found_behind_it(kafka, kwire):
    try:
        import confluent_kafka
    except ImportError:
        missing("confluent-kafka")
    producer = confluent_kafka.Producer({"bootstrap.servers": kafka.bootstrap_servers, "transactional.id": "one"})
    producer.init_transactions()
    for value, end in (("kept", producer.commit_transaction), ("dropped", producer.abort_transaction)):
        producer.begin_transaction()
        producer.produce("messages", value, partition=1)
        producer.flush()
        end()

    assert read_all(kwire, "messages", "--read-committed") == "kept\n"
    assert read_all(kwire, "messages") == "kept\ndropped\n"


def test_a_topic_that_does_not_exist_is_waited_for_and_read_from_its_start(kafka, kwire):
    with consuming(kafka, "messages", "-n", "1") as process:
        assert process.stderr.readline() == "kwire: there is no topic messages yet: waiting for it\n"
        assert "messages" not in kwire("topics", "list").stdout
        kwire("produce", "messages", "first")

        assert process.stdout.readline() == "first\n"
        assert process.wait(150) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_quietly_and_the_group_is_left(kafka, kwire, number):
    kwire("produce", "messages", "a")
    with consuming(kafka, "messages", "--group", "readers", "--from-beginning") as process:
        assert process.stdout.readline() == "a\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=150)

    assert (process.returncode, out, err) == (0, "", "")
    (group,) = json.loads(kwire("groups", "describe", "readers", "--json").stdout)
    assert group["members"] == []
    assert group["partitions"][0]["committed"] == 1


def test_the_reader_of_the_output_may_close_it(shell):
    ended = shell("seq 100000 | kwire produce messages && kwire consume messages --from-beginning | head -n 1")

    assert ended.stdout == b"1\n"
    assert b"Traceback" not in ended.stderr


def test_stock_clients_read_what_was_produced(kafka, kwire):
    kwire("produce", "messages", "--key", "k", "--header", "a=1", "--compression", "lz4", "hello")
    consumer = KafkaConsumer("messages", bootstrap_servers=kafka.bootstrap_servers, auto_offset_reset="earliest")
    record = next(consumer)
    consumer.close()

    assert (record.key, record.value, list(record.headers)) == (b"k", b"hello", [("a", b"1")])


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["-p", "9"], 1, "there is no partition 9 of topic messages, which has one partition, 0"),
        (["-p", "0", "--group", "g"], 2, "without --group"),
        (["-o", "1"], 1, "offset 1 is out of range: messages-0 has offsets 0 to 0"),
        (["-o", "soon"], 2, "write beginning, end, an offset, -N, or a time"),
        (["-o", "end", "--group", "g"], 2, "without --group"),
        (["-f", "%q"], 2, "%q is not known; known are %s"),
        (["-f", "%s", "--json"], 2, "exclude each other"),
        (["-o", "1", "-p", "0", "--from-beginning"], 2, "two places"),
        (["-n", "0"], 2, "--max-messages"),
    ],
    ids=str,
)
def test_invalid_combinations_of_options_of_consume(kafka, kwire, arguments, code, message):
    kafka.create_topic("messages")

    ended = kwire("consume", "messages", *arguments)

    assert ended.exit_code == code
    assert message in ended.output


@pytest.mark.kafka(topics={"messages": 2})
@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("beginning", ["a0", "a1", "a2", "b0"]),
        ("-1", ["a2", "b0"]),
        ("-9", ["a0", "a1", "a2", "b0"]),
        ("1", ["a1", "a2"]),
        ("1970-01-01T00:00:02+00:00", ["a1", "a2"]),
        ("end", []),
    ],
)
def test_consume_starts_at_the_given_offset(kafka, kwire, shell, where, expected):
    lines = [(0, "a0", 1000), (0, "a1", 2000), (0, "a2", 3000), (1, "b0", 1000)]
    for partition, value, timestamp in lines:
        line = f'{{"value": "{value}", "partition": {partition}, "timestamp": {timestamp}}}'
        shell(f"echo '{line}' | kwire produce messages --json")

    ended = kwire("consume", "messages", "--offset", where, "--until-end", "--format", "%s\\n")

    assert sorted(ended.stdout.split()) == expected


def test_consume_writes_the_formats_of_kcat(kafka, kwire, shell):
    kafka.create_topic("messages")
    line = '{"key": "k", "value": "hello", "headers": [["a", "1"], ["b", null]], "timestamp": 5}'
    shell(f"echo '{line}' | kwire produce messages --json")
    shell("echo '{\"value\": null}' | kwire produce messages --json")
    layout = r"%t:%p:%o:%T %k(%K)=%s(%S) %h %%\x41\t|"

    ended = kwire("consume", "messages", "--from-beginning", "--until-end", "-n", "1", "-f", layout)
    empty = kwire("consume", "messages", "--offset", "-1", "--until-end", "-f", "[%s %S %k %K]")

    assert ended.stdout == "messages:0:0:5 k(1)=hello(5) a=1,b=NULL %A\t|"
    assert empty.stdout == "[ -1  -1]"


def test_an_early_close_of_the_output_is_no_failure(kafka, kwire, shell):
    kafka.create_topic("messages")
    shell("seq 20000 | kwire produce messages")

    ended = shell("(kwire consume messages --from-beginning --until-end; echo $? >&2) | head -n 1")
    listed = shell("(kwire config; echo $? >&2) | head -n 1")

    assert (ended.stdout, ended.stderr) == (b"1\n", b"0\n")
    assert listed.stderr == b"0\n"


def test_brokers_is_another_name_for_bootstrap_server(kafka, kwire):
    kafka.create_topic("messages")

    assert "messages" in kwire("topics", "list", "--brokers", kafka.bootstrap_servers).output


def test_groups_describe_without_a_name_is_all_groups(kafka, kwire, shell):
    assert "No groups yet" in kwire("groups", "describe").output
    for group in ("one", "two"):
        shell(f"echo x | kwire produce messages; kwire consume messages --group {group} --from-beginning -n 1")

    described = json.loads(kwire("groups", "describe", "--json").stdout)

    assert [group["group"] for group in described] == ["one", "two"]


def test_topic_names_complete_in_the_shell(kafka, shell):
    kafka.create_topic("messages")

    completed = shell('_KWIRE_COMPLETE=bash_complete COMP_WORDS="kwire consume mes" COMP_CWORD=2 kwire')

    assert completed.stdout == b"plain,messages\n"


def test_log_dump_takes_a_directory(tmp_path, kwire):
    from kwire.testing import KafkaBroker

    with KafkaBroker(data=tmp_path / "data", topics=["messages"]) as kafka:
        kwire("produce", "messages", "hello", "--brokers", kafka.bootstrap_servers)

    dumped = kwire("log", "dump", str(tmp_path / "data" / "messages-0"), "--print-data-log")
    nothing = kwire("log", "dump", str(tmp_path))

    assert "00000000000000000000.log" in dumped.output
    assert "payload: hello" in dumped.output
    assert nothing.exit_code == 2
    assert "name a partition's directory" in nothing.output


def test_the_members_of_a_share_group_read_each_record_once(kafka, kwire):
    reset = "share.auto.offset.reset=earliest"
    configs = ("--entity-type", "groups", "--entity-name", "workers", "--add-config", reset)
    kwire("scripts", "kafka-configs", "--bootstrap-server", kafka.bootstrap_servers, "--alter", *configs)
    assert kwire("produce", "tasks", *(f"t{number}" for number in range(5))).exit_code == 0
    first = kwire("consume", "tasks", "--share", "workers", "--max-messages", "2", "--json")
    assert first.exit_code == 0, first.output
    assert [json.loads(line)["value"] for line in first.stdout.splitlines()] == ["t0", "t1"]
    second = kwire("consume", "tasks", "--share", "workers", "--max-messages", "3")
    assert second.stdout.split() == ["t2", "t3", "t4"], second.output


@pytest.mark.parametrize("option", [("--group", "g"), ("--partition", "0"), ("--from-beginning",), ("--until-end",)])
def test_settings_of_share_groups_are_no_options(kwire, option):
    ended = kwire("consume", "tasks", "--share", "workers", *option)
    assert ended.exit_code == 2
    assert "share" in ended.output
