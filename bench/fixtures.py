"""What a test suite waits for: fresh brokers, resets, clusters. Times of kwire alone, in this process.

python -m bench fixtures --rounds 40
"""

import argparse
import gc
import statistics
import time
from collections.abc import Callable

from kafka import KafkaProducer

from kwire.testing import KafkaBroker, kafka_cluster

_TOPIC = "orders"


def main(arguments: list[str]) -> int:
    """Median and least time, in milliseconds, of what fixtures of kwire.testing do for a test."""
    parser = argparse.ArgumentParser(prog="python -m bench fixtures", description=main.__doc__)
    parser.add_argument("--rounds", type=int, default=40, help="default 40")
    parser.add_argument("--cluster-rounds", type=int, default=5, help="default 5; 0 leaves clusters out")
    chosen = parser.parse_args(arguments)
    rows = {
        "a fresh broker (the fixture kafka)": _fresh(chosen.rounds),
        "reset of a broker with a topic and records, whose client has left": _resets(chosen.rounds, connected=False),
        "the same while a client is connected": _resets(chosen.rounds, connected=True),
    }
    if chosen.cluster_rounds:
        rows |= _cluster(chosen.cluster_rounds)
    print("| | median ms | least ms |\n|---|---:|---:|")
    for name, times in rows.items():
        print(f"| {name} | {statistics.median(times):.1f} | {min(times):.1f} |")
    return 0


def _timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1000


def _write(servers: str) -> KafkaProducer:
    producer = KafkaProducer(bootstrap_servers=servers)
    for _ in range(3):
        producer.send(_TOPIC, b"x").get(30)
    return producer


def _fresh(rounds: int) -> list[float]:
    """From the call to a broker that accepts clients; the first one imports, and does not count."""
    times = []
    for _ in range(rounds + 1):
        broker = KafkaBroker()
        times.append(_timed(broker.start))
        _write(broker.bootstrap_servers).close()
        broker.stop()
    return times[1:]


def _resets(rounds: int, *, connected: bool) -> list[float]:
    times = []
    with KafkaBroker(topics=[_TOPIC]) as broker:
        for _ in range(rounds + 1):
            producer = _write(broker.bootstrap_servers)
            if not connected:
                producer.close()
            gc.collect()  # of the client's objects, which are not the broker's
            times.append(_timed(broker.reset))
            if connected:
                producer.close()
    return times[1:]


def _cluster(rounds: int) -> dict[str, list[float]]:
    rows: dict[str, list[float]] = {"a cluster of three brokers and a controller": []}
    resets: list[float] = []
    restores: list[float] = []
    snapshots: list[float] = []
    for _ in range(2):
        running = kafka_cluster(brokers=3, topics=[_TOPIC])
        rows["a cluster of three brokers and a controller"].append(_timed(running.__enter__))
        running.__exit__(None, None, None)
    with kafka_cluster(brokers=3, topics=[_TOPIC]) as cluster:
        for _ in range(rounds):
            _write(cluster.bootstrap_servers).close()
            snapshots.append(_timed(cluster.snapshot))
            restores.append(_timed(cluster.restore))
            resets.append(_timed(cluster.reset))
    return rows | {
        "snapshot of that cluster": snapshots,
        "restore of that cluster": restores,
        "reset of that cluster": resets,
    }
