"""kafka-consumer-groups: list and describe groups, delete them, and delete or move their offsets.

Responsible for: the flags and checks of the official script; its output is in ``group_tables``, new offsets are
computed in ``group_resets``. Must not depend on: the wire.

As in the official script, a command that the broker refuses prints the reason and exits with 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from kwire.cli.admin import groups as admin
from kwire.cli.admin import offsets as admin_offsets
from kwire.cli.connections.client import Cluster
from kwire.cli.connections.connection import ClientError, TimedOut
from kwire.cli.java.exits import Failure
from kwire.cli.java.names import error_line, error_text, hash_order, partition_order
from kwire.cli.java.options import BOOTSTRAP, COMMAND_CONFIG, ZOOKEEPER, Option, Parsed, Wrong, parse
from kwire.cli.java.regex import why_invalid
from kwire.cli.script_twins.common import bootstrap_of, open_cluster, timed_out, warn
from kwire.cli.script_twins.groups import group_resets as resets
from kwire.cli.script_twins.groups import group_tables as tables
from kwire.errors import Code, KafkaError

NAME: Final = "kafka-consumer-groups"
ABOUT: Final = "List and describe consumer groups, delete them, move their offsets."

_ACTIONS: Final = ("list", "describe", "delete", "reset-offsets", "delete-offsets", "validate-regex")
_SCENARIOS: Final = (
    "to-offset",
    "to-earliest",
    "to-current",
    "to-latest",
    "by-duration",
    "to-datetime",
    "from-file",
    "shift-by",
)

OPTIONS: Final = (
    BOOTSTRAP,
    COMMAND_CONFIG,
    ZOOKEEPER,
    Option("list", "List groups."),
    Option("describe", "Show a group's offsets and lag; its members with --members, its state with --state."),
    Option("delete", "Delete groups and their offsets."),
    Option("reset-offsets", "Move a group's offsets; the group must have no members. See --dry-run and --execute."),
    Option("delete-offsets", "Delete a group's offsets of some topics."),
    Option("validate-regex", "Print whether a regular expression is valid.", "REGEX"),
    Option("group", "The group; may be repeated.", "NAME", many=True),
    Option("all-groups", "Every group."),
    Option("topic", "A topic, or topic:0,1 for some of its partitions; may be repeated.", "TOPIC", many=True),
    Option("all-topics", "Every topic of which the group has offsets."),
    Option("offsets", "Describe offsets and lag, which is the default."),
    Option("members", "Describe members."),
    Option("verbose", "Print more: assignments, epochs."),
    Option("state", "With --describe the group's state; with --list the states, or the groups in these.", "STATES",
           optional_value=True),
    Option("type", "With --list the types of groups, or the groups of these types.", "TYPES", optional_value=True),
    Option("timeout", "How long to wait for a rebalancing group.", "MS", number=True, default="30000"),
    *resets.RESET_OPTIONS,
    *resets.RESET_OPTIONS_OF_COMMITTED,
)  # fmt: skip

_STATES: Final = ("PreparingRebalance", "Dead", "Assigning", "Empty", "CompletingRebalance", "Reconciling", "Stable")
_TYPES: Final = ("Consumer", "Classic")

# option -> the actions it goes with
_GOES_WITH: Final = {
    "group": ("describe", "delete", "reset-offsets", "delete-offsets"),
    "all-groups": ("describe", "delete", "reset-offsets", "delete-offsets"),
    "topic": ("reset-offsets", "delete-offsets"),
    "type": ("list",),
    "offsets": ("describe",),
    "members": ("describe",),
    "verbose": ("describe",),
    "state": ("describe", "list"),
}


def main(argv: Sequence[str]) -> int:
    try:
        parsed = parse(NAME, ABOUT, OPTIONS, argv)
    except Wrong as error:
        raise Failure(f"{error}\nOptions: {NAME} --help") from error
    action = _check(parsed)
    if action == "validate-regex":
        return _validate_regex(parsed)
    try:
        with open_cluster(parsed, NAME, bootstrap_of(parsed)) as cluster:
            _RUN[action](parsed, cluster)
    except TimedOut as error:
        _print_failure(f"org.apache.kafka.common.errors.TimeoutException: {timed_out(error, _CALLS[action])}")
    except KafkaError as error:
        _print_failure(error_line(error) if action == "describe" else error_text(error))
    except (ClientError, Wrong) as error:
        _print_failure(str(error))
    return 0


def _print_failure(reason: str) -> None:
    print(f"\nError: Executing consumer group command failed due to {reason}")


def _check(parsed: Parsed) -> str:
    """Refuse invalid combinations, with the official messages; return the action."""
    actions = [action for action in _ACTIONS if parsed.has(action)]
    if not actions:
        parsed.refuse(
            "Command must include exactly one action: --list, --describe, --delete, --reset-offsets, --delete-offsets,"
            " --validate-regex"
        )
    if parsed.has("validate-regex"):
        return "validate-regex"
    if not (parsed.has("bootstrap-server") or parsed.has("zookeeper")):
        parsed.refuse('Missing required argument "[bootstrap-server]"')
    if parsed.has("describe"):
        _check_describe(parsed)
    if parsed.has("delete"):
        _check_groups(parsed, "delete")
        if parsed.has("topic"):
            parsed.refuse("The consumer does not support topic-specific offset deletion from a consumer group.")
    if parsed.has("delete-offsets") and not (parsed.has("group") and parsed.has("topic")):
        parsed.refuse("Option [delete-offsets] takes the following options: [topic], [group]")
    if parsed.has("reset-offsets"):
        _check_reset(parsed)
    parsed.forbid("group", ("all-groups",))
    if len(actions) > 1:
        parsed.refuse(f'Option "[{actions[0]}]" can\'t be used with option "[{actions[1]}]"')
    for option, fitting in _GOES_WITH.items():
        if actions[0] not in fitting:
            parsed.forbid(option, actions)
    return actions[0]


def _check_groups(parsed: Parsed, action: str) -> None:
    if not (parsed.has("group") or parsed.has("all-groups")):
        parsed.refuse(f"Option [{action}] takes one of these options: [group], [all-groups]")


def _check_describe(parsed: Parsed) -> None:
    _check_groups(parsed, "describe")
    if parsed.count(("members", "offsets", "state")) > 1:
        parsed.refuse("Option [describe] takes at most one of these options: [members], [offsets], [state]")
    if parsed.has("state") and parsed.value("state"):
        parsed.refuse("Option [describe] does not take a value for [state]")


def _check_reset(parsed: Parsed) -> None:
    if parsed.has("dry-run") and parsed.has("execute"):
        parsed.refuse("Option [reset-offsets] only accepts one of [execute] and [dry-run]")
    if not (parsed.has("dry-run") or parsed.has("execute")):
        warn(
            "WARN: No action will be performed as the --execute option is missing. In version 5.0, this command will"
            " require either --dry-run or --execute to be specified. You should add the --dry-run option explicitly if"
            " you are scripting this command and want to keep the current default behavior without prompting."
        )
    _check_groups(parsed, "reset-offsets")
    given = [scenario for scenario in _SCENARIOS if parsed.has(scenario)]
    if len(given) > 1:
        parsed.refuse(f'Option "[{given[0]}]" can\'t be used with option "[{given[1]}]"')
    if not parsed.has("from-file") and not (parsed.has("topic") or parsed.has("all-topics")):
        parsed.refuse("One of the reset scopes should be defined: --all-topics, --topic.")
    if not given:
        scenarios = ", ".join(f"[{scenario}]" for scenario in _SCENARIOS)
        parsed.refuse(f"Option '[reset-offsets]' requires one of the following scenarios: [{scenarios}]")


def _list(parsed: Parsed, cluster: Cluster) -> None:
    parsed.number("timeout")  # unused here, but the official script reads it too
    states = _words(parsed, "state", _STATES, "state")
    types = _words(parsed, "type", _TYPES, "types")
    found = {
        group.id: group
        for group in admin.list_groups(cluster, states=states, types=types)
        if group.protocol_type in ("", admin.CONSUMER_PROTOCOL)
        and group.type in ("", *_TYPES)
        and (not states or group.state in states)
        and (not types or group.type in types)
    }
    groups = [found[name] for name in hash_order(found)]
    if not (parsed.has("state") or parsed.has("type")):
        for group in groups:
            print(group.id)
        return
    tables.print_listing(groups, with_type=parsed.has("type"), with_state=parsed.has("state"))


def _words(parsed: Parsed, option: str, known: Sequence[str], plural: str) -> list[str]:
    """Read a list of states or types, ignoring case; refuse unknown ones."""
    text = parsed.value(option)
    if not text:
        return []
    by_lower = {word.lower(): word for word in known}
    words = [by_lower.get(word.strip().lower()) for word in text.split(",")]
    if None in words:
        parsed.refuse(f"Invalid {plural} list '{text}'. Valid {option}s are: {', '.join(known)}")
    return [word for word in words if word is not None]


def _describe(parsed: Parsed, cluster: Cluster) -> None:
    timeout_ms = parsed.number("timeout")
    if timeout_ms is not None:
        cluster.timeout_s = timeout_ms / 1000
    names = sorted(_groups(parsed, cluster))
    described = [admin.describe_group(cluster, name) for name in names]
    for group in described:
        if parsed.has("members"):
            tables.print_members(group, verbose=parsed.has("verbose"))
        elif parsed.has("state"):
            tables.print_state(group, verbose=parsed.has("verbose"))
        else:
            tables.print_offsets(group, _rows(cluster, group), verbose=parsed.has("verbose"))


def _rows(cluster: Cluster, group: admin.GroupDescription) -> list[tables.Row]:
    """Each partition of a group: those that members have, the busiest member first, then those with an offset alone."""
    committed = admin.committed_offsets(cluster, group.id)
    owners: dict[tuple[str, int], admin.Member] = {}
    places: list[tuple[str, int]] = []
    idle: list[tables.Row] = []
    for member in sorted(group.members, key=lambda each: -sum(map(len, each.assignment.values()))):
        mine = [(topic, index) for topic, indexes in member.assignment.items() for index in indexes]
        if not mine:
            idle.append(tables.Row(None, None, None, member))
        owners |= dict.fromkeys(mine, member)
        places += sorted(mine)
    places += sorted(place for place in committed if place not in owners)
    ends = admin_offsets.list_offsets(cluster, dict.fromkeys(places, admin_offsets.LATEST))
    rows = []
    for place in places:
        end = ends.get(place)
        rows.append(tables.Row(place, committed.get(place), end if isinstance(end, int) else None, owners.get(place)))
    return rows + idle


def _groups(parsed: Parsed, cluster: Cluster) -> list[str]:
    if parsed.has("all-groups"):
        listed = admin.list_groups(cluster)
        names = hash_order(group.id for group in listed if group.protocol_type in ("", admin.CONSUMER_PROTOCOL))
    else:
        names = parsed.values("group")
    return hash_order(names, capacity=len(names))


def _delete(parsed: Parsed, cluster: Cluster) -> None:
    failed: dict[str, KafkaError] = {}
    names = _groups(parsed, cluster)
    for name in names:
        try:
            admin.delete_group(cluster, name)
        except KafkaError as error:
            failed[name] = error
    deleted = ", ".join(f"'{name}'" for name in names if name not in failed)
    if not failed:
        print(f"Deletion of requested consumer groups ({deleted}) was successful.")
        return
    print("\nError: Deletion of some consumer groups failed:")
    for name, reason in failed.items():
        print(f"* Group '{name}' could not be deleted due to: {error_line(reason)}")
    if deleted:
        print(f"\nThese consumer groups were deleted successfully: {deleted}")


def _delete_offsets(parsed: Parsed, cluster: Cluster) -> None:
    name = parsed.text("group")
    wanted = resets.partitions_of(parsed, cluster, parsed.values("topic"), unknown_is_fatal=False)
    results: dict[tuple[str, int], KafkaError | None] = {}
    whole: KafkaError | None = None
    known = [place for place in wanted if place[1] >= 0]
    try:
        results = admin.delete_offsets(cluster, name, known) if known else {}
    except KafkaError as error:
        whole = error
        results = dict.fromkeys(known, error)
    if whole is not None:
        print(f"\nError: {error_text(whole)}")
    elif any(results.values()):
        print("\nError: Encountered some partition-level error, see the follow-up details.")
    else:
        print(f"Request succeeded for deleting offsets from group {name}.")
    unknown = KafkaError(Code.UNKNOWN_TOPIC_OR_PARTITION)
    results |= {place: unknown for place in wanted if place[1] < 0}
    tables.print_deletions(results)


def _reset(parsed: Parsed, cluster: Cluster) -> None:
    plans: dict[str, dict[tuple[str, int], int]] = {}
    for name in _groups(parsed, cluster):
        state = _state(cluster, name)
        if state not in ("Empty", "Dead"):
            print(
                f"\nError: Assignments can only be reset if the group '{name}' is inactive,"
                f" but the current state is {state}."
            )
            plans[name] = {}
            continue
        plan = resets.plan(parsed, cluster, name, len(parsed.values("group")))
        plans[name] = {place: plan[place] for place in partition_order(plan)}
        if parsed.has("execute") and plan:
            for error in admin.commit_offsets(cluster, name, plan).values():
                if error is not None:
                    raise error
    if parsed.has("export"):
        print(resets.csv_of(plans, with_group=len(plans) > 1))
    else:
        tables.print_plans(plans)


def _state(cluster: Cluster, name: str) -> str:
    try:
        return admin.describe_group(cluster, name).state
    except KafkaError as error:
        if error.code is not Code.GROUP_ID_NOT_FOUND:
            raise
        return "Dead"


def _validate_regex(parsed: Parsed) -> int:
    expression = parsed.text("validate-regex")
    reason = why_invalid(expression)
    state = "valid" if reason is None else f"invalid: {reason}"
    print(f"The regular expression `{expression}` is {state}.")
    return 0


_RUN: Final[dict[str, Callable[[Parsed, Cluster], None]]] = {
    "list": _list,
    "describe": _describe,
    "delete": _delete,
    "delete-offsets": _delete_offsets,
    "reset-offsets": _reset,
}
_CALLS: Final = {
    "list": "listGroups",
    "describe": "describeConsumerGroups(api=FIND_COORDINATOR)",
    "delete": "deleteConsumerGroups(api=FIND_COORDINATOR)",
    "delete-offsets": "deleteConsumerGroupOffsets(api=FIND_COORDINATOR)",
    "reset-offsets": "describeConsumerGroups(api=FIND_COORDINATOR)",
}
