"""Find modules of kwire, and packages beside each other, that import each other in a cycle.

python tools/check_cycles.py        (part of ``make check``)

Prints each cycle and exits with 1 when there is one. Every import counts: at the top, inside a function, and under
``TYPE_CHECKING``, because a class whose types need the whole broker depends on the whole broker; and that of a handler,
which the API table loads by a name. Without a cycle between the packages and modules of each package, these have an
order, and each imports only from below.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# What the table of a package loads by key and name.
HANDLER = re.compile(r"(?P<table>kwire\.api(\.controller)?)\.k\d+_\w+")


def main() -> int:
    graph = import_graph(ROOT / "kwire")
    cycles = find_cycles(graph) or find_sibling_cycles(graph)
    for cycle in cycles:
        print("import cycle:", ", ".join(sorted(cycle)))
    return 1 if cycles else 0


def import_graph(package: Path) -> dict[str, set[str]]:
    """Return for each module of a package the modules of the same package that it imports."""
    paths = {_module_name(path, package.parent): path for path in package.rglob("*.py")}
    graph = {name: set(_local_imports(path, paths)) - {name} for name, path in paths.items()}
    for handler in filter(None, map(HANDLER.fullmatch, paths)):
        graph[handler["table"]].add(handler.string)
    return graph


def find_sibling_cycles(graph: Mapping[str, set[str]]) -> list[set[str]]:
    """Return the cycles between the members of a package: its modules, and its inner packages each as a whole."""
    found: list[set[str]] = []
    for package in sorted({name.rpartition(".")[0] for name in graph} - {""}):
        members: dict[str, set[str]] = {}
        for name, imported in graph.items():
            if member := _member(name, package):
                others = {_member(each, package) for each in imported} - {"", member}
                members.setdefault(member, set()).update(others)
        found += find_cycles(members)
    return found


def _member(name: str, package: str) -> str:
    """Return the module or inner package of ``package`` that has the module; "" for a module elsewhere."""
    within = name.removeprefix(f"{package}.")
    return "" if within == name else f"{package}.{within.partition('.')[0]}"


def find_cycles(graph: Mapping[str, set[str]]) -> list[set[str]]:
    """Return the strongly connected components of more than one module (Tarjan)."""
    index: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(module: str) -> None:
        index[module] = lowest[module] = len(index)
        stack.append(module)
        for other in sorted(graph.get(module, ())):
            if other not in index:
                visit(other)
                lowest[module] = min(lowest[module], lowest[other])
            elif other in stack:
                lowest[module] = min(lowest[module], index[other])
        if lowest[module] == index[module]:
            component = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(component) > 1:
                found.append(set(component))

    for module in sorted(graph):
        if module not in index:
            visit(module)
    return found


def _module_name(path: Path, root: Path) -> str:
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def _local_imports(path: Path, names: Mapping[str, Path]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name for name in inner if name in names)
            if node.module in names and any(name not in names for name in inner):
                yield node.module


if __name__ == "__main__":
    sys.exit(main())
