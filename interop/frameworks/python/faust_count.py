"""Faust: an agent counts the records of each key in a table; a changelog restores it."""

import sys

import faust

bootstrap, name, source, sink, folder, guarantee = sys.argv[1:]

app = faust.App(
    name,
    broker=f"kafka://{bootstrap}",
    processing_guarantee=guarantee.replace("-", "_"),
    datadir=f"{folder}/state",
    topic_partitions=4,
    broker_commit_interval=0.5,
    broker_session_timeout=6.0,
    broker_heartbeat_interval=0.5,
    broker_max_poll_interval=60.0,
    web_enabled=False,
    topic_disable_leader=True,
)
words = app.topic(source, key_type=str, value_type=str, key_serializer="raw", value_serializer="raw")
counts = app.topic(sink, key_type=str, value_type=str, key_serializer="raw", value_serializer="raw")
table = app.Table("counts", default=int, partitions=4)


@app.agent(words)
async def count(stream):
    async for key, _ in stream.items():  # noqa: PERF102 (a stream, which has no keys())
        table[key] += 1
        await counts.send(key=key, value=str(table[key]))


app.finalize()
faust.Worker(app, loglevel="INFO").execute_from_commandline()
