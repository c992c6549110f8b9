"""Data directories: what one broker wrote, the official dump tool reads and the other broker serves."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

from interop.advertised import missing
from interop.brokers import Apache, Kwire, copy_data
from interop.case import Run, case
from interop.jars import ROOT

CLIENTS = ROOT / "interop" / "clients"
SCENARIOS = ("codecs", "shapes", "idempotent", "transactions", "commit-and-seek", "acks")


def python(run: Run, program: str, *args: str, timeout_s: float = 120) -> str:
    command = [sys.executable, "-W", "ignore", str(CLIENTS / program), *args]
    return run.program(command, env=dict(os.environ), timeout_s=timeout_s).ok().out


def traffic(run: Run, broker: Apache | Kwire, *, delete_records: bool = True) -> None:
    """Of every kind: codecs, transactions, groups, configs, deletions, growth, small segments, users and quotas."""
    at = ("--bootstrap-server", broker.bootstrap)
    for scenario in SCENARIOS:
        python(run, "confluent.py", broker.bootstrap, scenario, f"d-{scenario}")
    run.tool(
        "topics", *at, "--create", "--topic", "rolled", "--partitions", "2", "--config", "segment.bytes=1048576"
    ).ok()
    for codec in ("none", "zstd"):
        run.tool(
            "producer-perf-test", *at, "--topic", "rolled", "--num-records", "6000", "--record-size", "600",
            "--throughput", "-1", "--command-property", f"compression.type={codec}",
        ).ok()  # fmt: skip
    configs = ("--config", "cleanup.policy=compact", "--config", "segment.ms=60000")
    run.tool("topics", *at, "--create", "--topic", "compacted", *configs).ok()
    lines = [f"k{n % 7}={n}" for n in range(500)]
    key = ("--reader-property", "parse.key=true", "--reader-property", "key.separator==")
    run.produce("compacted", *lines, args=key, server=broker.bootstrap)
    run.tool("topics", *at, "--create", "--topic", "gone").ok()
    run.produce("gone", "never seen again", server=broker.bootstrap)
    run.tool("topics", *at, "--delete", "--topic", "gone").ok()
    run.tool("topics", *at, "--create", "--topic", "grown", "--partitions", "1").ok()
    run.tool("topics", *at, "--alter", "--topic", "grown", "--partitions", "3").ok()
    run.produce("grown", *map(str, range(30)), server=broker.bootstrap)
    run.consume("grown", 30, "--group", "readers", server=broker.bootstrap)
    if delete_records:
        plan = run.folder / "delete.json"
        plan.write_text(json.dumps({"partitions": [{"topic": "rolled", "partition": 0, "offset": 100}], "version": 1}))
        run.tool("delete-records", *at, "--offset-json-file", str(plan)).ok()
    topic = ("--entity-type", "topics", "--entity-name", "grown")
    run.tool("configs", *at, "--alter", *topic, "--add-config", "retention.ms=86400000,max.message.bytes=2000000").ok()
    if not serves_quotas(run, broker):
        return
    user = ("--entity-type", "users", "--entity-name", "alice")
    run.tool("configs", *at, "--alter", *user, "--add-config", "SCRAM-SHA-512=[iterations=4096,password=secret]").ok()
    run.tool("configs", *at, "--alter", *user, "--add-config", "producer_byte_rate=1000000").ok()


def serves_quotas(run: Run, broker: Apache | Kwire) -> bool:
    """Both the broker asked and the one under test: what one writes, the other is to show."""
    both = (broker, run.broker)
    return not any(missing(one, ("DescribeClientQuotas", "AlterClientQuotas")) for one in both)


def inventory(run: Run, broker: Apache | Kwire) -> dict:
    found: dict = json.loads(python(run, "inventory.py", broker.bootstrap))
    at = ("--bootstrap-server", broker.bootstrap)
    described = run.tool("topics", *at, "--describe", "--exclude-internal").ok().lines
    found["described"] = sorted(line for line in described)
    if serves_quotas(run, broker):
        quotas = run.tool("configs", *at, "--describe", "--entity-type", "users", "--entity-name", "alice").ok().lines
        found["quotas"] = sorted(quotas)
    found["transactions"] = [line.split()[0] for line in sorted(run.tool("transactions", *at, "list").ok().lines[1:])]
    return found


def same_inventory(before: dict, after: dict) -> None:
    for kind, written in before.items():
        served = after.get(kind)
        if written == served:
            continue
        if not isinstance(written, dict) or not isinstance(served, dict):
            message = f"{kind} differ:\nwritten {written}\nserved  {served}"
            raise AssertionError(message[:6000])  # noqa: TRY004 - the case failed
        names = [name for name in sorted({*written, *served}) if written.get(name) != served.get(name)]
        lines = [f"{name}\n  written {written.get(name)}\n  served  {served.get(name)}" for name in names]
        raise AssertionError("\n".join([f"{kind} differ:", *lines])[:6000])


@case("datadirs", "dump-log", "every-file", smoke=True, requires=("EndTxn",))
def dump_every_file(run: Run) -> None:
    broker = run.own_broker()
    broker.start()
    traffic(run, broker)
    broker.stop()
    seen: dict[str, int] = {}
    for path in sorted(broker.data.rglob("*")):
        if path.parent.name.endswith("-delete"):
            continue
        if path.suffix in (".log", ".index", ".timeindex", ".snapshot", ".checkpoint", ".txnindex") and path.is_file():
            dump(run, path)
            seen[path.suffix] = seen.get(path.suffix, 0) + 1
    assert set(seen) >= {".log", ".index", ".timeindex", ".snapshot", ".checkpoint", ".txnindex"}, seen


def dump(run: Run, path: Path) -> None:
    args = ["--files", str(path)]
    folder = path.parent.name
    if path.suffix == ".log":
        args += ["--print-data-log", "--deep-iteration"]
    if path.suffix in (".index", ".timeindex"):
        args += ["--index-sanity-check"] if path.suffix == ".index" else []
    if folder.startswith("__consumer_offsets") and path.suffix == ".log":
        args += ["--offsets-decoder"]
    if folder.startswith("__transaction_state") and path.suffix == ".log":
        args += ["--transaction-log-decoder"]
    if folder.startswith("__share_group_state") and path.suffix == ".log":
        args += ["--share-group-state-decoder"]
    if folder.startswith("__cluster_metadata") and path.suffix in (".log", ".checkpoint"):
        args += ["--cluster-metadata-decoder"]
    if path.name == "bootstrap.checkpoint":
        args += ["--cluster-metadata-decoder"]
    if path.suffix == ".txnindex" and path.stat().st_size == 0:
        return
    finished = run.tool("dump-log", *args).ok()
    said = finished.out + finished.err
    for word in (
        "isvalid: false",
        "mismatch",
        "Mismatch",
        "Exception",
        "corrupt",
        "Could not",
        "Failed",
        "out of order",
    ):
        assert word not in said, f"{path.name} of {folder}: {[line for line in said.splitlines() if word in line][:5]}"
    if path.suffix == ".log" and path.stat().st_size and folder.startswith("__"):
        assert "payload" in said or "Record" in said or "baseOffset" in said, said[:500]


def handed_over(run: Run, writer: str, reader: str, *, kill: bool = False) -> None:
    """The reader serves, on a copy, all that the writer held."""
    first = run.own_broker(kind=writer)
    first.start()
    traffic(run, first, delete_records=not kill)  # Apache writes the new start down only once a minute
    before = inventory(run, first)
    if kill:
        first.kill()
    else:
        first.stop()
    second = run.own_broker(kind=reader, data=copy_data(first.data, run.folder / "copy"))
    second.start()
    same_inventory(before, inventory(run, second))
    # It is not only read: the other goes on where the first one ended.
    at = ("--bootstrap-server", second.bootstrap)
    run.produce("grown", *map(str, range(100, 120)), server=second.bootstrap)
    assert sorted(run.consume("grown", 20, "--group", "readers", server=second.bootstrap)) == [
        str(n) for n in range(100, 120)
    ]
    run.tool("topics", *at, "--create", "--topic", "new-here", "--partitions", "2").ok()
    python(run, "confluent.py", second.bootstrap, "transactions", "d-second-life")
    after = inventory(run, second)
    second.stop()
    third = run.own_broker(kind=writer, data=copy_data(second.data, run.folder / "copy-back"))
    third.start()
    same_inventory(after, inventory(run, third))
    third.stop()


@case("datadirs", "handed over", "to-apache-and-back", smoke=True)
def to_apache(run: Run) -> None:
    handed_over(run, run.target, "apache")


@case("datadirs", "handed over", "from-apache-and-back")
def from_apache(run: Run) -> None:
    handed_over(run, "apache", run.target)


@case("datadirs", "handed over", "to-apache-after-kill")
def to_apache_after_kill(run: Run) -> None:
    handed_over(run, run.target, "apache", kill=True)


@case("datadirs", "handed over", "from-apache-after-kill")
def from_apache_after_kill(run: Run) -> None:
    handed_over(run, "apache", run.target, kill=True)


@case("datadirs", "handed over", "to-apache-after-lost-records")
def to_apache_after_lost_records(run: Run) -> None:
    """Apache Kafka starts on a directory with kwire's loss report and .cut files, and leaves both alone."""
    first = run.own_broker({"kwire.recovery.keep.cut.bytes": "true"}, kind="kwire")
    first.start()
    run.tool("topics", "--bootstrap-server", first.bootstrap, "--create", "--topic", "damaged").ok()
    run.produce("damaged", "sound", server=first.bootstrap)
    run.produce("damaged", "lost", server=first.bootstrap)
    first.kill()
    (segment,) = first.data.rglob("damaged-0/*.log")
    content = bytearray(segment.read_bytes())
    content[-1] ^= 1
    segment.write_bytes(content)
    first.start()
    assert run.consume("damaged", 1, server=first.bootstrap) == ["sound"]
    before = inventory(run, first)
    first.stop()
    second = run.own_broker(kind="apache", data=copy_data(first.data, run.folder / "copy"))
    second.start()
    same_inventory(before, inventory(run, second))
    run.produce("damaged", "new", server=second.bootstrap)
    second.stop()
    for pattern in ("kwire-recovery-losses.json", "damaged-0/*.cut"):
        (written,) = first.data.rglob(pattern)
        (left,) = second.data.rglob(pattern)
        assert left.read_bytes() == written.read_bytes()
    third = run.own_broker(kind="kwire", data=copy_data(second.data, run.folder / "copy-back"))
    third.start()
    assert run.consume("damaged", 2, server=third.bootstrap) == ["sound", "new"]
    third.stop()


