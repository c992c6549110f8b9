"""The loads: each a function that works on a broker as a client and gives what it saw as numbers.

A load runs in a process of its own (`python -m bench.loads NAME JSON`), so that its cost is not the broker's.
"""

import json
import os
import selectors
import socket
import statistics
import sys
import time

from kwire.wire import codec
from kwire.wire import messages as m
from kwire.wire.records import Record, build_batch

_NOT_YET = -1


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
            "bootstrap.servers": bootstrap,
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
    values = [_value(record_bytes, seed) for seed in range(64)]

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


def consume(*, bootstrap: str, topic: str, records: int, record_bytes: int, partitions: int = 1) -> dict[str, float]:
    """librdkafka, from the beginning, until all records have come."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "bench",
            "enable.auto.commit": False,
            "fetch.message.max.bytes": 1_048_576,
            "queued.max.messages.kbytes": 256 * 1024,
            "check.crcs": False,
        }
    )
    consumer.assign([TopicPartition(topic, index, 0) for index in range(partitions)])
    got, size, started = 0, 0, 0.0
    deadline = time.monotonic() + 300
    while got < records:
        assert time.monotonic() < deadline, f"only {got} of {records} records came"
        batch = consumer.consume(50_000, 0.5)
        if batch and not started:
            started = time.perf_counter()
        for message in batch:
            assert message.error() is None, message.error()
        got += len(batch)
        size += len(batch) * record_bytes
    seconds = time.perf_counter() - started
    consumer.close()
    return {"seconds": seconds, "records": got, "mb": size / 1e6}


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


def latency(*, bootstrap: str, topic: str, records: int, pause_ms: float = 0.0) -> dict[str, float]:
    """From sending a record to having it in a fetch response, one at a time, in milliseconds."""
    producer, consumer = RawClient(bootstrap), RawClient(bootstrap)
    frame = producer.produce_frame(topic, 100)
    topic_id = producer.topic_id(topic)
    offset = consumer.end_offset(topic)
    request = m.FetchRequest
    selector = selectors.DefaultSelector()
    selector.register(producer.socket, selectors.EVENT_READ)
    selector.register(consumer.socket, selectors.EVENT_READ)
    taken = []
    for number in range(records):
        fetch = request(
            max_wait_ms=5000,
            min_bytes=1,
            session_epoch=-1,
            topics=[
                request.FetchTopic(
                    topic_id=topic_id,
                    partitions=[
                        request.FetchPartition(partition=0, fetch_offset=offset + number, partition_max_bytes=1 << 20)
                    ],
                )
            ],
        )
        consumer.socket.sendall(codec.encode_request(1, 17, number, "bench", fetch))
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
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "connections": count}), flush=True)
    sys.stdin.readline()
    for client in clients:
        client.socket.close()
    return {}


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


def group(*, bootstrap: str, topic: str, group_id: str, members: int, partitions: int) -> dict[str, float]:
    """Consumers of librdkafka join one classic group at once; until all partitions are assigned among all of them."""
    from confluent_kafka import Consumer

    assigned: dict[int, int] = {}
    consumers = [
        Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": group_id,
                "group.protocol": "classic",
                "auto.offset.reset": "earliest",
                "topic.metadata.refresh.interval.ms": 1000,
            }
        )
        for _ in range(members)
    ]
    started = time.perf_counter()
    for number, consumer in enumerate(consumers):
        consumer.subscribe(
            [topic],
            on_assign=lambda _, got, number=number: assigned.__setitem__(number, len(got)),
            on_revoke=lambda _, __, number=number: assigned.pop(number, None),
        )
    deadline = time.monotonic() + 60
    while len(assigned) < members or sum(assigned.values()) != partitions:
        assert time.monotonic() < deadline, f"not settled: {assigned}"
        for consumer in consumers:
            consumer.poll(0.002)
    seconds = time.perf_counter() - started
    for consumer in consumers:
        consumer.close()
    return {"seconds": seconds}


class RawClient:
    """A blocking connection that sends prepared frames: a client that costs next to nothing."""

    def __init__(self, bootstrap: str, *, negotiate: bool = False) -> None:
        host, _, port = bootstrap.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), 30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()
        if negotiate:
            self.ask(18, 3, m.ApiVersionsRequest(client_software_name="bench", client_software_version="1"))

    def ask(self, key, version, request):
        self.socket.sendall(codec.encode_request(key, version, 1, "bench", request))
        return codec.decode_response(key, version, memoryview(self.read_reply()))[1]

    def topic_id(self, topic):
        wanted = m.MetadataRequest(topics=[m.MetadataRequest.MetadataRequestTopic(name=topic)])
        return self.ask(3, 12, wanted).topics[0].topic_id

    def end_offset(self, topic):
        request = m.ListOffsetsRequest
        partition = request.ListOffsetsPartition(partition_index=0, timestamp=-1)
        wanted = request(replica_id=-1, topics=[request.ListOffsetsTopic(name=topic, partitions=[partition])])
        return self.ask(2, 7, wanted).topics[0].partitions[0].offset

    def produce_frame(self, topic, record_bytes):
        topic_id = self.topic_id(topic)
        batch = build_batch([Record(0, int(time.time() * 1000), None, _value(record_bytes, 1), ())])
        request = m.ProduceRequest
        partition = request.PartitionProduceData(index=0, records=batch)
        wanted = request(
            acks=-1,
            timeout_ms=30_000,
            topic_data=[request.TopicProduceData(topic_id=topic_id, partition_data=[partition])],
        )
        frame = codec.encode_request(0, 13, 1, "bench", wanted)
        self.socket.sendall(frame)
        response = codec.decode_response(0, 13, memoryview(self.read_reply()))[1]
        assert response.responses[0].partition_responses[0].error_code == 0
        return frame

    def read_reply(self):
        while len(self._buffer) < 4 or len(self._buffer) < 4 + int.from_bytes(self._buffer[:4], "big"):
            self._fill()
        size = int.from_bytes(self._buffer[:4], "big")
        reply = bytes(self._buffer[4 : 4 + size])
        del self._buffer[: 4 + size]
        return reply

    def read_replies(self, count):
        """Pass over ``count`` replies."""
        position = 0
        while True:
            while count and len(self._buffer) - position >= 4:
                size = int.from_bytes(self._buffer[position : position + 4], "big")
                if len(self._buffer) - position < 4 + size:
                    break
                position += 4 + size
                count -= 1
            if not count:
                del self._buffer[:position]
                return
            self._fill()

    def _fill(self):
        chunk = self.socket.recv(1 << 18)
        assert chunk, "the broker closed the connection"
        self._buffer += chunk


def _value(size, seed):
    """Text-like bytes: a codec finds something to do, and not everything."""
    import random

    words = [bytes(f"{word:05d}-", "ascii") for word in range(500)]
    dice = random.Random(seed)
    made = bytearray()
    while len(made) < size:
        made += dice.choice(words)
    return bytes(made[:size])


if __name__ == "__main__":
    result = globals()[sys.argv[1]](**json.loads(sys.argv[2]))
    if result:
        print(json.dumps(result))
