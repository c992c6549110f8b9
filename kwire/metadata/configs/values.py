"""Config values as text and as Python values: Kafka's types, checks and messages.

Responsible for: how each of Kafka's config types reads and writes text (ConfigDef.parseType, convertToString) and the
checks that the table in ``kafka_configs.tsv`` names. Must not depend on: which configs exist, and where a value came
from.

The messages are exactly Kafka's, because clients and scripts show them and tests compare them. kwire adds the valid
values in ``ConfigProblem.expected``, for users who start a broker.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from enum import Enum
from typing import TypeAlias

Value: TypeAlias = bool | int | float | str | tuple[str, ...] | None
Check: TypeAlias = Callable[[str, Value], None]


class ConfigType(Enum):
    """Kafka's config types, with the number by which DescribeConfigs names each."""

    BOOLEAN = 1
    STRING = 2
    INT = 3
    SHORT = 4
    LONG = 5
    DOUBLE = 6
    LIST = 7
    CLASS = 8
    PASSWORD = 9


class ConfigProblem(ValueError):
    """A value that does not parse or is out of range. ``str()`` is Kafka's message; ``expected`` names valid values."""

    def __init__(self, name: str, value: str | None, message: str, expected: str) -> None:
        super().__init__(message)
        self.name = name
        self.value = value
        self.expected = expected


def parse_value(name: str, config_type: ConfigType, text: str | None) -> Value:
    """Parse ``text``; None stays None. Raises ConfigProblem with Kafka's message."""
    if text is None:
        return None
    trimmed = text.strip(_JAVA_BLANKS)
    value: Value = trimmed
    match config_type:
        case ConfigType.BOOLEAN:
            value = _boolean(name, text, trimmed)
        case ConfigType.INT | ConfigType.SHORT | ConfigType.LONG:
            value = _whole_number(name, config_type, text, trimmed)
        case ConfigType.DOUBLE:
            value = _double(name, text, trimmed)
        case ConfigType.LIST:
            value = tuple(_LIST_SEPARATOR.split(trimmed)) if trimmed else ()
        case ConfigType.CLASS:
            value = text  # Java looks up the class untrimmed; support.py says whether it is served
        case ConfigType.STRING | ConfigType.PASSWORD:
            pass
    return value


def whole_number(text: str) -> int:
    """Parse a whole number as Java does: no blanks, no underscores. Raises ValueError."""
    if not _WHOLE.fullmatch(text):
        raise ValueError(text)
    return int(text)


def value_text(value: Value) -> str | None:
    """Format a typed value as Kafka's convertToString does."""
    match value:
        case None:
            return None
        case bool():
            return "true" if value else "false"
        case float():
            return double_text(value)
        case tuple():
            return ",".join(value)
        case _:
            return str(value)


def double_text(value: float) -> str:
    """Format as Java's Double.toString: decimal from 0.001 to 10 million, else with one digit and an exponent."""
    if value != value:  # noqa: PLR0124 - NaN is the one value that differs from itself
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return repr(value)  # in this range it has no exponent
    from decimal import Decimal  # noqa: PLC0415 (numbers of this size are rare in settings)

    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int)
    mantissa = "".join(map(str, digits))
    return f"{'-' if sign else ''}{mantissa[0]}.{mantissa[1:] or '0'}E{exponent + len(mantissa) - 1}"


def invalid(name: str, value: Value, reason: str, expected: str) -> ConfigProblem:
    """Return the problem with the message of Kafka's ConfigException(name, value, reason)."""
    shown = "[" + ", ".join(value) + "]" if isinstance(value, tuple) else value_text(value)
    return ConfigProblem(name, value_text(value), f"Invalid value {shown} for configuration {name}: {reason}", expected)


def address_counts(name: str, text: str) -> dict[str, int]:
    """Parse ``ADDRESS:COUNT,ADDRESS:COUNT``. Raises ConfigProblem, also for host names, which Kafka would look up."""
    counts = {}
    for pair in filter(None, map(str.strip, text.split(","))):
        address, _, count = pair.rpartition(":")
        try:
            if not count.isdecimal():
                raise ValueError(count)
            counts[str(ipaddress.ip_address(address.strip("[]")))] = int(count)
        except ValueError:
            message = f"Error parsing configuration property '{name}': {pair!r} is not ADDRESS:COUNT"
            raise ConfigProblem(name, text, message, "ADDRESS:COUNT, as 127.0.0.1:200") from None
    return counts


