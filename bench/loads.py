"""The loads: each is a function that acts as a client and returns numbers.

A load runs in its own process (`python -m bench.loads NAME JSON`), so that its cost is not the broker's.
"""

import json
import os
import selectors
import statistics
import sys
import time

from bench.groups import group  # noqa: F401 - a load, found by name
from bench.growth_loads import (  # noqa: F401 - loads, too
    all_metadata,
    committed,
    fetch_middle,
    many_connections,
    many_groups,
    spread_requests,
)
from bench.raw import RawClient, fetch_frame, value
from bench.soak_loads import steady_consume, steady_latency, steady_produce, steady_requests  # noqa: F401
from bench.tls import librdkafka
from kwire.wire import codec
from kwire.wire import messages as m


def produce(
    *,
    bootstrap: str,
    topic: str,
    record_bytes: int,
    total_mb: int,
    compression: str = "none",
    idempotent: bool = False,
    partitions: int = 1,
) -> dict[str, float]:
    """librdkafka, acks=all, batches of up to 1 MB."""
    from confluent_kafka import Producer

    count = total_mb * 1_000_000 // record_bytes
    producer = Producer(
        {
            **librdkafka(bootstrap),
            "acks": "all",
            "linger.ms": 5,
            "batch.size": 1_000_000,
            "batch.num.messages": 1_000_000,
            "queue.buffering.max.messages": 1_000_000,
            "queue.buffering.max.kbytes": 256 * 1024,
            "compression.type": compression,
            "enable.idempotence": idempotent,
        }
    )
    failed = []
    values = [value(record_bytes, seed) for seed in range(64)]

    def delivered(error, _message):
        if error is not None:
            failed.append(str(error))

    producer.list_topics(topic, 10)
    started = time.perf_counter()
    last = count - partitions
    for number in range(count):
        while True:
            try:
                # A report for the last record of each partition only: a callback for every record would bound the load.
                report = delivered if number >= last else None
                producer.produce(topic, values[number & 63], partition=number % partitions, on_delivery=report)
                break
            except BufferError:
                producer.poll(0.01)
    left = producer.flush(120)
    seconds = time.perf_counter() - started
    assert not failed, failed[:3]
    assert not left, f"{left} records were not delivered"
    return {"seconds": seconds, "records": count, "mb": count * record_bytes / 1e6}


def consume(
    *, bootstrap: str, topic: str, records: int, record_bytes: int, partitions: int = 1, consumers: int = 1
) -> dict[str, float]:
    """librdkafka, from the beginning, until all records have come to each of the consumers."""
    from confluent_kafka import Consumer, TopicPartition

    everybody = [
        Consumer(
            {
                **librdkafka(bootstrap),
                "group.id": "bench",
                "enable.auto.commit": False,
                "fetch.message.max.bytes": 1_048_576,
                "queued.max.messages.kbytes": 256 * 1024 // consumers,
                "check.crcs": False,
            }
        )
        for _ in range(consumers)
    ]
    for consumer in everybody:
        consumer.assign([TopicPartition(topic, index, 0) for index in range(partitions)])
    missing, started = dict.fromkeys(everybody, records), 0.0
    deadline = time.monotonic() + 300
    while missing:
        assert time.monotonic() < deadline, f"still missing: {list(missing.values())}"
        for consumer in list(missing):
            batch = consumer.consume(50_000, 0.5 if consumers == 1 else 0.01)
            if batch and not started:
                started = time.perf_counter()
            for message in batch:
                assert message.error() is None, message.error()
            missing[consumer] -= len(batch)
            if missing[consumer] <= 0:
                del missing[consumer]
    seconds = time.perf_counter() - started
    for consumer in everybody:
        consumer.close()
    return {"seconds": seconds, "mb": records * consumers * record_bytes / 1e6}


