"""Where the scenarios of ``group_scenarios`` are played: asks a broker over some connections and notes the answers.

What differs between any two brokers is blotted out: random parts of member ids, topic ids, ports, the order of lists.
"""

import gzip
import json
import re
from pathlib import Path

from kwire.wire import messages as m
from kwire.wire.message import Message

ANSWERS = Path(__file__).with_name("group_answers.json.gz")

_RANDOM = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Stage:
    """One play of one scenario. ``connect(client_id)`` gives a connection with ``send``, ``receive`` and ``close``."""

    def __init__(self, connect, group):
        self.answered = []  # label, version, what came
        self.client_ids = {}
        self._connect = connect
        self._group = group
        self._connections = {}
        self._sent = {}
        self._names = {}

    async def ask(self, label, version, request, who="main"):
        await self.send(version, request, who)
        return await self.answer(label, who)

    async def send(self, version, request, who):
        connection = self._connections.get(who)
        if connection is None:
            connection = self._connections[who] = await self._connect(self.client_ids.get(who, "cl"))
        self._sent[who] = version
        await connection.send(version, request)

    async def answer(self, label, who):
        response = await self._connections[who].receive()
        self._name(getattr(response, "member_id", ""))
        if isinstance(response, m.ListGroupsResponse):
            response.groups = [each for each in response.groups if each.group_id.startswith(self._group)]
        self.answered.append([label, self._sent[who], self._comparable(response)])
        return response

    async def answers(self, label, *several):
        return [await self.answer(label, who) for who in several]

    async def hang_up(self, who):
        await self._connections.pop(who).close()

    async def topic(self, name):
        """The id of a topic, which is there from now on."""
        wanted = m.MetadataRequest.MetadataRequestTopic(name=name)
        request = m.MetadataRequest(topics=[wanted], allow_auto_topic_creation=True)
        while True:
            await self.send(12, request, "main")
            (topic,) = (await self._connections["main"].receive()).topics
            if topic.error_code == 0 and not any(each.error_code for each in topic.partitions):
                return topic.topic_id
            await self.on_append_result()

    async def on_append_result(self):
        """Let requests that were sent reach the group."""
        raise NotImplementedError

    async def pass_ms(self, duration_ms):
        raise NotImplementedError

    def _name(self, text):
        return _RANDOM.sub(lambda found: self._names.setdefault(found[0], f"<{len(self._names)}>"), text)

    def _comparable(self, value, field=""):
        if isinstance(value, Message):
            return {name: self._comparable(getattr(value, name), name) for name in value.__slots__}
        if isinstance(value, list):
            return sorted((self._comparable(each) for each in value), key=repr)
        if field in ("topic_id", "port"):
            return "unset" if value in (bytes(16), 0, -1) else "set"
        if isinstance(value, bytes | memoryview):
            return bytes(value).hex()
        return self._name(value) if isinstance(value, str) else value


def read_answers():
    """By scenario."""
    with gzip.open(ANSWERS, "rt", encoding="utf-8") as file:
        return json.load(file)


def write_answers(answers):
    # No time stamp inside, so that the same answers are the same file.
    with ANSWERS.open("wb") as file, gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as packed:
        packed.write(json.dumps(answers, sort_keys=True, indent=0).encode("utf-8"))
