"""The pytest plugin, in test runs of its own."""

import os
import re
import subprocess
import sys

import pytest


def run_tests(folder, content):
    """pytest over one file, as a user runs it; what it printed."""
    (folder / "test_sample.py").write_text(content)
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:randomly", "--rootdir", folder, folder],
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
from kwire.cli.client import Cluster
from kwire.cli.connection import parse_addresses
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
    assert "fault 'unused' matched 0 requests and disturbed 0" in printed
    assert "1 failed, 1 passed, 1 error" in printed


def test_the_report_of_a_failed_test_shows_what_clients_asked_and_what_was_armed(tmp_path):
    printed = run_tests(
        tmp_path,
        """
import pytest
from kwire.cli.admin.topics import list_topics
from kwire.cli.client import Cluster
from kwire.cli.connection import parse_addresses

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


def test_a_session_shares_one_broker(tmp_path):
    printed = run_tests(
        tmp_path,
        """
ports = set()
def test_one(kafka_session): ports.add(kafka_session.port)
def test_two(kafka_session): ports.add(kafka_session.port); assert len(ports) == 1
""",
    )

    assert "2 passed" in printed, printed


def test_a_run_without_a_broker_imports_none(tmp_path):
    printed = run_tests(
        tmp_path,
        "import sys\ndef test_it(): assert not {'kwire.testing.broker', 'kwire.server', 'kafka'} & set(sys.modules)\n",
    )

    assert "1 passed" in printed, printed
