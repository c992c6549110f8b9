"""A connection without a socket: requests go through the same dispatch as on the wire."""

import trio

from kwire.api import api_table
from kwire.broker.background.cleaner import Cleaner
from kwire.broker.clients.client import Client
from kwire.broker.controller.interface import only
from kwire.broker.endpoint import Endpoint
from kwire.broker.requests.context import Context
from kwire.broker.requests.dispatch import dispatch
from kwire.metadata.commands.topics import CreateTopics
from kwire.metadata.configs.effective import BrokerSettings, EffectiveConfigs
from kwire.metadata.decisions.topics import NewTopic
from kwire.metadata.features import bootstrap_levels
from kwire.metadata.image import MetadataImage
from kwire.wire import codec


def apis_of(broker):
    """The API table that a server makes for this broker."""
    return api_table(broker.configs.broker, broker.controller.finalized_features.levels)


def all_apis():
    """The API table of a broker with default settings."""
    configs = EffectiveConfigs(MetadataImage(), BrokerSettings(), node_id=1)
    return api_table(configs.broker, bootstrap_levels())


class Peer:
    """A connection as a handler sees it, and a client that calls one API at one version."""

    endpoint = Endpoint("PLAINTEXT", "PLAINTEXT", "localhost", 9092)

    def __init__(self, broker, client_id="test"):
        self.broker = broker
        self.apis = apis_of(broker)
        self.client = Client("test", 1, self.endpoint, authenticated_at_ms=0)
        self.yielded_turns = 0
        self.client_id = client_id
        self.waits = 0
        self.checked_batches = 0
        self.closing = {}

    def close(self):
        for callback in self.closing.values():
            callback()

    async def send_pending(self):
        await trio.lowlevel.checkpoint()

    async def in_thread(self, call):
        await trio.to_thread.run_sync(call)

    async def yield_turn(self):
        self.yielded_turns += 1
        await trio.lowlevel.checkpoint()

    async def wait(self, event, timeout_ms):
        self.waits += 1
        with trio.CancelScope() as scope:
            timer = self.broker.clock.call_later(timeout_ms, scope.cancel)
            await event.wait()
        timer.cancel()
        return event.is_set()

    async def call(self, version, request):
        """Encode and decode both ways at ``version``, so that a test sees what a client would."""
        key = request.KEY
        api = self.apis[key]
        assert api.serves(version), f"{api.name} v{version} is not served"
        frame = memoryview(codec.encode_request(key, version, 7, self.client_id, request))[4:]
        header = codec.read_header(frame)
        context = Context(self.broker, self, key, version, header.client_id, header.correlation_id)
        response = await dispatch(api, context, codec.decode_request(header, frame))
        if response is None:
            return None
        parts = codec.encode_response(header, response)
        reply = b"".join(part if isinstance(part, bytes | bytearray | memoryview) else _taken(part) for part in parts)
        correlation_id, decoded = codec.decode_response(key, version, memoryview(reply)[4:])
        assert correlation_id == 7
        return decoded

    async def create_topic(self, name, partitions=1, **configs):
        """Create a topic (config names with underscores for dots) and give its id."""
        await trio.lowlevel.checkpoint()
        topic = NewTopic(
            name, partitions, configs={key.replace("_", "."): str(value) for key, value in configs.items()}
        )
        return only(await self.broker.controller.submit(CreateTopics([topic]))).topic_id


def _taken(piece):
    try:
        return piece.pread()
    finally:
        piece.close()


def cleaner_of(broker):
    """A cleaner of its own over a broker's parts, driven by hand."""
    return Cleaner(
        partitions=broker.partitions,
        dirs=broker.dirs,
        clock=broker.clock,
        configs=broker.configs,
        file_remover=broker.file_remover,
        storage_failures=broker.storage_failures,
    )
