"""For pytest: a fixture ``kafka``, a fresh broker for each test; and ``kafka_session``, one for the whole run.

Loaded by pytest itself where kwire is installed. A mark sets topics and settings:

    @pytest.mark.kafka(topics={"orders": 3}, config={"auto.create.topics.enable": "false"})
    def test_orders(kafka):
        consumer = Consumer({"bootstrap.servers": kafka.bootstrap_servers, ...})
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from kwire.testing.broker import KafkaBroker


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "kafka(topics, config): topics (name to partitions) and broker settings of the kafka fixture"
    )


@pytest.fixture
def kafka(request: pytest.FixtureRequest) -> Iterator[KafkaBroker]:
    """A broker of this test's own: in memory, on a free port."""
    mark = request.node.get_closest_marker("kafka")
    # Imported here, so that pytest does not pay for a broker where no test asks for one.
    from kwire.testing.broker import KafkaBroker

    with KafkaBroker(**(mark.kwargs if mark else {})) as broker:
        yield broker


@pytest.fixture(scope="session")
def kafka_session() -> Iterator[KafkaBroker]:
    """One broker for all tests of the run: they share it, so each should use topics and groups of its own."""
    from kwire.testing.broker import KafkaBroker

    with KafkaBroker() as broker:
        yield broker
