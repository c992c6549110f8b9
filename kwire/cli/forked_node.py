"""A node of ``kwire cluster`` as a fork of the command's process: modules are imported once for all nodes.

Responsible for: the import, the fork, and replacing signal handlers, standard streams and the process group in the
child. Must not depend on: which nodes there are, their settings.

Only on Linux, from a process without threads. A node then costs a fifth of the CPU of one that imports for itself, and
shares pages of memory with the others (docs/decisions/cluster.md).
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Final, NoReturn

# Modules that a node of either role has imported when it is ready, besides those that these import.
_IMPORTED: Final = (
    "kwire.cli.serve",
    "kwire.cli.announce",
    "kwire.server.lifecycle",
    "kwire.broker.node.start",
    "kwire.broker.controller.cluster_controller",
)


def is_possible() -> bool:
    """Whether nodes are forked here. Elsewhere system libraries may not survive a fork without exec (macOS)."""
    return sys.platform == "linux"


def import_for_nodes() -> None:
    """Import what nodes need, and keep the garbage collector from writing to these pages in every child."""
    for name in _IMPORTED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


def fork_node(config: Path, log: Path) -> int:
    """Start ``kwire serve --config CONFIG`` in a child that writes to ``log``; returns its process id."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _become_node(config, log)
    return pid


def _become_node(config: Path, log: Path) -> NoReturn:
    code = 1
    try:
        # Its own process group, so that Ctrl-C in a terminal reaches only the command, which then stops it cleanly.
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        _redirect(log)
        # The command line is that of the parent, but top and ps -o comm show this name.
        Path("/proc/self/comm").write_text(config.parent.name, "utf-8")
        code = _serve(config)
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


def _serve(config: Path) -> int:
    from kwire.cli.main import main

    try:
        main.main(args=["serve", "--config", str(config)], prog_name="kwire")
    except SystemExit as ended:
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
            return 1
        return ended.code or 0
