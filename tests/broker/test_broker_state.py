"""State that belongs to a few APIs: made at its first use, one for each broker."""


class Counter:
    def __init__(self, node_id):
        self.node_id = node_id


def make_counter(broker):
    return Counter(broker.node_id)


def make_another(broker):
    return Counter(broker.node_id)


async def test_state_is_made_once_by_each_function(broker):
    counter = broker.state(make_counter)

    assert counter.node_id == broker.node_id
    assert broker.state(make_counter) is counter
    assert broker.state(make_another) is not counter


async def test_the_state_of_one_broker_is_not_that_of_the_next(start_broker):
    async with start_broker() as broker:
        counter = broker.state(make_counter)
    async with start_broker() as broker:
        assert broker.state(make_counter) is not counter
