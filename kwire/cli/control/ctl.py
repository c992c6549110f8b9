"""``kwire ctl``: faults, clock, request log and state of a broker that was started with ``--control``.

Responsible for: the command line and its output. Must not depend on: how the broker answers HTTP.

Exit codes: 0 done; 1 the broker refused or cannot be reached; 3 the time of a wait is over.
"""

from __future__ import annotations

import sys
from typing import Any

import click

from kwire.cli.control.control_command import CommandClient, control_options, examples, pair, path, query, show
from kwire.cli.control.ctl_state import COMMANDS as STATE_COMMANDS
from kwire.cli.control.ctl_views import COMMANDS as VIEW_COMMANDS
from kwire.cli.durations import duration


class _OptionsAnywhere(click.Group):
    """Its own options may come after a command too, as those of other programs do."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [*_own_options(args), *args])


def _own_options(args: list[str]) -> list[str]:
    """Take ``--url`` and ``--token`` with their values out of the arguments."""
    taken: list[str] = []
    place = 0
    while place < len(args) and args[place] != "--":
        name, equals, _ = args[place].partition("=")
        if name not in ("--url", "--token"):
            place += 1
            continue
        end = place + (1 if equals else 2)
        taken += args[place:end]
        if end > len(args):
            args.clear()  # it lacks its value, and takes none of the arguments before it
        del args[place:end]
    return taken


@click.group(
    cls=_OptionsAnywhere,
    epilog=examples(
        "kwire serve --control 9644",
        "kwire ctl faults add api=Produce topic=orders error=NOT_LEADER_OR_FOLLOWER times=2",
        "kwire ctl faults wait fault-1",
        "kwire ctl clock advance 1h",
        "kwire ctl requests --follow --api Produce",
    ),
)
@control_options
@click.pass_context
def ctl(ctx: click.Context, url: str, token: str | None) -> None:
    """Control a broker, or a proxy, that was started with --control.

    It prints JSON; kwire ctl requests prints lines on a terminal. Exit code 1 when the broker refuses, 3 when the time
    of a wait is over.
    """
    ctx.obj = CommandClient(url if "://" in url else f"http://{url}", token)


@ctl.group(
    short_help="Arm and disarm rules that disturb requests.",
    epilog=examples("kwire ctl faults add api=Produce drop=true times=1", "kwire ctl faults list"),
)
def faults() -> None:
    """Rules that disturb requests."""


@faults.command(
    name="add",
    epilog=examples(
        "kwire ctl faults add api=Produce topic=orders partition=1 error=NOT_LEADER_OR_FOLLOWER times=2",
        "kwire ctl faults add api=Fetch,Produce client_id=billing delay_ms=500 probability=0.1",
        "kwire ctl faults add name=stuck api=OffsetCommit group=billing hold=true",
    ),
)
@click.argument("pairs", nargs=-1, required=True, metavar="KEY=VALUE...")
@click.pass_obj
def add(client: CommandClient, pairs: tuple[str, ...]) -> None:
    """Arm a rule: for which requests, when, and one effect.

    Which requests: api, versions, topic, partition, group, transactional_id, client_id, principal, listener. Without
    them: all.

    When: skip (serve so many first), times (at most so many), probability and seed, from_ms and until_ms (of the
    broker's clock).

    Effect, one of: error, delay_ms, hold, drop, close, reset, throttle_ms, truncate, garbage, corrupt_records, set,
    stale; of files: disk_full, io_error, fsync_error, fsync_ms. done=true: after the request has taken effect. level:
    the level of an error in the response.

    name: the name of the rule. docs/faults.md explains each key.
    """
    show(client.call("POST", "/v1/faults", dict(pair(each) for each in pairs)))


@faults.command(name="list", epilog=examples("kwire ctl faults list"))
@click.pass_obj
def list_faults(client: CommandClient) -> None:
    """Show the rules that are armed, with their counts."""
    show(client.call("GET", "/v1/faults"))


@faults.command(name="show", epilog=examples("kwire ctl faults show fault-1"))
@click.argument("name")
@click.pass_obj
def show_fault(client: CommandClient, name: str) -> None:
    """Show one rule."""
    show(client.call("GET", path("faults", name)))


@faults.command(epilog=examples("kwire ctl faults remove fault-1"))
@click.argument("name")
@click.pass_obj
def remove(client: CommandClient, name: str) -> None:
    """Disarm a rule; requests that it holds continue."""
    show(client.call("DELETE", path("faults", name)))


@faults.command(epilog=examples("kwire ctl faults clear"))
@click.pass_obj
def clear(client: CommandClient) -> None:
    """Disarm all rules."""
    show(client.call("DELETE", "/v1/faults"))


@faults.command(epilog=examples("kwire ctl faults release stuck"))
@click.argument("name")
@click.pass_obj
def release(client: CommandClient, name: str) -> None:
    """Let the requests that a rule holds continue."""
    show(client.call("POST", path("faults", name, "release")))


@faults.command(name="wait", epilog=examples("kwire ctl faults wait fault-1 --times 2 --timeout 30s"))
@click.argument("name")
@click.option("--times", type=click.IntRange(min=1), default=1, show_default=True, help="How many requests.")
@click.option("--timeout", type=duration, default="10s", show_default=True, help="How long to wait, in real time.")
@click.pass_obj
def wait_fault(client: CommandClient, name: str, times: int, timeout: int) -> None:
    """Wait until a rule has disturbed that many requests.

    Exit code 3 if the time is over first.
    """
    show(client.call("POST", path("faults", name, "wait"), {"times": times, "timeout_ms": timeout}))


@ctl.group(
    short_help="Show the clock of the broker and move it.",
    epilog=examples("kwire ctl clock advance 1h", "kwire ctl clock rate 0"),
)
def clock() -> None:
    """The clock that sessions, rebalances, retention, transactions and quotas follow."""


@clock.command(name="show", epilog=examples("kwire ctl clock show"))
@click.pass_obj
def show_clock(client: CommandClient) -> None:
    """Show the time and the rate."""
    show(client.call("GET", "/v1/clock"))


@clock.command(epilog=examples("kwire ctl clock advance 90s"))
@click.argument("by", type=duration, metavar="DURATION")
@click.pass_obj
def advance(client: CommandClient, by: int) -> None:
    """Move the clock forward, such as by 90s or 2h."""
    show(client.call("POST", "/v1/clock", {"advance_ms": by}))


@clock.command(epilog=examples("kwire ctl clock rate 0", "kwire ctl clock rate 10"))
@click.argument("times", type=click.FloatRange(min=0))
@click.pass_obj
def rate(client: CommandClient, times: float) -> None:
    """Set how fast the clock runs: 1 is real time, 0 stops it."""
    show(client.call("POST", "/v1/clock", {"rate": times}))


@ctl.command(epilog=examples("kwire ctl requests --api Produce --last 5", "kwire ctl requests --follow --topic orders"))
@click.option("--api", metavar="NAME", help="Requests of this API, such as Produce.")
@click.option("--client-id", metavar="ID", help="Requests of this client.id.")
@click.option("--principal", metavar="TYPE:NAME", help="Requests of this principal, such as User:alice.")
@click.option("--topic", metavar="NAME", help="Requests that name this topic.")
@click.option("--group", metavar="ID", help="Requests that name this group.")
@click.option("--last", type=click.IntRange(min=0), default=20, show_default=True, help="How many.")
@click.option("--follow", is_flag=True, help="Print each request from now on, one line of JSON each.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole requests and answers on a terminal too.")
@click.pass_obj
def requests(client: CommandClient, /, *, last: int, follow: bool, as_json: bool, **wanted: str | None) -> None:
    """Show the last requests, decoded, with their answers.

    On a terminal each is one line: time, client, API, subject, outcome. With --json, or where the output goes to a file
    or another program, it is JSON with all fields.
    """
    if not follow and not as_json and sys.stdout.isatty():
        _, lines = client.call("GET", "/v1/requests" + query({**wanted, "last": last, "form": "lines"}))
        for line in lines:
            click.echo(line)
        return
    if not follow:
        show(client.call("GET", "/v1/requests" + query({**wanted, "last": last})))
        return
    for line in client.lines("/v1/requests/stream" + query(wanted)):
        click.echo(line)


@ctl.command(epilog=examples("kwire ctl wait --api Produce --topic orders acks=-1 --timeout 30s"))
@click.argument("pairs", nargs=-1, metavar="[KEY=VALUE...]")
@click.option("--api", metavar="NAME", help="Requests of this API, such as Produce.")
@click.option("--client-id", metavar="ID", help="Requests of this client.id.")
@click.option("--topic", metavar="NAME", help="Requests that name this topic.")
@click.option("--group", metavar="ID", help="Requests that name this group.")
@click.option("--times", type=click.IntRange(min=1), default=1, show_default=True, help="How many requests.")
@click.option("--since", type=click.IntRange(min=0), default=0, help="Count requests with a number above this one.")
@click.option("--timeout", type=duration, default="10s", show_default=True, help="How long to wait, in real time.")
@click.pass_obj
def wait(
    client: CommandClient, /, pairs: tuple[str, ...], *, times: int, since: int, timeout: int, **wanted: str | None
) -> None:
    """Wait until the broker has received requests.

    Exit code 3 if they did not arrive in time. KEY=VALUE are fields of the request, such as acks=-1.
    """
    body: dict[str, Any] = {name: value for name, value in wanted.items() if value is not None}
    body |= {"times": times, "since": since, "timeout_ms": timeout, "fields": dict(pair(each) for each in pairs)}
    show(client.call("POST", "/v1/requests/wait", body))


@ctl.command(epilog=examples("kwire ctl topics", "kwire ctl topics orders"))
@click.argument("topic", required=False)
@click.pass_obj
def topics(client: CommandClient, topic: str | None) -> None:
    """Show the topics with the offsets of their partitions, or one with its configs, leaders, replicas and sizes."""
    show(client.call("GET", "/v1/topics" if topic is None else path("topics", topic)))


for _command in (*STATE_COMMANDS, *VIEW_COMMANDS):
    ctl.add_command(_command)
