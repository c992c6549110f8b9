"""Celery with kombu's confluentkafka transport: tasks that write their number to a file."""

import sys
from pathlib import Path

from celery import Celery

bootstrap, queue, folder, command, *more = sys.argv[1:]

app = Celery("tasks", broker=f"confluentkafka://{bootstrap}")
app.conf.update(
    task_default_queue=queue,
    broker_transport_options={"num_partitions": 2, "kafka_consumer_config": {"auto.offset.reset": "earliest"}},
    worker_enable_remote_control=False,
    broker_connection_retry_on_startup=True,
)


@app.task(name="write")
def write(number: int) -> None:
    with (Path(folder) / "done.txt").open("a") as done:
        done.write(f"{number}\n")


if command == "worker":
    app.worker_main(["worker", "--pool=solo", "--loglevel=INFO", "--without-gossip", "--without-mingle", *more])
else:
    first, last = map(int, more)
    for number in range(first, last):
        write.delay(number)
    print("sent")
