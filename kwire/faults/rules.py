"""Fault rules as values, and reading them from JSON-like dicts.

Responsible for: the keys of a rule, and one sentence for each error. Must not depend on: a
broker, requests.

    {"name": "moved", "api": "Produce", "topic": "orders", "partition": 1, "times": 3,
     "error": "NOT_LEADER_OR_FOLLOWER"}

One flat dict has the keys of the scope, the trigger and exactly one effect.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, TypedDict

from kwire.errors import Code
from kwire.wire.codec import api_keys, request_class

_MS_MAX: Final = 2**31 - 1


class RuleError(ValueError):
    """An invalid rule. The message is one sentence."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Which requests a rule applies to. None means any; a request matches when all given fields match.

    ``topic`` and ``partition`` match when one item of the request does. ``principal`` is as in ``User:alice``.
    """

    apis: frozenset[int]
    versions: tuple[int, int] | None = None
    topic: str | None = None
    partition: int | None = None
    group: str | None = None
    transactional_id: str | None = None
    client_id: str | None = None
    principal: str | None = None
    listener: str | None = None

    @property
    def names_items(self) -> bool:
        """Whether it depends on the content of a request, not only on the client."""
        return (self.topic, self.partition, self.group, self.transactional_id) != (None, None, None, None)


@dataclass(frozen=True, slots=True)
class Trigger:
    """Which of the matching requests are disturbed: after the first ``skip``, at most ``times`` (None: all of them).

    ``probability`` is decided by a generator with ``seed``. ``from_ms`` and ``until_ms`` are moments of the broker's
    clock in ms since the epoch, the second one exclusive.
    """

    skip: int = 0
    times: int | None = None
    probability: float = 1.0
    seed: int = 0
    from_ms: int | None = None
    until_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Error:
    """Answer with an error code.

    ``level``: request, topic, partition...; None: the items that the scope names. ``done``: the request takes effect
    nevertheless.
    """

    code: Code
    level: str | None = None
    done: bool = False


@dataclass(frozen=True, slots=True)
class Delay:
    """Wait by the broker's clock, before the request takes effect or after."""

    ms: float
    done: bool = False


@dataclass(frozen=True, slots=True)
class Hold:
    """Wait until the rule is released or removed, before the request takes effect or after."""

    done: bool = False


@dataclass(frozen=True, slots=True)
class Drop:
    """Send no reply; the connection stays open. ``done``: the request takes effect."""

    done: bool = False


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection instead of the reply. ``done``: the request takes effect. ``reset``: with a reset (RST)."""

    done: bool = False
    reset: bool = False


@dataclass(frozen=True, slots=True)
class Throttle:
    """Set the throttle time of the response, and mute the connection for that time."""

    ms: int


@dataclass(frozen=True, slots=True)
class Truncate:
    """Send the first ``byte_count`` bytes of the reply, size included, then close."""

    byte_count: int


@dataclass(frozen=True, slots=True)
class Garbage:
    """Send a reply of the right size and correlation id whose body is made of bytes 0xFF."""


@dataclass(frozen=True, slots=True)
class CorruptRecords:
    """Flip one bit of each batch of records in the response, so that its CRC does not match."""


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Set fields of the answer to these values, in the items that the scope names."""

    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Stale:
    """Repeat the first answer that an equal request got since the rule was armed."""


@dataclass(frozen=True, slots=True)
class DiskFull:
    """Writing files fails with ENOSPC."""


@dataclass(frozen=True, slots=True)
class IoError:
    """Files fail with EIO when they are read, written or synced; ``operation`` is one of these, or any."""

    operation: str


@dataclass(frozen=True, slots=True)
class SyncError:
    """An fsync fails with EIO."""


@dataclass(frozen=True, slots=True)
class SlowSync:
    """An fsync takes ``ms`` more, in real time."""

    ms: float


DiskEffect = DiskFull | IoError | SyncError | SlowSync
ReplyEffect = Throttle | Truncate | Garbage | CorruptRecords | Rewrite | Stale
Effect = Error | Delay | Hold | Drop | Close | ReplyEffect | DiskEffect


@dataclass(frozen=True, slots=True)
class Rule:
    """``name`` is unique among the rules of a broker; "" lets the injector choose one. ``given`` is its dict."""

    scope: Scope
    trigger: Trigger
    effect: Effect
    name: str = ""
    given: Mapping[str, Any] = field(default_factory=dict)


