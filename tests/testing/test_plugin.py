"""The pytest plugin, in test runs of its own."""

import os
import re
import subprocess
import sys

import pytest


def run_tests(folder, content, *options):
    """pytest over one file, as a user runs it; what it printed."""
    (folder / "test_sample.py").write_text(content)
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:randomly",
            *options,
            "--rootdir",
            folder,
            folder,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")},
    )
    return ended.stdout


FROZEN = """
import pytest
from freezegun import freeze_time
from kwire.cli.admin.topics import list_topics
from kwire.cli.connections.client import Cluster
from kwire.cli.connections.connection import parse_addresses
from kwire.testing import KafkaBroker

def topics(kafka):
    with Cluster(parse_addresses(kafka.bootstrap_servers), timeout_s=10) as cluster:
        return set(list_topics(cluster))

@pytest.mark.parametrize("options", [{}, {"tick": True}], ids=["frozen", "ticking"])
def test_inside_a_block(options):
    with freeze_time("2020-01-01", **options), KafkaBroker(topics=["a"]) as kafka:
        kafka.create_topic("b")
        kafka.advance(1000)
        kafka.restart()
        assert topics(kafka) == {"a", "b"}

@freeze_time("2020-01-01")
def test_the_fixture_in_a_frozen_test(kafka):
    kafka.create_topic("b")
    assert topics(kafka) == {"b"}

@freeze_time("2020-01-01", tick=True)
def test_the_fixture_in_a_ticking_test(kafka):
    kafka.restart()
    assert topics(kafka) == set()
"""


def test_a_broker_lives_while_freezegun_stops_the_time(tmp_path):
    pytest.importorskip("freezegun")

    printed = run_tests(tmp_path, FROZEN)

    assert "4 passed" in printed, printed


@pytest.mark.parametrize(
    ("mark", "sentence"),
    [
        (
            'config={"num.partitons": 1}',
            "kafka fixture: num.partitons is not a broker setting of Kafka; did you mean num.partitions?",
        ),
        ('topics="orders"', "kafka fixture: topics='orders' is one string"),
        ('topics={"a b": 1}', "kafka fixture: Topic name is invalid: 'a b'"),
        ('config={"listeners": "NOPE://localhost:0"}', "kafka fixture: listeners="),
        ('{"orders": 1}', "the kafka mark takes keywords"),
        (
            'faults=[{"api": "Fetch", "versions": 99, "drop": True}]',
            "kafka fixture: Fetch is served at versions 4 to 18, not at version 99",
        ),
        ("topic={}", "kafka mark: KafkaBroker.__init__() got an unexpected keyword argument 'topic'"),
    ],
)
def test_a_wrong_mark_fails_the_test_with_one_sentence(tmp_path, mark, sentence):
    printed = run_tests(tmp_path, f"import pytest\n@pytest.mark.kafka({mark})\ndef test_it(kafka): pass\n")

    assert "1 error" in printed
    assert sentence in printed
    assert "Traceback" not in printed
    assert "ExceptionGroup" not in printed
    assert "kwire/testing" not in printed


def test_a_fault_that_never_fired_fails_a_test_that_passed(tmp_path):
    printed = run_tests(
        tmp_path,
        "def test_passes(kafka): kafka.faults.add(name='unused', api='Produce', drop=True)\n"
        "def test_fails(kafka): kafka.faults.add(name='other', api='Produce', drop=True); assert False\n",
    )
    assert "kafka fixture: 'unused' disturbed no Produce request (drop)" in printed
    assert "kwire/testing" not in printed
    assert "1 failed, 1 passed, 1 error" in printed


REFUSALS = """
import pytest
from kwire.testing import KafkaBroker

def wait(kafka): kafka.wait_until(grup="billing")
def trigger(kafka): kafka.happen("rebalence", group="billing")
def arm(kafka): kafka.faults.add(api="Prodce", drop=True)
def block(kafka):
    with kafka.faults.add(api="Produce", drop=True): pass
def create(kafka): kafka.create_topic("a b")

@pytest.mark.parametrize("step", [wait, trigger, arm, block, create])
def test_it(kafka, step): step(kafka)
def test_bug(kafka): kafka._in_loop(lambda: 1 / 0)
"""


