"""Clients over TLS, with and without a certificate of their own; and TLS settings beside Apache Kafka."""

import os
import sys
from collections.abc import Callable

from interop.case import Run, case
from interop.cases.clients_other import CLIENTS, franz_go, kafka_go, kafkajs, krafka, platformatic, rskafka, sarama
from interop.jars import CURRENT, need
from interop.tls import Certificates, add_tls

SCENARIOS = ("round-trip", "codecs", "group")
PYTHON = {"kafka-python": "kafka_python.py", "confluent-kafka": "confluent.py", "aiokafka": "aiokafka_client.py"}


def tls_broker(run: Run) -> tuple[Certificates, dict[str, int]]:
    certificates = Certificates(run.folder / "certificates")
    broker = run.own_broker()
    ports = add_tls(broker, certificates)
    broker.start()
    return certificates, ports


def run_scenarios(run: Run, command: list[str], scenarios: tuple[str, ...]) -> None:
    certificates, ports = tls_broker(run)
    for listener, port in ports.items():
        environment = {**os.environ, **certificates.environment(own=listener == "MUTUAL")}
        for scenario in scenarios:
            finished = run.program([*command, f"localhost:{port}", scenario, run.unique(scenario)], env=environment)
            finished.ok().prints("ok")


def register(client: str, command: Callable[[], list[str]], scenarios: tuple[str, ...] = SCENARIOS) -> None:
    @case("clients", "tls", client, smoke=client == "confluent-kafka")
    def body(run: Run) -> None:
        run_scenarios(run, command(), scenarios)


for _client, _program in PYTHON.items():
    register(_client, lambda program=_program: [sys.executable, "-W", "ignore", str(CLIENTS / program)])
register("kafkajs", kafkajs)
register("franz-go", franz_go)
register("@platformatic/kafka", platformatic)
register("sarama", sarama)
register("kafka-go", kafka_go)
register("rskafka", rskafka, ("round-trip", "codecs"))
register("krafka", krafka)


@case("clients", "tls", "java")
def java(run: Run) -> None:
    certificates, ports = tls_broker(run)
    for listener, port in ports.items():
        path = certificates.properties(own=listener == "MUTUAL")
        for scenario in SCENARIOS:
            arguments = (f"localhost:{port}", scenario, run.unique(scenario), str(path))
            run.jvm.run(CURRENT, "JavaClient", *arguments, timeout_s=120).ok().prints("ok")


@case("clients", "tls", "kcat")
def kcat(run: Run) -> None:
    certificates, ports = tls_broker(run)
    for listener, port in ports.items():
        how = ["-X", "security.protocol=SSL", "-X", f"ssl.ca.location={certificates.ca}"]
        if listener == "MUTUAL":
            how += ["-X", f"ssl.certificate.location={certificates.client}"]
            how += ["-X", f"ssl.key.location={certificates.client}"]
        command = [need("kcat"), "-b", f"localhost:{port}", "-m", "20", *how]
        topic = run.unique("kcat")
        run.program([*command, "-P", "-t", topic], stdin="one\ntwo\n", timeout_s=60).ok()
        seen = run.program([*command, "-C", "-t", topic, "-o", "beginning", "-e", "-q"], timeout_s=60).ok()
        assert seen.out.split() == ["one", "two"], seen.out


@case("tools", "tls", "official-tools")
def official_tools(run: Run) -> None:
    """The tools with --command-config, and a new certificate by kafka-configs while a connection lives on."""
    certificates, ports = tls_broker(run)
    path = str(certificates.properties(own=True))
    at = ("--bootstrap-server", f"localhost:{ports['MUTUAL']}", "--command-config", path)
    topic = run.unique()
    run.tool("topics", *at, "--create", "--topic", topic).ok()
    run.tool("console-producer", *at, "--topic", topic, stdin="over tls\n").ok()
    options = ("--from-beginning", "--max-messages", "1", "--timeout-ms", "20000")
    assert run.tool("console-consumer", *at, "--topic", topic, *options).ok().out.split("\n")[0] == "over tls"

    entity = ("--alter", "--entity-type", "brokers", "--entity-name", "1", "--add-config")
    certificates.write("server", certificates.issue("localhost"))
    key_store = f"listener.name.mutual.ssl.keystore.location={certificates.server}"
    run.tool("configs", *at, *entity, key_store).ok()
    run.tool("topics", *at, "--describe", "--topic", topic).ok()
    certificates.write("other", certificates.issue("other"))
    refused = run.tool("configs", *at, *entity, key_store.replace("server.pem", "other.pem"))
    assert "DistinguishedName does not match" in refused.out + refused.err, refused.out + refused.err


BAD_STARTS = {
    "no such file": {"ssl.keystore.location": "/nowhere.pem"},
    "PEM with a password of the store": {"ssl.keystore.password": "x"},
    "JKS without a password": {"ssl.keystore.type": "JKS"},
    "an unknown protocol": {"ssl.protocol": "TLSv9"},
    "a trust store with a password": {"ssl.truststore.password": "x"},
    "an unknown client auth": {"ssl.client.auth": "maybe"},
}


def refused_start(run: Run, settings: dict[str, str]) -> str:
    """How a broker with these settings ends."""
    certificates = Certificates(run.folder / "certificates")
    broker = run.own_broker()
    add_tls(broker, certificates, settings)
    try:
        broker.start()
    except AssertionError as refusal:
        return str(refusal)
    broker.stop()
    return ""


@case("tools", "tls", "settings-that-stop-a-start")
def bad_starts(run: Run) -> None:
    """Both brokers refuse these, before they serve."""
    started = [what for what, settings in BAD_STARTS.items() if not refused_start(run, settings)]
    assert started == [], started


ALTERATIONS = {
    # What is altered, and words of the answer; "" where it is accepted.
    "other-name": "DistinguishedName does not match",
    "fewer-hosts": "SubjectAltNames do not match",
    "renewed": "",
    "garbage": "Validation of dynamic config update of SSLFactory failed",
}


@case("tools", "tls", "alterations")
def alterations(run: Run) -> None:
    """What AlterConfigs accepts and refuses of a key store, by kafka-configs."""
    certificates, ports = tls_broker(run)
    at = (
        "--bootstrap-server",
        f"localhost:{ports['SSL']}",
        "--command-config",
        str(certificates.properties(own=False)),
    )
    entity = ("--alter", "--entity-type", "brokers", "--entity-name", "1", "--add-config")
    contents = {
        "other-name": certificates.issue("other"),
        "fewer-hosts": certificates.issue("localhost", hosts=("localhost",)),
        "renewed": certificates.issue("localhost"),
        "garbage": "nothing",
    }
    found = {}
    for name, content in contents.items():
        path = certificates.write(name, content)
        done = run.tool("configs", *at, *entity, f"listener.name.ssl.ssl.keystore.location={path}")
        found[name] = done.out + done.err
        words = ALTERATIONS[name]
        assert words in found[name] if words else done.code == 0, (name, found[name])
    missing = run.tool("configs", *at, *entity, "listener.name.ssl.ssl.keystore.location=/nowhere.pem")
    assert missing.code != 0, missing.out
    plain = run.tool("configs", *at, *entity, f"ssl.keystore.location={certificates.server}")
    assert "can be dynamically updated only per-listener" in plain.out + plain.err, plain.out + plain.err
    # The same path with another file: read again.
    certificates.write("renewed", certificates.issue("localhost"))
    run.tool(
        "configs", *at, *entity, f"listener.name.ssl.ssl.keystore.location={certificates.folder / 'renewed.pem'}"
    ).ok()
