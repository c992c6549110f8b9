"""Brokers over HTTP and in processes of their own: the same methods, the same errors."""

import asyncio
import inspect

import pytest
import trio

from kwire.testing import (
    AsyncKafka,
    BrokerStartError,
    ControlRefused,
    FaultNeverFired,
    KafkaBroker,
    KafkaError,
    KafkaProcess,
    RemoteKafka,
    RequestNeverSent,
    RuleError,
    SeedError,
    StateError,
)

SEED = {"topics": {"orders": {"partitions": 1, "records": [{"value": "a"}]}}}


@pytest.fixture(scope="module")
def process():
    with KafkaProcess(topics={"first": 2}, config={"num.partitions": 2}) as running:
        yield running


@pytest.fixture
def kafka(process):
    process.reset()
    return process


def values(kafka):
    return [each["value"] for each in kafka.records("orders")]


def test_state_is_kept_and_restored(kafka):
    kafka.seed(SEED)
    kafka.snapshot("a")
    kafka.seed(SEED)
    assert values(kafka) == ["a", "a"]
    kafka.restore("a")
    assert values(kafka) == ["a"]
    with kafka.fork() as fork:
        kafka.reset()
        assert values(fork) == ["a"]
        fork.seed(SEED)
        kafka.seed(fork.export("orders"))
    assert values(kafka) == ["a", "a"]
    assert kafka.topics() == ["first", "orders"]
    assert kafka.offsets("first") == [(0, 0), (0, 0)]


def test_variables_for_another_broker_have_no_effect(monkeypatch):
    for name, value in (("CONTROL", "127.0.0.1:1"), ("CONTROL_TOKEN", "secret"), ("CONSOLE", "1")):
        monkeypatch.setenv(f"KWIRE_{name}", value)
    with KafkaProcess() as kafka:
        kafka.reset()


def test_rules_and_requests_are_those_of_the_broker(kafka):
    import socket

    with kafka.faults.add(name="lost", api="ApiVersions", drop=True) as fault:
        with socket.create_connection(("localhost", kafka.port), timeout=150) as client:
            client.sendall(bytes.fromhex("0000000a001200000000" + "0001ffff"))
            fault.wait_fired()
        assert (fault.matched, fault.fired) == (1, 1)
    assert fault.fired == 1
    kafka.requests.wait_for(api="ApiVersions")
    assert [each["faults"] for each in kafka.requests.last(api="ApiVersions")] == [["lost"]]
    kafka.requests.clear()
    assert kafka.requests.last() == []
    kafka.advance(1000)


def test_errors_are_those_of_a_broker_in_process(kafka):
    kafka.create_topic("t", 3, retention_ms=5)
    with pytest.raises(KafkaError, match="TOPIC_ALREADY_EXISTS"):
        kafka.create_topic("t")
    with pytest.raises(KafkaError, match="UNKNOWN_TOPIC_OR_PARTITION"):
        kafka.records("none")
    with pytest.raises(RuleError, match="did you mean Produce"):
        kafka.faults.add(api="Prodce", drop=True)
    with pytest.raises(RuleError, match="no listener 'SSL'"):
        kafka.faults.add(listener="SSL", drop=True)
    with pytest.raises(StateError, match="there is no snapshot"):
        kafka.restore("none")
    with pytest.raises(SeedError):
        kafka.seed({"topics": {"a b": 1}})
    with pytest.raises(RequestNeverSent):
        kafka.requests.wait_for(api="Produce", timeout=0.001)
    with (
        pytest.raises(FaultNeverFired, match="'unused' disturbed no Produce request"),
        kafka.faults.add(name="unused", api="Produce", drop=True),
    ):
        pass
    with pytest.raises(ControlRefused, match="is the broker started with --control"):
        RemoteKafka("http://127.0.0.1:1").topics()


def test_a_killed_broker_comes_back_with_its_data_on_its_ports():
    with KafkaProcess(topics=["orders"]) as kafka:
        kafka.seed(SEED)
        port, pid = kafka.port, kafka.pid
        kafka.kill()
        assert not kafka.is_running
        with pytest.raises(RuntimeError, match="does not run"):
            kafka.kill()
        kafka.start()
        assert (kafka.port, kafka.pid != pid, values(kafka)) == (port, True, ["a"])


PROGRAM = """
import sys
from kwire.testing import KafkaProcess
kafka = KafkaProcess(data=sys.argv[1])
kafka.start()
print(kafka.port, flush=True)
sys.stdin.read()
"""


def test_a_broker_ends_with_the_process_that_started_it_and_was_killed(tmp_path):
    import socket
    import subprocess
    import sys

    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        port = int(program.stdout.readline())
        with socket.create_connection(("localhost", port), timeout=150) as client:
            program.kill()
            assert client.recv(1) == b""  # the broker has closed it
    assert program.returncode < 0


def test_a_process_that_cannot_start_is_one_sentence(kafka):
    other = KafkaProcess(config={"listeners": f"PLAINTEXT://localhost:{kafka.port}"})
    try:
        with pytest.raises(BrokerStartError, match="another program listens on port"):
            other.start()
    finally:
        other.stop()


async def all_of_it(url):
    kafka = AsyncKafka(url)
    await kafka.reset()
    await kafka.seed(SEED)
    await kafka.snapshot()
    await kafka.restore()
    fork = await kafka.fork()
    async with fork:
        assert [each["value"] for each in await fork.records("orders")] == ["a"]
    fault = await kafka.faults.add(api="Produce", drop=True)
    assert await fault.fired() == 0
    await fault.remove()
    await kafka.create_topic("t", 2)
    await kafka.advance(5)
    return await kafka.topics(), await kafka.offsets("t"), await kafka.requests.last()


def test_asyncio_and_trio_have_the_same_methods(kafka):
    expected = (["first", "orders", "t"], [(0, 0), (0, 0)], [])
    assert asyncio.run(all_of_it(kafka.url)) == expected
    assert trio.run(all_of_it, kafka.url) == expected


def test_each_interface_has_the_methods_of_the_others():
    def methods(kind):
        return {name: value for name, value in inspect.getmembers(kind, inspect.isfunction) if name[0] != "_"}

    in_process, remote, awaited = methods(KafkaBroker), methods(RemoteKafka), methods(AsyncKafka)
    assert set(in_process) - set(remote) == {"start", "stop", "restart", "add_acls"}
    assert set(remote) - set(in_process) == set()
    assert set(awaited) - {"bootstrap_servers"} == set(remote)
    for name, method in remote.items():
        for other in (in_process[name], awaited[name]):
            assert list(inspect.signature(other).parameters) == list(inspect.signature(method).parameters), name
