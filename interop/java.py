"""One resident JVM for all Java programs: the official tools of three releases and the client programs in `java/`.

A JVM start costs a second of CPU; here a tool is a job inside one JVM (`java/ToolServer.java`), each with its own
standard streams, exit status and, when it latches in static fields, freshly loaded classes.
"""

import base64
import contextlib
import fcntl
import itertools
import os
import re
import shutil
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from interop.jars import CURRENT, ROOT, TOOLS, Missing, classpath, need

SOURCES = ROOT / "interop" / "java"
CLASSES = TOOLS / "classes"


@dataclass
class Finished:
    """The result of a program."""

    command: str
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return [line for line in self.out.splitlines() if line.strip()]

    def ok(self) -> "Finished":
        assert self.code == 0, f"{self.command}\nexit status {self.code}\n{self.out}\n{self.err}"
        return self

    def failed(self, *words: str) -> "Finished":
        """Assert that it failed and printed each of the words."""
        output = self.out + self.err
        assert self.code != 0, f"{self.command}\nexit status 0, expected a failure\n{output}"
        return self.prints(*words)

    def prints(self, *words: str) -> "Finished":
        """Assert that it printed each of the words, to stdout or stderr."""
        output = self.out + self.err
        for word in words:
            assert word in output, f"{self.command}\ndid not print {word!r}:\n{output}"
        return self


