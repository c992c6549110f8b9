"""Processes that outlive the object that started them: start one, tell whether it runs, signal it.

Responsible for: process ids, knowing that a process is still the one that was started, its environment, and a lock
between processes. Must not depend on: what the processes do.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

_POLL_S: Final = 0.03
_HAS_PROC: Final = sys.platform == "linux"  # where small images have no ps
# Options of ``kwire serve`` for one broker, as only one can have the port.
OF_ONE_BROKER: Final = ("KWIRE_CONTROL", "KWIRE_CONSOLE")
_STARTED: Final = 19  # the index of starttime behind the name of the program in /proc/PID/stat
_exit_codes: dict[int, int] = {}  # of the children that were collected


def spawn_node(config: Path, log: Path, arguments: Sequence[str] = ()) -> int:
    """Start ``kwire serve --config CONFIG ARGUMENTS`` as a program that writes to ``log``; returns its process id."""
    return spawn_program([sys.executable, "-m", "kwire", "serve", "--config", str(config), *arguments], log)


def spawn_program(command: list[str], log: Path) -> int:
    """Start a program, named by its path, that writes to ``log``; returns its process id."""
    # Not subprocess.Popen, as the process outlives the object. It has its own process group, so that Ctrl-C in a
    # terminal reaches only the command, which then stops it cleanly.
    return os.posix_spawn(
        command[0],
        command,
        environment(with_token=True),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setpgroup=0,
    )


def environment(*, with_token: bool) -> dict[str, str]:
    """Return the environment of this process without the variables that are for another broker.

    ``with_token``: the control interface asks for KWIRE_CONTROL_TOKEN.
    """
    left_out = OF_ONE_BROKER if with_token else (*OF_ONE_BROKER, "KWIRE_CONTROL_TOKEN")
    return {name: value for name, value in os.environ.items() if name not in left_out}


def state_of(pid: int, started_ticks: int, config: Path) -> str:
    """Tell whether the process of a node is ``running``, ``paused`` or ``stopped``; ``pid`` is 0 without one."""
    if not pid:
        return "stopped"
    _reap(pid)
    # Another process may have the number by now: ours started at a known time, or has its file of settings in its
    # command line.
    if started_ticks:
        is_ours = started_at(pid) == started_ticks
        shown = "".join(_stat(pid)[:1])
    else:
        shown = _shown(pid)
        is_ours = str(config) in shown
    if not is_ours or shown[:1] in {"", "Z"}:
        return "stopped"
    return "paused" if shown.startswith("T") else "running"


def is_there(pid: int) -> bool:
    """Tell whether a process runs."""
    _reap(pid)
    # One whose parent does not collect its exit code stays listed, as a zombie.
    return not _shown(pid).startswith(("Z", "none"))


def started_at(pid: int) -> int:
    """Return when a process started, in ticks since the machine did; 0 without /proc or the process."""
    fields = _stat(pid)
    return int(fields[_STARTED]) if fields else 0


def exit_code(pid: int) -> int | None:
    """Return with what a child has ended, a signal as a negative number; None if it is not known."""
    return _exit_codes.get(pid)


@contextlib.contextmanager
def lock_file(path: Path) -> Iterator[str]:
    """Lock a file within the block. Gives "", or the id of the process that has the lock.

    Children that are forked within the block do not have the lock.
    """
    import fcntl

    with path.open("a+", encoding="ascii") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            yield file.read() or "?"
            return
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield ""


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal; a process that has ended is left alone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def wait_gone(pid: int, timeout_s: float) -> bool:
    """Wait until a process has ended; False if it has not in time."""
    deadline = time.monotonic() + timeout_s
    while is_there(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _stat(pid: int) -> list[str]:
    """Return the state of a process and the fields after it in /proc; empty without /proc or the process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return []
    return stat.rpartition(")")[2].split()  # what comes before is a name that may hold anything


def _shown(pid: int) -> str:
    """Return state and command line of a process; ``none`` if there is no such process."""
    if _HAS_PROC:
        fields = _stat(pid)
        return f"{fields[0]} {_command(pid)}" if fields else "none"
    asked = ["ps", "-ww", "-o", "stat=,command=", "-p", str(pid)]
    finished = subprocess.run(asked, capture_output=True, text=True, check=False)  # noqa: S603 (our own command)
    return finished.stdout.strip() or "none"


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text("utf-8", "replace").replace("\0", " ")
    except OSError:
        return ""


def _reap(pid: int) -> None:
    """Collect the exit code of a child, which else stays listed; a process of another parent is left alone."""
    with contextlib.suppress(ChildProcessError):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            _exit_codes[pid] = os.waitstatus_to_exitcode(status)
