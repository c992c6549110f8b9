"""`python -m bench growth`: how cost grows with partitions, connections, bytes of log and groups.

What is done once for all (a start, a list of all) may take as many times longer as there is more of it; what is done
for one (a request, a connection) may not take longer because there are more of them.
"""

import argparse
import itertools
import time
from collections.abc import Callable, Mapping, Sequence

from bench import sparse
from bench.report import machine, short, write_json
from bench.run import Numbers, Run

Axis = Callable[[Run, int, float], Numbers]

# Costs of a single item, which should stay constant. Every other number may grow as fast as the input.
_OF_ONE = (
    "_us_per_partition", "_us_per_request", "_us_per_connection", "_us_per_waiter", "_us_per_group", "_us_per_commit",
    "_us_per_fetch", "_kb_each", "p50_ms", "p99_ms", "fetch_ms", "first_fetch_ms",
)  # fmt: skip
# Measurements waver: only what is beyond this counts as growth.
_FLAT = 2.0
_LINEAR = 1.3


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench growth", description=__doc__)
    parser.add_argument("axes", nargs="*", choices=[[], *AXES], help="default: all")
    parser.add_argument("--kind", choices=("kwire", "apache"), default="kwire")
    parser.add_argument("--idle", type=float, default=70, help="seconds for which an idle broker is watched (70)")
    parser.add_argument("--sizes", type=int, nargs="*", help="instead of an axis's own")
    parser.add_argument("--json", help="write everything measured to this file")
    options = parser.parse_args(arguments)
    seen: dict[str, dict[str, Numbers]] = {}
    for name in options.axes or AXES:
        measure, sizes = AXES[name]
        seen[name] = {}
        for size in options.sizes or sizes:
            run = Run(options.kind)
            try:
                started = time.monotonic()
                seen[name][str(size)] = numbers = measure(run, size, options.idle)
            finally:
                run.broker.kill()
                run.remove()
            shown = "  ".join(f"{number} {short(value)}" for number, value in numbers.items())
            print(f"{size:>6} {name}: {shown}  [{time.monotonic() - started:.0f} s]", flush=True)
        print(table(name, seen[name]), flush=True)
    if options.json:
        write_json(options.json, {"machine": machine(1.0, 1, pinned=False), "kind": options.kind, "axes": seen})
    return 0


def table(axis: str, by_size: Mapping[str, Numbers]) -> str:
    sizes = list(by_size)
    lines = ["", f"{axis:32}" + "".join(f"{int(size):>10,}" for size in sizes) + "  growth"]
    for number, (values, words) in judged(by_size).items():
        lines.append(f"{number:32}" + "".join(f"{short(value):>10}" for value in values) + f"  {words}")
    return "\n".join([*lines, ""])


def judged(by_size: Mapping[str, Numbers]) -> dict[str, tuple[list[float], str]]:
    """Each number at all sizes, and whether it grows faster than allowed, in words."""
    sizes = [int(size) for size in by_size]
    found = {}
    for number in next(iter(by_size.values()), {}):
        values = [numbers[number] for numbers in by_size.values()]
        found[number] = (values, _words(number, sizes, values))
    return found


def _words(number: str, sizes: Sequence[int], values: Sequence[float]) -> str:
    if len(sizes) < 2 or not values[0]:
        return ""
    # At small sizes the fixed cost dominates, and memory is allocated in pages.
    middle = (len(values) - 1) // 2
    if number.endswith(_OF_ONE):
        times = max(values[middle:]) / values[middle]
        return "flat" if times <= _FLAT else f"GROWS {short(times)} times"
    times = max(values) / values[0]
    for (small, before), (large, after) in itertools.pairwise(zip(sizes, values, strict=True)):
        if before and after / before > large / small * _LINEAR:
            return f"FASTER than its input from {small:,} to {large:,}"
    return "flat" if times <= _FLAT else "no faster than its input"