@case("datadirs", "restart", "clean-and-killed")
def restart(run: Run) -> None:
    broker = run.own_broker()
    broker.start()
    traffic(run, broker)
    before = inventory(run, broker)
    for end in (broker.stop, broker.kill, broker.stop):
        end()
        broker.start()
        same_inventory(before, inventory(run, broker))


def killed_under_load(run: Run, rounds: int, settings: dict[str, str]) -> None:
    dice = random.Random(f"{run.name} {settings}")
    broker = run.own_broker(settings)
    broker.start()
    at = ("--bootstrap-server", broker.bootstrap)
    run.tool("topics", *at, "--create", "--topic", "load", "--partitions", "4").ok()
    acknowledged = run.folder / "acknowledged.txt"
    arguments = [broker.bootstrap, "load", "4", str(acknowledged)]
    loader = subprocess.Popen(
        [sys.executable, "-W", "ignore", str(CLIENTS / "load.py"), *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        for _ in range(rounds):
            time.sleep(dice.uniform(0.05, 1.5))  # the loader writes before the broker is killed
            broker.kill()
            assert loader.poll() is None, loader.stdout.read() if loader.stdout else ""
            broker.start()
        time.sleep(1)  # the loader writes after the last start
        said, _ = loader.communicate("", timeout=150)
    finally:
        if loader.poll() is None:
            loader.kill()
    assert loader.returncode == 0, said
    python(run, "readback.py", *arguments)
    broker.kill()
    broker.start()
    python(run, "readback.py", *arguments)
    broker.stop()
    for path in sorted(broker.data.glob("load-*/*.log")):
        dump(run, path)


@case("crash", "kill -9", "three-times", smoke=True)
def killed_a_few_times(run: Run) -> None:
    killed_under_load(run, 3, {})


@case("crash", "kill -9", "many-times")
def killed_many_times(run: Run) -> None:
    killed_under_load(run, 25, {})


@case("crash", "kill -9", "many-times-with-small-segments")
def killed_with_small_segments(run: Run) -> None:
    killed_under_load(run, 12, {"log.segment.bytes": "1048576", "log.index.interval.bytes": "512"})


@case("crash", "kill -9", "many-times-with-flush-per-message")
def killed_with_flush(run: Run) -> None:
    killed_under_load(run, 8, {"log.flush.interval.messages": "1"})
