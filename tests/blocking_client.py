"""A client for tests that are not in an event loop: one connection on localhost, one request after the other."""

import socket

from kwire.wire import codec


class BlockingClient:
    def __init__(self, port, client_id="client"):
        self.socket = socket.create_connection(("localhost", port), timeout=150)
        self.client_id = client_id

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.close()

    def close(self):
        self.socket.close()

    def call(self, version, request):
        self.send(version, request)
        return self.answer(version, request)

    def send(self, version, request):
        self.socket.sendall(codec.encode_request(request.KEY, version, 7, self.client_id, request))

    def answer(self, version, request):
        """Read the response to this request."""
        frame = self._exactly(int.from_bytes(self._exactly(4), "big"))
        return codec.decode_response(request.KEY, version, memoryview(frame))[1]

    def _exactly(self, count):
        content = b""
        while len(content) < count:
            piece = self.socket.recv(count - len(content))
            assert piece, "the broker has closed"
            content += piece
        return content
