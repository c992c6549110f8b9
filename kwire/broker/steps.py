"""Long computations on the event loop, with other tasks in between.

Responsible for: running a generator step by step. Must not depend on: what it computes.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

import trio

T = TypeVar("T")


async def run_in_steps(steps: Generator[None, None, T]) -> T:
    """Run a generator to its end, and return what it returns; other tasks run at each of its ``yield``."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            value: T = done.value
            return value
        await trio.lowlevel.checkpoint()


def run_at_once(steps: Generator[None, None, T]) -> T:
    """Run a generator to its end without others in between, and return what it returns."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            value: T = done.value
            return value
