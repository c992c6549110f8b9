"""Follow a release of Apache Kafka: one command, then a diff to review.

    python tools/update_specs.py 4.4.0 [--libs DIRECTORY]

Resolves the official jars through Maven by name and version (or takes those in DIRECTORY), runs the programs in
``tools/java`` on them, and writes everything in the repository that comes from the jars: specs and stub, config table
and config types, and the test data. Needs Java 17 and Maven; the jars stay in ``.tools/``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import write_configs
import write_release
import write_specs

ROOT = Path(__file__).resolve().parent.parent
POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>kwire</groupId><artifactId>specs</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{release}</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>{release}</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Follow a release of Apache Kafka.")
    parser.add_argument("release", help="such as 4.4.0")
    parser.add_argument("--libs", help="a directory that holds the jars already")
    arguments = parser.parse_args()
    libs = str(Path(arguments.libs).resolve()) if arguments.libs else resolve(arguments.release)
    reflected = reflect(libs)
    if reflected["kafka"] != arguments.release:
        sys.exit(f"the jars in {libs} are of {reflected['kafka']}, not of {arguments.release}")
    write_release.write_release(libs)
    write_specs.write_specs(reflected, ROOT / "protocol_specs")
    write_configs.write_configs(libs)
    write_what_reads_them(reflected, libs)
    undocumented = write_configs.undocumented()
    if undocumented:
        print(f"{write_configs.DOCS.name} lacks a line for: {', '.join(undocumented)}")
    print(f"Specs, configs and test data are those of {arguments.release}. Now: make test, and review git diff.")


def write_what_reads_them(reflected: write_specs.Json, libs: str) -> None:
    """Write what is made from the specs and the config table, which must be written before kwire is imported."""
    import golden_bytes
    import official_answers
    import principal_vectors
    import start_vectors
    import write_config_types
    import write_stub

    write_stub.STUB.write_text(write_stub.stub_text(), "utf-8")
    golden_bytes.write_golden(reflected, libs)
    write_config_types.TARGET.write_text(write_config_types.types_text(), "utf-8")
    start_vectors.write_start_vectors(libs)
    official_answers.write_all(libs)
    principal_vectors.write_principals(libs)


def resolve(release: str) -> str:
    """Copy the jars of the broker and its tools with their dependencies into .tools/; return their directory."""
    folder = ROOT / ".tools" / f"specs-{release}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pom.xml").write_text(POM.format(release=release))
    command = ["mvn", "-q", "-B", "-f", "pom.xml", "dependency:copy-dependencies", "-DoutputDirectory=libs"]
    subprocess.run([*command, "-DincludeScope=runtime"], cwd=folder, stdin=subprocess.DEVNULL, check=True)
    return str(folder / "libs")


def reflect(libs: str) -> write_specs.Json:
    """Read the message classes in the jars with ReflectMessages.java."""
    command = ["java", "-cp", f"{libs}/*", str(ROOT / "tools" / "java" / "ReflectMessages.java")]
    printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, encoding="utf-8", check=True)
    reflected: write_specs.Json = json.loads(printed.stdout)
    return reflected


if __name__ == "__main__":
    main()
