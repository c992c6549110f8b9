"""kafka-streams-groups: list and describe streams groups, delete them, and delete or reset their offsets.

Responsible for: the actions of the official script; its options are in ``streams_group_options``, its tables in
``streams_group_tables``, new offsets are computed in ``group_resets``. Must not depend on: the wire.

As in the official script, a command that the broker refuses prints the reason and exits with 1, which the scripts for
consumer and share groups do not. A group of several that cannot be deleted or reset is named, and the exit code is 0.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from kwire.cli.admin import groups as admin
from kwire.cli.admin import streams_groups as streams
from kwire.cli.admin import topics as admin_topics
from kwire.cli.connections.client import Cluster
from kwire.cli.connections.connection import ClientError, NotServed, TimedOut
from kwire.cli.java.names import error_line, error_text, exception_class, hash_order, partition_order
from kwire.cli.java.options import Parsed, Wrong
from kwire.cli.script_twins.common import bootstrap_of, open_cluster, timed_out
from kwire.cli.script_twins.groups import group_resets as resets
from kwire.cli.script_twins.groups import group_tables as tables
from kwire.cli.script_twins.groups import streams_group_tables as streams_tables
from kwire.cli.script_twins.groups.streams_group_options import NAME, SCENARIOS, read
from kwire.errors import Code, KafkaError

_STATES: Final = ("Stable", "Dead", "Empty", "Assigning", "Reconciling", "NotReady")
_COLUMN_MIN: Final = 15

# The names that Kafka Streams gives internal topics, behind the group and a dash.
_INTERNAL: Final = re.compile(
    r".*(-changelog|-repartition|-subscription-registration-topic|-subscription-response-topic)"
    r"|.+-KTABLE-FK-JOIN-SUBSCRIPTION-(REGISTRATION|RESPONSE)-\d+-topic"
)
_DESCRIBE: Final = "describeStreamsGroups(api=FIND_COORDINATOR)"
_LIST: Final = "listGroups"


class _Failed(Exception):
    """The command failed; the message is that of the Java exception."""


def main(argv: Sequence[str]) -> int:
    action, parsed = read(argv)
    try:
        with open_cluster(parsed, NAME, bootstrap_of(parsed)) as cluster:
            cluster.timeout_s = (parsed.number("timeout") or 0) / 1000
            return _RUN[action](parsed, cluster)
    except TimedOut as error:
        reason = f"org.apache.kafka.common.errors.TimeoutException: {timed_out(error, _CALLS[action])}"
    except KafkaError as error:
        reason = error_text(error) if action == "reset-offsets" else error_line(error)
    except (ClientError, Wrong, _Failed) as error:
        reason = str(error)
    _print_error(f"Executing streams group command failed due to {reason}")
    return 1


def _print_error(text: str) -> None:
    print(f"\nError: {text}")


@contextmanager
def _unchecked(call: str) -> Iterator[None]:
    """Wrap a failure as the official script does, which prints an unchecked exception and its cause."""
    wrapper = "java.util.concurrent.ExecutionException"
    try:
        yield
    except TimedOut as error:
        reason = timed_out(error, call)
        raise _Failed(f"{wrapper}: org.apache.kafka.common.errors.TimeoutException: {reason}") from error
    except KafkaError as error:
        raise _Failed(f"{wrapper}: {error_line(error)}") from error


# --- list and describe
# -----------------------------------------------------------------------------------------------------------


def _list(parsed: Parsed, cluster: Cluster) -> int:
    if not parsed.has("state"):
        for name in _streams_groups(cluster):
            print(name)
        return 0
    text = parsed.value("state")
    by_lower = {state.lower(): state for state in _STATES}
    words = [by_lower.get(word.strip().lower()) for word in text.split(",")] if text else []
    states = [word for word in words if word is not None]
    if len(states) < len(words):
        parsed.refuse(f"Invalid state list '{text}'. Valid states are: {', '.join(_STATES)}")
    listed = _by_name(admin.list_groups(cluster, states=states, types=[streams.STREAMS]))
    width = max([_COLUMN_MIN, *map(len, listed)])
    print(f"{'GROUP':<{width}} STATE")
    for name in hash_order(listed):
        print(f"{name:<{width}} {listed[name].state}")
    return 0


def _streams_groups(cluster: Cluster) -> list[str]:
    with _unchecked(_LIST):
        return hash_order(_by_name(admin.list_groups(cluster, types=[streams.STREAMS])))


def _by_name(groups: Iterable[admin.ListedGroup]) -> dict[str, admin.ListedGroup]:
    return {each.id: each for each in groups if each.type == streams.STREAMS}


def _describe(parsed: Parsed, cluster: Cluster) -> int:
    code = 0
    verbose = parsed.has("verbose")
    for name in _groups(parsed, cluster):
        if parsed.has("topology"):
            code = code if streams_tables.print_topology(name, streams.stored_topology(cluster, name)) else 1
            continue
        group = streams.describe_streams_group(cluster, name)
        if parsed.has("members"):
            streams_tables.print_members(group, verbose=verbose)
        elif parsed.has("state"):
            streams_tables.print_state(group, verbose=verbose)
        else:
            streams_tables.print_offsets(group, streams_tables.offsets_of(cluster, group), verbose=verbose)
    return code


def _groups(parsed: Parsed, cluster: Cluster) -> list[str]:
    return _streams_groups(cluster) if parsed.has("all-groups") else parsed.values("group")


# --- delete
# -----------------------------------------------------------------------------------------------------------


def _delete(parsed: Parsed, cluster: Cluster) -> int:
    names = list(dict.fromkeys(_groups(parsed, cluster)))
    failed = _undeletable(cluster, names)
    names = [name for name in names if name not in failed]
    internal: dict[str, list[str]] = {}
    if names and parsed.has("delete-all-internal-topics"):
        internal = _internal_topics(cluster, names)
    deleted: list[str] = []
    for name in names:
        try:
            admin.delete_group(cluster, name)
            deleted.append(name)
        except KafkaError as error:
            failed[name] = error_line(error)
    deleted = hash_order(deleted)
    refusals = {name: _delete_topics(cluster, internal.get(name, ())) for name in deleted}
    unfinished = {name: refusal for name, refusal in refusals.items() if refusal is not None}
    words = "', '".join(deleted)
    if not failed:
        print(f"Deletion of requested streams groups ('{words}') was successful.")
    else:
        _print_error("Deletion of some streams groups failed:")
        for name in hash_order(failed):
            print(f"* Group '{name}' could not be deleted due to: {failed[name]}")
        if deleted:
            print(f"\nThese streams groups were deleted successfully: '{words}'.")
    if internal and deleted:
        _print_internal_topics([name for name in deleted if name in internal], unfinished)
    return 0


def _undeletable(cluster: Cluster, names: Iterable[str]) -> dict[str, str]:
    with _unchecked(_LIST):
        listed = _by_name(admin.list_groups(cluster, types=[streams.STREAMS]))
    reasons = {}
    for name in names:
        if name not in listed:
            reasons[name] = (
                f"java.lang.IllegalArgumentException: Group '{name}' does not exist or is not a streams group."
            )
        elif listed[name].state == "Dead":
            reasons[name] = f"java.lang.IllegalStateException: Streams group '{name}' group state is DEAD."
        elif listed[name].state != "Empty":
            reasons[name] = f"{exception_class(Code.NON_EMPTY_GROUP)}: Streams group '{name}' is not EMPTY."
    return reasons


def _delete_topics(cluster: Cluster, topics: Iterable[str]) -> KafkaError | None:
    """Delete each topic, and print those that cannot be deleted. Returns the first refusal."""
    refusals: dict[str, KafkaError] = {}
    for topic in topics:
        try:
            admin_topics.delete_topic(cluster, topic)
        except KafkaError as error:
            refusals[topic] = error
    for topic in hash_order(refusals):
        print(f"Failed to delete internal topic: {topic}")
    return next(iter(refusals.values()), None)


def _print_internal_topics(groups: Sequence[str], unfinished: Mapping[str, KafkaError]) -> None:
    if not unfinished:
        words = "', '".join(groups)
        print(f"Deletion of associated internal topics of the streams groups ('{words}') was successful.")
        return
    print("Deletion of some associated internal topics failed:")
    for name, error in unfinished.items():
        print(f"* Internal topics of the streams group '{name}' could not be deleted due to: {error_line(error)}")


def _internal_topics(cluster: Cluster, groups: Sequence[str]) -> dict[str, list[str]]:
    """By group: the repartition and changelog topics of its topology whose names are those of internal topics."""
    found: dict[str, list[str]] = {}
    try:
        described = [streams.describe_streams_group(cluster, name) for name in hash_order(groups)]
    except NotServed:
        topics = [topic for topic in admin_topics.list_topics(cluster) if any(_is_internal(topic, g) for g in groups)]
        _print_error(
            "Retrieving internal topics is not supported by the broker version.\n"
            f"Internal topics: ({','.join(topics)}).\nUse 'kafka-topics.sh' to delete the group's internal topics."
        )
        return {}
    except KafkaError as error:
        _print_error(f"Retrieving internal topics failed due to {error_line(error)}")
        return {}
    for group in described:
        sources = {topic for each in group.subtopologies for topic in each.source_topics}
        for each in group.subtopologies:
            for topic in (*each.repartition_topics, *each.changelog_topics):
                if topic in sources:
                    continue
                if _is_internal(topic, group.id):
                    found.setdefault(group.id, []).append(topic)
                    continue
                _print_error(
                    f"The internal topic '{topic}' is not inferred as internal and thus will not be deleted with the"
                    f" group '{group.id}'."
                )
    return found


def _is_internal(topic: str, group: str) -> bool:
    return topic.startswith(f"{group}-") and _INTERNAL.fullmatch(topic) is not None


# --- offsets
# -----------------------------------------------------------------------------------------------------------


def _delete_offsets(parsed: Parsed, cluster: Cluster) -> int:
    name = parsed.text("group")
    if parsed.has("all-input-topics"):
        wanted = list(_input_offsets(cluster, name))
    else:
        wanted = resets.partitions_of(parsed, cluster, parsed.values("input-topic"), unknown_is_fatal=False)
    known = [place for place in wanted if place[1] >= 0]
    results: dict[tuple[str, int], KafkaError | None]
    try:
        results = admin.delete_offsets(cluster, name, known)
        first = next((error for error in results.values() if error is not None), None)
    except KafkaError as error:
        results, first = dict.fromkeys(known, error), error
    _print_outcome(name, first)
    unknown = KafkaError(Code.UNKNOWN_TOPIC_OR_PARTITION)
    tables.print_deletions(results | {place: unknown for place in wanted if place[1] < 0})
    return 0


def _print_outcome(group: str, error: KafkaError | None) -> None:
    of_the_group = (
        Code.INVALID_GROUP_ID,
        Code.GROUP_ID_NOT_FOUND,
        Code.GROUP_AUTHORIZATION_FAILED,
        Code.NON_EMPTY_GROUP,
    )
    of_a_partition = (
        Code.GROUP_SUBSCRIBED_TO_TOPIC,
        Code.TOPIC_AUTHORIZATION_FAILED,
        Code.UNKNOWN_TOPIC_OR_PARTITION,
    )
    if error is None:
        print(f"Request succeeded for deleting offsets from group {group}.")
    elif error.code in of_the_group:
        _print_error(error_text(KafkaError(error.code)))
    elif error.code in of_a_partition:
        _print_error("Encountered some partition-level error, see the follow-up details.")
    else:
        _print_error(f"Encountered some unknown error: {error.code.name}")


def _input_offsets(cluster: Cluster, name: str) -> dict[resets.Place, admin.Committed]:
    """The committed offsets of source topics."""
    with _unchecked(_DESCRIBE):
        group = streams.describe_streams_group(cluster, name)
        sources = {topic for each in group.subtopologies for topic in each.source_topics}
        committed = admin.committed_offsets(cluster, name)
    return {place: committed[place] for place in partition_order(committed) if place[0] in sources}


def _reset(parsed: Parsed, cluster: Cluster) -> int:
    plans: dict[str, dict[resets.Place, int]] = {}
    names = _groups(parsed, cluster)
    for name in hash_order(names, capacity=len(names)):
        state = _state(cluster, name)
        if state not in ("Empty", "Dead", None):
            _print_error(
                f"Assignments can only be reset if the group '{name}' is inactive, but the current state is {state}."
            )
            plans[name] = {}
            continue
        planned = _plan(parsed, cluster, name)
        plans[name] = {place: planned[place] for place in partition_order(planned)}
        if parsed.has("execute"):
            _commit(cluster, name, plans[name])
            if state is not None:
                _delete_internal_topics(parsed, cluster, name)
    if parsed.has("export"):
        print(resets.csv_of(plans, with_group=len(parsed.values("group")) != 1))
    else:
        streams_tables.print_plans(plans)
    return 0


def _state(cluster: Cluster, name: str) -> str | None:
    """None for a group that does not exist."""
    try:
        return streams.describe_streams_group(cluster, name).state
    except KafkaError as error:
        if error.code is Code.GROUP_ID_NOT_FOUND:
            return None
        raise _Failed(f"java.util.concurrent.ExecutionException: {error_line(error)}") from error


def _plan(parsed: Parsed, cluster: Cluster, name: str) -> dict[resets.Place, int]:
    places = _places(parsed, cluster, name)
    if not any(map(parsed.has, SCENARIOS)):
        scenarios = ", ".join(f"[{scenario}]" for scenario in SCENARIOS)
        parsed.refuse(f"Option '[reset-offsets]' requires one of the following scenarios: [{scenarios}]")
    committed: dict[resets.Place, admin.Committed] = {}
    if parsed.has("shift-by") or parsed.has("to-current"):
        with _unchecked(_DESCRIBE):
            streams.describe_streams_group(cluster, name)
            committed = admin.committed_offsets(cluster, name)
    return resets.plan_of(parsed, cluster, name, committed, places, group_count=len(parsed.values("group")))


def _places(parsed: Parsed, cluster: Cluster, name: str) -> list[resets.Place]:
    """The partitions to reset; none, with a message, when one of them has no committed offset."""
    if parsed.has("all-input-topics"):
        return list(_input_offsets(cluster, name))
    if not parsed.has("input-topic"):
        if not parsed.has("from-file"):
            parsed.refuse("One of the reset scopes should be defined: --all-input-topics, --input-topic.")
        return []
    places = resets.partitions_of(parsed, cluster, parsed.values("input-topic"), unknown_is_fatal=True)
    with _unchecked("listConsumerGroupOffsets(api=FIND_COORDINATOR)"):
        committed = admin.committed_offsets(cluster, name)
    if all(place in committed for place in places):
        return places
    _print_error(f"One or more topics are not part of the group '{name}'.")
    return []


def _commit(cluster: Cluster, name: str, plan: Mapping[resets.Place, int]) -> None:
    if not plan:
        return
    for error in admin.commit_offsets(cluster, name, plan).values():
        if error is not None:
            raise error


def _delete_internal_topics(parsed: Parsed, cluster: Cluster, name: str) -> None:
    if parsed.has("delete-all-internal-topics"):
        topics = _internal_topics(cluster, [name]).get(name, [])
    else:
        topics = parsed.values("delete-internal-topic")
    first: KafkaError | None = None
    for topic in topics:
        try:
            admin_topics.delete_topic(cluster, topic)
        except KafkaError as error:
            first = first or error
    if first is None:
        return
    if first.code is Code.UNKNOWN_TOPIC_OR_PARTITION:
        _print_error(f"Deleting internal topics for group '{name}' failed because the topics do not exist.")
    else:
        _print_error(f"Deleting internal topics for group '{name}' failed due to {error_line(first)}")


_RUN: Final[dict[str, Callable[[Parsed, Cluster], int]]] = {
    "list": _list,
    "describe": _describe,
    "delete": _delete,
    "delete-offsets": _delete_offsets,
    "reset-offsets": _reset,
}
_CALLS: Final = {
    "list": _LIST,
    "describe": _DESCRIBE,
    "delete": "deleteConsumerGroups(api=FIND_COORDINATOR)",
    "delete-offsets": "deleteConsumerGroupOffsets(api=FIND_COORDINATOR)",
    "reset-offsets": _DESCRIBE,
}
