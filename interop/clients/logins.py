"""Python clients that log in: PROGRAM CLIENT BOOTSTRAP TOPIC MECHANISM USER PASSWORD. Sends a record and reads it back.

With OAUTHBEARER, PASSWORD is the token. CLIENT_SECURITY (``scenarios.security``) has the authority of a TLS listener.
"""

import asyncio
import ssl
import sys
import time
from collections.abc import Callable
from typing import Any

from scenarios import security


def confluent(bootstrap: str, topic: str, mechanism: str, user: str, password: str) -> None:
    from confluent_kafka import Consumer, Producer

    config: dict[str, object] = {
        "bootstrap.servers": bootstrap,
        "security.protocol": security().get("protocol", "SASL_PLAINTEXT"),
        "sasl.mechanism": mechanism,
    }
    if "ca" in security():
        config["ssl.ca.location"] = security()["ca"]
    if mechanism == "OAUTHBEARER":
        config["oauth_cb"] = lambda _: (password, time.time() + 600)
    else:
        config |= {"sasl.username": user, "sasl.password": password}
    producer = Producer(config)
    producer.produce(topic, b"hello")
    assert producer.flush(30) == 0
    consumer = Consumer({**config, "group.id": topic, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    record = consumer.poll(30)
    assert record is not None
    assert record.value() == b"hello", record.error()
    consumer.close()


def kafka_python(bootstrap: str, topic: str, mechanism: str, user: str, password: str) -> None:
    from kafka import KafkaConsumer, KafkaProducer
    from kafka.net.sasl.oauth import AbstractTokenProvider

    class Provider(AbstractTokenProvider):  # type: ignore[misc]
        def token(self) -> str:
            return password

    config = keywords(bootstrap, mechanism, user, password, Provider)
    producer = KafkaProducer(**config)
    producer.send(topic, b"hello").get(30)
    producer.close()
    consumer = KafkaConsumer(topic, auto_offset_reset="earliest", consumer_timeout_ms=30_000, **config)
    assert next(consumer).value == b"hello"
    consumer.close()


def aiokafka(bootstrap: str, topic: str, mechanism: str, user: str, password: str) -> None:
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
    from aiokafka.abc import AbstractTokenProvider

    class Provider(AbstractTokenProvider):  # type: ignore[misc]
        async def token(self) -> str:
            return password

    config = keywords(bootstrap, mechanism, user, password, Provider)

    async def talk() -> None:
        async with AIOKafkaProducer(**config) as producer:
            await producer.send_and_wait(topic, b"hello")
        async with AIOKafkaConsumer(topic, auto_offset_reset="earliest", **config) as consumer:
            assert (await asyncio.wait_for(consumer.getone(), 30)).value == b"hello"

    asyncio.run(talk())


def keywords(bootstrap: str, mechanism: str, user: str, password: str, provider: Callable[[], Any]) -> dict[str, Any]:
    """The keywords that kafka-python and aiokafka share; ``provider()`` makes what returns the token."""
    config: dict[str, Any] = {
        "bootstrap_servers": bootstrap,
        "security_protocol": security().get("protocol", "SASL_PLAINTEXT"),
        "sasl_mechanism": mechanism,
    }
    if "ca" in security():
        config["ssl_context"] = ssl.create_default_context(cafile=security()["ca"])
    if mechanism == "OAUTHBEARER":
        return config | {"sasl_oauth_token_provider": provider()}
    return config | {"sasl_plain_username": user, "sasl_plain_password": password}


CLIENTS: dict[str, Callable[..., None]] = {
    "confluent-kafka": confluent,
    "kafka-python": kafka_python,
    "aiokafka": aiokafka,
}

if __name__ == "__main__":
    CLIENTS[sys.argv[1]](*sys.argv[2:])
    print("ok")
