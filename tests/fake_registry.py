"""A schema registry for tests: the REST calls over HTTP, and over a function without HTTP."""

import base64
import http.server
import json
import threading
from contextlib import contextmanager

import pytest

from kwire.schemas import address, process


class FakeRegistry:
    """``schemas`` has answers by path without the query; ``asked`` the paths in order, with the query."""

    def __init__(self):
        self.schemas = {}
        self.asked = []
        self.headers = []

    def add(self, number, schema, kind=None, references=()):
        """Register a schema under an id; a dictionary is Avro or JSON Schema."""
        answer = {"schema": schema if isinstance(schema, str) else json.dumps(schema)}
        if kind is not None:
            answer["schemaType"] = kind
        if references:
            answer["references"] = [
                {"name": name, "subject": subject, "version": version} for name, subject, version in references
            ]
        self.schemas[f"/schemas/ids/{number}"] = answer

    def add_subject(self, subject, version, schema, references=()):
        self.add(0, schema, references=references)
        self.schemas[f"/subjects/{subject}/versions/{version}"] = self.schemas.pop("/schemas/ids/0")

    async def fetch(self, path):
        return self.answer(path)

    def answer(self, path):
        self.asked.append(path)
        found = self.schemas.get(path.partition("?")[0])
        if found is None:
            return 404, b'{"error_code": 40403, "message": "Schema not found"}'
        return 200, found if isinstance(found, bytes) else json.dumps(found).encode()


def framed(number, payload):
    return b"\0" + number.to_bytes(4, "big") + payload


def serialized(descriptor):
    """A .proto file as registries give it with format=serialized."""
    return base64.b64encode(descriptor.SerializeToString()).decode()


@contextmanager
def served(registry, respond=None, context=None):
    """Serve a registry on a free port of this machine; yields its URL. ``respond(handler)`` answers instead of it.

    ``context`` has the certificate for https.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            registry.headers.append(dict(self.headers))
            if respond is not None:
                respond(self)
                return
            status, body = registry.answer(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_arguments: None  # a client that does not trust the certificate
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        with pytest.MonkeyPatch.context() as patch:
            # A busy machine may be late.
            patch.setattr(address, "ANSWER_S", 60.0)
            patch.setattr(process, "CALL_S", 120.0)
            yield f"http{'s' if context else ''}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