@dataclass
class Job:
    command: str
    _jvm: "Jvm"
    _id: str
    _out: list[bytes] = field(default_factory=list)
    _err: list[bytes] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    code: int | None = None

    def write(self, text: str | bytes) -> None:
        raw = text.encode() if isinstance(text, str) else text
        if raw:
            self._jvm.send("in", self._id, _b64(raw))

    def end_input(self) -> None:
        self._jvm.send("eof", self._id)

    def stop(self) -> None:
        """Stop it as Ctrl-C does: its shutdown hooks run."""
        self._jvm.send("stop", self._id)

    @property
    def out(self) -> str:
        return b"".join(self._out).decode(errors="replace")

    @property
    def out_bytes(self) -> bytes:
        return b"".join(self._out)

    @property
    def err(self) -> str:
        return b"".join(self._err).decode(errors="replace")

    def wait_for(self, word: str, timeout_s: float = 30) -> None:
        """Wait until standard output contains the word."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while word not in self.out:
                assert self.code is None, f"{self.command} ended ({self.code}) before {word!r}:\n{self.out}\n{self.err}"
                left = deadline - time.monotonic()
                assert left > 0, f"{self.command} did not print {word!r} in {timeout_s} s:\n{self.out}\n{self.err}"
                self._changed.wait(left)

    def wait(self, timeout_s: float = 60) -> Finished:
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while self.code is None:
                left = deadline - time.monotonic()
                if left <= 0:
                    where = self._jvm.dump_threads()
                    self.stop()
                    raise AssertionError(
                        f"{self.command} did not end in {timeout_s} s; {where}:\n{self.out}\n{self.err}"
                    )
                self._changed.wait(left)
        return Finished(self.command, self.code, self.out, self.err)

    def receive(self, stream: str, payload: str) -> None:
        with self._changed:
            if stream == "exit":
                self.code = int(payload)
            else:
                (self._out if stream == "out" else self._err).append(base64.b64decode(payload))
            self._changed.notify_all()


class Jvm:
    """``log`` gets what the JVM itself prints; ``log_level`` is what the programs log to their standard error."""

    def __init__(self, log: Path, *, log_level: str = "warn") -> None:
        compile_sources()
        self._log = log
        # Warnings of the tools go to stderr; of what is noise when many clients live in one JVM, only errors do.
        quiet = ("org.apache.kafka.common.utils.AppInfoParser", "org.apache.kafka.clients.admin.AdminClientConfig")
        command = [
            need("java"), "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Xmx768m",
            f"-Dorg.slf4j.simpleLogger.defaultLogLevel={log_level}",
            *(f"-Dorg.slf4j.simpleLogger.log.{name}=error" for name in quiet if log_level != "off"),
            *(["-Djava.security.manager=allow"] if java_release() < 24 else []),
            "--add-opens", "java.base/java.lang=ALL-UNNAMED",
            "-cp", str(CLASSES), "ToolServer",
        ]  # fmt: skip
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, bufsize=1
            )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        self._jobs: dict[str, Job] = {}
        self._ids = itertools.count(1)
        self._loaders: set[str] = set()
        self._writing = threading.Lock()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def start(self, release: str, main_class: str, *args: str) -> Job:
        if release not in self._loaders:
            self.load(release, os.pathsep.join([classpath(release), str(CLASSES / f"for-{release}")]))
        job_id = str(next(self._ids))
        job = Job(" ".join([main_class.rsplit(".", 1)[-1], *args]), self, job_id)
        self._jobs[job_id] = job
        self.send("run", job_id, release, main_class, *(_b64(arg.encode()) for arg in args))
        return job

    def run(
        self, release: str, main_class: str, *args: str, stdin: str | bytes = "", timeout_s: float = 60
    ) -> Finished:
        job = self.start(release, main_class, *args)
        job.write(stdin)
        job.end_input()
        return job.wait(timeout_s)

    def send(self, *words: str) -> None:
        assert self._process.stdin is not None
        with self._writing:
            self._process.stdin.write(" ".join(words) + "\n")
            self._process.stdin.flush()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def dump_threads(self) -> str:
        """Write what each thread is doing to the log; return a sentence that says where."""
        if shutil.which("jcmd") is None:
            return "there is no jcmd to list its threads"
        with self._log.open("ab") as log:
            command = ["jcmd", str(self._process.pid), "Thread.print"]
            with contextlib.suppress(subprocess.TimeoutExpired):
                subprocess.run(command, stdout=log, stderr=log, timeout=30, check=False)
        return f"its threads are in {self._log}"

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._listener.join()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()

    def load(self, release: str, path: str) -> None:
        """Give ``release`` a class path of its own, before a program of it runs."""
        self.send("loader", release, _b64(path.encode()))
        self._loaders.add(release)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                stream, job_id, *payload = line.split()
                if payload:
                    self._jobs[job_id].receive(stream, payload[0])
            except (ValueError, KeyError):
                # The jobs of the other lines go on; the one that this line was for ends by its timeout.
                with self._log.open("a") as log:
                    log.write(f"not a line of the tool server: {line}")
        for job in self._jobs.values():
            if job.code is None:
                job.receive("exit", "255")


def java_release() -> int:
    version = subprocess.run([need("java"), "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', version)
    return int(found[1]) if found else 0


def compile_sources() -> None:
    """The tool server, and our client programs against the current release's jars; again only when a source changed."""
    newest = max(source.stat().st_mtime for source in SOURCES.rglob("*.java"))
    stamp = CLASSES / ".compiled"
    CLASSES.mkdir(parents=True, exist_ok=True)
    with (CLASSES / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in several processes
        if stamp.exists() and stamp.stat().st_mtime >= newest:
            return
        if shutil.which("javac") is None:
            raise Missing("javac is not installed")
        _javac([SOURCES / "ToolServer.java"], CLASSES, "")
        clients = sorted((SOURCES / "clients").glob("*.java"))
        if clients:
            _javac(clients, CLASSES / f"for-{CURRENT}", classpath())
        stamp.touch()


def compile_program(source: Path, into: Path, class_path: str) -> None:
    """One program against other jars than the clients' own."""
    compiled = into / f"{source.stem}.class"
    if compiled.exists() and compiled.stat().st_mtime >= source.stat().st_mtime:
        return
    if shutil.which("javac") is None:
        raise Missing("javac is not installed")
    _javac([source], into, class_path)


def _javac(sources: list[Path], into: Path, class_path: str) -> None:
    into.mkdir(parents=True, exist_ok=True)
    command = ["javac", "-nowarn", "-proc:none", "-d", str(into), "-cp", class_path, *map(str, sources)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode() or "-"


__all__ = ["Finished", "Job", "Jvm"]
