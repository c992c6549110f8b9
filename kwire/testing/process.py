"""A broker in a process of its own, which a test can kill and restart.

Responsible for: the process, its directory and its ports. Must not depend on: a test framework.

    with KafkaProcess(topics={"orders": 3}) as kafka:
        kafka.kill()
        kafka.start()
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from types import TracebackType
from typing import IO, Final, Self

from kwire.testing.arguments import Config, Topics, appears_as, broker_texts, checked_users, new_topics
from kwire.testing.clusters.processes import environment
from kwire.testing.http.remote import RemoteKafka
from kwire.testing.start_errors import BrokerStartError

_START_S: Final = 120.0
_STOP_S: Final = 30.0


class KafkaProcess(RemoteKafka):
    """One broker of a process of its own, from ``start`` (or ``with``) to ``stop``; needs ``kwire[control]``.

    ``topics``, ``config``, ``users`` and ``persona`` are as for ``KafkaBroker``. Data is on disk, in ``data`` or a
    temporary directory that ``stop`` deletes, so it survives ``kill``. Ports stay the same after the first start. The
    broker stops when the process that started it ends without ``stop``, also when that was killed.

    Raises BrokerConfigError for invalid topics and settings.
    """

    def __init__(
        self,
        *,
        topics: Topics | None = None,
        config: Config | None = None,
        data: str | os.PathLike[str] | None = None,
        users: Mapping[str, str] | None = None,
        persona: str | None = None,
    ) -> None:
        super().__init__("http://127.0.0.1:0")
        self._topics = new_topics(topics)
        self._config = broker_texts({**(config or {}), **appears_as(persona)})
        self._users = checked_users(users)
        self._own_directory = None if data is not None else tempfile.mkdtemp(prefix="kwire-")
        self._data = os.fspath(data) if data is not None else str(self._own_directory)
        self._port = 0
        self._control_port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        """The port on localhost; 0 before the first start."""
        return self._port

    @property
    def pid(self) -> int:
        """The id of the process. Raises RuntimeError if it does not run."""
        return self._running().pid

    @property
    def is_running(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def bootstrap_servers(self) -> str:
        """``localhost:PORT``, also while the process does not run."""
        return f"localhost:{self._port}"

    def start(self) -> None:
        """Start; returns when clients can connect. Raises BrokerStartError, and RuntimeError if it runs already."""
        if self.is_running:
            raise RuntimeError("this broker runs already")
        command = [sys.executable, "-m", "kwire", "serve", "--stop-at-eof", "--data", self._data]
        if self._own_directory is not None:
            command.append("--remove-data-at-eof")  # for the case that this process is killed
        if "listeners" not in self._config:
            command += ["--port", str(self._port)]
        command += ["--control", f"127.0.0.1:{self._control_port}", "--log-level", "warning"]
        command += [f"--topic={each.name}:{each.partitions}" for each in self._topics]
        command += [f"--user={name}:{password}" for name, password in self._users.items()]
        command += [f"--set={key}={value}" for key, value in self._config.items()]
        with tempfile.TemporaryFile() as errors:
            # Unbuffered, so that ``select`` tells whether there is a line. Its standard input ends with this process.
            self._process = subprocess.Popen(  # noqa: S603 (our own command)
                command,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment(with_token=False),
            )
            try:
                self._read_addresses(self._process, errors)
            except BaseException:
                self._end(signal.SIGKILL)
                raise

    def stop(self) -> None:
        """Stop the process cleanly (SIGTERM), and delete its temporary directory; does nothing when it has ended."""
        self._end(signal.SIGTERM)
        if self._own_directory is not None:
            shutil.rmtree(self._own_directory, ignore_errors=True)

    def kill(self) -> None:
        """End the process at once (SIGKILL). ``start`` starts it with the same data and ports."""
        self._running()
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop the process cleanly and start it again, with the same data and ports."""
        self._running()
        self._end(signal.SIGTERM)
        self.start()

    def pause(self) -> None:
        """Pause the process (SIGSTOP): clients wait for answers, until ``resume``."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Resume the process after ``pause``."""
        self._running().send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self.stop()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError("this broker does not run: call start() first, or use it in a with block")
        return self._process

    def _read_addresses(self, process: subprocess.Popen[bytes], errors: IO[bytes]) -> None:
        """Read the lines that ``kwire serve`` prints when it is ready."""
        assert process.stdout is not None
        deadline = time.monotonic() + _START_S
        while True:
            line = _next_line(process.stdout, deadline).decode().strip()
            if not line:
                process.wait(_STOP_S)
                errors.seek(0)
                text = errors.read().decode(errors="replace").strip()
                raise BrokerStartError(text.removeprefix("kwire: ") or f"it ended with code {process.returncode}")
            kind, _, address = line.partition(" ")
            if kind == "ready":
                self._port = int(address.rpartition(":")[2])
            elif kind == "control":
                self._control_port = int(address.rpartition(":")[2])
                self._move(address)
                return

    def _move(self, url: str) -> None:
        self.url = url
        self._client.url = url

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
            process.send_signal(number)
        # ``communicate`` would close it, which the broker would treat like a second signal.
        held, process.stdin = process.stdin, None
        try:
            process.communicate(timeout=_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        finally:
            if held is not None:
                held.close()


def _next_line(stream: IO[bytes], deadline: float) -> bytes:
    """Read a line; empty when the process has ended. Raises BrokerStartError when the time has passed."""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        if not selector.select(max(0.0, deadline - time.monotonic())):
            raise BrokerStartError(f"the broker was not ready within {_START_S:g} s")
    return stream.readline()
