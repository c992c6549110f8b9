"""The answers of the process that decodes, in this process."""

import base64
import json

import pytest
import trio
from fake_registry import FakeRegistry, framed

from kwire.schemas.registry import Registry

pytest.importorskip("fastavro")
pytest.importorskip("httpx2")

from kwire.schemas.cache import CompiledSchemas
from kwire.schemas.decoder import Decoder
from kwire.schemas.worker import answer


async def ask(decoder, *contents, containing=None, text_max=1000):
    lines = []
    given = [[base64.b64encode(each).decode(), None] for each in contents]
    await answer(decoder, {"contents": given, "containing": containing, "text_max": text_max}, lines.append)
    return [json.loads(line) for line in lines]


@pytest.fixture
def decoder():
    fake = FakeRegistry()
    fake.add(1, '"string"')
    return Decoder(CompiledSchemas(Registry("registry http://r", fake.fetch)))


A, B = framed(1, b"\x02a"), framed(1, b"\x02b")


async def test_each_content_has_a_line(decoder):
    assert [each.get("text") for each in await ask(decoder, A, framed(9, b""), B)] == ['"a"', None, '"b"']


async def test_a_search_tells_which_texts_contain_it(decoder):
    assert await ask(decoder, A, framed(9, b"a"), B, containing="a") == [{"text": ""}, None, None]


async def test_texts_beyond_the_limit_are_left_out_and_shorter_ones_follow(decoder):
    answers = await ask(decoder, A, framed(1, b"\x0along!"), B, text_max=6)
    assert [each.get("text") for each in answers] == ['"a"', None, '"b"']
    assert answers[1]["error"] == "schema 1: not decoded, because the texts before are long: read fewer records"


async def test_a_slow_registry_is_asked_for_a_few_schemas_of_a_question(autojump_clock):
    fake = FakeRegistry()
    for number in range(1, 10):
        fake.add(number, '"string"')

    async def fetch(path):
        await trio.sleep(1.5)
        return fake.answer(path)

    decoder = Decoder(CompiledSchemas(Registry("registry http://r", fetch)))
    contents = [framed(number, b"\x02a") for number in (1, 2, 3, 4, 5, 1)]
    answers = await ask(decoder, *contents)
    assert [each.get("text") for each in answers] == ['"a"', '"a"', '"a"', '"a"', None, '"a"']
    assert "not yet asked for, because the registry is slow" in answers[4]["error"]
    assert [each.get("text") for each in await ask(decoder, *contents)] == ['"a"'] * 6
