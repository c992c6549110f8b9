"""kafka-reassign-partitions: move replicas between brokers and between log directories.

Responsible for: the options, the actions and the output of the official script. Must not depend on: the wire.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from kwire.cli.admin import reassignments as admin
from kwire.cli.admin.cluster import CONTROLLERS, describe_cluster, log_dirs
from kwire.cli.admin.cluster import Replica as LoggedReplica
from kwire.cli.admin.configs import ResourceType, alter_configs
from kwire.cli.admin.topics import TopicDescription, describe_topics
from kwire.cli.connections.client import Cluster
from kwire.cli.connections.connection import ClientError, TimedOut
from kwire.cli.java.exits import Failure
from kwire.cli.java.json_files import read_text
from kwire.cli.java.names import error_line, error_text, hash_order, number_order, partition_order
from kwire.cli.java.options import BOOTSTRAP, COMMAND_CONFIG, Option, Parsed, Wrong, parse
from kwire.cli.script_twins.common import numbers, open_cluster, timed_out
from kwire.cli.script_twins.topics.reassignment_plans import (
    Place,
    Plan,
    Replica,
    check_plan,
    duplicates,
    place_text,
    plan_text,
    propose,
    read_plan,
    read_topics,
)
from kwire.errors import Code, KafkaError

NAME: Final = "kafka-reassign-partitions"
ABOUT: Final = "Move replicas of partitions between brokers, and between log directories."

_LEADER_RATE: Final = "leader.replication.throttled.rate"
_FOLLOWER_RATE: Final = "follower.replication.throttled.rate"
_LOG_DIRS_RATE: Final = "replica.alter.log.dirs.io.max.bytes.per.second"
_LEADER_REPLICAS: Final = "leader.replication.throttled.replicas"
_FOLLOWER_REPLICAS: Final = "follower.replication.throttled.replicas"

_ACTIONS: Final = ("generate", "execute", "verify", "cancel", "list")
_COMMON: Final = frozenset({"bootstrap-server", "command-config"})
_PLAN: Final = ("reassignment-json-file",)
_REQUIRED: Final[Mapping[str, tuple[str, ...]]] = {
    "generate": ("topics-to-move-json-file", "broker-list"),
    "execute": _PLAN,
    "verify": _PLAN,
    "cancel": _PLAN,
    "list": (),
}
_PERMITTED: Final = {
    "generate": _COMMON | {"disable-rack-aware"},
    "execute": _COMMON
    | {
        "additional",
        "throttle",
        "replica-alter-log-dirs-throttle",
        "timeout",
        "disallow-replication-factor-change",
    },
    "verify": _COMMON | {"preserve-throttles"},
    "cancel": _COMMON | {"bootstrap-controller", "preserve-throttles", "timeout"},
    "list": _COMMON | {"bootstrap-controller"},
}
_IN_PROGRESS: Final = (
    "Cannot execute because there is an existing partition assignment.  Use --additional to override this and create a"
    " new partition assignment in addition to the existing one. The --additional flag can also be used to change the"
    " throttle by resubmitting the current reassignment."
)
_VERIFY_PERIODICALLY: Final = (
    "Warning: You must run --verify periodically, until the reassignment completes, to ensure the throttle is removed."
)
_RETRY_PAUSE_S: Final = 0.1

OPTIONS: Final = (
    BOOTSTRAP,
    Option("bootstrap-controller", "Controller(s) to ask first, for --cancel and --list.", "HOST:PORT"),
    COMMAND_CONFIG,
    Option("generate", "Propose a plan for topics and brokers; change nothing."),
    Option("execute", "Start the plan of --reassignment-json-file."),
    Option("verify", "Show the progress of a plan; remove its throttles when it is complete."),
    Option("cancel", "Cancel the plan of --reassignment-json-file."),
    Option("list", "List the reassignments in progress."),
    Option(
        "reassignment-json-file",
        'The plan: {"partitions": [{"topic": "foo", "partition": 1, "replicas": [1,2], "log_dirs": ["any","/d"]}],'
        ' "version": 1}; log_dirs may be left out.',
        "FILE",
    ),
    Option("topics-to-move-json-file", 'Topics for --generate: {"topics": [{"topic": "foo"}], "version": 1}.', "FILE"),
    Option("broker-list", "Brokers for --generate: 0,1,2.", "IDS"),
    Option("disable-rack-aware", "Let --generate ignore racks."),
    Option("additional", "Execute although other reassignments are in progress."),
    Option("disallow-replication-factor-change", "Refuse a plan that changes a replication factor."),
    Option("preserve-throttles", "Leave throttles as they are."),
    Option("throttle", "Bytes per second between brokers; -1 sets none.", "BYTES", number=True, default="-1"),
    Option(
        "replica-alter-log-dirs-throttle",
        "Bytes per second between log directories; -1 sets none.",
        "BYTES",
        number=True,
        default="-1",
    ),
    Option("timeout", "How long a move between log directories may take to start, in ms.", "MS", number=True,
           default="10000"),
)  # fmt: skip


def main(argv: Sequence[str]) -> int:
    parsed = parse(NAME, ABOUT, OPTIONS, argv)
    action = _check(parsed)
    try:
        with open_cluster(parsed, NAME, parsed.value("bootstrap-controller")) as cluster:
            if parsed.has("bootstrap-controller"):
                describe_cluster(cluster, endpoint_type=CONTROLLERS)
            _RUN[action](parsed, cluster)
    except TimedOut as error:
        raise _failed(f"org.apache.kafka.common.errors.TimeoutException: {timed_out(error, action)}") from error
    except KafkaError as error:
        raise _failed(error_line(error)) from error
    except (ClientError, Wrong, ValueError) as error:
        raise _failed(str(error)) from error
    return 0


def _failed(reason: str) -> Failure:
    return Failure(f"Error: {reason}", stream="out")


def _check(parsed: Parsed) -> str:
    """Refuse what the official script refuses; return the action."""
    actions = [action for action in _ACTIONS if parsed.has(action)]
    if len(actions) != 1:
        parsed.refuse(f"Command must include exactly one action: {', '.join(f'--{action}' for action in _ACTIONS)}")
    action = actions[0]
    servers = parsed.count(("bootstrap-server", "bootstrap-controller"))
    if servers == 2:
        parsed.refuse("Please don't specify both --bootstrap-server and --bootstrap-controller")
    if servers == 0:
        parsed.refuse("Please specify either --bootstrap-server or --bootstrap-controller")
    parsed.require(*_REQUIRED[action])
    for name, _ in parsed.in_order():
        if name not in (action, *_REQUIRED[action]) and name not in _PERMITTED[action]:
            parsed.refuse(f'Option "[{name}]" can\'t be used with action "[{action}]"')
    return action


def _list(_parsed: Parsed, cluster: Cluster) -> None:
    found = admin.list_reassignments(cluster)
    if not found:
        print("No partition reassignments found.")
        return
    print("Current partition reassignments:")
    for place, each in sorted(found.items()):
        adding = f" adding: {numbers(each.adding)}." if each.adding else ""
        removing = f" removing: {numbers(each.removing)}." if each.removing else ""
        print(f"{place_text(place)}: replicas: {numbers(each.replicas)}.{adding}{removing}")


def _generate(parsed: Parsed, cluster: Cluster) -> None:
    topics = read_text(parsed.text("topics-to-move-json-file"))
    wanted = [_integer(word) for word in parsed.text("broker-list").split(",")]
    if twice := duplicates(wanted):
        raise Wrong(f"Broker list contains duplicate entries: [{', '.join(map(str, twice))}]")
    current = _assignment_of_topics(cluster, read_topics(topics))
    racks = not parsed.has("disable-rack-aware")
    nodes = [node for node in cluster.with_retries(cluster.nodes) if node.id in wanted]
    if racks and len({node.rack is None for node in nodes}) == 2:
        raise Wrong(
            "Not all brokers have rack information. Add --disable-rack-aware in command line to make replica"
            " assignment without rack information."
        )
    proposal = propose(current, nodes, racks=racks)
    print(f"Current partition replica assignment\n{plan_text(current, _current_log_dirs(cluster, current))}\n")
    print(f"Proposed partition reassignment configuration\n{plan_text(proposal, {})}")


def _execute(parsed: Parsed, cluster: Cluster) -> None:
    text = read_text(parsed.text("reassignment-json-file"))
    rates = _Rates(parsed.number("throttle") or 0, parsed.number("replica-alter-log-dirs-throttle") or 0)
    timeout_ms = parsed.number("timeout") or 0
    plan = read_plan(text)
    check_plan(plan)
    active = admin.list_reassignments(cluster)
    if active and not parsed.has("additional"):
        raise Failure(_IN_PROGRESS, stream="out")
    known = {node.id for node in cluster.with_retries(cluster.nodes)}
    for broker in number_order(broker for _, replicas in plan.partitions for broker in replicas):
        if broker not in known:
            raise Wrong(f"Unknown broker id {broker}")
    proposed = plan.replicas()
    current = _assignment_of_partitions(cluster, proposed)
    before = plan_text(current, _current_log_dirs(cluster, current))
    print(f"Current partition replica assignment\n\n{before}\n")
    print("Save this to use as the --reassignment-json-file option during rollback")
    _set_throttles(cluster, rates, plan, _Moves(active, current, proposed))
    fixed_factor = parsed.has("disallow-replication-factor-change")
    errors = admin.alter_reassignments(cluster, proposed, allow_factor_change=not fixed_factor)
    if errors:
        raise Failure(f"Error reassigning partition(s):\n{_reasons(errors)}", stream="out")
    names = ",".join(map(place_text, sorted(proposed)))
    print(f"Successfully started partition reassignment{_plural(proposed)} for {names}")
    _move(cluster, plan.log_dirs, timeout_ms)


def _verify(parsed: Parsed, cluster: Cluster) -> None:
    plan = read_plan(read_text(parsed.text("reassignment-json-file")))
    active = admin.list_reassignments(cluster)
    names = [place[0] for place, _ in plan.partitions if place not in active]
    topics = describe_topics(cluster, hash_order(names))
    print("Status of partition reassignment:")
    for place, target in sorted(plan.replicas().items()):
        name = place_text(place)
        if place in active:
            print(f"Reassignment of partition {name} is still in progress.")
            continue
        replicas = _replicas_of(topics[place[0]], place[1])
        if replicas == target:
            print(f"Reassignment of partition {name} is completed.")
        else:
            print(
                f"There is no active reassignment of partition {name}, but replica set is {numbers(replicas)}"
                f" rather than {numbers(target)}."
            )
    states = _move_states(cluster, plan.log_dirs)
    print("\n".join(_state_text(replica, plan.log_dirs[replica], states[replica]) for replica in sorted(states)))
    moving = any(len(replicas) > 1 for replicas in states.values())
    if not active and not moving and not parsed.has("preserve-throttles"):
        _clear_throttles(cluster, plan)


def _cancel(parsed: Parsed, cluster: Cluster) -> None:
    plan = read_plan(read_text(parsed.text("reassignment-json-file")))
    active = sorted(admin.list_reassignments(cluster, plan.replicas()))
    if active:
        errors = admin.alter_reassignments(cluster, dict.fromkeys(active))
        if errors:
            raise Failure(
                f"Error cancelling partition reassignment{_plural(errors)} for:\n{_reasons(errors)}", stream="out"
            )
        names = ",".join(map(place_text, active))
        print(f"Successfully cancelled partition reassignment{_plural(active)} for: {names}")
    else:
        print("None of the specified partition reassignments are active.")
    moving = {
        replica: path
        for replica, states in _move_states(cluster, plan.log_dirs).items()
        if len(states) > 1
        for path, future in states.items()
        if not future
    }
    if moving:
        _move(cluster, moving, parsed.number("timeout") or 0)
    else:
        # The official script ends this line with nothing.
        print("None of the specified partition moves are active.", end="")
    if not parsed.has("preserve-throttles"):
        _clear_throttles(cluster, plan)


class _Moves:
    """Old and new brokers of each partition by topic, from which the throttles are made."""

    def __init__(
        self,
        active: Mapping[Place, admin.Reassignment],
        current: Mapping[Place, Sequence[int]],
        proposed: Mapping[Place, Sequence[int]],
    ) -> None:
        self._sources = {place: set(each.replicas) - set(each.adding) for place, each in active.items()}
        self._destinations = {place: set(each.adding) for place, each in active.items()}
        for place, replicas in proposed.items():
            sources = self._sources.setdefault(place, set(current[place]))
            self._destinations[place] = set(replicas) - sources

    def brokers(self) -> list[int]:
        return sorted(set().union(*self._sources.values(), *self._destinations.values()))

    def throttles(self) -> dict[str, dict[str, str]]:
        """Return the throttled replicas of each topic, as its configs."""
        topics = hash_order(topic for topic, _ in self._sources)
        return {
            topic: {
                _LEADER_REPLICAS: self._listed(self._sources, topic),
                _FOLLOWER_REPLICAS: self._listed(self._destinations, topic),
            }
            for topic in topics
        }

    @staticmethod
    def _listed(brokers: Mapping[Place, set[int]], wanted: str) -> str:
        pairs = (
            f"{partition}:{broker}"
            for (topic, partition), each in brokers.items()
            if topic == wanted
            for broker in each
        )
        return ",".join(sorted(pairs))


class _Rates(NamedTuple):
    """Bytes per second; negative ones are not set."""

    between_brokers: int
    between_dirs: int


def _set_throttles(cluster: Cluster, rates: _Rates, plan: Plan, moves: _Moves) -> None:
    between_brokers, between_dirs = rates
    if between_brokers >= 0 or between_dirs >= 0:
        print(_VERIFY_PERIODICALLY)
    if between_brokers >= 0:
        for topic, configs in moves.throttles().items():
            alter_configs(cluster, ResourceType.TOPIC, topic, put=configs)
        rate = str(between_brokers)
        for broker in moves.brokers():
            put = {_LEADER_RATE: rate, _FOLLOWER_RATE: rate}
            alter_configs(cluster, ResourceType.BROKER, str(broker), put=put)
        print(f"The inter-broker throttle limit was set to {rate} B/s")
    if between_dirs >= 0:
        for broker in sorted({replica.broker for replica in plan.log_dirs}):
            alter_configs(cluster, ResourceType.BROKER, str(broker), put={_LOG_DIRS_RATE: str(between_dirs)})
        print(f"The replica-alter-dir throttle limit was set to {between_dirs} B/s")


def _clear_throttles(cluster: Cluster, plan: Plan) -> None:
    known = [node.id for node in cluster.with_retries(cluster.nodes)]
    brokers = number_order([*known, *(broker for _, replicas in plan.partitions for broker in replicas)])
    print(f"Clearing broker-level throttles on broker{_plural(brokers)} {numbers(brokers)}")
    for broker in brokers:
        delete = (_LEADER_RATE, _FOLLOWER_RATE, _LOG_DIRS_RATE)
        alter_configs(cluster, ResourceType.BROKER, str(broker), delete=delete)
    topics = hash_order(topic for (topic, _), _ in plan.partitions)
    print(f"Clearing topic-level throttles on topic{_plural(topics)} {','.join(topics)}")
    for topic in topics:
        alter_configs(cluster, ResourceType.TOPIC, topic, delete=(_LEADER_REPLICAS, _FOLLOWER_REPLICAS))


def _move(cluster: Cluster, log_dirs_wanted: Mapping[Replica, str], timeout_ms: int) -> None:
    """Start moves between log directories; a replica that is not on its broker yet is tried again."""
    pending = dict(log_dirs_wanted)
    deadline_s = time.monotonic() + timeout_ms / 1000
    while pending:
        for replica in sorted(_started(cluster, pending)):
            path = pending.pop(replica)
            print(
                f"Successfully started moving log directory to {path} for replica {place_text(replica.place)}"
                f" with broker {replica.broker} "
            )
        if pending and time.monotonic() >= deadline_s:
            names = ",".join(map(str, sorted(pending)))
            raise Failure(
                f"Timed out before log directory move{_plural(pending)} could be started for: {names}", stream="out"
            )
        if pending:
            time.sleep(_RETRY_PAUSE_S)


def _started(cluster: Cluster, wanted: Mapping[Replica, str]) -> list[Replica]:
    started = []
    for broker in {replica.broker for replica in wanted}:
        moves = {replica.place: path for replica, path in wanted.items() if replica.broker == broker}
        for place, error in admin.alter_log_dirs(cluster, broker, moves).items():
            replica = Replica(broker, *place)
            if error is None:
                started.append(replica)
            elif error.code is not Code.REPLICA_NOT_AVAILABLE:
                raise Wrong(f"Failed to alter dir for {replica}")
    return started


def _move_states(cluster: Cluster, wanted: Iterable[Replica]) -> dict[Replica, dict[str, bool]]:
    """Return the log directories of replicas, each with whether the replica is still being moved there."""
    states: dict[Replica, dict[str, bool]] = {replica: {} for replica in wanted}
    for broker in {replica.broker for replica in states}:
        for path, found in _logged(cluster, broker):
            replica = Replica(broker, found.topic, found.partition)
            if replica in states:
                states[replica][path] = found.future
    return states


def _state_text(replica: Replica, target: str, states: Mapping[str, bool]) -> str:
    name = place_text(replica.place)
    current = next((path for path, future in states.items() if not future), None)
    future = next((path for path, future in states.items() if future), None)
    if current is None:
        return (
            f"Partition {name} is not found in any live log dir on broker {replica.broker}. There is likely an offline"
            " log directory on the broker."
        )
    if future == target:
        return f"Reassignment of replica {replica} is still in progress."
    if future is not None:
        return f"Partition {name} on broker {replica.broker} is being moved to log dir {future} instead of {target}."
    if current == target:
        return f"Reassignment of replica {replica} completed successfully."
    return f"Partition {name} on broker {replica.broker} is not being moved from log dir {current} to {target}."


def _current_log_dirs(cluster: Cluster, current: Mapping[Place, Sequence[int]]) -> dict[Replica, str]:
    return {
        Replica(broker, found.topic, found.partition): path
        for broker in {broker for replicas in current.values() for broker in replicas}
        for path, found in _logged(cluster, broker)
        if not found.future
    }


def _logged(cluster: Cluster, broker: int) -> list[tuple[str, LoggedReplica]]:
    return [(each.path, replica) for each in log_dirs(cluster, broker) for replica in each.replicas]


def _assignment_of_topics(cluster: Cluster, names: Iterable[str]) -> dict[Place, list[int]]:
    found: dict[Place, list[int]] = {}
    for name, topic in describe_topics(cluster, hash_order(names)).items():
        if isinstance(topic, KafkaError):
            if topic.code is Code.UNKNOWN_TOPIC_OR_PARTITION:
                raise KafkaError(topic.code, f"Topic {name} not found.")
            raise topic
        found |= {(name, item.partition): item.replicas for item in topic.partitions}
    return found


def _assignment_of_partitions(cluster: Cluster, places: Iterable[Place]) -> dict[Place, list[int]]:
    wanted = list(places)
    found = _assignment_of_topics(cluster, [name for name, _ in wanted])
    if missing := [place for place in wanted if place not in found]:
        names = ", ".join(map(place_text, partition_order(missing)))
        raise KafkaError(Code.UNKNOWN_TOPIC_OR_PARTITION, f"Unable to find partition: {names}")
    return {place: found[place] for place in wanted}


def _replicas_of(topic: TopicDescription | KafkaError, index: int) -> list[int]:
    """Return the replicas of a partition; none when it does not exist."""
    if isinstance(topic, KafkaError):
        if topic.code is Code.UNKNOWN_TOPIC_OR_PARTITION:
            return []
        raise topic
    return next((item.replicas for item in topic.partitions if item.partition == index), [])


def _reasons(errors: Mapping[Place, KafkaError]) -> str:
    return "\n".join(f"{place_text(place)}: {error_text(error)}" for place, error in sorted(errors.items()))


def _plural(items: Mapping[Place, object] | Sequence[object] | Mapping[Replica, object]) -> str:
    return "" if len(items) == 1 else "s"


def _integer(word: str) -> int:
    try:
        return int(word)
    except ValueError:
        raise Wrong(f'For input string: "{word}"') from None


_RUN: Final[Mapping[str, Callable[[Parsed, Cluster], None]]] = {
    "list": _list,
    "generate": _generate,
    "execute": _execute,
    "verify": _verify,
    "cancel": _cancel,
}
