"""``kwire selfcheck``: send a broker a request at every version that it advertises.

Responsible for: the loop over the advertised versions, and which answers are valid. Must not depend on: the content of
the requests (``kwire.cli.diagnosis.probe_requests``).

An advertised version must be answered with bytes that decode completely. The error code does not matter, except that
UNSUPPORTED_VERSION is not a valid answer to an advertised version, but of an API that needs a plugin.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import click

from kwire.cli.connections.broker_option import (
    broker_options,
    client_settings,
    explained,
    json_option,
    note_unused,
    print_json,
    security_in,
    servers_of,
)
from kwire.cli.connections.connection import (
    Address,
    Connection,
    ConnectionLost,
    NotKafka,
    Security,
    TimedOut,
    parse_address,
)
from kwire.cli.diagnosis.probe_requests import probe_request
from kwire.cli.tables import print_table
from kwire.errors import Code
from kwire.wire.codec import api_keys, request_class, response_class
from kwire.wire.message import Message

ANSWERED: Final = "answered"
CLOSED: Final = "closed"
SILENT: Final = "silent"
GARBLED: Final = "garbled"
DENIED: Final = "denied"
NOT_ASKED: Final = "not asked"
FAILURES: Final = frozenset({CLOSED, SILENT, GARBLED, DENIED})

# librdkafka up to 2.6 requires these to be advertised but does not use them; Kafka advertises them, and closes the
# connection on a request at one of them (KIP-896).
_ADVERTISED_FOR_LIBRDKAFKA: Final = {(0, version) for version in (0, 1, 2)}
# Kafka 4.4 advertises StreamsGroupTopologyDescriptionUpdate, and refuses it without a plugin (KIP-1331).
_NEEDS_PLUGIN: Final = {93}


class Outcome(NamedTuple):
    """The result for one version of one API. ``errors`` are the names of the error codes in the answer."""

    key: int
    name: str
    version: int
    outcome: str
    detail: str = ""
    errors: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        return self.outcome in FAILURES

    def __str__(self) -> str:
        return f"{self.name} ({self.key}) version {self.version}: {self.detail}"


@click.command(
    epilog="""\b
Examples:
  kwire selfcheck localhost:9092
  kwire selfcheck broker.example.com:9093 --config client.properties --json
