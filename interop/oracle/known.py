"""The differences that are meant: each with the reason a user would nod at. They go into docs/compatibility.md."""

import re
from typing import NamedTuple


class Known(NamedTuple):
    story: str  # a pattern for the story's title
    line: str  # a pattern for the difference's line
    about: str
    reason: str


NONSENSE = "Nonsense in a request"
NONSENSE_REASON = (
    "Where Apache Kafka trips over its own exception and answers UNKNOWN_SERVER_ERROR (a fetch with isolation level 7"
    " or a negative byte limit, a topic with neither name nor id, an unknown config operation, a share partition -1),"
    " kwire answers INVALID_REQUEST or takes the nearest sensible value; so it does where Apache Kafka never answers"
    " (WriteTxnMarkers that names a topic twice). A quota that is no number is"
    " refused."
)
TEXT = "Texts of errors"
TEXT_REASON = (
    "Codes are Kafka's. A message that says nothing but what its code means is left out or put in words of our own."
)

REQUEST_TEXT = "Texts of refusals"
REQUEST_TEXT_REASON = (
    "Where a client may not do something to the cluster, Apache Kafka's message prints the broker's request object;"
    " kwire says that the authorization failed."
)

DOCUMENTATION = "Documentation of configs"
DOCUMENTATION_REASON = "DescribeConfigs describes each config in kwire's own words."

SETTLING = "Heartbeats while a consumer group settles"
SETTLING_REASON = (
    "While members of a consumer group (KIP-848) still move to their assignments, and for three seconds after the"
    " last change, they are asked to send the next heartbeat after 100 ms (later in a group of more than 50"
    " members), so that a group settles in less than a second where Apache Kafka takes several heartbeats of five"
    " seconds; then as often as configured. Setting `group.consumer.heartbeat.interval.ms`, or"
    " `consumer.heartbeat.interval.ms` of the group, makes that the answer always. For the same reason"
    " `group.consumer.assignment.interval.ms` is 0 by default, not 1000: the assignment is computed at each"
    " change."
)

