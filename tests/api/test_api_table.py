"""The API table of a broker: its rows depend on the broker's settings and feature levels, and are its own.

Handlers are loaded by name, so mypy does not see that they are there and which messages they have: tests here do.
"""

import inspect
from pathlib import Path
from typing import get_type_hints

import pytest
from peer import all_apis, apis_of

import kwire.api
from kwire.api import ROWS
from kwire.api.controller import CONTROLLER_ROWS
from kwire.api.rows import Row, make_table
from kwire.broker.requests.context import Context
from kwire.wire.codec import request_class, response_class

ALL_ROWS = (*ROWS, *CONTROLLER_ROWS)
# Produce with acks=0 has no response.
MAY_ANSWER_NOTHING = {"Produce"}


@pytest.mark.parametrize("row", ALL_ROWS, ids=lambda row: row.module)
def test_the_module_of_a_row_has_a_handler_of_its_messages(row):
    handler = row.load()
    context, request = inspect.signature(handler).parameters
    hints = get_type_hints(handler)
    response = response_class(row.key)
    assert hints[context] is Context
    assert hints[request] is request_class(row.key)
    assert hints["return"] == (response | None if row.name in MAY_ANSWER_NOTHING else response)


def test_each_handler_module_has_a_row():
    folder = Path(kwire.api.__file__).parent
    modules = [f"kwire.api.{path.stem}" for path in folder.glob("k[0-9]*.py")]
    modules += [f"kwire.api.controller.{path.stem}" for path in folder.glob("controller/k[0-9]*.py")]
    assert set(modules) - {row.module for row in ALL_ROWS} == set(), "add a Row to the __init__.py beside it"


@pytest.mark.parametrize("rows", [ROWS, CONTROLLER_ROWS], ids=["broker", "controller"])
def test_rows_are_in_order_of_their_keys_and_name_versions_that_the_messages_have(rows):
    assert [row.key for row in rows] == sorted({row.key for row in rows})
    for row in rows:
        versions = request_class(row.key).VERSIONS
        assert row.served[0] <= row.served[1]
        assert set(row.served) <= set(range(versions.lowest, versions.highest + 1)), row


def test_two_brokers_share_no_row():
    first, second = all_apis(), all_apis()
    assert first.keys() == second.keys()
    assert all(first[key] is not second[key] for key in first)


async def test_the_table_of_a_running_broker_is_in_order_of_the_keys(broker):
    assert list(apis_of(broker)) == sorted(apis_of(broker))


def test_a_row_may_depend_on_settings_and_feature_levels():
    rows = [
        Row(900, "Always", (0, 1)),
        Row(901, "ByFeature", (0, 0), when=lambda _, features: features.get("share.version", 0) >= 1),
        Row(902, "BySetting", (0, 0), when=lambda settings, _: settings["delete.topic.enable"]),
    ]
    assert list(make_table(rows, {"delete.topic.enable": False}, {})) == [900]
    assert list(make_table(rows, {"delete.topic.enable": True}, {"share.version": 1})) == [900, 901, 902]
