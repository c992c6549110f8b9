"""The Kafka module of Testcontainers for Python on the image sys.argv[1], with a fault over the test bench."""

import sys

from kafka import KafkaProducer
from testcontainers.community.kafka import KafkaContainer

import kwire.testing


def main() -> None:
    container = (
        KafkaContainer(image=sys.argv[1])
        .with_env("KWIRE_CONTROL", "0.0.0.0:9644")
        .with_env("KWIRE_CONTROL_TOKEN", "secret")
        .with_exposed_ports(9093, 9644)
    )
    with container:
        url = f"http://{container.get_container_host_ip()}:{container.get_exposed_port(9644)}"
        kafka = kwire.testing.RemoteKafka(url, token="secret")
        with kafka.faults.add(api="Produce", error="NOT_LEADER_OR_FOLLOWER", times=2) as fault:
            producer = KafkaProducer(bootstrap_servers=container.get_bootstrap_server())
            offset = producer.send("orders", b"1").get(30).offset
            producer.close()
        print(f"offset {offset} fired {fault.fired}")


if __name__ == "__main__":
    main()
