"""Requests that change nothing, which selfcheck sends to a broker.

Responsible for: the ``PROBE`` of an API's module as a request of any version. Must not depend on: the broker that
receives it, what a probe says (``kwire.api.probes``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from kwire.api import ROWS
from kwire.api.probes import Probe
from kwire.wire.codec import request_class
from kwire.wire.message import Message
from kwire.wire.spec import Field


def probe_request(api_key: int, version: int) -> Message | None:
    """Make a request that changes nothing; None for an API that no broker serves to clients.

    Raises UnsupportedVersion for a key without a schema.
    """
    cls = request_class(api_key)
    row = next((row for row in ROWS if row.key == api_key), None)
    if row is None:
        return None
    probe: Probe = import_module(row.module).PROBE
    return cls(**_fitted(cls, cls.FIELDS, probe, version))


def _fitted(cls: type[Message], fields: Sequence[Field], values: Mapping[str, Any], version: int) -> dict[str, Any]:
    """The part of ``values`` for the fields that exist at a version, as arguments of their class."""
    return {
        field.name: _value(cls, field, values[field.name], version)
        for field in fields
        if field.name in values and version in field.versions
    }


def _value(cls: type[Message], field: Field, value: Any, version: int) -> Any:
    if field.type != "array":
        return value
    if value is None:
        return None if version in field.nullable else []
    if field.struct is None:
        return list(value)
    element = getattr(cls, field.struct.name)
    return [element(**_fitted(cls, field.struct.fields, each, version)) for each in value]
