"""KIP-360: a producer continues after an error, with its own id and the next epoch."""

import pytest
from transactional import Producer

from kwire.errors import Code

pytestmark = pytest.mark.usefixtures("mock_clock")


@pytest.fixture
async def producer(client):
    await client.create_topic("t")
    one = Producer(client, "tx")
    assert await one.init() is Code.NONE
    return one


def own(producer, epoch=None):
    return {"producer_id": producer.producer_id, "producer_epoch": producer.epoch if epoch is None else epoch}


async def test_a_producer_that_sends_its_epoch_gets_the_next_one_of_the_same_id(producer):
    before = producer.producer_id
    assert await producer.init(**own(producer)) is Code.NONE
    assert (producer.producer_id, producer.epoch) == (before, 1)


async def test_a_repeated_request_gets_the_same_response(producer):
    await producer.init(**own(producer))
    assert await producer.init(**own(producer, epoch=0)) is Code.NONE
    assert producer.epoch == 1


async def test_a_zombie_is_fenced_once_a_new_producer_has_started(client, producer):
    zombie = own(producer)
    assert await Producer(client, "tx").init() is Code.NONE
    assert await producer.init(**zombie) is Code.PRODUCER_FENCED


async def test_an_id_that_the_coordinator_has_forgotten_is_given_a_new_one(client):
    producer = Producer(client, "forgotten")
    assert await producer.init(producer_id=77, producer_epoch=5) is Code.NONE
    assert (producer.producer_id, producer.epoch) != (77, 6)
    assert producer.epoch == 0


async def test_a_partition_that_has_forgotten_a_producer_takes_any_first_sequence(client, broker):
    """From a client before KIP-890: with the next epoch every partition begins at 0 anyway."""
    await client.create_topic("t")
    producer = Producer(client, "tx", speaks=0)
    await producer.init()
    await producer.add("t", 0)
    assert not (await producer.send("t", b"x", sequence=0)).error_code
    await producer.commit()
    broker.clock.advance(24 * 3600 * 1000 + 1)
    broker.partitions.get("t", 0).log.producers.expire(broker.clock.now_ms(), 24 * 3600 * 1000)
    await producer.add("t", 0)
    assert not (await producer.send("t", b"y", sequence=1)).error_code


@pytest.mark.parametrize("more", [{"producer_id": 5}, {"producer_epoch": 5}])
async def test_an_id_goes_with_an_epoch(producer, more):
    assert await producer.init(**more) is Code.INVALID_REQUEST
