"""Queries to other brokers, batched into few requests.

Responsible for: one request in flight to each broker, with all queries that were made while the one before was in
flight. Must not depend on: the content of queries.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final, Generic, TypeVar

import trio

from kwire.broker.containment import must_stop_broker
from kwire.broker.logs import Logger
from kwire.broker.outbound.interface import Node, NotServed, OutboundError
from kwire.errors import Code, KafkaError
from kwire.wire.message import Message

log = Logger("kwire.coordinator")

Q = TypeVar("Q")
R = TypeVar("R")

# Queries of one request at most, so that the other broker handles it quickly.
_QUESTIONS_MAX: Final = 200


class Answer(Generic[R]):
    """``done`` is set once ``result`` is there; a KafkaError is NETWORK_EXCEPTION, or why nothing was sent."""

    __slots__ = ("done", "result")

    def __init__(self) -> None:
        self.done = trio.Event()
        self.result: R | KafkaError = KafkaError(Code.NETWORK_EXCEPTION)


class RequestBatches(Generic[Q, R]):
    """``make_request`` puts questions into one message; ``results`` takes one result for each out of the response.

    ``connection`` gives the connection to a broker by its node id. Two questions with the same ``key`` do not go into
    one request.
    """

    def __init__(
        self,
        *,
        connection: Callable[[int], Node],
        make_request: Callable[[Sequence[Q]], Message],
        results: Callable[[Sequence[Q], Any], Sequence[R | KafkaError]],
        key: Callable[[Q], Hashable],
        timeout_ms: float,
    ) -> None:
        self._connection = connection
        self._make_request = make_request
        self._results = results
        self._key = key
        self._timeout_ms = timeout_ms
        self._waiting: dict[int, list[tuple[Q, Answer[R]]]] = {}
        self._nursery: trio.Nursery | None = None

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Send what is asked, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for node_id in self._waiting:
                nursery.start_soon(self._send_all, node_id)
            task_status.started()
            await trio.sleep_forever()

    def ask(self, node_id: int, question: Q) -> Answer[R]:
        """Ask a broker; returns at once."""
        answer: Answer[R] = Answer()
        waiting = self._waiting.get(node_id)
        if waiting is None:
            self._waiting[node_id] = [(question, answer)]
            if self._nursery is not None:
                self._nursery.start_soon(self._send_all, node_id)
        else:
            waiting.append((question, answer))
        return answer

    async def _send_all(self, node_id: int) -> None:
        waiting = self._waiting[node_id]
        while waiting:
            batch = self._next_batch(waiting)
            await self._send(node_id, batch)
        # No other task runs between the last look at the list and this.
        del self._waiting[node_id]

    def _next_batch(self, waiting: list[tuple[Q, Answer[R]]]) -> list[tuple[Q, Answer[R]]]:
        """Take the oldest questions of different keys out of ``waiting``."""
        batch: dict[Hashable, tuple[Q, Answer[R]]] = {}
        rest: list[tuple[Q, Answer[R]]] = []
        for each in waiting:
            key = self._key(each[0])
            if key in batch or len(batch) == _QUESTIONS_MAX:
                rest.append(each)
            else:
                batch[key] = each
        waiting[:] = rest
        return list(batch.values())

    async def _send(self, node_id: int, batch: Sequence[tuple[Q, Answer[R]]]) -> None:
        questions = [question for question, _ in batch]
        results: Sequence[R | KafkaError]
        try:
            response = await self._connection(node_id).request(
                self._make_request(questions), timeout_ms=self._timeout_ms
            )
            results = self._results(questions, response)
        except OutboundError as failure:
            code = Code.UNSUPPORTED_VERSION if isinstance(failure, NotServed) else Code.NETWORK_EXCEPTION
            results = [KafkaError(code, str(failure))] * len(batch)
        except Exception as error:
            if must_stop_broker(error):
                raise
            log.failure("request to another broker failed", error, node=node_id)
            results = [KafkaError(Code.NETWORK_EXCEPTION)] * len(batch)
        for (_, answer), result in zip(batch, results, strict=True):
            answer.result = result
            answer.done.set()
