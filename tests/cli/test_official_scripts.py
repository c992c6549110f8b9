"""The twins beside the official scripts: the same lines to the same broker, the same output and exit codes.

What has no meaning without Java is left out: usage texts, stack traces, log lines.
"""

import json
import os
import re
import sys

import kafka
import pytest
from official import class_path, missing
from streams_member import StreamsMember

pytest.importorskip("interop.java", reason="interop is no part of the installed package")

from interop.jars import Missing
from interop.java import Jvm
from kwire.cli.script_twins import run

CLASSES = {
    "kafka-topics": "org.apache.kafka.tools.TopicCommand",
    "kafka-console-producer": "org.apache.kafka.tools.ConsoleProducer",
    "kafka-console-consumer": "org.apache.kafka.tools.consumer.ConsoleConsumer",
    "kafka-console-share-consumer": "org.apache.kafka.tools.consumer.ConsoleShareConsumer",
    "kafka-share-consumer-perf-test": "org.apache.kafka.tools.ShareConsumerPerformance",
    "kafka-share-groups": "org.apache.kafka.tools.consumer.group.ShareGroupCommand",
    "kafka-streams-groups": "org.apache.kafka.tools.streams.StreamsGroupCommand",
    "kafka-consumer-groups": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
    "kafka-configs": "org.apache.kafka.tools.ConfigCommand",
    "kafka-get-offsets": "org.apache.kafka.tools.GetOffsetShell",
    "kafka-delete-records": "org.apache.kafka.tools.DeleteRecordsCommand",
    "kafka-broker-api-versions": "org.apache.kafka.tools.BrokerApiVersionsCommand",
    "kafka-log-dirs": "org.apache.kafka.tools.LogDirsCommand",
    "kafka-cluster": "org.apache.kafka.tools.ClusterTool",
    "kafka-features": "org.apache.kafka.tools.FeatureCommand",
    "kafka-metadata-quorum": "org.apache.kafka.tools.MetadataQuorumCommand",
    "kafka-transactions": "org.apache.kafka.tools.TransactionsCommand",
    "kafka-groups": "org.apache.kafka.tools.GroupsCommand",
    "kafka-client-metrics": "org.apache.kafka.tools.ClientMetricsCommand",
    "kafka-leader-election": "org.apache.kafka.tools.LeaderElectionCommand",
    "kafka-e2e-latency": "org.apache.kafka.tools.EndToEndLatency",
    "kafka-replica-verification": "org.apache.kafka.tools.ReplicaVerificationTool",
    "kafka-verifiable-producer": "org.apache.kafka.tools.VerifiableProducer",
    "kafka-verifiable-consumer": "org.apache.kafka.tools.VerifiableConsumer",
    "kafka-producer-perf-test": "org.apache.kafka.tools.ProducerPerformance",
    "kafka-consumer-perf-test": "org.apache.kafka.tools.ConsumerPerformance",
    "kafka-reassign-partitions": "org.apache.kafka.tools.reassign.ReassignPartitionsCommand",
}
# A usage text with its indented lines; and an error that argparse4j has broken into lines of equal length.
_USAGE = re.compile(r"^usage: .*\n(?: .*\n)*", re.MULTILINE)
_STACK_TRACE = re.compile(r"(?<=\n)(?:java|org|com|joptsimple)\.[\w.$]+(?:Exception|Error): (?s:.*)")
# Java writes the fields of an event in another order at some starts.
_EVENT = re.compile(r'(?m)^\{"timestamp":.*$')
# A consumer of kafka-python joins a second time if the partitions of its topic come to it after the first.
_JOINED_AGAIN = re.compile(
    r'(?m)^\{"name":"partitions_assigned".*\n\{"name":"partitions_revoked".*\n(?=\{"name":"partitions_assigned")'
)
_WRAPPED_ERROR = re.compile(r"^\S+:\s+error: (?:.+\n?)+", re.MULTILINE)
# Lines on stderr that only a JVM writes, or that only a person without one needs.
_NOISE = re.compile(
    r"\s*$|\sat |Caused by|Option\s+Description|------|\S*(Exception|Error)(:|$)|The consumer rebalance protocol|"
    r"WARN|\[20|SLF4J|\s*\.\.\. \d+ more|Options: |usage:|This tool|OpenJDK|Processed a total"
)

# Valid and invalid in RE2, which is what the broker takes.
EXPRESSIONS = (
    *("a.*", "(?<x>a)", "(?P<x>a)", "a{2,3}?", "[a-z]+", "a(*", "[", "a{2,1}", "(a", "a)", "\\q", "[z-a]", "a**"),
    *("(?=a)", "(?<=a)b", "(a)\\1", "(?<x", "a{1001}", "+a", "\\"),
)


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """Runs an official script, all of them in one JVM: a start of one costs more than most scripts."""
    jars = class_path()
    try:
        jvm = Jvm(tmp_path_factory.mktemp("jvm") / "log", log_level="off")
    except Missing as tool:
        missing(str(tool))
    jvm.load("official", jars)

    def ended(name, argv, stdin):
        job = jvm.start("official", CLASSES[name], *argv)
        job.write(stdin.encode(errors="surrogateescape"))
        job.end_input()
        code = job.wait(100).code
        return code, job.out_bytes.decode(errors="surrogateescape"), _first_complaint(job.err)

    yield ended
    jvm.close()


