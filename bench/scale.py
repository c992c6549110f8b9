"""`python -m bench scale PART`: what clusters cost, and how that grows with brokers and partitions.

    cluster      three brokers and a controller: start, memory, produce and consume with replication factor 3
    failover     from kill -9 of a leader to the first acknowledgement of a record that was sent afterwards
    catchup      the lag of a follower at several rates, and how fast it copies what it missed
    cores        small requests to one broker, and to several at once, which use a core each
    partitions   memory and idle CPU of each node, and the time of a fail-over, by the number of partitions
    model        the controller's decisions and the brokers' metadata, without processes, to 1,000,000 partitions

Each part prints a line for each measurement as it comes; `--json FILE` adds them to a file, by part and kind.
"""

import argparse
import contextlib
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from confluent_kafka.admin import NewTopic

from bench import scale_model
from bench.measure import Usage, usage
from bench.report import machine, short, write_json
from bench.run import OFFICIAL_JVM, Numbers
from bench.scale_loads import Acknowledgements, PacedLoad, load, pipelined
from interop.cluster.replicas import partition_directories
from interop.cluster.rig import APACHE, KWIRE, Node, Rig

KINDS = (KWIRE, APACHE)
TOPIC = "scale"
# Kafka's defaults, instead of the short times of the rig; internal topics have 50 partitions.
DEFAULTS = {
    "broker.heartbeat.interval.ms": "2000",
    "broker.session.timeout.ms": "9000",
    "replica.lag.time.max.ms": "30000",
    "offsets.topic.num.partitions": "50",
    "transaction.state.log.num.partitions": "50",
    "log.cleaner.dedupe.buffer.size": "134217728",
}
_SETTLE_S = 5.0


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench scale", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--kind", choices=KINDS, default=KWIRE, help="of the brokers")
    parser.add_argument("--follower", choices=KINDS, help="catchup: the kind of the follower, if another one")
    parser.add_argument("--rounds", type=int, default=3, help="cluster and failover: how many (3)")
    parser.add_argument("--sizes", type=int, nargs="*", help="partitions, model: instead of the usual numbers")
    parser.add_argument("--session-ms", type=int, default=9000, help="failover: broker.session.timeout.ms (9000)")
    parser.add_argument("--rates", type=int, nargs="*", default=(5, 20, 50), help="catchup: MB/s (5 20 50)")
    parser.add_argument("--mb", type=int, default=500, help="cluster: how much is produced (500)")
    parser.add_argument("--json", help="add everything measured to this file")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    seen = PARTS[options.part](options)
    print(f"{options.part} took {time.monotonic() - started:.0f} s", flush=True)
    if options.json:
        add_to(Path(options.json), options, seen)
    return 0


def add_to(path: Path, options: argparse.Namespace, seen: Mapping[str, Numbers]) -> None:
    """Add to a file of measurements; those of the same name are replaced."""
    document = json.loads(path.read_text()) if path.exists() else {"machine": machine(1.0, 1, pinned=False)}
    kind = options.kind if options.follower in (None, options.kind) else f"{options.follower} follows {options.kind}"
    part = options.part if options.part != "failover" else f"failover, session {options.session_ms} ms"
    document.setdefault(part, {}).setdefault("model" if options.part == "model" else kind, {}).update(seen)
    write_json(str(path), document)


def say(name: str, numbers: Numbers) -> None:
    print(f"{name}: " + "  ".join(f"{number} {short(value)}" for number, value in numbers.items()), flush=True)


@contextlib.contextmanager
def cluster(brokers: Sequence[str], settings: Mapping[str, str] | None = None) -> Iterator[Rig]:
    """A cluster that is laid out and not started; kwire's controller unless a Java broker is in it."""
    with tempfile.TemporaryDirectory(prefix="kwire-scale-") as folder:
        rig = Rig(
            Path(folder),
            brokers=brokers,
            controllers=[APACHE if APACHE in brokers else KWIRE],
            settings={**DEFAULTS, **(settings or {})},
            direct=True,
            jvm=OFFICIAL_JVM,
        )
        try:
            yield rig
        finally:
            rig.close()


