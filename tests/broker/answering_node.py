"""The server side of a connection to another node."""

import trio

from kwire.limits import READ_CHUNK_BYTES
from kwire.wire import codec
from kwire.wire.frames import FrameSplitter


async def serve_requests(transport, answer):
    """Send ``await answer(header, request)`` for each request, until it is None or the client closes."""
    frames = FrameSplitter(1 << 20)
    while True:
        try:
            chunk = await transport.recv(READ_CHUNK_BYTES)
        except (OSError, trio.ClosedResourceError):
            return
        if not chunk:
            return
        for frame in frames.feed(chunk):
            header = codec.read_header(frame)
            response = await answer(header, codec.decode_request(header, frame))
            if response is None:
                return
            await transport.send(codec.encode_response(header, response))
