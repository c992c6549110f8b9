"""Write random groups with what an official assignor gives their members.

Responsible for: the command line and the file of ``assignor_vectors.py`` and ``task_assignor_vectors.py``. Must not
depend on: what a group is.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from official_java import run_java


def write_groups(
    target: Path, make: Callable[[random.Random], dict[str, Any]], program: str, about: str | None
) -> None:
    """Write groups that ``make`` gives and the answers of ``program`` in ``tools/java``; ``about`` is for --help."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--libs")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=400)
    arguments = parser.parse_args()
    dice = random.Random(arguments.seed)  # noqa: S311 (test data)
    given = [make(dice) for _ in range(arguments.count)]
    answers = run_java(program, arguments.libs, "\n".join(map(json.dumps, given)) + "\n")
    lines = [json.dumps([group, json.loads(answer)]) for group, answer in zip(given, answers, strict=True)]
    # A fixed time, so that the same vectors give the same file.
    with target.open("wb") as file, gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as packed:
        packed.write(("\n".join(lines) + "\n").encode())
