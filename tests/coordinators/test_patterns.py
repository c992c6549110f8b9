"""Regular expressions of subscriptions: RE2's language, Apache Kafka's words, and nothing that takes long."""

import pytest

from kwire.coordinators.patterns import check_regex, matching_topics, transaction_matcher, why_invalid
from kwire.errors import Code, KafkaError

TOPICS = ["orders", "orders.eu", "payments"]


def test_a_topic_matches_with_its_whole_name():
    found = matching_topics(["orders", "orders.*", ".*ments|nothing", ""], TOPICS)

    assert found == {
        "orders": frozenset({"orders"}),
        "orders.*": frozenset({"orders", "orders.eu"}),
        ".*ments|nothing": frozenset({"payments"}),
        "": frozenset(),
    }


def test_an_expression_that_is_not_valid_matches_nothing():
    assert matching_topics(["a(b"], TOPICS) == {"a(b": frozenset()}


@pytest.mark.parametrize(
    ("regex", "reason"),
    [
        ("[", "missing closing ]"),
        ("a(b", "missing closing )"),
        ("*", "missing argument to repetition operator"),
        ("a**", "invalid nested repetition operator"),
        ("a{1001}", "invalid repeat count"),
        ("(?=a)", "invalid or unsupported Perl syntax"),
        ("[b-a]", "invalid character class range"),
        ("\\8", "invalid escape sequence"),
        ("a\\", "trailing backslash at end of expression"),
        ("(?<n", "invalid named capture"),
    ],
)
def test_a_refusal_has_the_words_of_apache_kafka(regex, reason):
    with pytest.raises(KafkaError) as refusal:
        check_regex(regex)

    assert refusal.value.code is Code.INVALID_REGULAR_EXPRESSION
    assert refusal.value.message == f"SubscribedTopicRegex `{regex}` is not a valid regular expression: {reason}."


@pytest.mark.parametrize("regex", ["(a*)*b", "(a|aa)+$", "(x+x+)+y", "(" * 5000 + ")" * 5000])
def test_an_expression_that_is_slow_elsewhere_matches_in_linear_time(regex):
    # A backtracking matcher would not end.
    names = ["a" * 200 + "!", "x" * 200] * 50

    assert why_invalid(regex) is None
    assert matching_topics([regex], names) == {regex: frozenset()}


@pytest.mark.parametrize("regex", ["\\pL{1000}", "a" * 100_000])
def test_an_expression_that_is_too_large_is_refused(regex):
    assert why_invalid(regex) is not None


def test_a_transactional_id_matches_with_its_whole_name():
    matches = transaction_matcher("alpha|beta.*")

    assert matches is not None
    assert [name for name in ("alpha", "alphabet", "beta", "betamax", "x") if matches(name)] == [
        "alpha",
        "beta",
        "betamax",
    ]


@pytest.mark.parametrize("pattern", [None, ""])
def test_without_a_pattern_every_transactional_id_matches(pattern):
    assert transaction_matcher(pattern) is None


def test_a_pattern_of_transactional_ids_that_backtracks_elsewhere_matches_in_linear_time():
    matches = transaction_matcher("(a*)*b")

    assert matches is not None
    assert not matches("a" * 10_000)


@pytest.mark.parametrize("pattern", ["(a)\\1", "(?=a)", "["])
def test_a_pattern_of_transactional_ids_that_is_not_of_re2_is_refused(pattern):
    with pytest.raises(KafkaError) as refusal:
        transaction_matcher(pattern)

    assert refusal.value.code is Code.INVALID_REGULAR_EXPRESSION
    assert refusal.value.message.startswith(f"Transaction ID pattern `{pattern}` is not a valid regular expression: ")
