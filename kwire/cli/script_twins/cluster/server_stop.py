"""kafka-server-stop: stop the brokers of this user on this machine.

Responsible for: finding them by their command line, as the official script does. Must not depend on: brokers.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from kwire.cli.java.exits import Failure

NAME: Final = "kafka-server-stop"

# python -m kwire serve ..., or the command kwire by any path.
_BROKER: Final = re.compile(r"(?:^|\s|/)(?:-m\s+)?kwire\s+serve(?:\s|$)")


def main(argv: Sequence[str]) -> int:
    if "--help" in argv:
        raise Failure("Stop the brokers of this user on this machine, as SIGTERM does; SIGNAL=... chooses another.")
    if argv:
        raise Failure(f"{NAME} takes no options here: a broker has one role, and its process id is in its log")
    number = getattr(signal, f"SIG{os.environ.get('SIGNAL', 'TERM')}", None)
    if number is None:
        raise Failure(f"SIGNAL={os.environ['SIGNAL']} is no signal")
    brokers = find_brokers(_processes())
    if not brokers:
        raise Failure("No kafka server to stop", stream="out")
    for pid in brokers:
        os.kill(pid, number)
    return 0


def find_brokers(processes: Sequence[tuple[int, str]]) -> list[int]:
    """Pick the brokers out of (process id, command line)."""
    return [pid for pid, command in processes if pid != os.getpid() and _BROKER.search(command)]


def _processes() -> list[tuple[int, str]]:
    """Return process id and command line of the processes of this user."""
    return _from_proc() if sys.platform == "linux" else _from_ps()  # small images have no ps


def _from_proc() -> list[tuple[int, str]]:
    found = []
    for folder in Path("/proc").iterdir():
        with suppress(OSError):  # it has ended
            if folder.name.isdigit() and folder.stat().st_uid == os.getuid():
                command = (folder / "cmdline").read_text("utf-8", "replace")
                found.append((int(folder.name), command.replace("\0", " ")))
    return found


def _from_ps() -> list[tuple[int, str]]:
    listed = subprocess.run(  # noqa: S603
        ["ps", "-U", str(os.getuid()), "-o", "pid=,args="],  # noqa: S607 - wherever the system has it
        capture_output=True,
        text=True,
        check=False,
    )
    found = []
    for line in listed.stdout.splitlines():
        pid, _, command = line.strip().partition(" ")
        found.append((int(pid), command))
    return found