@pytest.fixture
def twin(capsys, monkeypatch, tmp_path):
    def ended(name, argv, stdin):
        (tmp_path / "stdin").write_text(stdin, newline="", errors="surrogateescape")
        capsys.readouterr()
        with (tmp_path / "stdin").open() as given:
            monkeypatch.setattr(sys, "stdin", given)
            try:
                code = run(name, argv)
            except SystemExit as leaving:
                code = leaving.code
        captured = capsys.readouterr()
        return code, captured.out, _first_complaint(captured.err)

    return ended


def _sorted_event(line):
    return json.dumps(json.loads(line[0]), sort_keys=True, separators=(",", ":"))


def _first_complaint(err):
    err = _WRAPPED_ERROR.sub(lambda found: " ".join(found[0].split()).replace("-- ", "--") + "\n", _USAGE.sub("", err))
    complaint = next((line.strip() for line in err.splitlines() if not _NOISE.match(line)), "")
    # Java's sets have another order at each start.
    return re.sub(r"\[(\[.+\])\]", lambda found: ", ".join(sorted(found[1].split(", "))), complaint)


@pytest.fixture(scope="module")
def side(bootstrap):
    """Names for what both make: as long as each other, so that columns are, and hashed alike never."""
    return {"a": f"side-a-{os.getpid()}", "b": f"side-b-{os.getpid()}"}


@pytest.fixture
def compare(bootstrap, official, twin, side):
    """Runs lines through both, one after another; {s} is a name of each one's own, {b} the broker.

    What ``masked`` matches in the output may differ, such as times.
    """

    def same(name, *lines, server=True, masked=None):
        for line in lines:
            text, _, stdin = line.partition(" <<< ")
            ends = []
            for which, script in (("a", official), ("b", twin)):
                own = side[which] if "{s}" in text else "\0"
                argv = [word.replace("{s}", own).replace("{b}", bootstrap) for word in _words(text)]
                argv = [*(["--bootstrap-server", bootstrap] if server else []), *argv]
                code, out, complaint = script(name, argv, stdin)
                out = _JOINED_AGAIN.sub("", _EVENT.sub(_sorted_event, _STACK_TRACE.sub("", out)))
                out = out if masked is None else re.sub(masked, "T", out)
                ends.append((code, out.replace(own, "side"), complaint.replace(own, "side")))
            assert ends[1] == ends[0], f"{name} {text}"

    return same


def _words(line):
    """Split at blanks outside of single quotes."""
    return [word.replace("'", "") for word in re.findall(r"(?:'[^']*'|\S)+", line)]


def make_group(twin, server, topic, group):
    """Join a group, and leave it when nothing was read for some time: on a busy machine that may be before the join."""
    for timeout_ms in ("2000", "30000"):
        twin("kafka-console-consumer", [*server, "--topic", topic, "--group", group, "--timeout-ms", timeout_ms], "")
        if group in twin("kafka-consumer-groups", [*server, "--list"], "")[1].splitlines():
            return


def test_twins_for_topics_print_what_the_official_scripts_print(compare):
    compare(
        "kafka-topics",
        "--create --topic {s}-messages --replication-factor 1 --partitions 1",
        "--create --topic {s}-messages",
        "--create --topic {s}-messages --if-not-exists",
        "--create --topic {s}.b --partitions 3 --config retention.ms=1000000 --config cleanup.policy=compact,delete",
        "--create --topic bad..name!",
        "--create --topic rf3 --replication-factor 3",
        "--create --topic p0 --partitions 0",
        "--create --topic pc --config nosuch=1",
        "--create --topic pc --config retention.ms=abc",
        "--create --topic pc --config retention.ms=-5",
        "--create --topic pc --config foo",
        "--create --topic {s}-asg --replica-assignment 1,1,1",
        "--create --topic asg2 --replica-assignment 1:1,1",
        "--create --topic asg2 --replica-assignment 1:2,1",
        "--create --topic asg2 --replica-assignment 1,2",
        "--create --topic asg2 --replica-assignment 1 --partitions 3",
        "--create",
        "--list --topic {s}.*",
        "--list --topic nothing-there",
        "--describe --topic nosuch",
        "--describe --topic nosuch --if-exists",
        "--alter --topic {s}-messages --partitions 3",
        "--alter --topic {s}-messages --partitions 2",
        "--alter --topic {s}-messages --partitions 3",
        "--alter --topic {s}-messages",
        "--alter --topic nosuch --partitions 3",
        "--alter --topic {s}-messages --partitions 4 --replica-assignment 1,1,1,1",
        "--delete --topic nosuch",
        "--delete --topic {s}-asg",
        "--delete",
        "--list --create",
        "--list --nosuch",
        "--list --topic",
        "--list --partitions 3",
        "--list --topic a(",
        "--describe --topic-id AAAA",
        "--version",
    )


