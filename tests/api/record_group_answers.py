"""Play ``group_scenarios`` on an Apache Kafka broker and keep what it answers: ``python record_group_answers.py
HOST:PORT``.

The broker must be fresh, with the settings of ``group_scenarios.SETTINGS``. Run again when the Kafka release changes,
and read the difference.
"""

import sys
from functools import partial

import trio
from group_requests import find, heartbeat
from group_scenarios import SCENARIOS
from group_stage import Stage, write_answers

from kwire.errors import Code
from kwire.wire import codec

_NOT_YET = {Code.COORDINATOR_LOAD_IN_PROGRESS, Code.COORDINATOR_NOT_AVAILABLE, Code.NOT_COORDINATOR}
_SETTLE_S = 0.5
_ANSWER_S = 20


class ApacheStage(Stage):
    async def on_append_result(self):
        await trio.sleep(_SETTLE_S)

    async def pass_ms(self, duration_ms):
        await trio.sleep(duration_ms / 1000)


class Connection:
    def __init__(self, stream, client_id):
        self._stream = stream
        self._client_id = client_id
        self._sent = []

    async def send(self, version, request):
        self._sent.append((request.KEY, version))
        await self._stream.send_all(codec.encode_request(request.KEY, version, 1, self._client_id, request))

    async def receive(self):
        with trio.fail_after(_ANSWER_S):
            frame = await self._read(int.from_bytes(await self._read(4), "big"))
        return codec.decode_response(*self._sent.pop(0), memoryview(frame))[1]

    async def close(self):
        await self._stream.aclose()

    async def _read(self, count):
        content = b""
        while len(content) < count:
            chunk = await self._stream.receive_some(count - len(content))
            if not chunk:
                raise EOFError("the broker closed the connection")
            content += chunk
        return content


async def connect(host, port, client_id):
    return Connection(await trio.open_tcp_stream(host, port), client_id)


async def coordinator_is_there(connection, group):
    """Apache needs a moment until a group has its coordinator."""
    found = absent = Code.COORDINATOR_NOT_AVAILABLE
    while {found, absent} & _NOT_YET:
        await trio.sleep(_SETTLE_S)
        await connection.send(4, find(group))
        found = (await connection.receive()).coordinators[0].error_code
        await connection.send(0, heartbeat(group, 1, "unknown"))
        absent = (await connection.receive()).error_code


async def main(address):
    host, port = address.split(":")
    opened = partial(connect, host, int(port))
    first = await opened("recorder")
    await coordinator_is_there(first, "recorder")
    await trio.sleep(5)  # all partitions of __consumer_offsets
    answers = {}
    for scenario in SCENARIOS:
        name = scenario.__name__
        stage = ApacheStage(opened, name)
        await scenario(stage, name)
        answers[name] = stage.answered
    write_answers(answers)


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
