"""The batches of a .log file, read one after the other for a dump.

Responsible for: reading a file that may be damaged, truncated or open in a broker. Must not depend on: how a batch is
printed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple

from kwire.wire.batches.batch import HEADER_BYTES, MAGIC, BatchHeader, read_batch_header

INT32_MAX: Final = 2**31 - 1
_STEP: Final = Struct(">qi")
_MAGIC_POSITION: Final = 16
# The smallest value of the length field, for batches of any magic.
_LENGTH_MIN: Final = 14


class FileBatch(NamedTuple):
    """A batch and its position in a file."""

    position: int
    header: BatchHeader
    content: bytes


def batches(path: Path, start: int = 0, bytes_max: int = INT32_MAX) -> Iterator[FileBatch]:
    """Yield the complete batches in the ``bytes_max`` bytes from position ``start``.

    Raises ValueError for bytes that cannot be a batch of magic 2.
    """
    with path.open("rb") as file:
        end = min(path.stat().st_size, start + bytes_max)
        position = start
        while position + HEADER_BYTES <= end:
            file.seek(position)
            head = file.read(HEADER_BYTES)
            length = _STEP.unpack_from(head)[1]
            if length < _LENGTH_MIN:
                raise ValueError(
                    f"Found record size {length} smaller than minimum record overhead ({_LENGTH_MIN}) in file {path}."
                )
            size_bytes = _STEP.size + length
            if position + size_bytes > end:
                return
            magic = head[_MAGIC_POSITION]
            if magic != MAGIC:
                raise ValueError(f"{path}: the batch at position {position} has magic {magic}; only {MAGIC} is read")
            content = head + file.read(size_bytes - HEADER_BYTES)
            yield FileBatch(position, read_batch_header(content), content)
            position += size_bytes


def base_offset_of(path: Path) -> int:
    """Return the base offset in the name of a segment's file. Raises ValueError."""
    stem = path.name.split(".")[0]
    if not stem.isdigit():
        raise ValueError(f"{path.name} does not begin with an offset, as the files of a log do")
    return int(stem)
