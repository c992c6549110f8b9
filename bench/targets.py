"""What kwire promises beside Apache Kafka, row by row, and whether a run kept it."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Seen = Mapping[str, Mapping[str, Sequence[Mapping[str, float]]]]  # row -> kind -> round -> number -> value


@dataclass(frozen=True)
class Target:
    """A bound for kwire's number, as a multiple of Apache Kafka's unless ``absolute``."""

    bound: float
    at_least: bool = False
    absolute: bool = False

    def kept(self, ours: float, theirs: float) -> bool:
        limit = self.bound if self.absolute else self.bound * theirs
        return ours >= limit if self.at_least else ours <= limit

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        if self.absolute:
            return f"{sign} {self.bound:g}"
        fraction = 1 / self.bound
        if self.bound < 1 and abs(fraction - round(fraction)) < 1e-9:
            return f"{sign} 1/{round(fraction)}"
        return f"{sign} {self.bound:g} x"


_FASTER = Target(1.0, at_least=True)

TLS_PREFIX = "TLS, "  # of rows over a TLS listener, for which nothing is promised

TARGETS: dict[tuple[str, str], Target] = {
    ("start", "cpu_s"): Target(1 / 10),
    ("idle memory", "rss_mb"): Target(1 / 8),
    ("memory after the load", "rss_mb"): Target(1 / 8),
    ("produce 1 KB", "cpu_s_per_gb"): Target(1 / 3),
    ("produce 100 B", "cpu_s_per_gb"): Target(1 / 8),
    ("produce 10 KB", "cpu_s_per_gb"): Target(1 / 3),
    ("consume 1 KB", "cpu_s_per_gb"): Target(1.0),
    ("pipelined", "requests_per_s"): Target(3.0, at_least=True),
    ("pipelined", "cpu_us_per_request"): Target(1 / 3),
    ("one in flight", "requests_per_s"): Target(1.3, at_least=True),
    ("end to end latency", "p50_ms"): Target(1.0),
    ("end to end latency", "p99_ms"): Target(1.0),
    ("end to end latency", "p999_ms"): Target(1.0),
    ("end to end latency, no pause", "p50_ms"): Target(1.0),
    ("end to end latency, no pause", "p99_ms"): Target(1.0),
    ("end to end latency, no pause", "p999_ms"): Target(1.0),
    ("latency, 10,000 partitions", "p50_ms"): Target(1.0),
    ("latency, 10,000 partitions", "p99_ms"): Target(1.0),
    ("latency, 10,000 partitions", "p999_ms"): Target(1.0),
    ("1,000 connections", "cpu_s"): Target(1 / 2),
    ("1,000 connections", "kb_each"): Target(20, absolute=True),
    ("1,000 topics", "create_s"): Target(1.0),
    ("1,000 topics", "metadata_ms"): Target(1 / 2),
    ("first group of five", "seconds"): Target(1 / 3),
    ("later group of five", "seconds"): Target(1.0),
}


def target_of(row: str, number: str) -> Target | None:
    """The promise for one number; every throughput of a produce or consume row without TLS has the same."""
    return TARGETS.get((row, number)) or (_FASTER if number == "mb_per_s" and not row.startswith(TLS_PREFIX) else None)


@dataclass(frozen=True)
class Verdict:
    """One number of one row over all rounds. ``ratio`` is of the medians."""

    row: str
    number: str
    ours: Sequence[float]
    theirs: Sequence[float]
    target: Target | None

    @property
    def ratio(self) -> float | None:
        if not self.ours or not self.theirs or not statistics.median(self.theirs):
            return None
        return statistics.median(self.ours) / statistics.median(self.theirs)

    @property
    def rounds_kept(self) -> int:
        assert self.target is not None
        return sum(self.target.kept(*pair) for pair in zip(self.ours, self.theirs, strict=False))

    @property
    def holds(self) -> bool | None:
        """Whether the medians keep the promise; None where nothing is promised or nothing can be compared."""
        if self.target is None or not self.ours or not self.theirs:
            return None
        return self.target.kept(statistics.median(self.ours), statistics.median(self.theirs))

    @property
    def words(self) -> str:
        """ "holds", or "does not", and in how many rounds."""
        if self.holds is None:
            return ""
        rounds = min(len(self.ours), len(self.theirs))
        return f"{'holds' if self.holds else 'DOES NOT'} {self.rounds_kept}/{rounds}"


def verdicts(seen: Seen) -> list[Verdict]:
    return [
        Verdict(
            row,
            number,
            [numbers[number] for numbers in by_kind.get("kwire", ())],
            [numbers[number] for numbers in by_kind.get("apache", ())],
            target_of(row, number),
        )
        for row, by_kind in seen.items()
        for number in _numbers(by_kind)
    ]


def _numbers(by_kind: Mapping[str, Sequence[Mapping[str, float]]]) -> list[str]:
    return next((list(rounds[0]) for rounds in by_kind.values() if rounds), [])
