"""The language of protocol_specs/: what it says, and how it refuses what it cannot say."""

import pytest

from kwire.wire import spec
from kwire.wire.spec import NO_VERSIONS, OPEN, SpecError, Versions

FERRY = """\
# A comment, then a message.
request  Ferry  key=9  versions=2-5  flexible=4+  listeners=broker,controller  forwardable
  name        string?
  # A comment inside.
  speed       int32               3+   default=-1 ignorable
  decks       []Deck
    level     int8
    cars      []Car?              4-5  tag=3
      plate   string                   json=licencePlate

    bow       Door                     nullable=3+
      is_open bool                     default=true
    stern     Door
  code        string              2    flexible=none
"""


def only(text):
    (message,) = spec.parse(text)
    return message


def test_heading_gives_key_versions_and_listeners():
    ferry = only(FERRY)
    assert (ferry.kind, ferry.name, ferry.key) == ("request", "FerryRequest", 9)
    assert (ferry.versions, ferry.flexible, ferry.stable) == (Versions(2, 5), Versions(4, OPEN), Versions(2, 5))
    assert (ferry.listeners, ferry.flags) == (("broker", "controller"), ("forwardable",))


def test_a_field_without_versions_has_those_of_what_it_stands_in():
    fields = dict(spec.walk(only(FERRY).fields))
    assert str(fields["name"].versions) == "2+"
    assert str(fields["speed"].versions) == "3+"
    assert str(fields["decks.cars.plate"].versions) == "4-5"
    assert fields["code"].versions == Versions(2, 2)


def test_question_mark_is_null_in_all_versions_of_the_field():
    fields = dict(spec.walk(only(FERRY).fields))
    assert fields["name"].nullable == fields["name"].versions
    assert fields["decks.bow"].nullable == Versions(3, OPEN)
    assert fields["speed"].nullable == NO_VERSIONS


def test_options_of_a_field():
    fields = dict(spec.walk(only(FERRY).fields))
    assert (fields["speed"].default, fields["speed"].ignorable) == (-1, True)
    assert (fields["decks.cars"].tag, fields["decks.cars"].tagged) == (3, Versions(4, 5))
    assert (fields["decks.cars.plate"].json, fields["decks.level"].json) == ("licencePlate", "level")
    assert fields["decks.bow.is_open"].default is True
    assert fields["code"].flexible == NO_VERSIONS


def test_a_struct_that_was_written_once_is_named_again():
    fields = dict(spec.walk(only(FERRY).fields))
    assert fields["decks.stern"].struct == fields["decks.bow"].struct
    assert "decks.stern.is_open" in fields


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("  name  text", "unknown type 'text'"),
        ("  name  string  sometimes", "unknown option 'sometimes'"),
        ("  name  string  3+  default=", "default= needs a value"),
        ("  name  int32  default=x", "invalid literal"),
        ("  name", "list index out of range"),
        ("  deck  Deck", "Deck has no fields, and no Deck stands above"),
        ("  name  string\n    plate  string", "indented, but the line above is no struct"),
        ("    name  string\n  plate  string", "this indentation closes more than was opened"),
        ("  name  string\n  name  string", "two fields of the same name"),
    ],
)
def test_a_bad_field_is_named_with_its_line(line, reason):
    with pytest.raises(SpecError, match=rf"^ferry.spec:(2|3): .*{reason}"):
        spec.parse(f"request  Ferry  key=9  versions=2-5\n{line}\n", "ferry.spec")


@pytest.mark.parametrize(
    ("heading", "reason"),
    [
        ("boat  Ferry  versions=0", "KIND NAME"),
        ("request", "KIND NAME"),
        ("request  Ferry  key=9", "versions"),
        ("request  Ferry  key=9  versions=0  colour=red", "colour"),
        ("  name  string", "before the first heading"),
        ("data  A  versions=0\ndata  A  versions=0", "A is there twice"),
    ],
)
def test_a_bad_heading_is_named_with_its_line(heading, reason):
    with pytest.raises(SpecError, match=rf"ferry.spec:(1|2): .*{reason}"):
        spec.parse(heading + "\n", "ferry.spec")


def test_every_message_of_the_release_has_a_spec():
    messages = [spec.load(name) for name in spec.names()]
    kinds = [message.kind for message in messages]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "request": 91,
        "response": 91,
        "header": 2,
        "record": 81,
        "data": 13,
    }


def test_file_names_agree_with_headings():
    for key in spec.api_keys():
        assert spec.load_api(key, "request").key == spec.load_api(key, "response").key == key


def test_request_and_response_have_the_same_versions():
    for key in spec.api_keys():
        request, response = spec.load_api(key, "request"), spec.load_api(key, "response")
        assert (request.versions, request.flexible, request.stable) == (
            response.versions,
            response.flexible,
            response.stable,
        )


def test_only_init_producer_id_has_an_unstable_version():
    unstable = {
        key for key in spec.api_keys() if spec.load_api(key, "request").stable != spec.load_api(key, "request").versions
    }
    assert unstable == {22}
    assert spec.load("InitProducerIdRequest").stable == Versions(0, 5)


def test_an_unknown_message_is_a_key_error():
    with pytest.raises(KeyError):
        spec.load("FerryRequest")
    with pytest.raises(KeyError):
        spec.load("FetchReply")
    with pytest.raises(KeyError):
        spec.load_api(4, "request")


def test_snake_and_file_names():
    assert spec.snake("DescribeUserScramCredentials") == "describe_user_scram_credentials"
    assert spec.record_names("transaction") == ("TransactionLogKey", "TransactionLogValue")
