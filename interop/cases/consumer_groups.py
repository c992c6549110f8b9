"""Consumer groups of the new protocol (KIP-848): settling, crashes of the broker and of members, migration, records."""

import threading
import time

from interop.brokers import Apache, Kwire
from interop.case import Run, case
from interop.waiting import wait_until

SERVED = ("ConsumerGroupHeartbeat",)


class Member:
    """A confluent-kafka consumer in a thread of its own; ``held`` is how many partitions it has."""

    def __init__(self, bootstrap: str, group: str, topics: list[str], **settings: str) -> None:
        from confluent_kafka import Consumer

        config = {"bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest"}
        self._consumer = Consumer({**config, "group.protocol": "consumer", **settings})
        self._topics = topics
        self._stop = threading.Event()
        self.held = 0
        self.read: list[bytes] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._consumer.subscribe(self._topics)
        while not self._stop.is_set():
            record = self._consumer.poll(0.05)
            if record is not None and not record.error():
                self.read.append(record.value())
            self.held = len(self._consumer.assignment())
        self._consumer.close()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(30)


def wait_until_held(members: list[Member], expected: list[int], timeout_s: float = 60) -> float:
    """How long it took until the members hold so many partitions, in any order."""
    started = time.monotonic()
    wait_until(
        lambda: sorted(member.held for member in members) == expected,
        lambda: [member.held for member in members],
        timeout_s=timeout_s,
        pause_s=0.02,
    )
    return time.monotonic() - started


def wait_until_read(members: list[Member], expected: set[bytes], timeout_s: float = 60) -> None:
    def missing() -> set[bytes]:
        return expected - {value for member in members for value in member.read}

    wait_until(
        lambda: not missing(),
        lambda: f"{len(missing())} records were not read, such as {sorted(missing())[:1]}",
        timeout_s=timeout_s,
    )


def send(broker: Kwire | Apache, topic: str, values: range) -> None:
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": broker.bootstrap})
    for value in values:
        producer.produce(topic, b"%d" % value)
    assert producer.flush(60) == 0


@case("clients", "confluent-kafka", "consumer-group-settles", requires=SERVED)
def a_group_settles(run: Run) -> None:
    """Five members on 20 partitions, started at the same time: less than a second at the best of three tries."""
    topic = run.topic(partitions=20)
    took = []
    for _ in range(3):
        group = run.unique("group")
        members = [Member(run.broker.bootstrap, group, [topic]) for _ in range(5)]
        took.append(wait_until_held(members, [4] * 5))
        for member in members:
            member.close()
    assert run.target == "apache" or min(took) < 1, took


@case("clients", "confluent-kafka", "consumer-group-while-the-broker-is-killed", requires=SERVED)
def a_group_outlives_its_broker(run: Run) -> None:
    """Members go on after kill -9 and after a clean stop; nothing is left out, and the group settles again."""
    broker = run.own_broker()
    broker.start()
    topic = run.unique("topic")
    send(broker, topic, range(50))
    run.tool("topics", "--bootstrap-server", broker.bootstrap, "--alter", "--topic", topic, "--partitions", "6").ok()
    group = run.unique("group")
    members = [Member(broker.bootstrap, group, [topic]) for _ in range(3)]
    wait_until_held(members, [2, 2, 2])
    sent = 50
    for upset in (broker.kill, broker.stop):
        upset()
        time.sleep(0.5)  # the members notice that the broker is away
        broker.start()
        send(broker, topic, range(sent, sent + 200))
        sent += 200
    late = Member(broker.bootstrap, group, [topic])
    members.append(late)
    wait_until_held(members, [1, 1, 2, 2])
    gone = [members.pop(0)]
    gone[0].close()
    wait_until_held(members, [2, 2, 2])
    wait_until_read(members + gone, {b"%d" % value for value in range(sent)})
    for member in members:
        member.close()


@case("clients", "confluent-kafka", "consumer-group-migrates", requires=SERVED)
def a_group_migrates(run: Run) -> None:
    """From classic members to consumer members one by one, and back, while the group goes on."""
    topic = run.topic(partitions=6)
    group = run.unique("group")
    classic = {"group.protocol": "classic", "partition.assignment.strategy": "range"}
    old = [Member(run.broker.bootstrap, group, [topic], **classic) for _ in range(2)]
    wait_until_held(old, [3, 3])
    new = [Member(run.broker.bootstrap, group, [topic])]
    wait_until_held(old + new, [2, 2, 2])
    run.tool("consumer-groups", "--describe", "--group", group, "--members", "--verbose").ok().prints("CURRENT-EPOCH")
    old.pop().close()
    wait_until_held(old + new, [3, 3])
    new.pop().close()
    wait_until_held(old, [6])
    run.tool("consumer-groups", "--list", "--type", "classic").ok().prints(group)
    old.pop().close()


@case("clients", "confluent-kafka", "consumer-group-records-in-the-official-dump", requires=SERVED)
def the_records_are_official(run: Run) -> None:
    """The official kafka-dump-log reads the records of a consumer group."""
    broker = run.own_broker({"offsets.topic.num.partitions": "1"})
    broker.start()
    topic = run.unique("topic")
    send(broker, topic, range(10))
    member = Member(broker.bootstrap, "dumped", [f"^{topic}"])
    wait_until_held([member], [1])
    member.close()
    broker.stop()
    log = str(broker.data / "__consumer_offsets-0" / "00000000000000000000.log")
    dumped = run.tool("dump-log", "--files", log, "--offsets-decoder", "--print-data-log").ok()
    for kind in (3, 5, 6, 7, 8, 16):
        dumped.prints(f'"type":"{kind}"')
