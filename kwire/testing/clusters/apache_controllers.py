"""Apache Kafka's own controllers for a local cluster: which Java and distribution, and the commands that they run.

Responsible for: finding them, one sentence for what is missing, formatting, and the command line of a controller. Must
not depend on: processes that run, ports.

Both the formatting tool and the server are run from the distribution's jars with ``java``, as its scripts do in the
end. A directory that has only ``libs`` is enough.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kwire.kafka_release import METADATA_VERSIONS, RELEASE
from kwire.metadata.features import METADATA_VERSION_SERVED
from kwire.testing.clusters.nodes import ClusterError, ClusterNode
from kwire.types import random_uuid, uuid_text

_OLDEST: Final = (4, 0)
_JAVA: Final = 17  # what servers of Apache Kafka 4 need
_HEAP: Final = "-Xmx256m"
_JVM: Final = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
_FORMAT_S: Final = 120
_LINES: Final = 3
# The distribution logs by Log4j, jars that come from Maven by slf4j-simple: both write to the standard streams.
_LOG4J: Final = """\
rootLogger.level=info
rootLogger.appenderRef.console.ref=console
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=[%d] %p %m (%c)%n
"""


@dataclass(frozen=True, slots=True)
class KafkaHome:
    """A distribution of Apache Kafka in ``folder``, of ``release``, and the ``java`` that runs it."""

    folder: Path
    release: str
    java: str

    def format(self, controllers: Sequence[ClusterNode], folders: Sequence[Path]) -> None:
        """Format the directories of new controllers as the voters of one quorum. Raises ClusterError.

        ``folders`` have their server.properties.
        """
        voters = ",".join(f"{one.id}@localhost:{one.port}:{_new_uuid()}" for one in controllers)
        arguments = ["format", "--cluster-id", _new_uuid(), "--initial-controllers", voters]
        if _numbers(self.release) > _numbers(RELEASE):
            # A newer release could finalize features that kwire's brokers do not serve.
            arguments += ["--release-version", METADATA_VERSIONS[METADATA_VERSION_SERVED][0]]
        running = []
        for folder in folders:
            (folder / "log4j2.properties").write_text(_LOG4J, "utf-8")
            command = self._command(folder, "kafka.tools.StorageTool", *arguments)
            command += ["--config", str(folder / "server.properties")]
            running.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))  # noqa: S603
        failed = ""
        for process in running:
            try:
                output, _ = process.communicate(timeout=_FORMAT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                output, _ = process.communicate()
            if process.returncode:
                failed = "\n".join(output.splitlines()[-_LINES:]) or f"it ended with {process.returncode}"
        if failed:
            raise ClusterError(f"the storage tool of Apache Kafka {self.release} formats no controller: {failed}")

    def command(self, config: Path) -> list[str]:
        """Give the command of a controller with a file of settings."""
        return [*self._command(config.parent, "kafka.Kafka"), str(config)]

    def _command(self, folder: Path, *arguments: str) -> list[str]:
        heap = os.environ.get("KAFKA_HEAP_OPTS", _HEAP).split()
        logging = [
            f"-Dlog4j2.configurationFile={folder / 'log4j2.properties'}",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=info",
        ]
        return [self.java, *heap, *_JVM, *logging, "-cp", f"{self.folder / 'libs'}/*", *arguments]


def find_kafka(given: str | os.PathLike[str] | None) -> KafkaHome:
    """Find the distribution in ``given`` or the directory that KAFKA_HOME names. Raises ClusterError."""
    chosen = given or os.environ.get("KAFKA_HOME")
    if not chosen:
        raise ClusterError(
            "Apache Kafka's controllers need its distribution: name its directory with --kafka-home or KAFKA_HOME"
        )
    folder = Path(chosen).absolute()
    releases = [re.fullmatch(r"kafka-clients-(\d+\.\d+\.\d+.*)\.jar", path.name) for path in folder.glob("libs/*.jar")]
    release = next((match[1] for match in releases if match), None)
    if release is None:
        raise ClusterError(f"{folder} is no distribution of Apache Kafka: it has no libs/kafka-clients-RELEASE.jar")
    if _numbers(release) < _OLDEST:
        oldest = ".".join(map(str, _OLDEST))
        raise ClusterError(f"{folder} has Apache Kafka {release}: kwire's brokers need {oldest} or later")
    return KafkaHome(folder, release, _find_java(release))


def _find_java(release: str) -> str:
    home = os.environ.get("JAVA_HOME")
    java = shutil.which(Path(home) / "bin" / "java") if home else shutil.which("java")
    if java is None:
        where = f"there is none in JAVA_HOME ({home})" if home else "there is none on the PATH"
        raise ClusterError(f"Apache Kafka {release} needs Java {_JAVA} or later: {where}")
    asked = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)  # noqa: S603
    match = re.search(r'version "(?:1\.)?(\d+)', asked.stderr + asked.stdout)
    if match is None:
        raise ClusterError(f"{java} does not tell its version: {asked.stderr.strip() or asked.returncode}")
    if int(match[1]) < _JAVA:
        raise ClusterError(f"Apache Kafka {release} needs Java {_JAVA} or later: {java} is Java {match[1]}")
    return java


def _numbers(release: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", release)[:3]))


def _new_uuid() -> str:
    return uuid_text(random_uuid(os.urandom))
