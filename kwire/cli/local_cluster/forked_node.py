"""A node of a cluster as a fork of another process: modules are imported once for all nodes.

Responsible for: the import, the fork, replacing signal handlers, standard streams and the process group in the child,
and a process that only forks nodes, for ``kwire.testing.clusters.node_forker``. Must not depend on: which nodes there
are, their settings.

``kwire cluster`` forks its nodes itself. ``python -m kwire.cli.local_cluster.forked_node FOLDER [--temporary]
[--control]`` reads a line of JSON for each node, answers with the process id, and stops the nodes when its standard
input ends.

Only on Linux, from a process without threads. A node then costs a fifth of the CPU of one that imports for itself, and
shares pages of memory with the others (docs/decisions/cluster.md).
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NoReturn

from kwire.testing.clusters.processes import OF_ONE_BROKER

# Modules that a node of either role has imported when it is ready, besides those that these import.
_IMPORTED: Final = (
    "kwire.cli.serving.serve",
    "kwire.cli.serving.announce",
    "kwire.server.lifecycle",
    "kwire.broker.quorum_source",
    "kwire.broker.controller.cluster_controller",
)
_IMPORTED_FOR_CONTROL: Final = ("kwire.control.server",)
_STOP_S: Final = 30.0
_POLL_S: Final = 0.02


def is_possible() -> bool:
    """Whether nodes are forked here. Elsewhere system libraries may not survive a fork without exec (macOS)."""
    return sys.platform == "linux"


def import_for_nodes(*, with_control: bool = False) -> None:
    """Import what nodes need, and keep the garbage collector from writing to these pages in every child."""
    for name in (*_IMPORTED, *(_IMPORTED_FOR_CONTROL if with_control else ())):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


def fork_node(config: Path, log: Path, arguments: Sequence[str] = ()) -> int:
    """Start ``kwire serve --config CONFIG ARGUMENTS`` in a child that writes to ``log``; returns its process id."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _become_node(config, log, arguments)
    return pid


def _become_node(config: Path, log: Path, arguments: Sequence[str]) -> NoReturn:
    code = 1
    try:
        # Its own process group, so that Ctrl-C in a terminal reaches only the command, which then stops it cleanly.
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        _redirect(log)
        for name in OF_ONE_BROKER:
            os.environ.pop(name, None)
        # The command line is that of the parent, but top and ps -o comm show this name.
        Path("/proc/self/comm").write_text(config.parent.name, "utf-8")
        code = _serve(config, arguments)
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:  # noqa: BLE001 (the child must never return into the code of the parent)
        traceback.print_exc()
    finally:
        os._exit(code)


def _redirect(log: Path) -> None:
    for path, flags, targets in (
        (os.devnull, os.O_RDONLY, (0,)),
        (log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, (1, 2)),
    ):
        descriptor = os.open(path, flags, 0o644)
        for target in targets:
            os.dup2(descriptor, target)
        os.close(descriptor)


def _serve(config: Path, arguments: Sequence[str]) -> int:
    from kwire.cli.main import main

    try:
        main.main(args=["serve", "--config", str(config), *arguments], prog_name="kwire")
    except SystemExit as ended:
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
            return 1
        return ended.code or 0


def _fork_for_another_process(folder: Path, *, temporary: bool, with_control: bool) -> None:
    """Fork nodes until standard input ends, then end them.

    Nodes that end meanwhile stay listed as zombies, so that no other process gets their numbers.
    """
    nodes: list[int] = []
    import_for_nodes(with_control=with_control)
    lines = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115 (a child must not inherit what was read ahead)
    for line in iter(lines.readline, b""):
        wanted = json.loads(line)
        pid = fork_node(Path(wanted["config"]), Path(wanted["log"]), wanted["arguments"])
        nodes.append(pid)
        os.write(1, f"{pid}\n".encode())
    _end(nodes, signal.SIGKILL if temporary else signal.SIGTERM)
    if temporary:
        shutil.rmtree(folder, ignore_errors=True)


def _ended() -> list[int]:
    """Collect the children that have ended."""
    ended: list[int] = []
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if not pid:
            return ended
        ended.append(pid)


def _end(nodes: Iterable[int], number: signal.Signals) -> None:
    left = set(nodes)
    for pid in left:
        os.kill(pid, signal.SIGCONT)
        os.kill(pid, number)
    deadline = time.monotonic() + _STOP_S
    while left:
        left.difference_update(_ended())
        if time.monotonic() > deadline:
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            return
        time.sleep(_POLL_S)


if __name__ == "__main__":
    _fork_for_another_process(
        Path(sys.argv[1]), temporary="--temporary" in sys.argv, with_control="--control" in sys.argv
    )
