"""Write Kafka's config table and the config vectors of the tests from the official jars.

    python tools/write_configs.py [--libs DIRECTORY]

Writes ``kwire/metadata/configs/kafka_configs.tsv`` (every config of brokers, topics and groups) and
``tests/metadata/config_vectors.json.gz`` (for each config, what Kafka makes of each text in ``TEXTS``: the value as
text, or the message of the refusal). Responsible for: the layout of both files, and the words for Kafka's validators,
which are those of ``values.check_named``. A validator that is not known here ends the run with its config.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from typing import Any, TypeAlias

from official_java import ROOT, run_java

Row: TypeAlias = dict[str, Any]

TABLE = ROOT / "kwire" / "metadata" / "configs" / "kafka_configs.tsv"
VECTORS = ROOT / "tests" / "metadata" / "config_vectors.json.gz"
DOCS = ROOT / "kwire" / "metadata" / "configs" / "docs.tsv"
HEAD = "# scope\tname\ttype\tdefault\timportance\tvalidator\tsynonyms\tdynamic\tinternal\n"
# Numbers at the bounds of types and of validators, words of every enumeration, and texts that are nearly right.
TEXTS = (
    "", "  ", "abc", "0", "-1", "-2", "1", "-3", "2", "5", "9", "10", "17", "18", "22", "23", "100", "511", "1024",
    "1048576", "2147483647", "2147483648", "-131072", "-131073", "9223372036854775807", "9223372036854775808",
    "true", "TRUE", "False", "yes", "a,b", "a, b ,c", "a,a", "a,,b", "compact", "delete", "compact,delete",
    "delete , compact", "Compact", "compact,compact", " 5 ", "+5", "1.5", "-0.1", "0.5", "1", "0x10", "1e3", "NaN",
    "CreateTime", "createtime", "LogAppendTime", "producer", "ZSTD", "zstd", "uncompressed", "none", "*", "0:1,1:2",
    "0:1", "x:1", "latest", "earliest", "by_duration:PT1H", "by_duration:1h", "by_duration:-PT1H", "read_committed",
    "READ_COMMITTED", "PLAINTEXT", "1@localhost:9093", "localhost:9093", "localhost", "classic,consumer", "32768",
    "70000", "5L", "1_000", "٣",
)  # fmt: skip
# Validators that are classes of their own, and the one that is a lambda.
NAMED = {
    "org.apache.kafka.common.config.ConfigDef$NonNullValidator": "-",
    "org.apache.kafka.common.config.ConfigDef$NonEmptyString": "non_empty",
    "org.apache.kafka.coordinator.group.ShareGroupAutoOffsetResetStrategy$Validator": "offset_reset",
    "org.apache.kafka.raft.QuorumConfig$ControllerQuorumBootstrapServersValidator": "servers",
    "org.apache.kafka.raft.QuorumConfig$ControllerQuorumVotersValidator": "voters",
    "org.apache.kafka.storage.internals.log.ThrottledReplicaListValidator": "replicas",
}
LAMBDAS = {"org.apache.kafka.common.record.internal.CompressionType$1": "gzip_level"}
CONFIG_DEF = "org.apache.kafka.common.config.ConfigDef$"


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the config table and the config vectors.")
    parser.add_argument("--libs", help="a directory that holds the official jars; by default those of make jars")
    write_configs(parser.parse_args().libs)
    for name in undocumented():
        print(f"no documentation in {DOCS.name}: {name}")


def write_configs(libs: str | None = None) -> None:
    """Write the table and the vectors. Raises SystemExit for a validator without a name here."""
    rows = [json.loads(line) for line in run_java("ReflectConfigs", libs, json.dumps(TEXTS))]
    TABLE.write_text(HEAD + "".join(table_line(row) for row in rows), "utf-8")
    VECTORS.write_bytes(gzip.compress("".join(vector_line(row) for row in rows).encode("utf-8"), mtime=0))


def undocumented() -> list[str]:
    """Return the names in the table that lack a line in ``docs.tsv``."""
    names = {line.split("\t")[1] for line in TABLE.read_text("utf-8").splitlines()[1:]}
    return sorted(names - {line.split("\t")[0] for line in DOCS.read_text("utf-8").splitlines()[1:]})


def table_line(row: Row) -> str:
    default = "(required)" if row["required"] else "(null)" if row["default"] is None else row["default"] or "(empty)"
    cells = (
        row["scope"],
        row["name"],
        row["type"],
        default,
        row["importance"],
        check_words(row["name"], row["validator"]),
        ",".join(row["synonyms"]) or "-",
        row["dynamic"],
        "internal" if row["internal"] else "-",
    )
    return "\t".join(cells) + "\n"


def vector_line(row: Row) -> str:
    answers = [[text, *answer] for text, answer in zip(TEXTS, row["answers"], strict=True)]
    vector = [row["scope"].split("-")[0], row["name"], answers]
    return json.dumps(vector, separators=(",", ":")) + "\n"


def check_words(name: str, validator: Row | None) -> str:
    """Name a validator as ``values.check_named`` reads it."""
    words = "-" if validator is None else words_of(validator)
    return words or sys.exit(f"{name}: config_values.check_named has no check like {validator}")


def words_of(validator: Row) -> str | None:
    """Name a validator, or return None for one that is not known."""
    match validator["class"].removeprefix(CONFIG_DEF):
        case "Range":
            return f"range {bound_word(validator['min'])} {bound_word(validator['max'])}"
        case "ValidString":
            return "in " + ",".join(validator["validStrings"])
        case "CaseInsensitiveValidString":
            return "in_any_case " + ",".join(validator["validStrings"])
        case "ValidList":
            choices = validator["validString"]["validStrings"]
            flags = ("empty" * validator["isEmptyAllowed"], "null" * validator["isNullAllowed"])
            return " ".join(filter(None, ("list", *flags, "of " + ",".join(choices) if choices else "")))
        case "LambdaValidator":
            return LAMBDAS.get(validator["ensureValid"])
        case _:
            return NAMED.get(validator["class"])


def bound_word(bound: float | None) -> str:
    return "*" if bound is None else str(bound)


if __name__ == "__main__":
    main()
