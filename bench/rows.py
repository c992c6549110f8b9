"""The rows of the table: what is done to a broker, and the numbers that result.

A row is a function (run) -> {number: value}. Names of numbers end in their unit; less is better for all but those that
end in _per_s.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from bench import tools
from bench.run import Numbers, Run
from bench.targets import TLS_PREFIX

Row = Callable[[Run], Numbers]


def start(run: Run) -> Numbers:
    """From the command to the first response; the request is sent as soon as the port is open."""
    return {"cpu_s": run.started.cpu_s, "seconds": run.start_seconds}


def idle_memory(run: Run) -> Numbers:
    time.sleep(30 * min(1.0, run.scale))
    return {"rss_mb": run.usage.rss_mb}


def group_of_five(run: Run, which: str) -> Numbers:
    topic = run.topic(20)
    return run.load("group", topic=topic, group_id=f"bench-{which}", members=5, partitions=20)[0]


def thousand_connections(run: Run) -> Numbers:
    before = run.usage
    with run.held("connections", count=1000):
        after = run.usage
    return {"cpu_s": after.cpu_s - before.cpu_s, "kb_each": (after.rss_mb - before.rss_mb) * 1024 / 1000}


def produced(run: Run, record_bytes: int, mb: int, **more: Any) -> tuple[str, Numbers]:
    """librdkafka, acks=all, batches of up to 1 MB. Returns the topic too, which holds the records."""
    topic = run.topic(more.get("partitions", 1))
    seen, cpu_s = run.load("produce", topic=topic, record_bytes=record_bytes, total_mb=_scaled(run, mb), **more)
    return topic, _per_gb(seen, cpu_s)


def produce(run: Run, record_bytes: int, mb: int, **more: Any) -> Numbers:
    topic, numbers = produced(run, record_bytes, mb, **more)
    run.drop(topic)
    return numbers


def consume(run: Run, consumers: int = 1, mb: int = 1000) -> Numbers:
    """1 KB records from the page cache; every consumer reads all of the topic."""
    topic, _ = produced(run, 1000, mb)
    seen, cpu_s = run.load(
        "consume", topic=topic, records=_scaled(run, mb) * 1000, record_bytes=1000, consumers=consumers
    )
    run.drop(topic)
    return _per_gb(seen, cpu_s)


def small_requests(run: Run, depth: int, requests: int) -> Numbers:
    topic = run.topic()
    seen, cpu_s = run.load("small_requests", topic=topic, requests=int(requests * run.scale), depth=depth)
    return {"requests_per_s": seen["requests"] / seen["seconds"], "cpu_us_per_request": cpu_s / seen["requests"] * 1e6}


def latency(run: Run, pause_ms: float = 1.0) -> Numbers:
    """From sending a record to having it in a fetch response, one at a time.

    The fetch was sent ``pause_ms`` before, so that it waits already; without a pause both come at once.
    """
    records = max(2000, int(10_000 * run.scale))
    seen, cpu_s = run.load("latency", topic=run.topic(), records=records, pause_ms=pause_ms)
    return {**seen, "cpu_us_per_record": cpu_s / records * 1e6}


def latency_among_10k_partitions(run: Run) -> Numbers:
    """The same, with 10,000 other partitions that hold a record each."""
    topics = [run.topic(100) for _ in range(100)]
    for topic in topics:
        run.load("touch", topic=topic, partitions=100)
    return latency(run)


def raw(run: Run, mb: int, *, fetch: bool) -> Numbers:
    """Prepared requests of 1 MB: the client costs next to nothing, so that the broker is the limit."""
    topic = run.topic()
    seen, cpu_s = run.load("raw_produce", topic=topic, total_mb=_scaled(run, mb))
    if fetch:
        seen, cpu_s = run.load("raw_fetch", topic=topic, total_mb=_scaled(run, mb))
    run.drop(topic)
    return _per_gb(seen, cpu_s)


def thousand_topics(run: Run) -> Numbers:
    """One CreateTopics request with 1,000 topics; then Metadata of all."""
    seen, _ = run.load("many_topics", count=1000)
    return seen


def loaded_memory(run: Run) -> Numbers:
    return {"rss_mb": run.usage.rss_mb, "peak_mb": run.usage.peak_mb}


def official_producer(run: Run, record_bytes: int, mb: int) -> Numbers:
    topic = run.topic()
    numbers = run.measured(
        tools.producer_perf,
        topic=topic,
        record_bytes=record_bytes,
        records=_scaled(run, mb) * 1_000_000 // record_bytes,
    )
    run.drop(topic)
    return numbers


def official_consumer(run: Run, mb: int = 1000) -> Numbers:
    topic, _ = produced(run, 1000, mb)
    numbers = run.measured(tools.consumer_perf, topic=topic, records=_scaled(run, mb) * 1000)
    run.drop(topic)
    return numbers


def official_latency(run: Run) -> Numbers:
    records = max(2000, int(10_000 * run.scale))
    return tools.end_to_end_latency(run.broker.bootstrap, run.topic(), records)


def warm_up(run: Run) -> None:
    """What all rows under load do, for a while: a JVM compiles what runs often."""
    topic, _ = produced(run, 1000, 500)
    run.load("consume", topic=topic, records=_scaled(run, 500) * 1000, record_bytes=1000)
    run.drop(topic)
    produce(run, 100, 100)
    small_requests(run, 64, 40_000)
    small_requests(run, 1, 10_000)
    if not run.tls:
        latency(run, 0)
        latency(run)


def _scaled(run: Run, mb: int) -> int:
    return max(20, int(mb * run.scale))


def _per_gb(seen: Numbers, cpu_s: float) -> Numbers:
    return {"cpu_s_per_gb": cpu_s / (seen["mb"] / 1000), "mb_per_s": seen["mb"] / seen["seconds"]}


# In the order in which they run on one broker: the first need a broker just started, some at the end leave it full.
ROWS: dict[str, Row] = {
    "start": start,
    "idle memory": idle_memory,
    "first group of five": partial(group_of_five, which="first"),
    "later group of five": partial(group_of_five, which="later"),
    "1,000 connections": thousand_connections,
    "produce 100 B": partial(produce, record_bytes=100, mb=200),
    "produce 1 KB": partial(produce, record_bytes=1000, mb=1000),
    "produce 10 KB": partial(produce, record_bytes=10_000, mb=1000),
    "consume 1 KB": consume,
    "produce, prepared requests": partial(raw, mb=1000, fetch=False),
    "fetch, prepared requests": partial(raw, mb=1000, fetch=True),
    "pipelined": partial(small_requests, depth=64, requests=60_000),
    "one in flight": partial(small_requests, depth=1, requests=20_000),
    "end to end latency": latency,
    "end to end latency, no pause": partial(latency, pause_ms=0),
    "produce 1 KB idempotent": partial(produce, record_bytes=1000, mb=500, idempotent=True),
    "produce 1 KB gzip": partial(produce, record_bytes=1000, mb=100, compression="gzip"),
    "produce 1 KB lz4": partial(produce, record_bytes=1000, mb=300, compression="lz4"),
    "produce 1 KB snappy": partial(produce, record_bytes=1000, mb=300, compression="snappy"),
    "produce 1 KB zstd": partial(produce, record_bytes=1000, mb=300, compression="zstd"),
    "produce 1 KB, 6 partitions": partial(produce, record_bytes=1000, mb=500, partitions=6),
    "produce 1 KB, 100 partitions": partial(produce, record_bytes=1000, mb=500, partitions=100),
    "consume 1 KB, 10 consumers": partial(consume, consumers=10, mb=300),
    "producer-perf 1 KB": partial(official_producer, record_bytes=1000, mb=1000),
    "producer-perf 100 B": partial(official_producer, record_bytes=100, mb=200),
    "consumer-perf 1 KB": official_consumer,
    "e2e-latency tool": official_latency,
    "memory after the load": loaded_memory,
    "1,000 topics": thousand_topics,
    "latency, 10,000 partitions": latency_among_10k_partitions,
    "TLS, 1,000 connections": thousand_connections,
    "TLS, one in flight": partial(small_requests, depth=1, requests=20_000),
    "TLS, produce 1 KB": partial(produce, record_bytes=1000, mb=500),
    "TLS, consume 1 KB": partial(consume, mb=500),
}

# The rows that run on a broker of their own, over its TLS listener: keys and certificates are a part of its start.
TLS = tuple(row for row in ROWS if row.startswith(TLS_PREFIX))

# The rows that need no load before them; all others run on a broker that is warm.
COLD = ("start", "idle memory", "first group of five", "later group of five", "1,000 connections")

# The table of the promise, in a few minutes.
QUICK = (*COLD, "produce 100 B", "produce 1 KB", "produce 10 KB", "consume 1 KB", "pipelined", "one in flight",
         "end to end latency", "memory after the load", "1,000 topics")  # fmt: skip
