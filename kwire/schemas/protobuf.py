"""Protobuf: a message of the file that the registry has.

Responsible for: making message classes of descriptors, which of them was written or is to be. Must not depend on: where
the schema comes from.

A registry gives the file as a FileDescriptorProto, or as source, which ``protoc`` compiles where grpcio-tools is
installed. The files that Confluent's registry has built in (confluent/*.proto, google/type/*.proto) are not among the
references of a schema: ``_built_in`` has them.
"""

from __future__ import annotations

import base64
import binascii
import importlib
from collections.abc import Iterator
from typing import Any, Final

from google.protobuf import json_format, message_factory
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError

from kwire.schemas.compiled import Compiled
from kwire.schemas.framing import read_message_indexes, write_message_indexes
from kwire.schemas.problems import SchemaError, reason
from kwire.schemas.protoc import compile_source
from kwire.schemas.registry import Schema

_MAIN: Final = "kwire_main.proto"
_BYTES, _UINT32, _INT32 = (
    FieldDescriptorProto.TYPE_BYTES,
    FieldDescriptorProto.TYPE_UINT32,
    FieldDescriptorProto.TYPE_INT32,
)


def compile_protobuf(schema: Schema) -> Compiled:
    """Make a reader and a writer. Raises SchemaError."""
    files = _descriptors(schema)
    pool = DescriptorPool()
    try:
        for file in files:
            _add(pool, file, {each.name for each in files})
    except (TypeError, ValueError) as error:
        raise SchemaError(f"it is not a Protobuf schema: {reason(error)}") from None
    main = files[-1]

    def decode(payload: bytes, indexes: bytes | None) -> tuple[str, str]:
        if indexes:
            path, _ = read_message_indexes(indexes)
        else:
            path, payload = read_message_indexes(payload)
        name = _message_name(main, path)
        message = message_factory.GetMessageClass(pool.FindMessageTypeByName(name))()
        message.ParseFromString(payload)
        shown = json_format.MessageToJson(
            message,
            indent=None,
            preserving_proto_field_name=True,
            always_print_fields_with_no_presence=True,
            ensure_ascii=False,
            descriptor_pool=pool,
        )
        return name, shown

    def encode(text: str, message: str | None) -> bytes:
        path = [0] if message is None else _message_path(main, message)
        value = message_factory.GetMessageClass(pool.FindMessageTypeByName(_message_name(main, path)))()
        try:
            json_format.Parse(text, value, descriptor_pool=pool)
        except json_format.ParseError as error:
            raise SchemaError(str(error)) from None
        payload: bytes = value.SerializeToString()
        return write_message_indexes(path) + payload

    return Compiled(decode, encode)


def _descriptors(schema: Schema) -> list[FileDescriptorProto]:
    """Give the files, the main one last."""
    named = [*schema.imports, (_MAIN, schema.text)]
    files = [_serialized(text, name) for name, text in named]
    if all(files):
        return [file for file in files if file is not None]
    if any(files):
        raise SchemaError("the registry gave a part of it as source and a part serialized")
    return compile_source(named)


def _serialized(text: str, name: str) -> FileDescriptorProto | None:
    """Read a FileDescriptorProto in base64; None for source, which has spaces and braces."""
    try:
        file = FileDescriptorProto.FromString(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError, DecodeError):
        return None
    # Others import it by this name, whatever it was called where it was compiled.
    file.name = name
    return file


def _add(pool: DescriptorPool, file: FileDescriptorProto, known: set[str]) -> None:
    for name in file.dependency:
        if name not in known:
            known.add(name)
            _add(pool, _built_in(name), known)
    pool.AddSerializedFile(file.SerializeToString())


def _built_in(name: str) -> FileDescriptorProto:
    """Give a file that registries and protoc have without being given it. Raises SchemaError."""
    if name == "confluent/meta.proto":
        # It declares options of files, messages and fields, which change no bytes of a message.
        return FileDescriptorProto(name=name)
    if name == "confluent/type/decimal.proto":
        return _decimal(name)
    file = FileDescriptorProto()
    try:
        if not name.startswith("google/"):
            raise ImportError
        module: Any = importlib.import_module(name.removesuffix(".proto").replace("/", ".") + "_pb2")
        file.ParseFromString(module.DESCRIPTOR.serialized_pb)
    except (ImportError, AttributeError):
        raise SchemaError(f"it imports {name}, which the registry did not give") from None
    return file


def _decimal(name: str) -> FileDescriptorProto:
    file = FileDescriptorProto(name=name, package="confluent.type", syntax="proto3")
    message = file.message_type.add(name="Decimal")
    for number, (field, kind) in enumerate((("value", _BYTES), ("precision", _UINT32), ("scale", _INT32)), 1):
        message.field.add(name=field, number=number, type=kind, label=FieldDescriptorProto.LABEL_OPTIONAL)
    return file


def _message_name(file: FileDescriptorProto, path: list[int]) -> str:
    names = [file.package] if file.package else []
    messages: Any = file.message_type
    for index in path:
        if not 0 <= index < len(messages):
            raise SchemaError(f"it has no message with the indexes {path}")
        names.append(messages[index].name)
        messages = messages[index].nested_type
    return ".".join(names)


def _message_path(file: FileDescriptorProto, name: str) -> list[int]:
    """Give the indexes of a message by its full name, such as shop.Order.Line."""
    paths = dict(_messages(file.message_type, f"{file.package}." if file.package else "", []))
    if name not in paths:
        raise SchemaError(f"it has no message {name}; its messages are {', '.join(paths)}")
    return paths[name]


def _messages(messages: Any, prefix: str, parents: list[int]) -> Iterator[tuple[str, list[int]]]:
    for index, message in enumerate(messages):
        if message.options.map_entry:
            continue
        yield prefix + message.name, [*parents, index]
        yield from _messages(message.nested_type, f"{prefix}{message.name}.", [*parents, index])