def test_topics_are_described_alike(compare, bootstrap, twin):
    for number in range(14):
        assert twin("kafka-topics", ["--bootstrap-server", bootstrap, "--create", "--topic", f"d{number}"], "")[0] == 0
    compare(
        "kafka-topics",
        "--list",
        "--describe",
        "--describe --topics-with-overrides",
        "--describe --unavailable-partitions",
        "--describe --at-min-isr-partitions",
        "--describe --exclude-internal --topic d.*",
        "--describe --topic d1 --partition-size-limit-per-response 1",
    )


def test_twins_for_console_print_what_the_official_scripts_print(compare, bootstrap, twin, side):
    for name in side.values():
        twin("kafka-topics", ["--bootstrap-server", bootstrap, "--create", "--topic", f"{name}-c"], "")
        twin("kafka-topics", ["--bootstrap-server", bootstrap, "--create", "--topic", f"{name}-b"], "")
    compare(
        "kafka-console-producer",
        "--topic {s}-c <<< a\nb\r\n\nd",
        "--topic {s}-c --property parse.key=true --property key.separator=: <<< k1:v1\nk2:v2\nnokey\n",
        "--topic {s}-c --reader-property parse.key=true --reader-property null.marker=N <<< k\tN\nN\tv\n",
        "--topic {s}-c --reader-property parse.headers=true <<< h:1,g:2\tv\n",
        "--topic {s}-c --reader-property parse.headers=true <<< nothing\n",
        "--topic {s}-c --reader-property headers.delimiter=, <<< x\n",
        "--topic {s}-c --compression-codec zstd <<< zstd\n",
        "--topic {s}-b <<< not UTF-8: \udcff \udce2\udc82\n",
        "--topic {s}-c --compression-codec lz5 <<< x\n",
        "--topic {s}-c --request-required-acks 0 --sync <<< acks 0\n",
        "--topic {s}-c --property a=b --reader-property c=d <<< x",
        " <<< x",
    )
    shown = "--formatter-property print.key=true --formatter-property print.headers=true --formatter-property"
    compare(
        "kafka-console-consumer",
        "--topic {s}-c --from-beginning --max-messages 11",
        f"--topic {{s}}-c --from-beginning --max-messages 11 {shown} print.offset=true",
        f"--topic {{s}}-c --partition 0 --offset 3 --max-messages 2 {shown} null.literal=NIL",
        "--topic {s}-c --group {s}-g --from-beginning --max-messages 3",
        "--topic {s}-c --group {s}-g --from-beginning --max-messages 3",
        "--topic {s}-b --from-beginning --max-messages 1",
        "--topic {s}-c --timeout-ms 1",
        "--topic {s}-c --partition 0 --offset 3 --from-beginning",
        "--topic {s}-c --partition 0 --group g",
        "--topic {s}-c --offset 3",
        "--topic {s}-c --partition 0 --offset x",
        "--topic {s}-c --include x",
        "--topic {s}-c --group a --consumer-property group.id=b",
        "--topic {s}-c --from-beginning --command-property auto.offset.reset=latest",
    )


def test_twins_for_consumer_groups_print_what_the_official_scripts_print(compare, bootstrap, twin, side, tmp_path):
    server = ["--bootstrap-server", bootstrap]
    twin("kafka-topics", [*server, "--create", "--topic", "groups", "--partitions", "11"], "")
    twin("kafka-console-producer", [*server, "--topic", "groups"], "1\n2\n3\n")
    make_group(twin, server, "groups", "empty")
    (tmp_path / "plan.csv").write_text("groups,0,1\ngroups,1,0\n")
    compare(
        "kafka-consumer-groups",
        "--list",
        "--list --state",
        "--list --type --state empty",
        "--list --type odd",
        "--describe --group empty",
        "--describe --group empty --verbose",
        "--describe --group empty --members",
        "--describe --group empty --state --verbose",
        "--describe --group nobody",
        "--describe --all-groups",
        "--describe --all-groups --members",
        "--describe --all-groups --state",
        "--describe --group empty --offsets --members",
        "",
        "--delete --group nobody",
        "--reset-offsets --group empty --to-earliest --dry-run",
        "--reset-offsets --group empty --topic groups --to-earliest --dry-run",
        "--reset-offsets --group empty --topic groups:0,3 --to-latest --dry-run",
        "--reset-offsets --group empty --all-topics --shift-by -2 --dry-run --export",
        "--reset-offsets --group empty --all-topics --to-datetime 2000-01-01T00:00:00.000 --dry-run",
        "--reset-offsets --group empty --topic groups:0 --to-datetime 2199-01-01T00:00:00.000 --dry-run",
        "--reset-offsets --group empty --all-topics --to-datetime 2199 --dry-run",
        "--reset-offsets --group empty --all-topics --by-duration foo --dry-run",
        "--reset-offsets --group empty --all-topics --dry-run",
        "--reset-offsets --group empty --topic nosuch --to-earliest --dry-run",
        "--reset-offsets --group empty --topic groups:99 --to-earliest --dry-run",
        f"--reset-offsets --group empty --from-file {tmp_path}/plan.csv --dry-run",
        "--reset-offsets --group {s}-r --topic groups --to-earliest --execute",
        "--describe --group {s}-r",
        "--delete-offsets --group {s}-r --topic groups:1,10,2",
        "--delete-offsets --group {s}-r --topic nosuch",
        "--delete-offsets --group nobody --topic groups",
        "--delete --group {s}-r",
        "--delete --group {s}-r",
        *(f"--validate-regex {expression}" for expression in EXPRESSIONS),
    )


