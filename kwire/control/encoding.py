"""Keys and values of JSON, written by the schemas of a registry.

Responsible for: the choices ``key_schema`` and ``value_schema`` of a list of records, and which record does not fit.
Must not depend on: HTTP, formats, the broker.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from kwire.control.decoding import RecordDecoder
from kwire.schemas.choice import ChoiceError, SchemaChoice, read_choice
from kwire.schemas.problems import NotEncoded
from kwire.wire.batches.json_records import JsonRecord

KEY_SCHEMA: Final = "key_schema"
VALUE_SCHEMA: Final = "value_schema"
_PARTS: Final = {KEY_SCHEMA: "key", VALUE_SCHEMA: "value"}


class EncodingError(ValueError):
    """Records cannot be encoded. One sentence."""


def read_choices(given: Mapping[str, Any]) -> dict[str, SchemaChoice]:
    """Read the choices by "key" and "value"; one that is null or left out is not there. Raises EncodingError."""
    try:
        return {part: read_choice(given[name], name) for name, part in _PARTS.items() if given.get(name) is not None}
    except ChoiceError as error:
        raise EncodingError(str(error)) from None


async def encode_records(
    decoder: RecordDecoder | None,
    choices: Mapping[str, SchemaChoice],
    given: Sequence[Mapping[str, Any]],
    read: Sequence[JsonRecord],
) -> list[JsonRecord]:
    """Replace keys and values by what serializers write of them.

    ``given`` has the values of JSON, ``read`` the same records. A null stays null. Raises EncodingError.
    """
    records = list(read)
    for part, choice in choices.items():
        if decoder is None:
            raise EncodingError("this broker has no schema registry: start it with --schema-registry")
        places = [place for place, fields in enumerate(given) if fields.get(part) is not None]
        texts = [json.dumps(given[place][part], ensure_ascii=False) for place in places]
        try:
            contents = await decoder.encoded(choice, texts) if texts else []
        except NotEncoded as error:
            where = "" if error.place is None else f"record {places[error.place] + 1}, {part}: "
            raise EncodingError(f"{where}{error}") from None
        for place, content in zip(places, contents, strict=True):
            record = records[place]
            records[place] = record._replace(key=content) if part == "key" else record._replace(value=content)
    return records
