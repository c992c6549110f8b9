"""The cases that the documentation names, as arguments of ``python -m interop``, exist."""

import re
import shlex
import subprocess
import sys

import pytest

pytest.importorskip("interop.jars", reason="interop is no part of the installed package")
pytest.importorskip("confluent_kafka", reason="the cases import their clients")

from interop.jars import ROOT

OTHER_COMMANDS = ("differential", "authorization", "cluster")


def names_in(text: str) -> set[str]:
    found = set()
    for arguments in re.findall(r"python -m interop ([^`\n#]+)", text):
        words = shlex.split(arguments.replace("'", ""))
        if words[0] not in OTHER_COMMANDS and not words[0].startswith("-"):
            found.update(words)
    return found


def test_every_case_that_the_documentation_names_exists():
    listed = subprocess.run(
        [sys.executable, "-m", "interop", "--list"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    named = {name for page in pages for name in names_in(page.read_text("utf-8"))}
    assert "two Java brokers under" in named
    assert {name for name in named if name not in listed} == set()
