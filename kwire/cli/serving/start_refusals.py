"""The sentence that ``kwire serve`` prints when a broker cannot start.

Responsible for: errors that the user can fix, as text. Must not depend on: the command line, how a broker starts.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kwire.cli.settings.settings import Settings
    from kwire.server.acceptor import PortInUse


class StartRefused(Exception):
    """A topic of ``--topic`` or a user of ``--user`` cannot be created; the message names it and says why."""


def explain_start(error: BaseException, settings: Settings) -> str | None:
    """Return the sentence for an error that the user can fix, None for a bug of kwire."""
    from kwire.broker.directories.log_dirs import ForeignDirectory
    from kwire.broker.node.member import JoinRefused
    from kwire.errors import StorageFailure
    from kwire.metadata.configs.definitions import ConfigProblem
    from kwire.server.acceptor import CannotBind, PortInUse
    from kwire.storage.files import DirectoryInUse

    match error:
        case ConfigProblem():
            return settings.explain(error)
        case PortInUse():
            return _port_in_use(error)
        case CannotBind() | ForeignDirectory() | JoinRefused() | StartRefused():
            return str(error)
        case DirectoryInUse():
            return f"{error}; stop that process, or choose another directory with --data"
        case StorageFailure():
            return f"cannot use {error}"
    return None


def refused_directory(paths: Sequence[str]) -> str | None:
    """Return the sentence for a path that cannot be a log directory, None if all can."""
    for path in paths:
        if os.path.isfile(path):  # noqa: PTH113 (start-up does not pay for pathlib)
            return f"{path} is a file; the data needs a directory, such as --data {path}.d"
        if os.path.isfile(f"{path}/cluster.json"):  # noqa: PTH113
            return (
                f"{path} holds a cluster of several nodes, not the data of one broker; start it with kwire cluster"
                f" --data {path}, or choose another directory"
            )
    return None


def _port_in_use(trouble: PortInUse) -> str:
    from kwire.cli.serving.port_owner import port_owner

    owner = port_owner(trouble.port)
    who = "a broker that runs already?" if owner is None else f"process {owner.pid}: {owner.command}"
    return f"{trouble} ({who})\nstop it, or take another port: --port {_other_port(trouble.port)}, or --port 0 for any"


def _other_port(port: int) -> int:
    return port + 1 if port < 65535 else port - 1
