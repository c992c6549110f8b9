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
