"""The four codecs of record batches, bounded.

Responsible for: the bytes that each codec writes and reads in Kafka, its levels, and the limit of the decompressed
size. Must not depend on: records, topics, settings by name.

The library (cramjam) is loaded when the first batch is opened.

The compressed records of a batch, by codec:

* gzip: one gzip stream; several in a row read as one.
* snappy: the format of the Java client: a header of 16 bytes (``82 'SNAPPY' 00``, version 1, compatible 1), then
  blocks, each an int32 length and one raw snappy block of at most 32 KB. One raw block without the header, as
  librdkafka writes it, is read as well.
* lz4: an LZ4 frame of independent 64 KB blocks, no checksums but the one of the header. Frames of dependent blocks are
  refused, as Kafka's reader cannot take them.
* zstd: one zstd frame; several in a row read as one.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from kwire.errors import Code, KafkaError

if TYPE_CHECKING:
    from types import ModuleType


class Codec(IntEnum):
    """The compression types by their number in a batch's attributes."""

    NONE = 0
    GZIP = 1
    SNAPPY = 2
    LZ4 = 3
    ZSTD = 4


# Kafka's own defaults. Gzip -1 is the library's default, 6; lz4 9 selects the fast compressor.
LEVEL_DEFAULTS: Final = {Codec.GZIP: -1, Codec.LZ4: 9, Codec.ZSTD: 3}
LEVEL_RANGES: Final = {Codec.GZIP: range(1, 10), Codec.LZ4: range(1, 18), Codec.ZSTD: range(-131_072, 23)}


def compress(codec: Codec, payload: bytes, level: int | None = None) -> bytes:
    """Compress as the Java client does; ``level`` None is Kafka's default. Raises ValueError for an unknown level."""
    if level is not None and level != LEVEL_DEFAULTS.get(codec) and level not in LEVEL_RANGES.get(codec, ()):
        raise ValueError(f"{codec.name.lower()} has no compression level {level}")
    return _COMPRESSORS[codec](payload, LEVEL_DEFAULTS.get(codec, 0) if level is None else level)


def decompress(codec: int, payload: bytes | memoryview, *, limit_bytes: int) -> bytes:
    """Return the plain bytes, at most ``limit_bytes`` of them.

    KafkaError: UNSUPPORTED_COMPRESSION_TYPE for a number that is no codec, CORRUPT_MESSAGE for bytes that are not in
    the format of the codec, RECORD_LIST_TOO_LARGE for more than ``limit_bytes``. Memory grows with the decompressed
    bytes, not with the size in a header.
    """
    decompressor = _DECOMPRESSORS.get(codec)
    if decompressor is None:
        raise KafkaError(Code.UNSUPPORTED_COMPRESSION_TYPE, f"unknown compression type id: {codec}")
    return decompressor(payload, limit_bytes)


# ---- none, gzip, zstd


def _keep(payload: bytes, _level: int) -> bytes:
    return payload


def _keep_bounded(payload: bytes | memoryview, limit_bytes: int) -> bytes:
    if len(payload) > limit_bytes:
        raise _too_large(limit_bytes)
    return bytes(payload)


_GZIP_LEVEL_OF_DEFAULT: Final = 6


def _gzip(payload: bytes, level: int) -> bytes:
    return bytes(_library().gzip.compress(payload, level=_GZIP_LEVEL_OF_DEFAULT if level < 0 else level))


def _gunzip(payload: bytes | memoryview, limit_bytes: int) -> bytes:
    return _decompress_growing(_library().gzip, payload, limit_bytes)


def _zstd(payload: bytes, level: int) -> bytes:
    return bytes(_library().zstd.compress(payload, level=level))


def _unzstd(payload: bytes | memoryview, limit_bytes: int) -> bytes:
    return _decompress_growing(_library().zstd, payload, limit_bytes)


_FIRST_GUESS_FACTOR: Final = 8
_FIRST_GUESS_BYTES_MIN: Final = 64 * 1024
_GROWTH: Final = 4
# The library's message when the output does not fit; a test asserts it.
_DOES_NOT_FIT: Final = "whole buffer"


def _decompress_growing(module: Any, payload: bytes | memoryview, limit_bytes: int) -> bytes:
    """Decompress into a buffer that grows until it fits: usually once, for a decompression bomb up to the limit."""
    library = _library()
    size_bytes = min(limit_bytes, max(_FIRST_GUESS_BYTES_MIN, _FIRST_GUESS_FACTOR * len(payload)))
    while True:
        output = bytearray(size_bytes)
        try:
            written_bytes = module.decompress_into(payload, output)
        except library.DecompressionError as error:
            if _DOES_NOT_FIT not in str(error):
                raise KafkaError(Code.CORRUPT_MESSAGE, f"compressed records are corrupt: {error}") from error
            if size_bytes >= limit_bytes:
                raise _too_large(limit_bytes) from error
            size_bytes = min(limit_bytes, size_bytes * _GROWTH)
        else:
            return bytes(memoryview(output)[:written_bytes])


# ---- snappy

_SNAPPY_MAGIC: Final = b"\x82SNAPPY\x00"
_SNAPPY_HEADER: Final = _SNAPPY_MAGIC + b"\x00\x00\x00\x01" * 2
_SNAPPY_BLOCK_BYTES: Final = 32 * 1024
_INT32: Final = Struct(">i")


