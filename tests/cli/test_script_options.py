"""The two kinds of command line that the official scripts have."""

import pytest

from kwire.cli.java.arguments import Arguments, add_servers
from kwire.cli.java.exits import Failure
from kwire.cli.java.options import BOOTSTRAP, OLD_BROKER_LIST, ZOOKEEPER, Option, Wrong, parse
from kwire.cli.script_twins.common import bootstrap_of, numbers
from kwire.cli.script_twins.topic_filter import matches
from kwire.kafka_release import RELEASE

OPTIONS = (
    BOOTSTRAP,
    OLD_BROKER_LIST,
    ZOOKEEPER,
    Option("list", "List."),
    Option("topic", "A topic.", "NAME", many=True),
    Option("partitions", "How many.", "N", number=True, default="1"),
    Option("shift-by", "How far.", "N", number=True),
    Option("state", "States.", "STATES", optional_value=True),
)


def parsed(*argv):
    return parse("kafka-test", "A test.", OPTIONS, argv)


def test_a_value_stands_behind_a_blank_or_an_equals_sign():
    assert parsed("--topic", "a", "--topic=b=c").values("topic") == ["a", "b=c"]


def test_a_needed_value_may_look_like_an_option():
    assert parsed("--shift-by", "-3").number("shift-by") == -3


def test_an_optional_value_never_looks_like_an_option():
    line = parsed("--state", "--list")
    assert line.has("state")
    assert line.value("state") == ""
    assert line.has("list")
    assert parsed("--state", "stable,empty").value("state") == "stable,empty"
    assert parsed("--state=").value("state") == ""


def test_other_words_are_ignored():
    assert parsed("--list", "stray", "words").has("list")


def test_nothing_is_an_option_behind_two_dashes():
    assert not parsed("--topic", "a", "--", "--list").has("list")


def test_an_option_that_was_not_given_has_its_default():
    assert parsed("--list").number("partitions") == 1
    assert parsed("--list").value("topic") is None
    assert parsed("--list").number("shift-by") is None


def test_the_order_of_the_line_is_kept():
    assert parsed("--topic", "a", "--list", "--topic", "b").in_order() == [("topic", "a"), ("list", ""), ("topic", "b")]


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["--lis"], "lis is not a recognized option"),
        (["--topic"], "Option topic requires an argument"),
    ],
)
def test_a_line_that_cannot_be_read_is_refused_with_the_official_message(argv, complaint):
    with pytest.raises(Wrong) as caught:
        parsed(*argv)
    assert str(caught.value) == complaint


def test_values_that_do_not_fit_are_refused_when_they_are_asked_for():
    with pytest.raises(Wrong, match="Cannot parse argument 'x' of option partitions"):
        parsed("--partitions", "x").number("partitions")
    with pytest.raises(Wrong, match="Found multiple arguments for option topic, but you asked for only one"):
        parsed("--topic", "a", "--topic", "b").value("topic")
    with pytest.raises(Wrong, match="Missing required argument"):
        parsed("--list").text("topic")


def test_refusals_say_where_to_look():
    with pytest.raises(Failure) as caught:
        parsed("--list").require("bootstrap-server", "topic")
    assert caught.value.message == 'Missing required argument "[bootstrap-server]"\nOptions: kafka-test --help'
    assert (caught.value.code, caught.value.stream) == (1, "err")
    with pytest.raises(Failure, match="can't be used with option"):
        parsed("--list", "--topic", "a").forbid("list", ["topic"])


@pytest.mark.parametrize("argv", [[], ["--help"], ["--list", "--help"]])
def test_help_shows_every_option_except_old_spellings(argv):
    with pytest.raises(Failure) as caught:
        parsed(*argv)
    text = caught.value.message
    assert caught.value.code == 1
    assert text.startswith("A test.")
    assert "--partitions <N>\n        How many. (default: 1)" in text
    assert "--state [STATES]" in text
    assert "zookeeper" not in text
    assert "broker-list" not in text


def test_the_version_is_kafka_s(capsys):
    with pytest.raises(SystemExit) as caught:
        parsed("--version")
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"{RELEASE}\n"


# ---- where the broker is


