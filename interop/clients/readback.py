"""Checks that each acknowledged record is there, once, at its offset: PROGRAM BOOTSTRAP TOPIC PARTITIONS FILE."""

import sys
from collections import Counter
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition


def main() -> None:
    bootstrap, topic, partitions, path = sys.argv[1:5]
    stored: dict[tuple[int, int], str] = {}
    for index in range(int(partitions)):
        read(bootstrap, topic, index, stored)
    acknowledged = [line.split() for line in Path(path).read_text().splitlines()]
    lost = [(p, o, v) for p, o, v in acknowledged if stored.get((int(p), int(o))) != v]
    assert not lost, f"{len(lost)} of {len(acknowledged)} acknowledged records are not where they should be: {lost[:5]}"
    twice = [value for value, count in Counter(stored.values()).items() if count > 1]
    assert not twice, f"{len(twice)} records were read twice: {twice[:5]}"
    print(f"ok: {len(acknowledged)} acknowledged, {len(stored)} stored")


def read(bootstrap: str, topic: str, index: int, stored: dict[tuple[int, int], str]) -> None:
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "readback",
            "enable.partition.eof": True,
            "enable.auto.commit": False,
            "check.crcs": True,
        }
    )
    consumer.assign([TopicPartition(topic, index, 0)])
    while True:
        for record in consumer.consume(5000, 1.0):
            if record.error():
                assert record.error().name() == "_PARTITION_EOF", record.error()
                consumer.close()
                return
            stored[index, record.offset()] = record.value().decode()


if __name__ == "__main__":
    main()