def test_twins_for_share_groups_print_what_the_official_scripts_print(compare, bootstrap, twin, side, tmp_path):
    server = ["--bootstrap-server", bootstrap]
    twin("kafka-topics", [*server, "--create", "--topic", "queue", "--partitions", "1"], "")
    twin("kafka-console-producer", [*server, "--topic", "queue"], "1\n2\n3\n4\n")
    for group in (*(f"{name}-c" for name in side.values()), *(f"{name}-p" for name in side.values()), "idle"):
        reset = ["--entity-type", "groups", "--entity-name", group, "--add-config", "share.auto.offset.reset=earliest"]
        twin("kafka-configs", [*server, "--alter", *reset], "")
    twin("kafka-console-share-consumer", [*server, "--topic", "queue", "--group", "idle", "--max-messages", "3"], "")
    (tmp_path / "plan.csv").write_text("queue,0,1\n")
    compare(
        "kafka-share-groups",
        "--list",
        "--list --state",
        "--list --state empty",
        "--describe --group idle",
        "--describe --group idle --verbose",
        "--describe --group idle --members",
        "--describe --group idle --state",
        "--describe --group idle --state --verbose",
        "--describe --group nosuch",
        "--describe --group idle --members --state",
        "--describe",
        "",
        "--list --describe --group idle",
        "--delete --group nosuch",
        "--delete --group idle --topic queue",
        "--reset-offsets --group idle --topic queue --to-earliest",
        "--reset-offsets --group idle --topic queue --dry-run",
        "--reset-offsets --group idle --to-earliest --dry-run",
        "--reset-offsets --group idle --topic queue --to-earliest --to-latest --dry-run",
        "--reset-offsets --group idle --topic queue --to-latest --dry-run",
        "--reset-offsets --group idle --all-topics --to-current --dry-run --export",
        "--reset-offsets --group idle --topic nosuch --to-earliest --dry-run",
        f"--reset-offsets --group idle --from-file {tmp_path}/plan.csv --dry-run",
        "--reset-offsets --group {s}-r --topic queue:0 --to-offset 2 --execute",
        "--describe --group {s}-r",
        "--delete-offsets --group {s}-r --topic queue --topic nosuch",
        "--delete-offsets --group nosuch --topic queue",
        "--delete --group {s}-r",
    )
    compare(
        "kafka-console-share-consumer",
        "--topic queue --group {s}-c --max-messages 1 --formatter-property print.delivery=true --release",
        "--topic queue --group {s}-c --max-messages 4 --formatter-property print.offset=true",
        "--topic queue --group {s}-c --reject --release",
        "--group {s}-c",
    )
    numbers = r"\d+-\d+-\d+ [\d:]+|\d+\.\d+|(?<=, )\d+(?=\n)"
    compare(
        "kafka-share-consumer-perf-test",
        "--topic queue --group {s}-p --num-records 4 --show-consumer-stats",
        "--topic queue --group {s}-p --messages 4 --hide-header --timeout 2000",
        "--topic queue",
        masked=numbers,
    )


@pytest.fixture
def streams_member(bootstrap, twin):
    """Makes a member of a streams group that has joined; it leaves with the test."""
    server = ["--bootstrap-server", bootstrap]
    twin("kafka-topics", [*server, "--create", "--topic", "stream", "--partitions", "2"], "")
    twin("kafka-console-producer", [*server, "--topic", "stream"], "1\n2\n3\n4\n")
    members = []

    def joined(group):
        changelog = f"{group}-counts-changelog"
        twin("kafka-topics", [*server, "--create", "--topic", changelog, "--partitions", "2"], "")
        config = ["--entity-type", "groups", "--entity-name", group]
        config += ["--add-config", "streams.initial.rebalance.delay.ms=0,streams.session.timeout.ms=60000"]
        twin("kafka-configs", [*server, "--alter", *config], "")
        members.append(StreamsMember(bootstrap, group, "stream", [changelog]))
        members[-1].join()
        return members[-1]

    yield joined
    for member in members:
        member.leave()


