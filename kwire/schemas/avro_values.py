"""Values of JSON as values of Avro, by a schema.

Responsible for: which field of a value does not fit, and values that JSON has no form for, in the form that
``json_text`` writes them in. Must not depend on: the binary encoding.

A value of a union is written as it is, or as Avro's own JSON has it, ``{"long": 5}``. Fields that are left out get
their default.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, Final, TypeAlias
from uuid import UUID

from kwire.schemas.problems import SchemaError

_SHOWN_MAX: Final = 60
_INT: Final = range(-(2**31), 2**31)
_LONG: Final = range(-(2**63), 2**63)

# ``fit(value, schema, path)``
_Fit: TypeAlias = Callable[[Any, Any, str], Any]


class AvroValues:
    """Values of one schema. ``parsed`` is what fastavro makes of it, ``named`` the types that it names."""

    def __init__(self, parsed: Any, named: Mapping[str, Any]) -> None:
        self._parsed = parsed
        self._named = named
        self._types: Mapping[str, _Fit] = {
            "record": self._fit_record,
            "error": self._fit_record,
            "array": self._fit_array,
            "map": self._fit_map,
            "enum": _enum,
            "fixed": _fixed,
        }

    def read(self, text: str) -> Any:
        """Give the value that fastavro writes. Raises SchemaError."""
        try:
            value = json.loads(text, parse_float=Decimal)
        except ValueError as error:
            raise SchemaError(f"the value is not JSON: {error}") from None
        return self._fit(value, self._parsed, "")

    def _fit(self, value: Any, schema: Any, path: str) -> Any:
        if isinstance(schema, list):
            return self._fit_union(value, schema, path)
        if isinstance(schema, str):
            named = self._named.get(schema)
            return _simple(value, schema, path) if named is None else self._fit_type(value, named, path)
        kind = schema["type"]
        return self._fit_type(value, schema, path) if isinstance(kind, str) else self._fit(value, kind, path)

    def _fit_type(self, value: Any, schema: Any, path: str) -> Any:
        kind = schema["type"]
        logical = _LOGICAL.get((kind, schema.get("logicalType")))
        converted = None if logical is None else logical(value, schema, path)
        if converted is not None:
            return converted
        fit = self._types.get(kind)
        return self._fit(value, kind, path) if fit is None else fit(value, schema, path)

    def _fit_record(self, value: Any, schema: Any, path: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _unfit(value, path, f"an object for the record {schema['name']}")
        names = [field["name"] for field in schema["fields"]]
        unknown = next((name for name in value if name not in names), None)
        if unknown is not None:
            where = path or "it"
            raise SchemaError(f"{where} has a field {unknown}; the fields of {schema['name']} are {', '.join(names)}")
        fitted = {}
        for field in schema["fields"]:
            name = field["name"]
            inner = f"{path}.{name}" if path else name
            if name in value:
                fitted[name] = self._fit(value[name], field["type"], inner)
            elif "default" in field:
                fitted[name] = self._fit(_exact(field["default"]), field["type"], inner)
            else:
                raise SchemaError(f"{inner} is missing, and it has no default")
        return fitted

    def _fit_array(self, value: Any, schema: Any, path: str) -> list[Any]:
        if not isinstance(value, list):
            raise _unfit(value, path, "an array")
        return [self._fit(each, schema["items"], f"{path or 'it'}[{place}]") for place, each in enumerate(value)]

    def _fit_map(self, value: Any, schema: Any, path: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _unfit(value, path, "an object for a map")
        return {name: self._fit(each, schema["values"], f"{path or 'it'}[{name!r}]") for name, each in value.items()}

    def _fit_union(self, value: Any, branches: Sequence[Any], path: str) -> Any:
        """Give the first branch that fits, in the notation of fastavro that names it."""
        names = [_branch_name(branch) for branch in branches]
        if isinstance(value, dict) and len(value) == 1:
            ((name, content),) = value.items()
            if name in names:
                return name, self._fit(content, branches[names.index(name)], f"{path or 'it'}.{name}")
        if value is None and "null" in names:
            return None
        problems = []
        for name, branch in zip(names, branches, strict=True):
            if name == "null":
                continue
            try:
                return name, self._fit(value, branch, path)
            except SchemaError as error:
                problems.append(error)
        if len(problems) == 1:
            raise problems[0]
        raise _unfit(value, path, f"one of {', '.join(names)}")


def _branch_name(branch: Any) -> str:
    if isinstance(branch, str):
        return branch
    return str(branch["name"] if "name" in branch else branch["type"])


def _exact(default: Any) -> Any:
    """Give a default as ``read`` has values: without floating-point numbers."""
    return json.loads(json.dumps(default), parse_float=Decimal)


def _simple(value: Any, kind: str, path: str) -> Any:
    """Fit a value of a type without parts."""
    if kind in ("int", "long"):
        numbers = _INT if kind == "int" else _LONG
        if isinstance(value, int) and not isinstance(value, bool) and value in numbers:
            return value
        raise _unfit(value, path, f"a whole number of {32 if kind == 'int' else 64} bits")
    if kind in ("float", "double"):
        return _floating(value, path)
    if kind == "bytes":
        return _bytes(value, path, "a text of characters up to U+00FF (one for each byte)")
    wanted, what = _TYPES[kind]
    if not isinstance(value, wanted):
        raise _unfit(value, path, what)
    return value


_TYPES: Final[Mapping[str, tuple[type, str]]] = {
    "null": (type(None), "null"),
    "boolean": (bool, "true or false"),
    "string": (str, "a text"),
}


def _floating(value: Any, path: str) -> float:
    if isinstance(value, (int, Decimal, float)) and not isinstance(value, bool):
        return float(value)
    if value in ("nan", "inf", "-inf"):
        return float(value)
    raise _unfit(value, path, "a number")


def _bytes(value: Any, path: str, what: str, size: int | None = None) -> bytes:
    try:
        content = value.encode("latin-1") if isinstance(value, str) else None
    except UnicodeEncodeError:
        content = None
    if content is None or (size is not None and len(content) != size):
        raise _unfit(value, path, what)
    return content


def _fixed(value: Any, schema: Any, path: str) -> bytes:
    return _bytes(value, path, f"a text of {schema['size']} characters up to U+00FF", schema["size"])


def _enum(value: Any, schema: Any, path: str) -> str:
    if value not in schema["symbols"]:
        raise _unfit(value, path, f"one of {', '.join(schema['symbols'])}")
    return str(value)


def _decimal(value: Any, schema: Any, path: str) -> Decimal:
    scale, precision = schema.get("scale", 0), schema["precision"]
    what = f"a decimal of {precision} digits, {scale} of them behind the point,"
    try:
        number = Decimal(value) if isinstance(value, (str, int, Decimal)) and not isinstance(value, bool) else None
    except ArithmeticError:
        number = None
    if number is None or not number.is_finite():
        raise _unfit(value, path, what)
    _, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    if -exponent > scale or len(digits) + exponent > precision - scale:
        raise _unfit(value, path, what)
    return number


def _in_iso(read: Callable[[str], Any], what: str) -> _Fit:
    """Make a function that reads a text, and gives None for a number."""

    def fit(value: Any, _schema: Any, path: str) -> Any:
        if not isinstance(value, str):
            return None
        try:
            return read(value)
        except ValueError:
            raise _unfit(value, path, what) from None

    return fit


def _moment(text: str) -> datetime:
    """Read a time; one without an offset is UTC."""
    read = datetime.fromisoformat(text)
    return read if read.tzinfo is not None else read.replace(tzinfo=UTC)


def _local(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=None)


def _uuid(text: str) -> str:
    return str(UUID(text))


_MOMENT: Final = _in_iso(_moment, "a time such as 2026-01-31T12:00:00Z, or a number,")
_LOCAL: Final = _in_iso(_local, "a time such as 2026-01-31T12:00:00, or a number,")
_TIME: Final = _in_iso(time.fromisoformat, "a time such as 12:00:00, or a number,")
# Each gives None where the value is one of the type below.
_LOGICAL: Final[Mapping[tuple[str, Any], Callable[[Any, Any, str], Any]]] = {
    ("bytes", "decimal"): _decimal,
    ("fixed", "decimal"): _decimal,
    ("int", "date"): _in_iso(date.fromisoformat, "a date such as 2026-01-31, or a number,"),
    ("int", "time-millis"): _TIME,
    ("long", "time-micros"): _TIME,
    ("long", "timestamp-millis"): _MOMENT,
    ("long", "timestamp-micros"): _MOMENT,
    ("long", "local-timestamp-millis"): _LOCAL,
    ("long", "local-timestamp-micros"): _LOCAL,
    ("string", "uuid"): _in_iso(_uuid, "a UUID"),
}


def _unfit(value: Any, path: str, needed: str) -> SchemaError:
    shown = json.dumps(value, ensure_ascii=False, default=float)
    if len(shown) > _SHOWN_MAX:
        shown = f"{shown[:_SHOWN_MAX]}…"
    return SchemaError(f"{path or 'it'} is {shown}; {needed} is needed")
