"""KIP-890: the broker's own defence against transactions that never end."""

import pytest
from transactional import NEW, OLD, Producer, batch, latest, produce, seen, state

from kwire.errors import Code
from kwire.wire import messages as m


async def started(client, speaks=NEW, topic="t"):
    if topic not in client.broker.image.topics:
        await client.create_topic(topic, 2)
    producer = Producer(client, "tx", speaks=speaks)
    assert await producer.init() is Code.NONE
    return producer


async def test_a_late_batch_does_not_open_a_transaction_without_an_end(client):
    """Part 1: the batch comes after the end, with an epoch that is still the current one."""
    producer = await started(client, OLD)
    await producer.write("t", b"in time")
    await producer.commit()
    assert (await producer.send("t", b"late")).error_code == Code.TRANSACTION_ABORTABLE
    assert await latest(client, "t") == 2
    assert await seen(client, "t") == [b"in time"]


async def test_a_batch_of_the_last_transaction_cannot_slip_into_the_next(client):
    """Part 2: each end raises the epoch, so the late batch has an old one."""
    producer = await started(client)
    await producer.write("t", b"first")
    late = batch(b"late", producer_id=producer.producer_id, epoch=producer.epoch, sequence=1)
    await producer.commit()
    await producer.write("t", b"second")
    for version in (9, 11, 12):
        assert (await produce(client, "t", late, version=version, name="tx")).error_code == Code.INVALID_PRODUCER_EPOCH
    await producer.commit()
    assert await seen(client, "t") == [b"first", b"second"]


async def test_producing_adds_the_partition(client):
    producer = await started(client)
    assert not (await producer.send("t", b"x", partition=1)).error_code
    answer = await client.call(0, m.DescribeTransactionsRequest(transactional_ids=["tx"]))
    assert [(each.topic, each.partitions) for each in answer.transaction_states[0].topics] == [("t", [1])]


async def test_committing_offsets_adds_the_group(client):
    producer = await started(client)
    assert await producer.offsets("g", "t", 1) is Code.NONE
    answer = await client.call(0, m.DescribeTransactionsRequest(transactional_ids=["tx"]))
    assert [each.topic for each in answer.transaction_states[0].topics] == ["__consumer_offsets"]


@pytest.mark.parametrize("commit", [True, False])
async def test_each_end_gives_the_next_epoch(client, commit):
    producer = await started(client)
    for epoch in (1, 2, 3):
        await producer.write("t", b"x")
        assert await producer.end(commit=commit) is Code.NONE
        assert producer.epoch == epoch


async def test_an_abort_is_accepted_in_every_state(client):
    """The client may not know whether anything had begun."""
    producer = await started(client)
    assert await producer.abort() is Code.NONE
    assert await producer.abort() is Code.NONE
    assert producer.epoch == 2
    assert await producer.commit() is Code.INVALID_TXN_STATE


async def test_an_end_whose_answer_was_lost_is_answered_again(client):
    producer = await started(client)
    await producer.write("t", b"x")
    before = producer.epoch
    await producer.commit()
    producer.epoch = before
    assert await producer.end(commit=False) is Code.INVALID_TXN_STATE
    assert await producer.commit() is Code.NONE
    assert producer.epoch == 1


async def test_the_first_batch_in_a_partition_has_sequence_zero(client):
    producer = await started(client)
    answer = await producer.send("t", b"x", sequence=3)
    assert answer.error_code == Code.OUT_OF_ORDER_SEQUENCE_NUMBER


async def test_brokers_ask_for_many_transactions_at_once(client):
    producer = await started(client)
    request = m.AddPartitionsToTxnRequest
    wanted = {"topics": [request.AddPartitionsToTxnTopic(name="t", partitions=[0, 1])]}
    one = {"transactional_id": "tx", "producer_id": producer.producer_id, "producer_epoch": producer.epoch, **wanted}
    unknown = {**one, "transactional_id": "nobody"}

    async def ask(*transactions):
        made = [request.AddPartitionsToTxnTransaction(**each) for each in transactions]
        answer = await client.call(5, request(transactions=made))
        return {
            each.transactional_id: {part.partition_error_code for part in each.topic_results[0].results_by_partition}
            for each in answer.results_by_transaction
        }

    look, do = {"verify_only": True}, {"verify_only": False}
    refused = {Code.INVALID_PRODUCER_ID_MAPPING}
    assert await ask({**one, **look}, {**unknown, **look}) == {"tx": {Code.TRANSACTION_ABORTABLE}, "nobody": refused}
    assert await state(client, "tx") == "Empty"
    assert await ask({**one, **do}, {**unknown, **do}) == {"tx": {Code.NONE}, "nobody": refused}
    assert await ask({**one, **look}) == {"tx": {Code.NONE}}
    assert await state(client, "tx") == "Ongoing"


async def test_the_finalized_feature_announces_it_to_clients(client):
    answer = await client.call(4, m.ApiVersionsRequest(client_software_name="t", client_software_version="1"))
    levels = {each.name: each.max_version_level for each in answer.finalized_features}
    assert levels["transaction.version"] == 2
