"""The four codecs: what goes in comes out, never more than the limit, and hostile bytes are an error with a code."""

from __future__ import annotations

import gzip
import random
import subprocess
import sys
import tracemalloc

import cramjam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kwire.errors import Code, KafkaError
from kwire.wire.batches.compression import LEVEL_RANGES, Codec, compress, decompress

REAL_CODECS = [codec for codec in Codec if codec is not Codec.NONE]
LIMIT_BYTES = 64 * 1024 * 1024


def _mixed_bytes() -> bytes:
    dice = random.Random(4)
    return b"".join(dice.randbytes(1000) + b"Kafka " * 500 for _ in range(60))


@pytest.mark.parametrize("codec", list(Codec))
@given(payload=st.binary(max_size=4000), repeats=st.integers(1, 50))
def test_decompression_inverts_compression(codec, payload, repeats):
    plain = payload * repeats
    assert decompress(codec, compress(codec, plain), limit_bytes=LIMIT_BYTES) == plain


@pytest.mark.parametrize("codec", list(Codec))
def test_more_than_one_block_comes_out_whole(codec):
    plain = _mixed_bytes()
    assert len(plain) > 3 * 64 * 1024
    assert decompress(codec, compress(codec, plain), limit_bytes=len(plain)) == plain


@pytest.mark.parametrize(
    ("codec", "level"),
    [
        (Codec.GZIP, -1),
        *((Codec.GZIP, level) for level in range(1, 10)),
        *((Codec.LZ4, level) for level in range(1, 18)),
        *((Codec.ZSTD, level) for level in (-131_072, -5, 0, 1, 3, 22)),
    ],
)
def test_every_level_kafka_knows_compresses(codec, level):
    plain = _mixed_bytes()
    assert decompress(codec, compress(codec, plain, level), limit_bytes=len(plain)) == plain


@pytest.mark.parametrize(("codec", "low", "high"), [(Codec.GZIP, 1, 9), (Codec.LZ4, 9, 12), (Codec.ZSTD, -1000, 19)])
def test_a_higher_level_compresses_more(codec, low, high):
    text = __doc__.encode() * 20 + _mixed_bytes()
    assert len(compress(codec, text, high)) < len(compress(codec, text, low))


@pytest.mark.parametrize(
    ("codec", "level"), [(Codec.GZIP, 0), (Codec.GZIP, 10), (Codec.LZ4, 0), (Codec.LZ4, 18), (Codec.ZSTD, 23)]
)
def test_a_level_outside_kafkas_range_is_refused(codec, level):
    assert level not in LEVEL_RANGES[codec]
    with pytest.raises(ValueError, match=f"level {level}"):
        compress(codec, b"x", level)


@pytest.mark.parametrize("codec", list(Codec))
def test_one_byte_over_the_limit_is_refused(codec):
    plain = b"\0" * 300_000
    packed = compress(codec, plain)
    assert decompress(codec, packed, limit_bytes=len(plain)) == plain
    with pytest.raises(KafkaError) as refusal:
        decompress(codec, packed, limit_bytes=len(plain) - 1)
    assert refusal.value.code is Code.RECORD_LIST_TOO_LARGE


@pytest.mark.parametrize("codec", REAL_CODECS)
def test_a_decompression_bomb_costs_no_more_memory_than_its_limit(codec):
    bomb = compress(codec, bytes(256 * 1024 * 1024))
    limit_bytes = 1024 * 1024
    tracemalloc.start()
    try:
        with pytest.raises(KafkaError):
            decompress(codec, bomb, limit_bytes=limit_bytes)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 3 * limit_bytes + len(bomb)


def test_a_snappy_block_that_claims_gigabytes_is_refused():
    claims_2_gigabytes = b"\xff\xff\xff\xff\x07" + b"\x00x"
    with pytest.raises(KafkaError) as refusal:
        decompress(Codec.SNAPPY, claims_2_gigabytes, limit_bytes=2**40)
    assert refusal.value.code is Code.CORRUPT_MESSAGE


