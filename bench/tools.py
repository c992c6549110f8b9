"""The official performance tools as loads, so that no client of ours can favour kwire."""

import re
import subprocess

from interop import tools as official
from interop.jars import CURRENT, classpath, need

_SENT = re.compile(r"^(\d+) records sent, ([\d.]+) records/sec \(([\d.]+) MB/sec\).* (\d+) ms 99th", re.MULTILINE)
_PERCENTILES = re.compile(r"Percentiles: 50th = (\d+), 99th = (\d+), 99.9th = (\d+)")
_AVERAGE = re.compile(r"Avg latency: ([\d.]+) ms")
_MIB = 1_048_576


def producer_perf(bootstrap: str, topic: str, record_bytes: int, records: int) -> dict[str, float]:
    output = _run(
        "producer-perf-test", "--bootstrap-server", bootstrap, "--topic", topic, "--num-records", records,
        "--record-size", record_bytes, "--throughput", -1,
        "--command-property", "acks=all", "batch.size=1000000", "linger.ms=5", "buffer.memory=134217728",
    )  # fmt: skip
    found = _SENT.findall(output)
    assert found, output
    # The last line is of the whole run. Its MB are MiB.
    count, _, mib_per_s, _ = found[-1]
    return {"mb": int(count) * record_bytes / 1e6, "mb_per_s": float(mib_per_s) * _MIB / 1e6}


def consumer_perf(bootstrap: str, topic: str, records: int) -> dict[str, float]:
    output = _run(
        "consumer-perf-test", "--bootstrap-server", bootstrap, "--topic", topic, "--num-records", records,
        "--timeout", 60_000,
    )  # fmt: skip
    heads, values = (line.split(", ") for line in output.strip().splitlines()[-2:])
    seen = dict(zip(heads, values, strict=True))
    assert int(seen["data.consumed.in.nMsg"]) >= records, output
    mb = float(seen["data.consumed.in.MB"]) * _MIB / 1e6
    # Without the time in which the group was formed.
    return {"mb": mb, "mb_per_s": float(seen["fetch.MB.sec"]) * _MIB / 1e6}


def end_to_end_latency(bootstrap: str, topic: str, records: int) -> dict[str, float]:
    """The tool gives whole milliseconds, save for the mean."""
    output = _run(
        "e2e-latency", "--bootstrap-server", bootstrap, "--topic", topic, "--num-records", records,
        "--producer-acks", "all", "--record-size", 100,
    )  # fmt: skip
    percentiles, average = _PERCENTILES.search(output), _AVERAGE.search(output)
    assert percentiles is not None, output
    assert average is not None, output
    p50, p99, p999 = map(float, percentiles.groups())
    return {"mean_ms": float(average[1]), "p50_ms": p50, "p99_ms": p99, "p999_ms": p999}


def _run(tool: str, *arguments: object) -> str:
    command = [need("java"), "-Xmx512m", "-XX:+UseSerialGC", "-cp", classpath()]
    command += [official.main_class(tool, CURRENT), *map(str, arguments)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=400)
    assert finished.returncode == 0, finished.stdout[-1000:] + finished.stderr[-2000:]
    return finished.stdout