def test_twins_for_streams_groups_print_what_the_official_scripts_print(compare, streams_member, side, tmp_path):
    for name in side.values():
        streams_member(f"{name}-s").leave(committed=9)  # beyond the end, whatever partition has the records
    live = streams_member("live")
    (tmp_path / "plan.csv").write_text("stream,0,1\n")
    compare(
        "kafka-streams-groups",
        "--list",
        "--list --state",
        "--list --state notready,EMPTY",
        "--describe --group live",
        "--describe --group live --verbose",
        "--describe --group live --members",
        "--describe --group live --members --verbose",
        "--describe --group live --state",
        "--describe --group live --state --verbose",
        "--describe --group live --topology",
        "--reset-offsets --group live --input-topic stream --to-earliest --dry-run",
        "--delete --group live --group nosuch",
        "--delete-offsets --group live --input-topic stream",
    )
    live.beat()
    compare(
        "kafka-streams-groups",
        "--describe --group {s}-s",
        "--describe --group {s}-s --members",
        "--describe --group {s}-s --state",
        "--describe --group nosuch",
        "--describe",
        "",
        "--list --verbose",
        "--describe --group live --offsets --members",
        "--list --describe --all-groups",
        "--delete --group live --input-topic stream",
        "--delete-offsets --group live",
        "--delete-offsets --group nosuch --all-input-topics",
        "--delete-offsets --group nosuch --input-topic stream --input-topic nosuch",
        "--reset-offsets --group {s}-s --input-topic stream --to-earliest",
    )
    live.beat()
    compare(
        "kafka-streams-groups",
        "--reset-offsets --group {s}-s --to-earliest --dry-run",
        "--reset-offsets --group {s}-s --all-input-topics --dry-run",
        "--reset-offsets --group {s}-s --all-input-topics --shift-by 1 --dry-run",
        "--reset-offsets --group {s}-s --all-input-topics --to-current --dry-run --export",
        "--reset-offsets --group {s}-s --input-topic stream:0 --to-latest --dry-run",
        "--reset-offsets --group {s}-s --input-topic stream --to-latest --dry-run",
        "--reset-offsets --group {s}-s --input-topic stream:9 --to-latest --dry-run",
        "--reset-offsets --group {s}-s --input-topic nosuch --to-latest --dry-run",
        "--reset-offsets --group {s}-s --input-topic stream:0:1 --to-latest --dry-run",
        "--reset-offsets --group {s}-s --all-input-topics --to-datetime 2199 --dry-run",
        "--reset-offsets --group nosuch --input-topic stream --to-latest --dry-run",
        f"--reset-offsets --group {{s}}-s --from-file {tmp_path}/plan.csv --dry-run",
        "--reset-offsets --group {s}-s --all-input-topics --to-offset 2 --execute --delete-internal-topic nosuch",
        "--delete-offsets --group {s}-s --input-topic stream --input-topic nosuch",
        "--delete --group {s}-s --delete-all-internal-topics",
        "--delete --group {s}-s",
    )


def test_twins_for_configs_print_what_the_official_scripts_print(compare, bootstrap, twin):
    twin("kafka-topics", ["--bootstrap-server", bootstrap, "--create", "--topic", "configs"], "")
    compare(
        "kafka-configs",
        "--alter --topic configs --add-config retention.ms=5000,cleanup.policy=[compact,delete]",
        "--describe --topic configs",
        "--describe --topic configs --all",
        "--alter --topic configs --delete-config retention.ms",
        "--alter --topic configs --add-config nosuch=1",
        "--alter --topic configs --add-config retention.ms=abc",
        "--alter --topic nosuch --add-config retention.ms=1",
        "--alter --topic configs",
        "--alter --entity-type topics --add-config a=b",
        "--describe --topic nosuch",
        "--describe --entity-type odd",
        "--describe",
        "--describe --broker 1",
        "--describe --broker 9",
        "--describe --broker-defaults",
        "--alter --user {s} --add-config producer_byte_rate=1024,consumer_byte_rate=2048.5",
        "--describe --user {s}",
        "--alter --user {s} --client c --add-config request_percentage=12.25",
        "--describe --user {s} --client c",
        "--alter --user {s} --delete-config producer_byte_rate,consumer_byte_rate",
        "--alter --user {s} --delete-config producer_byte_rate,consumer_byte_rate",
        "--alter --client c --user {s} --delete-config request_percentage",
        "--alter --client-defaults --user-defaults --add-config request_percentage=3",
        "--describe --user-defaults --client-defaults",
        "--alter --client c --add-config odd=1",
        "--alter --user bob --add-config SCRAM-SHA-512=[password=secret]",
        "--describe --user bob",
        "--alter --user bob --add-config SCRAM-SHA-256=[iterations=1,password=secret]",
        "--alter --user bob --delete-config SCRAM-SHA-256",
    )


def test_offsets_records_and_directories(compare, bootstrap, twin, tmp_path):
    server = ["--bootstrap-server", bootstrap]
    twin("kafka-topics", [*server, "--create", "--topic", "offsets", "--partitions", "3"], "")
    twin("kafka-console-producer", [*server, "--topic", "offsets"], "1\n2\n3\n")
    twin("kafka-topics", [*server, "--create", "--topic", "offsets-of-eleven", "--partitions", "11"], "")
    compare(
        "kafka-get-offsets",
        "--topic offsets",
        "--topic offsets-of-eleven",
        "--topic offsets --time earliest",
        "--topic offsets --time -3",
        "--topic offsets --time 0",
        "--topic offsets --partitions 1,2",
        "--topic-partitions offsets:1-,nosuch",
        "--topic nosuch",
        "--topic offsets --time noon",
        "--topic offsets --topic-partitions a",
    )
    (tmp_path / "offsets.json").write_text('{"partitions": [{"topic": "offsets", "partition": 1, "offset": 99}]}')
    (tmp_path / "wrong.json").write_text('{"version": 2}')
    compare(
        "kafka-delete-records",
        f"--offset-json-file {tmp_path}/offsets.json",
        f"--offset-json-file {tmp_path}/wrong.json",
        "",
    )
    compare("kafka-log-dirs", "--describe --topic-list offsets", "--describe --broker-list 1,7", "")


