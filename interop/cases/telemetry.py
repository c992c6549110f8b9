"""The metrics that clients push to kwire (KIP-714), which writes them into its log."""

import re
import sys
import time

from interop.brokers import Apache, Kwire
from interop.case import Run, case

# How long a client runs, so that it has asked for its subscription and pushes at least when it closes.
SUBSCRIBED_S = 4
LIBRDKAFKA = """
import sys, time
from confluent_kafka import Producer
producer = Producer({"bootstrap.servers": sys.argv[1], "client.id": "rd-telemetry"})
for second in range(4):
    producer.produce("pushed", str(second))
    producer.poll(1)
producer.flush()
producer.close() if hasattr(producer, "close") else None
"""


def broker_with_a_subscription(run: Run) -> Kwire | Apache:
    broker = run.own_broker({"kwire.client.metrics.sink": "log"}, kind="kwire")
    broker.start()
    at = ("--bootstrap-server", broker.bootstrap)
    run.tool("topics", *at, "--create", "--topic", "pushed").ok()
    run.tool("client-metrics", *at, "--alter", "--name", "all", "--metrics", "*", "--interval", "1000").ok()
    return broker


def logged(broker: Kwire | Apache, client_id: str) -> set[str]:
    """The names of the metrics that a client has pushed."""
    lines = [line for line in broker.log.read_text().splitlines() if "client metric " in line and client_id in line]
    return {found[1] for line in lines if (found := re.search(r"\bname=(\S+)", line))}


@case("telemetry", "client metrics", "pushed-by-java", smoke=True)
def pushed_by_java(run: Run) -> None:
    broker = broker_with_a_subscription(run)
    at = ("--bootstrap-server", broker.bootstrap)
    arguments = ("--topic", "pushed", "--command-property", "client.id=java-producer")
    producer = run.start_tool("console-producer", *at, *arguments)
    producer.write("x\n")
    time.sleep(SUBSCRIBED_S)  # the client gets its subscription and pushes
    producer.end_input()
    producer.wait().ok()
    names = logged(broker, "java-producer")
    assert any(name.startswith("org.apache.kafka.producer.") for name in names), (names, broker.tail())
    arguments = ("--timeout-ms", str(SUBSCRIBED_S * 1000), "--command-property", "client.id=java-consumer")
    run.tool("console-consumer", *at, "--topic", "pushed", "--from-beginning", *arguments)
    names = logged(broker, "java-consumer")
    assert any(name.startswith("org.apache.kafka.consumer.") for name in names), (names, broker.tail())
    broker.stop()


@case("telemetry", "client metrics", "pushed-by-librdkafka")
def pushed_by_librdkafka(run: Run) -> None:
    broker = broker_with_a_subscription(run)
    run.program([sys.executable, "-c", LIBRDKAFKA, broker.bootstrap], timeout_s=60).ok()
    names = logged(broker, "rd-telemetry")
    assert any("producer" in name for name in names), (names, broker.tail())
    broker.stop()
