"""Schema registries as processes: Apicurio, which Maven Central has, and Karapace, which keeps schemas in a broker.

Karapace is in no package index: it is the program `karapace` on the PATH, or the command in KWIRE_KARAPACE, such as
`/venv/bin/python -m karapace`. `pip install git+https://github.com/Aiven-Open/karapace@5.0.3` needs Go.
"""

import base64
import contextlib
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from interop.jars import Missing, need, unpacked
from interop.waiting import wait_until
from kwire.testing.clusters.nodes import free_ports

# The newest that runs on Java 17, and the newest.
_APICURIO_17 = "io.apicurio:apicurio-registry-app:3.0.9:tar.gz:all"
_APICURIO_21 = "io.apicurio:apicurio-registry-app:3.3.3:tar.gz:all"
CCOMPAT = "/apis/ccompat/v7"


class RegistryProcess:
    """One registry. ``url`` is that of Confluent's calls; a path of these is answered once it runs."""

    def __init__(
        self,
        command: Sequence[str],
        port: int,
        log: Path,
        *,
        path: str = "",
        ready: tuple[str, bytes] = ("/subjects", b""),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """``ready``: a path, and what its answer contains once schemas can be registered."""
        self.url = f"http://127.0.0.1:{port}{path}"
        self.log = log
        self._ready = ready
        self._command = list(command)
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, timeout_s: float = 240) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                cwd=self.log.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_until(self._answers, lambda: f"the registry did not answer\n{self.tail()}", timeout_s=timeout_s)

    def _answers(self) -> bool:
        code = None if self._process is None else self._process.poll()
        assert code is None, f"the registry ended with {code}:\n{self.tail()}"
        path, awaited = self._ready
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as answer:
                return awaited in answer.read()
        except OSError:
            return False

    def kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def tail(self, lines: int = 30) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


@contextlib.contextmanager
def _running(registry: RegistryProcess) -> Iterator[RegistryProcess]:
    try:
        registry.start()
        yield registry
    finally:
        registry.kill()


@contextlib.contextmanager
def apicurio(folder: Path) -> Iterator[RegistryProcess]:
    """Apicurio with its schemas in memory, in the release that this machine's Java runs."""
    home = unpacked(_APICURIO_21 if _java_major() >= 21 else _APICURIO_17)
    jars = [home / "quarkus-run.jar", *home.glob("apicurio-registry-app-*-runner.jar")]
    (port,) = free_ports(1)
    command = [need("java"), "-Xmx400m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", f"-Dquarkus.http.port={port}"]
    command += ["-Dquarkus.http.host=127.0.0.1", "-Dquarkus.management.port=0"]
    command += ["-jar", str(next(jar for jar in jars if jar.exists()))]
    with _running(RegistryProcess(command, port, folder / "apicurio.log", path=CCOMPAT)) as running:
        yield running


def _java_major() -> int:
    printed = subprocess.run([need("java"), "-version"], capture_output=True, text=True, check=True).stderr
    found = re.search(r'version "(\d+)', printed)
    assert found is not None, printed
    return int(found[1])


@contextlib.contextmanager
def karapace(
    folder: Path, bootstrap: str, port: int, *, users: Mapping[str, str] | None = None
) -> Iterator[RegistryProcess]:
    """Karapace, which keeps its schemas in the topic _schemas of a broker. ``users`` have passwords."""
    given = os.environ.get("KWIRE_KARAPACE") or shutil.which("karapace")
    if not given:
        raise Missing("karapace is not installed (interop/registries.py)")
    environment = {
        "KARAPACE_BOOTSTRAP_URI": bootstrap,
        "KARAPACE_HOST": "127.0.0.1",
        "KARAPACE_PORT": str(port),
        "KARAPACE_ADVERTISED_HOSTNAME": "127.0.0.1",
        "KARAPACE_KARAPACE_REGISTRY": "true",
        "KARAPACE_LOG_LEVEL": "INFO",
    }
    if users:
        file = folder / "karapace-users.json"
        file.write_text(_auth_file(users))
        environment["KARAPACE_REGISTRY_AUTHFILE"] = str(file)
    # Some seconds after its start it may write schemas.
    ready = ("/master_available", b"true")
    log = folder / "karapace.log"
    registry = RegistryProcess(shlex.split(given), port, log, ready=ready, environment=environment)
    with _running(registry) as running:
        yield running


def _auth_file(users: Mapping[str, str]) -> str:
    """The file of users that karapace_mkpasswd is for; each may do everything."""
    entries = [
        {
            "username": name,
            "algorithm": "sha512",
            "salt": "salt",
            "password_hash": base64.b64encode(hashlib.pbkdf2_hmac("sha512", password.encode(), b"salt", 5000)).decode(),
        }
        for name, password in users.items()
    ]
    permissions = [{"username": name, "operation": "Write", "resource": ".*"} for name in users]
    return json.dumps({"users": entries, "permissions": permissions})
