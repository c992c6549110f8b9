"""KIP-588: PRODUCER_FENCED is final for a fenced producer; older clients get INVALID_PRODUCER_EPOCH."""

import pytest
from transactional import Producer

from kwire.errors import Code
from kwire.wire import messages as m

NEWER, OLDER = Code.PRODUCER_FENCED, Code.INVALID_PRODUCER_EPOCH


@pytest.fixture
async def zombie(client):
    await client.create_topic("t")
    one = Producer(client, "tx")
    assert await one.init() is Code.NONE
    assert await Producer(client, "tx").init() is Code.NONE
    return one


@pytest.mark.parametrize(("version", "code"), [(3, OLDER), (4, NEWER), (5, NEWER)])
async def test_init_producer_id_refuses_a_fenced_producer_by_version(client, zombie, version, code):
    request = m.InitProducerIdRequest(
        transactional_id="tx", transaction_timeout_ms=1000, producer_id=zombie.producer_id, producer_epoch=zombie.epoch
    )
    assert (await client.call(version, request)).error_code == code


@pytest.mark.parametrize(("version", "code"), [(0, OLDER), (1, OLDER), (2, NEWER), (3, NEWER)])
async def test_add_partitions_to_txn(zombie, version, code):
    assert await zombie.add("t", 0, version=version) is code


@pytest.mark.parametrize(("version", "code"), [(0, OLDER), (1, OLDER), (2, NEWER), (4, NEWER)])
async def test_add_offsets_to_txn(client, zombie, version, code):
    request = m.AddOffsetsToTxnRequest(
        transactional_id="tx", producer_id=zombie.producer_id, producer_epoch=zombie.epoch, group_id="g"
    )
    assert (await client.call(version, request)).error_code == code


@pytest.mark.parametrize(("version", "code"), [(0, OLDER), (1, OLDER), (2, NEWER), (5, NEWER)])
async def test_end_txn_refuses_a_fenced_producer_by_version(zombie, version, code):
    assert await zombie.end(commit=True, version=version) is code
