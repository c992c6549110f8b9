"""The process that decodes and encodes: ``python -m kwire.schemas.worker``.

Responsible for: its limits, and one answer for each content of a request. Must not depend on: its parent.

Malicious bytes may make it hang, run out of memory or crash: its parent then ends it and starts another. Standard
input has a line with the registry's address, then one for each request; standard output a line when it is ready, then
one for each content of a request, or one for a request without contents.

    {"url": "http://localhost:8081", "user": null, ...}
    {"contents": [[BASE64, null], [BASE64, BASE64 of the header]], "containing": null, "text_max": 4194304}
    {"find": {"subject": "orders-value"}}                          answered with {"id": 17}
    {"texts": ["5", "6"], "schema": 17, "message": null}           answered with {"content": BASE64} for each text

``text_max`` limits the texts of all answers: a few bytes may have a long text. With ``containing`` an answer has an
empty text if the real one contains this, and is null if not. What cannot be done is answered with {"error": ...}.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias, TypeVar

import trio

from kwire.schemas.address import RegistryAddress
from kwire.schemas.cache import CompiledSchemas
from kwire.schemas.decoder import Decoded, Decoder
from kwire.schemas.encoder import Encoder
from kwire.schemas.framing import find_schema
from kwire.schemas.http import make_fetch
from kwire.schemas.problems import SchemaError
from kwire.schemas.registry import Registry

READY: Final = b'"ready"\n'
MEMORY_BYTES_MAX: Final = 1 << 30
# For one request: afterwards only cached schemas are used.
FETCHING_S_MAX: Final = 5.0

Write: TypeAlias = Callable[[bytes], object]
Result = TypeVar("Result")


def main() -> None:
    """Answer until standard input ends."""
    # Ctrl-C reaches all processes of a terminal. This one ends when its parent has closed the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    limit_memory()
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # lines that a library prints are not answers
    trio.run(_serve, sys.stdin.buffer, answers.write)


def limit_memory() -> None:
    """Limit this process, where the system can."""
    if sys.platform != "win32":
        import resource  # noqa: PLC0415 (not on Windows)

        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        limit = MEMORY_BYTES_MAX if hard == resource.RLIM_INFINITY else min(MEMORY_BYTES_MAX, hard)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


async def _serve(asked: Any, write: Write) -> None:
    address = RegistryAddress(**json.loads(asked.readline()))
    registry = Registry(address.name, make_fetch(address), answer_s=address.answer_s)
    schemas = CompiledSchemas(registry)
    decoder, encoder = Decoder(schemas), Encoder(schemas, registry)
    write(READY)
    while line := await trio.to_thread.run_sync(asked.readline):
        request = json.loads(line)
        if "contents" in request:
            await answer(decoder, request, write)
        else:
            await answer_encoded(encoder, request, write)


async def answer(decoder: Decoder, request: dict[str, Any], write: Write) -> None:
    """Write a line for each content of a request."""
    fetching_until = trio.current_time() + FETCHING_S_MAX
    text_left = request["text_max"]
    containing = request["containing"]
    for content, header in request["contents"]:
        decoded = await _decoded(decoder, base64.b64decode(content), _bytes(header), fetching_until)
        if containing is not None:
            found: Decoded | None = {"text": ""} if containing in decoded.get("text", "") else None
            write(json.dumps(found).encode() + b"\n")
            continue
        if len(decoded.get("text", "")) > text_left:
            sentence = f"schema {decoded['schema']}: not decoded, because the texts before are long: read fewer records"
            decoded = {"schema": decoded["schema"], "error": sentence}
        else:
            text_left -= len(decoded.get("text", ""))
        write(json.dumps(decoded).encode() + b"\n")


async def answer_encoded(encoder: Encoder, request: dict[str, Any], write: Write) -> None:
    """Write the id of a schema, or a line for each text of a request."""
    if "find" in request:
        write(await _line(encoder.find(request["find"]), lambda found: {"id": found}))
        return
    for text in request["texts"]:
        encoding = encoder.encode(request["schema"], request["message"], text)
        write(await _line(encoding, lambda content: {"content": base64.b64encode(content).decode()}))


async def _line(result: Awaitable[Result], show: Callable[[Result], dict[str, Any]]) -> bytes:
    try:
        shown = show(await result)
    except SchemaError as error:
        shown = {"error": str(error)}
    return json.dumps(shown).encode() + b"\n"


async def _decoded(decoder: Decoder, content: bytes, header: bytes | None, fetching_until: float) -> Decoded:
    framed = find_schema(content, header)
    assert framed is not None
    if trio.current_time() > fetching_until and not decoder.knows(framed.schema):
        sentence = f"schema {framed.schema}: not yet asked for, because the registry is slow: read again"
        return {"schema": framed.schema, "error": sentence}
    return await decoder.decode(framed)


def _bytes(content: str | None) -> bytes | None:
    return None if content is None else base64.b64decode(content)


if __name__ == "__main__":
    main()
