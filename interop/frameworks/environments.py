"""Python frameworks, each with pinned dependencies in a virtual environment of its own below `.tools/`."""

import subprocess
import sys
import threading
from pathlib import Path

from interop.jars import ROOT, TOOLS, Missing

PROGRAMS = ROOT / "interop" / "frameworks" / "python"

_one_at_a_time = threading.Lock()


def environment(framework: str) -> Path:
    """The Python of a framework's environment; made the first time, and again when its pins changed."""
    pins = PROGRAMS / f"{framework}.txt"
    folder = TOOLS / f"python-{framework}"
    python, done = folder / "bin" / "python", folder / ".installed"
    with _one_at_a_time:
        if not done.exists() or done.read_text() != pins.read_text():
            _run([sys.executable, "-m", "venv", "--clear", str(folder)], framework)
            _run([str(python), "-m", "pip", "install", "-q", "--no-deps", "-r", str(pins)], framework)
            done.write_text(pins.read_text())
    return python


def version(framework: str, package: str) -> str:
    """The pinned version of a package."""
    lines = (PROGRAMS / f"{framework}.txt").read_text().splitlines()
    return next(line.partition("==")[2] for line in lines if line.startswith(f"{package}=="))


def _run(command: list[str], framework: str) -> None:
    finished = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if finished.returncode != 0:
        raise Missing(f"the Python packages of {framework}: {finished.stderr[-500:]}")
