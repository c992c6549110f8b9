"""Produces until its standard input is closed, whatever happens to the broker; notes each acknowledgement in a file.

PROGRAM BOOTSTRAP TOPIC PARTITIONS FILE. A line is `partition offset value`. The producer is idempotent, so that
after any number of broken connections each acknowledged value stands exactly once, at the offset it was given.
"""

import sys
import threading

from confluent_kafka import Producer


def main() -> None:
    bootstrap, topic, partitions, path = sys.argv[1:5]
    stopping = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stopping.set()), daemon=True).start()
    producer = Producer(
        {
            "bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 2, "reconnect.backoff.max.ms": 200,
            "message.timeout.ms": 120_000, "log_level": 0, "compression.type": "lz4",
        }
    )  # fmt: skip
    failures: list[str] = []
    with open(path, "a") as acknowledged:  # noqa: PTH123

        def on_delivery(error, record) -> None:
            if error:
                failures.append(str(error))
            else:
                acknowledged.write(f"{record.partition()} {record.offset()} {record.value().decode()}\n")

        number = 0
        while not stopping.is_set():
            try:
                producer.produce(topic, f"value-{number}", partition=number % int(partitions), on_delivery=on_delivery)
                number += 1
            except BufferError:
                producer.poll(0.05)
            producer.poll(0)
            if number % 50 == 0:
                producer.poll(0.002)
        left = producer.flush(100)
    print(f"sent {number}, failed {len(failures)}, left {left}", *set(failures))
    sys.exit(1 if failures or left else 0)


if __name__ == "__main__":
    main()
