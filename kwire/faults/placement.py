"""Where the response of an API has error codes, and putting one into the items that a scope names.

Responsible for: finding the levels of a response from its spec, responses made of nothing but an error, taking items
out of a request and putting their errors into its response. Must not depend on: single APIs but for the exceptions
named here, the broker.

A *level* is a path of arrays in the response whose elements have an ``error_code``: ``()`` is the response
itself, ``("topics", "partitions")`` its partitions. The arrays of the request that name the same items are found by
their depth and by the fields that identify an element: Produce's ``topic_data/partition_data`` for the response's
``responses/partition_responses``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeAlias

from kwire.errors import Code
from kwire.faults.subjects import PARTITION_FIELDS, Subject, TopicName, with_element, with_fields
from kwire.wire.codec import Message, api_name, request_class, response_class
from kwire.wire.spec import NO_VERSIONS, Field

Path: TypeAlias = tuple[str, ...]
Matches: TypeAlias = Callable[[Subject], bool]
_Plan: TypeAlias = "tuple[Any, bool, list[_Plan]]"

_ERROR_FIELDS: Final = frozenset({"error_code", "partition_error_code"})
# Fields that identify an element; an error response has them as the request had.
_KEY_FIELDS: Final = PARTITION_FIELDS | {
    "name",
    "topic",
    "topic_name",
    "topic_id",
    "group_id",
    "transactional_id",
    "resource_type",
    "resource_name",
    "member_id",
    "group_instance_id",
    "producer_id",
    "key",
    "user",
    "entity",
}
_TOPIC_FIELDS: Final = ("name", "topic", "topic_name")
# What Kafka sends as -1 where there is no value and the spec has no default.
_NO_VALUE: Final = frozenset(
    {
        "base_offset",
        "committed_leader_epoch",
        "committed_offset",
        "end_offset",
        "generation_id",
        "high_watermark",
        "last_stable_offset",
        "leader_epoch",
        "leader_id",
        "log_start_offset",
        "low_watermark",
        "member_epoch",
        "node_id",
        "offset",
        "producer_epoch",
        "producer_id",
        "start_offset",
        "timestamp",
    }
)
_READING: Final = ("Describe", "List", "Get", "ReadShare")
_READS_TOO: Final = frozenset(
    {
        "ApiVersions",
        "ConsumerGroupDescribe",
        "Fetch",
        "FindCoordinator",
        "Metadata",
        "OffsetFetch",
        "OffsetForLeaderEpoch",
        "ShareGroupDescribe",
        "StreamsGroupDescribe",
    }
)
# Their items come from two arrays of the request, or from none that the response repeats.
_ONLY_WHOLE: Final = frozenset({"AlterReplicaLogDirs", "AlterUserScramCredentials"})


def only_reads(api_key: int) -> bool:
    """Tell whether a request changes nothing, so that the error can be put into its finished response."""
    name = api_name(api_key)
    return name.startswith(_READING) or name in _READS_TOO


def levels(api_key: int, version: int) -> list[Path]:
    """Find the levels at which the response has an error code, outermost first."""
    found = [path for path, field in _fields(response_class(api_key).FIELDS, version) if field.name in _ERROR_FIELDS]
    return sorted(found, key=len)


def level_named(api_key: int, version: int, name: str | None, *, partition: bool) -> Path | None:
    """Choose a level: the one whose array has ``name`` in it (``request`` for the outermost), None if there is none.

    Without a name: the innermost one if ``partition`` or if it is the only one below the outermost; Metadata's topics
    otherwise, since a client takes their error first.
    """
    found = levels(api_key, version)
    if name == "request":
        return () if () in found else None
    if name is not None:
        for path in found:
            if path and (name in path[-1] or _names_element(api_key, path, version, name)):
                return path
        return None
    inner = [path for path in found if path and (not (api_name(api_key) == "DeleteAcls" and len(path) > 1))]
    if not inner:
        return () if found else None
    if partition:
        return inner[-1]
    return inner[0] if len(inner) > 1 and only_reads(api_key) else inner[-1]


def whole_error(api_key: int, version: int, code: Code) -> Message:
    """Make a response that has the error at its outermost level."""
    response = response_class(api_key)()
    _spoil(response, code, version)
    return response


def elements(response: Message, path: Path, matches: Matches, topic_name: TopicName) -> list[Message]:
    """Find the elements at ``path`` that match; the response itself for ``()``."""
    if not path:
        return [response]
    return [each for each, subject in _elements(response, path, Subject(), topic_name) if matches(subject)]


def overwrite(chosen: Iterable[Message], version: int, code: Code) -> None:
    """Put the error into elements, in the place of their values."""
    for element in chosen:
        _reset(element)
        _spoil(element, code, version)


class Taken:
    """The items that were taken out of a request; ``rest`` tells whether it has any left."""

    def __init__(self, api_key: int, version: int, path: Path) -> None:
        self._path = path
        self._version = version
        self._response = response_class(api_key)
        self._request_path = _request_path(api_key, version, path)
        self._outer: list[_Plan] = []
        self.rest = False

    def take(self, request: Message, matches: Matches, topic_name: TopicName) -> None:
        """Remove the matching items from ``request`` (which is decoded for one caller) and keep the order."""
        self._outer = self._take(request, 0, Subject(), matches, topic_name)

    def put(self, response: Message, code: Code) -> None:
        """Add an element with the error for each item that was taken, where the request had it."""
        setattr(response, self._path[0], self._merge(response, self._outer, 0, code))

    def _take(
        self, holder: Message, depth: int, subject: Subject, matches: Matches, topic_name: TopicName
    ) -> list[_Plan]:
        """Return (element, taken?, inner) for each element of the array at this depth."""
        array = self._request_path[depth]
        kept: list[Any] = []
        plan: list[_Plan] = []
        last = depth + 1 == len(self._request_path)
        for element in getattr(holder, array) or ():
            if isinstance(element, Message):
                here = with_fields(subject, element, array, topic_name)
            else:
                here = with_element(subject, array, element, holder, topic_name)
            if last:
                taken = matches(here)
                plan.append((element, taken, []))
                self.rest |= not taken
                if not taken:
                    kept.append(element)
            else:
                inner = self._take(element, depth + 1, here, matches, topic_name)
                plan.append((element, False, inner))
                if not inner or getattr(element, self._request_path[depth + 1]):
                    kept.append(element)
                    self.rest |= not inner
        setattr(holder, array, kept)
        return plan

    def _merge(self, holder: Message, plan: list[_Plan], depth: int, code: Code) -> list[Message]:
        answered: list[Message] = list(getattr(holder, self._path[depth]) or ())
        if depth + 1 == len(self._path):
            return self._with_errors(answered, plan, depth, code)
        for element, _, inner in plan:
            if not any(_some_taken(each) for each in inner):
                continue
            made = self._new(element, depth)
            outer = next((each for each in answered if self._same(each, made)), None)
            if outer is None:
                outer = made
                answered.append(made)
            setattr(outer, self._path[depth + 1], self._merge(outer, inner, depth + 1, code))
        return answered

    def _with_errors(self, answered: list[Message], plan: list[_Plan], depth: int, code: Code) -> list[Message]:
        errors = [self._error(element, depth, code) if taken else None for element, taken, _ in plan]
        struct = _struct_at(self._response, self._path)
        if any(field.name in _KEY_FIELDS for field in struct.FIELDS):
            return answered + [each for each in errors if each is not None]
        # Elements without a key are matched by their position.
        rest = iter(answered)
        merged = [next(rest, None) if each is None else each for each in errors]
        return [each for each in merged if each is not None]

    def _same(self, one: Message, other: Message) -> bool:
        """Tell whether two elements have the same key. A version has only some of the key fields: the rest is blank."""
        blank = type(other)()
        keys = [field.name for field in other.FIELDS if field.name in _KEY_FIELDS]
        set_keys = [name for name in keys if getattr(other, name) != getattr(blank, name)]
        return all(getattr(one, name) == getattr(other, name) for name in set_keys or keys)

    def _error(self, element: Any, depth: int, code: Code) -> Message:
        made = self._new(element, depth)
        _reset(made)
        _spoil(made, code, self._version)
        return made

    def _new(self, element: Any, depth: int) -> Message:
        made = _struct_at(self._response, self._path[: depth + 1])()
        for field in made.FIELDS:
            if field.name not in _KEY_FIELDS:
                continue
            for name in _same_key(field.name):
                if isinstance(element, Message) and hasattr(element, name):
                    setattr(made, field.name, getattr(element, name))
                    break
                if not isinstance(element, Message) and type(element) is _PYTHON.get(field.type):
                    setattr(made, field.name, element)
                    break
        return made


def can_take(api_key: int, version: int, path: Path) -> bool:
    """Tell whether items at this level can be taken out of a request."""
    if not path or api_name(api_key) in _ONLY_WHOLE:
        return False
    return len(_request_path(api_key, version, path)) == len(path)


_PYTHON: Final = {"string": str, "int32": int, "uuid": bytes}


def _some_taken(plan: _Plan) -> bool:
    _, taken, inner = plan
    return taken or any(_some_taken(each) for each in inner)


def _same_key(name: str) -> tuple[str, ...]:
    if name in PARTITION_FIELDS:
        return (name, *sorted(PARTITION_FIELDS - {name}))
    if name in _TOPIC_FIELDS:
        return (name, *(each for each in _TOPIC_FIELDS if each != name))
    return (name,)


def _fields(fields: tuple[Field, ...], version: int, path: Path = ()) -> Iterator[tuple[Path, Field]]:
    for field in fields:
        if version in field.versions:
            yield path, field
            if field.struct is not None and field.type == "array":
                yield from _fields(field.struct.fields, version, (*path, field.name))


def _request_path(api_key: int, version: int, path: Path) -> Path:
    """The arrays of the request that name the elements at ``path`` of the response, as deep as they can be found."""
    fields = request_class(api_key).FIELDS
    found: Path = ()
    for depth in range(len(path)):
        wanted = {
            name
            for at, field in _fields(response_class(api_key).FIELDS, version)
            if at == path[: depth + 1] and field.name in _KEY_FIELDS
            for name in _same_key(field.name)
        }
        arrays = [each for each in fields if each.type == "array" and version in each.versions]
        array = next((each for each in arrays if _identifies(each, wanted, version)), arrays[0] if arrays else None)
        if array is None:
            return found
        found = (*found, array.name)
        fields = array.struct.fields if array.struct is not None else ()
    return found


def _identifies(array: Field, wanted: set[str], version: int) -> bool:
    if array.struct is not None:
        return any(field.name in wanted for field in array.struct.fields if version in field.versions)
    return array.item in _PYTHON


def _names_element(api_key: int, path: Path, version: int, name: str) -> bool:
    return any(
        at == path and field.name in _KEY_FIELDS and name in field.name
        for at, field in _fields(response_class(api_key).FIELDS, version)
    )


def _struct_at(cls: type[Message], path: Path) -> type[Message]:
    fields = cls.FIELDS
    for name in path:
        field = next(each for each in fields if each.name == name)
        assert field.struct is not None
        fields, struct = field.struct.fields, field.struct.name
    return getattr(cls, struct)  # type: ignore[no-any-return]  # nested classes hang off their message


def _elements(
    holder: Message, path: Path, subject: Subject, topic_name: TopicName
) -> Iterator[tuple[Message, Subject]]:
    for element in getattr(holder, path[0]) or ():
        here = with_fields(subject, element, _as_topics(path[0]), topic_name)
        if len(path) == 1:
            yield element, here
        else:
            yield from _elements(element, path[1:], here, topic_name)


def _as_topics(array: str) -> str:
    # Arrays of answers are called responses or results; a name in their elements is a topic's.
    return "topics" if array.startswith(("responses", "results", "topic_results")) else array


def _reset(element: Message) -> None:
    """Give all fields but the identifying ones their defaults."""
    blank = type(element)()
    for field in element.FIELDS:
        if field.name in _KEY_FIELDS or field.name == "throttle_time_ms":
            continue
        value = getattr(element, field.name)
        close = getattr(value, "close", None)
        if close is not None:
            close()
        unset = -1 if field.name in _NO_VALUE else getattr(blank, field.name)
        if field.type == "records" and field.nullable == NO_VERSIONS:
            unset = b""
        setattr(element, field.name, unset)


def _spoil(element: Message, code: Code, version: int) -> None:
    for field in element.FIELDS:
        if field.name in _ERROR_FIELDS:
            setattr(element, field.name, code)
        elif field.name == "error_message" and version in field.versions:
            element.error_message = "injected fault"  # type: ignore[attr-defined]
