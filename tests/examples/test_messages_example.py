"""The example programs, as a reader of the page would run them."""

import re
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent.parent / "examples" / "messages"
PRINTED = re.compile(r"partition (\d+) offset (\d+): \{'user_id': \d+, 'recipient_id': \d+, 'message': '\w+'\}\n")


@contextmanager
def running(program, *arguments):
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", program, *arguments], cwd=FOLDER, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


def next_record(consumer):
    match = PRINTED.fullmatch(consumer.stdout.readline())
    assert match
    return int(match[1]), int(match[2])


@pytest.mark.kafka(topics={"messages": 4})
def test_consumers_of_a_group_share_and_groups_see_all(kafka):
    server = kafka.bootstrap_servers
    with ExitStack() as stack:
        stack.enter_context(running("producer.py", server))
        alone = stack.enter_context(running("consumer.py", server, "messages", "others"))
        seen_alone = {next_record(alone)}
        shared = [stack.enter_context(running("consumer.py", server, "messages", "readers")) for _ in range(2)]
        # Both have partitions once each has printed something that the other had no chance to: read until both did.
        seen = [{next_record(consumer)} for consumer in shared]
        for _ in range(10):
            for records, consumer in zip(seen, shared, strict=True):
                records.add(next_record(consumer))
        wanted = seen[0] | seen[1]
        while not wanted <= seen_alone:
            seen_alone.add(next_record(alone))


def test_a_value_that_is_not_json_is_printed_as_text(kafka):
    server = kafka.bootstrap_servers
    line = "{'user_id': 1, 'recipient_id': 2, 'message': 'Hi.'}"
    subprocess.run([sys.executable, "-m", "kwire", "produce", "-b", server, "messages", line], check=True)

    with running("consumer.py", server) as consumer:
        assert consumer.stdout.readline() == f"partition 0 offset 0: {line}\n"
