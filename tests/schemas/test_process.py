"""The process that decodes: bytes that take too long or crash it cost one sentence each."""

import pytest
from fake_registry import FakeRegistry, framed, served

from kwire.schemas import address, process
from kwire.schemas.address import read_address
from kwire.schemas.problems import NotEncoded
from kwire.schemas.process import CONTENT_BYTES_MAX, Content, SchemaProcess

pytest.importorskip("httpx2")
pytest.importorskip("fastavro")

NESTED = {"type": "record", "name": "N", "fields": [{"name": "n", "type": ["null", "N"]}]}
# A process that is ready, and answers each question by BEHAVIOUR.
FAKE = """
import sys, time
sys.stdin.readline()
print('"ready"', flush=True)
for line in sys.stdin:
    BEHAVIOUR
"""


@pytest.fixture
def start():
    started = []

    def start(url="http://127.0.0.1:1", behaviour=None):
        command = () if behaviour is None else (("-c", FAKE.replace("BEHAVIOUR", behaviour)),)
        started.append(SchemaProcess(read_address(url), *command))
        return started[-1]

    yield start
    for each in started:
        each.close()


def contents(*payloads):
    return [Content(framed(1, payload)) for payload in payloads]


def test_contents_are_decoded_in_their_order(start):
    fake = FakeRegistry()
    fake.schemas["/schemas/ids/1"] = {"schema": '"string"'}
    fake.add(2, NESTED)
    with served(fake) as url:
        decoder = start(url)
        many = [Content(framed(1, b"\2" + bytes([97 + place % 26]))) for place in range(1200)]
        given = [Content(b"text"), None, *many]
        answers = decoder.decode(given)
        assert answers[:2] == [None, None]
        assert [each["text"] for each in answers[2:]] == [f'"{chr(97 + place % 26)}"' for place in range(1200)]
        found = decoder.decode(given, containing='"z"')
        assert [place for place, each in enumerate(found) if each is not None] == [*range(27, 1202, 26)]
        # So many levels end the process, or its recursion.
        deep = Content(framed(2, b"\2" * 200_000))
        first, crashed, last = decoder.decode([given[2], deep, given[3]])
        assert (first["text"], last["text"]) == ('"a"', '"b"')
        assert "nested too deep" in crashed["error"] or "too much memory" in crashed["error"]
    assert [path.partition("?")[0] for path in fake.asked].count("/schemas/ids/1") <= 2


def test_a_process_that_hangs_is_ended_a_few_times_only(start, monkeypatch):
    monkeypatch.setattr(process, "CONTENT_S", 0.1)
    monkeypatch.setattr(address, "ANSWER_S", 0.1)
    answers = start(behaviour="time.sleep(1000)").decode(contents(b"a", b"b", b"c", b"d", b"e"))
    errors = [each["error"] for each in answers]
    assert errors[:3] == ["schema 1: these bytes were not decoded within 0 s"] * 3
    assert errors[3:] == ["schema 1: not decoded, because other keys and values took too long: read again"] * 2


def test_what_was_decoded_before_a_crash_is_kept(start):
    behaviour = """print('{"text": "a"}', flush=True); sys.exit(1)"""
    answers = start(behaviour=behaviour).decode(contents(b"a", b"b"))
    assert answers[0] == {"text": "a"}
    assert "these bytes ended the process" in answers[1]["error"]


def test_a_process_that_ended_between_two_calls_is_replaced(start):
    decoder = start(behaviour="""print('{"text": "a"}', flush=True); sys.exit(0)""")
    for _ in range(2):
        assert decoder.decode(contents(b"a")) == [{"text": "a"}]
        decoder._worker._process.wait(150)


def test_a_process_that_does_not_start_is_named(start):
    decoder = SchemaProcess(read_address("http://127.0.0.1:1"), ("-c", "raise SystemExit(1)"))
    assert decoder.decode(contents(b"a"))[0]["error"] == "schema 1: the process that decodes did not start"


def test_the_texts_of_a_call_are_limited(start):
    fake = FakeRegistry()
    fake.add(1, {"type": "array", "items": "null"})
    # 40,000 nulls in five bytes.
    with served(fake) as url:
        answers = start(url).decode(contents(*[b"\x80\xf1\x04\0"] * 50))
    texts = [each["text"] for each in answers if "text" in each]
    assert 3 << 20 < sum(map(len, texts)) <= 4 << 20
    assert answers[-1]["error"] == "schema 1: not decoded, because the texts before are long: read fewer records"


def test_large_contents_are_not_decoded(start):
    (answer,) = start(behaviour="raise SystemExit").decode(contents(b"a" * CONTENT_BYTES_MAX))
    assert f"{CONTENT_BYTES_MAX + 5} bytes are too many: at most {CONTENT_BYTES_MAX}" in answer["error"]


def test_a_closed_process_decodes_no_more(start):
    decoder = start(behaviour="raise SystemExit")
    decoder.close()
    assert "not decoded" in decoder.decode(contents(b"a"))[0]["error"]


def test_texts_are_encoded_in_their_order_by_the_latest_schema_of_a_subject(start):
    fake = FakeRegistry()
    fake.add(7, '"int"')
    fake.schemas["/subjects/numbers/versions/latest"] = {"id": 7, "schema": '"int"'}
    with served(fake) as url:
        process = start(url)
        numbers = [place % 64 for place in range(1200)]
        contents = process.encode({"subject": "numbers"}, [str(each) for each in numbers])
        assert contents == [framed(7, bytes([each * 2])) for each in numbers]
        for texts, sentence, place in (
            (["1", "2", '"x"', "3"], 'schema 7: it is "x"; a whole number of 32 bits is needed', 2),
            (["1", "a" * (CONTENT_BYTES_MAX + 1)], f"{CONTENT_BYTES_MAX + 1} characters are too many", 1),
        ):
            with pytest.raises(NotEncoded, match=sentence) as error:
                process.encode({"id": 7}, texts)
            assert error.value.place == place
        with pytest.raises(NotEncoded, match="does not have others/versions/latest") as error:
            process.encode({"subject": "others"}, ["1"])
        assert error.value.place is None
        assert process.encode({"id": 7}, ["3"]) == [framed(7, b"\6")]


def test_a_value_that_ends_the_process_is_named_and_the_next_call_works(start):
    behaviour = """print('{"id": 7}', flush=True) if "find" in line else sys.exit(1)"""
    process = start(behaviour=behaviour)
    for _ in range(2):
        with pytest.raises(NotEncoded, match="encoding it takes too much time or memory") as error:
            process.encode({"id": 7}, ["1"])
        assert error.value.place == 0


def test_nothing_is_encoded_where_the_process_does_not_start(start):
    process = SchemaProcess(read_address("http://127.0.0.1:1"), ("-c", "raise SystemExit(1)"))
    with pytest.raises(NotEncoded, match="the process that decodes did not start"):
        process.encode({"id": 7}, ["1"])
