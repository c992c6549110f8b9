"""Golden bytes: every message at every version as the official classes of Apache Kafka 4.3.1 encode it.

Three of each: all fields at their defaults, all fields filled, and an edge case (nulls where allowed, extreme integers,
text outside ASCII). ``golden.jsonl.xz`` has one line for each (message, version).
"""

import json
import lzma
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from kwire.wire import messages
from kwire.wire.message import Message


class Vector(NamedTuple):
    cls: type[Message]
    version: int
    kind: str  # default, filled or edge
    encoded: bytes
    values: dict[str, Any]  # in Kafka's JSON form

    def __str__(self) -> str:
        return f"{self.cls.NAME} v{self.version} {self.kind}"


@cache
def vectors() -> list[Vector]:
    lines = lzma.decompress((Path(__file__).parent / "golden.jsonl.xz").read_bytes()).decode().splitlines()
    return [
        Vector(getattr(messages, row["message"]), row["version"], kind, bytes.fromhex(row[kind][0]), row[kind][1])
        for row in map(json.loads, lines)
        for kind in ("default", "filled", "edge")
    ]
