"""``kwire ctl reset``, ``snapshot``, ``fork``, ``seed``, ``records``, ``export``: the state of a broker.

Responsible for: these commands. Must not depend on: how the broker keeps its state.
"""

from __future__ import annotations

from pathlib import Path

import click

from kwire.cli.control.control_command import CommandClient, examples, fail, pair, path, query, show


@click.command(epilog=examples("kwire ctl reset"))
@click.pass_obj
def reset(client: CommandClient) -> None:
    """Empty the broker: topics, groups, users, ACLs, rules.

    Topics and users that its command line names are made again. Clients see a restart.
    """
    show(client.call("POST", "/v1/reset"))


@click.group(
    short_help="Store the state of the broker, and restore it.",
    epilog=examples("kwire ctl snapshot make loaded", "kwire ctl snapshot restore loaded"),
)
def snapshot() -> None:
    """Snapshots are kept in memory under a name, or written to a directory."""


@snapshot.command(epilog=examples("kwire ctl snapshot make loaded"))
@click.argument("name")
@click.pass_obj
def make(client: CommandClient, name: str) -> None:
    """Store the state under a name."""
    show(client.call("POST", "/v1/snapshots", {"name": name}))


@snapshot.command(epilog=examples("kwire ctl snapshot restore loaded"))
@click.argument("name")
@click.pass_obj
def restore(client: CommandClient, name: str) -> None:
    """Replace the state by a snapshot; clients see a restart."""
    show(client.call("POST", path("snapshots", name, "restore")))


@snapshot.command(name="list", epilog=examples("kwire ctl snapshot list"))
@click.pass_obj
def list_snapshots(client: CommandClient) -> None:
    """Show the snapshots with their sizes."""
    show(client.call("GET", "/v1/snapshots"))


@snapshot.command(epilog=examples("kwire ctl snapshot remove loaded"))
@click.argument("name")
@click.pass_obj
def remove(client: CommandClient, name: str) -> None:
    """Remove a snapshot."""
    show(client.call("DELETE", path("snapshots", name)))


@snapshot.command(epilog=examples("kwire ctl snapshot save ./loaded"))
@click.argument("directory")
@click.pass_obj
def save(client: CommandClient, directory: str) -> None:
    """Write the state to a new directory.

    The directory is on the broker's machine; kwire serve --data and Apache Kafka can use it.
    """
    show(client.call("POST", "/v1/snapshots", {"directory": str(Path(directory).absolute())}))


@snapshot.command(epilog=examples("kwire ctl snapshot load ./loaded"))
@click.argument("directory")
@click.pass_obj
def load(client: CommandClient, directory: str) -> None:
    """Replace the state by that of a data directory on the broker's machine."""
    show(client.call("POST", "/v1/restore", {"directory": str(Path(directory).absolute())}))


@click.group(
    short_help="Start copies of the broker.", epilog=examples("kwire ctl fork start", "kwire ctl fork end fork-1")
)
def fork() -> None:
    """A copy has the broker's present state, in memory, and its own ports and control."""


@fork.command(epilog=examples("kwire ctl fork start"))
@click.pass_obj
def start(client: CommandClient) -> None:
    """Start a copy, and print its addresses."""
    show(client.call("POST", "/v1/forks"))


@fork.command(name="list", epilog=examples("kwire ctl fork list"))
@click.pass_obj
def list_forks(client: CommandClient) -> None:
    """Show the copies that run."""
    show(client.call("GET", "/v1/forks"))


@fork.command(epilog=examples("kwire ctl fork end fork-1"))
@click.argument("name")
@click.pass_obj
def end(client: CommandClient, name: str) -> None:
    """End a copy."""
    show(client.call("DELETE", path("forks", name)))


@click.command(epilog=examples("kwire ctl seed seed.json", "kwire ctl export orders > seed.json"))
@click.argument("file", type=click.Path())
@click.pass_obj
def seed(client: CommandClient, file: str) -> None:
    """Fill the broker from a file.

    The file has topics, configs, users, ACLs and records, or names .jsonl and .csv files with records;
    docs/testing-state.md has the format.
    """
    from kwire.control.seeding.seed_error import SeedError
    from kwire.control.seeding.seeds import load_document, read_seed

    try:
        document = load_document(file)
        read_seed(document)
    except SeedError as error:
        fail(str(error))
    show(client.call("POST", "/v1/seed", document))


@click.command(
    epilog=examples(
        "kwire ctl happen rebalance group=billing",
        "kwire ctl happen member_fenced group=billing client_id=worker-1",
        "kwire ctl happen leader_epoch_bumped topic=orders partition=0",
    )
)
@click.argument("event")
@click.argument("pairs", nargs=-1, metavar="[KEY=VALUE...]")
@click.pass_obj
def happen(client: CommandClient, event: str, pairs: tuple[str, ...]) -> None:
    """Trigger an event, such as a rebalance.

    Events: leader_epoch_bumped (topic, partition), coordinator_moved (group or transactional_id), rebalance (group),
    member_fenced (group, and member_id or client_id), producer_fenced (transactional_id), transaction_left_hanging
    (topic, partition), locks_expired (group). docs/faults.md explains each.
    """
    show(client.call("POST", "/v1/events", {**dict(pair(each) for each in pairs), "event": event}))


@click.group(
    short_help="Record requests and answers, for kwire replay.",
    epilog=examples("kwire ctl record start field.jsonl", "kwire ctl record stop"),
)
def record() -> None:
    """A recording has requests and answers with their records; kwire replay sends the requests again."""


@record.command(name="start", epilog=examples("kwire ctl record start field.jsonl"))
@click.argument("file", type=click.Path())
@click.pass_obj
def start_recording(client: CommandClient, file: str) -> None:
    """Record to a new file on the broker's machine."""
    show(client.call("POST", "/v1/recording", {"file": str(Path(file).absolute())}))


@record.command(name="show", epilog=examples("kwire ctl record show"))
@click.pass_obj
def show_recording(client: CommandClient) -> None:
    """Show the recording in progress."""
    show(client.call("GET", "/v1/recording"))


@record.command(name="stop", epilog=examples("kwire ctl record stop"))
@click.pass_obj
def stop_recording(client: CommandClient) -> None:
    """End the recording."""
    show(client.call("DELETE", "/v1/recording"))


@click.command(epilog=examples("kwire ctl export orders > seed.json"))
@click.argument("topic")
@click.pass_obj
def export(client: CommandClient, topic: str) -> None:
    """Print a topic with its configs and records as a seed."""
    show(client.call("GET", path("topics", topic, "export")))


@click.command(epilog=examples("kwire ctl records orders --last 5", "kwire ctl records orders -p 1 --offset 100"))
@click.argument("topic")
@click.option("-p", "--partition", type=click.IntRange(min=0), help="Records of this partition only.")
@click.option("--offset", type=click.IntRange(min=0), help="The first offset. [default: the last records]")
@click.option("--last", type=click.IntRange(min=1), default=10, show_default=True, help="Records of each partition.")
@click.pass_obj
def records(client: CommandClient, topic: str, partition: int | None, offset: int | None, last: int) -> None:
    """Show records, without a consumer group."""
    show(
        client.call(
            "GET", path("topics", topic, "records") + query({"partition": partition, "offset": offset, "last": last})
        )
    )


COMMANDS = (reset, snapshot, fork, record, seed, happen, export, records)
