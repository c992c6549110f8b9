"""kafka-python's own integration suite, from its source distribution: what passes against Apache Kafka must pass."""

import os
import subprocess
import sys
import tarfile
import threading
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from interop.brokers import Apache, Kwire
from interop.case import Run, case
from interop.jars import TOOLS, Missing
from interop.older_brokers import beside_official
from kwire.personas import names, persona

RELEASE = "3.0.12"
SETTINGS = {"num.partitions": "4"}
# The source distribution lacks this module of its tests. With an external broker, only these two names are used.
SERVICE = '''"""Replaces the module that starts brokers: the broker is external here."""


class ExternalService:
    def __init__(self, host, port):
        self.host, self.port = host, port

    def open(self):
        pass

    def close(self):
        pass


class SpawnedService:
    def __init__(self, *args):
        raise RuntimeError("this suite runs against a broker from outside")
'''
# Tests of differences that docs/personas.md names, and the releases that have them.
DIFFERENCES = {
    # advertised.listeners could be changed while a broker ran.
    "test.integration.test_admin_integration.test_describe_configs_broker_resource_returns_configs": ("2.8", "3.9"),
}
unpacking = threading.Lock()


def unpacked() -> Path:
    folder = TOOLS / "kafka-python-suite" / f"kafka_python-{RELEASE}"
    with unpacking:
        if (folder / "test" / "service.py").exists():
            return folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", "kafka-python"]
        command += ["-d", str(folder.parent), f"kafka-python=={RELEASE}"]
        finished = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        if finished.returncode != 0:
            raise Missing(f"kafka-python's source distribution: {finished.stderr[-500:]}")
        with tarfile.open(next(folder.parent.glob("*.tar.gz"))) as archive:
            archive.extractall(folder.parent, filter="data")
        (folder / "test" / "__init__.py").touch()
        (folder / "test" / "service.py").write_text(SERVICE)
    return folder


def passes(
    run: Run, broker: Apache | Kwire, version: str, which: Sequence[str] = ("test/integration",)
) -> dict[str, str]:
    """The result of each test of the suite, or of those that ``which`` names as pytest does, by name."""
    report = run.folder / f"{broker.name}.xml"
    command = [sys.executable, "-m", "pytest", *which, "-q", "-p", "no:cacheprovider", "-o", "addopts="]
    command += ["-p", "no:xdist", "-p", "no:trio", "-W", "ignore", "--junitxml", str(report)]
    environment = {
        **os.environ,
        "KAFKA_URI": f"kafka://localhost:{broker.port}",
        "KAFKA_VERSION": version,
        "KAFKA_ROOT": ".",
    }
    run.program(command, cwd=unpacked(), env=environment, timeout_s=400)
    found = {}
    for test in ET.parse(report).iter("testcase"):
        trouble = next((child for child in test if child.tag in ("failure", "error", "skipped")), None)
        state = "passed" if trouble is None else f"{trouble.tag}: {(trouble.get('message') or '')[:200]}"
        found[f"{test.get('classname')}.{test.get('name')}"] = state
    return found


def register(version: str) -> None:
    @case("clients", "kafka-python's own suite", f"as-of-{version}")
    def body(run: Run) -> None:
        ours = run.own_broker(SETTINGS)
        ours.start()
        seen = passes(run, ours, version)
        assert sum(state == "passed" for state in seen.values()) > 20, seen
        if run.target == "apache":
            failed = {name: state for name, state in seen.items() if not state.startswith(("passed", "skipped"))}
            assert not failed, failed
            return
        apache = run.own_broker(SETTINGS, kind="apache")
        apache.start()
        expected = passes(run, apache, version)
        compare(expected, seen)


def register_persona(name: str) -> None:
    @case("personas", "kafka-python's own suite", f"as-{name}")
    def body(run: Run) -> None:
        """What passes against the official broker of the release must pass against kwire that appears as it."""
        release = persona(name)
        assert release is not None

        def ask(broker: Apache | Kwire) -> dict[str, str]:
            broker.start()
            return passes(run, broker, release.release)

        with beside_official(run, name, SETTINGS) as (apache, ours):
            with ThreadPoolExecutor(2) as both:
                expected, seen = both.map(ask, (apache, ours))
            passed = sum(state == "passed" for state in expected.values())
            print(
                f"as {name}: {passed} of {len(expected)} tests pass against Apache Kafka {release.release}", flush=True
            )
            assert passed > 20, expected
            for test, releases in DIFFERENCES.items():
                if name in releases:
                    del expected[test]
            again = worse(expected, seen)
            if again:
                # Tests have timeouts of a second, which is short on a busy machine.
                print(f"as {name}: asked again: {again}", flush=True)
                seen |= passes(run, ours, release.release, [node_id(test) for test in again])
        compare(expected, seen)


def node_id(test: str) -> str:
    """The name of a test of the report, as pytest takes it."""
    module, _, name = test.partition("_integration.")
    function, bracket, parameters = name.partition("[")
    return f"{module.replace('.', '/')}_integration.py::{function.replace('.', '::')}{bracket}{parameters}"


def worse(expected: dict[str, str], seen: dict[str, str]) -> dict[str, str | None]:
    return {name: seen.get(name) for name, state in expected.items() if state == "passed" != seen.get(name)}


def compare(expected: dict[str, str], seen: dict[str, str]) -> None:
    left = worse(expected, seen)
    assert not left, "\n".join(f"{name}: {state}" for name, state in left.items())


for _version in ("4.1.0", "3.9.0", "2.8.0"):
    register(_version)
for _name in names():
    register_persona(_name)
