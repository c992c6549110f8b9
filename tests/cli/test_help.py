"""Help: every command describes itself and its options, and shows an example that works."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from kwire.cli.main import COMMANDS, main
from kwire.cli.script_twins import TWINS


def commands():
    """Every command and sub-command, as the words that are typed."""
    for name in main.list_commands(click.Context(main)):
        yield (name,)
        command = main.get_command(click.Context(main), name)
        if isinstance(command, click.Group):
            yield from ((name, sub) for sub in command.list_commands(click.Context(command)))


EVERY = list(commands())


def command_of(words):
    command = main
    for word in words:
        command = command.get_command(click.Context(command), word)
    return command


def help_of(words):
    ended = CliRunner().invoke(main, [*words, "--help"])
    assert ended.exit_code == 0
    return ended.output


def examples_in(text):
    """The kwire commands in a help's examples: continued lines joined, pipes taken apart."""
    _, _, after = re.sub(r"\\\n\s*", "", text).partition("Example")
    for line in after.splitlines():
        for part in re.split(r"(?<!\\)[|;]|&&|\s#\s|\s{3,}", line):
            if part.strip().startswith("kwire ") and "<" not in part:
                yield part.strip()


def test_every_documented_command_exists():
    assert [
        name for name, (module, _) in COMMANDS.items() if importlib.util.find_spec(f"kwire.cli.{module}") is None
    ] == []


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_help_describes_each_command_and_each_option(words):
    command = command_of(words)
    silent = [
        parameter.opts[0]
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.help and parameter.name != "help"
    ]

    assert command.help, "no help"
    assert command.help.splitlines()[0].endswith("."), "the first line is what lists of commands show: a sentence"
    assert silent == []


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_help_shows_an_example_of_the_command_itself(words):
    typed = " ".join(("kwire", *words))

    assert [example for example in examples_in(help_of(words)) if example.startswith(typed)], help_of(words)


@pytest.mark.parametrize("words", [(), *EVERY], ids=" ".join)
def test_examples_can_be_typed(words):
    for example in examples_in(help_of(words)):
        typed = shlex.split(example.partition(" > ")[0])[1:]
        command = main
        while isinstance(command, click.Group) and typed and not typed[0].startswith("-"):
            command = (
                command_of([typed.pop(0)])
                if command is main
                else command.get_command(click.Context(command), typed.pop(0))
            )
            assert command is not None, example
        try:
            command.make_context("kwire", typed)  # raises UsageError for what it does not know
        except click.BadParameter as error:
            if "does not exist" not in str(error):  # an example names files of the user
                raise


def test_help_of_all_commands_fits_a_screen_and_names_them():
    text = help_of(())

    assert len(text.splitlines()) < 50
    assert all(f"  {name} " in text for name in COMMANDS)


@pytest.mark.parametrize("name", TWINS)
def test_the_help_of_each_script_lists_its_options(name):
    ended = CliRunner().invoke(main, ["scripts", name, "--help"])

    assert "Traceback" not in ended.output
    assert len(ended.output.strip()) > 20
    assert ended.output.rstrip()[-1] not in ":,"


def test_the_line_for_completion_in_help_works_in_a_shell():
    line = re.search(r'^ +(eval "\$\(_KWIRE_COMPLETE=bash_source kwire\)")$', help_of(()), re.MULTILINE)[1]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    program = f"""
{line}
complete -p kwire
complete_words() {{
  COMP_WORDS=("$@") COMPREPLY=()
  COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
  _kwire_completion kwire
  echo "${{COMPREPLY[@]}}"
}}
complete_words kwire se
complete_words kwire topics cr
complete_words kwire consume --from-b
complete_words kwire scripts kafka-top
complete_words kwire codec show heartb
"""
    ended = subprocess.run(["bash", "-c", program], capture_output=True, text=True, env=environment, check=True)

    assert ended.stdout.splitlines()[1:] == [
        "serve selfcheck",
        "create",
        "--from-beginning",
        "kafka-topics kafka-topics.sh",
        "Heartbeat HeartbeatRequest HeartbeatResponse",
    ]


@pytest.mark.parametrize("words", sorted({(), *(words[:1] for words in EVERY if len(words) > 1)}), ids=" ".join)
def test_a_list_of_commands_describes_each_in_a_whole_sentence(words):
    _, _, listed = help_of(words).partition("Commands:\n")

    assert [line for line in listed.partition("\n\n")[0].splitlines() if not line.endswith(".")] == []


def test_a_command_that_is_mistyped_is_guessed():
    ended = CliRunner().invoke(main, ["topcs", "list"])

    assert ended.exit_code == 2
    assert "No such command 'topcs'. Did you mean 'topics'?" in ended.output
