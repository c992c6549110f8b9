"""The parts of the soak's load. Each runs until it is ended, and answers a line on stdin with what it did since."""

import itertools
import json
import os
import select
import sys
import time

from bench.raw import RawClient, fetch_frame, produce_frame, value
from kwire.errors import Code
from kwire.wire import messages as m

_RECORD_BYTES = 1000
_REQUESTS_PER_S = 1000
_PROBES_PER_S = 50


def steady_produce(*, bootstrap: str, topic: str, partitions: int, mb_per_s: float) -> None:
    """librdkafka, idempotent, at a steady speed."""
    from confluent_kafka import Producer

    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "acks": "all",
            "linger.ms": 5,
            "batch.size": 1_000_000,
            "queue.buffering.max.messages": 500_000,
            "enable.idempotence": True,
        }
    )
    values = [value(_RECORD_BYTES, seed) for seed in range(64)]
    reported = sent = 0
    # In slices of a hundredth of a second.
    each = max(1, int(mb_per_s * 1_000_000 / _RECORD_BYTES / 100))
    for due in _every(0.01):
        for number in range(sent, sent + each):
            producer.produce(topic, values[number & 63], partition=number % partitions)
        sent += each
        producer.poll(0)
        if due:
            _say(produced_mb=(sent - reported) * _RECORD_BYTES / 1e6)
            reported = sent


def steady_consume(*, bootstrap: str, topic: str, group_id: str) -> None:
    """Two members of one group, which commit as they go."""
    from confluent_kafka import Consumer

    consumers = [
        Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": group_id,
                "auto.offset.reset": "latest",
                "auto.commit.interval.ms": 1000,
                "check.crcs": True,
            }
        )
        for _ in range(2)
    ]
    for consumer in consumers:
        consumer.subscribe([topic])
    count = reported = 0
    while True:
        for consumer in consumers:
            batch = consumer.consume(10_000, 0.02)
            for message in batch:
                assert message.error() is None, message.error()
            count += len(batch)
        if _numbers_requested():
            _say(consumed_mb=(count - reported) * _RECORD_BYTES / 1e6)
            reported = count


def steady_requests(*, bootstrap: str, topic: str, transactions_topic: str) -> None:
    """Small requests; and every hundredth of a second a connection, every second a topic and some transactions."""
    from confluent_kafka import Producer

    client = RawClient(bootstrap)
    frame = client.produce_frame(topic, 100)
    transactional = Producer({"bootstrap.servers": bootstrap, "transactional.id": "soak", "linger.ms": 0})
    transactional.init_transactions(30)
    done = {"requests": 0, "connections": 0, "topics": 0, "transactions": 0}
    reported = dict(done)
    for tick, due in enumerate(_every(0.01)):
        burst = _REQUESTS_PER_S // 100
        client.socket.sendall(frame * burst)
        client.read_replies(burst)
        done["requests"] += burst
        RawClient(bootstrap, negotiate=True).socket.close()
        done["connections"] += 1
        if tick % 100 == 0:
            _come_and_go(client, f"passing-{os.getpid()}-{tick}")
            done["topics"] += 1
        if tick % 20 == 0:
            transactional.begin_transaction()
            transactional.produce(transactions_topic, b"x" * 100)
            if done["transactions"] % 3 == 2:
                transactional.abort_transaction(30)
            else:
                transactional.commit_transaction(30)
            done["transactions"] += 1
        if due:
            _say(**{name: done[name] - reported[name] for name in done})
            reported = dict(done)


def steady_latency(*, bootstrap: str, topic: str) -> None:
    """From sending a record to having it in a fetch response, some times a second."""
    producer, consumer = RawClient(bootstrap), RawClient(bootstrap)
    frame = producer.produce_frame(topic, 100)
    topic_id, offset = producer.topic_id(topic), consumer.end_offset(topic)
    taken = []
    for due in _every(1 / _PROBES_PER_S):
        consumer.socket.sendall(fetch_frame(topic_id, offset, max_wait_ms=5000))
        started = time.perf_counter()
        producer.socket.sendall(frame)
        assert len(consumer.read_reply()) > 100, "an empty fetch: the wake-up was missed"
        taken.append((time.perf_counter() - started) * 1000)
        producer.read_replies(1)
        offset += 1
        if due:
            taken.sort()
            _say(
                p50_ms=taken[len(taken) // 2],
                p99_ms=taken[int(len(taken) * 0.99)],
                p999_ms=taken[int(len(taken) * 0.999)],
            )
            taken = []


def _come_and_go(client: RawClient, topic: str) -> None:
    create, delete = m.CreateTopicsRequest, m.DeleteTopicsRequest
    wanted = create.CreatableTopic(name=topic, num_partitions=3, replication_factor=1)
    answer = client.ask(19, 7, create(topics=[wanted], timeout_ms=30_000)).topics[0]
    assert answer.error_code == 0, Code(answer.error_code)
    while True:
        client.socket.sendall(produce_frame(answer.topic_id, 100, partitions=range(3)))
        client.read_replies(1)
        gone = client.ask(20, 6, delete(topics=[delete.DeleteTopicState(name=topic)], timeout_ms=30_000)).responses[0]
        if gone.error_code == 0:
            return
        # In Apache Kafka a broker applies a new topic slightly after the client has its answer.
        assert gone.error_code == Code.UNKNOWN_TOPIC_OR_PARTITION, Code(gone.error_code)


def _every(seconds: float):
    """Ticks of a steady clock; True when the numbers are requested."""
    began = time.monotonic()
    for tick in itertools.count(1):
        yield _numbers_requested()
        time.sleep(max(0.0, began + tick * seconds - time.monotonic()))


def _numbers_requested() -> bool:
    if not select.select([sys.stdin], [], [], 0)[0]:
        return False
    if not sys.stdin.readline():
        sys.exit(0)
    return True


def _say(**numbers: float) -> None:
    print(json.dumps(numbers), flush=True)
