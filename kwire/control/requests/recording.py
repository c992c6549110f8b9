"""Recordings: the requests that clients sent, with their answers, in a file that can be replayed.

Responsible for: writing requests and answers as they pass, and reading them again. Must not depend on: HTTP, where a
recording is replayed.

A file has one JSON object on each line, in the order of events. The first is {"kwire_recording": 1}. Then
{"request": N, "connection": C, "api": "Produce", "version": 9, "client_id": "...", "at_ms": ..., "frame": BASE64} when
a request came, and {"response": N, "frame": BASE64} when it was answered; an answer that was not sent has no frame.
Frames are those of the protocol, without their sizes. Requests that hold passwords and tokens are left out.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

from kwire.broker.clients.hooks import HookedRequest, HookedServer
from kwire.broker.requests.forwarded import carrier_of
from kwire.wire.codec import Message, RequestHeader, api_name, encode_request, encode_response

VERSION: Final = 1
BYTES_MAX: Final = 1 << 30
# SaslHandshake, SaslAuthenticate, delegation tokens, AlterUserScramCredentials: they hold secrets.
_LEFT_OUT: Final = frozenset({17, 36, 38, 39, 40, 41, 51})
_SIZE_BYTES: Final = 4


class RecordingError(Exception):
    """A file that is not a recording, or that cannot be written. One sentence."""


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """A request that came. ``frame`` begins with its header."""

    number: int
    connection: int
    api: str
    version: int
    client_id: str | None
    frame: bytes


class RecordedResponse(NamedTuple):
    """The answer to request ``number``; ``frame`` None: there was none."""

    number: int
    frame: bytes | None


class Recorder:
    """Writes requests and answers to a file, from ``start`` to ``stop``, or until it has ``bytes_max``."""

    def __init__(self, broker: HookedServer, path: str, *, bytes_max: int = BYTES_MAX) -> None:
        self.path = path
        self.requests = 0
        self.size_bytes = 0
        self.is_full = False
        self._broker = broker
        self._bytes_max = bytes_max
        self._connections: dict[int, int] = {}
        self._file: BinaryIO | None = None
        self._remove: Callable[[], None] | None = None

    def start(self) -> None:
        """Record from now on. Raises RecordingError if the file exists or cannot be written."""
        try:
            self._file = Path(self.path).open("xb")  # noqa: SIM115 (closed by ``stop``)
        except FileExistsError:
            raise RecordingError(f"{self.path} exists") from None
        except OSError as error:
            raise RecordingError(f"cannot write {self.path}: {error.strerror}") from None
        self._write({"kwire_recording": VERSION})
        self._remove = self._broker.hooks.around_dispatch(self._record, observes=True)

    def stop(self) -> None:
        """Stop recording; the file is complete."""
        if self._remove is not None:
            self._remove()
            self._remove = None
        if self._file is not None:
            self._file.close()
            self._file = None

    def move_to(self, broker: HookedServer) -> None:
        """Continue with another broker, which has replaced the one before."""
        self._broker = broker
        if self._remove is not None:
            self._remove = broker.hooks.around_dispatch(self._record, observes=True)

    async def _record(self, context: HookedRequest, request: Message, proceed: Callable[[], Awaitable[Any]]) -> Any:
        if context.api_key in _LEFT_OUT:
            return await proceed()
        self.requests += 1
        number = self.requests
        connection = self._connections.setdefault(id(carrier_of(context.connection)), len(self._connections) + 1)
        carrier_of(context.connection).closing.setdefault(("recording", self.path), lambda: self._forget(context))
        frame = encode_request(context.api_key, context.api_version, context.correlation_id, context.client_id, request)
        self._write(
            {
                "request": number,
                "connection": connection,
                "api": api_name(context.api_key),
                "version": context.api_version,
                "client_id": context.client_id,
                "at_ms": self._broker.clock.now_ms(),
                "frame": _text(frame[_SIZE_BYTES:]),
            }
        )
        response = None
        try:
            response = await proceed()
        finally:
            self._write({"response": number} | ({} if response is None else {"frame": _response(context, response)}))
        return response

    def _forget(self, context: HookedRequest) -> None:
        self._connections.pop(id(carrier_of(context.connection)), None)

    def _write(self, line: dict[str, Any]) -> None:
        if self._file is None or self.is_full:
            return
        content = json.dumps(line, separators=(",", ":")).encode() + b"\n"
        if self.size_bytes + len(content) > self._bytes_max:
            self.is_full = True
            return
        self._file.write(content)
        self.size_bytes += len(content)


class Recordings:
    """The recordings of a test bench: at most one at a time, of the server that ``_recorded`` returns."""

    recorder: Recorder | None = None

    def _recorded(self) -> HookedServer:
        raise NotImplementedError

    def record(self, path: str) -> Recorder:
        """Record requests and answers to a new file. Raises RecordingError."""
        if self.recorder is not None:
            raise RecordingError(f"a recording is in progress already: {self.recorder.path}")
        recorder = Recorder(self._recorded(), path)
        recorder.start()
        self.recorder = recorder
        return recorder

    def stop_recording(self) -> Recorder:
        """End the recording. Raises RecordingError if there is none."""
        recorder, self.recorder = self.recorder, None
        if recorder is None:
            raise RecordingError("no recording is in progress")
        recorder.stop()
        return recorder


def read_recording(path: str) -> Iterator[RecordedRequest | RecordedResponse]:
    """Read the events of a recording. Raises RecordingError."""
    try:
        with Path(path).open("rb") as lines:
            yield from _events(path, lines)
    except OSError as error:
        raise RecordingError(f"cannot read {path}: {error.strerror}") from None


def _events(path: str, lines: Iterable[bytes]) -> Iterator[RecordedRequest | RecordedResponse]:
    for number, line in enumerate(lines, 1):
        try:
            fields = json.loads(line)
            if number == 1:
                if fields.get("kwire_recording") != VERSION:
                    raise RecordingError(f"{path} is not a recording of version {VERSION}")
            elif "request" in fields:
                yield RecordedRequest(
                    fields["request"],
                    fields["connection"],
                    fields["api"],
                    fields["version"],
                    fields["client_id"],
                    base64.b64decode(fields["frame"]),
                )
            else:
                frame = fields.get("frame")
                yield RecordedResponse(fields["response"], None if frame is None else base64.b64decode(frame))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RecordingError(f"{path}: line {number} is no event of a recording: {error!r}") from None


def _response(context: HookedRequest, response: Message) -> str:
    header = RequestHeader(context.api_key, context.api_version, context.correlation_id, context.client_id, 0)
    return _text(_joined(encode_response(header, response))[_SIZE_BYTES:])


def _joined(parts: Sequence[Any]) -> bytes:
    """Join the parts of a reply; slices of files stay open, because they are sent afterwards."""
    return b"".join(part if isinstance(part, (bytes, bytearray, memoryview)) else part.pread() for part in parts)


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
