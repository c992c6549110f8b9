"""Ask a broker of a release which configs it has, for ``kwire serve --as``.

Responsible for: what is asked, and how a release differs from the newest one. Must not depend on: how the broker was
started, what kwire makes of the differences.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final, TypeAlias

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]

from write_configs import TEXTS  # noqa: E402

from kwire.cli.connections.connection import Address, Connection  # noqa: E402
from kwire.wire import messages as m  # noqa: E402

# By scope and name: type, default, synonyms, whether it is read-only.
Described: TypeAlias = dict[str, dict[str, Any]]
Recorded: TypeAlias = dict[str, Any]

TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP = 2, 4, 8, 16, 32
SCOPES: Final = {"broker": (BROKER, "1"), "topic": (TOPIC, "recorded"), "group": (GROUP, "recorded")}
# The checks of a topic's configs that differ from those of the newest release, as ``values.check_named`` reads
# them; which releases have them is what their brokers refuse.
CHECKS: Final = {
    "flush.messages": "range 0 *",
    "segment.bytes": "range 14 *",
    "segment.index.bytes": "range 0 *",
}
_DEFAULT: Final = 5  # the source of a value
_UNKNOWN: Final = 0  # the type of what only the file of settings has
_SET: Final = 0
_TOPIC_VERSION, _DESCRIBE_VERSION, _ALTER_VERSION = 5, 4, 1


def ask(port: int) -> Recorded:
    """Give the configs of a broker, a topic and a group; which resources can be described; which values are refused."""
    with Connection(Address("localhost", port), timeout_s=60) as connection:
        _create_topic(connection)
        resources = {}
        scopes: Described = {}
        for kind in (BROKER_LOGGER, CLIENT_METRICS, GROUP):
            resources[str(kind)] = _error(_describe(connection, kind, "recorded"))
        for scope, (kind, name) in SCOPES.items():
            result = _describe(connection, kind, name)
            known = (one for one in result.configs if one.config_type != _UNKNOWN)
            scopes[scope] = {} if result.error_code else {one.name: _config(one) for one in known}
        refused = {name: _refused(connection, name) for name in scopes["topic"]}
    return {"resources": resources, "scopes": scopes, "refused": refused}


def difference(recorded: Recorded, newest: Recorded) -> dict[str, Any]:
    """Give what a release has otherwise than the newest one, by scope. Raises SystemExit for a check without a name."""
    refused, now = recorded["refused"], newest["refused"]
    checks = sorted(name for name in refused if name in now and refused[name] != now[name])
    if unknown := [name for name in checks if name not in CHECKS]:
        raise SystemExit(f"no check in CHECKS for {', '.join(unknown)}")
    scopes = {}
    for scope, theirs in recorded["scopes"].items():
        ours = newest["scopes"][scope]
        both = [name for name in theirs if name in ours]
        scopes[scope] = {
            "absent": sorted(name for name in ours if name not in theirs),
            "only": {name: theirs[name] for name in theirs if name not in ours},
            "defaults": {n: theirs[n]["default"] for n in both if theirs[n]["default"] != ours[n]["default"]},
            "checks": {name: CHECKS[name] for name in checks} if scope == "topic" else {},
            "types": {n: theirs[n]["type"] for n in both if theirs[n]["type"] != ours[n]["type"]},
            "read_only": sorted(n for n in both if theirs[n]["read_only"] and not ours[n]["read_only"]),
        }
    if "message.format.version" in scopes["topic"]["only"] and "segment.bytes" in scopes["topic"]["checks"]:
        # From 4.0 on the broker's own config has the higher limit, and that of topics only later.
        scopes["broker"]["checks"]["log.segment.bytes"] = CHECKS["segment.bytes"]
    resources = {
        kind: error for kind, error in recorded["resources"].items() if error != newest["resources"][kind] and error
    }
    return {"resources": resources, **scopes}


def _create_topic(connection: Connection) -> None:
    topic = m.CreateTopicsRequest.CreatableTopic(name="recorded", num_partitions=1, replication_factor=1)
    request = m.CreateTopicsRequest(topics=[topic], timeout_ms=30_000)
    (result,) = connection.call(request, m.CreateTopicsResponse, version=_TOPIC_VERSION).topics
    assert result.error_code == 0, result


def _describe(connection: Connection, kind: int, name: str) -> Any:
    resource = m.DescribeConfigsRequest.DescribeConfigsResource(
        resource_type=kind, resource_name=name, configuration_keys=None
    )
    request = m.DescribeConfigsRequest(resources=[resource], include_synonyms=True)
    return connection.call(request, m.DescribeConfigsResponse, version=_DESCRIBE_VERSION).results[0]


def _config(one: Any) -> dict[str, Any]:
    defaults = {each.name: each.value for each in one.synonyms if each.source == _DEFAULT}
    return {
        "type": one.config_type,
        "default": defaults.get(one.name) if defaults or one.config_source != _DEFAULT else one.value,
        "synonyms": [each.name for each in one.synonyms if each.source == _DEFAULT and each.name != one.name],
        "read_only": one.read_only,
    }


def _error(result: Any) -> list[Any]:
    return [result.error_code, result.error_message] if result.error_code else []


def _refused(connection: Connection, name: str) -> str:
    """Give a letter for each of ``TEXTS``: "-" where the topic may have it, "x" where it is refused."""
    answers = ""
    for text in TEXTS:
        change = m.IncrementalAlterConfigsRequest.AlterableConfig(name=name, config_operation=_SET, value=text)
        resource = m.IncrementalAlterConfigsRequest.AlterConfigsResource(
            resource_type=TOPIC, resource_name="recorded", configs=[change]
        )
        request = m.IncrementalAlterConfigsRequest(resources=[resource], validate_only=True)
        response = connection.call(request, m.IncrementalAlterConfigsResponse, version=_ALTER_VERSION)
        answers += "x" if response.responses[0].error_code else "-"
    return answers
