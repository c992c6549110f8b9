"""Makes a failing sequence short: leaves out operations, then parts of their bodies, while it still fails alike."""

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from interop.differential.operations import Operation
from interop.differential.values import is_reference

Fails = Callable[[list[Operation]], bool]


def shrunk(
    operations: list[Operation], fails: Fails, *, place: int | None = None, seconds: float = 120
) -> list[Operation]:
    """The shortest sequence found in that time for which `fails` still holds; `place` is where it first fails."""
    deadline = time.monotonic() + seconds

    def tried(candidate: list[Operation]) -> bool:
        return time.monotonic() < deadline and fails(candidate)

    if place is not None and tried(upto := operations[: place + 1]):
        operations = upto
    before: list[Operation] = []
    while operations != before and time.monotonic() < deadline:
        before = operations
        operations = _without_operations(operations, tried)
        operations = _with_simpler_bodies(operations, tried)
    return operations


def _without_operations(operations: list[Operation], fails: Fails) -> list[Operation]:
    """Delta debugging: leaves out halves, then quarters, down to single operations."""
    size = max(1, len(operations) // 2)
    while True:
        start = 0
        while start < len(operations):
            candidate = operations[:start] + operations[start + size :]
            if candidate and fails(candidate):
                operations = candidate
            else:
                start += size
        if size == 1:
            return operations
        size = max(1, size // 2)


def _with_simpler_bodies(operations: list[Operation], fails: Fails) -> list[Operation]:
    for place in range(len(operations)):
        simpler = True
        while simpler:
            simpler = False
            for body in _simpler(operations[place].body):
                candidate = [*operations]
                candidate[place] = replace(operations[place], body=body)
                if fails(candidate):
                    operations, simpler = candidate, True
                    break
    return operations


def _simpler(value: Any) -> Iterator[Any]:
    """The value with one item of one list left out."""
    if isinstance(value, list):
        for n in range(len(value)):
            if len(value) > 1:
                yield value[:n] + value[n + 1 :]
        for n, item in enumerate(value):
            for simpler in _simpler(item):
                yield [*value[:n], simpler, *value[n + 1 :]]
    elif isinstance(value, dict) and not is_reference(value):
        for key, item in value.items():
            for simpler in _simpler(item):
                yield {**copy.copy(value), key: simpler}
