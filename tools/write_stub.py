"""Write ``kwire/wire/messages.pyi`` from ``protocol_specs/``: the messages for type checkers and editors.

python tools/write_stub.py
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from kwire.wire import spec  # noqa: E402 - runs from a checkout, without installing
from kwire.wire.message import default_source  # noqa: E402

STUB = ROOT / "kwire" / "wire" / "messages.pyi"
PYTHON = {
    "bool": "bool",
    "float64": "float",
    "string": "str",
    "bytes": "bytes",
    "uuid": "bytes",
} | dict.fromkeys(("int8", "int16", "uint16", "int32", "uint32", "int64"), "int")
HEAD = """\
# Written by tools/write_stub.py from protocol_specs/. Do not edit.
# A comment behind a field names the versions that have it; without one, all versions of the message do.
from collections.abc import Sequence, Sized
from typing import TypeAlias

from kwire.wire.message import Message as Message

# A records field to encode: one part, or several in order.
Records: TypeAlias = Sized | Sequence[Sized]
"""


def stub_text() -> str:
    return HEAD + "".join(message_text(spec.load(name)) for name in spec.names())


def message_text(message: spec.MessageSpec) -> str:
    structs: dict[str, spec.Struct] = {}
    for _, field in spec.walk(message.fields):
        if field.struct is not None:
            structs.setdefault(field.struct.name, field.struct)
    lines = ["", f"class {message.name}(Message):"]
    for struct in structs.values():
        lines.append(f"    class {struct.name}(Message):")
        lines += class_body(message, struct.fields, "        ")
    lines += class_body(message, message.fields, "    ")
    return "\n".join(lines) + "\n"


def class_body(message: spec.MessageSpec, fields: tuple[spec.Field, ...], indent: str) -> list[str]:
    if not fields:
        return [f"{indent}def __init__(self) -> None: ..."]
    lines = [f"{indent}{field.name}: {type_text(message, field)}{versions_text(message, field)}" for field in fields]
    arguments = ", ".join(f"{field.name}: {type_text(message, field, given=True)} = ..." for field in fields)
    return [*lines, f"{indent}def __init__(self, *, {arguments}) -> None: ..."]


def versions_text(message: spec.MessageSpec, field: spec.Field) -> str:
    """The versions that carry the field, as a trailing comment; nothing where every version of the message does."""
    lowest, highest = field.versions.lowest, field.versions.highest
    if lowest <= message.versions.lowest and highest >= message.versions.highest:
        return ""
    if highest >= message.versions.highest:
        return f"  # {lowest}+"
    return f"  # {lowest}" if lowest == highest else f"  # {lowest}-{highest}"


def type_text(message: spec.MessageSpec, field: spec.Field, *, given: bool = False) -> str:
    """The type of an attribute, or with ``given`` of a constructor's argument."""
    if field.type == "records":
        # A request's records were decoded, a response's are to be encoded.
        return "Records | None" if given or message.kind == "response" else "memoryview | None"
    kind = field.item or field.type
    text = f"{message.name}.{field.struct.name}" if field.struct else PYTHON[kind]
    if field.type == "array":
        text = f"list[{text}]"
    optional = field.nullable.highest >= field.nullable.lowest or default_source(field) == "None"
    return f"{text} | None" if optional else text


if __name__ == "__main__":
    STUB.write_text(stub_text(), "utf-8")
