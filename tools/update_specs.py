"""Follow a release of Apache Kafka: one command, then a diff to review.

    python tools/update_specs.py 4.4.0 [--libs DIRECTORY]

Resolves the official jars through Maven by name and version (or takes those in DIRECTORY), reads them by reflection,
and writes ``protocol_specs/``, ``kwire/wire/messages.pyi`` and ``tests/wire/golden.jsonl.xz``. Needs Java 17 and Maven;
the jars stay in ``.tools/``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import write_specs

ROOT = Path(__file__).resolve().parent.parent
POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>kwire</groupId><artifactId>specs</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{release}</version></dependency>
  </dependencies>
</project>
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Follow a release of Apache Kafka.")
    parser.add_argument("release", help="such as 4.4.0")
    parser.add_argument("--libs", help="a directory that holds the jars already")
    arguments = parser.parse_args()
    libs = arguments.libs or resolve(arguments.release)
    reflected = reflect(libs)
    if reflected["kafka"] != arguments.release:
        sys.exit(f"the jars in {libs} are of {reflected['kafka']}, not of {arguments.release}")
    write_specs.write_specs(reflected, ROOT / "protocol_specs")
    # Only now, because these read the specs that were just written.
    import golden_bytes
    import write_stub

    write_stub.STUB.write_text(write_stub.stub_text(), "utf-8")
    golden_bytes.write_golden(reflected, libs)
    print(f"Specs, stub and golden bytes are those of {arguments.release}. Now: make test, and review git diff.")


def resolve(release: str) -> str:
    """Let Maven copy the broker's jars, and all that they need, into .tools/."""
    folder = ROOT / ".tools" / f"specs-{release}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pom.xml").write_text(POM.format(release=release))
    command = ["mvn", "-q", "-B", "-f", "pom.xml", "dependency:copy-dependencies", "-DoutputDirectory=libs"]
    subprocess.run([*command, "-DincludeScope=runtime"], cwd=folder, stdin=subprocess.DEVNULL, check=True)
    return str(folder / "libs")


def reflect(libs: str) -> write_specs.Json:
    """Run the Java program that prints what the jars know."""
    command = ["java", "-cp", f"{libs}/*", str(ROOT / "tools" / "java" / "ReflectMessages.java")]
    printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, encoding="utf-8", check=True)
    reflected: write_specs.Json = json.loads(printed.stdout)
    return reflected


if __name__ == "__main__":
    main()
