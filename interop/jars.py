"""The official jars, resolved from Maven by name and version into `.tools/`; nothing of them is vendored.

`python -m interop.jars` fetches those of the current release and names their folder.
"""

import os
import shutil
import subprocess
import threading
from collections.abc import Iterable
from pathlib import Path

from kwire.kafka_release import RELEASE

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".tools"

CURRENT = RELEASE
# The newest release of Connect that is published with its file connectors.
CONNECT = "4.3.1"
SPRING = "4.1.1"
REACTOR = "1.3.23"
# Releases of Flink and the Kafka connector of each: with the clients of Kafka 4.2 and 3.9.
FLINK = {"2.2.0": "5.0.0-2.2", "2.0.1": "4.0.1-2.0"}
SMALLRYE = "4.28.0"
CAMEL = "4.18.0"


def _broker_and_tools(release: str, slf4j: str = "1.7.36") -> tuple[str, ...]:
    return (
        f"org.apache.kafka:kafka_2.13:{release}",
        f"org.apache.kafka:kafka-tools:{release}",
        f"org.slf4j:slf4j-simple:{slf4j}",
    )


# What each release needs beside its transitive dependencies. slf4j-simple sends the tools' warnings to stderr.
ARTEFACTS: dict[str, tuple[str, ...]] = {
    CURRENT: _broker_and_tools(CURRENT),
    "4.3.1": _broker_and_tools("4.3.1"),
    "4.0.1": _broker_and_tools("4.0.1"),
    "4.0.0": _broker_and_tools("4.0.0"),
    "3.9.1": _broker_and_tools("3.9.1"),
    "2.8.2": _broker_and_tools("2.8.2", "1.7.30"),
    "junit": (
        "org.junit.platform:junit-platform-console-standalone:1.11.4",
        f"org.apache.kafka:kafka-clients:{CURRENT}",
        "org.slf4j:slf4j-simple:1.7.36",
    ),
    "testcontainers": (
        "org.testcontainers:kafka:1.21.3",
        f"org.apache.kafka:kafka-clients:{CURRENT}",
        "org.slf4j:slf4j-simple:1.7.36",
    ),
    f"streams-{CURRENT}": (
        f"org.apache.kafka:kafka-streams:{CURRENT}",
        "org.slf4j:slf4j-simple:1.7.36",
    ),
    f"connect-{CONNECT}": (
        f"org.apache.kafka:connect-runtime:{CONNECT}",
        f"org.apache.kafka:connect-file:{CONNECT}",
        "org.slf4j:slf4j-simple:1.7.36",
    ),
    f"mirror-{CONNECT}": (
        f"org.apache.kafka:connect-mirror:{CONNECT}",
        "org.slf4j:slf4j-simple:1.7.36",
    ),
    f"spring-kafka-{SPRING}": (
        f"org.springframework.kafka:spring-kafka-test:{SPRING}",
        f"org.springframework.kafka:spring-kafka:{SPRING}",
        "org.slf4j:slf4j-simple:2.0.17",
    ),
    f"reactor-kafka-{REACTOR}": (
        f"io.projectreactor.kafka:reactor-kafka:{REACTOR}",
        "org.slf4j:slf4j-simple:1.7.36",
    ),
    f"smallrye-{SMALLRYE}": (
        f"io.smallrye.reactive:smallrye-reactive-messaging-kafka:{SMALLRYE}",
        "io.smallrye.reactive:mutiny-reactive-streams-operators:2.8.0",
        "org.eclipse.microprofile.reactive-streams-operators:microprofile-reactive-streams-operators-api:3.0.1",
        "org.jboss.weld.se:weld-se-core:5.1.5.Final",
        "io.smallrye.config:smallrye-config:3.12.4",
        "org.slf4j:slf4j-simple:2.0.17",
    ),
    f"camel-{CAMEL}": (
        f"org.apache.camel:camel-kafka:{CAMEL}",
        f"org.apache.camel:camel-core:{CAMEL}",
        "org.slf4j:slf4j-simple:2.0.17",
    ),
    **{
        f"flink-{flink}": (
            f"org.apache.flink:flink-connector-kafka:{connector}",
            *(f"org.apache.flink:flink-{part}:{flink}" for part in ("connector-base", "clients", "streaming-java")),
            "org.slf4j:slf4j-simple:1.7.36",
        )
        for flink, connector in FLINK.items()
    },
}

