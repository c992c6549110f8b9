"""The partitions of internal topics: as decided in rounds, and without the work of as many rounds as subtopologies."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kwire.coordinators.group.streams.internal_topics import configure
from kwire.coordinators.group.streams.topology import Subtopology, TopicInfo, Topology
from kwire.coordinators.java_order import hash_map_order, string_hash
from kwire.errors import Code, KafkaError

SOURCES = {"s1": 1, "s2": 2, "s3": 3}
NAMES = [f"r{number}" for number in range(6)]


def internal(name, partitions=0):
    return TopicInfo(name, partitions, 0, ())


def subtopology(number, *, sources=(), reads=(), writes=()):
    return Subtopology(str(number), tuple(sources), (), (), tuple(writes), tuple(reads), ())


def topology(subtopologies):
    return Topology(1, {one.subtopology_id: one for one in subtopologies})


def counted_in_rounds(wanted):
    """Apache Kafka's rounds: each subtopology has its turn in each, until nothing is left to decide."""
    order = [wanted.subtopologies[each] for each in hash_map_order(wanted.subtopologies, string_hash)]
    found = {each.name: each.partitions for one in order for each in one.repartition_source_topics if each.partitions}
    while True:
        is_open = has_progress = False
        for one in order:
            for topic in one.repartition_sink_topics:
                if topic in found:
                    continue
                inputs = [found.get(each.name) for each in one.repartition_source_topics]
                known = [count for count in [*inputs, *map(SOURCES.get, one.source_topics)] if count is not None]
                if known:
                    found[topic] = max(known)
                    has_progress = True
                else:
                    is_open = True
        if not is_open:
            return found
        if not has_progress:
            return None


@st.composite
def topologies(draw):
    given_partitions = draw(st.dictionaries(st.sampled_from(NAMES), st.integers(0, 5)))
    subtopologies = []
    for number in range(draw(st.integers(1, 6))):
        reads = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=3))
        subtopologies.append(
            subtopology(
                number,
                sources=draw(st.lists(st.sampled_from(list(SOURCES)), unique=True, max_size=2)),
                reads=[internal(name, given_partitions.get(name, 0)) for name in reads],
                writes=draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=3)),
            )
        )
    return topology(subtopologies)


@given(topologies())
def test_partitions_are_those_that_rounds_decide(wanted):
    expected = counted_in_rounds(wanted)
    read = {each.name for one in wanted.subtopologies.values() for each in one.repartition_source_topics}
    has_inputs = all(one.source_topics or one.repartition_source_topics for one in wanted.subtopologies.values())
    if expected is None or not read <= expected.keys() or not has_inputs:
        with pytest.raises(KafkaError) as refused:
            configure(wanted, SOURCES.get)
        assert refused.value.code is Code.STREAMS_INVALID_TOPOLOGY
        return
    configured = configure(wanted, SOURCES.get)
    assert configured.subtopologies is not None
    for subtopology_id, one in configured.subtopologies.items():
        inputs = wanted.subtopologies[subtopology_id]
        counts = [expected[each.name] for each in inputs.repartition_source_topics]
        assert one.task_count == max(counts + [SOURCES[topic] for topic in inputs.source_topics])


def calls_for_a_chain(length):
    chain = [subtopology(0, sources=["s2"], writes=["r0"])]
    chain += [subtopology(n, reads=[internal(f"r{n - 1}")], writes=[f"r{n}"]) for n in range(1, length)]
    wanted = topology(chain)
    calls = 0

    def count(_frame, event, _arg):
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        configured = configure(wanted, SOURCES.get)
    finally:
        sys.setprofile(None)
    assert {one.task_count for one in configured.subtopologies.values()} == {2}
    return calls


def test_a_chain_of_subtopologies_costs_in_proportion_to_its_length():
    assert calls_for_a_chain(400) < 5 * calls_for_a_chain(100)
