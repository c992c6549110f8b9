"""Hypothesis strategies for messages: any value that some version of the protocol can carry."""

import struct

from hypothesis import strategies as st

from kwire.wire.message import Message
from kwire.wire.spec import Field, Versions

TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
# Lengths over 126 take two bytes in the compact form, and 127 is where the prefix itself overflows one byte.
LONG_TEXT = st.one_of(TEXT, st.sampled_from([126, 127, 128, 16382, 16383, 16384]).map(lambda length: "x" * length))
RANGES = {"int8": "b", "int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q"}


def _integers(format_: str) -> st.SearchStrategy[int]:
    bits = 8 * struct.calcsize(format_)
    low, high = (0, 2**bits - 1) if format_.isupper() else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return st.integers(low, high)


PLAIN = {
    "bool": st.booleans(),
    "float64": st.floats(allow_nan=False),
    "uuid": st.binary(min_size=16, max_size=16),
    "string": LONG_TEXT,
    "bytes": st.binary(max_size=300),
    "records": st.binary(max_size=300),
} | {name: _integers(format_) for name, format_ in RANGES.items()}


def messages_of(cls: type[Message], version: int) -> st.SearchStrategy[Message]:
    """Messages of which every field that ``version`` has is drawn, and the others are at their defaults."""
    return _structures(cls, cls, cls.FIELDS, version)


def _structures(root: type[Message], cls: type[Message], fields: tuple[Field, ...], version: int):
    arguments = {field.name: _values(root, field, version) for field in fields if version in field.versions}
    return st.builds(cls, **arguments)


def _values(root: type[Message], field: Field, version: int):
    if field.struct is not None:
        values = _structures(root, getattr(root, field.struct.name), field.struct.fields, version)
    else:
        values = PLAIN[field.item or field.type]
    if field.type == "array" and field.struct is not None:
        values = st.lists(values, max_size=3)
    elif field.type == "array":
        # Up to eight numbers are packed in one call, and a count over 126 takes two bytes in the compact form.
        values = st.one_of(st.lists(values, max_size=12), values.map(lambda value: [value] * 130))
    return st.one_of(st.none(), values) if version in field.nullable else values


def versions(cls: type[Message]) -> range:
    lowest, highest = Versions(*cls.VERSIONS)
    return range(lowest, highest + 1)
