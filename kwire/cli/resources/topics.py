"""``kwire topics``: list, describe, create, change and delete topics.

Responsible for: the command line, and how topics are printed. Must not depend on: requests (``kwire.cli.admin`` sends
them).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from kwire.cli.admin import configs as admin_configs
from kwire.cli.admin import topics as admin
from kwire.cli.admin.offsets import EARLIEST, LATEST, list_offsets
from kwire.cli.connections.broker_option import (
    BrokerCommands,
    asking,
    at,
    broker_options,
    client_settings,
    fail,
    json_option,
    print_json,
    servers_of,
)
from kwire.cli.connections.client import Cluster
from kwire.cli.durations import in_milliseconds
from kwire.cli.tables import print_table
from kwire.cli.topic_names import complete_topic, missing
from kwire.errors import Code, KafkaError
from kwire.types import uuid_text


@click.group(
    cls=BrokerCommands,
    epilog="""\b
Examples:
  kwire topics create messages --partitions 3
  kwire topics list
""",
)
def topics() -> None:
    """List, describe, create, change and delete topics."""


@topics.command(
    "list",
    epilog="""\b
Example:
  kwire topics list --json | jq -r '.[].name'
""",
)
@click.option("--internal", is_flag=True, help="Include Kafka's own topics, such as __consumer_offsets.")
@json_option
@broker_options
def list_command(bootstrap: str | None, config: str | None, as_json: bool, internal: bool) -> None:
    """List the topics."""
    with asking(bootstrap, config) as cluster:
        found = [topic for _, topic in sorted(admin.list_topics(cluster).items()) if internal or not topic.internal]
    if as_json:
        print_json(
            [
                {
                    "name": topic.name,
                    "id": uuid_text(topic.id),
                    "partitions": len(topic.partitions),
                    "replicationFactor": _factor(topic),
                    "internal": topic.internal,
                    **({} if topic.error is None else {"error": topic.error.code.name}),
                }
                for topic in found
            ]
        )
        return
    if not found:
        there = at(servers_of(bootstrap, client_settings(config)))
        click.echo(f"No topics yet. Create one: kwire topics create messages{there}", err=True)
        return
    print_table(
        ("TOPIC", "PARTITIONS", "REPLICAS"),
        [
            (topic.name, len(topic.partitions), _factor(topic))
            if topic.error is None
            else (topic.name, topic.error.code.name, None)
            for topic in found
        ],
    )


@topics.command(
    short_help="Show partitions, offsets and settings of each TOPIC.",
    epilog="""\b
Examples:
  kwire topics describe messages
  kwire topics describe --json
""",
)
@click.argument("names", metavar="[TOPIC]...", nargs=-1, shell_complete=complete_topic)
@json_option
@broker_options
def describe(names: tuple[str, ...], bootstrap: str | None, config: str | None, as_json: bool) -> None:
    """Show partitions, their leaders and offsets, and the settings of each TOPIC, or of all."""
    with asking(bootstrap, config) as cluster:
        described = _described(cluster, names)
        settings = admin_configs.describe_topic_configs(cluster, [topic.name for topic in described])
        offsets = _offsets(cluster, described)
    shown = [_as_json(topic, settings.get(topic.name, []), offsets) for topic in described]
    if as_json:
        print_json(shown)
        return
    for index, topic in enumerate(shown):
        if index:
            click.echo()
        _print_topic(topic)


@topics.command(
    epilog="""\b
Examples:
  kwire topics create messages
  kwire topics create orders --partitions 12 --set cleanup.policy=compact --set retention.ms=1d
"""
)
@click.argument("names", metavar="TOPIC...", nargs=-1, required=True, shell_complete=complete_topic)
@click.option(
    "-p",
    "--partitions",
    type=click.IntRange(min=1),
    metavar="N",
    help="Number of partitions. [default: num.partitions of the broker]",
)
@click.option(
    "--replication-factor",
    type=click.IntRange(1, 32767),
    metavar="N",
    help="Number of replicas of each partition. [default: default.replication.factor of the broker]",
)
@click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting of the topic, such as retention.ms=1d; may be repeated.",
)
@click.option("--if-not-exists", is_flag=True, help="Do not fail for a topic that exists already; it stays unchanged.")
@broker_options
def create(
    *,
    names: tuple[str, ...],
    bootstrap: str | None,
    config: str | None,
    partitions: int | None,
    replication_factor: int | None,
    sets: tuple[str, ...],
    if_not_exists: bool,
) -> None:
    """Create topics."""
    settings = _settings(sets)
    with asking(bootstrap, config) as cluster:
        for name in names:
            try:
                admin.create_topic(
                    cluster, name, partitions=partitions, replication_factor=replication_factor, configs=settings
                )
            except KafkaError as error:
                if error.code is not Code.TOPIC_ALREADY_EXISTS or not if_not_exists:
                    raise
                click.echo(f"topic {name} exists already")
            else:
                click.echo(f"created topic {name}")


@topics.command(
    epilog="""\b
Examples:
  kwire topics alter messages --partitions 6
  kwire topics alter messages --set retention.ms=1m --unset cleanup.policy
