"""Prints all that a broker holds, as JSON: every record of every topic, configs, committed offsets, users and quotas.

PROGRAM BOOTSTRAP. Two brokers that serve the same data print the same.
"""

import hashlib
import json
import sys

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, ConfigSource, ResourceType


def main() -> None:
    bootstrap = sys.argv[1]
    admin = AdminClient({"bootstrap.servers": bootstrap})
    topics = {name: topic for name, topic in admin.list_topics(timeout=30).topics.items() if not name.startswith("__")}
    found = {
        "topics": {
            name: partitions_of(bootstrap, name, len(topic.partitions)) for name, topic in sorted(topics.items())
        },
        "configs": {name: configs_of(admin, name) for name in sorted(topics)},
        "groups": groups_of(admin),
        "users": users_of(admin),
    }
    print(json.dumps(found, indent=1, sort_keys=True))


def partitions_of(bootstrap: str, topic: str, count: int) -> dict:
    return {str(index): records_of(bootstrap, topic, index) for index in range(count)}


def records_of(bootstrap: str, topic: str, index: int) -> dict:
    answer: dict = {}
    for level in ("read_uncommitted", "read_committed"):
        consumer = Consumer(
            {
                "bootstrap.servers": bootstrap, "group.id": "inventory", "isolation.level": level,
                "enable.auto.commit": False,
                "enable.partition.eof": True, "check.crcs": True, "auto.offset.reset": "earliest",
            }
        )  # fmt: skip
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, index), 30)
        consumer.assign([TopicPartition(topic, index, low)])
        digest, count, at_end = hashlib.sha256(), 0, False
        first = last = None
        while not at_end:
            for record in consumer.consume(1000, 1.0):
                if record.error():
                    assert record.error().name() == "_PARTITION_EOF", record.error()
                    at_end = True
                    continue
                whole = (record.offset(), record.timestamp(), record.key(), record.value(), record.headers())
                digest.update(repr(whole).encode())
                first, last = first or whole[:2], whole[:2]
                count += 1
        consumer.close()
        answer[level] = {
            "low": low,
            "high": high,
            "count": count,
            "first": first,
            "last": last,
            "sha256": digest.hexdigest()[:16],
        }
    return answer


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
