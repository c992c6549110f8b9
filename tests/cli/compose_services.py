"""The services of docker/cluster as processes, by the image's entry point with the settings of the files.

Docker alone is left out: the names and ports of the compose network mean free ports of this machine
(``compose_names/sitecustomize.py``). Also imported by interop.
"""

import re
import subprocess
import time
from pathlib import Path

from kwire.testing.clusters.nodes import free_ports

ROOT = Path(__file__).parent.parent.parent
FILES = {name: ROOT / "docker" / "cluster" / f"{name}-controller.yml" for name in ("kwire", "apache")}
NODES = ("controller", "broker-1", "broker-2", "broker-3")
PORTS = {"controller": 9093, "broker-1": 9092, "broker-2": 9092, "broker-3": 9092}


def settings_of(text, service):
    """The environment of a service, with the blocks that it takes in."""
    blocks = {
        name: dict(re.findall(r"^  (\w+): (.*)$", lines, re.MULTILINE))
        for name, lines in re.findall(r"^x-[a-z-]+: &([a-z-]+)\n((?:  .*\n)+)", text, re.MULTILINE)
    }
    (own,) = re.findall(rf"^  {service}:\n(?:    .*\n)*?    environment:\n((?:      .*\n)+)", text, re.MULTILINE)
    taken = re.search(r"<<: (.*)", own)[1]
    merged = {}
    for name in re.findall(r"\*([a-z-]+)", taken):
        merged |= blocks[name]
    return merged | dict(re.findall(r"^      (\w+): (.*)$", own, re.MULTILINE))


class Compose:
    """The services of a file as processes of one image; ``names`` says where each service listens."""

    def __init__(self, image, text):
        ports = dict(zip(NODES, free_ports(len(NODES)), strict=True))
        self.text = text
        self.names = " ".join(f"{name}:{PORTS[name]}=127.0.0.1:{port}" for name, port in ports.items())
        self.environment = {
            **image.environment,
            "PYTHONPATH": str(Path(__file__).parent / "compose_names"),
            "COMPOSE_NAMES": f"{self.names} localhost:9093=127.0.0.1:{ports['controller']}",
        }
        self.image = image
        self.ports = ports

    def settings(self, name):
        """The environment of a service, with ports and a directory of this machine."""
        settings = settings_of(self.text, name)
        here = f"//127.0.0.1:{self.ports[name]}"
        listeners = re.sub(rf"//(0\.0\.0\.0)?:{PORTS[name]}", here, settings["KAFKA_LISTENERS"])
        settings["KAFKA_LISTENERS"] = listeners.replace("0.0.0.0:9094", "127.0.0.1:0")
        settings["KAFKA_LOG_DIRS"] = str(self.image.path / f"data-{name}")
        return settings

    def start(self, name):
        settings = self.settings(name)
        return subprocess.Popen(
            [self.image.path / "opt/kafka/entrypoint.sh"],
            env={**self.environment, **settings},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, line):
        return subprocess.run(
            line, shell=True, env=self.environment, capture_output=True, text=True, timeout=150, check=True
        ).stdout


def in_sync(compose, command):
    deadline = time.monotonic() + 150
    while time.monotonic() < deadline:
        described = compose.run(command)
        replicas = re.search(r"Isr: ([\d,]+)", described)[1]
        if len(replicas.split(",")) == 3:
            break
        time.sleep(0.1)  # a poll, bounded above
    return described