@pytest.mark.parametrize("codec", REAL_CODECS)
@pytest.mark.parametrize("garbage", [b"", b"\x05", b"this is not compressed at all", b"\xff" * 100])
def test_garbage_is_corrupt(codec, garbage):
    with pytest.raises(KafkaError) as refusal:
        decompress(codec, garbage, limit_bytes=LIMIT_BYTES)
    assert refusal.value.code is Code.CORRUPT_MESSAGE


@pytest.mark.parametrize("codec", REAL_CODECS)
def test_truncated_payloads_are_corrupt(codec):
    packed = compress(codec, _mixed_bytes())
    for kept_bytes in (len(packed) - 1, len(packed) // 2, 20):
        with pytest.raises(KafkaError) as refusal:
            decompress(codec, packed[:kept_bytes], limit_bytes=LIMIT_BYTES)
        assert refusal.value.code is Code.CORRUPT_MESSAGE


@pytest.mark.parametrize("codec", REAL_CODECS)
@given(flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), min_size=1, max_size=5))
def test_flipped_bytes_are_an_error_with_a_code_or_other_bytes(codec, flips):
    packed = bytearray(compress(codec, b"some bytes that compress, compress, compress well" * 20))
    for position, change in flips:
        packed[position % len(packed)] ^= change
    try:
        decompress(codec, bytes(packed), limit_bytes=LIMIT_BYTES)
    except KafkaError as error:
        refused = error.code
    else:
        refused = None
    assert refused in (None, Code.CORRUPT_MESSAGE, Code.RECORD_LIST_TOO_LARGE)


def test_an_unknown_codec_has_its_own_code():
    with pytest.raises(KafkaError) as refusal:
        decompress(5, b"", limit_bytes=10)
    assert refusal.value.code is Code.UNSUPPORTED_COMPRESSION_TYPE


def test_raw_snappy_as_librdkafka_writes_it_is_read():
    raw = bytes(cramjam.snappy.compress_raw(b"abc" * 1000))
    assert decompress(Codec.SNAPPY, raw, limit_bytes=3000) == b"abc" * 1000
    with pytest.raises(KafkaError):
        decompress(Codec.SNAPPY, raw, limit_bytes=2999)


@pytest.mark.parametrize(("codec", "pack"), [(Codec.GZIP, gzip.compress), (Codec.ZSTD, cramjam.zstd.compress)])
def test_several_streams_in_a_row_read_as_one(codec, pack):
    assert decompress(codec, bytes(pack(b"one ")) + bytes(pack(b"two")), limit_bytes=100) == b"one two"


def test_lz4_of_dependent_blocks_is_refused_as_in_kafka():
    linked = bytes(cramjam.lz4.compress(b"abc" * 100))
    with pytest.raises(KafkaError) as refusal:
        decompress(Codec.LZ4, linked, limit_bytes=1000)
    assert refusal.value.code is Code.CORRUPT_MESSAGE


def test_lz4_writes_the_frame_that_the_java_client_writes():
    incompressible = random.Random(7).randbytes(70_000)
    frame = compress(Codec.LZ4, incompressible)
    # Magic, version 1 with independent blocks, 64 KB blocks, header checksum; then a stored block of 64 KB.
    assert frame[:7].hex() == "04224d18604082"
    assert frame[7:11] == (0x8000_0000 | 65536).to_bytes(4, "little")
    assert frame[11 : 11 + 65536] == incompressible[:65536]
    assert frame[-4:] == bytes(4)


def test_the_library_is_not_loaded_before_a_batch_is_opened():
    program = (
        "import sys; from kwire.wire.batches import records, compression; assert 'cramjam' not in sys.modules; "
        "compression.decompress(0, b'x', limit_bytes=1); assert 'cramjam' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