def _snappy(payload: bytes, _level: int) -> bytes:
    compress_block = _library().snappy.compress_raw
    view = memoryview(payload)
    parts = [_SNAPPY_HEADER]
    for position in range(0, len(payload), _SNAPPY_BLOCK_BYTES):
        block = bytes(compress_block(view[position : position + _SNAPPY_BLOCK_BYTES]))
        parts += (_INT32.pack(len(block)), block)
    return b"".join(parts)


def _unsnappy(payload: bytes | memoryview, limit_bytes: int) -> bytes:
    view = memoryview(payload)
    if bytes(view[: len(_SNAPPY_MAGIC)]) != _SNAPPY_MAGIC:
        return _unsnappy_block(view, limit_bytes)
    parts = []
    left_bytes = limit_bytes
    position = len(_SNAPPY_HEADER)
    while position < len(view):
        block_bytes = int.from_bytes(view[position : position + _INT32.size], "big", signed=True)
        position += _INT32.size
        if not 0 <= block_bytes <= len(view) - position:
            raise KafkaError(Code.CORRUPT_MESSAGE, f"compressed records are corrupt: snappy block of {block_bytes}")
        parts.append(_unsnappy_block(view[position : position + block_bytes], left_bytes))
        left_bytes -= len(parts[-1])
        position += block_bytes
    return b"".join(parts)


# A copy of 3 bytes yields at most 64 bytes, so no valid block decompresses to much more than 22 times its size.
_SNAPPY_RATIO_MAX: Final = 32


def _unsnappy_block(block: memoryview, limit_bytes: int) -> bytes:
    library = _library()
    try:
        claimed_bytes = library.snappy.decompress_raw_len(block)
        if claimed_bytes > limit_bytes:
            raise _too_large(limit_bytes)
        if claimed_bytes > _SNAPPY_RATIO_MAX * len(block):
            raise KafkaError(Code.CORRUPT_MESSAGE, f"{len(block)} bytes of snappy claim to hold {claimed_bytes}")
        return bytes(library.snappy.decompress_raw(block))
    except library.DecompressionError as error:
        raise KafkaError(Code.CORRUPT_MESSAGE, f"compressed records are corrupt: {error}") from error


# ---- lz4

# Magic; version 1 and independent blocks; blocks of 64 KB; the second byte of the xxHash-32 of the two bytes before.
_LZ4_HEADER: Final = bytes.fromhex("04224d18 60 40 82")
_LZ4_END: Final = bytes(4)
_LZ4_BLOCK_BYTES: Final = 64 * 1024
_LZ4_STORED: Final = 0x8000_0000
_LZ4_FLAGS_POSITION: Final = 4
_LZ4_INDEPENDENT: Final = 0x20
_LITTLE_UINT32: Final = Struct("<I")


def _lz4(payload: bytes, level: int) -> bytes:
    if level != LEVEL_DEFAULTS[Codec.LZ4]:
        return _lz4_high(payload, level)
    compress_block = _library().lz4.compress_block
    view = memoryview(payload)
    parts = [_LZ4_HEADER]
    for position in range(0, len(payload), _LZ4_BLOCK_BYTES):
        plain = view[position : position + _LZ4_BLOCK_BYTES]
        block = bytes(compress_block(plain, store_size=False))
        if len(block) < len(plain):
            parts += (_LITTLE_UINT32.pack(len(block)), block)
        else:
            parts += (_LITTLE_UINT32.pack(len(plain) | _LZ4_STORED), bytes(plain))
    parts.append(_LZ4_END)
    return b"".join(parts)


# Kafka's level 1 to 17 go to the high compressor, which knows 1 to 12. The library's own frames (independent 64 KB
# blocks too, each with a checksum) take the fast compressor below 3, and its single blocks know no level at all. So 1
# and 2 become 3, the lowest that compresses high, and 13 to 17 become 12, as they do in Kafka.
_LZ4_HIGH_LEVELS: Final = (3, 12)


def _lz4_high(payload: bytes, level: int) -> bytes:
    lowest, highest = _LZ4_HIGH_LEVELS
    compressor = _library().lz4.Compressor(
        level=min(max(level, lowest), highest), content_checksum=False, block_linked=False
    )
    compressor.compress(payload)
    return bytes(compressor.finish())


def _unlz4(payload: bytes | memoryview, limit_bytes: int) -> bytes:
    if len(payload) > _LZ4_FLAGS_POSITION and not payload[_LZ4_FLAGS_POSITION] & _LZ4_INDEPENDENT:
        raise KafkaError(Code.CORRUPT_MESSAGE, "compressed records are an lz4 frame of dependent blocks")
    return _decompress_growing(_library().lz4, payload, limit_bytes)


_COMPRESSORS: Final = {
    Codec.NONE: _keep,
    Codec.GZIP: _gzip,
    Codec.SNAPPY: _snappy,
    Codec.LZ4: _lz4,
    Codec.ZSTD: _zstd,
}
_DECOMPRESSORS: Final = {
    int(Codec.NONE): _keep_bounded,
    int(Codec.GZIP): _gunzip,
    int(Codec.SNAPPY): _unsnappy,
    int(Codec.LZ4): _unlz4,
    int(Codec.ZSTD): _unzstd,
}


def _library() -> ModuleType:
    import cramjam  # noqa: PLC0415 - 2 MB that a broker which never opens a batch need not load

    return cramjam


def _too_large(limit_bytes: int) -> KafkaError:
    return KafkaError(Code.RECORD_LIST_TOO_LARGE, f"compressed records hold more than {limit_bytes} bytes")
