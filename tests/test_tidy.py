"""Rules that a test can check: calls that are banned in a package, dead modules, API cards that are missing.

Each list of exceptions carries its reasons, and an entry that is no longer needed fails as loudly as a new offence.
"""

import ast
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from peer import all_apis

from kwire.wire import codec

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import check_cycles  # noqa: E402

KWIRE = ROOT / "kwire"
MODULES = sorted(KWIRE.rglob("*.py"))
PURE_PACKAGES = ("wire", "storage", "coordinators", "metadata", "security", "api")

# Modules for time, randomness and IO; pure packages get such things as values.
IMPURE_MODULES = {"time", "random", "secrets", "uuid", "datetime", "socket", "select", "threading", "asyncio", "trio"}
ALLOWED_IMPORTS = {
    # For values: the caller gives the time.
    *(f"kwire/security/tls/development.py imports datetime{name}" for name in ("", ".datetime", ".timedelta")),
    "kwire/storage/os_files.py imports threading",  # fsyncs and cold reads share its table of open files with the loop
}
IMPURE_CALLS = {"os.urandom", "input", "breakpoint"}

LONG_FILES: dict[str, str] = {}

# APIs that a broker with default settings does not serve, each with the reason.
_CONTROLLER = "spoken between brokers and controllers, never on a client's listener"
NOT_SERVED: dict[str, str] = {
    "Vote": _CONTROLLER,
    "BeginQuorumEpoch": _CONTROLLER,
    "EndQuorumEpoch": _CONTROLLER,
    "AlterPartition": _CONTROLLER,
    "Envelope": _CONTROLLER,
    "FetchSnapshot": _CONTROLLER,
    "BrokerRegistration": _CONTROLLER,
    "BrokerHeartbeat": _CONTROLLER,
    "AllocateProducerIds": _CONTROLLER,
    "ControllerRegistration": _CONTROLLER,
    "AssignReplicasToDirs": _CONTROLLER,
    "UpdateRaftVoter": _CONTROLLER,
    "GetTelemetrySubscriptions": "only where a metrics sink is configured, as in Apache Kafka",
    "PushTelemetry": "only where a metrics sink is configured, as in Apache Kafka",
}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def package_of(path: Path) -> str:
    return path.relative_to(KWIRE).parts[0]


