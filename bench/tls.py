"""What TLS costs: the same loads over a plain and over a TLS listener of one broker.

    python -m bench.tls [--target apache] [--mb 300] [--connections 500]

CPU is the broker's, user and system. Handshakes are those of new connections without resumption; the broker's key is
elliptic (P-256). Prints a table in Markdown.
"""

import argparse
import contextlib
import socket
import ssl
import tempfile
from pathlib import Path

import confluent_kafka

from bench.measure import usage
from interop.brokers import KINDS
from interop.tls import Certificates, add_tls
from kwire.wire import codec
from kwire.wire.messages import ApiVersionsRequest

PINGS = 5000
RECORD = bytes(range(256)) * 4


class Bench:
    """One broker, its two listeners, and the loads."""

    def __init__(self, broker, port: int, certificates: Certificates, *, tls: bool) -> None:
        self._broker = broker
        self._port = port
        self._context = ssl.create_default_context(cafile=str(certificates.ca)) if tls else None
        self._config = {"bootstrap.servers": f"localhost:{port}"}
        if tls:
            self._config |= {"security.protocol": "SSL", "ssl.ca.location": str(certificates.ca)}

    def _cpu_s(self) -> float:
        return usage(self._broker.pid).cpu_s

    def _connect(self) -> socket.socket:
        plain = socket.create_connection(("localhost", self._port))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return plain if self._context is None else self._context.wrap_socket(plain, server_hostname="localhost")

    def connections(self, count: int) -> tuple[float, float]:
        """CPU ms and KB of memory for each connection, with one request each."""
        request = codec.encode_request(18, 0, 1, "bench", ApiVersionsRequest())
        before = usage(self._broker.pid)
        with contextlib.ExitStack() as stack:
            for _ in range(count):
                connection = stack.enter_context(self._connect())
                connection.sendall(request)
                connection.recv(4096)
            after = usage(self._broker.pid)
        return (after.cpu_s - before.cpu_s) * 1000 / count, (after.rss_mb - before.rss_mb) * 1024 / count

    def pings(self) -> float:
        """CPU in microseconds of a small request."""
        request = codec.encode_request(18, 0, 1, "bench", ApiVersionsRequest())
        with self._connect() as connection:
            for count in (500, PINGS):
                before = self._cpu_s()
                for _ in range(count):
                    connection.sendall(request)
                    connection.recv(4096)
        return (self._cpu_s() - before) * 1e6 / PINGS

    def produce(self, topic: str, mb: int) -> float:
        """CPU seconds for a gigabyte, acks=all."""
        producer = confluent_kafka.Producer(
            self._config
            | {"acks": "all", "linger.ms": 5, "batch.size": 1_000_000, "queue.buffering.max.kbytes": 262144}
        )
        before = self._cpu_s()
        for _ in range(mb * 1_000_000 // len(RECORD)):
            while True:
                try:
                    producer.produce(topic, RECORD, partition=0)
                    break
                except BufferError:
                    producer.poll(0.05)
        assert producer.flush(120) == 0
        return (self._cpu_s() - before) * 1000 / mb

    def consume(self, topic: str, mb: int) -> float:
        """CPU seconds for a gigabyte."""
        consumer = confluent_kafka.Consumer(
            self._config | {"group.id": topic, "enable.auto.commit": False, "fetch.message.max.bytes": 1_000_000}
        )
        consumer.assign([confluent_kafka.TopicPartition(topic, 0, 0)])
        left = mb * 1_000_000 // len(RECORD)
        before = self._cpu_s()
        while left > 0:
            left -= len(consumer.consume(10_000, 1.0))
        spent = self._cpu_s() - before
        consumer.close()
        return spent * 1000 / mb


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", choices=sorted(KINDS), default="kwire")
    parser.add_argument("--mb", type=int, default=300)
    parser.add_argument("--connections", type=int, default=500)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        certificates = Certificates(Path(folder) / "certificates")
        broker = KINDS[given.target](Path(folder) / "broker")
        ports = add_tls(broker, certificates)
        broker.start()
        try:
            columns = {}
            for name, port in (("plain", broker.port), ("TLS", ports["SSL"])):
                bench = Bench(broker, port, certificates, tls=name == "TLS")
                bench.produce(f"warm-{name}", 5)
                cpu_ms, kb = bench.connections(given.connections)
                columns[name] = {
                    "new connection with one request, CPU ms": cpu_ms,
                    "connection, KB": kb,
                    "small request, CPU us": bench.pings(),
                    "produce, CPU s per GB": bench.produce(f"bench-{name}", given.mb),
                    "consume, CPU s per GB": bench.consume(f"bench-{name}", given.mb),
                }
        finally:
            broker.stop()
    print(f"| {given.target} | plain | TLS |\n|---|---|---|")
    for number in columns["plain"]:
        print(f"| {number} | {columns['plain'][number]:.2f} | {columns['TLS'][number]:.2f} |")


if __name__ == "__main__":
    main()
