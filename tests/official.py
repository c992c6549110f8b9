"""Where the official jars of Apache Kafka are, for tests that compare with its tools.

``KWIRE_KAFKA_LIBS`` names their folder; else ``python -m interop.jars`` has put them into ``.tools``. Without them, or
without Java, such a test is skipped; ``KWIRE_INTEROP=require`` makes that a failure.
"""

import os
import shutil
from pathlib import Path

import pytest

from kwire.kafka_release import RELEASE

_LIBS = Path(__file__).parent.parent / ".tools" / f"kafka-{RELEASE}" / "libs"


def class_path() -> str:
    """What java is to be given after ``-cp``."""
    libs = Path(os.environ.get("KWIRE_KAFKA_LIBS") or _LIBS)
    if shutil.which("java") is None or not libs.is_dir():
        missing(f"Java and the jars of Apache Kafka {RELEASE} (python -m interop.jars)")
    return f"{libs}/*"


def missing(what: str) -> None:
    """Skip the test for want of ``what``, or fail it."""
    say = pytest.fail if os.environ.get("KWIRE_INTEROP") == "require" else pytest.skip
    say(f"needs {what}")
