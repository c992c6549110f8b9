"""A producer and a consumer of a group with default settings, for as long as the case wants.

    ride_through.py LIBRARY BOOTSTRAP TOPIC GROUP

Sends numbers until standard input ends, reads until every acknowledged number has come (at most 90 s more), and prints
one line of JSON: how many were sent, acknowledged and read, and which acknowledged ones are missing.
RIDE_SETTINGS names a file of more settings of librdkafka, KEY=VALUE on each line.
"""

import json
import os
import sys
import threading
import time
from pathlib import Path


def more_settings() -> dict[str, str]:
    path = os.environ.get("RIDE_SETTINGS")
    if path is None:
        return {}
    return dict(line.split("=", 1) for line in Path(path).read_text().splitlines())


def with_confluent(bootstrap: str, topic: str, group: str, run: "Numbers") -> None:
    from confluent_kafka import Consumer, Producer

    def delivered(error: object, message: object) -> None:
        if error is None:
            run.acknowledged.add(int(message.value()))  # type: ignore[attr-defined]
        else:
            run.errors.append(str(error))

    producer = Producer({"bootstrap.servers": bootstrap, **more_settings()})

    def send() -> None:
        for number in run.numbers():
            producer.produce(topic, str(number), on_delivery=delivered)
            producer.poll(0)
        producer.flush(120)

    def read() -> None:
        settings = {"bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest"}
        consumer = Consumer({**settings, **more_settings()})
        consumer.subscribe([topic])
        while not run.is_read():
            message = consumer.poll(0.2)
            if message is not None and message.error() is None:
                run.read.append(int(message.value()))
        consumer.close()

    run.together(send, read)


def with_kafka_python(bootstrap: str, topic: str, group: str, run: "Numbers") -> None:
    from kafka import KafkaConsumer, KafkaProducer

    producer = KafkaProducer(bootstrap_servers=bootstrap.split(","))

    def send() -> None:
        futures = [(number, producer.send(topic, str(number).encode())) for number in run.numbers()]
        producer.flush(120)
        for number, future in futures:
            if future.succeeded():
                run.acknowledged.add(number)
            else:
                run.errors.append(repr(future.exception))
        run.all_answered.set()

    def read() -> None:
        consumer = KafkaConsumer(
            topic, bootstrap_servers=bootstrap.split(","), group_id=group, auto_offset_reset="earliest"
        )
        while not run.is_read():
            for records in consumer.poll(200).values():
                run.read += [int(record.value) for record in records]
        consumer.close()

    run.together(send, read)


class Numbers:
    def __init__(self) -> None:
        self.sent = 0
        self.acknowledged: set[int] = set()
        self.read: list[int] = []
        self.errors: list[str] = []
        self.ending = threading.Event()
        self.all_answered = threading.Event()
        self._give_up_s = float("inf")

    def numbers(self):
        while not self.ending.is_set():
            yield self.sent
            self.sent += 1
            time.sleep(0.01)  # about 100 a second

    def is_read(self) -> bool:
        if not self.all_answered.is_set():
            return False
        return time.monotonic() > self._give_up_s or self.acknowledged <= set(self.read)

    def together(self, send, read) -> None:
        def send_all() -> None:
            send()
            self._give_up_s = time.monotonic() + 90
            self.all_answered.set()

        threads = [threading.Thread(target=send_all), threading.Thread(target=read)]
        for thread in threads:
            thread.start()
        sys.stdin.read()
        self.ending.set()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    library, bootstrap, topic, group = sys.argv[1:]
    numbers = Numbers()
    {"confluent": with_confluent, "kafka-python": with_kafka_python}[library](bootstrap, topic, group, numbers)
    missing = sorted(numbers.acknowledged - set(numbers.read))
    print(
        json.dumps(
            {
                "sent": numbers.sent,
                "acknowledged": len(numbers.acknowledged),
                "read": len(numbers.read),
                "read_twice": len(numbers.read) - len(set(numbers.read)),
                "missing": missing[:20],
                "errors": numbers.errors[:5],
            }
        )
    )
