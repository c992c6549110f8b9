"""`kwire log`: show the content of a log's files, without a broker.

Responsible for: the command line. Must not depend on: the content of files; ``dump_log`` shows them, for the
official script's twin as well.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import click

from kwire.cli.dump.dump_log import OPTIONS, dump_main

_SUFFIXES: Final = (".log", ".index", ".timeindex", ".txnindex", ".snapshot", ".checkpoint")


@click.group(
    epilog="""\b
Example:
  kwire log dump kwire-data/messages-0/00000000000000000000.log --print-data-log
"""
)
def log() -> None:
    """Show the content of a log's files; no broker is needed."""


def _official_options(command: click.Command) -> click.Command:
    """Add the options of kafka-dump-log, all but --files, which are plain arguments here."""
    for option in OPTIONS:
        if option.takes == "nothing":
            command.params.append(click.Option([f"--{option.name}"], is_flag=True, help=option.help))
        else:
            shown = option.value.upper() if option.name != "files" else "FILE,..."
            text = "The same as FILE..., separated by commas." if option.name == "files" else option.help
            default = f" [default: {option.default}]" if option.default else ""
            command.params.append(click.Option([f"--{option.name}"], metavar=shown, help=text + default))
    return command


@_official_options
@log.command(
    short_help="Show what is in the files of a log, or in a checkpoint.",
    epilog="""\b
Examples:
  kwire log dump kwire-data/messages-0/00000000000000000000.log --print-data-log
  kwire log dump kwire-data/__consumer_offsets-7 --offsets-decoder
""",
)
@click.argument("paths", metavar="[FILE|DIR]...", nargs=-1, type=click.Path(exists=True))
def dump(paths: tuple[str, ...], **options: Any) -> None:
    """Show what is in .log, .index, .timeindex, .txnindex, .snapshot and .checkpoint files.

    A DIR, such as kwire-data/messages-0, stands for all such files in it. Takes the options of the official
    kafka-dump-log and prints the same lines.
    """
    files = [file for path in paths for file in _files(path)] + list(filter(None, [options.pop("files")]))
    if not files:
        raise click.UsageError("name the files or directories to dump")
    argv = ["--files", ",".join(files)]
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            argv.append(flag)
        elif value:
            argv.append(f"{flag}={value}")
    sys.exit(dump_main(argv, sys.stdout))


def _files(path: str) -> list[str]:
    """The file itself, or the files of a partition's directory that can be dumped, in order."""
    if not Path(path).is_dir():
        return [path]
    found = sorted(str(file) for file in Path(path).iterdir() if file.suffix in _SUFFIXES)
    if not found:
        raise click.UsageError(f"{path} has none of {', '.join(_SUFFIXES)}; name a partition's directory")
    return found