KNOWN: tuple[Known, ...] = (
    Known("fetch-at-each-version", r"(isolation level 7|negative bytes a partition)\.", NONSENSE, NONSENSE_REASON),
    Known("offsets-of-a-share-group", r" partition -1\.", NONSENSE, NONSENSE_REASON),
    Known("states-of-share-partitions", r" what cannot be\.", NONSENSE, NONSENSE_REASON),
    Known("share-sessions", r" an unknown mode\.", NONSENSE, NONSENSE_REASON),
    Known("metadata-by-id", r"^Metadata v1[23] null\.", NONSENSE, NONSENSE_REASON),
    Known("fetches-with-odd-fields", r"^Fetch v\d+ less than no bytes\.", NONSENSE, NONSENSE_REASON),
    Known("produce-a-batch-and-part-of-one", r"^Produce v\d+ and a huge length\.", NONSENSE, NONSENSE_REASON),
    Known("list-offsets-of-odd-requests", r"^ListOffsets v\d+ isolation level (7|-1)\.", NONSENSE, NONSENSE_REASON),
    Known("create-partitions-of-odd-requests", r"^CreatePartitions v\d too many\.", NONSENSE, NONSENSE_REASON),
    Known("scram-users-of-odd-requests", r"^AlterUserScramCredentials v0 no password\.", NONSENSE, NONSENSE_REASON),
    Known("client-quotas-of-odd-requests", r"^AlterClientQuotas v\d (look: )?no number\.", NONSENSE, NONSENSE_REASON),
    Known("elect-leaders", r"nothing, kind 7\.", NONSENSE, NONSENSE_REASON),
    Known("incremental-alter-configs", r"unknown operation\.", NONSENSE, NONSENSE_REASON),
    Known("differential", r"rrorMessage: ", TEXT, TEXT_REASON),
    Known("differential", r"^WriteTxnMarkers v\d: 'no answer' / ", NONSENSE, NONSENSE_REASON),
    Known("differential", r"\.documentation: ", DOCUMENTATION, DOCUMENTATION_REASON),
    Known(".*", r"rrorMessage: ['\"]This most likely occurs because of a request", TEXT, TEXT_REASON),
    Known("find-coordinator", r"FindCoordinator v\d (kind|none|several).*\.errorMessage: ", TEXT, TEXT_REASON),
    Known("config-checks", r"(threads=0|overrides=bad host:5)\..*errorMessage: ", TEXT, TEXT_REASON),
    Known("raft-voters", r"^AddRaftVoter v\d .*errorMessage: ", TEXT, TEXT_REASON),
    Known(".*", r"errorMessage: '(Invalid magic found|Record size -?\d+ is less).* / None$", TEXT, TEXT_REASON),
    Known(
        "alter-configs-oddities",
        r"(a level that is none|a listener's setting)\..*errorMessage: ",
        TEXT,
        TEXT_REASON,
    ),
    Known("create-topics-of-odd-requests", r"two bad configs\..*errorMessage: ", TEXT, TEXT_REASON),
    Known(
        ".*",
        r"^ConsumerGroupHeartbeat v\d .*\.heartbeatIntervalMs: 5000 / \d+$",
        SETTLING,
        SETTLING_REASON,
    ),
    Known(
        "incremental-alter-configs|describe-configs-refused",
        r"type 32.*\..*(\.configSource: 4 / 5$|'group\.consumer\.assignment\.interval\.ms', 'value': '0', 'source': 5)",
        SETTLING,
        SETTLING_REASON,
    ),
    Known(
        ".*",
        r"^ShareGroupHeartbeat v\d .*\.heartbeatIntervalMs: 5000 / \d+$",
        "Heartbeats while a share group settles",
        "A member of a share group that does not have its assignment yet is asked to send the next heartbeat after 100"
        " ms. Setting `group.share.heartbeat.interval.ms` of the broker ends that.",
    ),
    Known(
        ".*",
        r"^StreamsGroupHeartbeat v\d .*\.heartbeatIntervalMs: 5000 / \d+$",
        "Heartbeats while a streams group settles",
        "A member of a streams group that waits for its tasks is asked to send the next heartbeat after 100 ms (later"
        " in a group of more than 50 members). Setting `group.streams.heartbeat.interval.ms` of the broker, or"
        " `streams.heartbeat.interval.ms` of the group, ends that.",
    ),
    Known(
        "dead-letters-of-a-share-group",
        r"^DescribeShareGroupOffsets v1 in the end\..*\.startOffset: 8 / 9$",
        "The start offset of a share group after a dead letter",
        "Is stored with the end of the record's delivery; Apache Kafka stores it with the next change.",
    ),
    Known(
        "differential",
        r"^AlterConfigs v\d: 'no answer' / .* \(a resource twice\)$",
        "A resource twice in one AlterConfigs",
        "Is refused with INVALID_REQUEST; Apache Kafka never answers it.",
    ),
    Known(
        "differential",
        r"^SyncGroup v\d: 'no answer' / .*'errorCode': 25",
        "A member that is removed while its SyncGroup waits",
        "Is answered UNKNOWN_MEMBER_ID; Apache Kafka never answers it.",
    ),
    Known(
        "metadata-of-members-changes",
        r"^member 1 JoinGroup v\d follower, changed: 'no answer' / .*'errorCode': 27",
        "A JoinGroup that a later one of the same member replaces",
        "Is answered REBALANCE_IN_PROGRESS; Apache Kafka never answers it.",
    ),
    Known("authorization", r"rrorMessage: ['\"]Request Request\(processor=", REQUEST_TEXT, REQUEST_TEXT_REASON),
    Known(
        "authorization|fetches-with-odd-fields",
        r"Fetch v\d+ (replica 7|.* as a follower)\..*currentLeader: ",
        "Followers",
        "A fetch in the name of a broker without a replica is refused, and the refusal does not name the leader.",
    ),
    Known(
        "differential",
        r"^ListGroups v\d\.groups: \[\] / .*'groupState': 'NotReady'",
        "Streams groups that are not ready in ListGroups",
        "Are found by the state `NotReady`, as they are listed; Apache Kafka finds them by `not_ready` alone.",
    ),
    Known(
        "join-metadata-over-the-record-size",
        r"^JoinGroup v\d a dynamic member\.",
        "JoinGroup metadata that no group record holds",
        "Is refused, as are more than 65,000 protocols, with `UNKNOWN_SERVER_ERROR` when it arrives, so that one client"
        " cannot make the broker keep what can never become a generation; Apache Kafka keeps it until the member"
        " leaves, and refuses the SyncGroup of the leader.",
    ),
    Known(
        "protocol-names-repeated",
        r"^JoinGroup v\d+ repeated",
        "A protocol name twice in one JoinGroup",
        "Counts once. Apache Kafka counts it twice, finds no protocol that all members support, and never answers.",
    ),
    Known(
        "metadata-creates-topics",
        r"^Metadata v\d+ first\.",
        "A topic created by a metadata request",
        "Is there in that answer ([why](decisions/topic-creation.md)); Apache Kafka first says that it does not exist.",
    ),
    Known(
        "fetch-several-partitions",
        r"^Fetch v\d+ (several|700 bytes in all)\.responses: ",
        "Order of a fetch's answer",
        "Each topic is in it once; Apache Kafka puts what failed first and so may name a topic twice.",
    ),
    Known(
        "aborted-transactions-of-what-does-not-fit",
        r"partitions\[1\]\.abortedTransactions: .* / \[\]$",
        "A partition for which a fetch has no room left",
        "Its answer has no records, and names no aborted transactions either; Apache Kafka names some, or null.",
    ),
    Known(
        "api-versions",
        r"^(api \d+|feature \S+): .* / None$",
        "Not served yet",
        "An API or feature that is not served is not advertised; clients see a broker without it.",
    ),
)


def known(title: str, line: str) -> bool:
    return any(re.fullmatch(item.story, title) and re.search(item.line, line) for item in KNOWN)


def reasons() -> dict[str, str]:
    """What each kind of difference is about, and why it is meant."""
    return {item.about: item.reason for item in KNOWN}
