"""Topics named at the start of a broker: those that do not exist are created before it is ready.

Responsible for: creating missing topics. Must not depend on: where the names come from.
"""

from __future__ import annotations

from collections.abc import Sequence

from kwire.broker.broker import Broker
from kwire.errors import KafkaError
from kwire.metadata.commands.topics import CreateTopics
from kwire.metadata.decisions.topics import NewTopic


async def create_missing_topics(broker: Broker, topics: Sequence[NewTopic]) -> list[tuple[NewTopic, KafkaError]]:
    """Create the topics that do not exist; returns those that were refused, each with its error.

    An existing topic keeps its partitions and configs; of two entries with one name the last counts.
    """
    wanted = {topic.name: topic for topic in topics}
    missing = [topic for name, topic in wanted.items() if name not in broker.image.topics]
    if not missing:
        return []
    results = await broker.controller.submit(CreateTopics(missing, described=False))
    return [(topic, result) for topic, result in zip(missing, results, strict=True) if isinstance(result, KafkaError)]