def in_pure_packages() -> list[Path]:
    return [path for path in MODULES if package_of(path) in PURE_PACKAGES]


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def calls_of(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node.lineno


def imports_of(tree: ast.AST, package: str = "") -> Iterator[str]:
    """Every module that is named in an import, wherever it stands, and what is imported from it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*package.split(".")[: len(package.split(".")) - node.level + 1], base]).rstrip(".")
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def test_only_commands_print() -> None:
    offences = [
        f"{relative(path)}:{line}"
        for path in MODULES
        if package_of(path) != "cli"
        for name, line in calls_of(tree_of(path))
        if name in ("print", "pprint.pprint", "sys.stdout.write")
    ]
    # The ready lines are what `kwire serve` says to whoever started it.
    assert [offence for offence in offences if not offence.startswith("kwire/server/lifecycle.py")] == []


def test_pure_packages_import_neither_clocks_nor_randomness_nor_io() -> None:
    offences = [
        f"{relative(path)} imports {name}"
        for path in in_pure_packages()
        for name in imports_of(tree_of(path))
        if name.split(".")[0] in IMPURE_MODULES and f"{relative(path)} imports {name}" not in ALLOWED_IMPORTS
    ]
    assert offences == []


def test_pure_packages_call_nothing_impure() -> None:
    offences = [
        f"{relative(path)}:{line} calls {name}"
        for path in in_pure_packages()
        for name, line in calls_of(tree_of(path))
        if name in IMPURE_CALLS
    ]
    assert offences == []


def test_pure_packages_have_no_await() -> None:
    offences = [
        f"{relative(path)}:{node.lineno}"
        for path in in_pure_packages()
        if package_of(path) != "api"
        for node in ast.walk(tree_of(path))
        if isinstance(node, (ast.Await, ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith))
    ]
    assert offences == []


def test_only_os_files_py_touches_the_operating_system_in_storage() -> None:
    offences = [
        f"{relative(path)} imports {name}"
        for path in MODULES
        if package_of(path) == "storage" and path.name != "os_files.py"
        for name in imports_of(tree_of(path))
        if name.split(".")[0] in {"os", "io", "mmap", "shutil", "fcntl", "pathlib"}
    ]
    assert offences == []


def test_nothing_sleeps() -> None:
    offences = [
        f"{relative(path)}:{line}"
        for path in MODULES
        if package_of(path) not in ("cli", "testing")
        for name, line in calls_of(tree_of(path))
        if name == "time.sleep"
    ]
    assert offences == []


def test_every_module_is_used() -> None:
    names = {module_name(path): path for path in MODULES}
    used = {"kwire", "kwire.__main__"}
    for name, path in names.items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        used.update(imported for imported in imports_of(tree_of(path), package) if imported != name)
        # Commands are loaded, and the process that decodes is started, by their dotted names.
        used.update(
            re.findall(r"kwire(?:\.\w+)+", path.read_text())
            if package_of(path) == "cli" or path.stem == "process"
            else ()
        )
    used.update(re.findall(r"kwire(?:\.\w+)+", (ROOT / "pyproject.toml").read_text()))
    public = {name for name in names if name.startswith("kwire.testing")}
    dead = [
        name
        for name, path in names.items()
        if name not in used | public and path.name != "__init__.py" and not is_loaded_by_name(name)
    ]
    assert dead == []


def is_loaded_by_name(module: str) -> bool:
    """A handler, or a command or a script's twin that its group names in a table of strings."""
    stem = module.rpartition(".")[2]
    if check_cycles.HANDLER.fullmatch(module):
        return True  # test_api_table.py finds those without a row
    if not module.startswith("kwire.cli."):
        return False
    tables = [path.read_text() for path in MODULES if package_of(path) == "cli" and module_name(path) != module]
    return any(f'"{stem}"' in text or f".{stem}" in text or f'"{stem}:' in text for text in tables)


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_every_api_with_a_spec_is_served_or_has_a_reason() -> None:
    served = set(all_apis())
    known = {codec.request_class(key).NAME.removesuffix("Request"): key for key in codec.api_keys()}
    silent = [name for name, key in known.items() if key not in served and name not in NOT_SERVED]
    assert silent == [], "no handler and no reason"
    stale = [name for name in NOT_SERVED if known[name] in served]
    assert stale == [], "served, and yet with a reason why not"


@pytest.mark.parametrize("path", sorted((KWIRE / "api").glob("k[0-9]*_*.py")), ids=lambda path: path.stem)
def test_every_handler_opens_with_its_card(path: Path) -> None:
    card = ast.get_docstring(tree_of(path)) or ""
    key = int(path.stem[1:].partition("_")[0])
    name = codec.request_class(key).NAME.removesuffix("Request")
    assert card.startswith(f"{name} (key {key}).")
    assert "Versions:" in card
    assert "Behaviour:" in card


def test_every_package_and_module_states_its_responsibility() -> None:
    silent = [relative(path) for path in MODULES if path.read_text().strip() and not ast.get_docstring(tree_of(path))]
    assert silent == []


def test_a_package_has_at_most_twenty_modules() -> None:
    """A larger one has inner packages that show its parts; the modules of kwire.api are the APIs."""
    counts = Counter(path.parent for path in MODULES if path.name != "__init__.py")
    assert [relative(package) for package, count in counts.items() if count > 20 and package != KWIRE / "api"] == []


def test_an_inner_package_imports_nothing() -> None:
    """A start pays for each module. A package that is imported for its own names says so here."""
    tables = {"api/controller", "cli/script_twins", "control/console", "coordinators/group/consumer/assignors"}
    inner = {path.parent.relative_to(KWIRE).as_posix(): path for path in KWIRE.glob("*/**/__init__.py")}
    importing = {name for name, path in inner.items() if "/" in name and list(imports_of(tree_of(path)))}
    assert importing == {*tables, "metadata/commands"}


def test_long_files_are_listed_with_a_reason() -> None:
    long = {relative(path) for path in MODULES if len(path.read_text().splitlines()) > 500}
    assert long - LONG_FILES.keys() == set(), "over 500 lines is usually two responsibilities"
    assert LONG_FILES.keys() - long == set(), "no longer long"


def test_every_silenced_lint_names_its_rule() -> None:
    offences = []
    for path in MODULES:
        with tokenize.open(path) as source:
            for token in tokenize.generate_tokens(source.readline):
                if token.type == tokenize.COMMENT and "noqa" in token.string:
                    if not re.search(r"noqa: [A-Z]+\d+", token.string):
                        offences.append(f"{relative(path)}:{token.start[0]} {token.string}")
                elif token.type == tokenize.COMMENT and re.search(r"type: ignore(?!\[)", token.string):
                    offences.append(f"{relative(path)}:{token.start[0]} {token.string}")
    assert offences == []


def test_every_test_file_has_a_name_of_its_own() -> None:
    # pytest imports them by their bare names.
    counts = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, count in counts.items() if count > 1] == []


