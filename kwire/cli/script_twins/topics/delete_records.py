"""kafka-delete-records: delete the records of partitions before an offset.

Responsible for: the flags of the official script and its JSON file. Must not depend on: the wire.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from kwire.cli.admin.topics import delete_records
from kwire.cli.connections.connection import ClientError
from kwire.cli.java.exits import Failure
from kwire.cli.java.names import error_line, partition_order
from kwire.cli.java.options import BOOTSTRAP, COMMAND_CONFIG, Option, Wrong, parse
from kwire.cli.script_twins.common import bootstrap_of, open_cluster
from kwire.errors import KafkaError

NAME: Final = "kafka-delete-records"
ABOUT: Final = "Delete the records of partitions up to an offset."

OPTIONS: Final = (
    BOOTSTRAP,
    COMMAND_CONFIG,
    Option(
        "offset-json-file",
        'Up to where: {"partitions": [{"topic": "foo", "partition": 1, "offset": 7}], "version": 1}; -1 is the end.',
        "FILE",
    ),
)


def main(argv: Sequence[str]) -> int:
    parsed = parse(NAME, ABOUT, OPTIONS, argv)
    parsed.require("bootstrap-server", "offset-json-file")
    before = _read(parsed.text("offset-json-file"))
    try:
        with open_cluster(parsed, NAME, bootstrap_of(parsed)) as cluster:
            print("Executing records delete operation")
            results = delete_records(cluster, before)
    except (ClientError, KafkaError) as error:
        raise Failure(str(error)) from error
    print("Records delete operation completed:")
    for topic, partition in partition_order(before):
        result = results[topic, partition]
        outcome = f"error: {error_line(result)}" if isinstance(result, KafkaError) else f"low_watermark: {result}"
        print(f"partition: {topic}-{partition}\t{outcome}")
    return 0


def _read(path: str) -> dict[tuple[str, int], int]:
    """Read the offsets of a file. Raises Wrong in the official words."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError:
        raise Wrong(f"Unable to read file {path}") from None
    try:
        document = json.loads(text)
    except ValueError:
        raise Wrong("The input string is not a valid JSON") from None
    version = document.get("version", 1) if isinstance(document, dict) else 1
    if version != 1:
        raise Wrong(f"Not supported version field value {version}")
    if not isinstance(document, dict) or "partitions" not in document:
        raise Wrong("Missing partitions field")
    offsets: dict[tuple[str, int], int] = {}
    twice: list[str] = []
    for item in document["partitions"]:
        place = str(_field(item, "topic")), int(_field(item, "partition"))
        if place in offsets:
            twice.append(f"{place[0]}-{place[1]}")
        offsets[place] = int(_field(item, "offset"))
    if twice:
        raise Wrong(f"Offset json file contains duplicate topic partitions: {','.join(twice)}")
    return offsets


def _field(item: Any, name: str) -> Any:
    if not isinstance(item, dict) or name not in item:
        raise Wrong(f"No such field exists: `{name}`")
    return item[name]
