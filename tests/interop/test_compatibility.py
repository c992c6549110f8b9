"""The page of compatibility, as far as it does not need a run."""

import re

import pytest

pytest.importorskip("interop.compatibility", reason="interop is no part of the installed package")

from interop.compatibility import PARTS, render, with_differences
from interop.jars import ROOT
from interop.oracle.known import reasons

PAGE = ROOT / "docs/compatibility.md"


def test_the_page_lists_the_differences_that_are_named():
    text = PAGE.read_text()
    assert with_differences(text) == text, "run python -m interop.compatibility docs/compatibility.md"


def test_every_part_of_the_cases_has_a_table_on_the_page():
    sources = [path.read_text() for path in (ROOT / "interop/cases").glob("*.py")]
    parts = {part for text in sources for part in re.findall(r'\bcase\(\s*"([a-z]+)"', text)}
    assert "cluster" in parts
    assert parts - PARTS.keys() == set()


def test_the_part_with_the_differences_is_written_with_and_without_outcomes():
    page = render({"kafka": "4.3.1", "cases": []})
    assert with_differences(page) == page
    assert all(f"- **{about}.** {reason}\n" in page for about, reason in reasons().items())
