"""Quix Streams: counts the records of each key, with state that a changelog restores."""

import sys
from pathlib import Path

from quixstreams import Application, State

bootstrap, name, source, sink, folder, guarantee, session_ms = sys.argv[1:]
member = Path(folder).name

app = Application(
    broker_address=bootstrap,
    consumer_group=name,
    auto_offset_reset="earliest",
    commit_interval=0.5,
    state_dir=f"{folder}/state",
    processing_guarantee=guarantee,
    # It ends when its session does. A static member that was killed continues at once.
    consumer_extra_config={
        "group.instance.id": member,
        "session.timeout.ms": int(session_ms),
        "heartbeat.interval.ms": 500,
    },
    # By default the id is a new one at each start, and the open transaction of an application that was killed
    # blocks its offsets for a minute.
    producer_extra_config=(
        {"transactional.id": f"{name}-{member}", "transaction.timeout.ms": 300_000}
        if guarantee == "exactly-once"
        else None
    ),
)


def counted(_: str, state: State) -> str:
    count = state.get("count", 0) + 1
    state.set("count", count)
    return str(count)


counts = app.dataframe(app.topic(source, key_deserializer="str", value_deserializer="str"))
counts = counts.apply(counted, stateful=True)
counts.to_topic(app.topic(sink, key_serializer="str", value_serializer="str"))
app.run()
