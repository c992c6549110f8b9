"""The public interface has types: a user's program is checked by mypy, and a wrong one is found."""

import subprocess
import sys

import pytest

RIGHT = """
from collections.abc import Iterator
from typing import Any

import pytest
from typing_extensions import assert_type

from kwire.testing import (
    AsyncFault,
    AsyncKafka,
    BrokerConfigError,
    BrokerStartError,
    ClusterError,
    ClusterFault,
    ConditionError,
    ControlRefused,
    EventError,
    Fault,
    FaultNeverFired,
    KafkaBroker,
    KafkaCluster,
    KafkaError,
    KafkaProcess,
    KafkaProxy,
    LocalCluster,
    NeverHappened,
    RecordingError,
    RemoteFault,
    RemoteKafka,
    RequestNeverSent,
    RuleError,
    SeedError,
    StateError,
    kafka_cluster,
    proxy,
)


@pytest.fixture
def broker() -> Iterator[KafkaBroker]:
    with KafkaBroker(topics={"orders": 3}, config={"num.partitions": 3, "auto.create.topics.enable": False}) as kafka:
        assert_type(kafka, KafkaBroker)
        yield kafka


@pytest.mark.kafka(topics=["orders"])
def test_orders(kafka: KafkaBroker) -> None:
    assert_type(kafka.bootstrap_servers, str)
    assert_type(kafka.port, int)
    try:
        kafka.create_topic("more", 2, retention_ms=1000)
        kafka.advance(86_400_000)
        kafka.restart()
    except (BrokerConfigError, BrokerStartError) as error:
        print(error)
    except KafkaError as error:
        assert_type(error.code.name, str)


def test_a_moved_leader(kafka: KafkaBroker) -> None:
    with kafka.faults.add(api="Produce", topic="orders", error="NOT_LEADER_OR_FOLLOWER", times=2) as fault:
        assert_type(fault, Fault)
    assert_type(fault.fired, int)
    try:
        kafka.faults.add(api=["Fetch", 3], delay_ms=100, probability=0.5).wait_fired(2, timeout=1)
    except (FaultNeverFired, RuleError) as error:
        print(error)


def test_what_was_sent(kafka: KafkaBroker) -> None:
    try:
        kafka.requests.wait_for(2, timeout=5, api="Produce", topic="orders", fields={"acks": -1})
    except RequestNeverSent as error:
        print(error)
    assert_type(kafka.requests.last(10, api="Fetch"), list[dict[str, Any]])
    assert_type(kafka.offsets("orders"), list[tuple[int, int]])
    assert_type(kafka.topics(), list[str])


def test_a_cluster() -> None:
    try:
        with kafka_cluster(brokers=3) as cluster:
            assert_type(cluster, KafkaCluster)
            assert isinstance(cluster, LocalCluster)
            cluster.reset()
            with cluster.faults.add(api="Produce", drop=True) as fault:
                assert_type(fault, ClusterFault)
            assert_type(cluster.bootstrap_servers, str)
            cluster.kill(1)
            cluster.start_node(1)
    except ClusterError as error:
        print(error)


def test_state(kafka: KafkaBroker) -> None:
    try:
        kafka.seed("seed.json")
        kafka.seed({"topics": {"orders": 3}})
        kafka.snapshot("loaded")
        kafka.restore("loaded")
        kafka.save("folder")
        kafka.load("folder")
        kafka.reset()
        kafka.happen("rebalance", group="billing")
        kafka.wait_until(group="billing", state="Stable", members=2, timeout=1)
        kafka.record("file")
        kafka.stop_recording()
    except (ConditionError, EventError, NeverHappened, RecordingError, SeedError, StateError) as error:
        print(error)
    assert_type(kafka.records("orders", partition=1, offset=0, last=5), list[dict[str, Any]])
    with kafka.fork() as other:
        other.seed(kafka.export("orders"))


def test_a_crash(kafka_process: KafkaProcess) -> None:
    kafka_process.kill()
    kafka_process.start()
    assert_type(kafka_process.records("orders"), list[dict[str, Any]])


def test_from_outside() -> None:
    try:
        kafka = RemoteKafka("http://127.0.0.1:9644", token="t")
        assert_type(kafka.faults.add(api="Produce", drop=True), RemoteFault)
        kafka.reset()
    except ControlRefused as error:
        print(error)


async def test_from_a_loop() -> None:
    kafka = AsyncKafka("http://127.0.0.1:9644")
    async with await kafka.faults.add(api="Produce", drop=True) as fault:
        assert_type(fault, AsyncFault)
    assert_type(await kafka.topics(), list[str])


KafkaBroker(topics=["a", "b"], data="folder", port=9092).start()
"""

WRONG = """
from kwire.testing import KafkaBroker

KafkaBroker(topics={"orders": "3"})
KafkaBroker(confg={})
KafkaBroker().advance("1 day")
print(KafkaBroker().bootstrap_server)
KafkaBroker().faults.add(api="Produce", eror=1)
"""


def check(folder, program):
    """What mypy prints about a program of a user, who has kwire installed."""
    pytest.importorskip("mypy")
    (folder / "program.py").write_text(program)
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(folder / "cache"), "program.py"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False).stdout


def test_a_program_that_uses_every_public_name_is_well_typed(tmp_path):
    assert "Success: no issues found in 1 source file" in check(tmp_path, RIGHT)


def test_wrong_types_are_found(tmp_path):
    printed = check(tmp_path, WRONG)

    assert [line.split(":")[1] for line in printed.splitlines() if ": error:" in line] == ["4", "5", "6", "7", "8"], (
        printed
    )


def test_every_public_name_is_used_in_the_program():
    import kwire.testing

    assert [name for name in kwire.testing.__all__ if name not in RIGHT] == []
    assert [name for name in kwire.testing.__all__ if not hasattr(kwire.testing, name)] == []
