"""Record again what a running Apache Kafka answers in the tests of admin and group APIs.

    python tools/record_answers.py [admin] [group]

Responsible for: two fresh brokers of the current release, one for each recorder in ``tests/api``. Must not depend on:
what is asked and kept. Takes two minutes; needs what ``make interop`` needs.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "api")]


def main() -> None:
    import admin_cases
    import group_scenarios

    recorders = {
        "admin": ("record_apache_answers.py", admin_cases.SETTINGS),
        "group": ("record_group_answers.py", group_scenarios.SETTINGS),
    }
    for name in sys.argv[1:] or recorders:
        record(*recorders[name])


def record(recorder: str, settings: dict[str, str]) -> None:
    """Start a broker, run the recorder on it, stop it."""
    from interop.brokers import Apache

    with tempfile.TemporaryDirectory(prefix="record-") as folder:
        broker = Apache(Path(folder), settings)
        # Settings that name a port are part of some answers.
        found = re.search(r"PLAINTEXT://localhost:(\d+)", settings.get("listeners", ""))
        broker.port = int(found[1]) if found else 0
        broker.start()
        try:
            command = [sys.executable, str(ROOT / "tests" / "api" / recorder), broker.bootstrap]
            subprocess.run(command, check=True)
        finally:
            broker.kill()


if __name__ == "__main__":
    main()