def test_the_broker_is_where_the_line_says(monkeypatch):
    monkeypatch.setenv("KWIRE_BOOTSTRAP", "elsewhere:1")
    assert bootstrap_of(parsed("--bootstrap-server", "a:1", "--bootstrap-server", "b:2")) == "a:1,b:2"
    assert bootstrap_of(parsed("--broker-list", "a:1")) == "a:1"
    assert bootstrap_of(parsed("--list")) is None


@pytest.mark.parametrize("text", ["zoo:2181", "zoo", "zoo:2181/kafka", "zoo:2181,zoo2:2181,zoo3:2181/kafka"])
def test_zookeeper_stands_for_the_broker_of_its_host(text, monkeypatch, capsys):
    monkeypatch.delenv("KWIRE_BOOTSTRAP", raising=False)
    assert bootstrap_of(parsed("--zookeeper", text)) == "zoo:9092"
    warned = capsys.readouterr().err
    assert f"asking the broker zoo:9092 instead of {text}" in warned


def test_zookeeper_stands_for_what_the_environment_says(monkeypatch, capsys):
    monkeypatch.setenv("KWIRE_BOOTSTRAP", "kafka:19092")
    assert bootstrap_of(parsed("--zookeeper", "zoo:2181")) == "kafka:19092"
    assert "kafka:19092" in capsys.readouterr().err


def test_a_broker_is_asked_rather_than_a_zookeeper(capsys):
    assert bootstrap_of(parsed("--zookeeper", "zoo:2181", "--bootstrap-server", "kafka:9092")) == "kafka:9092"
    assert capsys.readouterr().err == "WARNING: --zookeeper zoo:2181 has no effect beside --bootstrap-server.\n"


def test_numbers_are_written_with_commas():
    assert numbers([3, 1, 2]) == "3,1,2"


# ---- topics by expression


def test_an_expression_means_whole_names():
    assert matches("a.*", ["a", "ab", "ba"]) == ["a", "ab"]
    assert matches("a, b", ["a", "ab", "b"]) == ["a", "b"]
    assert matches("'a|b'", ["a", "ab", "b"]) == ["a", "b"]


def test_what_is_no_expression_is_refused():
    with pytest.raises(Wrong, match="is an invalid regex"):
        matches("a(", [])


# ---- scripts with sub-commands


def commands(**how):
    parser = Arguments(prog="kafka-test", description="A test.", **how)
    add_servers(parser.add_command("describe", "Describe."), short=True)
    parser.add_command("version", "Say the version.").add_argument("--release", "-r", required=True)
    return parser


def refused(*argv, **how):
    with pytest.raises(Failure) as caught:
        commands(**how).read(argv)
    return caught.value


def test_a_sub_command_and_its_options_are_read():
    given = commands().read(["describe", "-b", "a:1"])
    assert (given.command, given.bootstrap_server, given.bootstrap_controller) == ("describe", "a:1", None)


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        ([], "kafka-test: error: too few arguments"),
        (["nosuch"], "kafka-test: error: invalid choice: 'nosuch' (choose from 'describe', 'version')"),
        (["describe"], "one of the arguments --bootstrap-server/-b --bootstrap-controller/-C is required"),
        (["version"], "kafka-test: error: argument --release/-r is required"),
        (["describe", "-b", "a:1", "--nosuch"], "kafka-test: error: unrecognized arguments: '--nosuch'"),
        (["describe", "-b", "a:1", "-C", "b:2"], "not allowed with argument"),
    ],
)
def test_a_wrong_line_of_commands_shows_usage_and_the_reason(argv, complaint):
    failure = refused(*argv)
    assert failure.message.startswith("usage: kafka-test")
    assert complaint in failure.message
    assert (failure.code, failure.stream) == (1, "err")


def test_some_scripts_complain_in_one_line():
    assert refused(terse=True).message == "Command line error: too few arguments. Type --help for help."


@pytest.mark.parametrize("code", [0, 1])
def test_help_of_commands_goes_to_stdout_with_the_script_s_code(code):
    failure = refused("version", "--help", help_code=code)
    assert (failure.code, failure.stream) == (code, "out")
    assert "Say the version." in failure.message
    assert "--release" in failure.message
    assert "describe" in refused("-h", help_code=code).message
