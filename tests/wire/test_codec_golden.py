"""Both codecs against bytes made by the official classes: parity alone cannot see an error that both inherit."""

import pytest
from golden_vectors import vectors

from kwire.wire import codec, messages, spec
from kwire.wire.compilation import schema


def names():
    return sorted({vector.cls.NAME for vector in vectors()})


def of(name):
    return [vector for vector in vectors() if name == vector.cls.NAME]


def test_there_is_a_vector_for_every_message_and_version():
    expected = {
        (name, version)
        for name in spec.names()
        for version in range(spec.load(name).versions.lowest, spec.load(name).versions.highest + 1)
    }
    assert {(vector.cls.NAME, vector.version) for vector in vectors()} == expected
    assert len(expected) == 744


@pytest.mark.parametrize("name", names())
def test_compiled_codec_reads_and_writes_the_official_bytes(name):
    for vector in of(name):
        message = codec.decode(vector.cls, vector.version, vector.encoded)
        assert codec.to_json(message, vector.version) == vector.values, str(vector)
        assert codec.encode(message, vector.version) == vector.encoded, str(vector)


@pytest.mark.parametrize("name", names())
def test_construct_schema_reads_and_writes_the_official_bytes(name):
    for vector in of(name):
        message = schema.parse(vector.cls, vector.version, vector.encoded)
        assert codec.to_json(message, vector.version) == vector.values, str(vector)
        assert schema.build(message, vector.version) == vector.encoded, str(vector)


@pytest.mark.parametrize("name", names())
def test_json_form_is_read_back(name):
    for vector in of(name):
        message = codec.from_json(vector.cls, vector.version, vector.values)
        assert message == codec.decode(vector.cls, vector.version, vector.encoded), str(vector)


@pytest.mark.parametrize("name", names())
def test_a_message_made_without_arguments_has_the_official_defaults(name):
    for vector in of(name):
        if vector.kind == "default":
            assert codec.encode(getattr(messages, name)(), vector.version) == vector.encoded, str(vector)
