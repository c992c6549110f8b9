"""Each handler of the API table raises once: its client is answered or closed, and other clients are served."""

import trio
from edge import API_VERSIONS, Client
from peer import Peer

from kwire.api import api_table
from kwire.errors import Code
from kwire.metadata.features import SERVED
from kwire.server.bindings import Limits
from kwire.server.connections.connection import serve_connection
from kwire.server.connections.registry import ConnectionRegistry, Listener
from kwire.testing.memory.transport import MemoryTransport

# SaslHandshake and SaslAuthenticate are refused before their handlers on a listener without SASL.
SASL = {17, 36}


class Bug(Exception):
    """What no part of the broker expects."""


async def test_any_handler_may_raise(start_broker, nursery, capsys):
    async with start_broker() as broker:
        levels = {name: versions.highest for name, versions in SERVED.items()}
        apis = api_table(broker.configs.broker, levels)
        registry = ConnectionRegistry(apis, broker.clock, Limits)
        listener = Listener(Peer.endpoint, registry)

        def connect():
            transport = MemoryTransport()
            nursery.start_soon(serve_connection, broker, transport, listener)
            return Client(transport)

        def fail(context, request):
            raise Bug(f"key {context.api_key}")

        other = connect()
        for key, api in sorted(apis.items()):
            if key in SASL:
                continue
            handler, waits = api.handler, api.waits
            api._handler, api.waits = fail, False
            client = connect()
            with trio.fail_after(150):
                client.transport.feed(client.request(key, api.served[1]))
                answer = await client.response()
                if answer is not None:
                    assert getattr(answer[1], "error_code", Code.UNKNOWN_SERVER_ERROR) == Code.UNKNOWN_SERVER_ERROR, api
                    assert await client.response() is None, api  # closed behind the answer
                api._handler, api.waits = handler, waits
                other.transport.feed(other.request(API_VERSIONS, 0))
                assert (await other.response())[1].error_code == Code.NONE
            assert f"key {key}" in capsys.readouterr().err, api
        nursery.cancel_scope.cancel()
