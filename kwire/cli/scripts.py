"""``kwire scripts``: run the twin of one of Kafka's own scripts, or install them all under their official names.

Responsible for: the click command, the executables of the scripts, and the reason for each official script that has no
twin. Must not depend on: single scripts.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import click

from kwire.cli.script_twins import TWINS, run

_SHIM: Final = """\
#!{python}
import sys
from kwire.cli.script_twins import run
sys.exit(run({name!r}, sys.argv[1:]))
"""

# Interpreter names that the kernel accepts in the first line of a script: up to 127 bytes on Linux, no blanks.
_SHEBANG_BYTES_MAX: Final = 120
_LONG_SHIM: Final = """\
#!/bin/sh
exec '{python}' -c 'import sys; from kwire.cli.script_twins import run; sys.exit(run("{name}", sys.argv[1:]))' "$@"
"""


_CONNECT: Final = "Kafka Connect runs on the JVM: use the official script, with kwire as its broker"
_SHARE: Final = "it is for Kafka's own system tests: use the official script, with kwire as its broker"
_BENCHMARK: Final = "it runs Kafka's own JVM tests: use the official script, with kwire as its broker"

# Official scripts without a twin: why, and what to use.
NO_TWIN: Final = {
    "connect-distributed": _CONNECT,
    "connect-mirror-maker": _CONNECT,
    "connect-plugin-path": _CONNECT,
    "connect-standalone": _CONNECT,
    "kafka-jmx": "kwire has no JVM and no JMX: kwire doctor and its log show its state",
    "kafka-metadata-shell": "kafka-dump-log --cluster-metadata-decoder shows the records of the metadata log",
    "kafka-mirror-maker": "Kafka 4 has removed it: use MirrorMaker 2 (connect-mirror-maker), with kwire as its broker",
    "kafka-run-class": "there is no JVM and no Java class to run: name the script itself",
    "kafka-streams-application-reset": (
        "use kafka-consumer-groups --reset-offsets for its offsets and kafka-topics --delete for its internal topics;"
        " kafka-streams-groups for an application with group.protocol=streams"
    ),
    "kafka-verifiable-share-consumer": _SHARE,
    "trogdor": _BENCHMARK,
    "zookeeper-server-start": "Kafka 4 has no ZooKeeper: kafka-server-start starts the broker alone",
    "zookeeper-server-stop": "Kafka 4 has no ZooKeeper: kafka-server-stop stops the broker",
    "zookeeper-shell": "Kafka 4 has no ZooKeeper: kafka-topics, kafka-configs and kafka-cluster show the cluster",
}


def _begun(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Complete the name of a script."""
    names = [name + ending for name in TWINS for ending in ("", ".sh")]
    return [name for name in names if name.startswith(begun)]


@click.command(
    context_settings={
        "ignore_unknown_options": True,
        "allow_interspersed_args": False,
        "help_option_names": ["-h", "--help"],
    },
    epilog="""\b
Examples:
  kwire scripts kafka-topics --bootstrap-server localhost:9092 --list
  kwire scripts kafka-console-consumer.sh --bootstrap-server localhost:9092 --topic messages --from-beginning
  kwire scripts --install ~/kafka/bin
""",
)
@click.option("--install", "folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path),
              help="Put all scripts into a folder, each with and without .sh.")  # fmt: skip
@click.option("--list", "listed", is_flag=True, help="List the scripts.")
@click.argument("name", required=False, shell_complete=_begun)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def scripts(folder: Path | None, listed: bool, name: str | None, arguments: tuple[str, ...]) -> None:
    """Run the twin of one of Kafka's own scripts, which needs no Java: same options, same output, same exit codes."""
    if folder is not None:
        install(folder)
        click.echo(f"{2 * len(TWINS)} scripts in {folder}")
        return
    if listed:
        click.echo("\n".join(TWINS))
        return
    if name is None:
        raise click.UsageError("name a script, or use --list or --install DIR")
    official = name.removesuffix(".sh")
    if official in NO_TWIN:
        raise click.UsageError(f"{official} has no twin here: {NO_TWIN[official]}")
    if official not in TWINS:
        raise click.UsageError(f"there is no official script {name}; --list shows the scripts with a twin")
    sys.exit(run(name, arguments))


def install(folder: Path) -> None:
    """Write a small executable for each script, with and without `.sh`; they run under this Python."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in TWINS:
        long = len(sys.executable) > _SHEBANG_BYTES_MAX or " " in sys.executable
        shim = (_LONG_SHIM if long else _SHIM).format(python=sys.executable, name=name)
        for path in (folder / name, folder / f"{name}.sh"):
            path.write_text(shim, encoding="utf-8")
            path.chmod(0o755)
