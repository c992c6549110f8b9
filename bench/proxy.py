"""`python -m bench proxy`: what `kwire proxy` adds to a request and to a gigabyte, beside the same load without it.

Each load runs by turns directly against one kwire broker, through a proxy, and through proxies whose clients use TLS,
or in which a rule names the API of the load, so that its requests are decoded.
"""

import argparse
import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench.measure import cpu_s
from bench.report import machine, short, spread, unit, write_json
from bench.run import Numbers, Run
from bench.tls import CA_VARIABLE
from interop.brokers import PYTHON
from interop.tls import Certificates, key_stores

DIRECT = "direct"
PLAIN = "proxy"
TLS = "proxy, clients with TLS"
RULE = "proxy, a rule that names the API"
WAYS = (DIRECT, PLAIN, TLS, RULE)

Seen = dict[str, dict[str, list[Numbers]]]  # row -> way -> round -> number -> value


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench proxy", description=__doc__)
    parser.add_argument("rows", nargs="*", help="rows to run, by a part of their name (default: all)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="how much of each load, default 1")
    parser.add_argument("--json", help="write everything measured to this file")
    options = parser.parse_args(arguments)
    rows = [row for row in ROWS if not options.rows or any(word in row for word in options.rows)]
    seen = measure(rows, options.rounds, options.scale)
    print(markdown(seen))
    print(sentence(seen))
    if options.json:
        about = machine(options.scale, options.rounds, pinned=False)
        write_json(options.json, {"machine": about, "rows": seen})
    return 0


def measure(rows: Sequence[str], rounds: int, scale: float) -> Seen:
    """Run the rows by turns on all ways."""
    seen: Seen = {row: {way: [] for way in WAYS} for row in rows}
    run = Run("kwire", scale=scale)
    run.start()
    try:
        with contextlib.ExitStack() as stack:
            ways = [stack.enter_context(_way(run, name)) for name in WAYS]
            for number in range(rounds):
                for row in rows:
                    for way in ways:
                        seen[row][way.name].append(numbers := ROWS[row](way))
                        shown = "  ".join(f"{name} {short(value)}" for name, value in numbers.items())
                        print(f"round {number + 1}/{rounds} {row:28} {way.name:34} {shown}", flush=True)
    finally:
        run.stop()
    return seen


@dataclass
class Way:
    """How a load reaches the broker. ``pid`` is the proxy's process, None without one."""

    name: str
    run: Run
    bootstrap: str
    pid: int | None = None
    ca: str | None = None

    def load(self, name: str, **values: Any) -> tuple[Numbers, float]:
        """Run a load; give its numbers and the CPU seconds of the proxy and the broker together."""
        if self.ca is not None:
            self.run.environment[CA_VARIABLE] = self.ca
        before = self._proxy_cpu_s()
        try:
            seen, broker_s = self.run.load(name, bootstrap=self.bootstrap, **values)
        finally:
            self.run.environment.pop(CA_VARIABLE, None)
        return seen, broker_s + self._proxy_cpu_s() - before

    def _proxy_cpu_s(self) -> float:
        return 0.0 if self.pid is None else cpu_s(self.pid)


@contextlib.contextmanager
def _way(run: Run, name: str) -> Iterator[Way]:
    if name == DIRECT:
        yield Way(name, run, run.broker.bootstrap)
        return
    command = [PYTHON, "-P", "-m", "kwire", "proxy", "--upstream", run.broker.bootstrap, "--log-level", "warning"]
    ca = None
    if name == TLS:
        certificates = Certificates(run.folder / "certificates")
        settings = Path(run.folder / "listener.properties")
        settings.write_text("".join(f"{key}={value}\n" for key, value in key_stores(certificates).items()))
        command += ["--listen", "SSL://localhost:0", "--listener-config", str(settings)]
        ca = str(certificates.ca)
    else:
        command += ["--listen", "localhost:0"]
    if name == RULE:
        command += ["--control", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        bootstrap = process.stdout.readline().rpartition("://")[2].strip()
        assert bootstrap, "the proxy did not start"
        if name == RULE:
            _add_rule(process.stdout.readline().split()[1])
        yield Way(name, run, bootstrap, process.pid, ca)
    finally:
        process.terminate()
        process.communicate(timeout=30)


def _add_rule(control: str) -> None:
    """A rule that matches no request, but makes each of these APIs decoded."""
    rule = ["api=Produce,Fetch", "topic=no-such-topic", "error=NOT_LEADER_OR_FOLLOWER"]
    ctl = [PYTHON, "-P", "-m", "kwire", "ctl", "faults", "add", *rule]
    subprocess.run(ctl, env={**os.environ, "KWIRE_CONTROL_URL": control}, check=True, stdout=subprocess.DEVNULL)


def one_in_flight(way: Way) -> Numbers:
    requests = int(10_000 * way.run.scale)
    seen, cpu = way.load("round_trips", topic=way.run.topic(), requests=requests)
    return {"p50_ms": seen["p50_ms"], "p99_ms": seen["p99_ms"], "cpu_us_per_request": cpu / requests * 1e6}


def pipelined(way: Way) -> Numbers:
    requests = int(40_000 * way.run.scale)
    seen, cpu = way.load("small_requests", topic=way.run.topic(), requests=requests, depth=64)
    return {"requests_per_s": seen["requests"] / seen["seconds"], "cpu_us_per_request": cpu / requests * 1e6}


def produce(way: Way) -> Numbers:
    topic = way.run.topic()
    seen, cpu = way.load("raw_produce", topic=topic, total_mb=max(20, int(500 * way.run.scale)))
    way.run.drop(topic)
    return _per_gb(seen, cpu)


def fetch(way: Way) -> Numbers:
    topic, total_mb = way.run.topic(), max(20, int(500 * way.run.scale))
    way.run.load("raw_produce", topic=topic, total_mb=total_mb)
    seen, cpu = way.load("raw_fetch", topic=topic, total_mb=total_mb)
    way.run.drop(topic)
    return _per_gb(seen, cpu)


def _per_gb(seen: Numbers, cpu: float) -> Numbers:
    return {"cpu_s_per_gb": cpu / (seen["mb"] / 1000), "mb_per_s": seen["mb"] / seen["seconds"]}


ROWS: dict[str, Callable[[Way], Numbers]] = {
    "one in flight": one_in_flight,
    "pipelined": pipelined,
    "produce, prepared requests": produce,
    "fetch, prepared requests": fetch,
}


def markdown(seen: Mapping[str, Mapping[str, Sequence[Numbers]]]) -> str:
    """For ``docs/performance.md``: CPU is that of the proxy and the broker together."""
    lines = [f"| | | {' | '.join(WAYS)} |", f"|---|---|{'---:|' * len(WAYS)}"]
    for row, by_way in seen.items():
        for index, number in enumerate(by_way[DIRECT][0]):
            values = " | ".join(spread([numbers[number] for numbers in by_way[way]]) for way in WAYS)
            lines.append(f"| {'' if index else row} | {unit(number)} | {values} |")
    return "\n".join(lines)


def sentence(seen: Mapping[str, Mapping[str, Sequence[Numbers]]]) -> str:
    """What the plain proxy adds, from the medians."""

    def added(row: str, number: str) -> str:
        of = {way: median(numbers[number] for numbers in seen[row][way]) for way in (DIRECT, PLAIN)}
        return short(of[PLAIN] - of[DIRECT])

    parts = []
    if "one in flight" in seen:
        parts.append(
            f"A request takes {added('one in flight', 'p50_ms')} ms longer at p50, {added('one in flight', 'p99_ms')} "
            f"at p99, and costs {added('one in flight', 'cpu_us_per_request')} µs of CPU more"
        )
    if "pipelined" in seen:
        parts.append(f"{added('pipelined', 'cpu_us_per_request')} µs more where 64 are in flight")
    large = [row for row in ("produce, prepared requests", "fetch, prepared requests") if row in seen]
    parts += [f"a GB to {row.partition(',')[0]} {added(row, 'cpu_s_per_gb')} s more" for row in large]
    return "; ".join(parts) + "."
