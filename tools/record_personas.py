"""Record what older releases of Apache Kafka answer about versions and configs, for ``kwire serve --as``.

    python tools/record_personas.py [2.8] [3.9] ... [--differences]

Starts the official broker of each release in turn, with its default settings for one machine, and writes
``kwire/personas.json`` (ranges and features), ``kwire/metadata/configs/persona_configs.json`` (how the configs differ
from those of the newest), ``tests/api/persona_answers.json`` (ApiVersions as it was answered) and
``tests/metadata/persona_configs.json`` (all configs that were described, and which values a topic may have). With
``--differences`` it starts no broker, and writes the differences again.
Responsible for: the brokers, and the layout of the files. Must not depend on: what kwire makes of it. Needs
what ``make interop`` needs.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

import persona_configs  # noqa: E402

from interop.older_brokers import official_broker  # noqa: E402
from kwire.errors import ProtocolViolation  # noqa: E402
from kwire.wire import codec  # noqa: E402

TABLES: Final = ROOT / "kwire" / "personas.json"
CONFIGS: Final = ROOT / "kwire" / "metadata" / "configs" / "persona_configs.json"
DESCRIBED: Final = ROOT / "tests" / "metadata" / "persona_configs.json"
ANSWERS: Final = ROOT / "tests" / "api" / "persona_answers.json"
NEWEST: Final = "4.4"
RELEASES: Final = {"2.8": "2.8.2", "3.9": "3.9.1", "4.0": "4.0.1", "4.3": "4.3.1", "4.4": "4.4.0"}
API_VERSIONS: Final = 18
_HIGHEST: Final = 5
_OF_THE_FUTURE: Final = 99


def main() -> None:
    arguments = sys.argv[1:]
    wanted = [] if arguments == ["--differences"] else arguments or list(RELEASES)
    tables, answers, described = (
        json.loads(path.read_text("utf-8")) if path.exists() else {} for path in (TABLES, ANSWERS, DESCRIBED)
    )
    for name in wanted:
        tables[name], answers[name], described[name] = record(RELEASES[name])
        print(f"{name}: {len(tables[name]['apis'])} APIs, features {tables[name]['finalized_features']}", flush=True)
        for path, every in ((TABLES, tables), (ANSWERS, answers), (DESCRIBED, described)):
            path.write_text(_text({name: every[name] for name in RELEASES if name in every}), "utf-8")
    if NEWEST in described:
        differences = {
            name: persona_configs.difference(described[name], described[NEWEST])
            for name in RELEASES
            if name in described and name != NEWEST
        }
        CONFIGS.write_text(_text(differences), "utf-8")


def record(release: str) -> tuple[dict[str, Any], dict[str, str], dict[str, Any]]:
    """Give the table of a release, its answers as hexadecimal text by the version asked for, and its configs."""
    with tempfile.TemporaryDirectory(prefix="persona-") as folder:
        broker = official_broker(Path(folder), release)
        broker.start()
        try:
            answers = {str(version): ask(broker.port, version) for version in (*range(_HIGHEST + 1), _OF_THE_FUTURE)}
            configs = persona_configs.ask(broker.port)
        finally:
            broker.stop()
    return table(release, answers), {version: answer.hex() for version, answer in answers.items()}, configs


def ask(port: int, version: int) -> bytes:
    """Send ApiVersions at a version; give the response's frame without its size, empty if the broker closed."""
    body = b"" if version < 3 else b"\x09recorder\x021"
    body += b"\x00" + struct.pack(">i", -1) if version >= 5 else b""
    tags = b"\x00" if version >= 3 else b""
    frame = struct.pack(">hhih", API_VERSIONS, version, 7, 1) + b"c" + tags + body + tags
    with socket.create_connection(("localhost", port), 10) as connection:
        connection.settimeout(30)
        connection.sendall(struct.pack(">i", len(frame)) + frame)
        size = struct.unpack(">i", _receive(connection, 4) or b"\0\0\0\0")[0]
        return _receive(connection, size)


def _receive(connection: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count:
        chunk = connection.recv(count - len(received))
        if not chunk:
            return b""
        received += chunk
    return received


def table(release: str, answers: dict[str, bytes]) -> dict[str, Any]:
    """Read the newest answer that is no refusal."""
    version = max(int(text) for text, answer in answers.items() if answer and answer[4:6] == b"\0\0")
    try:
        _, answer = codec.decode_response(API_VERSIONS, version, memoryview(answers[str(version)]))
    except ProtocolViolation as violation:
        raise SystemExit(f"{release}: {violation}") from violation
    return {
        "release": release,
        "apis": [[each.api_key, each.min_version, each.max_version] for each in answer.api_keys],
        "supported_features": [[each.name, each.min_version, each.max_version] for each in answer.supported_features],
        "finalized_features": [[each.name, each.max_version_level] for each in answer.finalized_features],
        "keeps_metadata_in_zookeeper": release.startswith("2."),
    }


def _text(value: dict[str, Any]) -> str:
    """Write JSON with one line for each release and field."""
    lines = [
        f" {json.dumps(name)}: {{\n"
        + ",\n".join(f"  {json.dumps(key)}: {json.dumps(one)}" for key, one in fields.items())
        + "\n }"
        for name, fields in value.items()
    ]
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    main()
