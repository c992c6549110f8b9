"""A schema registry that keeps schemas in memory and speaks the REST calls that serializers make.

The subjects, versions, ids and GUIDs of Confluent's registry, without compatibility rules. A Protobuf schema is given
as it was registered: confluent-kafka registers a FileDescriptorProto, Java's serializers source.
"""

import contextlib
import http.server
import json
import threading
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

_FIELDS = ("schema", "schemaType", "references", "metadata", "ruleSet")


class SchemaRegistry:
    """``schemas`` by id from 1; ``subjects`` have the ids of their versions."""

    def __init__(self) -> None:
        self.schemas: list[dict[str, Any]] = []
        self.subjects: dict[str, list[int]] = {}
        self.asked: list[str] = []
        self.down = threading.Event()

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        self.asked.append(f"{method} {path}")
        match [unquote(part) for part in urlsplit(path).path.strip("/").split("/")]:
            case ["subjects", subject, *rest] if method == "POST" and rest in ([], ["versions"]):
                return 200, self._registered(subject, body)
            case ["subjects", subject, "versions", version] if subject in self.subjects:
                number = len(self.subjects[subject]) if version == "latest" else int(version)
                return 200, self._version(subject, number)
            case ["schemas", "ids", number] if 0 < int(number) <= len(self.schemas):
                return 200, self.schemas[int(number) - 1]
            case ["schemas", "guids", guid]:
                for each in self.schemas:
                    if each["guid"] == guid:
                        return 200, each
        return 404, {"error_code": 40403, "message": "Schema not found"}

    def _registered(self, subject: str, body: dict[str, Any]) -> dict[str, Any]:
        schema = {name: body[name] for name in _FIELDS if body.get(name)}
        known = [{name: each[name] for name in _FIELDS if name in each} for each in self.schemas]
        if schema not in known:
            known.append(schema)
            self.schemas.append({**schema, "guid": str(uuid.uuid4())})
        number = known.index(schema) + 1
        versions = self.subjects.setdefault(subject, [])
        if number not in versions:
            versions.append(number)
        return self._version(subject, versions.index(number) + 1)

    def _version(self, subject: str, version: int) -> dict[str, Any]:
        number = self.subjects[subject][version - 1]
        return {"subject": subject, "version": version, "id": number, **self.schemas[number - 1]}


@contextlib.contextmanager
def served() -> Iterator[tuple[str, SchemaRegistry]]:
    """Serve a registry on a free port; yields its URL too. While ``down`` is set it takes connections and is silent."""
    registry = SchemaRegistry()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if registry.down.is_set():
                released.wait(60)
                return
            size = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(size)) if size else None
            status, answer = registry.answer(self.command, self.path, body)
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_PUT = do_GET  # noqa: N815

        def log_message(self, *_arguments: object) -> None:
            pass

    released = threading.Event()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", registry
    finally:
        released.set()
        server.shutdown()
        server.server_close()
