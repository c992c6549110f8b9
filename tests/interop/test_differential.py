"""The parts of the random comparison with Apache Kafka that need no broker."""

import pytest

pytest.importorskip("interop.differential", reason="interop is no part of the installed package")

from interop.differential.mutations import mutated
from interop.differential.operations import Operation, from_line, read_script, to_line
from interop.differential.sequences import KINDS, sequence
from interop.differential.shrinking import shrunk
from interop.differential.world import World


def operation(number):
    return Operation("c", "Metadata", 12, {"topics": [{"name": f"t{number}"}, {"name": "other"}]})


def test_a_seed_gives_the_same_sequence_each_time():
    for kind in KINDS:
        assert sequence(7, kind) == sequence(7, kind)
    assert sequence(7) != sequence(8)


def test_a_sequence_is_the_same_after_it_was_printed_and_read():
    for kind in KINDS:
        operations = sequence(3, kind)
        lines = [line for one in operations for line in (to_line(one), "#   an answer", "")]
        assert read_script(lines) == operations


def test_a_pause_and_a_closed_connection_are_operations():
    for one in (Operation(pause_s=0.5), Operation(on="c")):
        assert from_line(to_line(one)) == one


def test_shrinking_keeps_the_operations_and_the_items_that_fail():
    operations = [operation(number) for number in range(40)]

    def fails(tried):
        names = [topic["name"] for one in tried for topic in one.body["topics"]]
        return "t3" in names and "t31" in names

    assert shrunk(operations, fails, place=35) == [
        Operation("c", "Metadata", 12, {"topics": [{"name": name}]}) for name in ("t3", "t31")
    ]


def test_a_mutated_request_differs_in_one_value():
    dice = World(1).random
    changed = [mutated(operation(1), dice) for _ in range(50)]
    assert all(one.api == "Metadata" and one.on == "c" for one in changed)
    assert any(one.body["topics"] == [] for one in changed)
    assert operation(1) == operation(1)