def test_twins_for_cluster_print_what_the_official_scripts_print(compare):
    compare("kafka-broker-api-versions", "")
    compare(
        "kafka-cluster",
        "cluster-id --bootstrap-server {b}",
        "list-endpoints --bootstrap-server {b}",
        "unregister --bootstrap-server {b} --id 77",
        server=False,
    )
    compare(
        "kafka-features",
        "upgrade --feature nosuch.version=7",
        "upgrade --feature transaction.version=x",
        "disable",
        "version-mapping --release-version 4.0",
        "feature-dependencies --feature eligible.leader.replicas.version=1 --feature metadata.version=25",
    )
    compare("kafka-metadata-quorum", "describe", "describe --status --replication")


@pytest.fixture
def transactional(bootstrap, side):
    """Opens a transaction with one record in partition 0 of a topic; one for each side."""
    producers = []

    def opened(topic_of):
        for name in side.values():
            producer = kafka.KafkaProducer(bootstrap_servers=bootstrap, transactional_id=f"{name}-tx")
            producer.init_transactions()
            producer.begin_transaction()
            producer.send(topic_of(name), b"open", partition=0)
            producer.flush()
            producers.append(producer)

    yield opened
    for producer in producers:
        producer.close(timeout=1)


def test_twins_for_transactions_print_what_the_official_scripts_print(compare, bootstrap, twin, side, transactional):
    for name in side.values():
        twin("kafka-topics", ["--bootstrap-server", bootstrap, "--create", "--topic", f"{name}-t"], "")
    transactional(lambda name: f"{name}-t")
    ids = r"(?<=\t)\d+ *(?=\t)"
    compare("kafka-transactions", "describe --transactional-id {s}-tx", masked=ids)
    compare("kafka-transactions", "describe-producers --topic {s}-t --partition 0", masked=r"(?m)^\d+ *\t|\d{10,}")
    compare(
        "kafka-transactions",
        "list",
        "list --duration-filter 3600000",
        "list --transactional-id-pattern nothing.*",
        "list --transactional-id-pattern a(",
        "list --odd x",
        "describe --transactional-id nosuch",
        "describe",
        "describe-producers --topic {s}-t --partition 0 --broker-id 1",
        "describe-producers --topic {s}-t --partition x",
        "find-hanging",
        "find-hanging --partition 0 --broker-id 1",
        "find-hanging --topic nosuch",
        "find-hanging --topic {s}-t --max-transaction-timeout 0",
        "find-hanging --broker-id 1",
        "abort --topic {s}-t --partition 0",
        "abort --topic {s}-t --partition 0 --producer-id 1",
        "abort --topic {s}-t --partition 0 --producer-id 1 --producer-epoch 0",
        "abort --topic {s}-t --partition 0 --start-offset 1",
        "abort --topic {s}-t --partition 0 --start-offset 0",
        "abort --topic {s}-t --partition 0 --start-offset 0",
        "abort --topic {s}-t --partition 0 --producer-id 9000 --producer-epoch 1 --coordinator-epoch 7",
        "abort --topic {s}-t --partition 0 --producer-id 9000 --producer-epoch 1 --coordinator-epoch 6",
        "abort --topic {s}-t --partition 0 --producer-id 9000 --producer-epoch 0 --coordinator-epoch 7",
        "odd",
        "",
        "--version",
        masked=r"(?m)(?<=\t)\d+ *(?=\tEmpty|\tOngoing)|^\d+ *(?=\t)|\d{10,}",
    )
    compare("kafka-transactions", "forceTerminateTransaction --transactionalId {s}-tx", "forceTerminateTransaction")
    compare("kafka-transactions", "describe --transactional-id {s}-tx", masked=ids)


def test_twins_for_groups_print_what_the_official_scripts_print(compare, bootstrap, twin):
    twin("kafka-topics", ["--bootstrap-server", bootstrap, "--create", "--topic", "grouped"], "")
    for group in ("one", "two-with-a-name-that-is-long"):
        make_group(twin, ["--bootstrap-server", bootstrap], "grouped", group)
    compare(
        "kafka-groups",
        "--list",
        "--list --consumer",
        "--list --group-type CLASSIC",
        "--list --group-type classic --protocol consumer",
        "--list --group-type share",
        "--list --protocol odd",
        "--list --streams",
        "--list --share",
        "--list --share --streams",
        "--list --consumer --protocol x",
        "--list --group-type odd",
        "--odd",
        "",
        "--version",
    )
    compare("kafka-groups", "--list", server=False)


