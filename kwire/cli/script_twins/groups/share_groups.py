"""kafka-share-groups: list and describe share groups, delete them, and delete or reset their start offsets.

Responsible for: the flags, checks and output of the official script. Must not depend on: the wire.

As in the official script, a command that the broker refuses prints the reason and exits with 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from kwire.cli.admin import groups as admin
from kwire.cli.admin import share_groups as shares
from kwire.cli.connections.client import Cluster
from kwire.cli.connections.connection import ClientError, TimedOut
from kwire.cli.java.exits import Failure
from kwire.cli.java.names import error_line, error_text, exception_class, hash_order, partition_order
from kwire.cli.java.options import BOOTSTRAP, COMMAND_CONFIG, Option, Parsed, Wrong, parse
from kwire.cli.script_twins.common import bootstrap_of, open_cluster, timed_out, warn
from kwire.cli.script_twins.groups import group_resets as resets
from kwire.cli.script_twins.groups import group_tables as tables
from kwire.errors import Code, KafkaError

NAME: Final = "kafka-share-groups"
ABOUT: Final = "List and describe share groups, delete them, delete or reset their start offsets."

OPTIONS: Final = (
    BOOTSTRAP,
    COMMAND_CONFIG,
    Option("list", "List share groups."),
    Option("describe", "Show a group's start offsets; its members with --members, its state with --state."),
    Option("delete", "Delete groups."),
    Option("reset-offsets", "Move the start offsets of a group without members; --dry-run or --execute."),
    Option("delete-offsets", "Delete a group's start offsets of some topics."),
    Option("group", "The group; may be repeated.", "NAME", many=True),
    Option("all-groups", "Every share group."),
    Option("topic", "A topic, or topic:0,1 for some of its partitions; may be repeated.", "TOPIC", many=True),
    Option("all-topics", "Every topic of which the group has start offsets."),
    Option("offsets", "Describe start offsets, which is the default."),
    Option("members", "Describe members."),
    Option("verbose", "Print more: epochs."),
    Option("state", "With --describe the group's state; with --list the states, or the groups in these.", "STATES",
           optional_value=True),
    Option("timeout", "How long the command may take.", "MS", number=True, default="30000"),
    *resets.RESET_OPTIONS,
    Option("to-current", "Keep the current start offset."),
)  # fmt: skip

_ACTIONS: Final = ("list", "describe", "delete", "reset-offsets", "delete-offsets")
_SCENARIOS: Final = ("to-offset", "to-datetime", "to-earliest", "to-latest", "to-current", "from-file")
_SCOPES: Final = ("topic", "all-topics", "from-file")
_STATES: Final = ("Dead", "Empty", "Stable")
_GOES_WITH: Final = {
    "group": ("describe", "delete", "reset-offsets", "delete-offsets"),
    "topic": ("reset-offsets", "delete-offsets"),
}
_COLUMN_MIN: Final = 15


def main(argv: Sequence[str]) -> int:
    try:
        parsed = parse(NAME, ABOUT, OPTIONS, argv)
    except Wrong as error:
        raise Failure(f"{error}\nOptions: {NAME} --help") from error
    action = _check(parsed)
    try:
        with open_cluster(parsed, NAME, bootstrap_of(parsed)) as cluster:
            cluster.timeout_s = (parsed.number("timeout") or 0) / 1000
            _RUN[action](parsed, cluster)
    except TimedOut as error:
        _print_failure(f"org.apache.kafka.common.errors.TimeoutException: {timed_out(error, _CALLS[action])}")
    except KafkaError as error:
        _print_failure(error_line(error) if action in ("describe", "list") else error_text(error))
    except (ClientError, Wrong) as error:
        _print_failure(str(error))
    return 0


def _print_failure(reason: str) -> None:
    print(f"\nError: Executing share group command failed due to {reason}")


# --- options
# -----------------------------------------------------------------------------------------------------------


def _check(parsed: Parsed) -> str:
    """Refuse invalid combinations, with the official messages; return the action."""
    parsed.require("bootstrap-server")
    if parsed.has("describe"):
        _check_describe(parsed)
    if parsed.has("delete"):
        _check_delete(parsed)
    if parsed.has("delete-offsets") and not (parsed.has("group") and parsed.has("topic")):
        parsed.refuse("Option [delete-offsets] takes the following options: [group], [topic]")
    if parsed.has("reset-offsets"):
        _check_reset(parsed)
    parsed.forbid("group", ("all-groups",))
    actions = [action for action in _ACTIONS if parsed.has(action)]
    for option, fitting in _GOES_WITH.items():
        parsed.forbid(option, [action for action in actions if action not in fitting])
    if len(actions) != 1:
        parsed.refuse(
            "Command must include exactly one action: --list, --describe, --delete, --reset-offsets, --delete-offsets."
        )
    return actions[0]


def _check_describe(parsed: Parsed) -> None:
    if not (parsed.has("group") or parsed.has("all-groups")):
        parsed.refuse("Option [describe] takes one of these options: [all-groups], [group]")
    if parsed.count(("members", "offsets", "state")) > 1:
        parsed.refuse("Option [describe] takes at most one of these options: [members], [offsets], [state]")
    if parsed.has("state") and parsed.value("state"):
        parsed.refuse("Option [describe] does not take a value for [state]")


def _check_delete(parsed: Parsed) -> None:
    if not (parsed.has("group") or parsed.has("all-groups")):
        parsed.refuse("Option [delete] takes the options [group] or [all-groups].")
    if parsed.has("group") and parsed.has("all-groups"):
        parsed.refuse("Option [delete] takes either [group] or [all-groups], not both.")
    if parsed.has("topic") or parsed.has("all-topics"):
        parsed.refuse("Option [delete] does not take the options [topic] or [all-topics].")


def _check_reset(parsed: Parsed) -> None:
    if parsed.has("dry-run") and parsed.has("execute"):
        parsed.refuse("Option [reset-offsets] only accepts one of [execute] and [dry-run]")
    if not (parsed.has("dry-run") or parsed.has("execute")):
        parsed.refuse("Option [reset-offsets] takes the option: [execute] or [dry-run]")
    if not parsed.has("group"):
        parsed.refuse("Option [reset-offsets] takes the option: [group]")
    if not any(map(parsed.has, _SCOPES)):
        parsed.refuse("Option [reset-offsets] takes one of these options: [all-topics], [from-file], [topic]")
    for scope in _SCOPES:
        parsed.forbid(scope, [each for each in _SCOPES if each != scope])
    if not any(map(parsed.has, _SCENARIOS)):
        names = ", ".join(f"[{each}]" for each in sorted(_SCENARIOS))
        parsed.refuse(f"Option [reset-offsets] takes one of these options: {names}")
    for scenario in _SCENARIOS:
        parsed.forbid(scenario, [each for each in _SCENARIOS if each != scenario])


# --- actions
# -----------------------------------------------------------------------------------------------------------


def _list(parsed: Parsed, cluster: Cluster) -> None:
    if not parsed.has("state"):
        for name in _share_groups(cluster):
            print(name)
        return
    text = parsed.value("state")
    states: list[str] = []
    for word in text.split(",") if text else ():
        state = word.strip().capitalize()
        if state not in _STATES:
            parsed.refuse(f"Invalid state list '{text}'. Valid states are: {', '.join(_STATES)}")
        states.append(state)
    listed = {each.id: each for each in admin.list_groups(cluster, states=states, types=[shares.SHARE])}
    groups = [listed[name] for name in hash_order(name for name, each in listed.items() if each.type == shares.SHARE)]
    width = max([_COLUMN_MIN, *(len(each.id) for each in groups)])
    print(f"{'GROUP':<{width}} STATE")
    for each in groups:
        print(f"{each.id:<{width}} {each.state}")


def _share_groups(cluster: Cluster) -> list[str]:
    listed = admin.list_groups(cluster, types=[shares.SHARE])
    return hash_order(each.id for each in listed if each.type == shares.SHARE)


def _describe(parsed: Parsed, cluster: Cluster) -> None:
    names = _share_groups(cluster) if parsed.has("all-groups") else dict.fromkeys(parsed.values("group"))
    described = [shares.describe_share_group(cluster, name) for name in sorted(names)]
    for group in described:
        if parsed.has("members"):
            _print_members(group, verbose=parsed.has("verbose"))
        elif parsed.has("state"):
            _print_state(group, verbose=parsed.has("verbose"))
        else:
            _print_offsets(group, shares.share_start_offsets(cluster, group.id), verbose=parsed.has("verbose"))


def _print_offsets(
    group: admin.GroupDescription, starts: Mapping[shares.Place, shares.StartOffset], *, verbose: bool
) -> None:
    if not starts:
        print(f"\nShare group '{group.id}' has no offset information.")
        return
    groups = max(_COLUMN_MIN, len(group.id))
    topics = max([_COLUMN_MIN, *(len(topic) for topic, _ in starts)])

    def show(*columns: str) -> None:
        name, topic, partition, epoch, start, lag = columns
        extra = f" {epoch:<13}" if verbose else ""
        print(f"\n{name:<{groups}} {topic:<{topics}} {partition:<10}{extra} {start:<13} {lag}", end="")

    show("GROUP", "TOPIC", "PARTITION", "LEADER-EPOCH", "START-OFFSET", "LAG")
    for (topic, partition), start in sorted(starts.items()):
        lag = tables.NONE if start.lag is None else str(start.lag)
        show(group.id, topic, str(partition), str(start.leader_epoch), str(start.offset), lag)
    print()


def _print_state(group: admin.GroupDescription, *, verbose: bool) -> None:
    _remarked(group)
    where = f"{group.coordinator.host}:{group.coordinator.port}  ({group.coordinator.id})"
    groups, coordinators = max(_COLUMN_MIN, len(group.id)), max(25, len(where))

    def show(*columns: str) -> None:
        name, coordinator, state, epoch, target, count = columns
        extra = f" {epoch:<12} {target:<17}" if verbose else ""
        print(f"\n{name:<{groups}} {coordinator:<{coordinators}} {state:<15}{extra} {count}", end="")

    show("GROUP", "COORDINATOR (ID)", "STATE", "GROUP-EPOCH", "ASSIGNMENT-EPOCH", "#MEMBERS")
    count = str(len(group.members))
    show(group.id, where, group.state, str(group.epoch), str(group.assignment_epoch), count)
    print()


def _print_members(group: admin.GroupDescription, *, verbose: bool) -> None:
    if not _remarked(group) or not group.members:
        return
    members = sorted(group.members, key=lambda each: each.id)
    groups = max(_COLUMN_MIN, len(group.id))
    consumers = max([_COLUMN_MIN, *(len(each.id) for each in members)])
    hosts = max([_COLUMN_MIN, *(len(each.host) for each in members)])
    clients = max([_COLUMN_MIN, *(len(each.client_id) for each in members)])

    def show(*columns: str) -> None:
        name, consumer, host, client, count, epoch, assigned = columns
        extra = f" {epoch:<13}" if verbose else ""
        print(
            f"\n{name:<{groups}} {consumer:<{consumers}} {host:<{hosts}} {client:<{clients}} {count:<12}{extra}"
            f" {assigned}",
            end="",
        )

    show("GROUP", "CONSUMER-ID", "HOST", "CLIENT-ID", "#PARTITIONS", "MEMBER-EPOCH", "ASSIGNMENT")
    for each in members:
        assigned = ";".join(f"{name}:{','.join(map(str, held))}" for name, held in sorted(each.assignment.items()))
        count = str(sum(map(len, each.assignment.values())))
        show(group.id, each.id, each.host, each.client_id, count, str(each.epoch), assigned)
    print()


def _remarked(group: admin.GroupDescription) -> bool:
    """Print a remark about the state of a group. True if there are rows to print."""
    if group.state == "Dead":
        print(f"\nError: Share group '{group.id}' does not exist.")
        return False
    if group.state == "Empty":
        warn(f"\nShare group '{group.id}' has no active members.")
    return True


def _delete(parsed: Parsed, cluster: Cluster) -> None:
    listed = {each.id: each for each in admin.list_groups(cluster, types=[shares.SHARE]) if each.type == shares.SHARE}
    names = hash_order(listed) if parsed.has("all-groups") else list(dict.fromkeys(parsed.values("group")))
    failed: dict[str, str] = {}
    deleted: list[str] = []
    for name in names:
        if name not in listed:
            failed[name] = f"{exception_class(Code.GROUP_ID_NOT_FOUND)}: Group '{name}' is not a share group."
        elif listed[name].state != "Empty":
            failed[name] = f"{exception_class(Code.NON_EMPTY_GROUP)}: Share group '{name}' is not EMPTY."
        else:
            try:
                admin.delete_group(cluster, name)
                deleted.append(name)
            except KafkaError as error:
                failed[name] = error_line(error)
    words = ", ".join(f"'{name}'" for name in hash_order(deleted))
    if not failed:
        print(f"Deletion of requested share groups ({words}) was successful.")
        return
    print("\nError: Deletion of some share groups failed:")
    for name in hash_order(failed):
        print(f"* Group '{name}' could not be deleted due to: {failed[name]}")
    if deleted:
        print(f"\nThese share groups were deleted successfully: {words}")


def _delete_offsets(parsed: Parsed, cluster: Cluster) -> None:
    name, topics = parsed.text("group"), list(dict.fromkeys(parsed.values("topic")))
    results: dict[str, KafkaError | None]
    try:
        results = shares.delete_share_offsets(cluster, name, topics)
    except KafkaError as error:
        expected = (
            Code.INVALID_GROUP_ID,
            Code.GROUP_ID_NOT_FOUND,
            Code.GROUP_AUTHORIZATION_FAILED,
            Code.NON_EMPTY_GROUP,
        )
        known = error.code in expected
        print(f"\nError: {error_text(error) if known else f'Encounter some unknown error: {error_line(error)}'}")
        results = dict.fromkeys(topics, error)
    width = max([_COLUMN_MIN, *map(len, topics)])
    print(f"\n{'TOPIC':<{width}} STATUS", end="")
    for topic in sorted(topics):
        refusal = results.get(topic)
        print(f"\n{topic:<{width}} {'Successful' if refusal is None else f'Error: {error_text(refusal)}'}", end="")
    print()


def _reset(parsed: Parsed, cluster: Cluster) -> None:
    name = parsed.text("group")
    try:
        state = shares.describe_share_group(cluster, name).state
    except KafkaError as error:
        if error.code is not Code.GROUP_ID_NOT_FOUND:
            raise
        state = "Dead"
    if state not in ("Empty", "Dead"):
        raise Failure(f"Share group '{name}' is not empty.")
    starts: dict[shares.Place, shares.StartOffset] = {}
    if state == "Empty":
        starts = shares.share_start_offsets(cluster, name)
    committed = {place: admin.Committed(each.offset, each.leader_epoch, "") for place, each in starts.items()}
    planned = resets.plan_from(parsed, cluster, name, committed, group_count=1)
    plan = {place: planned[place] for place in partition_order(planned)}
    if parsed.has("execute") and plan:
        shares.alter_share_offsets(cluster, name, plan)
    if parsed.has("export"):
        print(resets.csv_of({name: plan}, with_group=False))
    else:
        tables.print_plans({name: plan})


_RUN: Final[dict[str, Callable[[Parsed, Cluster], None]]] = {
    "list": _list,
    "describe": _describe,
    "delete": _delete,
    "delete-offsets": _delete_offsets,
    "reset-offsets": _reset,
}
_CALLS: Final = {
    "list": "listGroups",
    "describe": "describeShareGroups(api=FIND_COORDINATOR)",
    "delete": "listGroups",
    "delete-offsets": "deleteShareGroupOffsets(api=FIND_COORDINATOR)",
    "reset-offsets": "describeShareGroups(api=FIND_COORDINATOR)",
}
