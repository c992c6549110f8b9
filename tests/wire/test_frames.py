from __future__ import annotations

import gc
import struct
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kwire.errors import ProtocolViolation
from kwire.limits import READ_CHUNK_BYTES, READ_CHUNK_BYTES_MAX, READ_CHUNK_BYTES_MIN
from kwire.wire.frames import FrameSplitter, ReadBuffers


def framed(*bodies: bytes) -> bytes:
    return b"".join(struct.pack(">i", len(body)) + body for body in bodies)


def read_in_place(splitter: FrameSplitter, stream: bytes, sizes: list[int]) -> list[bytes]:
    """Drive the splitter as a socket reader does: into its space where it has one, by chunks elsewhere."""
    frames, position, turn = [], 0, 0
    while position < len(stream):
        step = sizes[turn % len(sizes)]
        turn += 1
        space = splitter.space()
        if space is None:
            frames += map(bytes, splitter.feed(stream[position : position + step]))
            position += len(stream[position : position + step])
            continue
        count = min(step, len(space), len(stream) - position)
        space[:count] = stream[position : position + count]
        position += count
        frame = splitter.filled(count)
        if frame is not None:
            frames.append(bytes(frame))
    return frames


@given(
    st.lists(st.binary(min_size=1, max_size=300), max_size=12),
    st.lists(st.integers(1, 120), min_size=1, max_size=6),
    st.booleans(),
)
def test_any_cut_of_the_stream_gives_the_same_frames(bodies, sizes, in_place):
    stream, splitter = framed(*bodies), FrameSplitter(1000)

    if in_place:
        frames = read_in_place(splitter, stream, sizes)
    else:
        frames, position, turn = [], 0, 0
        while position < len(stream):
            frames += map(bytes, splitter.feed(stream[position : position + sizes[turn % len(sizes)]]))
            position += sizes[turn % len(sizes)]
            turn += 1

    assert frames == bodies
    splitter.end()
    assert splitter.held_bytes == 0


@pytest.mark.parametrize("size", [READ_CHUNK_BYTES, READ_CHUNK_BYTES_MAX, 5 * READ_CHUNK_BYTES_MAX + 7])
def test_a_large_frame_arrives_whole(size):
    body = bytes(range(251)) * (size // 251) + bytes(size % 251)

    frames = read_in_place(FrameSplitter(1 << 30), framed(body, b"next"), [READ_CHUNK_BYTES, 100, 3])

    assert frames == [body, b"next"]


def test_frames_inside_a_chunk_are_views_of_it():
    chunk = framed(b"one", b"two")

    frames = FrameSplitter(100).feed(chunk)

    assert [frame.obj is chunk for frame in frames] == [True, True]


def test_memory_grows_with_the_bytes_received_and_not_with_the_length():
    splitter = FrameSplitter(1 << 30)

    splitter.feed(struct.pack(">i", 100_000_000) + b"a few")

    assert splitter.claimed_bytes == 100_000_000
    assert splitter.held_bytes == READ_CHUNK_BYTES_MIN


def test_a_growing_buffer_stays_within_twice_what_came_plus_one_large_chunk():
    splitter = FrameSplitter(1 << 30)
    splitter.feed(struct.pack(">i", 50_000_000))
    came = 0
    while came < 20_000_000:
        space = splitter.space()
        assert space is not None
        assert splitter.held_bytes <= max(2 * came, READ_CHUNK_BYTES_MAX)
        came += len(space)
        splitter.filled(len(space))


def test_a_view_of_the_old_buffer_does_not_prevent_growth():
    splitter = FrameSplitter(1 << 30)
    splitter.feed(struct.pack(">i", 3 * READ_CHUNK_BYTES_MAX))
    kept = splitter.space()
    splitter.filled(len(kept))

    assert len(splitter.space()) > 0
    assert len(kept) == READ_CHUNK_BYTES_MIN


def test_space_ends_where_the_frame_ends():
    splitter = FrameSplitter(1000)
    splitter.feed(struct.pack(">i", 10) + b"12345")

    assert len(splitter.space()) == 5
    assert bytes(splitter.filled(5)[:5]) == b"12345"
    assert splitter.space() is None


@pytest.mark.parametrize("size", [0, -1, -(2**31), 1001, 2**31 - 1])
def test_a_length_that_no_frame_can_have_is_a_violation(size):
    with pytest.raises(ProtocolViolation, match=str(size)):
        FrameSplitter(1000).feed(struct.pack(">i", size))


def test_a_length_at_the_limit_is_allowed():
    assert FrameSplitter(1000).feed(framed(bytes(1000))) == [bytes(1000)]


def test_text_is_recognised():
    with pytest.raises(ProtocolViolation, match=r"looks like text \(hell\.\.\.\)"):
        FrameSplitter(1000).feed(b"hello broker\n")


@pytest.mark.parametrize("line", [b"GET / HTTP/1.1\r\n", b"POST /topics HTTP/1.1\r\n", b"PRI * HTTP/2.0\r\n"])
def test_an_http_request_is_named(line):
    with pytest.raises(ProtocolViolation, match="HTTP request"):
        FrameSplitter(104857600).feed(line)


def test_a_tls_hello_is_named():
    with pytest.raises(ProtocolViolation, match="TLS hello"):
        FrameSplitter(104857600).feed(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")


def test_frames_before_a_bad_length_are_given_first():
    splitter = FrameSplitter(1000)

    assert splitter.feed(framed(b"good") + b"\xff\xff\xff\xff") == [b"good"]
    with pytest.raises(ProtocolViolation, match="-1"):
        splitter.space()


def test_a_refusal_keeps_no_buffer():
    def refuse(chunk: bytes) -> None:
        with pytest.raises(ProtocolViolation):
            FrameSplitter(1000).feed(chunk)

    chunk = b"\xff" * READ_CHUNK_BYTES
    gc.collect()
    gc.disable()
    try:
        before = sys.getrefcount(chunk)
        refuse(chunk)
        assert sys.getrefcount(chunk) == before
    finally:
        gc.enable()


def test_frames_of_connections_that_share_buffers_keep_their_bytes():
    buffers = ReadBuffers(2)
    splitters = [FrameSplitter(1 << 30, buffers) for _ in range(4)]
    bodies = [bytes([number]) * (READ_CHUNK_BYTES + 1000) for number in range(4)]
    for splitter, body in zip(splitters, bodies, strict=True):
        assert splitter.feed(framed(body)[:READ_CHUNK_BYTES]) == []
    frames = []
    for splitter, body in zip(splitters, bodies, strict=True):
        rest = framed(body)[READ_CHUNK_BYTES:]
        splitter.space()[: len(rest)] = rest
        frames.append(splitter.filled(len(rest)))

    assert frames == bodies


def test_a_buffer_is_used_again_once_no_view_of_it_is_alive():
    buffers = ReadBuffers(1)
    first = buffers.take()
    part, used = first[10:20], first.obj
    del first

    while_viewed = buffers.take()
    del part
    afterwards = buffers.take()

    assert while_viewed.obj is not used
    assert afterwards.obj is used
    assert len(afterwards) == READ_CHUNK_BYTES_MAX
