"""Print messages as they arrive: python consumer.py [BOOTSTRAP] [TOPIC] [GROUP]. Ctrl-C ends it.

Consumers of one group share the topic's partitions; consumers of different groups each see every message.
"""

import json
import sys

from kafka import KafkaConsumer

bootstrap = sys.argv[1] if len(sys.argv) > 1 else "localhost:9092"
topic = sys.argv[2] if len(sys.argv) > 2 else "messages"
group = sys.argv[3] if len(sys.argv) > 3 else None

consumer = KafkaConsumer(
    topic,
    bootstrap_servers=[bootstrap],
    group_id=group,
    auto_offset_reset="earliest",
)


def message_in(value: bytes | None) -> object:
    """Decode a message; a value that is not JSON, such as a line from a console producer, is returned as text."""
    if value is None:
        return None
    try:
        return json.loads(value)
    except ValueError:
        return value.decode("utf-8", "replace")


try:
    for record in consumer:
        print(f"partition {record.partition} offset {record.offset}: {message_in(record.value)}", flush=True)
except KeyboardInterrupt:
    consumer.close()
