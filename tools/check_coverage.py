"""Compare the coverage of each package with what ``[tool.kwire.coverage]`` in pyproject.toml asks for.

python tools/check_coverage.py        (after ``make coverage`` has written .coverage)

Prints lines and branches of each package in percent, and exits with 1 when one of them has less than its bound.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections import defaultdict
from pathlib import Path, PurePath
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    bounds = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["kwire"]["coverage"]
    counted = count_by_package(read_report()["files"])
    unknown = set(bounds) - {"default"} - set(counted)
    if unknown:
        print(f"pyproject.toml names packages that do not exist: {', '.join(sorted(unknown))}")
        return 1
    failed = 0
    print(f"{'package':<14} {'lines':>7} {'(least)':>8} {'branches':>9} {'(least)':>8}")
    for package, counts in sorted(counted.items()):
        lines_least, branches_least = bounds.get(package, bounds["default"])
        lines = percent(counts["covered_lines"], counts["num_statements"])
        branches = percent(counts["covered_branches"], counts["num_branches"])
        too_few = lines < lines_least or branches < branches_least
        failed += too_few
        print(
            f"{package:<14} {lines:>7.1f} {lines_least:>8} {branches:>9.1f} {branches_least:>8}"
            f"{'   too few' if too_few else ''}"
        )
    return 1 if failed else 0


def read_report() -> Any:
    """Coverage's own JSON report of the last run."""
    command = [sys.executable, "-m", "coverage", "json", "--quiet", "-o", "-"]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)


def count_by_package(files: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Sum the counts of all files of a package; files directly in kwire/ count as the package "kwire"."""
    counted: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for name, report in files.items():
        parts = PurePath(name).parts
        package = parts[1] if len(parts) > 2 else "kwire"
        for key in ("covered_lines", "num_statements", "covered_branches", "num_branches"):
            counted[package][key] += report["summary"][key]
    return counted


def percent(covered: int, total: int) -> float:
    return 100.0 * covered / total if total else 100.0


if __name__ == "__main__":
    sys.exit(main())