def check_named(spec: str) -> Check:
    """Return the check that a cell of the table names, such as ``range 1 17`` or ``list empty of compact,delete``.

    Raises ValueError for a cell that names none.
    """
    kind, _, rest = spec.partition(" ")
    match kind:
        case "range":
            return _range_named(spec, rest)
        case "in":
            return _one_of(_choices(spec, rest))
        case "in_any_case":
            if rest != rest.upper():
                raise ValueError(f"{spec!r} has a choice with small letters")
            return _one_of_any_case(_choices(spec, rest))
        case "list":
            return _list(spec, rest)
    if kind not in _NAMED_CHECKS:
        known = ("range", "in", "in_any_case", "list", *_NAMED_CHECKS)
        raise ValueError(f"unknown check {kind!r}, the checks are {', '.join(known)}")
    if rest:
        raise ValueError(f"check {kind!r} takes no arguments")
    return _NAMED_CHECKS[kind]


def _range_named(spec: str, rest: str) -> Check:
    try:
        lowest, highest = map(_bound, rest.split(" "))
    except ValueError:
        raise ValueError(f"{spec!r} has not two bounds, as in 'range 1 17' and 'range 1 *'") from None
    return _range(lowest, highest)


def _choices(spec: str, text: str) -> list[str]:
    choices = text.split(",")
    if not all(choices) or " " in text:
        raise ValueError(f"{spec!r} has a choice that is empty or has blanks")
    return choices


# --- parsing ---

