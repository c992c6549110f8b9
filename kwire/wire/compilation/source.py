"""The common base of the generators of decoders and encoders.

Responsible for: lines of source, unused names, and the values that the source refers to by name. Must not depend on:
the generated functions.
"""

from __future__ import annotations

import linecache
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from kwire.errors import ProtocolViolation
from kwire.types import ZERO_UUID
from kwire.wire.compilation.schema import schema
from kwire.wire.message import EncodingError, Message


class SourceWriter:
    """Base of the writers: one function of one message at one version."""

    def __init__(self, message: type[Message], version: int, verb: str) -> None:
        self.message = message
        self.version = version
        self.function = f"{verb}_{message.NAME}_v{version}"
        self.schema = schema(message, version)
        self.lines: list[str] = []
        self.depth = 0
        self.names: dict[str, Any] = {
            "ProtocolViolation": ProtocolViolation,
            "EncodingError": EncodingError,
            "StructError": struct.error,
            "new": object.__new__,
            "ZERO_UUID": ZERO_UUID,
        }
        self.counters: dict[str, int] = {}

    def text(self) -> str:
        if not self.lines:
            self.write()
        return "\n".join(self.lines) + "\n"

    def function_object(self) -> Any:
        """Compile the source, registered with linecache so that a traceback shows its lines."""
        text = self.text()
        filename = f"<kwire {self.function}>"
        linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
        exec(compile(text, filename, "exec"), self.names)  # noqa: S102 - our own text, out of our own spec files
        return self.names[self.function]

    def write(self) -> None:
        """Write all lines."""
        raise NotImplementedError

    def line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    @contextmanager
    def block(self, text: str) -> Iterator[None]:
        self.line(text)
        self.depth += 1
        yield
        self.depth -= 1

    def fresh(self, name: str) -> str:
        """Make a local variable's name that nothing else uses."""
        number = self.counters[name] = self.counters.get(name, 0) + 1
        return f"{name}{number}"

    def use(self, helper: Callable[..., Any]) -> str:
        self.names[helper.__name__] = helper
        return helper.__name__

    def use_class(self, message: type[Message]) -> str:
        self.names[message.NAME] = message
        return message.NAME

    def use_struct(self, verb: str, format_: str) -> str:
        """Name the bound method of a struct, such as unpack_hi for ``Struct(">hi").unpack_from``."""
        name = f"{verb}_{format_}".replace("16s", "u").replace("?", "t")
        if name not in self.names:
            self.names[name] = getattr(struct.Struct(">" + format_), verb)
        return name
