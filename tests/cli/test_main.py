from __future__ import annotations

import os
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from kwire import __version__
from kwire.cli.main import COMMANDS, main
from kwire.cli.serving.config import explanation
from kwire.cli.settings.settings import gather
from kwire.metadata.configs.definitions import broker_keys, group_keys, topic_keys
from kwire.metadata.configs.docs import documentation_of


@pytest.mark.parametrize("command", ["topics", "groups", "users", "acls"])
@pytest.mark.parametrize("option", ["-b", "--bootstrap-server", "--config"])
def test_an_option_of_a_broker_before_the_command_is_refused_with_its_place(command, option):
    ended = CliRunner().invoke(main, [command, option, "x", "list"])
    assert ended.exit_code == 2
    assert f"The option {option} comes after the command, such as " in ended.output
    assert f"{command} list {option} ..." in ended.output
    other = CliRunner().invoke(main, [command, "--nope", "list"])
    assert (other.exit_code, "comes after" in other.output) == (2, False)


def test_help_lists_the_commands_and_an_example():
    help_text = CliRunner().invoke(main, ["--help"]).output

    listed = [
        line.split()[0] for line in help_text.split("Commands:")[1].split("Examples:")[0].splitlines() if line.strip()
    ]
    assert listed == list(COMMANDS)
    assert "kwire serve" in help_text.split("Examples:")[1]


def test_an_unknown_command_is_refused():
    assert "No such command 'teleport'" in CliRunner().invoke(main, ["teleport"]).output


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_what_its_module_says_and_has_help_with_an_example(name):
    command = main.get_command(click.Context(main), name)

    assert isinstance(command, click.Command)
    assert command.help
    texts = [CliRunner().invoke(main, [name, "--help"]).output]
    if isinstance(command, click.Group):
        context = click.Context(command)
        texts += [CliRunner().invoke(main, [name, sub, "--help"]).output for sub in command.list_commands(context)]
    assert any("Example" in text and f"kwire {name}" in text.split("Example")[1] for text in texts)


def test_help_imports_no_command():
    program = """
import sys
from kwire.cli.main import main
main(["--help"], standalone_mode=False)
print(*(name for name in sys.modules if name.startswith("kwire.")), file=sys.stderr)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert set(ended.stderr.split()) == {"kwire.cli", "kwire.cli.deferred_imports", "kwire.cli.main"}


def test_the_version_option_prints_the_version():
    assert __version__ in CliRunner().invoke(main, ["--version"]).output


def test_python_m_kwire_is_the_same():
    command = [sys.executable, "-m", "kwire", "--version"]

    assert __version__ in subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_shell_completes_commands():
    environment = {**os.environ, "_KWIRE_COMPLETE": "bash_complete", "COMP_WORDS": "kwire se", "COMP_CWORD": "1"}
    program = "import sys; sys.argv = ['kwire']; from kwire.cli.main import main; main(prog_name='kwire')"
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False
    )

    assert "plain,serve" in ended.stdout


def test_config_prints_a_table_and_json(tmp_path):
    runner = CliRunner()
    table = runner.invoke(main, ["config", "--changed", "--set", "num.partitions=3"]).output
    as_json = runner.invoke(main, ["config", "--changed", "--set", "num.partitions=3", "--json"]).output

    (row,) = [line.split() for line in table.splitlines() if line.startswith("num.partitions")]
    assert row == ["num.partitions", "3", "--set"]
    assert '"key": "num.partitions"' in as_json
    assert runner.invoke(main, ["config", "--set", "num.partitions=x"]).exit_code == 1


def explained(*arguments):
    return CliRunner().invoke(main, ["config", "--explain", *arguments])


def test_config_explains_a_broker_config_with_its_value_and_source():
    assert explained("num.network.threads", "--set", "num.network.threads=5").output.splitlines() == [
        "num.network.threads (broker)",
        f"  {documentation_of('num.network.threads', of_broker=True)}",
        "  type int, default 3",
        "  can be changed while the broker runs, for one or for all brokers",
        "  value 5, from --set",
    ]


def test_config_explains_each_resource_that_has_a_config_of_the_name():
    lines = explained("compression.type").output.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == [
        "compression.type (broker)",
        "compression.type (topic)",
    ]
    assert "  type string, default producer, or the broker's compression.type" in lines
    assert explained("share.session.timeout.ms").output.startswith("share.session.timeout.ms (group)\n  A member")


def test_config_explains_a_config_of_one_listener_as_its_base_config():
    output = explained("listener.name.outside.ssl.key.password").output
    assert output.startswith("listener.name.outside.ssl.key.password (broker)\n  The password of the private key.")


def test_config_explains_no_unknown_config_and_names_the_nearest_one():
    refused = explained("retention.m")
    assert refused.exit_code == 2
    assert "Kafka has no config retention.m (did you mean log.retention.ms or retention.ms?)" in refused.output
    assert explained("num.partitions", "--json").exit_code == 2


@pytest.mark.parametrize("keys", [broker_keys, topic_keys, group_keys])
def test_each_config_has_an_explanation(keys):
    settings = gather()
    for name in keys():
        assert None not in list(explanation(settings, name))
        assert "None" not in "".join(explanation(settings, name))