def raw_produce(*, bootstrap: str, topic: str, total_mb: int, depth: int = 4) -> dict[str, float]:
    """Prepared requests of one batch of 1 MB, ``depth`` of them in flight: no client work, so the broker is the limit.

    Records of 1 KB.
    """
    client = RawClient(bootstrap)
    frame = client.produce_frame(topic, 1000, records=1000)
    started = time.perf_counter()
    for number in range(total_mb):
        if number >= depth:
            client.read_replies(1)
        client.socket.sendall(frame)
    client.read_replies(min(depth, total_mb))
    return {"seconds": time.perf_counter() - started, "mb": float(total_mb)}


def raw_fetch(*, bootstrap: str, topic: str, total_mb: int) -> dict[str, float]:
    """Fetch 1 MB at a time and look at nothing but the size of the answers."""
    client = RawClient(bootstrap)
    topic_id = client.topic_id(topic)
    offset, end, got = 0, client.end_offset(topic), 0
    started = time.perf_counter()
    while got < total_mb * 1_000_000 and offset < end:
        client.socket.sendall(fetch_frame(topic_id, offset, max_bytes=1 << 20))
        got += client.pass_over_reply()
        offset += 1000
    return {"seconds": time.perf_counter() - started, "mb": got / 1e6}


def small_requests(*, bootstrap: str, topic: str, requests: int, depth: int) -> dict[str, float]:
    """Produce requests of one 100-byte record each, ``depth`` of them in flight on one connection."""
    client = RawClient(bootstrap)
    frame = client.produce_frame(topic, 100)
    block = frame * depth
    started = time.perf_counter()
    if depth == 1:
        for _ in range(requests):
            client.socket.sendall(frame)
            client.read_replies(1)
    else:
        client.socket.sendall(block)
        half = depth // 2
        sent = depth
        while sent < requests:
            client.read_replies(half)
            client.socket.sendall(frame * half)
            sent += half
        client.read_replies(depth)
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "requests": requests}


