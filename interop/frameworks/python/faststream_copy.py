"""FastStream: a subscriber whose results are published, with either of its two clients."""

import asyncio
import sys

from faststream import AckPolicy, Context, FastStream

bootstrap, name, source, sink, client = sys.argv[1:]

if client == "aiokafka":
    from faststream.kafka import KafkaBroker as Broker
else:
    from faststream.confluent import KafkaBroker as Broker

broker = Broker(bootstrap)
publisher = broker.publisher(sink)


@broker.subscriber(
    source,
    group_id=name,
    auto_offset_reset="earliest",
    ack_policy=AckPolicy.NACK_ON_ERROR,
    session_timeout_ms=6000,
    heartbeat_interval_ms=500,
)
async def copy(value: int, message=Context("message")) -> None:  # noqa: B008 (how FastStream injects it)
    raw = message.raw_message
    key = raw.key() if callable(raw.key) else raw.key
    await publisher.publish(value, key=key)


asyncio.run(FastStream(broker).run())
