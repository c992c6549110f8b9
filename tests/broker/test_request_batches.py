"""Questions to other brokers: one request in flight to each, with all that was asked meanwhile."""

import pytest
import trio

from kwire.broker.coordination.transactions.batches import RequestBatches
from kwire.broker.outbound.interface import Disconnected, NotServed
from kwire.errors import Code, KafkaError


class Node:
    """Answers a request, a list of questions, when the test says so."""

    def __init__(self):
        self.requests = []
        self.go = trio.Semaphore(0)
        self.failure = None

    async def request(self, message, *, version=None, timeout_ms=None):
        self.requests.append(message)
        await self.go.acquire()
        if self.failure is not None:
            raise self.failure
        return [question.upper() for question in message]


@pytest.fixture
def node():
    return Node()


@pytest.fixture
async def batches(nursery, node):
    made = RequestBatches(
        connection=lambda node_id: node,
        make_request=list,
        results=lambda questions, response: response,
        key=lambda question: question[0],
        timeout_ms=1000,
    )
    await nursery.start(made.run)
    return made


async def test_queries_made_while_a_request_is_in_flight_go_into_the_next(batches, node):
    answers = [batches.ask(2, "a")]
    await trio.testing.wait_all_tasks_blocked()
    answers += [batches.ask(2, question) for question in "bcd"]
    await trio.testing.wait_all_tasks_blocked()
    assert node.requests == [["a"]]
    node.go.release()
    node.go.release()
    for answer in answers:
        await answer.done.wait()
    assert node.requests == [["a"], ["b", "c", "d"]]
    assert [answer.result for answer in answers] == ["A", "B", "C", "D"]


async def test_brokers_do_not_wait_for_each_other(batches, node):
    batches.ask(2, "a")
    batches.ask(3, "b")
    await trio.testing.wait_all_tasks_blocked()
    assert sorted(node.requests) == [["a"], ["b"]]


async def test_queries_with_the_same_key_go_into_different_requests(batches, node):
    batches.ask(2, "x")
    await trio.testing.wait_all_tasks_blocked()
    for question in ("a1", "b1", "a2"):
        batches.ask(2, question)
    for _ in range(3):
        node.go.release()
        await trio.testing.wait_all_tasks_blocked()
    assert node.requests == [["x"], ["a1", "b1"], ["a2"]]


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (Disconnected("broker 2 is gone"), Code.NETWORK_EXCEPTION),
        (NotServed("no such API"), Code.UNSUPPORTED_VERSION),
        (ZeroDivisionError(), Code.NETWORK_EXCEPTION),
    ],
)
async def test_a_request_without_a_response_fails_each_query(batches, node, failure, code):
    node.failure = failure
    answers = [batches.ask(2, question) for question in "ab"]
    node.go.release()
    for answer in answers:
        await answer.done.wait()
        assert isinstance(answer.result, KafkaError)
        assert answer.result.code is code
    node.failure = None
    again = batches.ask(2, "c")
    node.go.release()
    await again.done.wait()
    assert again.result == "C"
