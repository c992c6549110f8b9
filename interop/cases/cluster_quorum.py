"""kwire brokers under three of Apache Kafka's controllers: fail-over, and records that are not committed."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping

import confluent_kafka
from confluent_kafka.admin import NewTopic

from interop.case import Run, case
from interop.cluster.ask import ask
from interop.cluster.rig import APACHE, Node, Rig
from interop.waiting import wait_until
from kwire.errors import Code
from kwire.wire import messages as m

# A leader of the quorum resigns after one and a half times this without the fetches of a majority.
_FETCH_TIMEOUT_MS = 8000


@contextlib.contextmanager
def quorum(run: Run, brokers: int, settings: Mapping[str, str] | None = None) -> Iterator[Rig]:
    """Brokers of the target under three Java controllers."""
    rig = Rig(
        run.folder,
        brokers=[run.target] * brokers,
        controllers=[APACHE] * 3,
        replication_factor=brokers,
        settings={"min.insync.replicas": "1", **(settings or {})},
    )
    with rig:
        yield rig
        rig.assert_alive()


def create(rig: Rig, name: str, timeout_s: float = 60) -> None:
    """Create a topic through the brokers; tries again until a controller is there."""
    deadline = time.monotonic() + timeout_s
    admin = rig.admin()
    while True:
        try:
            admin.create_topics([NewTopic(name, 3, rig.replication_factor)], request_timeout=5)[name].result(10)
        except confluent_kafka.KafkaException as error:
            # A topic of an attempt that was not answered exists.
            if error.args[0].code() == confluent_kafka.KafkaError.TOPIC_ALREADY_EXISTS:
                return
            if time.monotonic() > deadline:
                raise AssertionError(f"{error}\n{rig.tails()}") from error
            time.sleep(0.3)  # a poll, bounded above
        else:
            return


def write(rig: Rig, topic: str, count: int) -> None:
    """Write with acks=all; each record must be acknowledged."""
    failures: list[object] = []
    producer = confluent_kafka.Producer({"bootstrap.servers": rig.bootstrap, "acks": "all", "log_level": 0})
    for number in range(count):
        producer.produce(topic, str(number), on_delivery=lambda error, _: failures.append(error) if error else None)
    left = producer.flush(60)
    assert (left, failures[:3]) == (0, []), rig.tails()


def topics_of(broker: Node) -> set[str]:
    """All topics in a Metadata response of this broker."""
    response = ask(broker.port, m.MetadataRequest(topics=None, allow_auto_topic_creation=False), version=12)
    return {topic.name for topic in response.topics}


def wait_for_topic(broker: Node, name: str, timeout_s: float = 30) -> None:
    wait_until(
        lambda: name in topics_of(broker),
        lambda: f"{name} is not among {topics_of(broker)}\n{broker.tail()}",
        timeout_s=timeout_s,
    )


@case("cluster", "quorum", "the active one of three controllers is killed, twice")
def fail_over(run: Run) -> None:
    with quorum(run, 2) as rig:
        create(rig, "before")
        write(rig, "before", 200)
        for number in range(2):
            active = rig.active_controller()
            active.kill()
            write(rig, "before", 100)  # what has a leader needs no controller
            create(rig, f"after-{number}")
            rig.wait_in_sync()
            write(rig, f"after-{number}", 100)
            # A decision of the new controller: another leader for what the broker led.
            rig.broker(2).kill()
            wait_without(rig, f"after-{number}", broker=2)
            write(rig, f"after-{number}", 100)
            rig.broker(2).start()
            rig.broker(2).wait()
            rig.wait_in_sync()
            active.start()
            active.wait()
        # The fail-over does not end a broker's session; Apache Kafka logs no registration at the level of the rig.
        log = rig.broker(1).log.read_text(errors="replace")
        assert run.target == APACHE or log.count("registered with the controllers") == 1, log[-4000:]


def wait_without(rig: Rig, topic: str, *, broker: int) -> None:
    def has_moved() -> bool:
        leaders = set(rig.leaders(topic).values())
        return bool(leaders) and not leaders & {broker, -1}

    wait_until(
        has_moved,
        lambda: f"the leaders of {topic} are {rig.leaders(topic)}\n{rig.tails()}",
        not_yet=(confluent_kafka.KafkaException,),
    )


@case("cluster", "quorum", "a record that is not committed is never seen")
def uncommitted(run: Run) -> None:
    """Two of three controllers stop; the third one writes a topic that no majority has; then it is lost."""
    with quorum(run, 1, {"controller.quorum.fetch.timeout.ms": str(_FETCH_TIMEOUT_MS)}) as rig:
        broker = rig.broker(1)
        create(rig, "before")
        wait_for_topic(broker, "before")
        active = rig.active_controller()
        others = [node for node in rig.controllers if node is not active]
        rig.network.watch(b"uncommitted")
        for node in others:
            node.pause()
        codes: list[int] = []
        creating = threading.Thread(target=create_at, args=(active, "uncommitted", codes))
        creating.start()
        seen = never_seen(rig, broker, "uncommitted")
        active.kill()
        creating.join(30)
        assert Code.NONE not in codes, codes
        for node in others:
            node.resume()
        print(f"the broker had the record for {seen:.1f} s and did not show the topic")
        create(rig, "after")
        wait_for_topic(broker, "after")
        assert topics_of(broker) == {"before", "after"}
        # The name is free: neither the controllers nor the broker have the lost record.
        create(rig, "uncommitted")
        wait_for_topic(broker, "uncommitted")
        active.start()
        active.wait()
        write(rig, "uncommitted", 50)


def create_at(controller: Node, topic: str, codes: list[int]) -> None:
    """Send CreateTopics to a controller itself; the code of its answer, unless it ends before it answers."""
    wanted = m.CreateTopicsRequest.CreatableTopic(name=topic, num_partitions=1, replication_factor=1)
    request = m.CreateTopicsRequest(topics=[wanted], timeout_ms=20_000)
    with contextlib.suppress(OSError):
        codes.append(ask(controller.port, request, version=7, timeout_s=25).topics[0].error_code)


def never_seen(rig: Rig, broker: Node, topic: str) -> float:
    """Look at the broker's topics until well after the record came; returns for how long, in seconds."""
    came: float | None = None
    deadline = time.monotonic() + _FETCH_TIMEOUT_MS / 1000
    while time.monotonic() < deadline:
        if came is None and rig.network.has_received(broker.id):
            came = time.monotonic()
        assert topic not in topics_of(broker), f"{topic} is shown before it is committed\n{rig.tails()}"
        if came is not None and time.monotonic() > came + 3:
            return time.monotonic() - came
        time.sleep(0.05)  # a poll, bounded above
    assert came is not None, f"the record has not come to the broker\n{rig.tails()}"
    return time.monotonic() - came
