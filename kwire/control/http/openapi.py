"""The OpenAPI description of the control interface.

Responsible for: one entry for each route. Must not depend on: how a route is answered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from kwire import __version__
from kwire.control.events import EVENTS
from kwire.faults.rules import EFFECT_KEYS, RuleFields

_FILTERS: Final = {
    "api": "name of the API",
    "client_id": "client.id of the sender",
    "principal": "such as User:alice",
    "topic": "a topic that the request names",
    "group": "a group that the request names",
}
_COUNTS: Final = "the rule with its counts"
_SELECTION: Final = {
    "partition": "default: all",
    "offset": "the first",
    "timestamp": "the first at or after this time, in ms since the epoch",
}
_RECORDING: Final = "its file, size and number of requests"
_SNAPSHOT: Final = "the snapshot with its size"
_DECODED: Final = (
    "; with a schema registry also decoded: of key and value what names a schema, each with schema (id or GUID), and"
    " type, name and text (JSON) or error"
)
_CHOICE: Final = "the schema of the registry to encode by: subject and optionally version, or id; of Protobuf message"
_NOT_SO: Final = "one sentence why not"

# Method, path, summary, {status: description}, fields of the body.
_Route: TypeAlias = tuple[str, str, str, dict[int, str], dict[str, str]]
ROUTES: Final[tuple[_Route, ...]] = (
    ("GET", "/livez", "The broker runs.", {200: "listeners and cluster id"}, {}),
    ("GET", "/readyz", "Clients can connect.", {200: "listeners and cluster id", 503: "the broker restarts"}, {}),
    ("GET", "/metrics", "Metrics for Prometheus.", {200: "Prometheus' text format"}, {}),
    ("GET", "/v1/openapi.json", "This document.", {200: "OpenAPI 3.1"}, {}),
    ("GET", "/v1/faults", "The rules that are armed, oldest first.", {200: "rules with their counts"}, {}),
    ("POST", "/v1/faults", "Arm a rule.", {201: _COUNTS, 400: "an invalid rule"}, {"rule": ""}),
    ("DELETE", "/v1/faults", "Disarm all rules.", {200: "the rules that were armed"}, {}),
    ("GET", "/v1/faults/{name}", "One rule.", {200: _COUNTS, 404: "no such rule"}, {}),
    ("DELETE", "/v1/faults/{name}", "Disarm a rule.", {200: _COUNTS, 404: "no such rule"}, {}),
    ("POST", "/v1/faults/{name}/release", "Release held requests.", {200: _COUNTS, 404: "no such rule"}, {}),
    (
        "POST",
        "/v1/faults/{name}/wait",
        "Wait until a rule has disturbed so many requests.",
        {200: _COUNTS, 404: "no such rule", 408: "the time passed; the rule with its counts"},
        {"times": "default 1", "timeout_ms": "default 10000"},
    ),
    ("GET", "/v1/clock", "The clock of the broker.", {200: "now_ms and rate"}, {}),
    (
        "POST",
        "/v1/clock",
        "Move the clock forward, or let it run at another rate; 0 stops it.",
        {200: "now_ms and rate", 400: "an invalid value"},
        {"advance_ms": "milliseconds", "rate": "1 is real time"},
    ),
    (
        "GET",
        "/v1/requests",
        "The last requests, oldest first.",
        {200: "requests"},
        {**_FILTERS, "last": "default 100", "form": "whole (the default), or lines: each as one line of text"},
    ),
    ("DELETE", "/v1/requests", "Clear the request log.", {204: "done"}, {}),
    ("GET", "/v1/requests/stream", "Each request from now on.", {200: "server-sent events"}, _FILTERS),
    (
        "POST",
        "/v1/requests/wait",
        "Wait for requests.",
        {200: "the requests", 408: "the time passed; the requests so far"},
        {
            **_FILTERS,
            "fields": "fields of the request and their values",
            "times": "default 1",
            "since": "count only requests with a number above this one",
            "timeout_ms": "default 10000",
        },
    ),
    (
        "GET",
        "/v1/broker",
        "The broker: ids, releases, listeners, clock.",
        {200: "cluster_id, node_id, version, kafka, listeners, authorizer, now_ms, rate, schema_registry"},
        {},
    ),
    (
        "GET",
        "/v1/traffic",
        "Sizes and counters of topics and counters of APIs since the start; two answers make rates.",
        {200: "monotonic_ms, topics, requests"},
        {},
    ),
    ("GET", "/v1/topics", "Topics with the offsets of their partitions.", {200: "topics"}, {}),
    (
        "POST",
        "/v1/topics",
        "Create a topic.",
        {201: "the topic", 400: "refused", 409: "it exists"},
        {"name": "", "partitions": "default 1", "configs": "names and values"},
    ),
    (
        "GET",
        "/v1/topics/{name}",
        "One topic.",
        {200: "its own configs, and its partitions with leader, replicas, offsets and sizes", 404: "no such topic"},
        {},
    ),
    (
        "POST",
        "/v1/reset",
        "Remove all topics, groups, users, rules, requests; the clock is real again.",
        {204: "", 400: _NOT_SO},
        {},
    ),
    ("GET", "/v1/snapshots", "The named snapshots, oldest first.", {200: "names, sizes, when they were made"}, {}),
    (
        "POST",
        "/v1/snapshots",
        "Keep the state under a name, or write it to a new directory of the broker's machine.",
        {201: _SNAPSHOT, 400: _NOT_SO},
        {"name": "keep it in memory", "directory": "write it there"},
    ),
    ("DELETE", "/v1/snapshots/{name}", "Remove a snapshot.", {200: _SNAPSHOT, 404: "no such snapshot"}, {}),
    (
        "POST",
        "/v1/snapshots/{name}/restore",
        "Make the state that of the snapshot; clients reconnect.",
        {200: _SNAPSHOT, 400: _NOT_SO, 404: "no such snapshot"},
        {},
    ),
    (
        "POST",
        "/v1/restore",
        "Make the state that of a data directory of the broker's machine.",
        {200: _SNAPSHOT, 400: _NOT_SO},
        {"directory": ""},
    ),
    ("GET", "/v1/forks", "The copies of the broker.", {200: "name, bootstrap servers and control URL of each"}, {}),
    (
        "POST",
        "/v1/forks",
        "Start a copy of the broker as it is now, in memory, with its own control.",
        {201: "name, bootstrap servers and control URL", 400: _NOT_SO},
        {},
    ),
    ("DELETE", "/v1/forks/{name}", "End a copy.", {204: "", 404: "no such copy"}, {}),
    (
        "POST",
        "/v1/seed",
        "Create topics, configs, users and ACLs, and write records.",
        {201: "how many topics and records", 400: "an invalid seed, or a refusal by Kafka"},
        {
            "topics": "names to partitions, configs and records",
            "configs": "dynamic configs of all brokers",
            "users": "names to passwords",
            "acls": "rules such as: alice may read topic orders",
        },
    ),
    (
        "POST",
        "/v1/events",
        "Trigger an event that clients must handle: " + ", ".join(EVENTS) + ".",
        {200: "the affected objects", 400: _NOT_SO, 404: "no such topic or group"},
        {
            "event": "",
            "topic": "",
            "partition": "default 0",
            "group": "",
            "member_id": "",
            "client_id": "",
            "transactional_id": "",
        },
    ),
    (
        "GET",
        "/v1/groups",
        "All groups.",
        {200: "group, kind and state of each", 400: _NOT_SO},
        {"details": "true: with members, offsets and lag of each"},
    ),
    ("GET", "/v1/groups/{name}", "One group.", {200: "members, offsets and lag", 404: "no such group"}, {}),
    (
        "GET",
        "/v1/groups/{name}/locks",
        "Records that members of a share group have acquired.",
        {200: "runs of offsets"},
        {},
    ),
    ("GET", "/v1/transactions", "All transactional ids.", {200: "state, producer and partitions of each"}, {}),
    (
        "GET",
        "/v1/topics/{name}/producers",
        "The producers that wrote to a topic.",
        {200: "producers by partition", 404: "no such topic"},
        {},
    ),
    (
        "GET",
        "/v1/connections",
        "The clients that are connected.",
        {200: "peer, principal, software and client.id of each, its requests and bytes of records"},
        {},
    ),
    (
        "GET",
        "/v1/configs",
        "Configs, each with the sources of its value; secrets are null.",
        {200: "configs", 400: _NOT_SO, 404: "no such topic"},
        {
            "type": "broker (default), topic, group or client-metrics",
            "name": "default: the id of this broker; empty: the dynamic configs of all brokers",
        },
    ),
    ("GET", "/v1/acls", "All ACLs.", {200: "each in its parts and as a sentence"}, {}),
    ("GET", "/v1/users", "Users with SCRAM credentials.", {200: "mechanisms and iterations of each"}, {}),
    (
        "GET",
        "/v1/client-metrics",
        "Metrics that connected clients have pushed (KIP-714).",
        {200: "client, name, value"},
        {},
    ),
    (
        "POST",
        "/v1/wait",
        "Wait until a group is in a state, its lag is small, a member left, a topic has records, a transaction ends.",
        {200: "the condition and the current state", 400: _NOT_SO, 408: "the same, when the time passed"},
        {
            "group": "with state and members, or lag, or left",
            "state": "default Stable, or CompleteCommit",
            "members": "how many",
            "lag": "at most",
            "left": "a member id, instance id or client id",
            "topic": "with records",
            "records": "at least",
            "transactional_id": "with state",
            "timeout_ms": "default 10000",
        },
    ),
    (
        "POST",
        "/v1/recording",
        "Record requests and answers to a new file of the broker's machine.",
        {201: _RECORDING, 400: _NOT_SO},
        {"file": ""},
    ),
    ("GET", "/v1/recording", "The recording that is made.", {200: _RECORDING, 404: "none is made"}, {}),
    ("DELETE", "/v1/recording", "End the recording.", {200: _RECORDING, 404: "none is made"}, {}),
    (
        "GET",
        "/v1/topics/{name}/records",
        "Records, without a group.",
        {200: "records with key, value, headers, offset" + _DECODED, 400: _NOT_SO, 404: "no such topic or partition"},
        {
            **_SELECTION,
            "last": "how many of each partition, default 100",
        },
    ),
    (
        "POST",
        "/v1/topics/{name}/records",
        "Write records.",
        {201: "partition and offset of each", 400: _NOT_SO, 404: "no such topic or partition"},
        {
            "records": "a list; a record has value, and optionally key, headers, partition and timestamp",
            "key_schema": _CHOICE,
            "value_schema": _CHOICE,
        },
    ),
    (
        "GET",
        "/v1/topics/{name}/records/stream",
        "Each record that is written from now on.",
        {
            200: "server-sent events; skipped counts records that were left out" + _DECODED,
            400: _NOT_SO,
            404: "no such topic",
        },
        {"partition": "default: all"},
    ),
    (
        "GET",
        "/v1/topics/{name}/search",
        "Records whose key, value or headers hold a text, or with a schema registry the decoded key or value.",
        {
            200: "records; how many were scanned; next: offsets where another search continues" + _DECODED,
            400: _NOT_SO,
            404: "no such topic or partition",
        },
        {"text": "", **_SELECTION, "last": "how many in all, default 100"},
    ),
    ("GET", "/v1/topics/{name}/export", "A topic as a seed.", {200: "a seed", 404: "no such topic"}, {}),
)


# The routes of these that a proxy has, and its own.
OF_A_PROXY: Final = (
    *(
        route
        for route in ROUTES
        if route[1].startswith(
            ("/livez", "/readyz", "/metrics", "/v1/openapi", "/v1/faults", "/v1/clock", "/v1/requests")
        )
        or route[1] == "/v1/recording"
    ),
    ("GET", "/v1/connections", "The clients that are connected.", {200: "peer, node and requests of each"}, {}),
    ("GET", "/v1/nodes", "The nodes of the cluster.", {200: "the address of each, and that which clients get"}, {}),
)


def document(routes: Sequence[_Route] = ROUTES) -> dict[str, Any]:
    """Make the document."""
    paths: dict[str, Any] = {}
    for method, path, summary, answers, fields in routes:
        operation: dict[str, Any] = {
            "summary": summary,
            "responses": {str(status): {"description": text} for status, text in answers.items()},
        }
        parameters = [_parameter("name", "path", "which one")] if "{name}" in path else []
        if method == "GET":
            parameters += [_parameter(name, "query", text) for name, text in fields.items()]
        elif fields:
            schema = _rule_schema() if "rule" in fields else _schema(fields)
            operation["requestBody"] = {"content": {"application/json": {"schema": schema}}}
        if parameters:
            operation["parameters"] = parameters
        paths.setdefault(path, {})[method.lower()] = operation
    return {"openapi": "3.1.0", "info": {"title": "kwire control", "version": __version__}, "paths": paths}


def _parameter(name: str, place: str, text: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": place,
        "required": place == "path",
        "description": text,
        "schema": {"type": "string"},
    }


def _schema(fields: dict[str, str]) -> dict[str, Any]:
    return {"type": "object", "properties": {name: {"description": text} for name, text in fields.items()}}


def _rule_schema() -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: {} for name in RuleFields.__annotations__},
        "additionalProperties": False,
        "oneOf": [{"required": [name]} for name in EFFECT_KEYS],
    }
