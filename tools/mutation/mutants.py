"""The mutants of a module: what cosmic-ray's operators make of it, and two operators of our own.

Only operators that make a mistake a programmer makes: cosmic-ray also replaces ``|`` by ``//`` or removes a decorator,
which every test finds.
"""

from __future__ import annotations

import ast
import random
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cosmic_ray.plugins
import parso
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator

_COMPARISONS = (
    "Eq_NotEq",
    "NotEq_Eq",
    "Lt_LtE",
    "LtE_Lt",
    "Gt_GtE",
    "GtE_Gt",
    "Lt_GtE",
    "GtE_Lt",
    "Is_IsNot",
    "IsNot_Is",
)
_KEYWORDS = ("AndWithOr", "OrWithAnd", "TrueWithFalse", "FalseWithTrue", "BreakWithContinue", "ContinueWithBreak")
_NAMES = (
    *(f"ReplaceComparisonOperator_{name}" for name in _COMPARISONS),
    *(f"Replace{name}" for name in _KEYWORDS),
    *(f"ReplaceBinaryOperator_{name}" for name in ("Add_Sub", "Sub_Add", "Mul_FloorDiv", "FloorDiv_Mul")),
    *("AddNot", "ReplaceUnaryOperator_Delete_Not", "NumberReplacer", "ZeroIterationForLoop"),
)


# Whether a line is logged is not tested for each line.
_LOGS = re.compile(r"(self\.)?_?log(ger)?\.(debug|info|warning|error|exception)\(")
# The value of a named constant is a choice, and these arguments only guard against mistakes.
_NOT_DECIDING = {
    "NumberReplacer": re.compile(r"[A-Z_]+(: Final)? = "),
    "ReplaceTrueWithFalse": re.compile(r"@dataclass|.*\bstrict=True"),
}


@dataclass(frozen=True, slots=True)
class Mutant:
    module: Path  # relative to the root of the project
    line: int
    operator: str
    source: str  # of the whole module, with as many lines as the original

    @property
    def place(self) -> str:
        return f"{self.module}:{self.line} {self.operator}"

    @property
    def change(self) -> str:
        """The changed lines, before and after."""
        before, after = self.module.read_text("utf-8").splitlines(), self.source.splitlines()
        lines = [(old.strip(), new.strip()) for old, new in zip(before, after, strict=True) if old != new]
        return f"{' '.join(old for old, _ in lines)}  =>  {' '.join(new for _, new in lines).strip()}"

    @property
    def name(self) -> str:
        """Dotted name of the module."""
        parts = self.module.with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


class RemoveStatement(Operator):
    """A call whose result is not used, an assignment to an attribute or item, an augmented assignment, a raise."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        if node.type == "simple_stmt" and _has_effect(node.children[0]):
            yield node.children[0].start_pos, node.children[0].end_pos

    def mutate(self, node: Any, index: int) -> Any:  # noqa: ARG002  the signature is cosmic-ray's
        first = node.children[0]
        lines = first.end_pos[0] - first.start_pos[0]
        prefix = first.get_first_leaf().prefix
        node.children[0] = parso.python.tree.Name("pass" + "\n" * lines, first.start_pos, prefix)
        return node

    @classmethod
    def examples(cls) -> tuple[()]:
        return ()


class SwapIn(Operator):
    """``in`` and ``not in``."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        if node.type == "comparison" and node.children[1].get_code().split() in (["in"], ["not", "in"]):
            yield node.children[1].start_pos, node.children[1].end_pos

    def mutate(self, node: Any, index: int) -> Any:  # noqa: ARG002  the signature is cosmic-ray's
        swapped = "in" if "not" in node.children[1].get_code() else "not in"
        prefix = node.children[1].get_first_leaf().prefix
        node.children[1] = parso.python.tree.Name(swapped, node.children[1].start_pos, prefix)
        return node

    @classmethod
    def examples(cls) -> tuple[()]:
        return ()


def _operators() -> dict[str, Operator]:
    known = {name: cosmic_ray.plugins.get_operator(f"core/{name}")() for name in _NAMES}
    return known | {"RemoveStatement": RemoveStatement(), "SwapIn": SwapIn()}


def _has_effect(statement: Any) -> bool:
    match statement.type:
        case "raise_stmt":
            return True
        case "expr_stmt":
            operator = statement.children[1].get_code().strip()
            target = statement.children[0].get_code()
            return operator.endswith("=") and (operator != "=" or "." in target or "[" in target)
        case "atom_expr" | "power" | "await_expr":
            return not _LOGS.match(statement.get_code().strip())
    return False


def sample(path: Path, count: int, seed: int) -> list[Mutant]:
    """``count`` mutants of the modules below ``path``, the same for the same seed and source."""
    dice = random.Random(f"{seed} {path}")  # noqa: S311  nothing is kept secret here
    sizes = {module: module.stat().st_size for module in (sorted(path.rglob("*.py")) if path.is_dir() else [path])}
    left: dict[Path, list[list[tuple[str, int, int]]]] = {}
    chosen: list[Mutant] = []
    while sizes and len(chosen) < count:
        [module] = dice.choices(list(sizes), list(sizes.values()))
        if module not in left:
            left[module] = list(_places(module).values())
            dice.shuffle(left[module])
        if not left[module]:
            del sizes[module]
        elif mutant := _made(module, *dice.choice(left[module].pop())):
            chosen.append(mutant)
    return chosen


def mutants_at(place: str) -> list[Mutant]:
    """Every mutant of a line, given as ``module.py:line``."""
    path, line = place.rsplit(":", 1)
    specs = [spec for specs in _places(Path(path)).values() for spec in specs if spec[2] == int(line)]
    return [mutant for spec in specs if (mutant := _made(Path(path), *spec))]


def _places(module: Path) -> dict[tuple[int, int], list[tuple[str, int, int]]]:
    """Operator, occurrence and line of each mutation, by the place where it begins."""
    places = defaultdict(list)
    nodes = list(ast_nodes(get_ast(module.read_text("utf-8"))))
    for name, operator in _OPERATORS.items():
        positions = [start for node in nodes for start, _ in operator.mutation_positions(node)]
        for occurrence, start in enumerate(positions):
            places[start].append((name, occurrence, start[0]))
    return places


def _made(module: Path, name: str, occurrence: int, line: int) -> Mutant | None:
    """None for a mutant that does not parse, means the same, decides nothing, or has not as many lines."""
    source = module.read_text("utf-8")
    if name in _NOT_DECIDING and _NOT_DECIDING[name].match(source.splitlines()[line - 1]):
        return None
    mutated = mutate_code(source, _OPERATORS[name], occurrence)
    if mutated is None or mutated.count("\n") != source.count("\n") or _meaning(mutated) in (None, _meaning(source)):
        return None
    return Mutant(module, line, name, mutated)


def _meaning(source: str) -> str | None:
    """The syntax tree without annotations and docstrings; None when the source does not parse."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return None
    for node in ast.walk(tree):
        match node:
            case ast.arg():
                node.annotation = None
            case ast.AnnAssign():
                node.annotation = ast.Constant(None)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                node.returns = None
    return ast.dump(tree)


_OPERATORS = _operators()
