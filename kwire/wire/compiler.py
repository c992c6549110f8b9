"""Flat Python out of a schema: the functions that decode and encode every message at run time.

Owns: the door to code generation (``decoding`` and ``encoding`` write, over the nodes of ``schema``). May not know:
what a message means, headers, frames, who keeps the functions (``codec`` does).

What makes generated code fast: no calls per field, one ``struct`` call for a run of adjacent numbers (lengths and
counts ride along), objects made without their constructor. What makes it safe: a count is compared with the bytes left
before anything is made of it, a slice with the end of the buffer before it is taken, and numbers go through
``struct``, which checks by itself.

Generated source is registered with ``linecache``, so a traceback shows its lines; ``source`` returns it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from kwire.wire.decoding import DecoderWriter
from kwire.wire.encoding import EncoderWriter
from kwire.wire.message import Message

# (buffer, position, exact) -> message. If exact, bytes behind the message are a violation.
Decoder: TypeAlias = Callable[[bytes | memoryview, int, bool], Message]
# (message, out, parts) -> the bytearray that was written last. What went before it, when records stand in between, is
# in ``parts``.
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
    """Write the source of both functions, to be read."""
    return DecoderWriter(message, version).text() + "\n\n" + EncoderWriter(message, version).text()
