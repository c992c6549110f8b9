"""Write ``protocol_specs/`` from the JSON that ReflectMessages.java prints.

    python tools/write_specs.py reflected.json [DIRECTORY]

Responsible for: the layout of the spec files. One file for each API key, one for the headers, and one in ``records/``
for each family of records. Files that the new release lacks are removed, so that ``git diff`` is the whole review.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

Json = dict[str, Any]

FAMILIES = {
    "org.apache.kafka.common.metadata": "metadata",
    "org.apache.kafka.coordinator.group.generated": "group",
    "org.apache.kafka.coordinator.transaction.generated": "transaction",
    "org.apache.kafka.coordinator.share.generated": "share",
    "org.apache.kafka.server.log.remote.metadata.storage.generated": "remote_storage",
    "org.apache.kafka.raft.generated": "raft",
}
# What is left of org.apache.kafka.common.message, by name; anything else there is a control record.
EMBEDDED = {
    "AbortedTxn": "transaction_index",
    "ConsumerProtocolAssignment": "consumer_protocol",
    "ConsumerProtocolSubscription": "consumer_protocol",
    "DefaultPrincipalData": "principal",
}
TITLES = {
    "headers": "The headers of every request and response",
    "metadata": "Records of the __cluster_metadata log and its snapshots",
    "group": "Keys and values in __consumer_offsets",
    "transaction": "Keys and values in __transaction_state",
    "share": "Keys and values in __share_group_state",
    "remote_storage": "Records of __remote_log_metadata, and the producer snapshot file",
    "raft": "The quorum-state file",
    "consumer_protocol": "What consumers put inside JoinGroup and SyncGroup",
    "principal": "A principal inside an Envelope request",
    "transaction_index": "The entries of a .txnindex file",
    "control": "Keys and values of control records",
}


def main() -> None:
    reflected = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    directory = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).resolve().parent.parent / "protocol_specs"
    write_specs(reflected, directory)


def write_specs(reflected: Json, directory: Path) -> None:
    """Make ``directory`` hold the specs of ``reflected`` and no others."""
    files: dict[str, list[Json]] = {}
    for message in reflected["messages"]:
        files.setdefault(file_name(message), []).append(message)
    for old in (*directory.glob("*.spec"), *directory.glob("records/*.spec")):
        if str(old.relative_to(directory)) not in files:
            old.unlink()
    (directory / "records").mkdir(parents=True, exist_ok=True)
    for name, messages in files.items():
        title = TITLES.get(Path(name).stem) or f"{api_name(messages[0])}, API key {messages[0]['apiKey']}"
        # Only one file names the release, so that a diff between releases shows what changed.
        text = f"# {title}{', Apache Kafka ' + reflected['kafka'] if name == 'headers.spec' else ''}.\n"
        text += "".join("\n" + message_text(message) for message in messages)
        (directory / name).write_text(text, "utf-8")


def file_name(message: Json) -> str:
    if message["kind"] in ("request", "response"):
        return f"{message['apiKey']:02}_{snake(api_name(message))}.spec"
    if message["kind"] == "header":
        return "headers.spec"
    package = message["class"].rpartition(".")[0]
    family = FAMILIES.get(package) or EMBEDDED.get(message["name"], "control")
    return f"records/{family}.spec"


def api_name(message: Json) -> str:
    return str(message["name"]).removesuffix("Request").removesuffix("Response")


def snake(camel: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", camel).lower()


def message_text(message: Json) -> str:
    lowest, highest = message["versions"]
    name = api_name(message) if message["kind"] in ("request", "response") else message["name"]
    words = [message["kind"], name]
    if "apiKey" in message:
        words.append(f"{'type' if message['kind'] == 'record' else 'key'}={message['apiKey']}")
    words.append(f"versions={lowest}-{highest}" if lowest != highest else f"versions={lowest}")
    if message["flexibleFrom"] is not None:
        words.append(f"flexible={message['flexibleFrom']}+")
    if "stable" in message:
        words.append("stable={}-{}".format(*message["stable"]))
    if message.get("listeners"):
        words.append("listeners=" + ",".join(message["listeners"]))
    words += [
        flag for key, flag in (("clusterAction", "cluster_action"), ("forwardable", "forwardable")) if message.get(key)
    ]
    rows: list[tuple[str, str, str, str]] = []
    field_rows(message["fields"], f"{lowest}+", 1, {}, rows)
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, (*widths, 0), strict=True)).rstrip() for row in rows
    ]
    return "  ".join(words) + "\n" + "".join(line + "\n" for line in lines)


def field_rows(
    fields: list[Json], outer: str, depth: int, structs: dict[str, str], rows: list[tuple[str, str, str, str]]
) -> None:
    for field in fields:
        body = field.get("items", field)
        versions = "" if field["versions"] == outer else field["versions"]
        rows.append(("  " * depth + field["name"], type_text(field), versions, " ".join(options(field))))
        if body["type"] != "struct":
            continue
        # A struct that was written out before, with the same versions all through, is not written out again.
        written = json.dumps(body["fields"])
        if structs.get(body["struct"]) != written:
            structs.setdefault(body["struct"], written)
            field_rows(body["fields"], field["versions"], depth + 1, structs, rows)


def type_text(field: Json) -> str:
    body = field.get("items", field)
    element = body["struct"] if body["type"] == "struct" else body["type"]
    array = "[]" if "items" in field else ""
    return f"{array}{element}{'?' if field.get('nullable') == field['versions'] else ''}"


def options(field: Json) -> list[str]:
    found = []
    if field.get("nullable", field["versions"]) != field["versions"]:
        found.append(f"nullable={field['nullable']}")
    if "tag" in field:
        found.append(f"tag={field['tag']}")
        if field["taggedVersions"] != field["versions"]:
            found.append(f"tagged={field['taggedVersions']}")
    if "flexibleVersions" in field:
        found.append(f"flexible={field['flexibleVersions']}")
    if "default" in field:
        found.append(f"default={json.dumps(field['default'])}")
    if field.get("ignorable"):
        found.append("ignorable")
    if "json" in field:
        found.append(f"json={field['json']}")
    return found


if __name__ == "__main__":
    main()
