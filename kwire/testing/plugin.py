"""The pytest plugin: fixtures for brokers, and the mark that configures them.

    kafka           a broker for this test alone
    kafka_module    one for the tests of a module, which share its data
    kafka_session   one for the whole run, emptied before each test
    kafka_process   one in a process of its own, which can be killed and restarted
    kafka_factory   makes any number of brokers

pytest loads this by itself where kwire is installed. A mark sets topics, settings, seeds and faults:

    @pytest.mark.kafka(topics={"orders": 3}, config={"auto.create.topics.enable": False}, seed="orders.json")
    def test_orders(kafka):
        consumer = Consumer({"bootstrap.servers": kafka.bootstrap_servers, ...})
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Protocol, overload

import pytest

from kwire.testing.hidden_frames import hide_frames

if TYPE_CHECKING:
    from kwire.testing.broker import KafkaBroker
    from kwire.testing.clusters.cluster import KafkaCluster
    from kwire.testing.http.remote import RemoteKafka
    from kwire.testing.process import KafkaProcess


class KafkaFactory(Protocol):
    """What the fixture ``kafka_factory`` is."""

    @overload
    def __call__(self, *, brokers: int, **arguments: Any) -> KafkaCluster: ...

    @overload
    def __call__(self, **arguments: Any) -> KafkaBroker: ...


_PASSED = pytest.StashKey[bool]()
_BROKER: pytest.StashKey[KafkaBroker] = pytest.StashKey()
_SHARED: pytest.StashKey[KafkaBroker] = pytest.StashKey()
_REQUESTS_SHOWN = 30
_TOPICS_SHOWN = 20


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "kafka(topics, config, data, port, users, acls, tls, persona, seed, faults): what the broker of a kafka fixture"
        " is made with; for kafka_session only topics, seed and faults",
    )
    from kwire.testing.frozen_time import keep_real_time

    # Before the test modules are imported: a freeze_time decorator reads the list when it is applied.
    keep_real_time()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    if call.excinfo is not None and not item.config.getoption("fulltrace"):
        hide_frames(call.excinfo.value)
    report = yield
    if call.excinfo is not None:
        _shorten_summary(report, call.excinfo.type)
    if call.when == "call":
        item.stash[_PASSED] = report.passed
        broker = item.stash.get(_BROKER, None)
        if broker is not None and report.failed and broker.is_running:
            report.sections += _sections(broker)
    return report


def _shorten_summary(report: Any, kind: type[BaseException]) -> None:
    """Name an exception of kwire without its module in the summary of the run, whose lines are cut at their end."""
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is not None and kind.__module__.startswith("kwire."):
        crash.message = crash.message.removeprefix(f"{kind.__module__}.")


def _sections(broker: KafkaBroker) -> Iterator[tuple[str, str]]:
    """The sections about its broker in the report of a failed test."""
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


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Empty the broker of the session before a test that uses it, before the test's own fixtures are made."""
    broker = item.session.stash.get(_SHARED, None)
    if broker is not None and "kafka_session" in getattr(item, "fixturenames", ()):
        broker.reset()


@pytest.fixture
def kafka(request: pytest.FixtureRequest) -> Iterator[KafkaBroker]:
    """A broker for this test alone: data in memory, on a free port.

    A passing test fails if a rule of ``kafka.faults`` is still armed and never disturbed a request.
    """
    arguments = _marked(request)
    seed, faults = arguments.pop("seed", None), arguments.pop("faults", ())
    with _running(arguments) as broker:
        yield from _for_one_test(request, broker, seed, faults)


@pytest.fixture(scope="module")
def kafka_module() -> Iterator[KafkaBroker]:
    """One broker for the tests of a module, which share its data."""
    with _running({}) as broker:
        yield broker


@pytest.fixture(scope="session")
def _kafka_shared(request: pytest.FixtureRequest) -> Iterator[KafkaBroker]:
    with _running({}) as broker:
        request.session.stash[_SHARED] = broker
        yield broker
        del request.session.stash[_SHARED]


@pytest.fixture
def kafka_session(request: pytest.FixtureRequest, _kafka_shared: KafkaBroker) -> Iterator[KafkaBroker]:
    """One broker for all tests of the run (with xdist: of a worker), emptied before each of them."""
    arguments = _marked(request)
    topics, seed, faults = arguments.pop("topics", None), arguments.pop("seed", None), arguments.pop("faults", ())
    if arguments:
        pytest.fail(
            f"kafka_session has topics, seed and faults, not {next(iter(arguments))}: use the fixture kafka",
            pytrace=False,
        )
    with _one_sentence():
        from kwire.testing.arguments import new_topics

        for topic in new_topics(topics):
            _kafka_shared.create_topic(topic.name, topic.partitions)
    yield from _for_one_test(request, _kafka_shared, seed, faults)


