"""A topic in one word: ``NAME[:PARTITIONS[:REPLICAS[:CLEANUP_POLICY]]]``, as in ``orders:3`` and ``users:1:1:compact``.

Responsible for: reading ``--topic`` and the list in ``KAFKA_CREATE_TOPICS``. Must not depend on: a broker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kwire.errors import KafkaError
from kwire.metadata.config_rules import check_topic_name

if TYPE_CHECKING:  # most brokers start without a list of topics
    from kwire.metadata.decisions.topics import NewTopic

FORM: Final = "NAME[:PARTITIONS[:REPLICAS[:CLEANUP_POLICY]]]"
_POLICIES: Final = frozenset({"delete", "compact"})


class TopicSpecError(ValueError):
    """The word is not a topic; the message says what is wrong with it and shows the form."""


def parse_topic(word: str) -> NewTopic:
    """Read one topic. An empty part takes the broker's default. Raises TopicSpecError."""
    from kwire.metadata.decisions.topics import NewTopic

    name, *rest = word.strip().split(":")
    if len(rest) > 3:
        raise TopicSpecError(f"{word!r} has too many parts: write {FORM}, such as orders:3")
    try:
        check_topic_name(name)
    except KafkaError as error:
        raise TopicSpecError(f"{word!r}: {error.message}") from error
    partitions, replicas, policy = (*rest, "", "", "")[:3]
    policies = [each.strip() for each in policy.replace("+", ",").split(",") if each.strip()]
    for each in policies:
        if each not in _POLICIES:
            raise TopicSpecError(f"{word!r}: cleanup policy {each!r} is neither delete nor compact")
    return NewTopic(
        name,
        _count(partitions, "partitions", word),
        _count(replicas, "replicas", word),
        configs={"cleanup.policy": ",".join(policies)} if policies else {},
    )


def _count(text: str, what: str, word: str) -> int:
    from kwire.metadata.decisions.topics import USE_DEFAULT

    if not text.strip():
        return USE_DEFAULT
    if not text.strip().isdecimal() or int(text) < 1:
        raise TopicSpecError(f"{word!r}: the number of {what} is {text!r}; write a number from 1, such as orders:3")
    return int(text)
