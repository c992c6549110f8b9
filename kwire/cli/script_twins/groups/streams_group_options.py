"""The options of kafka-streams-groups and which of them go together.

Responsible for: reading the line, and the messages for a wrong one. Must not depend on: the actions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kwire.cli.java.exits import Failure
from kwire.cli.java.options import BOOTSTRAP, COMMAND_CONFIG, Option, Parsed, Wrong, parse
from kwire.cli.script_twins.groups.group_resets import RESET_OPTIONS, RESET_OPTIONS_OF_COMMITTED

NAME: Final = "kafka-streams-groups"
ABOUT: Final = "List and describe streams groups, delete them, delete or reset their offsets."

OPTIONS: Final = (
    BOOTSTRAP,
    COMMAND_CONFIG,
    Option("list", "List streams groups."),
    Option("describe", "Show a group's offsets and lag; its members with --members, its state with --state."),
    Option("delete", "Delete groups and their offsets."),
    Option("reset-offsets", "Move the offsets of a group without members; --dry-run or --execute."),
    Option("delete-offsets", "Delete a group's offsets of some topics."),
    Option("group", "The group; may be repeated.", "NAME", many=True),
    Option("all-groups", "Every streams group."),
    Option("input-topic", "A source topic, or topic:0,1 for some of its partitions; may be repeated.",
           "TOPIC", many=True),
    Option("all-input-topics", "Every source topic of which the group has offsets."),
    Option("offsets", "Describe offsets and lag, which is the default."),
    Option("members", "Describe members with their tasks."),
    Option("topology", "Describe the topology that a plugin of the broker has stored."),
    Option("verbose", "Print more: epochs, target assignments, committed offsets."),
    Option("state", "With --describe the group's state; with --list the states, or the groups in these.", "STATES",
           optional_value=True),
    Option("timeout", "How long the command may take.", "MS", number=True, default="30000"),
    *RESET_OPTIONS,
    *RESET_OPTIONS_OF_COMMITTED,
    Option("delete-internal-topic", "With --reset-offsets --execute: delete this topic; may be repeated.", "TOPIC",
           many=True),
    Option("delete-all-internal-topics", "With --delete or --reset-offsets --execute: delete all internal topics."),
)  # fmt: skip

_ACTIONS: Final = ("list", "describe", "delete", "reset-offsets", "delete-offsets")
SCENARIOS: Final = (
    "to-offset",
    "to-datetime",
    "by-duration",
    "to-earliest",
    "to-latest",
    "to-current",
    "shift-by",
    "from-file",
)
# option -> the actions of which one must be given
_AVAILABLE_WITH: Final = {
    "state": ("list", "describe"),
    "members": ("describe",),
    "offsets": ("describe",),
    "topology": ("describe",),
    "verbose": ("describe",),
}


def read(argv: Sequence[str]) -> tuple[str, Parsed]:
    """The action and its options. Ends with Failure for a wrong line."""
    try:
        parsed = parse(NAME, ABOUT, OPTIONS, argv)
        _check_availability(parsed)
        action = _check(parsed)
        for name in ("timeout", "to-offset", "shift-by"):
            parsed.number(name)
    except Wrong as error:
        raise Failure(f"{error}\nOptions: {NAME} --help") from error
    return action, parsed


def _check_availability(parsed: Parsed) -> None:
    missing = [
        option
        for option, actions in _AVAILABLE_WITH.items()
        if parsed.has(option) and not any(map(parsed.has, actions))
    ]
    if missing:
        raise Wrong(f"Option(s) [{', '.join(missing)}] are unavailable given other options on the command line")


def _check(parsed: Parsed) -> str:
    """Refuse invalid combinations, with the official messages; return the action."""
    parsed.require("bootstrap-server")
    if parsed.has("describe"):
        _check_describe(parsed)
    if parsed.has("delete"):
        _check_groups(parsed, "delete")
        if parsed.has("input-topic") or parsed.has("all-input-topics"):
            parsed.refuse("Kafka Streams does not support topic-specific offset deletion from a streams group.")
    if parsed.has("delete-offsets"):
        _check_delete_offsets(parsed)
    if parsed.has("reset-offsets"):
        _check_reset(parsed)
    _check_internal_topics(parsed)
    if (parsed.has("dry-run") or parsed.has("execute")) and not parsed.has("reset-offsets"):
        parsed.refuse("Only Option [reset-offsets] accepts [execute] or [dry-run]")
    parsed.forbid("list", ("members", "offsets", "topology"))
    parsed.forbid("group", ("all-groups", "list"))
    parsed.forbid("input-topic", ("list", "describe", "delete"))
    actions = [action for action in _ACTIONS if parsed.has(action)]
    if len(actions) != 1:
        parsed.refuse(
            "Command must include exactly one action: --list, --describe, --delete, --reset-offsets, or"
            " --delete-offsets."
        )
    return actions[0]


def _check_groups(parsed: Parsed, action: str) -> None:
    if not (parsed.has("group") or parsed.has("all-groups")):
        parsed.refuse(f"Option [{action}] takes one of these options: [all-groups], [group]")


def _check_describe(parsed: Parsed) -> None:
    _check_groups(parsed, "describe")
    if parsed.count(("members", "offsets", "state", "topology")) > 1:
        parsed.refuse("Option [describe] takes at most one of these options: [members], [offsets], [state], [topology]")
    if parsed.has("state") and parsed.value("state"):
        parsed.refuse("Option [describe] does not take a value for [state]")


def _check_delete_offsets(parsed: Parsed) -> None:
    if not parsed.has("group") or not (parsed.has("input-topic") or parsed.has("all-input-topics")):
        parsed.refuse(
            "Option [delete-offsets] takes the [group] and one of these options: [all-input-topics], [input-topic]"
        )
    if len(parsed.values("group")) > 1:
        found = ", ".join(parsed.values("group"))
        parsed.refuse(f"Option [delete-offsets] supports only one [group] at a time, but found: [{found}]")


def _check_reset(parsed: Parsed) -> None:
    if parsed.has("dry-run") and parsed.has("execute"):
        parsed.refuse("Option [reset-offsets] only accepts one of [execute] and [dry-run]")
    if not (parsed.has("dry-run") or parsed.has("execute")):
        parsed.refuse("Option [reset-offsets] takes the option: [execute] or [dry-run]")
    _check_groups(parsed, "reset-offsets")
    for scenario in SCENARIOS:
        parsed.forbid(scenario, [each for each in SCENARIOS if each != scenario])


def _check_internal_topics(parsed: Parsed) -> None:
    executes = parsed.has("reset-offsets") and parsed.has("execute")
    if parsed.has("delete-all-internal-topics"):
        if not (parsed.has("reset-offsets") or parsed.has("delete")):
            parsed.refuse("Option [delete-all-internal-topics] takes one of these options: [delete], [reset-offsets]")
        if parsed.has("reset-offsets") and not executes:
            parsed.refuse("Option [delete-all-internal-topics] takes [execute] when [reset-offsets] is used.")
    elif parsed.has("delete-internal-topic") and not executes:
        parsed.refuse("Option [delete-internal-topic] takes [reset-offsets] when [execute] is used.")