def test_twins_for_client_metrics_print_what_the_official_scripts_print(compare):
    compare(
        "kafka-client-metrics",
        "--alter --name {s} --metrics org.apache.kafka.producer.,org.apache.kafka.consumer. --interval 60000",
        "--alter --name {s} --match client_id=a.*,client_software_name=java",
        "--describe --name {s}",
        "--describe --name nosuch",
        "--alter --name {s} --match ''",
        "--alter --name {s} --match client_id=b --match client_source_port=9",
        "--alter --name {s} --metrics *",
        "--describe --name {s}",
        "--alter --name {s}",
        "--alter --name {s} --interval 99",
        "--alter --name {s} --interval often",
        "--alter --name {s} --match colour=red",
        "--alter --name {s} --match client_id",
        # Java lists several in the order of random hashes: each deletes its own before all are listed.
        "--delete --name {s}",
        "--delete --name nosuch",
        "--describe",
        "--list",
        "--alter",
        "--alter --name a --generate-name",
        "--delete",
        "--delete --name a --interval 100",
        "--describe --name a --metrics *",
        "--list --name a",
        "--list --describe",
        "--list --odd",
        "",
        "--version",
    )
    compare("kafka-client-metrics", "--alter --generate-name --interval 60000", masked=r"\S{22}(?=\.)")
    compare("kafka-client-metrics", "--list", server=False)


def test_twins_for_leader_election_print_what_the_official_scripts_print(compare, bootstrap, twin, tmp_path):
    twin("kafka-topics", ["--bootstrap-server", bootstrap, "--create", "--topic", "elected", "--partitions", "3"], "")
    texts = (
        '{"partitions": [{"topic": "elected", "partition": 2}, {"topic": "elected", "partition": 0}]}',
        '{"partitions": [{"topic": "elected", "partition": 0}, {"topic": "elected", "partition": 0}]}',
        '{"partitions": [{"topic": "elected"}]}',
        '{"partitions": [{"topic": 1, "partition": 0}]}',
        '{"partitions": 3}',
        "{}",
        "[]",
        "not JSON",
    )
    for number, text in enumerate(texts):
        (tmp_path / str(number)).write_text(text)
    compare(
        "kafka-leader-election",
        "--election-type preferred --topic elected --partition 1",
        "--election-type unclean --topic elected --partition 1",
        "--election-type preferred --topic elected --partition 9",
        "--election-type preferred --topic nosuch --partition 0",
        "--election-type preferred --all-topic-partitions",
        *(f"--election-type preferred --path-to-json-file {tmp_path}/{number}" for number in range(len(texts))),
        f"--election-type preferred --path-to-json-file {tmp_path}/none",
        "--election-type odd --all-topic-partitions",
        "--election-type preferred",
        "--topic elected --partition 0",
        "--election-type preferred --topic elected",
        "--election-type preferred --topic elected --partition x",
        "--election-type preferred --all-topic-partitions --partition 0",
        "--election-type preferred --all-topic-partitions --topic elected --partition 0",
        "--odd",
    )
    compare("kafka-leader-election", "--all-topic-partitions", server=False)


def test_twins_for_reassignments_print_what_the_official_scripts_print(compare, bootstrap, twin, tmp_path):
    twin("kafka-topics", ["--bootstrap-server", bootstrap, "--create", "--topic", "moved", "--partitions", "3"], "")
    twin("kafka-console-producer", ["--bootstrap-server", bootstrap, "--topic", "moved"], "1\n")
    where = twin("kafka-log-dirs", ["--bootstrap-server", bootstrap, "--describe"], "")[1]
    log_dir = re.search(r'"logDir":"([^"]+)"', where)[1]
    log_dirs = {"log_dirs": [log_dir]}

    def moved(partition, replicas, **more):
        return {"topic": "moved", "partition": partition, "replicas": replicas, **more}

    plans = {
        "ok": [moved(0, [1]), moved(2, [1], **log_dirs)],
        "any": [moved(1, [1])],
        "unknown-broker": [moved(1, [9, 1])],
        "unknown-partition": [moved(9, [1]), moved(7, [1])],
        "unknown-topic": [{"topic": "nosuch", "partition": 0, "replicas": [1]}],
        "empty": [moved(1, [])],
        "nothing": [],
        "twice": [moved(1, [1]), moved(1, [1])],
        "repeated": [moved(1, [1, 1])],
        "sizes": [moved(1, [1], log_dirs=[])],
        "missing": [{"topic": "moved"}],
        "types": [{"topic": "moved", "partition": "x"}],
    }
    written = {name: {"version": 1, "partitions": items} for name, items in plans.items()}
    written |= {"version": {"version": 2}, "t-ok": {"topics": [{"topic": "moved"}]}}
    written |= {"t-none": {"topics": [{"topic": "nosuch"}]}, "t-twice": {"topics": [{"topic": "moved"}] * 2}}
    written |= {"elsewhere": {"partitions": [moved(1, [1], log_dirs=["/elsewhere"])]}}
    for name, document in written.items():
        (tmp_path / name).write_text(json.dumps(document))
    (tmp_path / "t-bad").write_text("not JSON")
    compare(
        "kafka-reassign-partitions",
        "--list",
        *(
            f"--execute --reassignment-json-file {tmp_path}/{name}"
            for name in [*plans, "version"]
            if name != "elsewhere"
        ),
        f"--execute --reassignment-json-file {tmp_path}/ok --throttle 1000 --replica-alter-log-dirs-throttle 5",
        f"--execute --reassignment-json-file {tmp_path}/elsewhere --timeout 100",
        f"--execute --reassignment-json-file {tmp_path}/ok --throttle x",
        *(f"--verify --reassignment-json-file {tmp_path}/{name}" for name in ("ok", "any", "elsewhere", "none")),
        f"--verify --reassignment-json-file {tmp_path}/ok --preserve-throttles",
        f"--cancel --reassignment-json-file {tmp_path}/ok",
        *(
            f"--generate --broker-list 1 --topics-to-move-json-file {tmp_path}/t-{n}"
            for n in ("ok", "none", "twice", "bad")
        ),
        f"--generate --broker-list 1,1 --topics-to-move-json-file {tmp_path}/t-ok",
        f"--generate --broker-list 9 --topics-to-move-json-file {tmp_path}/t-ok",
        f"--generate --broker-list x --topics-to-move-json-file {tmp_path}/t-ok",
        "--generate --broker-list 1",
        "--verify",
        "--list --throttle 3",
        "--list --cancel",
        "--list --bootstrap-controller {b}",
    )
    controller = "--bootstrap-controller {b} --list"
    compare("kafka-reassign-partitions", controller, "--list", server=False)


