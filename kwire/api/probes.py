"""Values of probes: the request of an API that changes nothing, which ``kwire selfcheck`` sends to a broker.

Responsible for: names and ids that do not exist, and parts of requests that several APIs have. Must not depend on: the
APIs, message classes.

Each module of an API has its ``PROBE``: values by field name, for all versions. Fields that a version lacks are left
out, also in inner structs; None becomes an empty list where a version has no null. A probe contains elements where
possible (an unknown topic, not an empty list), so that the answer has elements to decode. Three rules keep it free of
effects: a write is only validated or refers to something that does not exist; group and transaction requests come from
a member or producer that does not exist; and no request names a group or a transaction where that would create it.
Only internal topics may be created: FindCoordinator version 0 can only look up a group, and a broker creates
``__consumer_offsets`` at the first such request.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

Probe: TypeAlias = Mapping[str, Any]

UNKNOWN_NAME: Final = "kwire-selfcheck-unknown"
NO_TOPIC: Final = "kwire-selfcheck-no-such-topic"
NO_ID: Final = b"kwire-selfcheck!"
NO_UUID_TEXT: Final = "a3dpcmUtc2VsZmNoZWNrIQ"  # the same 16 bytes, as Kafka writes them
NO_BROKER: Final = 2_147_483_646

PARTITION: Final = {"partition": 0, "partition_index": 0}
# A topic. The fields of its name and partitions have other names in each API.
NAMED: Final = {"name": NO_TOPIC, "topic": NO_TOPIC, "topic_name": NO_TOPIC, "topic_id": NO_ID}
INDEXES: Final = ({**NAMED, "partition_indexes": [0], "partitions": [0]},)
PARTITIONS: Final = ({**NAMED, "partitions": [PARTITION]},)
MEMBER: Final = {"group_id": UNKNOWN_NAME, "member_id": UNKNOWN_NAME, "generation_id": 1, "member_epoch": 7}
TRANSACTION: Final = {
    "transactional_id": UNKNOWN_NAME,
    "producer_id": 9_223_372_036_854_775_806,
    "producer_epoch": 1,
}
# No config of a topic, which is resource type 2.
NO_CONFIG: Final = ({"resource_type": 2, "resource_name": NO_TOPIC, "configs": []},)
