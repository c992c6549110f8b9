"""Which process listens on a TCP port of this machine.

Responsible for: reading Linux's ``/proc``; elsewhere, and for processes of other users, the answer is None. Must not
depend on: the reason of the query.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

_LISTENING: Final = "0A"
_COMMAND_CHARACTERS_MAX: Final = 60


class Owner(NamedTuple):
    pid: int
    command: str


def port_owner(port: int) -> Owner | None:
    """Return a process that listens on ``port``, or None where that cannot be found out."""
    inodes = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    if not inodes:
        return None
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # a process of another user, or one that has ended meanwhile
            if any(str(descriptor.readlink()) in inodes for descriptor in (process / "fd").iterdir()):
                words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                return Owner(int(process.name), _shortened(words))
    return None


def _shortened(command: str) -> str:
    return command if len(command) <= _COMMAND_CHARACTERS_MAX else command[: _COMMAND_CHARACTERS_MAX - 3] + "..."


def _listening_inodes(port: int) -> set[str]:
    inodes = set()
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in Path("/proc/net", table).read_text(encoding="ascii").splitlines()[1:]:
                columns = line.split()
                if columns[3] == _LISTENING and int(columns[1].rpartition(":")[2], 16) == port:
                    inodes.add(columns[9])
    return inodes