def test_twins_for_verifiable_clients_print_what_the_official_scripts_print(compare, bootstrap, twin, side):
    for name in side.values():
        twin("kafka-topics", ["--bootstrap-server", bootstrap, "--create", "--topic", f"{name}-v"], "")
    compare(
        "kafka-verifiable-producer",
        "--topic {s}-v --max-messages 3 --acks 1",
        "--topic {s}-v --max-messages 3 --acks 1 --value-prefix 7 --repeating-keys 2 --throughput 1000",
        "--topic a,b --max-messages 1 --acks 1",
        "--topic {s}-v --acks 3",
        "--topic {s}-v --max-messages x",
        "--max-messages 1",
        masked=r'(?<="timestamp":)\d+|(?<="avg_throughput":)[\d.E]+',
    )
    compare(
        "kafka-verifiable-consumer",
        "--topic {s}-v --group-id {s}-v --max-messages 6 --verbose",
        "--topic {s}-v",
        "--topic {s}-v --group-id g --max-messages x",
        masked=r'(?<="timestamp":)\d+',
    )


def test_twins_for_performance_print_what_the_official_scripts_print(compare, bootstrap, twin, side):
    for name in side.values():
        twin("kafka-topics", ["--bootstrap-server", bootstrap, "--create", "--topic", f"{name}-p"], "")
    compare(
        "kafka-producer-perf-test",
        "--topic {s}-p --num-records 100 --record-size 10 --throughput -1",
        "--topic {s}-p --num-records 10 --payload-monotonic --throughput 100 --transactional-id {s} --warmup-records 5",
        "--topic {s}-p --num-records 0 --record-size 10 --throughput -1",
        "--topic {s}-p --num-records 9 --record-size 10 --throughput x",
        "--topic {s}-p --num-records 9 --record-size 0 --throughput -1",
        "--topic {s}-p --num-records 9 --throughput -1",
        "--topic {s}-p --num-records 9 --record-size 1 --throughput -1 --warmup-records 9",
        "--topic {s}-p --num-records 9 --record-size 1 --throughput -1 --producer-props a=b --command-property c=d",
        masked=r"(?<=[ (])[\d.]+(?= (?:ms|records/sec)| MB/sec|\))",
    )
    numbers = r"\d+-\d+-\d+ [\d:]+|\d+\.\d+|(?<=, )-?\d+(?=, (?:-?\d+, )?\d+\.)"
    compare(
        "kafka-consumer-perf-test",
        "--topic {s}-p --num-records 110",
        "--include {s}-p --num-records 110 --hide-header --messages 3",
        "--topic {s}-p --messages 110 --hide-header",
        "--topic {s}-p --num-records 1000 --timeout 2000 --show-detailed-stats",
        "--topic {s}-p",
        "--num-records 3",
        "--topic {s}-p --num-records 3 --reporting-interval 0",
        masked=numbers,
    )


def test_end_to_end_latency(compare):
    named = "--bootstrap-server {b} --topic {s}-e --producer-acks"
    compare(
        "kafka-e2e-latency",
        f"{named} 1 --num-records 3 --record-size 5",
        f"{named} all --num-records 2 --record-size 5 --record-key-size 3 --num-headers 2 --record-header-size -1",
        "{b} {s}-e 2 1 5",
        f"{named} 1 --num-records 0 --record-size 5",
        f"{named} 1 --num-records 1 --record-size -5",
        f"{named} 2 --num-records 1 --record-size 5",
        f"{named} 1 --record-size 5",
        "{b} {s}-e 2",
        server=False,
        masked=r"(?<=\t)[\d.E-]+|(?<= )\d+\.\d+(?= ms)|(?<= = )\d+",
    )


def test_replica_verification_is_refused_alike(compare):
    compare(
        "kafka-replica-verification",
        "--broker-list {b} --topics-include a(",
        "--broker-list localhost",
        "--topics-include a",
        server=False,
    )
