"""Which modules a start loads before the broker is ready: a guard for the time of a start that counts no time.

Loading a module costs half a millisecond to several. What a broker may never need (coordinators without groups, a
cluster without other nodes, the test bench) is loaded at its first use.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from functools import cache

_START = ("-X", "importtime", "-m", "kwire", "serve", "--listen", "PLAINTEXT://127.0.0.1:0")
# Names that begin so are not loaded by a start with default settings.
NOT_AT_START = (
    "_decimal",
    "_hashlib",
    "_ssl",
    "argparse",
    "asyncio.events",
    "cryptography",
    "email",
    "importlib.metadata",
    "jwt",
    "kafka",
    "kwire.broker.authentication",
    "kwire.broker.coordination.group_machines",
    "kwire.broker.coordination.transactions.machines",
    "kwire.broker.node",
    "kwire.broker.outbound.connection",
    "kwire.broker.replication",
    "kwire.control",
    "kwire.coordinators.group.",
    "kwire.coordinators.share.",
    "kwire.coordinators.transaction.",
    "kwire.faults",
    "kwire.metadata.commands.",
    "kwire.metadata.decisions.topics",
    "kwire.security.standard_authorizer",
    "kwire.schemas",
    "kwire.server.tls.transport",
    "kwire.testing",
    "scramp",
    "starlette",
    "zipfile",
)
# Without those that are imported by a name at run time, as handlers are: -X importtime does not list them.
MOST_MODULES_OF_KWIRE = 208


@cache
def modules_at_start() -> tuple[str, ...]:
    with (
        tempfile.TemporaryDirectory() as directory,
        subprocess.Popen(
            [sys.executable, *_START, "--data", directory], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as broker,
    ):
        assert broker.stdout is not None
        loaded = []
        for line in broker.stdout:
            if line.startswith("import time:"):
                loaded.append(line.rpartition("|")[2].strip())
            elif "ready" in line:
                break
        broker.kill()
        broker.stdout.read()
    return tuple(loaded)


def test_a_start_loads_nothing_that_only_some_brokers_need() -> None:
    unwanted = [name for name in modules_at_start() if name.startswith(NOT_AT_START)]
    assert "kwire.broker.start" in modules_at_start()
    assert not unwanted


def test_a_start_loads_no_more_modules_than_it_used_to() -> None:
    of_kwire = [name for name in modules_at_start() if name.startswith("kwire.")]
    assert len(of_kwire) <= MOST_MODULES_OF_KWIRE, sorted(of_kwire)


def test_a_broker_of_a_cluster_without_tls_loads_no_cryptography() -> None:
    """Three brokers and a controller would each pay for it."""
    modules = "kwire.broker.quorum_source, kwire.broker.replication.replication, kwire.broker.coordination.remote"
    shown = "print([name for name in sys.modules if name.startswith(('cryptography', 'jwt', 'scramp'))])"
    command = [sys.executable, "-c", f"import sys, {modules}; {shown}"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"
