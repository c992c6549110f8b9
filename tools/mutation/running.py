"""Run tests on mutants: one process collects the tests, a fork of it runs those of one mutant.

A mutant inside a function is made by replacing the function's code in the fork, wherever it was imported. What
runs when a module is imported is mutated in a fork of a process that has not imported it (`run_fresh`).
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import pickle
import resource
import select
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest

from mutation.mutants import Mutant
from mutation.tests_of import Ran, Reach, called_by, choose, functions

FOUND, SURVIVED, NOT_EXECUTED = "found", "SURVIVED", "not executed"
FRESH = "fresh"  # needs a process that has not imported the module
# Of a mutant: what its tests may need, CPU and wall clock; the tests are chosen to need a third of it without mutant.
CPU_SECONDS_MAX = 60
SECONDS_MAX = 240
SECONDS_MAX_OF_A_FILE = 600
# Without rewritten assertions, which have a loader of their own.
_OPTIONS = ("-p", "no:cacheprovider", "-p", "no:xdist", "--assert=plain")


@dataclass(frozen=True, slots=True)
class Outcome:
    kind: str
    note: str
    tests: list[str] = field(default_factory=list)  # for a fresh process


def serve(mutants: Sequence[Mutant], tests: Sequence[str], reach: Path) -> Iterator[tuple[Mutant, Outcome]]:
    """The outcome of each mutant as soon as it is known, from a process of its own."""
    reader, writer = os.pipe()
    if not (child := os.fork()):
        os.close(reader)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        with os.fdopen(writer, "wb") as results:
            _pytest([*tests], _Server(mutants, reach, results))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as results:
        for mutant in mutants:
            yield mutant, pickle.load(results)  # noqa: S301  from our own child
    os.waitpid(child, 0)


def run_fresh(mutant: Mutant, tests: list[str]) -> Outcome:
    """Run the tests in a process that imports the mutated module; this process must not have imported it."""

    def run(report: Callable[[Any], None]) -> None:
        load = SourceFileLoader.get_code

        def get_code(self: SourceFileLoader, fullname: str) -> CodeType | None:
            if fullname == mutant.name:
                return compile(mutant.source, str(mutant.module.resolve()), "exec", dont_inherit=True)
            return load(self, fullname)

        SourceFileLoader.get_code = get_code  # type: ignore[method-assign]
        failed = _FirstFailure()
        code = _pytest(["-x", *tests], failed)
        report(failed.nodeid or ("cannot be imported" if code else ""))

    if not tests:
        return Outcome(NOT_EXECUTED, "no test executes the module")
    return _outcome(_forked(run, cpu_seconds=CPU_SECONDS_MAX, seconds=SECONDS_MAX), len(tests))


class _FirstFailure:
    nodeid = ""

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self.nodeid = self.nodeid or report.nodeid


class _UnshrunkExamples:
    """A failed random example is not made smaller, which can take longer than the test."""

    def pytest_configure(self) -> None:
        # Not before: pytest rewrites the plugin of hypothesis when it loads it.
        import hypothesis

        phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
        parent = hypothesis.settings()
        hypothesis.settings.register_profile("mutation", parent, phases=phases, database=None, derandomize=True)
        hypothesis.settings.load_profile("mutation")


class _Server:
    """A pytest plugin that runs no tests itself, but has forks of the collected session run them."""

    def __init__(self, mutants: Sequence[Mutant], reach: Path, results: Any) -> None:
        self.mutants, self.reach_file, self.results = mutants, reach, results

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: Any) -> bool:
        items = {item.nodeid: item for item in session.items}
        reach = self._reach(items)
        for mutant in self.mutants:
            importlib.import_module(mutant.name)
        live = _live_functions()
        for mutant in self.mutants:
            pickle.dump(_try(mutant, reach, items, live), self.results)
            self.results.flush()
        return True

    def _reach(self, items: dict[str, Any]) -> Reach:
        """What is recorded, completed by the tests that are new or whose file has changed."""
        reach = Reach.read(self.reach_file)
        by_file: dict[Path, list[Any]] = {}
        for item in items.values():
            if not reach.knows(item.path):
                by_file.setdefault(item.path, []).append(item)
        for path, some in by_file.items():
            ran = _forked(lambda report, some=some: report(list(_recorded(some))), seconds=SECONDS_MAX_OF_A_FILE)
            if isinstance(ran, list):
                reach.add(path, ran)
                reach.write(self.reach_file)
            print(f"recorded {path.name} {len(ran)} of {len(some)}", file=sys.__stderr__, flush=True)
        return reach.of(items)


def _recorded(items: list[Any]) -> Iterator[Ran]:
    """Run tests; which functions of kwire each one called, in this thread."""
    failed = _FirstFailure()
    items[0].config.pluginmanager.register(failed)
    for item in items:
        failed.nodeid = ""
        begun = time.process_time()
        called = called_by(lambda item=item: _run(item, None))
        if not failed.nodeid:
            yield Ran(item.nodeid, time.process_time() - begun, called)


def _try(mutant: Mutant, reach: Reach, items: dict[str, Any], live: dict[Any, list[FunctionType]]) -> Outcome:
    before = dict(functions(compile(mutant.module.read_text("utf-8"), "", "exec", dont_inherit=True)))
    after = dict(functions(compile(mutant.source, "", "exec", dont_inherit=True)))
    changed = [key for key in after if before.get(key) != after[key]]
    path = str(mutant.module)
    tests = choose(reach, mutant.module, {qualname for qualname, _ in changed})
    if len(changed) != 1 or not tests or not (targets := live.get((path, *changed[0]), [])):
        # Nothing in a function, or a function that runs at import only.
        return Outcome(FRESH, "", choose(reach, mutant.module, None)[:60])
    code = after[changed[0]].replace(co_filename=targets[0].__code__.co_filename)
    if code.co_freevars != targets[0].__code__.co_freevars:
        return Outcome(FRESH, "", tests[:60])

    def run(report: Callable[[Any], None]) -> None:
        for target in targets:
            target.__code__ = code
        failed = _FirstFailure()
        chosen = [items[nodeid] for nodeid in tests]
        chosen[0].config.pluginmanager.register(failed)
        for item, following in zip(chosen, [*chosen[1:], None], strict=True):
            _run(item, following)
            if failed.nodeid:
                break
        report(failed.nodeid)

    return _outcome(_forked(run, cpu_seconds=CPU_SECONDS_MAX, seconds=SECONDS_MAX), len(tests))


def _outcome(result: Any, tests: int) -> Outcome:
    match result:
        case "":
            return Outcome(SURVIVED, f"{tests} tests")
        case str(nodeid):
            return Outcome(FOUND, nodeid)
        case int(status):
            return Outcome(FOUND, f"ended the tests, status {status}" if status else f"{tests} tests did not end")
    raise AssertionError(result)


def _run(item: Any, following: Any) -> None:
    item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)


def _live_functions() -> dict[Any, list[FunctionType]]:
    """The functions of kwire in this process, by file, qualified name and first line."""
    root = str(Path.cwd()) + os.sep
    live: dict[Any, list[FunctionType]] = {}
    for each in gc.get_objects():
        if type(each) is FunctionType and each.__code__.co_filename.startswith(root):
            code = each.__code__
            key = (code.co_filename.removeprefix(root), code.co_qualname, code.co_firstlineno)
            live.setdefault(key, []).append(each)
    return live


def _forked(run: Callable[[Callable[[Any], None]], None], *, seconds: float, cpu_seconds: int = 0) -> Any:
    """What ``run`` reports in a fork; its wait status if it ends without a report, 0 if killed after ``seconds``.

    What it prints is dropped. Processes that it has started are killed.
    """
    reader, writer = os.pipe()
    if not (child := os.fork()):
        os.setpgid(0, 0)
        os.close(reader)
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        if cpu_seconds:
            resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))

        def report(result: Any) -> None:
            with os.fdopen(writer, "wb") as pipe:
                pickle.dump(result, pipe)
            os._exit(0)

        try:
            run(report)
        finally:
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        written = _read_until(pipe.fileno(), time.monotonic() + seconds)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if written is None:
        return 0
    return pickle.loads(written) if written else status or 1  # noqa: S301  from our own child


def _read_until(descriptor: int, deadline: float) -> bytes | None:
    """Everything that is written until the other end closes; None after the deadline."""
    parts: list[bytes] = []
    while select.select([descriptor], [], [], max(0, deadline - time.monotonic()))[0]:
        part = os.read(descriptor, 1 << 16)
        if not part:
            return b"".join(parts)
        parts.append(part)
    return None


def _pytest(arguments: list[str], plugin: object) -> int:
    with tempfile.TemporaryDirectory() as directory:
        options = [*_OPTIONS, "--basetemp", f"{directory}/tests"]
        return int(pytest.main([*options, *arguments], [plugin, _UnshrunkExamples()]))
