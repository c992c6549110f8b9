"""``kwire codec``: show the schema of a message, and decode captured bytes.

Responsible for: reading hex or files, finding messages by name, printing. Must not depend on: how a message is encoded
(``kwire.wire`` does that).
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from kwire.wire.message import Message


@click.group(
    epilog="""\b
Examples:
  kwire codec show Fetch 12
  kwire codec decode "0000000e 0012 0000 00000001 0004 6b636174"
"""
)
def codec() -> None:
    """Show how messages are encoded, and decode captured bytes."""


def _complete_message(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of an API or a message."""
    from kwire.wire import spec

    names = {name.removesuffix("Request") for name in spec.names() if name.endswith("Request")} | set(spec.names())
    return sorted(name for name in names if name.lower().startswith(incomplete.lower()))


@codec.command(
    epilog="""\b
Example:
  kwire codec show Fetch 12
"""
)
@click.argument("message", shell_complete=_complete_message)
@click.argument("version", type=int, required=False)
@click.option("--source", is_flag=True, help="Print the generated Python that encodes and decodes it.")
def show(message: str, version: int | None, source: bool) -> None:
    """Print the schema of MESSAGE at VERSION, or at the highest version.

    MESSAGE is the name or key of an API, such as Fetch or 1, for its request and response; or the name of one message:
    FetchRequest, TopicRecord, OffsetCommitValue.
    """
    for index, cls in enumerate(_classes(message)):
        at = cls.VERSIONS.highest if version is None else version
        _check_version(cls, at)
        if index:
            click.echo()
        click.echo(_source(cls, at) if source else _schema(cls, at), nl=False)


@codec.command(
    epilog="""\b
Examples:
  kwire codec decode "0000000e 0012 0000 00000001 0004 6b636174"
  kwire codec decode --body --message TopicRecord --version 0 record.bin
"""
)
@click.argument("given", metavar="HEX|FILE")
@click.option("--response", is_flag=True, help="The bytes are a response frame; name its API with --message.")
@click.option("--body", is_flag=True, help="The bytes are a message without header; name it with --message.")
@click.option("--message", "name", help="API or message, such as Fetch, 1, FetchResponse or TopicRecord.")
@click.option(
    "--version", "version", type=int, help="The version of the message. A request frame contains its version."
)
def decode(given: str, response: bool, body: bool, name: str | None, version: int | None) -> None:
    """Decode bytes to JSON.

    HEX may contain spaces, colons and line ends. FILE contains hex or raw bytes; - is standard input. A frame may start
    with its int32 size. Without --response and --body the bytes are a request frame.
    """
    encoded = _read(given)
    if body or response:
        if name is None or version is None:
            raise click.UsageError("--body and --response need --message and --version")
        decoded = _decode_body(encoded, name, version) if body else _decode_response(encoded, name, version)
    else:
        decoded = _decode_request(encoded)
    click.echo(json.dumps(decoded, indent=2, ensure_ascii=False))


# Naming messages


def _classes(name: str) -> list[type[Message]]:
    """Find the messages by the name of a message or API, or by an API key."""
    from kwire.errors import UnsupportedVersion
    from kwire.wire import codec as wire
    from kwire.wire import messages, spec

    if name.isdigit():
        try:
            return [wire.request_class(int(name)), wire.response_class(int(name))]
        except UnsupportedVersion as error:
            raise click.BadParameter(str(error)) from error
    known = {known.lower(): known for known in spec.names()}
    wanted = [name, name + "Request", name + "Response"]
    found = [known[candidate.lower()] for candidate in wanted if candidate.lower() in known]
    if not found:
        raise click.BadParameter(f"there is no message or API named {name}{_suggestion(name, known)}")
    return [getattr(messages, candidate) for candidate in found]


def _suggestion(name: str, known: dict[str, str]) -> str:
    import difflib

    apis = {api.removesuffix("request"): known[api].removesuffix("Request") for api in known if api.endswith("request")}
    close = difflib.get_close_matches(name.lower(), [*apis, *known], n=1)
    return f"; did you mean {apis.get(close[0]) or known[close[0]]}?" if close else ""


def _one_class(name: str, suffix: str) -> type[Message]:
    classes = _classes(name)
    return next((cls for cls in classes if suffix and cls.NAME.endswith(suffix)), classes[0])


def _check_version(cls: type[Message], version: int) -> None:
    if version not in cls.VERSIONS:
        raise click.BadParameter(f"{cls.NAME} has versions {cls.VERSIONS}, not {version}")


# Showing


def _schema(cls: type[Message], version: int) -> str:
    from kwire.wire.compilation import schema

    key = {"request": "API key", "response": "API key", "record": "record type"}.get(cls.KIND)
    described = f", {key} {cls.KEY}" if key else ""
    heading = f"{cls.NAME} version {version} (of {cls.VERSIONS}{described})\n"
    rows = schema.show(schema.schema(cls, version)).splitlines(keepends=True)
    return heading + "".join(f"  {row}" for row in rows)


def _source(cls: type[Message], version: int) -> str:
    from kwire.wire.compilation import compiler

    return compiler.source(cls, version)


# Decoding


def _read(given: str) -> bytes:
    if given == "-":
        content = sys.stdin.buffer.read()
    elif Path(given).is_file():
        content = Path(given).read_bytes()
    else:
        content = given.encode()
    text = re.sub(rb"[\s:]", b"", content)
    if re.fullmatch(rb"([0-9a-fA-F]{2})+", text):
        return bytes.fromhex(text.decode())
    if content == given.encode():
        raise click.BadParameter(f"{given} is neither hex nor the name of a file")
    return content


def _frame(encoded: bytes) -> memoryview:
    """Drop the int32 size from the start, if the first four bytes are the size of the rest."""
    sized = len(encoded) >= 4 and int.from_bytes(encoded[:4], "big") == len(encoded) - 4
    return memoryview(encoded)[4:] if sized else memoryview(encoded)


def _decode_request(encoded: bytes) -> dict[str, Any]:
    from kwire.errors import ProtocolViolation
    from kwire.wire import codec as wire

    frame = _frame(encoded)
    try:
        header = wire.read_header(frame)
        message = wire.decode_request(header, frame)
    except ProtocolViolation as error:
        raise click.ClickException(str(error)) from error
    return {
        "message": message.NAME,
        "version": header.api_version,
        "correlationId": header.correlation_id,
        "clientId": header.client_id,
        "body": wire.to_json(message, header.api_version),
    }


def _decode_response(encoded: bytes, name: str, version: int) -> dict[str, Any]:
    from kwire.errors import ProtocolViolation
    from kwire.wire import codec as wire

    cls = _one_class(name, "Response")
    if cls.KIND != "response":
        raise click.BadParameter(f"{cls.NAME} is not a response")
    try:
        correlation_id, message = wire.decode_response(cls.KEY, version, _frame(encoded))
    except ProtocolViolation as error:
        raise click.ClickException(str(error)) from error
    body = wire.to_json(message, version)
    return {"message": cls.NAME, "version": version, "correlationId": correlation_id, "body": body}


def _decode_body(encoded: bytes, name: str, version: int) -> dict[str, Any]:
    from kwire.errors import ProtocolViolation
    from kwire.wire import codec as wire

    cls = _one_class(name, "")
    _check_version(cls, version)
    try:
        message = wire.decode(cls, version, encoded)
    except ProtocolViolation as error:
        raise click.ClickException(str(error)) from error
    return {"message": cls.NAME, "version": version, "body": wire.to_json(message, version)}
