"""The container engine of this machine, and the image under test.

docker where its daemon answers, else podman, whose API Testcontainers uses through a socket that ``podman system
service`` opens. The image is built from this checkout once per run, or is the one that ``KWIRE_IMAGE`` names. Building
needs ``python:3.12-slim``, from Docker Hub or already here. ``KWIRE_IMAGE_BUILD_OPTIONS`` are more options of the
build, for networks with a proxy or an own certificate authority.
"""

import contextlib
import functools
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from interop.jars import ROOT, Missing
from interop.waiting import wait_until

# The name of the image in the compose files, and where podman looks for it.
IMAGE = "kwire"
LOCAL_IMAGE = f"localhost/{IMAGE}:latest"
_BASE = "python:3.12-slim"
_START_S = 20


@functools.cache
def engine() -> str:
    """The command of the engine, "docker" or "podman". Raises Missing."""
    for command in ("docker", "podman"):
        if shutil.which(command) and _run([command, "info"]).returncode == 0:
            return command
    raise Missing("neither docker nor podman can start containers here")


@functools.cache
def image() -> str:
    """The image under test, which has the names `kwire` and `localhost/kwire:latest`. Raises Missing."""
    given = os.environ.get("KWIRE_IMAGE")
    if not given:
        options = shlex.split(os.environ.get("KWIRE_IMAGE_BUILD_OPTIONS", ""))
        if engine() == "podman":
            options += ["--format", "docker"]  # the other format has no health check
        built = _run([engine(), "build", *options, "-t", IMAGE, str(ROOT)], timeout_s=900)
        if built.returncode != 0 and not _has_base():
            raise Missing(f"the base image {_BASE} cannot be pulled: {built.stderr[-300:]}")
        assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-2000:]
        given = IMAGE
    _ok([engine(), "tag", given, LOCAL_IMAGE])
    return LOCAL_IMAGE


@contextlib.contextmanager
def api(folder: Path) -> Iterator[dict[str, str]]:
    """The environment in which Testcontainers reaches the engine's API."""
    environment = {**os.environ, "TESTCONTAINERS_RYUK_DISABLED": "true"}  # its image is not ours to pull
    if engine() == "docker":
        yield environment
        return
    socket = folder / "podman.sock"
    service = subprocess.Popen(
        ["podman", "system", "service", "--time=0", f"unix://{socket}"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:

        def is_open() -> bool:
            assert service.poll() is None, "podman system service ended"
            return socket.exists()

        wait_until(is_open, lambda: "podman system service opened no socket", timeout_s=_START_S)
        yield {
            **environment,
            "DOCKER_HOST": f"unix://{socket}",
            # Ports are published on this machine. Podman does not name the gateway that Python's module asks for.
            "TESTCONTAINERS_HOST_OVERRIDE": "localhost",
            "TESTCONTAINERS_CONNECTION_MODE": "docker_host",
        }
    finally:
        service.terminate()
        service.wait(20)


class Compose:
    """The services of one compose file, as containers."""

    def __init__(self, file: Path) -> None:
        image()  # the files name it
        self._command = [*_compose_command(), "-f", str(file)]

    def up(self) -> None:
        _ok([*self._command, "up", "-d", "--no-build"], timeout_s=180)

    def down(self) -> None:
        """Remove containers, network and volumes."""
        _run([*self._command, "down", "-v"], timeout_s=180)

    def run(self, service: str, command: str) -> str:
        """The output of a command in the container of a service."""
        return _ok([engine(), "exec", self.container(service), *shlex.split(command)])

    def container(self, service: str) -> str:
        """The name of the service's container, running or not."""
        names = _ok([engine(), "ps", "--all", "--format", "{{.Names}}"]).splitlines()
        mine = [name for name in names if name.replace("_", "-").endswith(f"-{service}-1")]
        assert len(mine) == 1, f"containers of {service}: {mine} of {names}"
        return mine[0]

    def is_healthy(self, service: str) -> bool:
        """Whether the health check of the service's container passes."""
        container = self.container(service)
        if engine() == "podman":  # it runs them by timers of systemd, which not every machine has
            return _run(["podman", "healthcheck", "run", container]).returncode == 0
        return _ok(["docker", "inspect", "--format", "{{.State.Health.Status}}", container]).strip() == "healthy"

    def kill(self, service: str) -> None:
        _ok([engine(), "kill", self.container(service)])

    def stop(self, service: str) -> None:
        _ok([engine(), "stop", "-t", "20", self.container(service)])

    def start(self, service: str) -> None:
        _ok([engine(), "start", self.container(service)])


def _compose_command() -> list[str]:
    if engine() == "docker" and _run(["docker", "compose", "version"]).returncode == 0:
        return ["docker", "compose"]
    beside = Path(sys.executable).with_name("podman-compose")
    found = str(beside) if beside.exists() else shutil.which("podman-compose")
    if engine() == "podman" and found:
        return [found]
    raise Missing("docker compose (for docker) or podman-compose (for podman) is not installed")


def _has_base() -> bool:
    return _run([engine(), "image", "inspect", _BASE]).returncode == 0


def _ok(command: list[str], timeout_s: float = 120) -> str:
    finished = _run(command, timeout_s)
    assert finished.returncode == 0, f"{shlex.join(command)}\n{finished.stdout[-2000:]}{finished.stderr[-2000:]}"
    return finished.stdout


def _run(command: list[str], timeout_s: float = 120) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
        timeout=timeout_s,
        errors="replace",
    )
