"""The parts of the random comparison with Apache Kafka that need no broker."""

import signal
import subprocess
import sys

import pytest

pytest.importorskip("interop.differential", reason="interop is no part of the installed package")

from interop.differential.comparison import blocked_by_known_silence, is_known, without_sources_of_defaults
from interop.differential.mutations import mutated, repeated
from interop.differential.operations import Operation, from_line, read_script, to_line
from interop.differential.sequences import KINDS, sequence
from interop.differential.session import NO_ANSWER
from interop.differential.shrinking import shrunk
from interop.differential.world import World
from interop.jars import ROOT
from interop.oracle.normal import Normalizer


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


def test_a_repeated_item_stands_twice_in_a_list_of_the_request():
    dice = World(1).random
    made = [repeated(operation(1), dice) for _ in range(50)]
    assert all(len(one.body["topics"]) == 3 for one in made)
    twice = [one for one in made if len({topic["name"] for topic in one.body["topics"]}) == 2]
    assert 10 < len(twice) < 50, "the second one is changed in some"
    assert len(operation(1).body["topics"]) == 2


def test_without_repeated_items_a_seed_gives_the_same_sequence_otherwise():
    plain, with_repeats = (sequence(5, "groups", share) for share in (0.0, 1.0))
    assert [one.label for one in plain] == [one.label for one in with_repeats]
    assert plain != with_repeats


def test_members_of_all_protocols_are_drawn_only_when_they_are_asked_for():
    asked = {one.api for seed in range(20) for one in sequence(seed, "protocols")}
    drawn = {one.api for seed in range(100) for one in sequence(seed)}
    heartbeats = {"ConsumerGroupHeartbeat", "ShareGroupHeartbeat", "StreamsGroupHeartbeat"}
    assert heartbeats | {"JoinGroup", "Heartbeat"} <= asked
    assert not heartbeats & drawn


@pytest.mark.parametrize(("names", "expected"), [(("t", "u", "t"), True), (("t", "u"), False)])
def test_that_apache_does_not_answer_a_resource_twice_is_known_however_long_the_other_answer_is(names, expected):
    resources = [{"resourceType": 2, "resourceName": name, "configs": []} for name in names]
    altering = Operation("admin", "AlterConfigs", 2, {"resources": resources})

    assert is_known(altering, ": 'no answer' / {'responses': [ ... ]}") is expected


LEAVING = {"groupId": "g"}
UNKNOWN_MEMBER = {"errorCode": 25}


def test_a_request_behind_one_that_apache_is_known_not_to_answer_ends_the_comparison():
    operations = [
        Operation(on, api, 3, LEAVING) for on, api in (("m", "SyncGroup"), ("n", "Heartbeat"), ("m", "JoinGroup"))
    ]
    apache, other = [NO_ANSWER, UNKNOWN_MEMBER, NO_ANSWER], [UNKNOWN_MEMBER] * 3

    assert blocked_by_known_silence(operations, apache, other) == 2


def test_a_request_that_apache_does_not_answer_is_compared_when_none_before_it_on_its_connection_waits():
    operations = [Operation(on, api, 3, LEAVING) for on, api in (("m", "SyncGroup"), ("n", "JoinGroup"))]

    assert blocked_by_known_silence(operations, [NO_ANSWER] * 2, [UNKNOWN_MEMBER] * 2) == 2


def test_a_silence_of_apache_that_is_not_known_does_not_end_the_comparison():
    operations = [Operation("m", api, 3, LEAVING) for api in ("Heartbeat", "JoinGroup")]

    assert blocked_by_known_silence(operations, [NO_ANSWER] * 2, [UNKNOWN_MEMBER] * 2) == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_run_after_its_brokers(number):
    code = (
        "import signal\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "from interop.processes import end_with\n"
        "end_with(lambda: print('closed', flush=True))\n"
        "print('ready', flush=True)\n"
        "signal.pause()\n"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.stdout.read() == "closed\n"
    assert process.returncode == 128 + number


def test_the_source_of_a_default_that_apache_is_given_does_not_count():
    given = {"name": "consumer.assignment.interval.ms", "value": "0", "configSource": 4, "synonyms": []}
    other = {"name": "consumer.session.timeout.ms", "value": "1", "configSource": 5, "synonyms": []}
    answer = {"results": [{"configs": [dict(given), dict(other)]}, {"configs": None}]}
    without_sources_of_defaults(answer)
    assert answer["results"][0]["configs"] == [{"name": given["name"], "value": "0"}, other]


def test_members_are_in_the_order_in_which_their_ids_were_first_seen():
    """Apache Kafka gives a classic member of a consumer group an id of 22 random characters."""
    orders = []
    for made_up in ("AbCdEfGhIjKlMnOpQrStUv", "zbCdEfGhIjKlMnOpQrStUv"):
        normalizer = Normalizer()
        normalizer.normal({"memberId": "d1-n0"}, "ConsumerGroupHeartbeat")
        normalizer.normal({"memberId": made_up}, "JoinGroup")
        members = sorted([made_up, "d1-n0"])
        group = {"members": [{"memberId": one, "rack": one == made_up} for one in members]}
        orders.append(normalizer.normal(group, "ConsumerGroupDescribe"))
    assert orders[0] == orders[1]
