"""What a case is, and what it is given to work with.

A case is a function that asserts. It belongs to a part (tools, clients, applications, frameworks, transactions,
oracle, differential, datadirs, crash) and to a row of the table; its name is `part/row/title`. It gets a `Run`: the
broker under test, the resident JVM, names that no other case uses.
"""

import itertools
import re
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from interop.brokers import KINDS, PYTHON, Apache, Kwire
from interop.jars import CURRENT, Missing
from interop.java import Finished, Job, Jvm
from interop.tools import main_class

Function = TypeVar("Function", bound=Callable[["Run"], None])


@dataclass(frozen=True)
class Case:
    part: str
    row: str
    title: str
    smoke: bool
    requires: tuple[str, ...]  # APIs; the case is skipped if the broker does not advertise one of them
    body: Callable[["Run"], None]

    @property
    def name(self) -> str:
        return f"{self.part}/{self.row}/{self.title}"


CASES: list[Case] = []


def case(
    part: str, row: str, title: str = "", *, smoke: bool = False, requires: tuple[str, ...] = ()
) -> Callable[[Function], Function]:
    def register(body: Function) -> Function:
        name = title or body.__name__.replace("_", "-")
        CASES.append(Case(part, row, name, smoke, requires, body))
        return body

    return register


class Skip(Exception):
    """The case does not apply to this target; nothing is missing on the machine."""


class World:
    """What all cases of one run share: the JVM, and brokers that start at their first use."""

    def __init__(self, target: str, folder: Path) -> None:
        self.target = target
        self.folder = folder
        self._lock = threading.RLock()
        self._jvm: Jvm | None = None
        self._brokers: dict[str, Kwire | Apache] = {}
        self._numbers = itertools.count(1)
        self._own: list[Kwire | Apache] = []

    @property
    def jvm(self) -> Jvm:
        with self._lock:
            if self._jvm is None or not self._jvm.alive:
                self._jvm = Jvm(self.folder / "jvm.log")
            return self._jvm

    def shared(self, kind: str, which: str = "shared") -> Kwire | Apache:
        """A broker that cases share; restarted if a case ended it."""
        with self._lock:
            name = f"{which}-{kind}"
            broker = self._brokers.get(name)
            if broker is None:
                broker = self._brokers[name] = KINDS[kind](self.folder / name)
            if not broker.alive:
                broker.start()
            return broker

    def own(self, kind: str, name: str, settings: Mapping[str, str], data: Path | None) -> Kwire | Apache:
        number = next(self._numbers)
        broker = KINDS[kind](self.folder / f"{number}-{name}-{kind}", settings, data=data)
        with self._lock:
            self._own.append(broker)
        return broker

    def number(self) -> int:
        return next(self._numbers)

    def close(self) -> None:
        for broker in [*self._own, *self._brokers.values()]:
            broker.kill()
        if self._jvm is not None:
            self._jvm.close()


class Run:
    """What one case uses: its brokers, tools, topics and files."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.target = world.target
        self._stem = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[-60:]
        self._brokers: list[Kwire | Apache] = []

    @property
    def folder(self) -> Path:
        folder = self.world.folder / f"case-{self._stem}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def broker(self) -> Kwire | Apache:
        return self.world.shared(self.target)

    @property
    def bootstrap(self) -> str:
        return self.broker.bootstrap

    @property
    def jvm(self) -> Jvm:
        return self.world.jvm

    def unique(self, stem: str = "t") -> str:
        return f"{stem}-{self._stem[-40:]}-{self.world.number()}"

    def own_broker(
        self, settings: Mapping[str, str] | None = None, *, kind: str = "", data: Path | None = None
    ) -> Kwire | Apache:
        """A broker for this case only, not started yet; killed at the end of the case."""
        broker = self.world.own(kind or self.target, self._stem[-30:], settings or {}, data)
        self._brokers.append(broker)
        return broker

    def tool(
        self, name: str, *args: str, stdin: str | bytes = "", release: str = CURRENT, timeout_s: float = 60
    ) -> Finished:
        """An official tool by its script's name, against the broker under test unless the arguments name one."""
        return self.jvm.run(
            release,
            main_class(name, release),
            *self._with_server(name, args),
            stdin=stdin,
            timeout_s=timeout_s,
        )

    def twin(self, name: str, *args: str, stdin: str = "") -> Finished:
        """The same script without a JVM, ``kwire scripts kafka-NAME``."""
        return self.program(
            [PYTHON, "-P", "-m", "kwire", "scripts", f"kafka-{name}", *self._with_server(name, args)], stdin=stdin
        )

    def start_tool(self, name: str, *args: str, release: str = CURRENT) -> Job:
        return self.jvm.start(release, main_class(name, release), *self._with_server(name, args))

    def _with_server(self, name: str, args: tuple[str, ...]) -> tuple[str, ...]:
        if any(arg in ("--bootstrap-server", "--broker-list", "--bootstrap-servers") for arg in args):
            return args
        if name in ("dump-log", "storage") or "--producer-props" in args or "--version" in args:
            return args
        if name == "cluster":  # takes the option after its subcommand
            return (*args, "--bootstrap-server", self.bootstrap)
        return ("--bootstrap-server", self.bootstrap, *args)

    def topic(self, stem: str = "t", *, partitions: int = 1, configs: Mapping[str, str] | None = None) -> str:
        """Create a new topic with the official tool."""
        name = self.unique(stem)
        args = ["--create", "--topic", name, "--partitions", str(partitions)]
        for key, value in (configs or {}).items():
            args += ["--config", f"{key}={value}"]
        self.tool("topics", *args).ok()
        return name

    def produce(self, topic: str, *lines: str, args: tuple[str, ...] = (), server: str = "") -> None:
        where = ("--bootstrap-server", server) if server else ()
        text = "".join(f"{line}\n" for line in lines)
        self.tool("console-producer", *where, "--topic", topic, *args, stdin=text).ok()

    def consume(self, topic: str, count: int, *args: str, server: str = "") -> list[str]:
        where = ("--bootstrap-server", server) if server else ()
        finished = self.tool(
            "console-consumer", *where, "--topic", topic, "--from-beginning", "--max-messages", str(count),
            "--timeout-ms", "20000", *args,
        )  # fmt: skip
        return finished.ok().out.splitlines()

    def read_to_end(self, topic: str, *, committed: bool, keys: bool = False, server: str = "") -> list[str]:
        """All records of a topic, read to the end by a Java consumer."""
        finished = self.jvm.run(
            CURRENT, "ReadToEnd", server or self.bootstrap, topic,
            "read_committed" if committed else "read_uncommitted", "keys" if keys else "values", timeout_s=120,
        )  # fmt: skip
        return finished.ok().out.splitlines()

    def program(
        self,
        command: list[str],
        *,
        timeout_s: float = 240,
        stdin: str = "",
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Finished:
        """Run a program of this machine."""
        try:
            finished = subprocess.run(
                command,
                input=stdin,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
                env=env,
                cwd=cwd,
                errors="replace",
            )
        except subprocess.TimeoutExpired as late:
            output = (late.stdout or b"")[-2000:], (late.stderr or b"")[-2000:]
            raise AssertionError(f"{' '.join(command)} did not end in {timeout_s} s: {output}") from None
        except FileNotFoundError:
            raise Missing(f"{command[0]} is not installed") from None
        return Finished(" ".join(command), finished.returncode, finished.stdout, finished.stderr)

    def close(self) -> None:
        for broker in self._brokers:
            broker.kill()
