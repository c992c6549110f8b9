from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from kwire import __version__
from kwire.cli.main import COMMANDS, main

PRESENT = [name for name in COMMANDS if importlib.util.find_spec(f"kwire.cli.{name}")]


def test_help_lists_the_commands_that_are_there_and_an_example():
    help_text = CliRunner().invoke(main, ["--help"]).output

    listed = [
        line.split()[0] for line in help_text.split("Commands:")[1].split("Examples:")[0].splitlines() if line.strip()
    ]
    assert listed == PRESENT
    assert "kwire serve" in help_text.split("Examples:")[1]


def test_a_command_whose_module_is_missing_is_neither_listed_nor_found(monkeypatch):
    monkeypatch.setitem(COMMANDS, "teleport", "Go elsewhere.")

    assert "teleport" not in CliRunner().invoke(main, ["--help"]).output
    assert "No such command 'teleport'" in CliRunner().invoke(main, ["teleport"]).output


@pytest.mark.parametrize("name", PRESENT)
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

    assert set(ended.stderr.split()) == {"kwire.cli", "kwire.cli.main"}


def test_version():
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
