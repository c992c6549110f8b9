"""Schemas from a registry: what is asked, what its answers mean, what is remembered."""

import json

import pytest
import trio
from fake_registry import FakeRegistry

from kwire.schemas.address import ANSWER_S
from kwire.schemas.problems import SchemaError
from kwire.schemas.registry import FAILURE_KEPT_S, REFERENCES_MAX, Registry, Schema

NAME = "registry http://registry:8081"


@pytest.fixture
def fake():
    return FakeRegistry()


@pytest.fixture
def registry(fake):
    return Registry(NAME, fake.fetch)


async def failure(registry, schema_id=1):
    with pytest.raises(SchemaError) as error:
        await registry.load(schema_id)
    return str(error.value)


async def test_a_schema_is_got_by_its_id_or_guid(fake, registry):
    fake.add(17, '"string"')
    fake.schemas["/schemas/guids/a-guid"] = {"schema": "{}", "schemaType": "JSON"}
    assert await registry.load(17) == Schema("AVRO", '"string"')
    assert await registry.load("a-guid") == Schema("JSON", "{}")
    assert fake.asked == ["/schemas/ids/17", "/schemas/guids/a-guid"]


@pytest.mark.parametrize("status", [200, 500])
async def test_protobuf_is_asked_for_serialized_too(fake, status):
    fake.add(1, "source", "PROTOBUF", [("b.proto", "b", 1)])
    fake.add_subject("b", 1, "source of b")

    async def fetch(path):
        if not path.endswith("?format=serialized"):
            return fake.answer(path)
        return status, b'{"schema": "serialized"}'

    text, of_b = ("serialized",) * 2 if status == 200 else ("source", "source of b")
    assert await Registry(NAME, fetch).load(1) == Schema("PROTOBUF", text, (("b.proto", of_b),))


@pytest.mark.parametrize("of_b", [(500, b""), (200, b'{"schema": "message B { }"}')])
async def test_where_one_file_is_not_serialized_all_are_source(fake, of_b):
    fake.add(1, "source", "PROTOBUF", [("b.proto", "b", 1)])
    fake.add_subject("b", 1, "source of b")

    async def fetch(path):
        if path.endswith("?format=serialized"):
            return (200, b'{"schema": "serialized"}') if "ids" in path else of_b
        return fake.answer(path)

    assert await Registry(NAME, fetch).load(1) == Schema("PROTOBUF", "source", (("b.proto", "source of b"),))


async def test_what_a_schema_refers_to_comes_first_and_once(fake, registry):
    fake.add(1, "a", references=[("b", "s/b", 1), ("c", "c", 2)])
    fake.add_subject("s%2Fb", 1, "b", [("c", "c", 2)])
    fake.add_subject("c", 2, "c")
    assert await registry.load(1) == Schema("AVRO", "a", (("c", "c"), ("b", "b")))
    assert len(fake.asked) == 3


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ((404, b""), "does not have it"),
        ((401, b""), "refused the login (HTTP status 401)"),
        ((403, b""), "refused the login (HTTP status 403)"),
        ((302, b""), "sends elsewhere (HTTP status 302): give that address instead"),
        ((500, b"<html>"), "answered with HTTP status 500"),
        ((200, b"<html>"), "answered with something that is not JSON"),
        ((200, b"[" * 100_000), "answered with something that is not JSON"),
        ((200, b"[]"), "answered with JSON that is not a schema"),
        ((200, b'{"schema": 5}'), "answered with JSON that is not a schema"),
        ((200, b'{"schema": "a", "schemaType": 5}'), "answered with a schema of an unknown type"),
        ((200, b'{"schema": "a", "references": [5]}'), "answered with references that cannot be read"),
    ],
)
async def test_an_answer_that_is_no_schema_gives_one_sentence(answer, sentence):
    async def fetch(_path):
        return answer

    assert await failure(Registry(NAME, fetch)) == f"{NAME} {sentence}"


async def test_a_missing_reference_is_named(fake, registry):
    fake.add(1, "a", references=[("b", "b", 7)])
    assert await failure(registry) == f"{NAME} does not have b/versions/7"


async def test_schemas_that_refer_to_each_other_end(fake, registry):
    fake.add(1, "a", references=[("b", "b", 1)])
    fake.add_subject("b", 1, "b", [("c", "c", 1)])
    fake.add_subject("c", 1, "c", [("b", "b", 1)])
    assert await failure(registry) == f"{NAME} has a schema that refers to itself: b version 1"


async def test_the_number_of_references_is_limited(fake, registry):
    fake.add(1, "a", references=[(f"s{number}", f"s{number}", 1) for number in range(REFERENCES_MAX + 1)])
    for number in range(REFERENCES_MAX + 1):
        fake.add_subject(f"s{number}", 1, "b")
    assert await failure(registry) == f"it refers to more than {REFERENCES_MAX} schemas"


async def test_a_registry_that_does_not_answer_is_not_asked_again_for_some_time(autojump_clock):
    asked = []

    async def fetch(path):
        asked.append(path)
        await trio.sleep_forever()

    registry = Registry(NAME, fetch)
    assert await failure(registry, 1) == f"{NAME} did not answer within 2 s"
    assert trio.current_time() == ANSWER_S
    assert await failure(registry, 2) == f"{NAME} did not answer within 2 s"
    assert len(asked) == 1
    await trio.sleep(FAILURE_KEPT_S)
    assert await failure(registry, 2) == f"{NAME} did not answer within 2 s"
    assert len(asked) == 2


async def test_the_time_is_that_of_a_schema_with_all_that_it_refers_to(fake, autojump_clock):
    fake.add(1, "a", references=[("b", "b", 1), ("c", "c", 1)])
    fake.add_subject("b", 1, "b")
    fake.add_subject("c", 1, "c")

    async def fetch(path):
        await trio.sleep(0.9)
        return fake.answer(path)

    assert await failure(Registry(NAME, fetch)) == f"{NAME} did not answer within 2 s"


async def test_a_schema_that_is_not_there_does_not_keep_others_from_being_asked_for(fake, registry, autojump_clock):
    fake.add(2, '"string"')
    assert await failure(registry, 1) == f"{NAME} does not have it"
    assert await registry.load(2) == Schema("AVRO", '"string"')
    fake.add(1, '"int"')
    assert await failure(registry, 1) == f"{NAME} does not have it"
    await trio.sleep(FAILURE_KEPT_S)
    assert await registry.load(1) == Schema("AVRO", '"int"')


async def test_a_sentence_is_one_line_that_is_not_long():
    async def fetch(_path):
        return 200, json.dumps(
            {"schema": "a", "references": [{"name": "n", "subject": "x\n" * 999, "version": 1}]}
        ).encode()

    assert "\n" not in await failure(Registry(NAME, fetch))
    assert len(await failure(Registry(NAME, fetch))) < 400
