"""Which schema a key or value is written by."""

import pytest

from kwire.schemas.choice import ChoiceError, read_choice


@pytest.mark.parametrize(
    "given",
    [
        {"subject": "orders-value"},
        {"subject": "orders-value", "version": 3},
        {"id": 17},
        {"id": 17, "message": "shop.Order"},
    ],
)
def test_a_valid_choice_of_a_schema_is_returned_as_given(given):
    assert read_choice(given, "value_schema") == given


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("orders-value", 'value_schema is an object such as {"subject": "orders-value"} or {"id": 17}'),
        ({}, "value_schema has a subject or an id"),
        ({"subject": "a", "id": 5}, "value_schema has a subject or an id"),
        ({"id": 5, "version": 1}, "value_schema: a version is one of a subject, and an id needs none"),
        ({"subjekt": "a"}, "value_schema has no 'subjekt'; known are subject, version, id, message"),
        ({"subject": ""}, "value_schema: subject is a text that is not empty, not ''"),
        ({"id": 5, "message": 1}, "value_schema: message is a text that is not empty, not 1"),
        ({"id": 0}, "value_schema: id is a whole number from 1, not 0"),
        ({"id": True}, "value_schema: id is a whole number from 1, not True"),
        ({"id": 2**31}, f"value_schema: id is a whole number from 1, not {2**31}"),
        ({"subject": "a", "version": "latest"}, "value_schema: version is a whole number from 1, not 'latest'"),
    ],
)
def test_a_choice_that_cannot_be_read(given, sentence):
    with pytest.raises(ChoiceError) as error:
        read_choice(given, "value_schema")
    assert str(error.value) == sentence
