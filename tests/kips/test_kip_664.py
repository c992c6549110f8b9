"""KIP-664, KIP-994, KIP-1152: what tools see of transactions, and what they filter by."""

import pytest
from transactional import Producer, state

from kwire.errors import Code
from kwire.wire import messages as m

pytestmark = pytest.mark.usefixtures("mock_clock")


@pytest.fixture
async def producers(client):
    """One id in each of three states: alpha is open, beta has committed, alphabet never began."""
    await client.create_topic("t", 2)
    found = {}
    for name in ("alpha", "beta", "alphabet"):
        found[name] = Producer(client, name)
        await found[name].init()
        if name != "alphabet":
            await found[name].write("t", b"x", partition=1)
    await found["beta"].commit()
    return found


async def listed(client, version=2, **filters):
    answer = await client.call(version, m.ListTransactionsRequest(**filters))
    assert answer.error_code == 0
    return {each.transactional_id: each.transaction_state for each in answer.transaction_states}


async def test_all_ids_are_listed_with_their_states(client, producers):
    everything = {"alpha": "Ongoing", "beta": "CompleteCommit", "alphabet": "Empty"}
    assert await listed(client, 0) == everything
    assert await listed(client, state_filters=["Ongoing", "Empty"]) == {"alpha": "Ongoing", "alphabet": "Empty"}
    assert await listed(client, producer_id_filters=[producers["beta"].producer_id]) == {"beta": "CompleteCommit"}


async def test_states_that_do_not_exist_are_named(client, producers):
    answer = await client.call(0, m.ListTransactionsRequest(state_filters=["Ongoing", "Asleep", "Dead"]))
    assert answer.unknown_state_filters == ["Asleep"]


async def test_long_transactions_are_found_by_their_age(client, broker, producers):
    broker.clock.advance(1000)
    await producers["alphabet"].write("t", b"y")
    assert set(await listed(client, 1, duration_filter=900, state_filters=["Ongoing"])) == {"alpha"}


async def test_ids_are_found_by_a_pattern_that_fits_all_of_them(client, producers):
    assert set(await listed(client, transactional_id_pattern="alpha")) == {"alpha"}
    assert set(await listed(client, transactional_id_pattern="alpha.*")) == {"alpha", "alphabet"}
    answer = await client.call(2, m.ListTransactionsRequest(transactional_id_pattern="("))
    assert answer.error_code == Code.INVALID_REGULAR_EXPRESSION


async def test_a_transaction_is_described_with_its_partitions(client, broker, producers):
    answer = await client.call(0, m.DescribeTransactionsRequest(transactional_ids=["alpha", "beta", "nobody", ""]))
    alpha, beta, nobody, nameless = answer.transaction_states
    assert (alpha.transaction_state, alpha.producer_epoch, alpha.transaction_timeout_ms) == ("Ongoing", 0, 60_000)
    assert [(each.topic, each.partitions) for each in alpha.topics] == [("t", [1])]
    assert 0 <= broker.clock.now_ms() - alpha.transaction_start_time_ms < 60_000
    assert (beta.transaction_state, beta.producer_epoch, beta.topics) == ("CompleteCommit", 1, [])
    assert nobody.error_code == Code.TRANSACTIONAL_ID_NOT_FOUND
    assert nameless.error_code == Code.INVALID_REQUEST


async def test_producers_are_described_with_the_start_of_what_they_have_open(client, producers):
    request = m.DescribeProducersRequest
    topics = [request.TopicRequest(name="t", partition_indexes=[0, 1])]
    answer = await client.call(0, request(topics=topics))
    nothing, found = answer.topics[0].partitions
    assert nothing.active_producers == []
    by_id = {each.producer_id: each for each in found.active_producers}
    alpha, beta = by_id[producers["alpha"].producer_id], by_id[producers["beta"].producer_id]
    assert (alpha.current_txn_start_offset, alpha.last_sequence, alpha.coordinator_epoch) == (0, 0, -1)
    assert (beta.current_txn_start_offset, beta.producer_epoch, beta.coordinator_epoch) == (-1, 1, 0)


async def test_nothing_is_made_for_a_list(client, broker):
    assert await listed(client) == {}
    assert "__transaction_state" not in broker.image.topics
    assert await state(client, "nobody") is Code.TRANSACTIONAL_ID_NOT_FOUND