class RuleFields(TypedDict, total=False):
    """The keys of a rule. ``api`` is a name or key, or several; exactly one of the last 16 is given, the effect."""

    name: str
    api: str | int | Sequence[str | int]
    versions: int | Sequence[int]
    topic: str
    partition: int
    group: str
    transactional_id: str
    client_id: str
    principal: str
    listener: str
    skip: int
    times: int
    probability: float
    seed: int
    from_ms: int
    until_ms: int
    level: str
    done: bool
    error: str | int
    delay_ms: float
    hold: bool
    drop: bool
    close: bool
    reset: bool
    throttle_ms: float
    truncate: int
    garbage: bool
    corrupt_records: bool
    set: Mapping[str, Any]
    stale: bool
    disk_full: bool
    io_error: str
    fsync_error: bool
    fsync_ms: float


_SCOPE: Final = {
    "topic": str,
    "partition": int,
    "group": str,
    "transactional_id": str,
    "client_id": str,
    "principal": str,
    "listener": str,
}
_TRIGGER: Final = {"skip": int, "times": int, "probability": float, "seed": int, "from_ms": int, "until_ms": int}
EFFECT_KEYS: Final = (
    "error",
    "delay_ms",
    "hold",
    "drop",
    "close",
    "reset",
    "throttle_ms",
    "truncate",
    "garbage",
    "corrupt_records",
    "set",
    "stale",
    "disk_full",
    "io_error",
    "fsync_error",
    "fsync_ms",
)
_BOOLEAN_EFFECTS: Final = frozenset(
    {"hold", "drop", "close", "reset", "garbage", "corrupt_records", "stale", "disk_full", "fsync_error"}
)
_CAN_BE_FALSE: Final = _BOOLEAN_EFFECTS | {"io_error"}
_NOT_NEGATIVE: Final = ("partition", "skip", "times", "from_ms", "until_ms")
_OF_THE_REPLY: Final = frozenset({"throttle_ms", "truncate", "garbage", "corrupt_records", "set", "stale"})
DISK_EFFECTS: Final = frozenset({"disk_full", "io_error", "fsync_error", "fsync_ms"})
_DISK_SCOPE: Final = frozenset({"name", "topic", "partition"})
_IO_OPERATIONS: Final = ("read", "write", "sync", "any")
_KIND_NAMES: Final[Mapping[type, str]] = {
    str: "a string",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}
_KEYS: Final = tuple(RuleFields.__annotations__)
SCOPE_KEYS: Final = ("versions", *_SCOPE)
TRIGGER_KEYS: Final = tuple(_TRIGGER)


@cache
def _names() -> Mapping[str, int]:
    """The APIs by their names; cached, because it reads each spec."""
    return {request_class(key).NAME.removesuffix("Request"): key for key in api_keys()}


def read_rule(given: Mapping[str, Any]) -> Rule:
    """Read a rule. Raises RuleError."""
    for key in given:
        if key not in _KEYS:
            raise RuleError(f"a rule has no {key!r}{did_you_mean(key, _KEYS)}")
    given = {key: value for key, value in given.items() if value is not None}
    scope = Scope(
        _apis(given.get("api")),
        _versions(given.get("versions")),
        **{key: _typed(given, key, kind) for key, kind in _SCOPE.items()},
    )
    values = {key: _typed(given, key, kind) for key, kind in _TRIGGER.items()}
    trigger = Trigger(**{key: value for key, value in values.items() if value is not None})
    if not 0.0 <= trigger.probability <= 1.0:
        raise RuleError(f"probability is between 0 and 1, not {trigger.probability:g}")
    for key in _NOT_NEGATIVE:
        if given.get(key, 0) < 0:
            raise RuleError(f"{key} is not negative, but {given[key]}")
    if trigger.from_ms is not None and trigger.until_ms is not None and trigger.until_ms <= trigger.from_ms:
        raise RuleError(f"until_ms is after from_ms, but {trigger.until_ms} is not after {trigger.from_ms}")
    if scope.topic == "":
        raise RuleError("topic is the name of a topic, not ''")
    if scope.principal is not None and not all(scope.principal.partition(":")):
        raise RuleError(f"principal is a type and a name, such as User:alice, not {scope.principal!r}")
    return Rule(scope, trigger, _effect(given), _typed(given, "name", str) or "", dict(given))


def _effect(given: Mapping[str, Any]) -> Effect:
    for key in _BOOLEAN_EFFECTS:
        _typed(given, key, bool)
    chosen = [key for key in EFFECT_KEYS if key in given and not (key in _CAN_BE_FALSE and given[key] is False)]
    if len(chosen) != 1:
        raise RuleError(f"a rule has one effect of {', '.join(EFFECT_KEYS)}; this one has {len(chosen)}")
    (key,) = chosen
    done = bool(_typed(given, "done", bool))
    if "level" in given and key != "error":
        raise RuleError("level belongs to an error")
    if "done" in given and key in _OF_THE_REPLY:
        raise RuleError(f"{key} changes the reply, so the request always takes effect: leave out done")
    if key in DISK_EFFECTS:
        for other in given:
            if other != key and other not in _DISK_SCOPE and other not in _TRIGGER:
                raise RuleError(f"{key} is about files, which have a topic and a partition, but no {other}")
        if "partition" in given and "topic" not in given:
            raise RuleError("a partition needs its topic")
    return _EFFECTS[key](given, done)


