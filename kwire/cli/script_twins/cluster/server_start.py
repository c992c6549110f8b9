"""kafka-server-start: run a broker with a server.properties file.

Responsible for: the official command line, which becomes that of ``kwire serve``. Must not depend on: brokers.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

from kwire.cli.java.exits import Failure
from kwire.kafka_release import RELEASE

NAME: Final = "kafka-server-start"
USAGE: Final = f"USAGE: {NAME} [-daemon] server.properties [--override property=value]*"


def main(argv: Sequence[str]) -> int:
    if list(argv) == ["--version"]:
        print(RELEASE)
        return 0
    command, daemon = serve_command(argv)
    sys.stdout.flush()
    if not daemon:
        _become(command)
    log = Path(os.environ.get("LOG_DIR", "logs"), "kafkaServer.out")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        subprocess.Popen(  # noqa: S603 - our own command
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    return 0


def _become(command: Sequence[str]) -> NoReturn:
    # The same process, so that signals and the exit code are the broker's.
    os.execv(command[0], list(command))  # noqa: S606


def serve_command(argv: Sequence[str]) -> tuple[list[str], bool]:
    """Translate a command line; the second is whether to leave the terminal. Raises Failure."""
    words = list(argv)
    daemon = words[:1] == ["-daemon"]
    if daemon:
        del words[0]
    if words[:1] == ["-name"]:  # a name for the JVM's log files
        del words[:2]
    if not words or words[0].startswith("-"):
        raise Failure(USAGE)
    command = [sys.executable, "-m", "kwire", "serve", "--config", words.pop(0)]
    while words:
        flag, equals, setting = words.pop(0).partition("=")
        if flag != "--override" or (not equals and not words):
            raise Failure(USAGE)
        command += ["--set", setting if equals else words.pop(0)]
    return command, daemon
