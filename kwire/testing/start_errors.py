"""Errors of a broker's start, each as one sentence.

Responsible for: which errors a user can fix, and their sentences. Must not depend on: how a broker is started.
"""

from __future__ import annotations

from kwire.broker.directories.log_dirs import ForeignDirectory
from kwire.errors import StorageFailure
from kwire.metadata.configs.definitions import ConfigProblem
from kwire.server.acceptor import CannotBind
from kwire.storage.files import DirectoryInUse
from kwire.testing.arguments import problem_text


class BrokerStartError(RuntimeError):
    """The broker cannot start: a busy port, a directory in use, settings that exclude each other. One sentence."""


def start_error(failure: BaseException) -> BaseException:
    """Return an error with one sentence for the user; other exceptions are bugs and returned unchanged."""
    while isinstance(failure, BaseExceptionGroup) and len(failure.exceptions) == 1:
        failure = failure.exceptions[0]
    match failure:
        case ConfigProblem():
            sentence = problem_text(failure)
        case CannotBind() | ForeignDirectory() | DirectoryInUse():
            sentence = str(failure)
        case StorageFailure():
            sentence = f"cannot use {failure}"
        case _:
            return failure
    error = BrokerStartError(sentence)
    error.__cause__ = None
    error.__suppress_context__ = True
    return error
