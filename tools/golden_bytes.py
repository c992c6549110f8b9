"""Encode every message at every version with the official classes: ``tests/wire/golden.jsonl.xz``.

Responsible for the values. Three messages of each: nothing set; everything set; and an edge case, with null where
null is allowed, the extremes of integers, and text outside ASCII. Runs from ``update_specs.py``.
"""

from __future__ import annotations

import json
import lzma
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from kwire.wire import spec  # noqa: E402 - runs from a checkout, without installing

Json = dict[str, Any]

GOLDEN = ROOT / "tests" / "wire" / "golden.jsonl.xz"
BITS = {"int8": 8, "int16": 16, "int32": 32, "int64": 64}


def write_golden(reflected: Json, libs: str) -> None:
    classes = {message["name"]: message["class"] for message in reflected["messages"]}
    questions = []
    for name in spec.names():
        message = spec.load(name)
        for version in range(message.versions.lowest, message.versions.highest + 1):
            for kind, values in (
                ("default", None),
                ("filled", Filled().structure(message.fields, version)),
                ("edge", Edge().structure(message.fields, version)),
            ):
                questions.append({"name": name, "version": version, "kind": kind, "values": values})
    lines = "".join(json.dumps({**question, "class": classes[question["name"]]}) + "\n" for question in questions)
    command = ["java", "-cp", f"{libs}/*", str(ROOT / "tools" / "java" / "EncodeMessages.java")]
    answered = subprocess.run(command, input=lines, text=True, encoding="utf-8", stdout=subprocess.PIPE, check=True)
    rows: dict[tuple[str, int], Json] = {}
    for question, line in zip(questions, answered.stdout.splitlines(), strict=True):
        answer = json.loads(line)
        name, version = question["name"], question["version"]
        row = rows.setdefault((name, version), {"message": name, "version": version})
        row[question["kind"]] = [answer["hex"], answer["values"]]
    text = "".join(json.dumps(row, separators=(",", ":"), ensure_ascii=False) + "\n" for row in rows.values())
    GOLDEN.write_bytes(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))


class Filled:
    """Every field set, numbers all different, two items in each array."""

    items = 2

    def __init__(self) -> None:
        self.number = 0

    def structure(self, fields: tuple[spec.Field, ...], version: int) -> Json:
        return {field.json: self.value(field, version) for field in fields if version in field.versions}

    def value(self, field: spec.Field, version: int) -> Any:
        if field.type == "array":
            return [self.item(field, field.item, version) for _ in range(self.items)]
        return self.item(field, field.type, version)

    def item(self, field: spec.Field, kind: str, version: int) -> Any:
        if kind == "struct":
            assert field.struct is not None
            return self.structure(field.struct.fields, version)
        self.number += 1
        return self.plain(field, kind)

    def plain(self, field: spec.Field, kind: str) -> Any:
        values = {
            "bool": True,
            "string": f"{field.json}-{self.number}",
            "uuid": "mZMbB5mTSRKhDTXJU-7RCQ",
            "bytes": "AAECAw==",
            "records": "",
            "float64": self.number + 0.5,
            "int8": self.number % 120,
        }
        return values.get(kind, self.number)


class Edge(Filled):
    """Null where null is allowed, else the least or greatest value of the type."""

    items = 1

    def value(self, field: spec.Field, version: int) -> Any:
        return None if version in field.nullable else super().value(field, version)

    def plain(self, field: spec.Field, kind: str) -> Any:
        high = self.number % 2
        values = {
            "string": "é✓😀" if high else "",
            "bytes": "",
            "float64": -1e300,
            "uint16": 2**16 - 1,
            "uint32": 2**32 - 1,
        } | {name: 2 ** (bits - 1) - 1 if high else -(2 ** (bits - 1)) for name, bits in BITS.items()}
        return values[kind] if kind in values else super().plain(field, kind)
