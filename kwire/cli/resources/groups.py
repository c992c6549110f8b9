"""``kwire groups``: list and describe consumer groups, move their offsets, delete them.

Responsible for: the command line, and how groups are printed. Must not depend on: requests (``kwire.cli.admin`` sends
them).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import click

from kwire.cli.admin import groups as admin
from kwire.cli.admin import share_groups as shares
from kwire.cli.admin import streams_groups as streams
from kwire.cli.admin.offsets import EARLIEST, LATEST, list_offsets
from kwire.cli.admin.topics import list_topics
from kwire.cli.connections.broker_option import (
    BrokerCommands,
    asking,
    broker_options,
    fail,
    json_option,
    print_json,
)
from kwire.cli.connections.client import Cluster, no_partition
from kwire.cli.tables import print_table
from kwire.cli.topic_names import complete_topic, missing
from kwire.errors import Code, KafkaError

Place = tuple[str, int]

NO_GROUPS = "No groups yet. A consumer creates one: kwire consume messages --group readers"


@click.group(
    cls=BrokerCommands,
    epilog="""\b
Examples:
  kwire groups list
  kwire groups describe readers
""",
)
def groups() -> None:
    """List and describe groups (classic, consumer, share, streams), move their offsets, delete them."""


@groups.command(
    "list",
    epilog="""\b
Example:
  kwire groups list --json | jq -r '.[].group'
""",
)
@json_option
@broker_options
def list_command(bootstrap: str | None, config: str | None, as_json: bool) -> None:
    """List the groups of all types."""
    with asking(bootstrap, config) as cluster:
        found = sorted(admin.list_groups(cluster))
    if as_json:
        print_json(
            [
                {"group": each.id, "state": each.state, "type": each.type, "protocol": each.protocol_type}
                for each in found
            ]
        )
        return
    if not found:
        click.echo(NO_GROUPS, err=True)
        return
    print_table(
        ("GROUP", "STATE", "TYPE", "PROTOCOL"),
        [(each.id, each.state or None, each.type or None, each.protocol_type or None) for each in found],
    )


@groups.command(
    epilog="""\b
Examples:
  kwire groups describe
  kwire groups describe readers --json | jq '[.[0].partitions[].lag] | add'
"""
)
@click.argument("names", metavar="[GROUP]...", nargs=-1)
@json_option
@broker_options
def describe(names: tuple[str, ...], bootstrap: str | None, config: str | None, as_json: bool) -> None:
    """Show members, committed offsets and lag of each GROUP, or of all groups."""
    with asking(bootstrap, config) as cluster:
        wanted = dict.fromkeys(names) or sorted(group.id for group in admin.list_groups(cluster))
        shown = [_described(cluster, name) for name in wanted]
    if as_json:
        print_json(shown)
        return
    if not shown:
        click.echo(NO_GROUPS, err=True)
    for index, group in enumerate(shown):
        if index:
            click.echo()
        _print_group(group)


@groups.command(
    short_help="Move the committed offsets of a GROUP without members.",
    epilog="""\b
Examples:
  kwire groups reset readers --to earliest
  kwire groups reset readers --topic messages --to 2026-01-31T12:00 --dry-run
  kwire groups reset readers --topic messages:0,2 --by -10
