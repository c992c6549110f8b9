"""The compiled codec against the interpreted construct schema, on generated values and bytes."""

import json
import random

import pytest
from golden_vectors import vectors
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from message_strategies import messages_of, versions

from kwire.errors import ProtocolViolation
from kwire.wire import codec, messages, spec
from kwire.wire.compilation import schema


@pytest.mark.parametrize("name", spec.names())
@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_both_codecs_agree_on_every_message_and_version(name, data):
    cls = getattr(messages, name)
    for version in versions(cls):
        message = data.draw(messages_of(cls, version), label=f"v{version}")
        encoded = codec.encode(message, version)
        assert encoded == schema.build(message, version)
        assert codec.decode(cls, version, encoded) == message
        assert schema.parse(cls, version, encoded) == message


def outcome(parse, vector, mutant):
    """What a codec makes of bytes: the values as text (NaN equals itself there), or None if it refuses them."""
    try:
        return json.dumps(codec.to_json(parse(vector.cls, vector.version, mutant), vector.version))
    except ProtocolViolation:
        return None


def mutate(encoded, dice):
    """Damage bytes the way that finds bugs: lengths become huge or negative, ends are cut or grown."""
    mutant = bytearray(encoded)
    for _ in range(dice.choice((1, 1, 1, 2, 4))):
        position = dice.randrange(len(mutant) + 1)
        match dice.randrange(6):
            case 0:
                mutant[position : position + 1] = bytes([dice.randrange(256)])
            case 1:
                mutant[position : position + 1] = dice.choice((b"\0", b"\1", b"\2", b"\x7f", b"\x80", b"\xff"))
            case 2:
                mutant[position : position + 4] = dice.choice((b"\x7f\xff\xff\xff", b"\xff\xff\xff\xfe", b"\x80\0\0\0"))
            case 3:
                mutant[position : position + 5] = dice.choice(
                    (b"\xff\xff\xff\xff\x07", b"\xff\xff\xff\xff\x0f", b"\x80\x80\x80\x80\x80", b"\x81\x80\x80\x80\0")
                )
            case 4:
                del mutant[position : position + dice.choice((1, 2, 4, 1000))]
            case 5:
                mutant[position:position] = dice.randbytes(dice.choice((1, 2, 4, 16)))
    return bytes(mutant)


def test_both_codecs_agree_on_damaged_bytes():
    dice = random.Random(431)
    refused = accepted = 0
    for vector in vectors():
        for _ in range(6):
            mutant = mutate(vector.encoded, dice)
            compiled = outcome(codec.decode, vector, mutant)
            assert compiled == outcome(schema.parse, vector, mutant), (str(vector), mutant.hex())
            refused += compiled is None
            accepted += compiled is not None
    # Both kinds must occur, or the test tests nothing.
    assert refused > 1000
    assert accepted > 1000


def test_both_codecs_agree_on_random_bytes():
    dice = random.Random(9092)
    for vector in vectors():
        for size in (0, 1, 3, 20, 100):
            noise = dice.randbytes(size)
            assert outcome(codec.decode, vector, noise) == outcome(schema.parse, vector, noise), (
                str(vector),
                noise.hex(),
            )


@pytest.mark.parametrize("kind", ["filled", "edge"])
def test_every_cut_is_refused(kind):
    for vector in vectors():
        if vector.kind != kind:
            continue
        for end in range(len(vector.encoded)):
            with pytest.raises(ProtocolViolation):
                codec.decode(vector.cls, vector.version, vector.encoded[:end])


def test_a_byte_too_many_is_refused():
    for vector in vectors():
        with pytest.raises(ProtocolViolation, match="1 bytes too many"):
            codec.decode(vector.cls, vector.version, vector.encoded + b"\0")
