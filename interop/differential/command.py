"""python -m interop differential --seeds N [--first S] [--only KIND] | --replay FILE

Runs N random sequences of requests against Apache Kafka and kwire and compares what they answer. A sequence whose
answers differ is run again; when it differs again it is shortened and printed as a script, one operation a line with
both answers below it, which --replay takes. Ends with 0 when no sequence differed. SIGINT and SIGTERM end the brokers
too.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from interop.brokers import Apache, Kwire
from interop.case import World
from interop.differential.comparison import Outcome, compare
from interop.differential.operations import Operation, read_script, to_line
from interop.differential.sequences import KINDS, REPEATED, sequence
from interop.differential.shrinking import shrunk
from interop.oracle.asker import Asker
from interop.oracle.stories.share_groups import warm_share_coordinator
from interop.oracle.story import warm
from interop.processes import end_with

# Members of the newer protocols get what they are to have at once, and may have short sessions. An interval of
# heartbeats that is set is the same on both brokers.
SETTINGS = {
    "group.min.session.timeout.ms": "100",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "200",
    "group.streams.initial.rebalance.delay.ms": "0",
    **{
        f"group.{kind}.{name}.ms": value
        for kind in ("consumer", "share", "streams")
        for name, value in (
            ("assignment.interval", "0"),
            ("heartbeat.interval", "5000"),
            ("min.heartbeat.interval", "500"),
            ("min.session.timeout", "1000"),
        )
    },
}
# The quick compiler alone: it starts sooner, and leaves the processors to the brokers' work.
JVM = ("-Xmx768m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
# How many sequences one pair of brokers sees: topics and groups that were deleted leave something behind in Apache.
SEQUENCES_PER_PAIR = 250
# Most of a sequence's time is waiting.
SIDE_BY_SIDE = 4


@dataclass
class Tally:
    sequences: int = 0
    operations: int = 0
    unsteady: int = 0
    failures: dict[int, str] = field(default_factory=dict)  # seed -> script
    kinds: dict[tuple[str, str], int] = field(default_factory=dict)  # kind of difference -> the first seed that has it


class Pair:
    """Apache Kafka and kwire, started when first needed and again after so many sequences."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._used = 0
        self._brokers: tuple[Apache | Kwire, Apache | Kwire] | None = None

    def get(self, sequences: int = 1) -> tuple[Apache | Kwire, Apache | Kwire]:
        if self._brokers and (self._used >= SEQUENCES_PER_PAIR or not all(one.alive for one in self._brokers)):
            self.close()
        if self._brokers is None:
            kinds = ("apache", "apache" if self._world.target == "apache" else "kwire")
            apache, other = (self._world.own(kind, "differential", SETTINGS, None) for kind in kinds)
            for broker in (apache, other):
                if isinstance(broker, Apache):
                    broker.jvm = JVM
                broker.start()
                warm(broker)
                warm_share_coordinator(Asker(broker.port, "warm", eager=False))
            self._brokers, self._used = (apache, other), 0
        self._used += sequences
        return self._brokers

    def close(self) -> None:
        for broker in self._brokers or ():
            broker.kill()
            shutil.rmtree(broker.folder, ignore_errors=True)
        self._brokers = None


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    folder = Path(tempfile.mkdtemp(prefix="kwire-differential-"))
    world = World(options.target, folder)
    end_with(world.close)
    try:
        if options.replay:
            return replay(world, Path(options.replay))
        seeds = range(options.first, options.first + options.seeds)
        tally = run(world, seeds, options.only, share=options.repeated, shrink_s=options.shrink)
    finally:
        world.close()
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{tally.sequences} sequences, {tally.operations} operations, {tally.unsteady} that differed only once,")
    print(f"{len(tally.failures)} that differ: {' '.join(map(str, tally.failures)) or 'none'}")
    return 1 if tally.failures else 0


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="interop differential", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=20, help="how many sequences")
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--only", choices=list(KINDS), default="", help="only this kind of sequence")
    parser.add_argument(
        "--repeated", type=float, default=REPEATED, help="share of requests with an item of a list twice"
    )
    parser.add_argument("--shrink", type=float, default=120, help="seconds to shorten a sequence; 0: print it as it is")
    parser.add_argument("--replay", metavar="FILE", help="run the script in FILE instead")
    parser.add_argument("--target", choices=["kwire", "apache"], default="kwire", help="what is beside Apache Kafka")
    return parser.parse_args(arguments)


