"""`kwire log`: look into the files of a log, without a broker.

Owns: the command as click knows it. May not know: files; ``kwire.cli.dump_log`` shows them, for the official script's
twin as well.
"""

from __future__ import annotations

import sys
from typing import Any

import click

from kwire.cli.dump_log import OPTIONS, dump_main


@click.group(
    epilog="""\b
Example:
  kwire log dump kwire-data/messages-0/00000000000000000000.log --print-data-log
"""
)
def log() -> None:
    """Look into the files of a log; no broker is needed."""


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
  kwire log dump kwire-data/__consumer_offsets-7/*.log --offsets-decoder
""",
)
@click.argument("paths", metavar="[FILE]...", nargs=-1, type=click.Path(exists=True, dir_okay=False))
def dump(paths: tuple[str, ...], **options: Any) -> None:
    """Show what is in .log, .index, .timeindex, .txnindex, .snapshot and .checkpoint files.

    Takes the options of the official kafka-dump-log and prints the same lines.
    """
    files = [*paths, *filter(None, [options.pop("files")])]
    if not files:
        raise click.UsageError("name the files to dump")
    argv = ["--files", ",".join(files)]
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            argv.append(flag)
        elif value:
            argv.append(f"{flag}={value}")
    sys.exit(dump_main(argv, sys.stdout))