""",
)
@click.argument("name", metavar="GROUP")
@click.option(
    "--to", metavar="WHERE", help="earliest, latest, an offset, or a time such as 2026-01-31T12:00 (local time)."
)
@click.option("--by", type=int, metavar="N", help="Move forward by N records; back if N is negative.")
@click.option(
    "--topic",
    "topics",
    multiple=True,
    metavar="TOPIC[:0,1]",
    shell_complete=complete_topic,
    help="Only this topic, or some of its partitions; may be repeated. [default: all with a committed offset]",
)
@click.option("--dry-run", is_flag=True, help="Print the new offsets without changing anything.")
@json_option
@broker_options
def reset(
    *,
    name: str,
    bootstrap: str | None,
    config: str | None,
    as_json: bool,
    to: str | None,
    by: int | None,
    topics: tuple[str, ...],
    dry_run: bool,
) -> None:
    """Move the committed offsets of a GROUP without members, to read records again or to skip them.

    With --topic, a group that does not exist is created.
    """
    if (to is None) == (by is None):
        raise click.UsageError("give one of --to and --by")
    target = None if to is None else _target(to)
    with asking(bootstrap, config) as cluster:
        _refuse_members(cluster, name)
        committed = admin.committed_offsets(cluster, name)
        places = _places(cluster, topics) if topics else sorted(committed)
        if not places:
            fail(f"group {name} has no committed offsets; name the topics: --topic TOPIC")
        moved = _shifted(cluster, places, committed, by) if target is None else _placed(cluster, places, target)
        if not dry_run:
            for place, error in admin.commit_offsets(cluster, name, moved).items():
                if error is not None:
                    raise KafkaError(error.code, f"{place[0]}-{place[1]}: {error}")
    rows = [(*place, committed[place].offset if place in committed else None, moved[place]) for place in places]
    if as_json:
        print_json([dict(zip(("topic", "partition", "before", "after"), row, strict=True)) for row in rows])
        return
    print_table(("TOPIC", "PARTITION", "BEFORE", "AFTER"), rows)
    if dry_run:
        click.echo("Dry run: nothing was changed.", err=True)


@groups.command(
    epilog="""\b
Example:
  kwire groups delete readers
