"""One broker under measurement: started, loaded by processes of their own, watched through /proc, stopped."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.measure import Usage, usage
from bench.raw import RawClient
from bench.tls import CA_VARIABLE
from interop.brokers import KINDS, ONE_MACHINE, Apache
from interop.jars import ROOT
from interop.tls import Certificates, add_tls

Numbers = dict[str, float]

# As kafka-server-start.sh starts it.
OFFICIAL_JVM = (
    "-Xmx1G", "-Xms1G", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent", "-Djava.awt.headless=true",
)  # fmt: skip

# Apache Kafka keeps the files of a deleted topic for this time, whatever the topic's own setting: without 0 a run would
# write to ever more untouched memory.
_SETTINGS = {**ONE_MACHINE, "log.segment.delete.delay.ms": "0"}


class Run:
    """``kind`` is "kwire" or "apache". ``scale`` shrinks or grows all loads; ``pin`` gives each side a core.

    With ``tls`` the loads use a TLS listener beside the plain one.
    """

    def __init__(
        self,
        kind: str,
        *,
        scale: float = 1.0,
        settings: Mapping[str, str] | None = None,
        pin: bool = False,
        data: Path | None = None,
        tls: bool = False,
    ) -> None:
        self.kind = kind
        self.tls = tls
        self.scale = scale
        self.pin = pin
        self.folder = Path(tempfile.mkdtemp(prefix=f"kwire-bench-{kind}-"))
        self.broker = KINDS[kind](self.folder, {**_SETTINGS, **(settings or {})}, data=data)
        if isinstance(self.broker, Apache):
            self.broker.jvm = OFFICIAL_JVM
        self.environment = dict(os.environ)
        self._tls_port = 0
        if tls:
            certificates = Certificates(self.folder / "certificates")
            self._tls_port = add_tls(self.broker, certificates)["SSL"]
            self.environment[CA_VARIABLE] = str(certificates.ca)
        self.started = Usage(0, 0, 0, 0)
        self.start_seconds = 0.0
        self._topics = 0

    def start(self) -> None:
        before = time.perf_counter()
        self.broker.start()
        RawClient(self.broker.bootstrap, negotiate=True).socket.close()
        self.start_seconds = time.perf_counter() - before
        self.started = self.usage
        if self.pin:
            for task in Path(f"/proc/{self.broker.pid}/task").iterdir():
                subprocess.run(["taskset", "-p", "-c", "0", task.name], check=True, capture_output=True)

    def stop(self, *, keep: bool = False) -> None:
        try:
            self.broker.stop()
        finally:
            if not keep:
                self.remove()

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def usage(self) -> Usage:
        return usage(self.broker.pid)

    def topic(self, partitions: int = 1, **configs: str) -> str:
        """Create a topic; its files go as soon as it is dropped."""
        self._topics += 1
        name = f"bench-{self._topics}"
        self._load("create_topic", topic=name, partitions=partitions, configs=configs)
        return name

    def drop(self, topic: str) -> None:
        """Delete a topic, so that its dirty pages do not burden the rows behind it."""
        self._load("delete_topic", topic=topic)

    def load(self, name: str, **values: Any) -> tuple[Numbers, float]:
        """Run a load in a process of its own: its numbers, and the CPU seconds that the broker used meanwhile."""
        before = self.usage.cpu_s
        numbers = self._load(name, **values)
        return numbers, self.usage.cpu_s - before

    def measured(self, tool: Callable[..., Numbers], **values: Any) -> Numbers:
        """Run an official tool that moves ``mb`` MB."""
        before = self.usage.cpu_s
        seen = tool(self.broker.bootstrap, **values)
        cpu_s = self.usage.cpu_s - before
        return {"cpu_s_per_gb": cpu_s / (seen.pop("mb") / 1000), **seen}

    @contextlib.contextmanager
    def held(self, name: str, **values: Any) -> Iterator["Held"]:
        """Run a load up to its first pause; it ends with the block."""
        process = subprocess.Popen(
            self._command(name, values),
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        held = Held(process)
        held.read()
        try:
            yield held
        finally:
            process.communicate("\n", timeout=120)
        assert process.returncode == 0, f"the load {name} failed"

    def _load(self, name: str, **values: Any) -> Numbers:
        command = self._command(name, values)
        finished = subprocess.run(
            command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False, timeout=600
        )
        assert finished.returncode == 0, finished.stderr[-2000:]
        numbers: Numbers = json.loads(finished.stdout.splitlines()[-1])
        return numbers

    def _command(self, name: str, values: Mapping[str, Any]) -> list[str]:
        command = [sys.executable, "-m", "bench.loads", name]
        bootstrap = f"localhost:{self._tls_port}" if self.tls else self.broker.bootstrap
        command += [json.dumps({"bootstrap": bootstrap, **values})]
        return ["taskset", "-c", "1", *command] if self.pin else command


class Held:
    """A load that prints its numbers and pauses until told to continue. ``seen`` holds the numbers printed last."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.seen: Numbers = {}

    def read(self) -> None:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the load ended before it was ready"
        self.seen = json.loads(line)

    def go_on(self) -> Numbers:
        """Run it up to its next pause."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self.read()
        return self.seen
