"""What every generator draws from: names, versions, connections, and operations made out of them."""

import random
from collections.abc import Sequence
from typing import Any, TypeVar

from interop.differential.operations import Json, Operation
from interop.oracle.asker import versions

T = TypeVar("T")
TOPICS: dict[str, int] = {"~t0": 2, "~t1": 1, "~t2": 3}  # with their partitions
NO_TOPIC = "~none"


class World:
    """The draws of one seed and the operations so far."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.operations: list[Operation] = []

    def ask(self, on: str, api: str, body: Json, *, version: int | None = None, **keep: str) -> None:
        """Adds a request; keyword names have _ for . and say where in the answer a value stands."""
        chosen = self.version(api) if version is None else version
        kept = {name.replace("_", ".", 1): path for name, path in keep.items()}
        self.operations.append(Operation(on, api, chosen, body, kept))

    def pause(self, seconds: float) -> None:
        self.operations.append(Operation(pause_s=seconds))

    def close(self, on: str) -> None:
        self.operations.append(Operation(on=on))

    def version(self, api: str, lowest: int = 0) -> int:
        """The newest most often, and each of the others."""
        served = [version for version in versions(api) if version >= lowest]
        return served[-1] if self.chance(0.3) else self.random.choice(served)

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def one(self, *values: T) -> T:
        return self.random.choice(values)

    def weighted(self, weights: dict[T, int]) -> T:
        return self.random.choices(list(weights), list(weights.values()))[0]

    def some(self, values: Sequence[T], most: int = 3) -> list[T]:
        """One to `most` of these; now and then one of them twice, or none."""
        if self.chance(0.03):
            return []
        chosen = self.random.sample(list(values), self.random.randint(1, min(most, len(values))))
        return [*chosen, chosen[0]] if self.chance(0.05) else chosen

    def topic(self) -> str:
        return NO_TOPIC if self.chance(0.03) else self.random.choice(list(TOPICS))

    def partition(self, topic: str) -> int:
        """One that is there, rarely one that is not."""
        if self.chance(0.03):
            return self.one(-1, 7, TOPICS.get(topic, 1))
        return self.random.randrange(TOPICS.get(topic, 1))

    def topics(self) -> list[str]:
        """One or two different topics."""
        return list(dict.fromkeys(self.topic() for _ in range(self.random.randint(1, 2))))

    def partitions(self, topic: str) -> list[int]:
        """One or two different partitions."""
        return list(dict.fromkeys(self.partition(topic) for _ in range(self.random.randint(1, 2))))

    def place(self) -> tuple[str, int]:
        topic = self.topic()
        return topic, self.partition(topic)

    def create_topics(self, configs: dict[str, dict[str, str]] | None = None) -> None:
        """The topics of the world, with each its configs."""
        topics = [
            {
                "name": name,
                "numPartitions": partitions,
                "replicationFactor": 1,
                "configs": [{"name": key, "value": value} for key, value in (configs or {}).get(name, {}).items()],
            }
            for name, partitions in TOPICS.items()
        ]
        self.ask("setup", "CreateTopics", {"topics": topics, "timeoutMs": 10000}, version=7)


def named(topic: str) -> Json:
    """A topic by name and by id; the version decides which is sent."""
    return {"name": topic, "topicId": {"$id": topic}}


def reference(name: str, default: Any = -1, plus: int = 0) -> Json:
    value: Json = {"$": name, "else": default}
    return {**value, "plus": plus} if plus else value
