"""A client that costs next to nothing: prepared frames over one blocking connection.

What it measures is the broker and not itself; what a usual client adds is in the rows of librdkafka and the official
tools.
"""

import random
import socket
import time

from bench.tls import wrapped
from kwire.wire import codec
from kwire.wire import messages as m
from kwire.wire.batches.records import Record, build_batch


class RawClient:
    """A blocking connection that sends prepared frames: a client that costs next to nothing."""

    def __init__(self, bootstrap: str, *, negotiate: bool = False) -> None:
        host, _, port = bootstrap.rpartition(":")
        plain = socket.create_connection((host, int(port)), 30)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = wrapped(plain, host)
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

    def produce_frame(self, topic, record_bytes, *, records=1, partitions=(0,)):
        """A produce request with a batch for each partition, which was sent once and accepted."""
        topic_id = self.topic_id(topic)
        frame = produce_frame(topic_id, record_bytes, records=records, partitions=partitions)
        self.socket.sendall(frame)
        response = codec.decode_response(0, 13, memoryview(self.read_reply()))[1]
        codes = {partition.error_code for partition in response.responses[0].partition_responses}
        assert codes == {0}, codes
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

    def pass_over_reply(self):
        """Pass over one large reply, and give its size."""
        while len(self._buffer) < 4:
            self._fill()
        size = 4 + int.from_bytes(self._buffer[:4], "big")
        left = size - len(self._buffer)
        self._buffer.clear()
        while left > 0:
            left -= self.socket.recv_into(_SINK, min(left, len(_SINK)))
        return size

    def _fill(self):
        chunk = self.socket.recv(1 << 18)
        assert chunk, "the broker closed the connection"
        self._buffer += chunk


_SINK = memoryview(bytearray(1 << 20))


def produce_frame(topic_id, record_bytes, *, records=1, partitions=(0,)):
    now_ms = int(time.time() * 1000)
    batch = build_batch(
        [Record(number, now_ms, None, value(record_bytes, number % 64), ()) for number in range(records)]
    )
    request = m.ProduceRequest
    parts = [request.PartitionProduceData(index=index, records=batch) for index in partitions]
    wanted = request(
        acks=-1, timeout_ms=30_000, topic_data=[request.TopicProduceData(topic_id=topic_id, partition_data=parts)]
    )
    return codec.encode_request(0, 13, 1, "bench", wanted)


def fetch_frame(topic_id, offset, *, max_bytes=1 << 20, max_wait_ms=500, min_bytes=1, partitions=(0,)):
    """A fetch request without a session."""
    request = m.FetchRequest
    parts = [
        request.FetchPartition(partition=index, fetch_offset=offset, partition_max_bytes=max_bytes)
        for index in partitions
    ]
    wanted = request(
        max_wait_ms=max_wait_ms,
        min_bytes=min_bytes,
        session_epoch=-1,
        topics=[request.FetchTopic(topic_id=topic_id, partitions=parts)],
    )
    return codec.encode_request(1, 17, 1, "bench", wanted)


def value(size, seed):
    """Text-like bytes: a codec finds something to do, and not everything."""
    words = [bytes(f"{word:05d}-", "ascii") for word in range(500)]
    dice = random.Random(seed)
    made = bytearray()
    while len(made) < size:
        made += dice.choice(words)
    return bytes(made[:size])