def round_trips(*, bootstrap: str, topic: str, requests: int) -> dict[str, float]:
    """Produce requests of one 100-byte record each, one after the other: how long each of them takes."""
    client = RawClient(bootstrap)
    frame = client.produce_frame(topic, 100)
    taken = []
    for _ in range(requests):
        started = time.perf_counter()
        client.socket.sendall(frame)
        client.read_replies(1)
        taken.append((time.perf_counter() - started) * 1000)
    seconds = sum(taken) / 1000
    taken.sort()
    return {
        "p50_ms": taken[len(taken) // 2],
        "p99_ms": taken[int(len(taken) * 0.99)],
        "seconds": seconds,
        "requests": requests,
    }


def latency(*, bootstrap: str, topic: str, records: int, pause_ms: float = 0.0) -> dict[str, float]:
    """From sending a record to having it in a fetch response, one at a time, in milliseconds."""
    producer, consumer = RawClient(bootstrap), RawClient(bootstrap)
    frame = producer.produce_frame(topic, 100)
    topic_id = producer.topic_id(topic)
    offset = consumer.end_offset(topic)
    selector = selectors.DefaultSelector()
    selector.register(producer.socket, selectors.EVENT_READ)
    selector.register(consumer.socket, selectors.EVENT_READ)
    taken = []
    for number in range(records):
        consumer.socket.sendall(fetch_frame(topic_id, offset + number, max_wait_ms=5000))
        if pause_ms:
            time.sleep(pause_ms / 1000)
        started = time.perf_counter()
        producer.socket.sendall(frame)
        fetched, acknowledged = 0.0, False
        while not (fetched and acknowledged):
            for key, _ in selector.select():
                if key.fileobj is consumer.socket:
                    reply = consumer.read_reply()
                    fetched = time.perf_counter()
                    assert len(reply) > 100, "an empty fetch: the wake-up was missed"
                else:
                    producer.read_replies(1)
                    acknowledged = True
        taken.append((fetched - started) * 1000)
    taken.sort()
    return {
        "p50_ms": taken[len(taken) // 2],
        "p99_ms": taken[int(len(taken) * 0.99)],
        "p999_ms": taken[int(len(taken) * 0.999)],
        "mean_ms": statistics.fmean(taken),
    }


def connections(*, bootstrap: str, count: int) -> dict[str, float]:
    """Open connections, ask each for ApiVersions, keep them open; waits for a line on stdin before it closes them."""
    started = time.perf_counter()
    clients = [RawClient(bootstrap, negotiate=True) for _ in range(count)]
    hold({"seconds": time.perf_counter() - started})
    for client in clients:
        client.socket.close()
    return {}


def hold(numbers: dict[str, float]) -> None:
    """Print the numbers, and wait until the broker has been measured."""
    print(json.dumps(numbers), flush=True)
    sys.stdin.readline()


def create_topic(*, bootstrap: str, topic: str, partitions: int, configs: dict[str, str]) -> dict[str, float]:
    client = RawClient(bootstrap)
    request = m.CreateTopicsRequest
    configs = {"file.delete.delay.ms": "0", **configs}
    wanted = request.CreatableTopic(
        name=topic,
        num_partitions=partitions,
        replication_factor=1,
        configs=[request.CreatableTopicConfig(name=name, value=text) for name, text in configs.items()],
    )
    started = time.perf_counter()
    answer = client.ask(19, 7, request(topics=[wanted], timeout_ms=60_000)).topics[0]
    assert answer.error_code == 0, (answer.error_code, answer.error_message)
    # Apache answers before the broker's own image has the topic.
    wait_for_topic(client, topic)
    return {"seconds": time.perf_counter() - started}


def wait_for_topic(client: RawClient, topic: str) -> None:
    request = m.MetadataRequest
    while True:
        found = client.ask(3, 12, request(topics=[request.MetadataRequestTopic(name=topic)])).topics[0]
        if not found.error_code and not any(one.error_code for one in found.partitions):
            return
        time.sleep(0.01)


def delete_topic(*, bootstrap: str, topic: str) -> dict[str, float]:
    request = m.DeleteTopicsRequest
    wanted = request(topics=[request.DeleteTopicState(name=topic)], timeout_ms=60_000)
    answer = RawClient(bootstrap).ask(20, 6, wanted).responses[0]
    assert answer.error_code == 0, answer.error_code
    return {"deleted": 1.0}


def touch(*, bootstrap: str, topic: str, partitions: int) -> dict[str, float]:
    """One record into each partition, with one request."""
    client = RawClient(bootstrap)
    client.produce_frame(topic, 100, partitions=range(partitions))
    return {"partitions": float(partitions)}


def many_topics(*, bootstrap: str, count: int) -> dict[str, float]:
    """Create topics with one request, then ask for the metadata of all of them."""
    client = RawClient(bootstrap)
    request = m.CreateTopicsRequest
    prefix = f"many-{os.getpid()}"
    create = request(
        topics=[
            request.CreatableTopic(name=f"{prefix}-{number}", num_partitions=1, replication_factor=1)
            for number in range(count)
        ],
        timeout_ms=60_000,
    )
    started = time.perf_counter()
    response = client.ask(19, 7, create)
    created = time.perf_counter() - started
    assert all(topic.error_code == 0 for topic in response.topics)
    taken = []
    wanted = m.MetadataRequest(topics=None)
    frame = codec.encode_request(3, 12, 1, "bench", wanted)
    for _ in range(20):
        started = time.perf_counter()
        client.socket.sendall(frame)
        client.read_reply()
        taken.append((time.perf_counter() - started) * 1000)
    return {"create_s": created, "metadata_ms": statistics.median(taken)}


if __name__ == "__main__":
    result = globals()[sys.argv[1]](**json.loads(sys.argv[2]))
    if result:
        print(json.dumps(result))
