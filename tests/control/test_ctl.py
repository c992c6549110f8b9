"""``kwire ctl`` against a served broker."""

import itertools
import json
import re
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from test_http import Running

from kwire.cli.control.ctl import ctl
from kwire.control.conditions import ConditionKeys
from kwire.control.events import EVENTS
from kwire.faults.rules import RuleFields
from kwire.testing import EventError, KafkaBroker


@pytest.fixture(scope="module")
def control():
    with Running() as running:
        yield running


def run(control, *arguments):
    ended = CliRunner().invoke(ctl, ["--url", f"http://127.0.0.1:{control.port}", *arguments])
    return ended.exit_code, json.loads(ended.stdout) if ended.stdout else ended.stderr


def test_a_rule_of_pairs_is_armed_with_their_types(control):
    code, armed = run(control, "faults", "add", "name=r", "api=Heartbeat,Fetch", "error=NOT_COORDINATOR", "times=1")
    assert (code, armed["rule"]["api"], armed["rule"]["times"]) == (0, ["Heartbeat", "Fetch"], 1)
    control.heartbeat()
    assert run(control, "faults", "wait", "r", "--timeout", "5s")[1]["fired"] == 1
    assert run(control, "faults", "show", "r")[1]["fired"] == 1
    assert [each["name"] for each in run(control, "faults", "list")[1]] == ["r"]
    assert run(control, "faults", "release", "r")[1]["released"]
    assert run(control, "faults", "remove", "r")[0] == 0
    assert run(control, "faults", "clear") == (0, [])


def test_a_timeout_is_exit_code_3(control):
    run(control, "faults", "add", "name=idle", "api=Produce", "drop=true")
    assert run(control, "faults", "wait", "idle", "--timeout", "1ms")[0] == 3
    assert run(control, "wait", "--api", "Produce", "--timeout", "1")[0] == 3
    run(control, "faults", "clear")


def test_a_refusal_is_exit_code_1_with_its_sentence(control):
    assert run(control, "faults", "add", "api=Prodce", "drop=true") == (
        1,
        "kwire ctl: there is no API 'Prodce': did you mean Produce?\n",
    )
    assert run(control, "faults", "add", "api=Produce", "drop=yes") == (
        1,
        "kwire ctl: drop is true or false, not 'yes'\n",
    )
    assert run(control, "faults", "add", "api=Fetch", "versions=99", "drop=true") == (
        1,
        "kwire ctl: Fetch is served at versions 4 to 18, not at version 99\n",
    )
    assert run(control, "faults", "list") == (0, [])
    assert run(control, "faults", "show", "none") == (1, "kwire ctl: no rule named 'none' is armed\n")


def test_a_name_of_digits_is_a_name(control):
    _, armed = run(control, "faults", "add", "name=1", "api=Produce", "topic=42", 'client_id="true"', "drop=true")
    assert [armed["rule"][key] for key in ("name", "topic", "client_id")] == ["1", "42", "true"]
    run(control, "faults", "clear")


def test_a_pair_without_a_value_is_a_usage_error(control):
    assert run(control, "faults", "add", "drop")[0] == 2


def test_the_clock_is_shown_moved_and_stopped(control):
    before = run(control, "clock", "show")[1]["now_ms"]
    assert run(control, "clock", "advance", "2h")[1]["now_ms"] >= before + 7_200_000
    assert run(control, "clock", "rate", "0")[1]["rate"] == 0
    assert run(control, "clock", "rate", "1")[1]["rate"] == 1
    assert run(control, "clock", "advance", "soon")[0] == 2


def test_requests_and_topics_are_shown(control):
    control.heartbeat("shown")
    _, seen = run(control, "requests", "--group", "shown", "--last", "1")
    assert [each["request"]["group_id"] for each in seen] == ["shown"]
    assert run(control, "wait", "--api", "Heartbeat", "group_id=shown")[0] == 0
    control.ask("POST", "/v1/topics", {"name": "orders"})
    assert run(control, "topics")[1]["orders"] == [{"partition": 0, "start": 0, "end": 0}]


def test_requests_are_lines_on_a_terminal_and_json_with_the_option(control, monkeypatch):
    control.heartbeat("seen")
    arguments = ["--url", f"http://127.0.0.1:{control.port}", "requests", "--group", "seen", "--last", "1"]
    piped = CliRunner().invoke(ctl, arguments).stdout
    monkeypatch.setattr("kwire.cli.control.ctl.sys", SimpleNamespace(stdout=SimpleNamespace(isatty=lambda: True)))
    (line,) = CliRunner().invoke(ctl, arguments).stdout.splitlines()
    assert re.search(r"Heartbeat v\d+ \(group seen\): answered", line)
    assert CliRunner().invoke(ctl, [*arguments, "--json"]).stdout == piped
    assert json.loads(piped)[0]["request"]["group_id"] == "seen"


def test_one_topic_is_shown_or_refused(control):
    control.ask("POST", "/v1/topics", {"name": "single"})
    assert run(control, "topics", "single")[1]["partitions"][0]["end"] == 0
    code, refusal = run(control, "topics", "nope")
    assert (code, "nope" in refusal) == (1, True)


def test_a_mistyped_condition_or_event_has_the_words_of_kwire_testing(control):
    with KafkaBroker() as kafka:
        for arguments, call in (
            (["until", "grup=billing"], lambda: kafka.wait_until(grup="billing")),
            (["until", "group=billing", "lag=-1"], lambda: kafka.wait_until(group="billing", lag=-1)),
            (["happen", "rebalence", "group=a"], lambda: kafka.happen("rebalence", group="a")),
            (["happen", "rebalance", "grup=a"], lambda: kafka.happen("rebalance", grup="a")),
        ):
            with pytest.raises(ValueError, match=r"did you mean|is not negative") as refusal:
                call()
            assert run(control, *arguments) == (1, f"kwire ctl: {refusal.value}\n")
        with pytest.raises(EventError, match="there is no event 'rebalence': did you mean rebalance"):
            kafka.happen("rebalence", group="a")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["faults", "add"], RuleFields.__annotations__),
        (["happen"], {*EVENTS, *itertools.chain(*EVENTS.values())}),
        (["until"], ConditionKeys.__annotations__),
    ],
)
def test_the_help_names_every_key(command, words):
    shown = CliRunner().invoke(ctl, [*command, "--help"]).stdout
    assert set(words) <= set(re.findall(r"\w+", shown))


def test_the_address_may_stand_behind_the_command(control):
    for address in (["--url", f"127.0.0.1:{control.port}"], [f"--url=127.0.0.1:{control.port}"]):
        ended = CliRunner().invoke(ctl, ["clock", "show", *address, "--token", "unused"])
        assert (ended.exit_code, json.loads(ended.stdout)["rate"]) == (0, 1), ended.output


def test_an_option_behind_the_command_needs_its_value():
    ended = CliRunner().invoke(ctl, ["clock", "show", "--url"])
    assert (ended.exit_code, "Option '--url' requires an argument." in ended.stderr) == (2, True)


def test_an_address_without_http_is_enough(control):
    assert CliRunner().invoke(ctl, ["--url", f"127.0.0.1:{control.port}", "topics"]).exit_code == 0


def test_a_broker_without_control_is_one_sentence():
    ended = CliRunner().invoke(ctl, ["--url", "http://127.0.0.1:1", "topics"])
    assert ended.exit_code == 1
    assert "is the broker started with --control" in ended.stderr