_JAVA_BLANKS = "".join(map(chr, range(33)))  # String.trim() removes every character up to the space
_LIST_SEPARATOR = re.compile(r"\s*,\s*", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d+")  # Java too accepts every Unicode decimal digit
_DOUBLE = re.compile(r"[+-]?(NaN|Infinity|(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?[fFdD]?)", re.ASCII)
_BITS = {ConfigType.SHORT: 15, ConfigType.INT: 31, ConfigType.LONG: 63}


def _boolean(name: str, text: str, trimmed: str) -> bool:
    lowered = trimmed.lower()
    if lowered not in {"true", "false"}:
        raise invalid(name, text, "Expected value to be either true or false", "true or false")
    return lowered == "true"


def _whole_number(name: str, config_type: ConfigType, text: str, trimmed: str) -> int:
    bound = 1 << _BITS[config_type]
    number = int(trimmed) if _WHOLE.fullmatch(trimmed) else bound
    if not -bound <= number < bound:
        expected = f"a whole number from {-bound} to {bound - 1}"
        raise invalid(name, text, f"Not a number of type {config_type.name}", expected)
    return number


def _double(name: str, text: str, trimmed: str) -> float:
    if not _DOUBLE.fullmatch(trimmed):
        raise invalid(name, text, "Not a number of type DOUBLE", "a number")
    return float(trimmed.rstrip("fFdD") if trimmed[-1] in "fFdD" else trimmed)


# --- checks ---


def _anything(name: str, value: Value) -> None:
    """Accept every value of the type."""


def _bound(text: str) -> int | float | None:
    if text == "*":
        return None
    return float(text) if "." in text else int(text)


def _range(lowest: float | None, highest: float | None) -> Check:
    if highest is None:
        expected = f"{lowest} or more"
    elif lowest is None:
        expected = f"{highest} or less"
    else:
        expected = f"from {lowest} to {highest}"

    def check(name: str, value: Value) -> None:
        if not isinstance(value, (int, float)):
            raise invalid(name, value, "Value must be non-null", expected)
        if lowest is not None and value < lowest:
            raise invalid(name, value, f"Value must be at least {lowest}", expected)
        if highest is not None and value > highest:
            raise invalid(name, value, f"Value must be no more than {highest}", expected)

    return check


def _one_of(choices: list[str]) -> Check:
    listed = ", ".join(choices)

    def check(name: str, value: Value) -> None:
        if value not in choices:
            raise invalid(name, value, f"String must be one of: {listed}", f"one of {listed}")

    return check


def _one_of_any_case(choices: list[str]) -> Check:
    listed = ", ".join(choices)

    def check(name: str, value: Value) -> None:
        if not isinstance(value, str) or value.upper() not in choices:
            reason = f"String must be one of (case insensitive): {listed}"
            raise invalid(name, value, reason, f"one of {listed}")

    return check


def _list(spec: str, rest: str) -> Check:
    flags, has_choices, names = f" {rest}".partition(" of ")
    if not {"empty", "null"}.issuperset(flags.split()):
        raise ValueError(f"{spec!r} has words other than empty, null and of with choices")
    choices = _choices(spec, names) if has_choices else []
    listed = ", ".join(choices)
    may_be_empty = "empty" in flags.split()
    expected = f"a list of {listed}" if choices else "a list, separated by commas, without repetition"
    any_valid = f"[{listed}]" if choices else "any non-empty value"

    def check(name: str, value: Value) -> None:
        if value is None and "null" in flags.split():
            return
        if not isinstance(value, tuple):
            raise ConfigProblem(name, None, f"Configuration '{name}' values must not be null.", expected)
        if not value and not may_be_empty:
            message = f"Configuration '{name}' must not be empty. Valid values include: {any_valid}"
            raise ConfigProblem(name, "", message, expected)
        if len(set(value)) != len(value):
            message = f"Configuration '{name}' values must not be duplicated."
            raise ConfigProblem(name, value_text(value), message, expected)
        for item in value:
            if not item:
                message = f"Configuration '{name}' values must not be empty."
                raise ConfigProblem(name, value_text(value), message, expected)
            if choices and item not in choices:
                raise invalid(name, item, f"String must be one of: {listed}", expected)

    return check


def _non_empty(name: str, value: Value) -> None:
    if value == "":
        raise invalid(name, value, "String must be non-empty", "any text that is not empty")


def _gzip_level(name: str, value: Value) -> None:
    if not isinstance(value, int) or not (1 <= value <= 9 or value == -1):
        reason = "Value must be between 1 and 9 or equal to -1"
        raise invalid(name, value, reason, "from 1 to 9, or -1 for the codec's own level")


_REPLICA = re.compile(r"[0-9]+:[0-9]+")


def _replicas(name: str, value: Value) -> None:
    assert isinstance(value, tuple)
    if value in {(), ("*",)} or all(_REPLICA.fullmatch(item) for item in value):
        return
    reason = (
        f"{name} must be the literal '*' or a list of replicas in the following format: "
        "[partitionId]:[brokerId],[partitionId]:[brokerId],..."
    )
    raise invalid(name, value, reason, "* or PARTITION:BROKER,PARTITION:BROKER,...")


_DURATION = re.compile(
    r"([+-]?)P(?=\d|T\d|[+-])(?:[+-]?\d+D)?(?:T(?=[\d+-])(?:[+-]?\d+H)?(?:[+-]?\d+M)?(?:[+-]?\d+(?:\.\d{0,9})?S)?)?",
    re.IGNORECASE | re.ASCII,
)


def _offset_reset(name: str, value: Value) -> None:
    if value in {"earliest", "latest"}:
        return
    if isinstance(value, str) and value.startswith("by_duration:"):
        found = _DURATION.fullmatch(value.removeprefix("by_duration:"))
        if found and "-" not in found.group(0):
            return
    reason = (
        f"Invalid value `{value}` for configuration {name}. The value must be either 'earliest', 'latest' or of the "
        "format 'by_duration:<PnDTnHnMn.nS>'."
    )
    raise invalid(name, value, reason, "earliest, latest, or by_duration:PT1H for one hour back")


_VOTER = re.compile(r"(\d+)@(.+):(\d+)", re.ASCII)
_SERVER = re.compile(r"(?:[0-9a-zA-Z\-%._]*://)?\[?[0-9a-zA-Z\-%._:]*\]?:[0-9]+")


def _voters(name: str, value: Value) -> None:
    assert isinstance(value, tuple)
    for item in value:
        if not _VOTER.fullmatch(item):
            message = (
                f"Invalid configuration value for {name}. Each entry should be in the form `{{id}}@{{host}}:{{port}}`."
            )
            raise ConfigProblem(name, item, message, "ID@HOST:PORT,ID@HOST:PORT,...")


def _servers(name: str, value: Value) -> None:
    assert isinstance(value, tuple)
    for item in value:
        if not _SERVER.fullmatch(item):
            message = (
                f"Failed to parse host name from {item} for the configuration {name}. "
                'Each entry should be in the form "{host}:{port}"'
            )
            raise ConfigProblem(name, item, message, "HOST:PORT,HOST:PORT,...")


_NAMED_CHECKS: dict[str, Check] = {
    "-": _anything,
    "non_empty": _non_empty,
    "gzip_level": _gzip_level,
    "replicas": _replicas,
    "offset_reset": _offset_reset,
    "voters": _voters,
    "servers": _servers,
}