# Cases run in parallel, but two Maven processes must not write to one repository.
_one_at_a_time = threading.Lock()


class Missing(Exception):
    """A tool that a case needs is not installed: the case is skipped, or fails with KWIRE_INTEROP=require."""


def need(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        raise Missing(f"{program} is not installed")
    return found


def libs(release: str = CURRENT) -> Path:
    """The folder that holds the jars of a release; resolved with Maven the first time."""
    given = os.environ.get("KWIRE_KAFKA_LIBS")
    if given and release == CURRENT:
        return Path(given)
    folder = TOOLS / f"kafka-{release}"
    done = folder / ".resolved"
    wanted = "\n".join(ARTEFACTS[release])
    with _one_at_a_time:
        if not done.exists() or done.read_text() != wanted:
            _resolve(folder, ARTEFACTS[release])
            done.write_text(wanted)
    return folder / "libs"


def classpath(release: str = CURRENT) -> str:
    return f"{libs(release)}/*"


def unpacked(archive: str) -> Path:
    """The folder with the files of an archive, GROUP:NAME:VERSION:TYPE:CLASSIFIER; got by Maven the first time."""
    folder = TOOLS / archive.replace(":", "-")
    done = folder / ".unpacked"
    with _one_at_a_time:
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            need("java")
            _maven(folder, "dependency:unpack", f"-Dartifact={archive}", f"-DoutputDirectory={folder}", what=archive)
            done.touch()
    return folder


def _maven(folder: Path, *arguments: str, what: str) -> None:
    command = [need("mvn"), "-q", "-B", *arguments]
    finished = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, timeout=600
    )
    if finished.returncode != 0:
        raise Missing(f"Maven could not resolve {what}: {finished.stdout[-2000:]}{finished.stderr[-500:]}")


def _resolve(folder: Path, artefacts: Iterable[str]) -> None:
    need("java")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "pom.xml").write_text(_pom(artefacts))
    copy = ("-f", "pom.xml", "dependency:copy-dependencies", "-DoutputDirectory=libs", "-DincludeScope=runtime")
    _maven(folder, *copy, what=", ".join(artefacts))


def _pom(artefacts: Iterable[str]) -> str:
    dependencies = "".join(_dependency(*artefact.split(":")) for artefact in artefacts)
    return f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>interop</groupId><artifactId>jars</artifactId><version>1</version>
  <dependencies>{dependencies}
  </dependencies>
</project>
"""


def _dependency(group: str, artefact: str, version: str) -> str:
    # Two bindings for one logger make noise on stderr: the releases' own log4j bindings stay out.
    names = ["org.slf4j:slf4j-log4j12", "org.slf4j:slf4j-reload4j", "org.apache.logging.log4j:log4j-slf4j-impl"]
    if artefact == "kafka-tools":  # one of them lists the plugins of Connect; not every mirror has these
        names += [f"org.apache.kafka:connect-{part}" for part in ("api", "json", "transforms", "runtime")]
    excluded = "".join(
        f"<exclusion><groupId>{name.split(':')[0]}</groupId><artifactId>{name.split(':')[1]}</artifactId></exclusion>"
        for name in names
    )
    return f"""
    <dependency><groupId>{group}</groupId><artifactId>{artefact}</artifactId><version>{version}</version>
      <exclusions>{excluded}</exclusions></dependency>"""


if __name__ == "__main__":
    print(libs())
