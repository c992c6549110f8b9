"""`python -m bench soak`: an hour of mixed load at half speed, a row a minute: nothing may grow, nothing may slow down.

What runs: an idempotent producer at half the speed that it reaches alone; a group of two that reads all of it and
commits; small requests at half speed; connections that come and go; topics that come and go; transactions, of which
every third is aborted; and a probe of the latency from end to end. Old segments go, so that the disk is not what grows.
"""

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

from bench.report import machine, write_json
from bench.run import Numbers, Run
from interop.jars import ROOT

# A segment goes once the two behind it are full.
_TOPIC = {"segment.bytes": "134217728", "retention.bytes": "268435456", "file.delete.delay.ms": "1000"}
_SETTINGS = {"log.retention.check.interval.ms": "10000"}
_WARM_S = 30
# From the second quarter to the last, in percent: what may be the noise of a machine.
_MEMORY_MORE = 5
_DESCRIPTORS_MORE = 10
_LATENCY_MORE = 50


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--every", type=float, default=60, help="seconds from row to row (60)")
    parser.add_argument("--kind", choices=("kwire", "apache"), default="kwire")
    parser.add_argument("--mb-per-s", type=float, help="of the producer, instead of half of what it reaches")
    parser.add_argument("--json", help="write every row to this file")
    options = parser.parse_args(arguments)
    run = Run(options.kind, settings=_SETTINGS)
    run.start()
    rows: list[Numbers] = []
    try:
        topic = run.topic(4, **_TOPIC)
        speed = options.mb_per_s or _half_speed(run)
        print(f"{options.minutes:g} minutes, producing {speed:.0f} MB/s", flush=True)
        with _load(run, topic, speed) as load:
            time.sleep(_WARM_S)
            _ask(load)  # what was done so far counts for no row
            print(_HEADS, flush=True)
            began = time.monotonic()
            while time.monotonic() - began < options.minutes * 60:
                rows.append(_row(run, load, options.every, began))
                print(_line(rows[-1]), flush=True)
    except KeyboardInterrupt:
        print("stopped", flush=True)
    finally:
        run.stop()
    words = verdict(rows)
    print("\n".join(words))
    if options.json:
        write_json(
            options.json,
            {"machine": machine(1.0, 1, pinned=False), "mb_per_s": speed, "rows": rows, "verdict": words},
        )
    return int(any("GROWS" in word for word in words))


def verdict(rows: Sequence[Numbers]) -> list[str]:
    """The last quarter beside the second: the first is when caches fill."""
    if len(rows) < 8:
        return ["too short to tell what grows"]
    quarter = len(rows) // 4
    words = []
    for number, more in (
        ("rss_mb", _MEMORY_MORE),
        ("descriptors", _DESCRIPTORS_MORE),
        ("p50_ms", _LATENCY_MORE),
        ("p99_ms", _LATENCY_MORE),
        ("cpu_percent", _LATENCY_MORE),
    ):
        early = statistics.median(row[number] for row in rows[quarter : 2 * quarter])
        late = statistics.median(row[number] for row in rows[-quarter:])
        percent = (late / early - 1) * 100 if early else 0.0
        words.append(f"{number}: {early:.3g} then {late:.3g} ({percent:+.0f} %), {_judge(percent, more)}")
    return words


def _judge(percent: float, more: float) -> str:
    return "flat" if percent <= more else "GROWS"


def _half_speed(run: Run) -> float:
    topic = run.topic(4, **_TOPIC)
    seen, _ = run.load("produce", topic=topic, record_bytes=1000, total_mb=300, partitions=4, idempotent=True)
    run.drop(topic)
    return seen["mb"] / seen["seconds"] / 2


@contextlib.contextmanager
def _load(run: Run, topic: str, mb_per_s: float):
    """The mixed load, each kind in a process of its own; the last line of its output is read as it comes."""
    kinds = {
        "steady_produce": {"topic": topic, "partitions": 4, "mb_per_s": mb_per_s},
        "steady_consume": {"topic": topic, "group_id": "soak"},
        "steady_requests": {"topic": run.topic(**_TOPIC), "transactions_topic": run.topic(**_TOPIC)},
        "steady_latency": {"topic": run.topic(**_TOPIC)},
    }
    processes = {}
    try:
        for name, values in kinds.items():
            command = [sys.executable, "-m", "bench.loads", name]
            command += [json.dumps({"bootstrap": run.broker.bootstrap, **values})]
            processes[name] = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        yield processes
    finally:
        for process in processes.values():
            process.terminate()
            process.wait(30)


def _row(run: Run, load: dict[str, "subprocess.Popen[str]"], seconds: float, began: float) -> Numbers:
    """What was seen in the next so many seconds."""
    before, started = run.usage, time.monotonic()
    time.sleep(seconds)
    usage, took = run.usage, time.monotonic() - started
    return {
        "minute": (time.monotonic() - began) / 60,
        "rss_mb": usage.rss_mb,
        "descriptors": usage.descriptors,
        "cpu_percent": (usage.cpu_s - before.cpu_s) / took * 100,
        **_ask(load),
    }


def _ask(load: dict[str, "subprocess.Popen[str]"]) -> Numbers:
    """What each part of the load has done since the last call."""
    seen: Numbers = {}
    for name, process in load.items():
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.poll() is None, f"{name} ended"
        process.stdin.write("\n")
        process.stdin.flush()
        seen |= json.loads(process.stdout.readline())
    return seen


_COLUMNS = {
    "minute": "minute", "rss_mb": "MB", "descriptors": "fds", "cpu_percent": "CPU %", "produced_mb": "MB produced",
    "consumed_mb": "MB consumed", "requests": "requests", "connections": "connections", "topics": "topics",
    "transactions": "transactions", "p50_ms": "p50 ms", "p99_ms": "p99 ms", "p999_ms": "p99.9 ms",
}  # fmt: skip
_HEADS = " ".join(f"{head:>12}" for head in _COLUMNS.values())


def _line(row: Numbers) -> str:
    return " ".join(f"{row[name]:>12,.3g}" if row[name] < 1000 else f"{row[name]:>12,.0f}" for name in _COLUMNS)
