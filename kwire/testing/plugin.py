"""For pytest: the fixture ``kafka``, a broker for each test, and ``kafka_session``, one for the whole run.

pytest loads this by itself where kwire is installed. A mark sets topics and settings:

    @pytest.mark.kafka(topics={"orders": 3}, config={"auto.create.topics.enable": False})
    def test_orders(kafka):
        consumer = Consumer({"bootstrap.servers": kafka.bootstrap_servers, ...})
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from kwire.testing.broker import KafkaBroker


_PASSED = pytest.StashKey[bool]()
_BROKER: pytest.StashKey[KafkaBroker] = pytest.StashKey()
_REQUESTS_SHOWN = 30
_TOPICS_SHOWN = 20


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "kafka(topics, config, data, port, users, acls, tls): what the broker of the kafka fixture is made with",
    )
    from kwire.testing.frozen_time import keep_real_time

    # Before the test modules are imported: a freeze_time decorator reads the list when it is applied.
    keep_real_time()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    report = yield
    if call.when == "call":
        item.stash[_PASSED] = report.passed
        broker = item.stash.get(_BROKER, None)
        if broker is not None and report.failed and broker.is_running:
            report.sections += _sections(broker)
    return report


def _sections(broker: KafkaBroker) -> Iterator[tuple[str, str]]:
    """What the report of a failed test shows of its broker."""
    requests = broker.requests.lines(_REQUESTS_SHOWN)
    yield "kafka: the last requests", "\n".join(requests) or "none"
    faults = broker.faults.lines()
    if faults:
        yield "kafka: armed faults", "\n".join(faults)
    topics = [name for name in broker.topics() if not name.startswith("__")]
    if topics:
        lines = [f"{name}: {_records(broker.offsets(name))}" for name in topics[:_TOPICS_SHOWN]]
        yield "kafka: topics", "\n".join(lines)


def _records(offsets: list[tuple[int, int]]) -> str:
    return ", ".join(f"partition {index} has {start} to {end}" for index, (start, end) in enumerate(offsets))


@pytest.fixture
def kafka(request: pytest.FixtureRequest) -> Iterator[KafkaBroker]:
    """A broker of this test alone: data in memory, on a free port.

    A test that passes fails all the same if a rule of ``kafka.faults`` is still armed and never disturbed a request.
    """
    mark = request.node.get_closest_marker("kafka")
    if mark is not None and mark.args:
        pytest.fail("the kafka mark takes keywords: @pytest.mark.kafka(topics={...}, config={...})", pytrace=False)
    with _running(mark.kwargs if mark else {}) as broker:
        request.node.stash[_BROKER] = broker
        broker.requests.start()
        yield broker
        if request.node.stash.get(_PASSED, False) and broker.is_running:
            broker.faults.check()


@pytest.fixture(scope="session")
def kafka_session() -> Iterator[KafkaBroker]:
    """One broker for all tests of the run, which share it: use topics and groups of your own in each."""
    with _running({}) as broker:
        yield broker


@contextmanager
def _running(arguments: dict[str, Any]) -> Iterator[KafkaBroker]:
    """A started broker. What is wrong with the arguments fails the test with one sentence, without a traceback."""
    # Imported here, so that pytest does not pay for a broker where no test asks for one.
    from kwire.testing.arguments import BrokerConfigError
    from kwire.testing.broker import BrokerStartError, KafkaBroker

    try:
        broker = KafkaBroker(**arguments)
        broker.start()
    except (BrokerConfigError, BrokerStartError) as error:
        pytest.fail(f"kafka fixture: {error}", pytrace=False)
    except TypeError as error:  # a keyword that there is not
        pytest.fail(f"kafka mark: {error}", pytrace=False)
    try:
        yield broker
    finally:
        broker.stop()