"""
)
@click.argument("given", metavar="[HOST:PORT]", required=False)
@click.option(
    "--timeout",
    "timeout_s",
    type=float,
    metavar="S",
    default=10.0,
    show_default=True,
    help="Seconds to wait for each answer.",
)
@json_option
@broker_options
def selfcheck(given: str | None, bootstrap: str | None, config: str | None, as_json: bool, timeout_s: float) -> None:
    """Send a broker a request at every version of every API that it advertises, and check that it answers.

    The requests change nothing: they name topics, groups and brokers that do not exist, or only validate. Exit code
    1 when the broker does not answer an advertised version, or answers with bytes that do not decode.
    """
    settings = client_settings(config)
    note_unused(settings, config)
    security = security_in(settings)
    broker = (given or servers_of(bootstrap, settings)).partition(",")[0]
    try:
        address = parse_address(broker)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    with explained(broker):
        outcomes = list(walk(address, security, timeout_s))
    failures = [outcome for outcome in outcomes if outcome.failed]
    if as_json:
        print_json(_as_json(broker, outcomes))
    else:
        _print_report(broker, outcomes, failures)
    raise SystemExit(1 if failures else 0)


def walk(address: Address, security: Security, timeout_s: float) -> Iterator[Outcome]:
    """Send a request at each advertised version. Raises ClientError when the broker cannot be reached."""
    with Connection(address, security=security, timeout_s=timeout_s) as first:
        advertised = first.api_versions
    prober = _Prober(address, security, timeout_s)
    try:
        for key, (lowest, highest) in sorted(advertised.items()):
            for version in range(lowest, highest + 1):
                yield prober.probe(key, version)
            prober.disconnect()  # a request such as SaslHandshake changes the state of the connection
    finally:
        prober.disconnect()


class _Prober:
    """Sends the requests over one connection, and replaces it after a failure."""

    def __init__(self, address: Address, security: Security, timeout_s: float) -> None:
        self._address = address
        self._security = security
        self._timeout_s = timeout_s
        self._connection: Connection | None = None

    def disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def probe(self, key: int, version: int) -> Outcome:
        name = request_class(key).NAME.removesuffix("Request") if key in api_keys() else f"API {key}"
        if (key, version) in _ADVERTISED_FOR_LIBRDKAFKA:
            return Outcome(key, name, version, NOT_ASKED, "Kafka 4 advertises them for librdkafka only")
        if key not in api_keys() or version not in request_class(key).VERSIONS:
            return Outcome(key, name, version, NOT_ASKED, "unknown to this kwire")
        request = probe_request(key, version)
        if request is None:
            return Outcome(key, name, version, NOT_ASKED, "for brokers and controllers only")
        outcome, detail, errors = self._exchange(request, version)
        if outcome in FAILURES - {DENIED}:
            self.disconnect()
        return Outcome(key, name, version, outcome, detail, errors)

    def _exchange(self, request: Message, version: int) -> tuple[str, str, tuple[str, ...]]:
        if self._connection is None:
            self._connection = Connection(self._address, security=self._security, timeout_s=self._timeout_s)
        try:
            answer = self._connection.call(request, response_class(request.KEY), version=version)
        except ConnectionLost:
            return CLOSED, "advertised, but the broker closes the connection", ()
        except TimedOut:
            return SILENT, f"advertised, but not answered within {self._timeout_s:g} s", ()
        except NotKafka as error:
            return GARBLED, str(error), ()
        errors = tuple(sorted({_code_name(code) for code in _codes(answer)}))
        if Code.UNSUPPORTED_VERSION.name in errors and request.KEY not in _NEEDS_PLUGIN:
            return DENIED, "advertised, but answered with UNSUPPORTED_VERSION", errors
        return ANSWERED, "", errors


def _codes(message: Message) -> Iterator[int]:
    """Every error code other than 0 in an answer, at any depth."""
    for name in message.__slots__:
        value = getattr(message, name)
        if name.endswith("error_code") and value:
            yield value
        elif isinstance(value, Message):
            yield from _codes(value)
        elif isinstance(value, list):
            for element in value:
                if isinstance(element, Message):
                    yield from _codes(element)


def _code_name(code: int) -> str:
    try:
        return Code(code).name
    except ValueError:
        return str(code)


def _print_report(broker: str, outcomes: list[Outcome], failures: list[Outcome]) -> None:
    by_key: dict[int, list[Outcome]] = {}
    for outcome in outcomes:
        by_key.setdefault(outcome.key, []).append(outcome)
    rows = []
    for key, group in by_key.items():
        bad = [outcome for outcome in group if outcome.failed]
        not_asked = [outcome for outcome in group if outcome.outcome == NOT_ASKED]
        result = "ok" if len(not_asked) < len(group) else "not asked"
        if bad:
            result = "FAILED: " + _versions(bad)
        elif not_asked:
            result += f" ({_versions(not_asked)} {not_asked[0].detail})"
        rows.append((key, group[0].name, _versions(group), result, ", ".join(_errors(group))))
    print_table(("KEY", "REQUEST", "VERSIONS", "RESULT", "ANSWERED WITH"), rows)
    click.echo()
    for failure in failures:
        click.echo(str(failure))
    sent = sum(outcome.outcome != NOT_ASKED for outcome in outcomes)
    verdict = f"{len(failures)} of {sent} versions failed" if failures else f"all {sent} versions are answered"
    click.echo(f"{broker}: {len(by_key)} APIs advertised; {verdict}.")


def _versions(outcomes: list[Outcome]) -> str:
    """Write versions as ranges: 0-2, 5."""
    ranges: list[list[int]] = []
    for outcome in outcomes:
        if ranges and ranges[-1][1] == outcome.version - 1:
            ranges[-1][1] = outcome.version
        else:
            ranges.append([outcome.version, outcome.version])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


def _errors(outcomes: list[Outcome]) -> list[str]:
    return sorted({error for outcome in outcomes for error in outcome.errors})


def _as_json(broker: str, outcomes: list[Outcome]) -> dict[str, Any]:
    return {
        "broker": broker,
        "passed": not any(outcome.failed for outcome in outcomes),
        "versions": [
            {
                "key": outcome.key,
                "request": outcome.name,
                "version": outcome.version,
                "outcome": outcome.outcome,
                "detail": outcome.detail,
                "errors": list(outcome.errors),
            }
            for outcome in outcomes
        ],
    }