def test_the_traceback_of_a_refusal_ends_at_the_line_of_the_test(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    printed = run_tests(tmp_path, REFUSALS)

    assert "6 failed" in printed, printed
    refusals, bug = printed.split("test_bug", 1)
    assert all(word not in refusals for word in ("kwire/testing", "/trio/", "/outcome/"))
    assert refusals.count("test_sample.py:") == 10
    assert "loop_thread.py" in bug
    assert "test_it[block] - FaultNeverFired: 'fault-1'" in bug
    assert "loop_thread.py" in run_tests(tmp_path, REFUSALS, "--full-trace", "-k", "wait")


def test_the_report_of_a_failed_test_shows_requests_and_armed_rules(tmp_path):
    printed = run_tests(
        tmp_path,
        """
import pytest
from kwire.cli.admin.topics import list_topics
from kwire.cli.connections.client import Cluster
from kwire.cli.connections.connection import parse_addresses

@pytest.mark.kafka(topics={"orders": 2})
def test_fails(kafka):
    kafka.faults.add(name="moved", api="Metadata", topic="orders", error="LEADER_NOT_AVAILABLE")
    with Cluster(parse_addresses(kafka.bootstrap_servers), timeout_s=10) as cluster:
        list_topics(cluster)
    assert False
""",
    )
    assert "kafka: the last requests" in printed
    assert re.search(r"kwire Metadata v\d+: answered with LEADER_NOT_AVAILABLE by moved in [\d.]+ ms", printed)
    assert "moved: {" in printed
    assert "orders: partition 0 has 0 to 0, partition 1 has 0 to 0" in printed


SHARED = """
import pytest

ports = {"module": set(), "session": set()}
BROKEN = {"api": "Heartbeat", "drop": True}

@pytest.fixture
def empty(kafka_session):
    return kafka_session.topics()

def test_a_module_shares_what_is_in_its_broker(kafka_module):
    ports["module"].add(kafka_module.port)
    kafka_module.create_topic("kept")

def test_the_next_test_of_the_module_sees_it(kafka_module):
    assert kafka_module.topics() == ["kept"]
    assert ports["module"] == {kafka_module.port}

@pytest.mark.kafka(topics={"orders": 2}, seed="seed.json")
def test_one(kafka_session):
    ports["session"].add(kafka_session.port)
    assert kafka_session.offsets("orders") == [(0, 0), (0, 1)]
    kafka_session.faults.add(**BROKEN)
    kafka_session.faults.clear()

def test_two(kafka_session, empty):
    assert empty == []
    assert ports["session"] == {kafka_session.port}

@pytest.mark.kafka(config={})
def test_wrong(kafka_session): pass

@pytest.mark.kafka(faults=[{"name": "unused", **BROKEN}])
def test_a_fault_of_the_mark(kafka):
    assert "unused" in kafka.faults.lines()[0]

@pytest.mark.kafka(seed={"topics": {"a b": 1}})
def test_a_wrong_seed(kafka): pass

def test_a_factory(kafka_factory):
    first, second = kafka_factory(topics=["a"]), kafka_factory(tls=True, users={"alice": "secret"})
    assert first.topics() == ["a"] and second.ca_file and first.port != second.port
"""


@pytest.mark.parametrize("options", [[], ["-n", "2"]], ids=["alone", "xdist"])
def test_fixtures_share_brokers_by_module_and_by_run(tmp_path, options):
    (tmp_path / "seed.json").write_text('{"topics": {"orders": {"records": [{"value": "a", "partition": 1}]}}}')
    (tmp_path / "conftest.py").write_text("")
    printed = run_tests(tmp_path, SHARED, *options, "--dist", "loadfile")

    assert "6 passed, 3 errors" in printed, printed
    assert "kafka_session has topics, seed and faults, not config: use the fixture kafka" in printed
    assert "'unused' disturbed no" in printed
    assert "kafka fixture: Topic name is invalid" in printed


def test_a_broker_in_a_process_is_killed_and_restarted(tmp_path):
    printed = run_tests(
        tmp_path,
        """
import pytest

@pytest.mark.kafka(topics=["orders"], seed={"topics": {"orders": {"records": [{"value": "a"}]}}})
def test_it(kafka_process):
    kafka_process.kill()
    kafka_process.start()
    assert kafka_process.offsets("orders") == [(0, 1)]
""",
    )
    assert "1 passed" in printed, printed


def test_a_run_without_a_broker_imports_none(tmp_path):
    printed = run_tests(
        tmp_path,
        "import sys\ndef test_it(): assert not {'kwire.testing.broker', 'kwire.server', 'kafka'} & set(sys.modules)\n",
    )

    assert "1 passed" in printed, printed
