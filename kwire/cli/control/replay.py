"""``kwire replay``: send the requests of a recording to a broker, and compare its answers with those recorded.

Responsible for: the connections, the order of events, and the output. Must not depend on: how answers are
compared.

Exit codes: 0 all answers agree; 1 the recording or the broker cannot be used; 4 answers differ.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Final

import click

from kwire.cli.connections.broker_option import broker_options, client_settings, fail, security_in, servers_of
from kwire.cli.connections.connection import ClientError, Connection, parse_addresses
from kwire.control.requests.recording import RecordedRequest, RecordedResponse, RecordingError, read_recording
from kwire.control.requests.replay import Translation
from kwire.errors import ProtocolViolation
from kwire.wire.codec import decode_request, decode_response, read_header

_DIFFERENT: Final = 4
# A broker reads its connections in any order. After a request whose answer is delayed, this pause lets the broker read
# it before a request of another connection is sent.
_READ_S: Final = 0.02


@click.command(
    epilog="""\b
Examples:
  kwire ctl record start field.jsonl
  kwire ctl record stop
  kwire replay field.jsonl -b localhost:9092
""",
    short_help="Send recorded requests to a broker, and compare its answers.",
)
@click.argument("file", type=click.Path())
@broker_options
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0.1),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for an answer.",
)
def replay(file: str, bootstrap: str | None, config: str | None, timeout_s: float) -> None:
    """Send the requests of a recording to one broker, in the recorded order, and compare the answers.

    Each recorded connection gets a connection of its own. Member ids, topic ids, producer ids and session ids that the
    broker chooses replace the recorded ones. Addresses and ids of nodes, leader epochs, times and messages are not
    compared. Exit code 4 if an answer differs. The broker should have the data that the recorded one had at the
    beginning.
    """
    settings = client_settings(config)
    servers = servers_of(bootstrap, settings)
    run = _Replay(servers, timeout_s, settings)
    try:
        for event in read_recording(file):
            for line in run.step(event):
                click.echo(line)
    except (RecordingError, ClientError, ProtocolViolation) as error:
        fail(str(error))
    finally:
        run.close()
    click.echo(f"{run.sent} requests, {run.different} answers differ")
    if run.different:
        sys.exit(_DIFFERENT)


class _Replay:
    """One replay. ``step`` returns the lines about differences."""

    def __init__(self, servers: str, timeout_s: float, settings: dict[str, str]) -> None:
        self.sent = self.different = 0
        self._address = parse_addresses(servers)[0]
        self._timeout_s = timeout_s
        self._security = security_in(settings)
        self._translation = Translation()
        self._connections: dict[int, Connection] = {}
        self._requests: dict[int, RecordedRequest] = {}
        self._last: RecordedRequest | None = None

    def step(self, event: RecordedRequest | RecordedResponse) -> Iterator[str]:
        if isinstance(event, RecordedRequest):
            self._send(event)
        else:
            yield from self._compare(event)

    def close(self) -> None:
        for connection in self._connections.values():
            with contextlib.suppress(OSError):
                connection.close()

    def _send(self, recorded: RecordedRequest) -> None:
        connection = self._connections.get(recorded.connection)
        if connection is None:
            connection = Connection(self._address, security=self._security, timeout_s=self._timeout_s)
            self._connections[recorded.connection] = connection
        last, self._last = self._last, recorded
        if last is not None and last.number in self._requests and last.connection != recorded.connection:
            time.sleep(_READ_S)
        frame = memoryview(recorded.frame)
        header = read_header(frame)
        request = decode_request(header, frame)
        self._translation.apply(request)
        connection.client_id = recorded.client_id
        connection.send_only(request, recorded.version)
        self.sent += 1
        self._requests[recorded.number] = recorded

    def _compare(self, recorded: RecordedResponse) -> Iterator[str]:
        request = self._requests.pop(recorded.number, None)
        if request is None or recorded.frame is None:
            return
        api_key = read_header(memoryview(request.frame)).api_key
        what = f"request {request.number}, {request.api} v{request.version}"
        try:
            frame = self._connections[request.connection].receive()
        except (OSError, ClientError) as error:
            self.different += 1
            yield f"{what}: no answer ({error})"
            return
        ours = decode_response(api_key, request.version, memoryview(recorded.frame))[1]
        theirs = decode_response(api_key, request.version, memoryview(frame))[1]
        self._translation.note(ours, theirs)
        lines = list(self._translation.differences(ours, theirs))
        self.different += bool(lines)
        yield from (f"{what}: {line}" for line in lines)
