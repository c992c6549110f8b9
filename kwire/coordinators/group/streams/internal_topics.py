"""How many partitions the internal topics of a topology have, and which of them are missing.

Responsible for: ``configure``, a pure function of a topology and the topics that exist. Must not depend on: groups, the
creation of topics.

    1  repartition topics   as given, else as many as the sources of the subtopology that writes them have
    2  copartition groups   all their topics have equally many partitions
    3  changelog topics     as many as the subtopology has tasks
    4  compare with the topics that exist

A topic that exists counts with the partitions that it has. Names in error texts are in the order of Java's hash maps,
as in Apache Kafka.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from heapq import heappop, heappush
from typing import Final, NamedTuple, NoReturn

from kwire.coordinators.group.streams.topology import Subtopology, TopicInfo, Topology
from kwire.coordinators.java_order import hash_map_order, string_hash
from kwire.errors import Code, KafkaError

PartitionCount = Callable[[str], int | None]

_TOPICS_NAMED: Final = 3


class Status(IntEnum):
    """The status codes of StreamsGroupHeartbeat."""

    STALE_TOPOLOGY = 0
    MISSING_SOURCE_TOPICS = 1
    INCORRECTLY_PARTITIONED_TOPICS = 2
    MISSING_INTERNAL_TOPICS = 3
    SHUTDOWN_APPLICATION = 4
    ASSIGNMENT_DELAYED = 5
    MISSING_CLIENT_TAGS = 6


class Problem(NamedTuple):
    """The reason why tasks cannot be assigned, or another status for the member."""

    status: Status
    detail: str


class InternalTopic(NamedTuple):
    """``replication_factor`` 0: the broker's default."""

    name: str
    partitions: int
    replication_factor: int
    configs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ConfiguredSubtopology:
    """``task_count``: one task for each partition of the largest input topic."""

    task_count: int
    source_topics: frozenset[str]
    repartition_source_topics: Mapping[str, InternalTopic]
    repartition_sink_topics: frozenset[str]
    state_changelog_topics: Mapping[str, InternalTopic]

    @property
    def is_stateful(self) -> bool:
        return bool(self.state_changelog_topics)


@dataclass(frozen=True, slots=True)
class ConfiguredTopology:
    """``subtopologies`` by id, sorted; None where ``problem`` left no way to count partitions.

    ``missing``: the internal topics that must be created. ``problem`` None: tasks can be assigned.
    """

    epoch: int
    subtopologies: Mapping[str, ConfiguredSubtopology] | None
    missing: Mapping[str, InternalTopic]
    problem: Problem | None

    @property
    def is_ready(self) -> bool:
        return self.problem is None


