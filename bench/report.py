"""What was measured, as a table for a terminal, as Markdown and as JSON."""

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.targets import Verdict, verdicts
from interop.brokers import PYTHON
from kwire.kafka_release import RELEASE

_UNITS = {
    "cpu_s": "CPU s",
    "cpu_s_per_gb": "CPU s/GB",
    "mb_per_s": "MB/s",
    "rss_mb": "MB resident",
    "peak_mb": "MB at the peak",
    "kb_each": "KB each",
    "requests_per_s": "requests/s",
    "cpu_us_per_request": "CPU µs/request",
    "cpu_us_per_record": "CPU µs/record",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "p999_ms": "p99.9 ms",
    "mean_ms": "mean ms",
    "create_s": "create s",
    "metadata_ms": "Metadata ms",
    "seconds": "s",
    "least_s": "s, the shortest",
    "most_s": "s, the longest",
    "all_mb": "MB resident, all nodes",
    "broker_mb": "MB resident, a broker",
    "controller_mb": "MB resident, the controller",
    "written_mb_per_s": "MB/s written",
    "lag_p50_ms": "lag p50 ms",
    "lag_p99_ms": "lag p99 ms",
    "missed_mb": "MB missed",
    "caught_up_s": "s until caught up",
    "copied_mb_per_s": "MB/s copied meanwhile",
    "broker_kb_per_partition": "KB per partition, a broker",
    "controller_kb_per_partition": "KB per partition, the controller",
    "idle_broker_percent_of_a_core": "% of a core, an idle broker",
    "idle_controller_percent_of_a_core": "% of a core, the idle controller",
    "leaders_moved_s": "s from kill -9 until all leaders are others",
    "image_mb": "MB of metadata in memory",
    "image_bytes_per_partition": "bytes in memory per partition",
    "snapshot_mb": "MB of a snapshot",
    "snapshot_bytes_per_partition": "bytes of a snapshot per partition",
    "snapshot_write_s": "s to write a snapshot",
    "snapshot_load_s": "s to load a snapshot (a broker that starts)",
    "heartbeat_us": "µs of a heartbeat at the controller",
    "heartbeats_percent_of_a_core": "% of a core for all heartbeats",
    "shutdown_step_ms": "ms of the longest step of a controlled shutdown",
    "fence_records": "records when a broker is fenced",
    "fence_batch_mb": "MB of these records",
    "fence_decide_s": "s to decide them",
    "fence_encode_s": "s to encode them",
    "fence_decode_s": "s to decode them, at each broker",
    "fence_apply_s": "s to apply them, at each node",
    "fence_all_s": "s of all that, one after the other",
    "followed_per_broker": "replicas that a broker follows",
    "leaders_per_broker": "leaders that it follows",
    "partitions_per_session": "partitions of a fetch session",
    "idle_fetches_per_s": "idle fetches/s that it sends",
    "idle_session_us": "µs of the session for an idle fetch",
}


def machine(scale: float, rounds: int, *, pinned: bool) -> dict[str, Any]:
    """What the numbers depend on."""
    import confluent_kafka

    version = [PYTHON, "-P", "-m", "kwire", "--version"]
    kwire = subprocess.run(version, capture_output=True, text=True, check=True).stdout
    java = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr.splitlines()
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "kernel": f"{platform.system()} {platform.release()}",
        "kwire": kwire.strip(),
        "python": platform.python_version(),
        "librdkafka": confluent_kafka.libversion()[0],
        "java": java[0] if java else "none",
        "kafka": f"{RELEASE}, with the JVM options of its own script (heap 1 GB, G1)",
        "pinned": "broker on core 0, load on core 1" if pinned else "no",
        "scale": scale,
        "rounds": rounds,
    }


def table(seen: Mapping[str, Any]) -> str:
    """For a terminal."""
    heads = f"{'row':28} {'number':16} {'kwire median (min-max)':>26} {'Apache median (min-max)':>26}"
    lines = [
        f"{verdict.row:28} {unit(verdict.number):16} {spread(verdict.ours):>26} {spread(verdict.theirs):>26} "
        f"{ratio(verdict):>6}  {target(verdict):9} {verdict.words}".rstrip()
        for verdict in verdicts(seen)
    ]
    return "\n".join(("", f"{heads}  ratio  target", *lines))


def markdown(seen: Mapping[str, Any]) -> str:
    """For ``docs/performance.md``."""
    lines = ["| row | | kwire | Apache Kafka | ratio | promised | |", "|---|---|---:|---:|---:|---|---|"]
    last = ""
    for verdict in verdicts(seen):
        name, last = ("" if verdict.row == last else verdict.row), verdict.row
        lines.append(
            f"| {name} | {unit(verdict.number)} | {spread(verdict.ours)} | {spread(verdict.theirs)} "
            f"| {ratio(verdict)} | {target(verdict)} | {verdict.words} |"
        )
    return "\n".join(lines)


def summary(seen: Mapping[str, Any]) -> str:
    """How many promises hold, and which do not."""
    judged = [verdict for verdict in verdicts(seen) if verdict.holds is not None]
    if not judged:
        return ""
    broken = [f"{verdict.row}, {unit(verdict.number)} ({ratio(verdict)})" for verdict in judged if not verdict.holds]
    words = f"{len(judged) - len(broken)} of {len(judged)} promises hold"
    return f"{words}; not: {'; '.join(broken)}" if broken else words


def write_json(path: str, document: Mapping[str, Any]) -> None:
    Path(path).write_text(json.dumps(document, indent=1) + "\n")


def unit(number: str) -> str:
    return _UNITS.get(number, number)


def spread(values: Sequence[float]) -> str:
    if not values:
        return "-"
    middle = short(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({short(min(values))}-{short(max(values))})"


def short(value: float) -> str:
    """Three digits, and no exponents."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"


def ratio(verdict: Verdict) -> str:
    return "" if verdict.ratio is None else f"{verdict.ratio:.2f}"


def target(verdict: Verdict) -> str:
    return "" if verdict.target is None else str(verdict.target)


def _cpu_name() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()
