"""Regular expressions of subscriptions: RE2's language, Apache Kafka's words, and nothing that takes long."""

import pytest

from kwire.coordinators.group.consumer.patterns import check_regex, matching_topics, why_invalid
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
