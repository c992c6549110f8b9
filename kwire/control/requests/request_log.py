"""The request log: the last requests of a broker, decoded, each with its outcome.

Responsible for: recording, a bounded ring, filters, and waiting for a request. Must not depend on: HTTP.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import islice
from typing import Any, Final, NamedTuple

import trio

from kwire.broker.clients.hooks import CutOff, HookedRequest, HookedServer
from kwire.errors import Code, KafkaError
from kwire.faults.subjects import Subject, subjects
from kwire.wire.codec import Message, api_name
from kwire.wire.spec import Field

_BYTES_SHOWN: Final = 64
ELEMENTS_SHOWN: Final = 500
# A filter by topic or group checks this many items of a request.
_SUBJECTS_KEPT: Final = 1000
_SECRET_CONFIGS: Final = ("password", "passphrase", "secret", "jaas.config", "keystore.key", "certificate")
# Fields that let a client log in.
_SECRET: Final = frozenset({"auth_bytes", "salted_password", "hmac"})


@dataclass(frozen=True, slots=True)
class Filter:
    """Which requests; None means any. ``fields`` are fields of the request with the values that they must have."""

    api: str | None = None
    client_id: str | None = None
    principal: str | None = None
    topic: str | None = None
    group: str | None = None
    fields: tuple[tuple[str, Any], ...] = ()

    def matches(self, entry: Entry) -> bool:
        return (
            (self.api is None or self.api.lower() == entry.api.lower())
            and (self.client_id is None or self.client_id == entry.client_id)
            and (self.principal is None or self.principal == entry.principal)
            and (self.topic is None or any(each.topic == self.topic for each in entry.about))
            and (self.group is None or any(each.group == self.group for each in entry.about))
            and all(entry.request.get(name) == value for name, value in self.fields)
        )


@dataclass(slots=True)
class Entry:
    """One request. ``took_ms`` is None until it is answered; ``outcome`` is answered, no reply or a refusal's code.

    ``faults`` are the rules that disturbed it. ``request`` and ``response`` are values for ``json``; long bytes and
    records are shown by their size.
    """

    number: int
    at_ms: int
    api: str
    version: int
    correlation_id: int
    client_id: str | None
    peer: str
    listener: str
    principal: str
    request: dict[str, Any]
    about: frozenset[Subject]
    faults: list[str]
    response: dict[str, Any] | None = None
    took_ms: float | None = None
    outcome: str = "waiting"

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__ if name != "about"}


class RequestLog:
    """Keeps the last ``size`` requests of a broker or proxy from ``start`` to ``stop``."""

    def __init__(self, broker: HookedServer, size: int = 1000) -> None:
        self._broker = broker
        self._entries: deque[Entry] = deque(maxlen=size)
        self._open: dict[tuple[int, int], Entry] = {}
        self._number = 0
        # Entries in the order in which they were answered; followers read those added since their last read.
        self._answered: deque[Entry] = deque(maxlen=size)
        self._answered_count = 0
        self._changed = trio.Event()
        self._remove: Callable[[], None] | None = None

    def start(self) -> None:
        """Start recording. Every request is then decoded, so each costs more."""
        self._remove = self._remove or self._broker.hooks.around_dispatch(self._record, observes=True)

    def stop(self) -> None:
        """Stop recording; the entries stay."""
        if self._remove is not None:
            self._remove()
            self._remove = None

    def move_to(self, broker: HookedServer) -> None:
        """Record the requests of another broker, if this records; the entries stay."""
        self._broker = broker
        self._open.clear()
        if self._remove is not None:
            self._remove = broker.hooks.around_dispatch(self._record, observes=True)

    def clear(self) -> None:
        self._entries.clear()
        self._answered.clear()

    def last(self, count: int, wanted: Filter) -> list[Entry]:
        """Give the last ``count`` requests that match, oldest first."""
        found = [each for each in self._entries if wanted.matches(each)]
        return found[-count:] if count else []

    async def follow(self, wanted: Filter) -> Any:
        """Yield each matching request that is answered from now on, in the order of the answers."""
        count = self._answered_count
        while True:
            changed = self._changed
            fresh = self._answered_count - count
            count = self._answered_count
            for entry in list(self._answered)[-fresh:] if fresh else ():
                if wanted.matches(entry):
                    yield entry
            await changed.wait()

    async def wait_for(self, wanted: Filter, times: int, since: int) -> None:
        """Return once ``times`` matching requests with numbers above ``since`` were received."""
        while True:
            changed = self._changed
            if sum(each.number > since and wanted.matches(each) for each in self._entries) >= times:
                return
            await changed.wait()

    def note_fault(self, name: str, context: HookedRequest) -> None:
        """Note that a rule disturbs a request."""
        entry = self._open.get((id(context.connection), context.correlation_id))
        if entry is not None:
            entry.faults.append(name)

    async def _record(self, context: HookedRequest, request: Message, proceed: Callable[[], Awaitable[Any]]) -> Any:
        entry = self._new_entry(context, request)
        key = (id(context.connection), context.correlation_id)
        self._open[key] = entry
        self._entries.append(entry)
        self._notify()
        started_ms = self._broker.clock.monotonic_ms()
        try:
            response = await proceed()
        except KafkaError as refusal:
            entry.outcome = refusal.code.name
            raise
        except CutOff:
            entry.outcome = "no reply"
            raise
        except BaseException as error:
            entry.outcome = _failure_name(error)
            raise
        else:
            entry.outcome = "no reply" if response is None else "answered"
            entry.response = None if response is None else plain(response, context.api_version)
            return response
        finally:
            entry.took_ms = round(self._broker.clock.monotonic_ms() - started_ms, 3)
            self._open.pop(key, None)
            self._answered.append(entry)
            self._answered_count += 1
            self._notify()

    def _new_entry(self, context: HookedRequest, request: Message) -> Entry:
        client = context.client
        self._number += 1
        return Entry(
            number=self._number,
            at_ms=self._broker.clock.now_ms(),
            api=api_name(context.api_key),
            version=context.api_version,
            correlation_id=context.correlation_id,
            client_id=context.client_id,
            peer=client.peer,
            listener=client.endpoint.name,
            principal=str(client.principal),
            request=plain(request, context.api_version),
            about=frozenset(islice(subjects(request, self._broker.topic_name), _SUBJECTS_KEPT)),
            faults=[],
        )

    def _notify(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()


def plain(message: Message, version: int) -> dict[str, Any]:
    """Turn a message into a value that json takes, with long and secret values left out.

    Of all its arrays together, the first ``ELEMENTS_SHOWN`` elements are there; "N more" stands for the rest.
    """
    fields = _shown_fields(type(message), version)  # type: ignore[arg-type]  # mypy takes the hash of an instance
    return _Plain().message(message, fields)


class _ShownField(NamedTuple):
    """A field that a version has; ``inside`` has those of its structs."""

    field: Field
    inside: tuple[_ShownField, ...]


@cache
def _shown_fields(kind: type[Message], version: int) -> tuple[_ShownField, ...]:
    """Give the fields that messages of a class have at a version."""
    return _shown_of(kind.FIELDS, version)


def _shown_of(fields: Iterable[Field], version: int) -> tuple[_ShownField, ...]:
    # Not the fields of the struct's class: a message may have one struct at two places, for versions of their own.
    return tuple(
        _ShownField(field, () if field.struct is None else _shown_of(field.struct.fields, version))
        for field in fields
        if version in field.versions
    )


class _Plain:
    """One message on its way to json; ``left`` counts elements of arrays, so that a large message costs no more."""

    def __init__(self) -> None:
        self._left = ELEMENTS_SHOWN

    def message(self, message: Message, fields: tuple[_ShownField, ...]) -> dict[str, Any]:
        shown = {each.field.name: self._value(each, getattr(message, each.field.name)) for each in fields}
        if shown.get("value") is not None and _is_secret_config(str(shown.get("name", ""))):
            shown["value"] = "hidden"
        return shown

    def _value(self, shown: _ShownField, value: Any) -> Any:
        if value is None:
            return None
        if shown.field.name in _SECRET:
            return "hidden"
        return self._array(shown, value) if shown.field.type == "array" else self._item(shown, value)

    def _array(self, shown: _ShownField, values: Sequence[Any]) -> list[Any]:
        items: list[Any] = []
        for each in values:
            if self._left == 0:
                return [*items, f"{len(values) - len(items)} more"]
            self._left -= 1
            items.append(self._item(shown, each))
        return items

    def _item(self, shown: _ShownField, value: Any) -> Any:
        if shown.field.struct is not None:
            return self.message(value, shown.inside)
        if isinstance(value, (bytes, bytearray, memoryview)):
            return bytes(value).hex() if len(value) <= _BYTES_SHOWN else {"bytes": len(value)}
        if isinstance(value, (str, int, float)):
            return value
        return {"bytes": len(value)}


def _is_secret_config(name: str) -> bool:
    """Tell whether a config holds a password or a key; names may have the prefix of a listener."""
    return any(word in name for word in _SECRET_CONFIGS)


def _failure_name(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return type(error).__name__.lstrip("_")


def entry_line(entry: Entry) -> str:
    """Write an entry as one line: time, API, client, subject, outcome."""
    at = datetime.fromtimestamp(entry.at_ms / 1000, tz=UTC).strftime("%H:%M:%S.%f")[:-3]
    about = sorted({str(each) for subject in entry.about for each in _names(subject)})
    took = "" if entry.took_ms is None else f" in {entry.took_ms:g} ms"
    codes = sorted(_error_codes(entry.response or {}))
    errors = f" with {', '.join(codes)}" if codes else ""
    disturbed = f" by {', '.join(entry.faults)}" if entry.faults else ""
    what = f"{entry.api} v{entry.version}" + (f" ({', '.join(about)})" if about else "")
    return f"{at} {entry.client_id or '-'} {what}: {entry.outcome}{errors}{disturbed}{took}"


def _names(subject: Subject) -> Iterator[str]:
    if subject.topic is not None:
        yield subject.topic if subject.partition is None else f"{subject.topic}-{subject.partition}"
    if subject.group is not None:
        yield f"group {subject.group}"
    if subject.transactional_id is not None:
        yield f"transactional id {subject.transactional_id}"


def _error_codes(value: object) -> set[str]:
    if isinstance(value, dict):
        found = {code for each in value.values() for code in _error_codes(each)}
        number = value.get("error_code", 0)
        return found | {_code_name(number)} if number else found
    return {code for each in value for code in _error_codes(each)} if isinstance(value, list) else set()


def _code_name(number: int) -> str:
    return Code(number).name if number in Code._value2member_map_ else str(number)