def run(world: World, seeds: range, only: str = "", *, share: float = REPEATED, shrink_s: float = 120) -> Tally:
    """Compares the sequences of these seeds. World gives the brokers and the target."""
    tally, pair = Tally(), Pair(world)
    for start in range(seeds.start, seeds.stop, SIDE_BY_SIDE):
        some = range(start, min(start + SIDE_BY_SIDE, seeds.stop))
        sequences = {seed: sequence(seed, only, share) for seed in some}
        started = time.monotonic()
        brokers = pair.get(len(sequences))
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            outcomes = dict(zip(sequences, pool.map(partial(compare, *brokers), sequences.values()), strict=True))
        tally.sequences += len(sequences)
        tally.operations += sum(map(len, sequences.values()))
        for seed, outcome in outcomes.items():
            if outcome.differences:
                judge(pair, seed, sequences[seed], outcome, tally=tally, shrink_s=shrink_s)
        print(f"# seeds {start}-{max(sequences)}: {time.monotonic() - started:.1f} s", file=sys.stderr, flush=True)
    pair.close()
    return tally


def judge(
    pair: Pair, seed: int, operations: list[Operation], outcome: Outcome, *, tally: Tally, shrink_s: float
) -> None:
    """Answers that depend on the clock may differ on a busy machine: only what differs each time is a failure."""
    steady = outcome.differences
    for _ in range(2):
        if steady:
            kinds = {one.kind for one in steady}
            steady = [one for one in compare(*pair.get(), operations).differences if one.kind in kinds]
    steady = [one for one in steady if one.kind not in tally.kinds] or steady
    if not steady:
        tally.unsteady += 1
        first = outcome.differences[0]
        print(f"# seed {seed} differed not each time: {first.label}{shortened(first.lines[0])}", flush=True)
        return

    kind, place = steady[0].kind, steady[0].place

    def fails(tried: list[Operation]) -> bool:
        return any(one.kind == kind for one in compare(*pair.get(), tried).differences)

    title = f"seed {seed}: {kind[0]} {kind[1]}"
    if kind in tally.kinds:
        tally.failures[seed] = f"# {title}: as seed {tally.kinds[kind]}"
    else:
        tally.kinds[kind] = seed
        operations = shrunk(operations, fails, place=place, seconds=shrink_s) if shrink_s else operations
        tally.failures[seed] = script(operations, compare(*pair.get(), operations), title)
    print(tally.failures[seed] + "\n", flush=True)


def replay(world: World, path: Path) -> int:
    operations = read_script(path.read_text().splitlines())
    pair = Pair(world)
    outcome = compare(*pair.get(), operations)
    print(script(operations, outcome, str(path)))
    pair.close()
    return 1 if outcome.differences else 0


def script(operations: list[Operation], outcome: Outcome, title: str) -> str:
    """The operations, and below each what was answered; that of an operation that differs for both brokers."""
    lines = [f"# {title}"]
    differing = {one.place: one for one in outcome.differences}
    for place, operation in enumerate(operations):
        lines.append(to_line(operation))
        if place in differing:
            lines += [f"#   DIFFERS (Apache Kafka / the other) {line}" for line in differing[place].lines[:12]]
        elif operation.api:
            lines.append("#   " + shortened(json.dumps(outcome.answers[1][place])))
    if -1 in differing:
        lines += ["# " + line.replace("\n", "\n# ") for line in differing[-1].lines]
    return "\n".join(lines)


def shortened(text: str) -> str:
    return text if len(text) < 300 else text[:200] + " ... " + text[-80:]
