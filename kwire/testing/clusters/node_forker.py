"""Nodes of a cluster as forks of one process, which imports for all of them and ends them when this process has ended.

Responsible for: starting that process (``kwire.cli.local_cluster.forked_node``) and asking it for nodes. Must not
depend on: which nodes there are, their settings.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from kwire.testing.clusters.local_cluster import ClusterError
from kwire.testing.clusters.processes import environment


class NodeForker:
    """Within its block, ``fork`` starts nodes. At the end, also when this process is killed, they are stopped.

    ``temporary``: they are killed at once, and ``folder`` is removed. Only where ``forked_node`` is possible (Linux).
    """

    def __init__(self, folder: Path, *, temporary: bool, with_control: bool) -> None:
        options = ["--temporary"] if temporary else []
        options += ["--control"] if with_control else []
        self._command = [sys.executable, "-m", "kwire.cli.local_cluster.forked_node", str(folder), *options]
        self._process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def is_possible() -> bool:
        """Whether nodes are forked here."""
        return sys.platform == "linux"

    def __enter__(self) -> Self:
        # A process group of its own, so that Ctrl-C in a terminal does not end the nodes before the test has ended.
        self._process = subprocess.Popen(  # noqa: S603 (our own command)
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,
            env=environment(with_token=False),
        )
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.communicate()  # closes its standard input, and waits for its end

    def fork(self, config: Path, log: Path, arguments: Sequence[str] = ()) -> int:
        """Start ``kwire serve --config CONFIG ARGUMENTS``; returns the process id. Raises ClusterError."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = json.dumps({"config": str(config), "log": str(log), "arguments": list(arguments)})
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise ClusterError("the process that starts the nodes has ended")
        return int(answer)
