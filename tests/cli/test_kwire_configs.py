"""kwire's own configs: one row of the table makes a config that each source sets and each command shows.

A row with a mistake is an error that says which row and what is wrong.
"""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from peer import Peer

from kwire.broker.start import open_broker
from kwire.cli.serving.config import config
from kwire.cli.settings.settings import SettingsError, gather, show
from kwire.metadata.configs import definitions as configs
from kwire.metadata.configs import support as config_support
from kwire.metadata.configs import tables as config_tables
from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.metadata.image import MetadataImage
from kwire.testing.memory.files import MemoryFiles
from kwire.wire.messages import DescribeConfigsRequest, IncrementalAlterConfigsRequest

ROWS = """\
kwire.test.limit	INT	10	range 1 100	cluster-wide	How many tests may run.
kwire.test.mode	STRING	quick	in quick,thorough	read-only	Which tests run.
"""
BROKER = 4


@pytest.fixture(autouse=True)
def two_configs(tmp_path, monkeypatch):
    table = tmp_path / "kwire_configs.tsv"
    table.write_text(configs._KWIRE_TABLE.read_text() + ROWS)
    monkeypatch.setattr(configs, "_KWIRE_TABLE", table)
    clear_caches()
    yield table
    monkeypatch.undo()
    clear_caches()


def clear_caches():
    configs._tables.cache_clear()
    configs._dynamic_broker_names.cache_clear()
    config_support._supports.cache_clear()
    config_tables.config_tables.cache_clear()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "server.properties"
    path.write_text("kwire.test.limit=20\n")
    return str(path)


def limit_of(settings) -> object:
    return EffectiveConfigs(MetadataImage(), settings.broker_settings, 1).broker["kwire.test.limit"]


def test_file_flag_and_variable_set_it(file):
    assert limit_of(gather()) == 10
    assert limit_of(gather(file=file)) == 20
    assert limit_of(gather(sets=["kwire.test.limit=30"])) == 30
    assert limit_of(gather(environment={"KWIRE_TEST_LIMIT": "40", "KWIRE_HOME": "/opt"})) == 40


def test_a_value_that_its_check_refuses_stops_the_start():
    with pytest.raises(SettingsError, match=r"kwire\.test\.limit=0 \(--set\): Value must be at least 1"):
        gather(sets=["kwire.test.limit=0"])
    with pytest.raises(SettingsError, match=r"did you mean kwire\.test\.limit"):
        gather(sets=["kwire.test.limits=1"])


def test_the_command_shows_value_source_and_documentation(file):
    lines = {line.key: line for line in show(gather(file=file))}
    assert lines["kwire.test.limit"] == ("kwire.test.limit", "20", file, "How many tests may run.")
    assert lines["kwire.test.mode"] == ("kwire.test.mode", "quick", "default", "Which tests run.")

    printed = json.loads(CliRunner().invoke(config, ["--json", "--changed", "--config", file]).stdout)
    assert [line["value"] for line in printed if line["key"].startswith("kwire.test.")] == ["20"]


GOOD = {
    "name": "kwire.test.wrong",
    "type": "INT",
    "default": "10",
    "check": "-",
    "dynamic": "read-only",
    "documentation": "A test.",
}


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"name": "test.wrong"}, "the name does not begin with kwire."),
        ({"name": "kwire.test.limit"}, "the name is that of an earlier row"),
        ({"type": "INTEGER"}, "unknown type 'INTEGER', the types are BOOLEAN, STRING, INT, "),
        ({"default": "ten"}, "Invalid value ten for configuration kwire.test.wrong: Not a number of type INT"),
        ({"default": "0", "check": "range 1 *"}, "Invalid value 0 for .*: Value must be at least 1"),
        ({"check": "rnge 1 100"}, "unknown check 'rnge', the checks are range, in, in_any_case, list, -, non_empty, "),
        ({"check": "range 1"}, r"'range 1' has not two bounds, as in 'range 1 17' and 'range 1 \*'"),
        ({"check": "range 1 many"}, "'range 1 many' has not two bounds"),
        ({"type": "STRING", "check": "in"}, "'in' has a choice that is empty or has blanks"),
        ({"type": "STRING", "check": "in 10, 20"}, "'in 10, 20' has a choice that is empty or has blanks"),
        ({"type": "STRING", "check": "in_any_case 10,a"}, "'in_any_case 10,a' has a choice with small letters"),
        ({"type": "LIST", "check": "list emtpy of 10,20"}, "'list emtpy of 10,20' has words other than empty, null"),
        ({"type": "LIST", "check": "list of 10, 20"}, "'list of 10, 20' has a choice that is empty or has blanks"),
        ({"check": "- 5"}, "check '-' takes no arguments"),
        ({"check": "non_empty 5"}, "check 'non_empty' takes no arguments"),
        ({"dynamic": "readonly"}, "unknown dynamic mode 'readonly', the modes are read-only, cluster-wide, per-broker"),
        ({"documentation": ""}, "no documentation"),
        ({"documentation": "A test.\tOr two."}, "not 6 columns with a tab between two, but 7"),
    ],
)
def test_a_row_that_cannot_be_read_is_named_with_what_is_wrong(two_configs, wrong, problem):
    with two_configs.open("a") as table:
        table.write("\t".join({**GOOD, **wrong}.values()) + "\n")
    name = wrong.get("name", GOOD["name"])
    with pytest.raises(configs.ConfigTableError, match=rf"^kwire_configs\.tsv, row '{name}': {problem}"):
        configs.broker_keys()


def test_a_row_without_tabs_and_an_empty_row_are_named(two_configs):
    text = two_configs.read_text()
    for row in ("kwire.test.wrong INT 10 - read-only A test.", ""):
        two_configs.write_text(f"{text}{row}\n")
        with pytest.raises(configs.ConfigTableError, match=rf"^kwire_configs\.tsv, row '{row}': .*, but 1$"):
            configs.broker_keys()


async def test_a_client_sees_it_and_changes_it_while_the_broker_runs():
    settings = gather(sets=["kwire.test.mode=thorough"]).broker_settings
    async with open_broker(settings, MemoryFiles(), endpoints=[Peer.endpoint]) as broker:
        client = Peer(broker)
        assert await described(client) == {
            "kwire.test.limit": ("10", False, 5),
            "kwire.test.mode": ("thorough", True, 4),
        }
        assert await change(client, "kwire.test.limit", "50") == 0
        assert await change(client, "kwire.test.limit", "500") == 42
        assert await change(client, "kwire.test.mode", "quick") == 42
        assert (await described(client))["kwire.test.limit"] == ("50", False, 3)
        assert broker.configs.broker["kwire.test.limit"] == 50


async def described(client):
    resource = DescribeConfigsRequest.DescribeConfigsResource(
        resource_type=BROKER, resource_name="1", configuration_keys=None
    )
    answer = await client.call(4, DescribeConfigsRequest(resources=[resource]))
    return {
        one.name: (one.value, one.read_only, one.config_source)
        for one in answer.results[0].configs
        if one.name.startswith("kwire.test.")
    }


async def change(client, name, value):
    entry = IncrementalAlterConfigsRequest.AlterableConfig(name=name, config_operation=0, value=value)
    resource = IncrementalAlterConfigsRequest.AlterConfigsResource(
        resource_type=BROKER, resource_name="", configs=[entry]
    )
    answer = await client.call(1, IncrementalAlterConfigsRequest(resources=[resource]))
    return answer.responses[0].error_code
