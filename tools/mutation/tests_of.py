"""Which tests execute a function, from a recording of each test's calls; and which of them to run, in which order."""

from __future__ import annotations

import _lsprof
import hashlib
import os
import pickle
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

# CPU seconds that the tests of one mutant need in all, without the mutant.
SECONDS_OF_TESTS_MAX = 6
_OPTIMIZED = 0x1  # inspect.CO_OPTIMIZED: a function, not the body of a class


class Ran(NamedTuple):
    nodeid: str
    seconds: float
    called: frozenset[tuple[str, str]]  # module as a path from the root of the project, qualified name of the function


@dataclass(slots=True)
class Reach:
    tests: dict[str, Ran] = field(default_factory=dict)
    recorded: dict[str, str] = field(default_factory=dict)  # by file of tests: digest of its content then

    @classmethod
    def read(cls, path: Path) -> Reach:
        return cls(*pickle.loads(path.read_bytes())) if path.exists() else cls()  # noqa: S301  our own file

    def write(self, path: Path) -> None:
        path.write_bytes(pickle.dumps((self.tests, self.recorded)))

    def knows(self, path: Path) -> bool:
        return self.recorded.get(path.name) == _digest(path)

    def add(self, path: Path, ran: list[Ran]) -> None:
        self.recorded[path.name] = _digest(path)
        # One object per function: the file is a tenth of what it would be.
        one = {name: name for each in self.tests.values() for name in each.called}
        for each in ran:
            called = frozenset(one.setdefault(name, name) for name in each.called)
            self.tests[each.nodeid] = each._replace(called=called)

    def of(self, nodeids: Container[str]) -> Reach:
        return Reach({nodeid: ran for nodeid, ran in self.tests.items() if nodeid in nodeids})


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def called_by(run: Callable[[], None]) -> frozenset[tuple[str, str]]:
    root = str(Path.cwd() / "kwire") + os.sep
    profiler = _lsprof.Profiler(builtins=False, subcalls=False)
    profiler.enable()
    try:
        run()
    finally:
        profiler.disable()
    codes = (entry.code for entry in profiler.getstats())
    return frozenset(
        (f"kwire/{code.co_filename.removeprefix(root)}", code.co_qualname.split(".<locals>")[0])
        for code in codes
        if isinstance(code, CodeType) and code.co_filename.startswith(root)
    )


def choose(reach: Reach, module: Path, names: set[str] | None) -> list[str]:
    """Tests that call a function of ``module`` by one of these names, or any: its own tests first, short ones first.

    Files of tests take turns, because the cases of one file are alike.
    """
    path, package = str(module), module.parts[1]

    def calls(ran: Ran) -> bool:
        return any(file == path and (names is None or name in names) for file, name in ran.called)

    by_file: dict[str, list[Ran]] = {}
    for ran in sorted(filter(calls, reach.tests.values()), key=lambda ran: ran.seconds):
        by_file.setdefault(ran.nodeid.split("::")[0], []).append(ran)
    turns = {ran.nodeid: turn for some in by_file.values() for turn, ran in enumerate(some)}

    def rank(ran: Ran) -> tuple[Any, ...]:
        file = ran.nodeid.split("::")[0]
        near = 0 if module.stem in Path(file).stem else 1 if file.startswith(f"tests/{package}/") else 2
        return (near > 0, turns[ran.nodeid] // 4, near, ran.seconds)

    chosen, seconds = [], 0.0
    for ran in sorted((ran for some in by_file.values() for ran in some), key=rank):
        if seconds + ran.seconds > SECONDS_OF_TESTS_MAX and chosen:
            continue  # a shorter test may fit
        seconds += ran.seconds
        chosen.append(ran.nodeid)
    return chosen


def functions(code: CodeType) -> Iterator[tuple[tuple[str, int], CodeType]]:
    """Functions of a module or class body, not those inside of functions, by qualified name and first line."""
    for constant in code.co_consts:
        if not isinstance(constant, CodeType):
            continue
        if constant.co_flags & _OPTIMIZED:
            yield (constant.co_qualname, constant.co_firstlineno), constant
        else:
            yield from functions(constant)