def test_no_path_of_one_machine() -> None:
    # In pieces, so that this file does not find itself; "me" is nobody's name.
    machine = re.compile(r"(?<![\w.])/(" + "|".join(["wo" + "rk/", "ro" + "ot/", "ho" + r"me/(?!me/)\w+/"]) + ")")
    suffixes = {".py", ".md", ".toml", ".yml", ".spec", ".txt", ".java", ".go", ".rs", ".js", ".sh", ""}
    offences = []
    for path in text_files(suffixes):
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if machine.search(line):
                offences.append(f"{relative(path)}:{number} {line.strip()[:80]}")
    assert offences == []


def text_files(suffixes: set[str]) -> Iterator[Path]:
    folders = ["kwire", "tests", "interop", "bench", "docs", "examples", "protocol_specs", "tools", ".ci"]
    top = [path for path in ROOT.iterdir() if path.is_file() and not path.name.startswith(".")]
    below = (path for folder in folders for path in (ROOT / folder).rglob("*"))
    for path in [*top, *below]:
        skipped = {"__pycache__", "node_modules", "target"} & set(path.parts)
        if path.is_file() and path.suffix in suffixes and not skipped:
            yield path


def test_no_modules_import_each_other_in_a_cycle() -> None:
    assert check_cycles.find_cycles(check_cycles.import_graph(KWIRE)) == []


def test_the_modules_and_inner_packages_of_a_package_have_an_order() -> None:
    assert check_cycles.find_sibling_cycles(check_cycles.import_graph(KWIRE)) == []


def test_a_cycle_between_inner_packages_is_found_though_no_modules_are_in_one() -> None:
    graph = {
        "package.one.low": set(),
        "package.one.high": {"package.two.middle"},
        "package.two.middle": {"package.one.low"},
        "package.three": {"package.one.high"},
    }
    assert check_cycles.find_cycles(graph) == []
    assert check_cycles.find_sibling_cycles(graph) == [{"package.one", "package.two"}]


def test_cycles_are_found_through_functions_and_type_checking_imports(tmp_path) -> None:
    modules = {
        "one": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from package.inner.two import A\n",
        "inner/__init__": "",
        "inner/two": "def lazily():\n    import package.three\n",
        "three": "from package import one\n",
        "four": "from package.one import B\nfrom package import three, four\n",
    }
    (tmp_path / "package/inner").mkdir(parents=True)
    for name, text in modules.items():
        (tmp_path / f"package/{name}.py").write_text(text)
    cycles = check_cycles.find_cycles(check_cycles.import_graph(tmp_path / "package"))
    assert cycles == [{"package.one", "package.inner.two", "package.three"}]


def test_a_handler_that_imports_the_api_table_is_a_cycle(tmp_path) -> None:
    modules = {
        "__init__": "",
        "k12_heartbeat": "from kwire.api import ROWS\n",
        "probes": "from kwire.api import ROWS\n",
    }
    (tmp_path / "kwire/api").mkdir(parents=True)
    for name, text in modules.items():
        (tmp_path / f"kwire/api/{name}.py").write_text(text)
    cycles = check_cycles.find_cycles(check_cycles.import_graph(tmp_path / "kwire"))
    assert cycles == [{"kwire.api", "kwire.api.k12_heartbeat"}]