class _Unusable(Exception):
    """The topics that exist do not fit the topology."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


def configure(topology: Topology, existing: PartitionCount) -> ConfiguredTopology:
    """Compare a topology with the topics that exist; ``existing`` gives a topic's partitions, None without it.

    Raises KafkaError: STREAMS_INVALID_TOPOLOGY for one that no topics could satisfy, UNKNOWN_SERVER_ERROR for an
    inconsistent one.
    """
    try:
        _refuse_missing_sources(topology, existing)
        decided = _decide(topology, existing)
        counts = _Counts(existing, decided)
        configured = {
            subtopology_id: _configured(topology.subtopologies[subtopology_id], counts)
            for subtopology_id in sorted(topology.subtopologies)
        }
        missing = _missing(topology, configured, existing)
    except _Unusable as unusable:
        return ConfiguredTopology(topology.epoch, None, {}, unusable.problem)
    problem = None
    if missing:
        problem = Problem(Status.MISSING_INTERNAL_TOPICS, f"Internal topics are missing: {_summary(missing)}")
    return ConfiguredTopology(topology.epoch, configured, missing, problem)


class _Counts:
    """The partitions of topics: of those that exist, else as decided. ``decided`` grows."""

    def __init__(self, existing: PartitionCount, decided: dict[str, int]) -> None:
        self._existing = existing
        self.decided = decided

    def get(self, topic: str) -> int | None:
        count = self._existing(topic)
        return self.decided.get(topic) if count is None else count

    def __getitem__(self, topic: str) -> int:
        count = self.get(topic)
        if count is None:
            _contradiction(f"no partition count for topic {topic}")
        return count


def _refuse_missing_sources(topology: Topology, existing: PartitionCount) -> None:
    missing = {
        topic
        for subtopology in topology.subtopologies.values()
        for topic in subtopology.source_topics
        if existing(topic) is None
    }
    if missing:
        raise _Unusable(
            Problem(Status.MISSING_SOURCE_TOPICS, f"Source topics {_summary(sorted(missing))} are missing.")
        )


def _decide(topology: Topology, existing: PartitionCount) -> dict[str, int]:
    """The partitions that internal topics are to have."""
    counts = _Counts(existing, {})
    order = [topology.subtopologies[each] for each in hash_map_order(topology.subtopologies, string_hash)]
    counts.decided.update(_repartition_counts(order, existing))
    fixed = {each.name for one in order for each in one.repartition_source_topics if each.partitions != 0}
    flexible = {each.name for one in order for each in one.repartition_source_topics if each.partitions == 0}
    fixed_counts = {counts[topic] for topic in fixed}
    for subtopology in order:
        for topics in _copartition_groups(subtopology):
            counts.decided.update(_copartitioned(topics, fixed, fixed_counts, flexible, counts))
    changelogs: dict[str, int] = {}
    for subtopology in order:
        inputs = [counts[topic] for topic in subtopology.input_topics()]
        if not inputs:
            raise _invalid(f"No source topics found for subtopology {subtopology.subtopology_id}")
        changelogs.update({each.name: max(inputs) for each in subtopology.state_changelog_topics})
    counts.decided.update(changelogs)
    return counts.decided


def _repartition_counts(order: Sequence[Subtopology], existing: PartitionCount) -> dict[str, int]:
    """The partitions of the repartition topics, decided as Apache Kafka does, in rounds.

    In each round every subtopology sets the counts of the topics that it writes to, by those of its inputs that are
    known so far. One without a known input is skipped until it has one, because there may be as many rounds as
    subtopologies.
    """
    found = {each.name: each.partitions for one in order for each in one.repartition_source_topics if each.partitions}
    readers: dict[str, list[int]] = {}
    for place, subtopology in enumerate(order):
        for each in subtopology.repartition_source_topics:
            readers.setdefault(each.name, []).append(place)
    turns = [(0, place) for place in range(len(order))]  # a heap of rounds and places in them
    waiting: set[int] = set()
    while turns:
        number, place = heappop(turns)
        undecided = [topic for topic in order[place].repartition_sink_topics if topic not in found]
        count = _widest_input(order[place], found, existing) if undecided else None
        if count is None:
            if undecided:
                waiting.add(place)
            continue
        for topic in undecided:
            found[topic] = count
            for reader in readers.get(topic, ()):
                if reader in waiting:
                    waiting.remove(reader)
                    heappush(turns, (number + (reader <= place), reader))
    if any(topic not in found for place in waiting for topic in order[place].repartition_sink_topics):
        raise _invalid(
            "Failed to compute number of partitions for all repartition topics. There may be loops in the topology "
            "that cannot be resolved."
        )
    if any(each.name not in found for one in order for each in one.repartition_source_topics):
        raise _invalid(
            "Failed to compute number of partitions for all repartition topics, because a repartition source topic is "
            "never used as a sink topic."
        )
    return found


def _widest_input(subtopology: Subtopology, found: Mapping[str, int], existing: PartitionCount) -> int | None:
    known = [found.get(each.name) for each in subtopology.repartition_source_topics]
    known += [existing(topic) for topic in subtopology.source_topics]
    return max((count for count in known if count is not None), default=None)


def _copartition_groups(subtopology: Subtopology) -> Iterable[frozenset[str]]:
    sources, repartition = subtopology.source_topics, subtopology.repartition_source_topics
    for group in subtopology.copartition_groups:
        if not all(0 <= place < len(sources) for place in group.source_topics) or not all(
            0 <= place < len(repartition) for place in group.repartition_source_topics
        ):
            _contradiction("a copartition group names a topic that its subtopology does not have")
        yield frozenset(
            [sources[place] for place in group.source_topics]
            + [repartition[place].name for place in group.repartition_source_topics]
        )


def _copartitioned(
    topics: frozenset[str],
    fixed: Collection[str],
    fixed_counts: Collection[int],
    flexible: Collection[str],
    counts: _Counts,
) -> dict[str, int]:
    """The partitions of the repartition topics in a copartition group. ``fixed_counts``: those of the fixed topics."""
    if not topics:
        return {}
    order = hash_map_order(sorted(topics), string_hash)
    repartition = {topic: counts[topic] for topic in order if topic in fixed or topic in flexible}
    others = {topic: counts[topic] for topic in order if topic not in repartition}
    if others:
        wanted = _same_count(others)
    elif fixed:
        if len(fixed_counts) > 1:
            raise _different(repartition)
        (wanted,) = fixed_counts
    else:
        wanted = max(repartition.values())
    for topic, count in repartition.items():
        if topic in fixed and count != wanted:
            raise _incorrect(
                f"Number of partitions [{count}] of repartition topic [{topic}] doesn't match number of partitions "
                f"[{wanted}] of the source topic."
            )
    return dict.fromkeys(repartition, wanted)


def _same_count(topics: Mapping[str, int]) -> int:
    counts = set(topics.values())
    if len(counts) > 1:
        raise _different(topics)
    return counts.pop()


def _configured(subtopology: Subtopology, counts: _Counts) -> ConfiguredSubtopology:
    inputs = [counts[topic] for topic in subtopology.input_topics()]
    if not inputs:
        _contradiction(f"subtopology {subtopology.subtopology_id} has no source topics")
    return ConfiguredSubtopology(
        max(inputs),
        frozenset(subtopology.source_topics),
        _internal_topics(subtopology.repartition_source_topics, counts),
        frozenset(subtopology.repartition_sink_topics),
        _internal_topics(subtopology.state_changelog_topics, counts),
    )


def _internal_topics(topics: Iterable[TopicInfo], counts: _Counts) -> dict[str, InternalTopic]:
    found: dict[str, InternalTopic] = {}
    for topic in topics:
        partitions = topic.partitions or counts.decided.get(topic.name, 0)
        configs = dict(topic.configs)
        if partitions < 1 or topic.name in found or len(configs) < len(topic.configs):
            _contradiction(f"internal topic {topic.name} has no partitions, or is described twice")
        found[topic.name] = InternalTopic(topic.name, partitions, topic.replication_factor, configs)
    return found


def _missing(
    topology: Topology, configured: Mapping[str, ConfiguredSubtopology], existing: PartitionCount
) -> dict[str, InternalTopic]:
    expected = {
        topic.name: topic
        for subtopology in configured.values()
        for topics in (subtopology.repartition_source_topics, subtopology.state_changelog_topics)
        for topic in topics.values()
    }
    for name in hash_map_order(topology.required_topics(), string_hash):
        count = existing(name)
        if count is not None and name in expected and count != expected[name].partitions:
            raise _incorrect(
                f"Existing topic {name} has different number of partitions: expected {expected[name].partitions}, "
                f"found {count}"
            )
    return {name: expected[name] for name in hash_map_order(expected, string_hash) if existing(name) is None}


def _summary(topics: Collection[str]) -> str:
    names = list(topics)
    more = len(names) - _TOPICS_NAMED
    return ", ".join(names[:_TOPICS_NAMED]) + (f" and {more} additional topics" if more > 0 else "")


def _different(topics: Mapping[str, int]) -> _Unusable:
    counts = ", ".join(f"{topic}={topics[topic]}" for topic in sorted(topics))
    return _incorrect(f"Following topics do not have the same number of partitions: [{{{counts}}}]")


def _incorrect(detail: str) -> _Unusable:
    return _Unusable(Problem(Status.INCORRECTLY_PARTITIONED_TOPICS, detail))


def _invalid(message: str) -> KafkaError:
    return KafkaError(Code.STREAMS_INVALID_TOPOLOGY, message)


def _contradiction(reason: str) -> NoReturn:
    """Apache Kafka does not check this and fails with an unexpected exception."""
    raise KafkaError(Code.UNKNOWN_SERVER_ERROR) from ValueError(reason)
