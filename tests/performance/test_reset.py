"""What a reset of a broker in memory does, counted: a guard for its time that measures no time.

A reset starts another broker, so a part that each start makes, and each task that it starts, counts here too.
"""

from __future__ import annotations

import socket
import sys
from collections import Counter

import pytest
import trio

from kwire.testing import KafkaBroker

# Of the call itself, the clock, the metadata log and the acceptor of each address.
TASKS = 3
# Calls of functions, in Python and in C. Each takes half a microsecond on average.
CALLS_MAX = 4_600


class Tasks(trio.abc.Instrument):
    def __init__(self) -> None:
        self.names: list[str] = []

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        self.names.append(task.name)


@pytest.fixture
def kafka():
    with KafkaBroker(topics=["orders"]) as broker:
        for _ in range(2):  # the first one fills caches
            broker.reset()
        yield broker


def addresses() -> int:
    """How many addresses localhost has: 127.0.0.1, and ::1 where IPv6 is on."""
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return 1
    return 2


def test_a_reset_starts_only_tasks_that_have_work(kafka):
    tasks = Tasks()
    kafka._in_loop_sync(lambda: trio.lowlevel.add_instrument(tasks))
    kafka.reset()
    assert len(tasks.names) == TASKS + addresses(), tasks.names


def test_a_reset_makes_no_more_calls_than_it_used_to(kafka):
    calls = Counter()

    def count(_frame, event, _argument):
        calls[event] += 1

    kafka._in_loop_sync(lambda: sys.setprofile(count))
    kafka.reset()
    kafka._in_loop_sync(lambda: sys.setprofile(None))
    assert calls["call"] + calls["c_call"] <= CALLS_MAX
