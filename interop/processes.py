"""Programs in their own process (a job in the resident JVM cannot be killed), and signal handling."""

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from interop.jars import need
from interop.waiting import wait_until

_running: "set[Program]" = set()


class Program:
    """A program with one log file; a case may restart it with the same arguments."""

    def __init__(self, name: str, log: Path, *command: str) -> None:
        self.name = name
        self.log = log
        self.command = list(command)
        self._process: subprocess.Popen[bytes] | None = None
        self._from = 0

    def start(self) -> None:
        assert self._process is None
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._from = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=self.log.parent
            )
        _running.add(self)

    def wait_for(self, word: str, timeout_s: float = 60, *, alive: bool = True) -> None:
        """Wait until the log since the last start contains the word; ``alive``: it must not end before."""

        def is_printed() -> bool:
            if word in self.output:
                return True
            if alive:
                self.assert_alive()
            return False

        wait_until(is_printed, lambda: f"{self.name} did not print {word!r}\n{self.tail()}", timeout_s=timeout_s)

    @property
    def running(self) -> bool:
        return self._process is not None

    @property
    def output(self) -> str:
        return self.log.read_bytes()[self._from :].decode(errors="replace")

    def assert_alive(self) -> None:
        assert self._process is not None, f"{self.name} was not started"
        code = self._process.poll()
        assert code is None, f"{self.name} ended with {code}:\n{self.tail()}"

    def stop(self, timeout_s: float = 60) -> None:
        """Send SIGTERM, which runs the shutdown hooks."""
        process = self._taken()
        assert process is not None
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            tail = self.tail()
            self._print_threads(process)
            process.kill()
            process.wait()
            raise AssertionError(
                f"{self.name} did not stop in {timeout_s} s after SIGTERM; "
                f"what its threads did is in {self.log}, after these lines:\n{tail}"
            ) from None

    def _print_threads(self, process: subprocess.Popen[bytes]) -> None:
        """Have the process write what its threads do to its log, where it can."""

    def kill(self) -> None:
        process = self._taken()
        if process is not None:
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _taken(self) -> subprocess.Popen[bytes] | None:
        _running.discard(self)
        process, self._process = self._process, None
        return process

    def tail(self, lines: int = 40) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class JavaProcess(Program):
    def __init__(self, name: str, log: Path, class_path: str, *command: str, options: tuple[str, ...] = ()) -> None:
        super().__init__(
            name, log,
            need("java"), "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS", *options,
            "-cp", class_path, *command,
        )  # fmt: skip

    def _print_threads(self, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGQUIT)
        deadline = time.monotonic() + 20
        while "JNI global ref" not in self.output and time.monotonic() < deadline:
            time.sleep(0.1)  # a poll, bounded above


def end_with(close: Callable[[], None]) -> None:
    """From now on SIGINT, SIGTERM and SIGHUP call ``close`` and end this process, with 128 and the signal's number.

    Also where SIGINT is ignored, as a shell leaves it for commands in the background. ``close`` must end the processes
    that this one has started, but for each `Program`: threads may wait for their answers.
    """

    def end(number: int, _: object) -> None:
        for program in tuple(_running):
            program.kill()
        close()
        raise SystemExit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
