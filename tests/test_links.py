"""Each link from a page of the documentation to a file or a heading of this repository leads there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def without_code(text: str) -> str:
    return re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors_of(page: Path) -> set[str]:
    """The anchors that GitHub and MkDocs make of the headings."""
    headings = re.findall(r"^#+ (.+)$", without_code(page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_repository_resolve(page):
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text("utf-8"))):
        path, _, anchor = link.partition("#")
        if ":" in path:
            continue
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            dead.append(link)
    assert dead == []


def test_the_architecture_page_names_every_package():
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    packages = {path.parent for path in (ROOT / "kwire").rglob("__init__.py")} - {ROOT / "kwire"}
    assert {package.name for package in packages if not re.search(rf"\b{package.name}\b", text)} == set()


def test_modules_that_the_architecture_page_names_exist():
    text = without_code((ROOT / "docs" / "architecture.md").read_text("utf-8"))
    paths = {f"/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "kwire").rglob("*.py")}
    named = set(re.findall(r"`([\w/]+\.py)`", text))
    assert {name for name in named if not any(path.endswith(f"/{name}") for path in paths)} == set()
