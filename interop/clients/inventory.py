"""Prints all that a broker holds, as JSON: every record of every topic, configs, committed offsets, users and quotas.

PROGRAM BOOTSTRAP. Two brokers that serve the same data print the same.
"""

import hashlib
import json
import sys
import time

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, ConfigSource, ResourceType


def main() -> None:
    bootstrap = sys.argv[1]
    admin = AdminClient({"bootstrap.servers": bootstrap})
    topics = {name: topic for name, topic in admin.list_topics(timeout=30).topics.items() if not name.startswith("__")}
    found = {
        "topics": records_of(bootstrap, {name: len(topic.partitions) for name, topic in sorted(topics.items())}),
        "configs": {name: configs_of(admin, name) for name in sorted(topics)},
        "groups": groups_of(admin),
        "users": users_of(admin),
    }
    print(json.dumps(found, indent=1, sort_keys=True))


def records_of(bootstrap: str, counts: dict[str, int]) -> dict:
    """Per topic and partition, at both isolation levels: where it begins and ends, and a digest of its records."""
    answer: dict = {name: {str(index): {} for index in range(count)} for name, count in counts.items()}
    for level in ("read_uncommitted", "read_committed"):
        consumer = Consumer(
            {
                "bootstrap.servers": bootstrap, "group.id": "inventory", "isolation.level": level,
                "enable.auto.commit": False, "enable.partition.eof": True, "check.crcs": True,
                "auto.offset.reset": "earliest", "fetch.wait.max.ms": 20,
            }
        )  # fmt: skip
        found: dict[tuple[str, int], dict] = {}
        for name, count in counts.items():
            for index in range(count):
                low, high = watermarks(consumer, TopicPartition(name, index))
                found[name, index] = {
                    "low": low, "high": high, "count": 0, "first": None, "last": None, "sha256": hashlib.sha256(),
                }  # fmt: skip
        consumer.assign([TopicPartition(*key, tell["low"]) for key, tell in found.items()])
        left = set(found)
        while left:
            for record in consumer.consume(5000, 0.1):
                key = record.topic(), record.partition()
                if record.error():
                    assert record.error().name() == "_PARTITION_EOF", record.error()
                    left.discard(key)
                    continue
                tell = found[key]
                whole = (record.offset(), record.timestamp(), record.key(), record.value(), record.headers())
                tell["sha256"].update(repr(whole).encode())
                tell["first"], tell["last"] = tell["first"] or whole[:2], whole[:2]
                tell["count"] += 1
        consumer.close()
        for (name, index), tell in found.items():
            answer[name][str(index)][level] = {**tell, "sha256": tell["sha256"].hexdigest()[:16]}
    return answer


def watermarks(consumer: Consumer, partition: TopicPartition) -> tuple[int, int]:
    """A broker that has just started may not lead yet."""
    deadline = time.monotonic() + 60
    while True:
        try:
            found: tuple[int, int] = consumer.get_watermark_offsets(partition, 30)
        except KafkaException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)  # a poll, bounded above
        else:
            return found


def configs_of(admin: AdminClient, topic: str) -> dict:
    (configs,) = (f.result(30) for f in admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]).values())
    own = ConfigSource.DYNAMIC_TOPIC_CONFIG.value
    return {name: entry.value for name, entry in sorted(configs.items()) if entry.source == own}


def groups_of(admin: AdminClient) -> dict:
    names = sorted(group.group_id for group in admin.list_consumer_groups().result(30).valid)
    answer = {}
    for name in names:
        (offsets,) = (
            f.result(30) for f in admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(name)]).values()
        )
        answer[name] = sorted([tp.topic, tp.partition, tp.offset, tp.metadata] for tp in offsets.topic_partitions)
    return {name: offsets for name, offsets in answer.items() if offsets}


def users_of(admin: AdminClient) -> dict:
    described = admin.describe_user_scram_credentials().result(30)
    return {
        name: [[i.mechanism.name, i.iterations] for i in user.scram_credential_infos]
        for name, user in sorted(described.items())
    }


if __name__ == "__main__":
    main()