"""
)
@click.argument("names", metavar="GROUP...", nargs=-1, required=True)
@broker_options
def delete(names: tuple[str, ...], bootstrap: str | None, config: str | None) -> None:
    """Delete groups without members, and their offsets."""
    with asking(bootstrap, config) as cluster:
        for name in names:
            _refuse_members(cluster, name)
            try:
                admin.delete_group(cluster, name)
            except KafkaError as error:
                if error.code is Code.GROUP_ID_NOT_FOUND:
                    fail(f"there is no group {name}")
                raise
            click.echo(f"deleted group {name}")


def _described(cluster: Cluster, name: str) -> dict[str, Any]:
    try:
        group = streams.describe_group_of_any_kind(cluster, name)
    except KafkaError as error:
        if error.code is Code.GROUP_ID_NOT_FOUND:
            fail(f"there is no group {name}")
        raise
    if group.type == shares.SHARE:
        return _described_share_group(cluster, group)
    committed = admin.committed_offsets(cluster, name)
    owners = {
        (topic, index): member
        for member in group.members
        for topic, indexes in member.assignment.items()
        for index in indexes
    }
    places = sorted({*committed, *owners})
    ends = list_offsets(cluster, dict.fromkeys(places, LATEST))
    # Epochs and targets are those of KIP-848.
    epochs = {} if group.epoch is None else {"epoch": group.epoch, "assignment_epoch": group.assignment_epoch}
    return {
        "group": group.id,
        "state": group.state,
        "type": group.type,
        "assignor": group.assignor,
        "coordinator": group.coordinator.id,
        **epochs,
        "members": [
            {
                "id": member.id,
                "instance": member.instance_id,
                "client": member.client_id,
                "host": member.host,
                "partitions": sum(map(len, member.assignment.values())),
                **(
                    {}
                    if member.epoch is None
                    else {"epoch": member.epoch, "assignment": member.assignment, "target": member.target}
                ),
                **({} if member.tasks is None else {"tasks": member.tasks._asdict()}),
            }
            for member in group.members
        ],
        "partitions": [_partition(place, committed, ends, owners.get(place)) for place in places],
    }


def _described_share_group(cluster: Cluster, group: admin.GroupDescription) -> dict[str, Any]:
    """Start offsets are shown as committed ones; a partition may have several members."""
    starts = shares.share_start_offsets(cluster, group.id)
    ends = list_offsets(cluster, dict.fromkeys(starts, LATEST))
    ids = {topic.name: topic.topic_id for topic in cluster.metadata({name for name, _ in starts}).topics}
    again: dict[Place, dict[int, int]] = {}
    for name in sorted({name for name, _ in starts}):
        try:
            counts = shares.delivery_counts(cluster, group.id, name, ids[name], starts)
        except KafkaError as error:
            if error.code is not Code.CLUSTER_AUTHORIZATION_FAILED:
                raise
            break
        again |= {(name, index): each for index, each in counts.items()}
    return {
        "group": group.id,
        "state": group.state,
        "type": group.type,
        "assignor": group.assignor,
        "coordinator": group.coordinator.id,
        "epoch": group.epoch,
        "assignment_epoch": group.assignment_epoch,
        "members": [
            {
                "id": member.id,
                "client": member.client_id,
                "host": member.host,
                "partitions": sum(map(len, member.assignment.values())),
                "epoch": member.epoch,
                "assignment": member.assignment,
            }
            for member in group.members
        ],
        "partitions": [
            {
                "topic": place[0],
                "partition": place[1],
                "start": start.offset,
                "end": end if isinstance(end := ends.get(place), int) else None,
                "lag": start.lag,
                "redelivered": {str(count): size for count, size in sorted(again.get(place, {}).items())},
            }
            for place, start in sorted(starts.items())
        ],
    }


def _partition(
    place: Place,
    committed: Mapping[Place, admin.Committed],
    ends: Mapping[Place, int | KafkaError],
    owner: admin.Member | None,
) -> dict[str, Any]:
    offset = committed[place].offset if place in committed else None
    end = ends.get(place)
    known_end = end if isinstance(end, int) else None
    lag = None if offset is None or known_end is None else known_end - offset
    return {
        "topic": place[0],
        "partition": place[1],
        "committed": offset,
        "end": known_end,
        "lag": lag,
        "member": owner.id if owner else None,
        "client": owner.client_id if owner else None,
        "host": owner.host if owner else None,
    }


def _print_group(group: Mapping[str, Any]) -> None:
    count = len(group["members"])
    members = "no members" if not count else f"{count} member{'s' if count != 1 else ''}"
    assignor = f", assignor {group['assignor']}" if group["assignor"] else ""
    epochs = f", epoch {group['epoch']}, assignment of epoch {group['assignment_epoch']}" if "epoch" in group else ""
    click.echo(f"{group['group']}: {group['state']}, {members}{assignor}{epochs}")
    if group["type"] == shares.SHARE:
        _print_share_group(group)
        return
    if group["partitions"]:
        columns = ("topic", "partition", "committed", "end", "lag", "client", "host")
        print_table(
            [name.upper() for name in columns], [[row[name] for name in columns] for row in group["partitions"]]
        )
    else:
        click.echo("no committed offsets, no assigned partitions")
    if "epoch" in group and group["members"]:
        _print_members(group["members"])
    idle = [member["client"] for member in group["members"] if not member["partitions"]]
    if idle:
        click.echo(f"members without a partition: {', '.join(idle)}")


def _print_members(members: Sequence[Mapping[str, Any]]) -> None:
    if "tasks" in members[0]:
        kinds = ("active", "standby", "warmup")
        print_table(
            ("MEMBER", "CLIENT", "EPOCH", "ACTIVE TASKS", "STANDBY TASKS", "WARM-UP TASKS"),
            [
                (each["id"], each["client"], each["epoch"], *(_places_text(each["tasks"][kind]) for kind in kinds))
                for each in members
            ],
        )
    else:
        print_table(
            ("MEMBER", "CLIENT", "EPOCH", "ASSIGNMENT", "TARGET"),
            [
                (
                    each["id"],
                    each["client"],
                    each["epoch"],
                    _places_text(each["assignment"]),
                    _places_text(each["target"]),
                )
                for each in members
            ],
        )


def _print_share_group(group: Mapping[str, Any]) -> None:
    if group["partitions"]:
        print_table(
            ("TOPIC", "PARTITION", "START", "END", "LAG", "TO DELIVER AGAIN"),
            [
                (
                    *(row[name] for name in ("topic", "partition", "start", "end", "lag")),
                    " ".join(f"{size} (delivered {count}x)" for count, size in row["redelivered"].items()) or None,
                )
                for row in group["partitions"]
            ],
        )
    else:
        click.echo("no start offsets")
    if group["members"]:
        print_table(
            ("MEMBER", "CLIENT", "EPOCH", "ASSIGNMENT"),
            [
                (each["id"], each["client"], each["epoch"], _places_text(each["assignment"]))
                for each in group["members"]
            ],
        )


def _places_text(partitions: Mapping[str, Sequence[int]]) -> str:
    return " ".join(f"{topic}:{','.join(map(str, held))}" for topic, held in sorted(partitions.items())) or "-"


def _refuse_members(cluster: Cluster, name: str) -> None:
    """Fail if a group has members: they would overwrite the offsets with their own commits."""
    try:
        group = streams.describe_group_of_any_kind(cluster, name)
    except KafkaError as error:
        if error.code is Code.GROUP_ID_NOT_FOUND:
            return
        raise
    if group.members:
        clients = ", ".join(sorted({member.client_id for member in group.members}))
        fail(f"group {name} has members ({clients}): stop its consumers first")


def _places(cluster: Cluster, texts: Iterable[str]) -> list[Place]:
    """Read TOPIC and TOPIC:0,1 as partitions. Fails for one that does not exist."""
    known = list_topics(cluster)
    places: list[Place] = []
    for text in texts:
        topic, colon, numbers = text.partition(":")
        if topic not in known:
            fail(missing(topic, known))
        count = len(known[topic].partitions)
        if not colon:
            places += [(topic, index) for index in range(count)]
            continue
        for number in numbers.split(","):
            if not number.strip().isdecimal() or int(number) >= count:
                fail(no_partition(topic, number.strip() or "''", count))
            places.append((topic, int(number)))
    return sorted(set(places))


class _Offset(NamedTuple):
    offset: int


class _Time(NamedTuple):
    """A timestamp, or EARLIEST or LATEST."""

    timestamp_ms: int


def _target(text: str) -> _Offset | _Time:
    """Read the value of --to. Raises click.BadParameter."""
    if text.lower() in ("earliest", "latest"):
        return _Time(EARLIEST if text.lower() == "earliest" else LATEST)
    if re.fullmatch(r"\d+", text):
        return _Offset(int(text))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(
            f"--to {text}: write earliest, latest, an offset, or a time such as 2026-01-31T12:00"
        ) from None
    return _Time(int(moment.timestamp() * 1000))  # without a time zone: local time


def _placed(cluster: Cluster, places: Sequence[Place], target: _Offset | _Time) -> dict[Place, int]:
    if isinstance(target, _Offset):
        return _within(cluster, dict.fromkeys(places, target.offset))
    found = _looked_up(cluster, places, target.timestamp_ms)
    if target.timestamp_ms in (EARLIEST, LATEST):
        return found
    late = [place for place, offset in found.items() if offset < 0]  # no record is that late: use the end
    return found | _looked_up(cluster, late, LATEST)


def _shifted(
    cluster: Cluster, places: Sequence[Place], committed: Mapping[Place, admin.Committed], by: int | None
) -> dict[Place, int]:
    for topic, index in places:
        if (topic, index) not in committed:
            fail(f"the group has no committed offset for {topic}-{index}, so --by cannot move it; use --to")
    return _within(cluster, {place: committed[place].offset + (by or 0) for place in places})


def _within(cluster: Cluster, wanted: Mapping[Place, int]) -> dict[Place, int]:
    """Limit offsets to the range from the first record to the end."""
    first = _looked_up(cluster, list(wanted), EARLIEST)
    end = _looked_up(cluster, list(wanted), LATEST)
    return {place: min(max(offset, first[place]), end[place]) for place, offset in wanted.items()}


def _looked_up(cluster: Cluster, places: Sequence[Place], when: int) -> dict[Place, int]:
    offsets = {}
    for place, offset in list_offsets(cluster, dict.fromkeys(places, when)).items():
        if isinstance(offset, KafkaError):
            raise KafkaError(offset.code, f"{place[0]}-{place[1]}: {offset}")
        offsets[place] = offset
    return offsets