@pytest.fixture
def kafka_process(request: pytest.FixtureRequest) -> Iterator[KafkaProcess]:
    """A broker in a process of its own, with its data on disk: ``kill``, ``start``, ``restart``, ``pause``."""
    arguments = _marked(request)
    seed, faults = arguments.pop("seed", None), arguments.pop("faults", ())
    with _one_sentence():
        from kwire.testing.process import KafkaProcess

        broker = KafkaProcess(**arguments)
        broker.start()
    try:
        with _one_sentence():
            _fill(request, broker, seed, faults)
        yield broker
        if request.node.stash.get(_PASSED, False) and broker.is_running:
            _check(broker)
    finally:
        broker.stop()


@pytest.fixture
def kafka_factory() -> Iterator[KafkaFactory]:
    """Make brokers: ``kafka_factory(topics=..., tls=True)`` starts one, with the arguments of ``KafkaBroker``.

    ``kafka_factory(brokers=3)`` starts a cluster, with the arguments of ``kafka_cluster``.
    """
    with ExitStack() as stack:

        def make(**arguments: Any) -> Any:
            return stack.enter_context(_running_cluster(arguments) if "brokers" in arguments else _running(arguments))

        yield make


def _marked(request: pytest.FixtureRequest) -> dict[str, Any]:
    mark = request.node.get_closest_marker("kafka")
    if mark is not None and mark.args:
        pytest.fail("the kafka mark takes keywords: @pytest.mark.kafka(topics={...}, config={...})", pytrace=False)
    return dict(mark.kwargs) if mark else {}


def _for_one_test(
    request: pytest.FixtureRequest, broker: KafkaBroker, seed: Any, faults: Sequence[Mapping[str, Any]]
) -> Iterator[KafkaBroker]:
    request.node.stash[_BROKER] = broker
    broker.requests.start()
    with _one_sentence():
        _fill(request, broker, seed, faults)
    yield broker
    if request.node.stash.get(_PASSED, False) and broker.is_running:
        _check(broker)


def _check(broker: KafkaBroker | RemoteKafka) -> None:
    """Fail a test whose rules never disturbed a request, without a traceback."""
    from kwire.testing.faults import FaultNeverFired

    try:
        broker.faults.check()
    except FaultNeverFired as error:
        pytest.fail(f"kafka fixture: {error}", pytrace=False)


def _fill(
    request: pytest.FixtureRequest,
    broker: KafkaBroker | RemoteKafka,
    seed: Any,
    faults: Sequence[Mapping[str, Any]],
) -> None:
    """Fill a broker by the mark: a path of a seed counts from the file of the test."""
    if seed is not None:
        broker.seed(seed if isinstance(seed, Mapping) else request.path.parent / seed)
    for rule in faults:
        broker.faults.add(**rule)


@contextmanager
def _running(arguments: dict[str, Any]) -> Iterator[KafkaBroker]:
    """A started broker."""
    with _one_sentence():
        # Imported here, so that pytest does not pay for a broker where no test asks for one.
        from kwire.testing.broker import KafkaBroker

        broker = KafkaBroker(**arguments)
        broker.start()
    try:
        yield broker
    finally:
        broker.stop()


@contextmanager
def _running_cluster(arguments: dict[str, Any]) -> Iterator[KafkaCluster]:
    """A started cluster."""
    with ExitStack() as stack:
        with _one_sentence():
            from kwire.testing.clusters.cluster import kafka_cluster

            cluster = stack.enter_context(kafka_cluster(**arguments))
        yield cluster


@contextmanager
def _one_sentence() -> Iterator[None]:
    """Let invalid arguments fail the test with one sentence, without a traceback."""
    from kwire.control.seeding.seed_error import SeedError
    from kwire.errors import KafkaError
    from kwire.faults.rules import RuleError
    from kwire.testing.arguments import BrokerConfigError
    from kwire.testing.clusters.nodes import ClusterError
    from kwire.testing.start_errors import BrokerStartError

    try:
        yield
    except (BrokerConfigError, BrokerStartError, ClusterError, SeedError, RuleError, KafkaError) as error:
        pytest.fail(f"kafka fixture: {error}", pytrace=False)
    except TypeError as error:  # an unknown keyword
        pytest.fail(f"kafka mark: {error}", pytrace=False)
