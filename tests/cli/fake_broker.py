"""A broker whose answers a test chooses, for commands that must report wrong answers."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from contextlib import contextmanager
from pathlib import Path

from kwire.errors import ProtocolViolation
from kwire.wire import codec
from kwire.wire.messages import ApiVersionsResponse

CLOSE = object()
SILENT = object()
CERTIFICATE = Path(__file__).parent / "localhost.pem"  # a key and a certificate for tests, self-signed


class FakeBroker:
    """Advertises ``versions`` (key -> lowest, highest).

    ``answers`` holds, by (key, version) or by key alone, a response, bytes to send after the size unchanged, CLOSE
    or SILENT; without one a response of defaults is sent. ``greeting`` is sent instead of any answer, once
    ``greets_after`` was received. With ``tls`` a connection without TLS is closed without an answer.
    """

    def __init__(self, versions, answers=None, *, greeting=None, greets_after=b"", tls=False):
        self.versions = versions
        self.answers = {} if answers is None else answers
        self.greeting = greeting
        self.greets_after = greets_after
        self.tls = tls
        self.requests = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(150)

    def _accept(self):
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(peer,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, peer):
        with contextlib.suppress(OSError), self._secured(peer) as secured:
            if self.greeting is not None:
                received = secured.recv(1000)
                while self.greets_after not in received:
                    more = secured.recv(1000)
                    if not more:
                        return
                    received += more
                secured.sendall(self.greeting)
                return
            with secured.makefile("rb") as stream:
                while (size := stream.read(4)) and int.from_bytes(size, "big") < 1 << 20:
                    if not self._answer(secured, memoryview(stream.read(int.from_bytes(size, "big")))):
                        return

    def _secured(self, peer):
        if not self.tls:
            return peer
        if peer.recv(1, socket.MSG_PEEK) != b"\x16":
            peer.close()
            raise ConnectionError("comes without TLS")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)
        return context.wrap_socket(peer, server_side=True)

    def _answer(self, peer, frame):
        try:
            header = codec.read_header(frame)
            request = codec.decode_request(header, frame)
        except ProtocolViolation:
            return False
        self.requests.append((header.api_key, header.api_version, request))
        answer = self.answers.get((header.api_key, header.api_version), self.answers.get(header.api_key))
        if answer is CLOSE:
            return False
        if answer is SILENT:
            return True
        if isinstance(answer, bytes):
            body = header.correlation_id.to_bytes(4, "big") + answer
            peer.sendall(len(body).to_bytes(4, "big") + body)
            return True
        if answer is None:
            answer = self._default(header.api_key)
        peer.sendall(b"".join(codec.encode_response(header, answer)))
        return True

    def _default(self, key):
        if key == ApiVersionsResponse.KEY:
            api = ApiVersionsResponse.ApiVersion
            return ApiVersionsResponse(
                api_keys=[
                    api(api_key=each, min_version=low, max_version=high) for each, (low, high) in self.versions.items()
                ]
            )
        return codec.response_class(key)()


@contextmanager
def fake_broker(versions, answers=None, **how):
    broker = FakeBroker(versions, answers, **how)
    try:
        yield broker
    finally:
        broker.close()