def create(rig: Rig, topic: NewTopic) -> None:
    admin = rig.admin()  # futures of a client that is collected are cancelled
    admin.create_topics([topic], request_timeout=120)[topic.topic].result(130)


def usages(rig: Rig) -> dict[str, Usage]:
    return {node.name: usage(node.process.pid) for node in rig.nodes if node.process is not None}


def cpu_s(rig: Rig) -> float:
    """Of all nodes."""
    return sum(one.cpu_s for one in usages(rig).values())


# --- cluster ---------------------------------------------------------------------------------------------------------


def of_three(options: argparse.Namespace) -> dict[str, Numbers]:
    rounds: dict[str, list[Numbers]] = {}
    for _ in range(options.rounds):
        with cluster([options.kind] * 3) as rig:
            for node in rig.nodes:  # formatted before, so that a start is a start
                node.write_file()
                node.format()
            for name, numbers in one_cluster(rig, options.mb):
                say(name, numbers)
                rounds.setdefault(name, []).append(numbers)
    medians = {
        name: {number: statistics.median(one[number] for one in measured) for number in measured[0]}
        for name, measured in rounds.items()
    }
    for name, numbers in medians.items():
        say(f"median, {name}", numbers)
    return medians


def one_cluster(rig: Rig, mb: int) -> Iterator[tuple[str, Numbers]]:
    started = time.perf_counter()
    rig.start()
    yield "start", {"seconds": time.perf_counter() - started, "cpu_s": cpu_s(rig)}
    time.sleep(_SETTLE_S)  # so that what follows a start is not measured
    yield "idle memory", memory(rig)
    create(rig, NewTopic(TOPIC, 3, 3))
    rig.wait_in_sync()
    # The JVM compiles what is called often; what it costs until then is not measured here.
    load("produce", bootstrap=rig.bootstrap, topic=TOPIC, record_bytes=1000, total_mb=2 * mb, partitions=3)
    for name, record_bytes, total in (("produce 1 KB", 1000, mb), ("produce 100 B", 100, mb // 5)):
        before = cpu_s(rig)
        numbers = load(
            "produce", bootstrap=rig.bootstrap, topic=TOPIC, record_bytes=record_bytes, total_mb=total, partitions=3
        )
        yield name, per_gb(numbers, cpu_s(rig) - before)
    create(rig, NewTopic("read", 3, 3))
    load("produce", bootstrap=rig.bootstrap, topic="read", record_bytes=1000, total_mb=mb, partitions=3)
    rig.wait_in_sync()
    before = cpu_s(rig)
    numbers = load("consume", bootstrap=rig.bootstrap, topic="read", records=mb * 1000, record_bytes=1000, partitions=3)
    yield "consume 1 KB", per_gb(numbers, cpu_s(rig) - before)
    yield "memory after the load", memory(rig)


def memory(rig: Rig) -> Numbers:
    seen = usages(rig)
    brokers = [seen[node.name].rss_mb for node in rig.brokers if node.name in seen]
    controller = sum(seen[node.name].rss_mb for node in rig.controllers if node.name in seen)
    return {"all_mb": sum(brokers) + controller, "broker_mb": statistics.mean(brokers), "controller_mb": controller}


def per_gb(numbers: Numbers, cpu: float) -> Numbers:
    return {"mb_per_s": numbers["mb"] / numbers["seconds"], "cpu_s_per_gb": cpu / (numbers["mb"] / 1000)}


# --- failover --------------------------------------------------------------------------------------------------------


def failover(options: argparse.Namespace) -> dict[str, Numbers]:
    """librdkafka with default settings writes to one partition; its leader is killed."""
    settings = {
        "broker.session.timeout.ms": str(options.session_ms),
        "broker.heartbeat.interval.ms": str(min(2000, options.session_ms // 4)),
    }
    took = []
    with cluster([options.kind] * 3, settings) as rig:
        rig.start()
        create(rig, NewTopic(TOPIC, 1, 3))
        for number in range(options.rounds):
            rig.wait_in_sync()
            with Acknowledgements(rig.bootstrap, TOPIC) as acknowledgements:
                time.sleep(_SETTLE_S)  # so that what follows a start is not measured
                node = rig.broker(rig.leaders(TOPIC)[0])
                killed = time.perf_counter()
                node.kill()
                took.append(acknowledgements.first_sent_after(killed) - killed)
            say(f"{options.kind}, round {number + 1}", {"seconds": took[-1]})
            node.start()
            node.wait()
    return {
        "kill -9 of a leader to the first new acknowledgement": {
            "seconds": statistics.median(took),
            "least_s": min(took),
            "most_s": max(took),
        }
    }


# --- catchup ---------------------------------------------------------------------------------------------------------


def catchup(options: argparse.Namespace) -> dict[str, Numbers]:
    kinds = [options.kind, options.follower or options.kind]
    settings = {"broker.session.timeout.ms": "3000", "broker.heartbeat.interval.ms": "500", "min.insync.replicas": "1"}
    seen = {}
    with cluster(kinds, settings) as rig:
        rig.start()
        for rate in options.rates:
            topic = f"{TOPIC}-{rate}"
            create(rig, NewTopic(topic, num_partitions=1, replica_assignment=[[1, 2]]))
            rig.wait_in_sync()
            seen[f"{rate} MB/s"] = numbers = at_rate(rig, topic, rate)
            say(f"{kinds[1]} follows {kinds[0]} at {rate} MB/s", numbers)
            admin = rig.admin()
            admin.delete_topics([topic])[topic].result(60)
    return seen


def at_rate(rig: Rig, topic: str, rate: int, *, watched_s: float = 8.0, away_s: float = 12.0) -> Numbers:
    """The lag of the follower while a load runs, in MB; then it is away, and copies what it missed beside the load."""
    leader, follower = rig.broker(1), rig.broker(2)
    with PacedLoad(f"127.0.0.1:{leader.port}", topic, rate) as paced:
        time.sleep(3)  # the load is even before lag is measured
        lags = []
        ends = time.perf_counter() + watched_s
        while time.perf_counter() < ends:
            copied = size_of(follower, topic)
            lags.append(max(0, size_of(leader, topic) - copied))
            time.sleep(0.02)  # a sample, until the end above
        follower.kill()
        time.sleep(away_s)  # what the follower misses
        follower.start()
        follower.wait()
        begun, first = time.perf_counter(), size_of(follower, topic)
        missed = size_of(leader, topic) - first
        while size_of(leader, topic) - size_of(follower, topic) > rate * 100_000:
            assert time.perf_counter() < begun + 60, f"not caught up in 60 s\n{rig.tails()}"
            time.sleep(0.01)  # a poll, bounded above
        seconds = time.perf_counter() - begun
        copied_mb = (size_of(follower, topic) - first) / 1e6
        achieved = paced.mb_per_s
    rig.wait_in_sync()
    return {
        "written_mb_per_s": achieved,
        "lag_p50_ms": statistics.median(lags) / rate / 1000,
        "lag_p99_ms": sorted(lags)[len(lags) * 99 // 100] / rate / 1000,
        "missed_mb": missed / 1e6,
        "caught_up_s": seconds,
        "copied_mb_per_s": copied_mb / seconds,
    }


def size_of(node: Node, topic: str) -> int:
    """Bytes of the log of partition 0 that are written."""
    directory = partition_directories(node.data).get(f"{topic}-0")
    return 0 if directory is None else sum(path.stat().st_size for path in directory.glob("*.log"))


# --- cores -----------------------------------------------------------------------------------------------------------


def cores(options: argparse.Namespace, *, seconds: int = 5) -> dict[str, Numbers]:
    """A topic on each broker, which has one replica; a client of its own writes to each."""
    seen: dict[str, list[float]] = {}
    with cluster([options.kind] * 3) as rig:
        rig.start()
        targets = {}
        for node in rig.brokers:
            topic = f"{TOPIC}-{node.id}"
            create(rig, NewTopic(topic, num_partitions=1, replica_assignment=[[node.id]]))
            targets[f"127.0.0.1:{node.port}"] = topic
        pipelined(targets, 2 * seconds)  # warms up
        for _ in range(options.rounds):
            for count in range(1, len(targets) + 1):
                rates = pipelined(dict(list(targets.items())[:count]), seconds)
                seen.setdefault(f"{count} of {len(targets)} brokers", []).append(sum(rates))
                say(f"{options.kind}, {count} brokers", {"requests_per_s": sum(rates)})
    return {name: {"requests_per_s": statistics.median(rates)} for name, rates in seen.items()}


# --- partitions ------------------------------------------------------------------------------------------------------


def partitions(options: argparse.Namespace) -> dict[str, Numbers]:
    seen = {}
    for count in options.sizes or (300, 1000, 3000):
        with cluster([options.kind] * 3, {"num.recovery.threads.per.data.dir": "2"}) as rig:
            rig.start()
            time.sleep(_SETTLE_S)  # so that what follows a start is not measured
            seen[str(count)] = numbers = with_partitions(rig, count)
            say(f"{count:,} partitions, replication factor 3", numbers)
    return seen


def with_partitions(rig: Rig, count: int, *, idle_s: float = 20.0) -> Numbers:
    before = memory(rig)
    started = time.perf_counter()
    for number in range(count // 100):
        create(rig, NewTopic(f"{TOPIC}-{number}", 100, 3))
    rig.wait_in_sync(180)
    created_s = time.perf_counter() - started
    after = memory(rig)
    idle = usages(rig)
    time.sleep(idle_s)  # the span over which the CPU of an idle cluster is measured
    cpus = {name: (one.cpu_s - idle[name].cpu_s) / idle_s * 100 for name, one in usages(rig).items()}
    brokers = [cpus[node.name] for node in rig.brokers]
    killed = time.perf_counter()
    rig.broker(3).kill()
    while not moved_away(rig, 3):
        assert time.perf_counter() < killed + 90, rig.tails()
        time.sleep(0.1)  # a poll, bounded above
    moved_s = time.perf_counter() - killed
    return {
        "create_s": created_s,
        "broker_kb_per_partition": (after["broker_mb"] - before["broker_mb"]) * 1024 / count,
        "controller_kb_per_partition": (after["controller_mb"] - before["controller_mb"]) * 1024 / count,
        "broker_mb": after["broker_mb"],
        "controller_mb": after["controller_mb"],
        "idle_broker_percent_of_a_core": statistics.mean(brokers),
        "idle_controller_percent_of_a_core": cpus[rig.controllers[0].name],
        "leaders_moved_s": moved_s,
    }


def moved_away(rig: Rig, broker: int) -> bool:
    """Whether a broker that lives knows other leaders of all that this one led."""
    topics = rig.admin().list_topics(timeout=20).topics.values()
    return all(partition.leader not in (broker, -1) for topic in topics for partition in topic.partitions.values())


def model(options: argparse.Namespace) -> dict[str, Numbers]:
    seen = {}
    for brokers, count in scale_model.SIZES:
        if options.sizes and count not in options.sizes:
            continue
        name = f"{brokers} brokers, {count} partitions"
        seen[name] = numbers = scale_model.in_a_process(brokers, count)
        say(name, numbers)
    return seen


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Numbers]]] = {
    "cluster": of_three,
    "failover": failover,
    "catchup": catchup,
    "cores": cores,
    "partitions": partitions,
    "model": model,
}
