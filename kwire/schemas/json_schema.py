"""JSON Schema: the payload is JSON text.

Responsible for: checking that what is read is JSON, and that what is written fits the schema. Must not depend on: where
the schema comes from. What is read was checked with the schema when it was written.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from typing import Any, NoReturn

from kwire.schemas.compiled import Compiled
from kwire.schemas.problems import SchemaError
from kwire.schemas.registry import Schema


def compile_json_schema(schema: Schema) -> Compiled:
    """Make a reader and a writer. Raises SchemaError."""
    parsed, *_ = documents = [_document(text) for text in (schema.text, *(text for _, text in schema.imports))]
    title = parsed.get("title") if isinstance(parsed, dict) else None
    check: list[Callable[[Any], None]] = []

    def decode(payload: bytes, _indexes: bytes | None) -> tuple[str, str]:
        text = payload.decode()
        json.loads(text)
        return title if isinstance(title, str) else "", text

    def encode(text: str, _message: str | None) -> bytes:
        try:
            value = json.loads(text, parse_constant=_refuse)
        except ValueError as error:
            raise SchemaError(f"the value is not JSON: {error}") from None
        if not check:  # at the first value that is written: the library takes a while to load
            names = [name for name, _ in schema.imports]
            check.append(_make_check(parsed, dict(zip(names, documents[1:], strict=True))))
        check[0](value)
        return text.encode()

    return Compiled(decode, encode)


def _refuse(constant: str) -> NoReturn:
    """NaN and Infinity, which ``json`` reads by default, are not in JSON: other readers refuse them."""
    raise ValueError(f"{constant} is not a number of JSON")


def _document(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise SchemaError(f"it is not a JSON Schema: {error}") from None


def _make_check(parsed: Any, imports: dict[str, Any]) -> Callable[[Any], None]:
    """Make the function that raises SchemaError for a value that does not fit."""
    if importlib.util.find_spec("jsonschema") is None:
        raise SchemaError("to write by a JSON Schema, pip install 'kwire[schemas]' (jsonschema)")
    import jsonschema  # noqa: PLC0415 (see above)
    import referencing  # noqa: PLC0415
    import referencing.jsonschema  # noqa: PLC0415

    # A schema without $schema is of draft 7, as Confluent's serializers take it.
    dialect = referencing.jsonschema.DRAFT7
    resources = [(name, referencing.Resource.from_contents(each, dialect)) for name, each in imports.items()]
    registry: Any = referencing.Registry().with_resources(resources)
    kind = jsonschema.validators.validator_for(parsed, default=jsonschema.Draft7Validator)
    try:
        kind.check_schema(parsed)
    except jsonschema.SchemaError as error:
        raise SchemaError(f"it is not a JSON Schema: {error.message}") from None
    validator = kind(parsed, registry=registry)

    def check(value: Any) -> None:
        found = jsonschema.exceptions.best_match(validator.iter_errors(value))
        if found is not None:
            raise SchemaError(f"{_place(found.absolute_path) or 'it'}: {found.message}")

    return check


def _place(path: Any) -> str:
    text = "".join(f"[{each}]" if isinstance(each, int) else f".{each}" for each in path)
    return text.removeprefix(".")
