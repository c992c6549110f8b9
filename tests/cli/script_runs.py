"""What a script printed, and scripts as processes of their own."""

import subprocess
import sys
import time
from typing import NamedTuple


class Ended(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def lines(self):
        return self.out.splitlines()


def process(bootstrap, name, *argv, **how):
    """A script as a process of its own."""
    command = [sys.executable, "-m", "kwire", "scripts", name, "--bootstrap-server", bootstrap, *argv]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **how)


def consume(script, topic, *argv):
    return script("kafka-console-consumer", "--topic", topic, "--timeout-ms", "150000", *argv)


def until_stable(script, group):
    deadline = time.monotonic() + 150
    while "Stable" not in script("kafka-consumer-groups", "--describe", "--group", group, "--state").out:
        assert time.monotonic() < deadline, f"group {group} did not become stable"
        time.sleep(0.05)  # another process is starting
