"""Run the small Java programs in ``tools/java`` on the official jars.

Responsible for: the command line. Must not depend on: what a program prints.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# The official classes log while they load; only what the program prints is its answer.
_JVM = ("-Dorg.slf4j.simpleLogger.defaultLogLevel=off", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


def run_java(program: str, libs: str | None, given: str, *arguments: str) -> list[str]:
    """Run ``tools/java/PROGRAM.java`` with ``given`` as its standard input; return the lines that it prints.

    ``libs`` is the directory of the jars, None for those of the current release. Raises CalledProcessError when the
    program fails; its standard error is not caught.
    """
    command = java_command(libs, str(ROOT / "tools" / "java" / f"{program}.java"), *arguments)
    done = subprocess.run(command, input=given, stdout=subprocess.PIPE, text=True, encoding="utf-8", check=True)
    return done.stdout.splitlines()


def java_command(libs: str | None, program: str, *arguments: str) -> list[str]:
    """Return the command that runs a class of the jars, or a source file on them."""
    return ["java", *_JVM, "-cp", f"{libs}/*" if libs else _current_jars(), program, *arguments]


def _current_jars() -> str:
    """Return the class path of the current release, which is downloaded when it is missing."""
    # Imported here: tests of an installed wheel import this module for its constants, and have no `interop`.
    sys.path.insert(0, str(ROOT))
    from interop import jars

    return jars.classpath()
