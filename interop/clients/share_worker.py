"""A member of a share group that prints what it is given and what it acknowledges: PROGRAM BOOTSTRAP TOPIC GROUP SEED.

Prints, with the machine's monotonic clock in nanoseconds, until it is killed:

    got TIME PARTITION OFFSET DELIVERY_COUNT VALUE     before the record is acknowledged
    ack TIME PARTITION OFFSET TYPE                     before the acknowledgement is sent
    done TIME PARTITION OFFSET TYPE                    after the broker confirmed it
    failed TIME PARTITION OFFSET ERROR                 the broker refused it, or its answer is unknown
"""

import random
import sys
import time

from confluent_kafka import AcknowledgeType, KafkaException, ShareConsumer

TYPES = (AcknowledgeType.ACCEPT,) * 8 + (AcknowledgeType.RELEASE,) * 2


def say(word: str, *values: object) -> None:
    print(word, time.monotonic_ns(), *values, flush=True)


def main(bootstrap: str, topic: str, group: str, seed: str) -> None:
    dice = random.Random(int(seed))
    consumer = ShareConsumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "share.acknowledgement.mode": "explicit",
            "reconnect.backoff.max.ms": 500,
            "log_level": 0,
        }
    )
    consumer.subscribe([topic])
    say("ready")
    while True:
        try:
            messages = [one for one in consumer.poll(0.5) if one.error() is None]
        except KafkaException:
            continue
        if messages:
            handle(consumer, messages, dice)


def handle(consumer: ShareConsumer, messages: list, dice: random.Random) -> None:
    types = {}
    for one in messages:
        say("got", one.partition(), one.offset(), one.delivery_count(), one.value().decode())
    time.sleep(dice.random() * 0.05)  # processing takes a while
    for one in messages:
        types[one.partition(), one.offset()] = kind = dice.choice(TYPES)
        say("ack", one.partition(), one.offset(), kind.name)
        consumer.acknowledge(one, kind)
    try:
        results = {each.partition: error for each, error in consumer.commit_sync(20.0).items()}
    except KafkaException as error:
        results = dict.fromkeys((partition for partition, _ in types), error)
    for (partition, offset), kind in types.items():
        error = results.get(partition)
        if error is None:
            say("done", partition, offset, kind.name)
        else:
            say("failed", partition, offset, error.args[0].name())


if __name__ == "__main__":
    main(*sys.argv[1:])