def _values(given: Mapping[str, Any]) -> Mapping[str, Any]:
    values = given["set"]
    if not isinstance(values, Mapping) or not values or not all(isinstance(name, str) for name in values):
        raise RuleError(f"set has names of fields and their values, not {values!r}")
    return dict(values)


def _operation(given: Mapping[str, Any]) -> str:
    operation = given["io_error"]
    if operation is True:
        return "any"
    if operation not in _IO_OPERATIONS:
        raise RuleError(f"io_error is one of {', '.join(_IO_OPERATIONS)}, not {operation!r}")
    return str(operation)


_EFFECTS: Final[Mapping[str, Callable[[Mapping[str, Any], bool], Effect]]] = {
    "error": lambda given, done: Error(_code(given["error"]), _typed(given, "level", str), done),
    "delay_ms": lambda given, done: Delay(_milliseconds(given, "delay_ms"), done),
    "hold": lambda _given, done: Hold(done),
    "drop": lambda _given, done: Drop(done),
    "close": lambda _given, done: Close(done),
    "reset": lambda _given, done: Close(done, reset=True),
    "throttle_ms": lambda given, _done: Throttle(math.ceil(_milliseconds(given, "throttle_ms"))),
    "truncate": lambda given, _done: Truncate(_count(given, "truncate")),
    "garbage": lambda _given, _done: Garbage(),
    "corrupt_records": lambda _given, _done: CorruptRecords(),
    "set": lambda given, _done: Rewrite(_values(given)),
    "stale": lambda _given, _done: Stale(),
    "disk_full": lambda _given, _done: DiskFull(),
    "io_error": lambda given, _done: IoError(_operation(given)),
    "fsync_error": lambda _given, _done: SyncError(),
    "fsync_ms": lambda given, _done: SlowSync(_milliseconds(given, "fsync_ms")),
}


def _apis(given: object) -> frozenset[int]:
    if given is None:
        return frozenset(api_keys())
    chosen = given if isinstance(given, (list, tuple, set, frozenset)) else [given]
    if not chosen:
        raise RuleError("api names no API")
    return frozenset(_api(each) for each in chosen)


def _api(given: object) -> int:
    names = _names()
    for name, key in names.items():
        if (type(given) is int and given == key) or str(given).lower() == name.lower():
            return key
    raise RuleError(f"there is no API {given!r}{did_you_mean(str(given), names)}")


def _versions(given: object) -> tuple[int, int] | None:
    if given is None:
        return None
    lowest, highest = given if isinstance(given, (list, tuple)) and len(given) == 2 else (given, given)
    if type(lowest) is not int or type(highest) is not int or not 0 <= lowest <= highest:
        raise RuleError(f"versions is a number or [lowest, highest], not {given!r}")
    return lowest, highest


def _code(given: object) -> Code:
    if isinstance(given, Code):
        code = given
    elif isinstance(given, int) and not isinstance(given, bool) and given in Code._value2member_map_:
        code = Code(given)
    elif isinstance(given, str) and given.upper() in Code.__members__:
        code = Code[given.upper()]
    else:
        raise RuleError(f"there is no error code {given!r}{did_you_mean(str(given).upper(), list(Code.__members__))}")
    if code == Code.NONE:
        raise RuleError("NONE is no error")
    return code


def _milliseconds(given: Mapping[str, Any], key: str) -> float:
    value = given[key]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= _MS_MAX:
        raise RuleError(f"{key} is a number of milliseconds above 0 and at most {_MS_MAX}, not {value!r}")
    return float(value)


def _count(given: Mapping[str, Any], key: str) -> int:
    value = given[key]
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise RuleError(f"{key} is a number of bytes above 0, not {value!r}")
    return value


def _typed(given: Mapping[str, Any], key: str, kind: type) -> Any:
    value = given.get(key)
    if value is None:
        return None
    number = kind in (int, float) and isinstance(value, (int, kind)) and not isinstance(value, bool)
    if not number and type(value) is not kind:
        raise RuleError(f"{key} is {_KIND_NAMES[kind]}, not {value!r}")
    return value


def did_you_mean(given: str, known: Any) -> str:
    """Return the end of a sentence that refuses a name."""
    close = difflib.get_close_matches(given, list(known), 1)
    return f": did you mean {close[0]}?" if close else ""
