"""Loops and commands that grow with the request or the broker's state, cut so that other connections run in between.

Responsible for: how much is done between two points at which a handler yields its turn. Must not depend on:
single APIs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, Generic, Self, TypeVar

from kwire.broker.requests.context import Context
from kwire.errors import KafkaError
from kwire.metadata.commands import Command
from kwire.metadata.decisions.decision import Charge, no_charge

T = TypeVar("T")
R = TypeVar("R")

# Items between two checks of the turn's length: most cost some microseconds.
_ITEMS: Final = 16
# A list of up to this many items is made at once, which costs less.
_SHORT_LIST: Final = 64
# Items of one command of the controller, which appends to the metadata log and changes the image at once.
_COMMAND_ITEMS: Final = 16


class paced(Generic[T]):  # noqa: N801 (used as a function)
    """Iterate over a copy of ``items``, letting other connections run when this one's turn is used up.

    ``every``: the number of items between two checks of the turn's length.

    Not an async generator: trio registers each of those, which costs more than a request of one item.
    """

    __slots__ = ("_context", "_every", "_index", "_items")

    def __init__(self, context: Context, items: Iterable[T], *, every: int = _ITEMS) -> None:
        self._context = context
        self._every = every
        self._items = list(items)
        self._index = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        index = self._index
        is_over = index == len(self._items)
        if (is_over or index % self._every == 0) and index:
            await self._context.yield_turn()
        if is_over:
            raise StopAsyncIteration
        self._index = index + 1
        return self._items[index]


async def paced_list(context: Context, make: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """Make a list item by item; other connections run in between if it is long."""
    if len(items) <= _SHORT_LIST:
        return [make(item) for item in items]
    return [make(item) async for item in paced(context, items)]


async def paced_lazily(context: Context, iterator: Iterator[T]) -> AsyncIterator[T]:
    """The same for an iterator that allows for state that changes between two of its items, hence without a copy."""
    while chunk := list(islice(iterator, _ITEMS)):
        for item in chunk:
            yield item
        await context.yield_turn()


async def submit_in_slices(
    context: Context,
    items: Sequence[T],
    command: Callable[[Sequence[T]], Command[R]],
    *,
    charge: Charge = no_charge,
    size: Callable[[T], int] = lambda _: 1,
) -> list[R | KafkaError]:
    """Submit a command for a few items at a time; the results of all, in order.

    Each item of such a command is decided by itself. The caller has checked what holds for the request as a whole.
    ``size``: the work of an item, counted in usual items.
    """
    results: list[Any] = []
    start = end = 0
    while start < len(items):
        work = 0
        while end < len(items) and (end == start or work < _COMMAND_ITEMS):
            work += size(items[end])
            end += 1
        results += await context.broker.controller.submit(command(items[start:end]), charge=charge)
        await context.yield_turn()
        start = end
    return results
