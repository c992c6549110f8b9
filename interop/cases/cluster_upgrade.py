"""An upgrade of the metadata.version while brokers run: what they register afterwards."""

from __future__ import annotations

import re
import subprocess

from interop.brokers import PYTHON
from interop.case import Run, case
from interop.cluster.rig import APACHE, CLUSTER_ID, FIRST_CONTROLLER, JVM, KWIRE, Node, Rig
from interop.jars import ROOT, classpath, need
from interop.waiting import wait_until

BEFORE, AFTER = "3.7-IV1", "3.7-IV2"


@case("cluster", "nodes", "brokers register their directories when the metadata has them")
def upgrade_to_directories(run: Run) -> None:
    """KIP-858: registrations have directories from 3.7-IV2 on; a broker that runs registers again."""
    rig = Rig(run.folder, brokers=(KWIRE, APACHE), controllers=(APACHE,))
    (controller,) = rig.controllers
    # Below 3.9 the voters of a quorum are settings.
    address = controller.settings["controller.quorum.bootstrap.servers"]
    for node in rig.nodes:
        node.settings["controller.quorum.voters"] = f"{FIRST_CONTROLLER}@{address}"
    controller.write_file()
    format_at(controller, BEFORE)
    with rig:
        assert registered_directories(controller) == {1: 0, 2: 0}
        upgraded = run.tool(
            "features", "--bootstrap-server", f"127.0.0.1:{rig.broker(1).port}", "upgrade", "--metadata", AFTER
        )
        upgraded.ok()
        wait_until(
            lambda: registered_directories(controller) == {1: 1, 2: 1}, lambda: registered_directories(controller)
        )
        rig.assert_alive()


def format_at(node: Node, release_version: str) -> None:
    command = [need("java"), *JVM, "-cp", classpath(), "kafka.tools.StorageTool", "format"]
    command += ["-t", CLUSTER_ID, "-c", str(node.file), "--release-version", release_version]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr


def registered_directories(controller: Node) -> dict[int, int]:
    """How many directories each broker has in the last record of its registration."""
    log = controller.data / "__cluster_metadata-0" / f"{0:020}.log"
    command = [
        PYTHON,
        "-P",
        "-m",
        "kwire",
        "scripts",
        "kafka-dump-log",
        "--cluster-metadata-decoder",
        "--files",
        str(log),
    ]
    dumped = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    found = {}
    for line in dumped.splitlines():
        if '"REGISTER_BROKER_RECORD"' in line:
            broker = re.search(r'"brokerId":(\d+)', line)
            directories = re.search(r'"logDirs":\[([^\]]*)\]', line)
            assert broker, line
            found[int(broker[1])] = len(re.findall(r'"[^"]+"', directories[1])) if directories else 0
    return found
