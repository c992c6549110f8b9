"""Groups and offsets answer what Apache Kafka 4.3.1 answered in the same scenarios, field by field.

``record_group_answers.py`` asked it.
"""

import pytest
import trio
from group_scenarios import SCENARIOS, SETTINGS
from group_stage import Stage, read_answers
from peer import Peer, all_apis

pytestmark = pytest.mark.usefixtures("mock_clock")

_STEP_MS = 100
_GROUP_KEYS = {8, 9, 10, 11, 12, 13, 14, 15, 16, 42, 47}

official_answers = read_answers()


class BrokerStage(Stage):
    def __init__(self, broker, nursery, group):
        super().__init__(self._open, group)
        self._broker = broker
        self._nursery = nursery
        self.asked = set()

    async def _open(self, client_id):
        peer = Peer(self._broker, client_id)
        peer.client = peer.client._replace(host="127.0.0.1", port=12345)
        return Connection(self, peer, self._nursery)

    async def on_append_result(self):
        await trio.testing.wait_all_tasks_blocked()

    async def pass_ms(self, duration_ms):
        for _ in range(duration_ms // _STEP_MS):
            self._broker.clock.advance(_STEP_MS)
            await trio.testing.wait_all_tasks_blocked()


class Connection:
    """A task that takes one request after the other, as a connection on the wire does."""

    def __init__(self, stage, peer, nursery):
        self._stage = stage
        self._peer = peer
        self._requests, self._requested = trio.open_memory_channel(1)
        self._answers, self._answered = trio.open_memory_channel(1)
        self._scope = trio.CancelScope()
        nursery.start_soon(self._run)

    async def _run(self):
        with self._scope:
            async for version, request in self._requested:
                await self._answers.send(await self._peer.call(version, request))

    async def send(self, version, request):
        self._stage.asked.add((request.KEY, version))
        await self._requests.send((version, request))

    async def receive(self):
        with trio.fail_after(150):
            return await self._answered.receive()

    async def close(self):
        self._scope.cancel()


@pytest.fixture
def settings():
    return SETTINGS


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_groups_answer_what_apache_answers(broker, nursery, scenario):
    stage = BrokerStage(broker, nursery, scenario.__name__)

    await scenario(stage, scenario.__name__)

    answers = zip(stage.answered, official_answers[scenario.__name__], strict=True)
    assert [(ours, apache) for ours, apache in answers if ours != apache] == []


async def test_every_version_of_every_group_api_is_asked(start_broker, nursery):
    async with start_broker() as broker:
        asked = set()
        for scenario in SCENARIOS:
            stage = BrokerStage(broker, nursery, scenario.__name__)
            await scenario(stage, scenario.__name__)
            asked |= stage.asked
    table = all_apis()
    served = {
        (key, version) for key in _GROUP_KEYS for version in range(table[key].served[0], table[key].served[1] + 1)
    }
    assert served - asked == set()
