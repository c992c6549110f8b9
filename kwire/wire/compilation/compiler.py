"""Compile a schema into flat Python: the functions that decode and encode every message at run time.

Responsible for: the interface of code generation (``decoding`` and ``encoding`` write the source, over the nodes of
``schema``). Must not depend on: the meaning of messages, headers, frames, the cache of functions (``codec``).

Generated code is fast because it has no calls per field, one ``struct`` call for a run of adjacent numbers (lengths and
counts included), and makes objects without their constructor. It is safe because a count is compared with the bytes
left before it is used, a slice with the end of the buffer before it is taken, and numbers go through ``struct``, which
checks its bounds.

Generated source is registered with ``linecache``, so a traceback shows its lines; ``source`` returns it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from kwire.wire.compilation.decoding import DecoderWriter
from kwire.wire.compilation.encoding import EncoderWriter
from kwire.wire.message import Message

# (buffer, position, exact) -> message. If exact, bytes behind the message are a violation.
Decoder: TypeAlias = Callable[[bytes | memoryview, int, bool], Message]
# (message, out, parts) -> the bytearray that was written last. With records in between, the earlier bytes are in
# ``parts``.
Encoder: TypeAlias = Callable[[Any, bytearray, list[Any]], bytearray]


def decoder(message: type[Message], version: int) -> Decoder:
    """Make the function that decodes ``message`` at ``version``. It raises ProtocolViolation."""
    function: Decoder = DecoderWriter(message, version).function_object()
    return function


def encoder(message: type[Message], version: int) -> Encoder:
    """Make the function that encodes ``message`` at ``version``. It raises EncodingError."""
    function: Encoder = EncoderWriter(message, version).function_object()
    return function


def source(message: type[Message], version: int) -> str:
    """Return the source of both functions, for reading."""
    return DecoderWriter(message, version).text() + "\n\n" + EncoderWriter(message, version).text()