def partitions(run: Run, count: int, idle_s: float) -> Numbers:
    """Topics of up to 100 partitions, a record in each, then requests to all of them by turns."""
    run.start()
    idle_mb = run.usage.rss_mb
    each = min(count, 100)
    before, began = run.usage.cpu_s, time.perf_counter()
    topics = [run.topic(each) for _ in range(count // each)]
    created_s, created_cpu_s = time.perf_counter() - began, run.usage.cpu_s - before
    before = run.usage.cpu_s
    for topic in topics:
        run.load("touch", topic=topic, partitions=each)
    touched_cpu_s = run.usage.cpu_s - before
    requests = max(20_000, 2 * count)
    _, spread_cpu_s = run.load("spread_requests", topics=topics, partitions=each, requests=requests)
    lively = run.load("latency", topic=topics[0], records=5000)[0]
    metadata = run.load("all_metadata", times=5)[0]
    loaded_mb = run.usage.rss_mb
    idle = _idle(run, idle_s)
    return {
        "create_s": created_s,
        "create_cpu_us_per_partition": created_cpu_s / count * 1e6,
        "first_cpu_us_per_partition": touched_cpu_s / count * 1e6,
        "cpu_us_per_request": spread_cpu_s / requests * 1e6,
        "p50_ms": lively["p50_ms"],
        "p99_ms": lively["p99_ms"],
        "metadata_ms": metadata["ms"],
        "memory_mb": loaded_mb,
        "memory_kb_each": max(0.0, loaded_mb - idle_mb) * 1024 / count,
        **idle,
        **_restart(run),
    }


def connections(run: Run, count: int, idle_s: float) -> Numbers:
    """Open connections; send one request at a time on each in turn; let all wait for the same record."""
    run.start()
    topic = run.topic()
    run.load("touch", topic=topic, partitions=1)  # what a first request pays once
    requests = 10_000
    usages = [run.usage]
    with run.held("many_connections", topic=topic, count=count, requests=requests) as load:
        usages.append(run.usage)
        for _ in ("requests", "waiting"):
            load.go_on()
            usages.append(run.usage)
        idle = _idle(run, min(idle_s, 20))
        usages.append(run.usage)
        load.go_on()
        usages.append(run.usage)
    opened, requested, parked, _, woken = (after.cpu_s - before.cpu_s for before, after in itertools.pairwise(usages))
    return {
        "open_cpu_us_per_connection": opened / count * 1e6,
        "memory_kb_each": (usages[1].rss_mb - usages[0].rss_mb) * 1024 / count,
        "cpu_us_per_request": requested / requests * 1e6,
        "park_cpu_us_per_waiter": parked / count * 1e6,
        "waiting_kb_each": (usages[3].rss_mb - usages[0].rss_mb) * 1024 / count,
        "wake_cpu_us_per_waiter": woken / count * 1e6,
        "all_woken_ms": load.seen["all_woken_ms"],
        **idle,
    }


def gigabytes(run: Run, count: int, _idle_s: float) -> Numbers:
    """One partition with a log of so many GB, started on after a clean stop and after a kill."""
    run.start()
    topic = run.topic()
    run.load("touch", topic=topic, partitions=1)
    run.stop(keep=True)
    end_offset = sparse.fill(run.broker.data, topic, count)
    run.start()
    start_s, start_cpu_s = run.start_seconds, run.started.cpu_s
    times = 200
    seen, cpu_s = run.load("fetch_middle", topic=topic, end_offset=end_offset, times=times)
    memory_mb = run.usage.rss_mb
    run.load("touch", topic=topic, partitions=1)
    run.broker.kill()
    run.start()
    return {
        "start_s": start_s,
        "start_cpu_s": start_cpu_s,
        "first_fetch_ms": seen["first_ms"],
        "fetch_ms": seen["ms"],
        "cpu_us_per_fetch": cpu_s / times * 1e6,
        "memory_mb": memory_mb,
        "start_after_kill_s": run.start_seconds,
        "start_after_kill_cpu_s": run.started.cpu_s,
    }


def groups(run: Run, count: int, idle_s: float) -> Numbers:
    """Classic groups of one member each, which commit by turns."""
    run.start()
    topic = run.topic()
    commits = 10_000
    usages = [run.usage]
    with run.held("many_groups", topic=topic, count=count, commits=commits) as load:
        usages.append(run.usage)
        load.go_on()
        usages.append(run.usage)
        load.go_on()
        idle = _idle(run, min(idle_s, 20))
    restarted = _restart(run)
    run.start()
    before = time.perf_counter()
    run.load("committed", group_id="g-0")
    return {
        "create_cpu_us_per_group": (usages[1].cpu_s - usages[0].cpu_s) / count * 1e6,
        "memory_kb_each": (usages[1].rss_mb - usages[0].rss_mb) * 1024 / count,
        "cpu_us_per_commit": (usages[2].cpu_s - usages[1].cpu_s) / commits * 1e6,
        "list_ms": load.seen["list_ms"],
        **idle,
        **restarted,
        "first_offset_s": time.perf_counter() - before,
    }


def _idle(run: Run, seconds: float) -> Numbers:
    """CPU of a broker without requests; the first minute includes flushing what was written."""
    before = run.usage.cpu_s
    time.sleep(seconds)
    return {"idle_cpu_ms_per_s": (run.usage.cpu_s - before) * 1000 / seconds}


def _restart(run: Run) -> Numbers:
    """Stop in order, start again, stop."""
    began = time.perf_counter()
    run.stop(keep=True)
    stop_s = time.perf_counter() - began
    run.start()
    numbers = {"stop_s": stop_s, "start_s": run.start_seconds, "start_cpu_s": run.started.cpu_s}
    run.stop(keep=True)
    return numbers


AXES: dict[str, tuple[Axis, Sequence[int]]] = {
    "partitions": (partitions, (1, 10, 100, 1000, 10_000)),
    "connections": (connections, (10, 100, 1000, 5000)),
    "gigabytes": (gigabytes, (1, 10, 100)),
    "groups": (groups, (10, 100, 1000, 10_000)),
}