"""
)
@click.argument("name", metavar="TOPIC", shell_complete=complete_topic)
@click.option(
    "-p",
    "--partitions",
    type=click.IntRange(min=1),
    metavar="N",
    help="New number of partitions; must be greater than the current one.",
)
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Change a setting; may be repeated.")
@click.option(
    "--unset", "unsets", multiple=True, metavar="KEY", help="Reset a setting to its default; may be repeated."
)
@broker_options
def alter(
    *,
    name: str,
    bootstrap: str | None,
    config: str | None,
    partitions: int | None,
    sets: tuple[str, ...],
    unsets: tuple[str, ...],
) -> None:
    """Add partitions to a TOPIC, or change its settings.

    The number of partitions cannot decrease. After an increase, new records with the same key may go to another
    partition than before.
    """
    settings = _settings(sets)
    if partitions is None and not settings and not unsets:
        raise click.UsageError("nothing to change: give --partitions, --set or --unset")
    with asking(bootstrap, config) as cluster:
        _described(cluster, [name])
        if settings or unsets:
            admin_configs.alter_configs(
                cluster, admin_configs.ResourceType.TOPIC, name, put=settings, delete=list(unsets)
            )
            click.echo(f"changed the settings of topic {name}")
        if partitions is not None:
            admin.create_partitions(cluster, name, partitions)
            click.echo(f"topic {name} has {partitions} partitions now")


@topics.command(
    epilog="""\b
Example:
  kwire topics delete messages
"""
)
@click.argument("names", metavar="TOPIC...", nargs=-1, required=True, shell_complete=complete_topic)
@click.option("--if-exists", is_flag=True, help="Do not fail for a topic that does not exist.")
@broker_options
def delete(names: tuple[str, ...], bootstrap: str | None, config: str | None, if_exists: bool) -> None:
    """Delete topics and all their records. There is no confirmation, and no undo."""
    with asking(bootstrap, config) as cluster:
        known = admin.list_topics(cluster)
        if not if_exists:
            _refuse_missing(names, known)  # before any topic is deleted
        for name in names:
            if name in known:
                admin.delete_topic(cluster, name)
                click.echo(f"deleted topic {name}")


def _described(cluster: Cluster, names: Sequence[str]) -> list[admin.TopicDescription]:
    """The topics with these names, or all topics that are not internal."""
    known = admin.list_topics(cluster)
    if not names:
        return [topic for _, topic in sorted(known.items()) if not topic.internal]
    _refuse_missing(names, known)
    return [known[name] for name in dict.fromkeys(names)]


def _refuse_missing(names: Iterable[str], known: Mapping[str, object]) -> None:
    for name in names:
        if name not in known:
            fail(missing(name, known))


def _offsets(cluster: Cluster, described: Sequence[admin.TopicDescription]) -> dict[tuple[str, int], tuple[Any, Any]]:
    """First and end offset of each partition; None where the leader does not answer."""
    places = [(topic.name, item.partition) for topic in described for item in topic.partitions]
    first = list_offsets(cluster, dict.fromkeys(places, EARLIEST))
    end = list_offsets(cluster, dict.fromkeys(places, LATEST))

    def number(offset: object) -> int | None:
        return offset if isinstance(offset, int) else None

    return {place: (number(first.get(place)), number(end.get(place))) for place in places}


def _as_json(
    topic: admin.TopicDescription,
    settings: list[admin_configs.Entry] | KafkaError,
    offsets: Mapping[tuple[str, int], tuple[int | None, int | None]],
) -> dict[str, Any]:
    entries = [] if isinstance(settings, KafkaError) else settings
    return {
        "name": topic.name,
        "id": uuid_text(topic.id),
        "internal": topic.internal,
        "replicationFactor": _factor(topic),
        "settings": {
            entry.name: entry.value for entry in entries if entry.source is admin_configs.Source.DYNAMIC_TOPIC_CONFIG
        },
        "partitions": [
            {
                "partition": item.partition,
                "leader": item.leader if item.leader >= 0 else None,
                "replicas": item.replicas,
                "inSync": item.isr,
                "firstOffset": offsets[topic.name, item.partition][0],
                "endOffset": offsets[topic.name, item.partition][1],
            }
            for item in topic.partitions
        ],
    }


def _print_topic(topic: Mapping[str, Any]) -> None:
    count = len(topic["partitions"])
    click.echo(
        f"{topic['name']}: {count} partition{'s' if count != 1 else ''},"
        f" replication factor {topic['replicationFactor']}, id {topic['id']}"
    )
    for key, value in topic["settings"].items():
        click.echo(f"  {key}={value}")
    print_table(
        ("PARTITION", "LEADER", "REPLICAS", "IN SYNC", "FIRST OFFSET", "END OFFSET"),
        [
            (
                item["partition"],
                item["leader"],
                ",".join(map(str, item["replicas"])),
                ",".join(map(str, item["inSync"])),
                item["firstOffset"],
                item["endOffset"],
            )
            for item in topic["partitions"]
        ],
    )


def _factor(topic: admin.TopicDescription) -> int:
    return len(topic.partitions[0].replicas) if topic.partitions else 0


def _settings(sets: Sequence[str]) -> dict[str, str]:
    settings = {}
    for text in sets:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise click.UsageError(f"--set {text}: write KEY=VALUE, such as --set retention.ms=1h")
        settings[key.strip()] = in_milliseconds(key.strip(), value.strip())
    return settings
