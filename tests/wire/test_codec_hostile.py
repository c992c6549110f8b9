"""What a peer may claim costs nothing: memory follows the bytes that came, and every refusal is a ProtocolViolation."""

import tracemalloc
from contextlib import suppress

import pytest
from golden_vectors import vectors

from kwire.errors import ProtocolViolation
from kwire.wire import codec
from kwire.wire.messages import FetchRequest, MetadataRequest, ProduceRequest, SaslAuthenticateRequest

WITNESSES = (FetchRequest, MetadataRequest, ProduceRequest)
HUGE = (b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff\x07", b"\x7f\xff")


def test_no_claimed_size_makes_memory_grow():
    # A first round compiles, so that the second measures decoding alone.
    for _ in range(2):
        tracemalloc.start()
        try:
            peak = peak_over(claims())
        finally:
            tracemalloc.stop()
    assert peak < 64 * 1024


def claims():
    """Bytes of three messages, lowest and highest version, with a huge length or count put at every position."""
    for vector in vectors():
        if vector.kind == "filled" and vector.cls in WITNESSES and vector.version in tuple(vector.cls.VERSIONS):
            for position in range(len(vector.encoded)):
                for claim in HUGE:
                    yield vector, vector.encoded[:position] + claim + vector.encoded[position + len(claim) :]


def peak_over(mutants):
    peak = 0
    for vector, mutant in mutants:
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        with suppress(ProtocolViolation):
            codec.decode(vector.cls, vector.version, mutant)
        peak = max(peak, tracemalloc.get_traced_memory()[1] - before)
    return peak


@pytest.mark.parametrize(
    ("cls", "version", "body", "reason"),
    [
        (MetadataRequest, 1, b"\x7f\xff\xff\xff", "topics"),
        (MetadataRequest, 1, b"\xff\xff\xff\xfe", "topics: length -2"),
        (MetadataRequest, 0, b"\xff\xff\xff\xff", "topics: null is not allowed"),
        (MetadataRequest, 1, b"\0\0\0\1\xff\xff", "name: null is not allowed"),
        (MetadataRequest, 1, b"\0\0\0\1\0\2\xc3\x28", "can't decode"),
        (MetadataRequest, 9, b"\xff\xff\xff\xff\x0f\0\0\0\0", "over 31 bits"),
        (MetadataRequest, 9, b"\x80\x80\x80\x80\x80\0\0\0\0", "more than five bytes"),
        (MetadataRequest, 9, b"\1\0\0\0\1\0", "a field at 5 goes beyond the end at 6"),
        (MetadataRequest, 9, b"\1\0\0\0\1\0\x7fabc", "tagged field of 127 bytes"),
        (FetchRequest, 12, b"\0" * 25 + b"\1\1\1\1\0\5\2a\0", "tagged field"),
        (SaslAuthenticateRequest, 0, b"\x7f\xff\xff\xff", "auth_bytes"),
        (SaslAuthenticateRequest, 0, b"\xff\xff\xff\xff", "auth_bytes: null is not allowed"),
        (SaslAuthenticateRequest, 0, b"", "a field at 0 goes beyond the end at 0"),
    ],
)
def test_refusal_names_the_message_and_the_reason(cls, version, body, reason):
    with pytest.raises(ProtocolViolation, match=f"^{cls.NAME} v{version}: .*{reason}"):
        codec.decode(cls, version, body)


def test_a_string_longer_than_kafka_takes_is_refused_though_the_bytes_are_there():
    body = b"\2" + b"\x81\x80\x02" + b"x" * 32768 + b"\0" + b"\0\0\0" + b"\0"
    with pytest.raises(ProtocolViolation, match="name: 32768"):
        codec.decode(MetadataRequest, 9, body)
    longest = b"\2" + b"\x80\x80\x02" + b"x" * 32767 + b"\0" + b"\0\0\0" + b"\0"
    assert codec.decode(MetadataRequest, 9, longest).topics[0].name == "x" * 32767


def test_millions_of_unknown_tags_are_passed_over_without_being_kept():
    one = b"\x63\1x"
    body = b"\1\0\0\0" + b"\x80\x80\x04" + one * 65536
    assert codec.decode(MetadataRequest, 9, body) == MetadataRequest(topics=[], allow_auto_topic_creation=False)


def test_a_count_is_refused_before_its_items_when_they_cannot_fit():
    # 11 topics of at least 2 bytes each do not fit into 20 bytes, whatever they are.
    with pytest.raises(ProtocolViolation, match="topics: 11 do not fit"):
        codec.decode(MetadataRequest, 1, b"\0\0\0\x0b" + b"\0\1a" * 6 + b"\0\0")
