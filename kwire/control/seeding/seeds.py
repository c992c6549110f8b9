"""Seeds: topics, configs, users, ACLs and records that a broker is filled with.

Responsible for: reading a seed from JSON values and files, with one sentence for each error. Must not depend on: a
broker.

    {"topics": {"orders": {"partitions": 3, "configs": {"retention.ms": 1000}, "records": "orders.jsonl"}},
     "configs": {"message.max.bytes": 2000000}, "users": {"alice": "secret"}, "acls": ["alice may read topic orders"]}

``records`` is a list, or the name of a file beside the seed: ``.jsonl`` has a record on each line, as
``kwire consume --json`` writes it; ``.csv`` has the columns ``key``, ``value``, ``partition``, ``timestamp`` and
``header.NAME``, of which ``value`` is needed. An empty key is none. ``.avro`` is described in ``avro_files``.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from kwire.acls import Acl
from kwire.control.seeding.avro_files import AvroOptions, read_avro, read_options
from kwire.control.seeding.seed_error import SeedError
from kwire.errors import KafkaError
from kwire.metadata.config_rules import check_topic_name
from kwire.security.acl_text import read_acls
from kwire.wire.batches.json_records import JsonRecord, JsonRecordError, parse_record, read_record

_KEYS: Final = ("topics", "configs", "users", "acls")
_TOPIC_KEYS: Final = ("partitions", "configs", "records")
_HEADER: Final = "header."
_COLUMNS: Final = ("key", "value", "partition", "timestamp")


@dataclass(frozen=True, slots=True)
class SeedTopic:
    """One topic. ``partitions`` None: it exists, or gets the broker's number of partitions."""

    name: str
    partitions: int | None = None
    configs: Mapping[str, str] = field(default_factory=dict)
    records: Sequence[JsonRecord] = ()


@dataclass(frozen=True, slots=True)
class Seed:
    """The objects to create and the records to write. ``configs`` are dynamic configs of all brokers."""

    topics: Sequence[SeedTopic] = ()
    configs: Mapping[str, str] = field(default_factory=dict)
    users: Mapping[str, str] = field(default_factory=dict)
    acls: Sequence[Acl] = ()


def load_document(path: str) -> dict[str, Any]:
    """Read a seed file, with the records of the files that it names in place of their names. Raises SeedError."""
    file = Path(path)
    try:
        document = json.loads(file.read_bytes())
    except OSError as error:
        raise SeedError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise SeedError(f"{path} is not JSON: {error}") from None
    topics = document.get("topics") if isinstance(document, dict) else None
    for name, topic in topics.items() if isinstance(topics, dict) else ():
        if isinstance(topic, dict) and isinstance(topic.get("records"), str):
            topic["records"] = list(_read_named(file.parent, name, topic))
    return document if isinstance(document, dict) else {"": document}


def read_seed(document: Mapping[str, Any]) -> Seed:
    """Read a seed from a JSON value. Raises SeedError."""
    _refuse_unknown(document, _KEYS, "a seed")
    topics = _mapping(document, "topics", "topics")
    users = _mapping(document, "users", "users")
    for name, password in users.items():
        if not (name and isinstance(password, str) and password):
            raise SeedError(f"the user {name!r} needs a name and a password, as strings that are not empty")
    rules = document.get("acls", [])
    if not isinstance(rules, list) or not all(isinstance(rule, str) for rule in rules):
        raise SeedError('acls is a list of rules such as "alice may read topic orders"')
    try:
        acls = [acl for rule in rules for acl in read_acls(rule)]
    except ValueError as error:
        raise SeedError(str(error)) from None
    return Seed(
        topics=[_topic(name, given) for name, given in topics.items()],
        configs=_texts(_mapping(document, "configs", "configs")),
        users=users,
        acls=acls,
    )


def _topic(name: str, given: object) -> SeedTopic:
    try:
        check_topic_name(name)
    except KafkaError as error:
        raise SeedError(error.message or error.code.name) from None
    if isinstance(given, int):
        given = {"partitions": given}
    if not isinstance(given, dict):
        raise SeedError(f'the topic {name} is {{"partitions": 1, "configs": {{}}, "records": []}}, or a number')
    _refuse_unknown(given, _TOPIC_KEYS, f"the topic {name}")
    partitions = given.get("partitions")
    if partitions is not None and (not isinstance(partitions, int) or isinstance(partitions, bool) or partitions < 1):
        raise SeedError(f"the topic {name} has {partitions!r} partitions; it must be a whole number from 1")
    records = given.get("records", [])
    if not isinstance(records, list):
        raise SeedError(f"the records of the topic {name} are a list")
    try:
        read = [read_record(fields, number) for number, fields in enumerate(records, 1)]
    except JsonRecordError as error:
        raise SeedError(f"the records of the topic {name}: {error}") from None
    return SeedTopic(name, partitions, _texts(_mapping(given, "configs", f"the configs of the topic {name}")), read)


def _read_named(folder: Path, name: str, topic: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Read the file that a topic names, which may be Avro."""
    path = folder / topic["records"]
    avro = topic.pop("avro", None)
    if path.suffix == ".avro":
        return read_avro(path, AvroOptions() if avro is None else read_options(avro, folder, f"the topic {name}"))
    if avro is not None:
        raise SeedError(f"the topic {name}: avro is for records in a file whose name ends with .avro")
    return _read_file(path)


def _read_file(path: Path) -> Iterator[dict[str, Any]]:
    try:
        content = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SeedError(f"cannot read {path}: {error.strerror}") from None
    except ValueError:
        raise SeedError(f"{path} is not UTF-8") from None
    if path.suffix == ".csv":
        yield from _read_csv(path, content)
        return
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        try:
            parse_record(line.encode(), number)
        except JsonRecordError as error:
            raise SeedError(f"{path}: {error}") from None
        yield json.loads(line)


def _read_csv(path: Path, content: str) -> Iterator[dict[str, Any]]:
    rows = csv.DictReader(io.StringIO(content))
    columns = rows.fieldnames or ()
    unknown = [name for name in columns if name not in _COLUMNS and not name.startswith(_HEADER)]
    if "value" not in columns or unknown:
        problem = f"it has {unknown[0]!r}" if unknown else "there is no value"
        raise SeedError(f"{path}: the columns are {', '.join(_COLUMNS)} and {_HEADER}NAME; {problem}")
    for row in rows:
        fields: dict[str, Any] = {"key": row.get("key") or None, "value": row["value"]}
        for name in ("partition", "timestamp"):
            text = row.get(name)
            if text:
                if not text.isdigit():
                    raise SeedError(f"{path}: line {rows.line_num}: {name} {text!r} is not a number from 0")
                fields[name] = int(text)
        headers = [[name[len(_HEADER) :], row[name]] for name in columns if name.startswith(_HEADER) and row[name]]
        if headers:
            fields["headers"] = headers
        yield fields


def _mapping(given: Mapping[str, Any], key: str, what: str) -> dict[str, Any]:
    value = given.get(key, {})
    if not isinstance(value, dict):
        raise SeedError(f"{what}: an object of names and values, not {type(value).__name__}")
    return value


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in values.items()}


def _refuse_unknown(given: Mapping[str, Any], known: Sequence[str], what: str) -> None:
    for key in given:
        if key not in known:
            raise SeedError(f"{what} has no {key!r}; known are {', '.join(known)}")
