"""Names of errors in the Java tools, and the order in which they print the entries of a hash map.

Responsible for: error code -> exception class and standing text, and the order of a ``HashMap`` with string keys. Must
not depend on: any script.

Users search for these names and scripts compare whole outputs, so both are part of the interface.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from kwire.errors import Code, KafkaError

KeyT = TypeVar("KeyT")

_PACKAGE: Final = "org.apache.kafka.common.errors."

# Where the class is not simply the code's name in camel case.
_CLASSES: Final = {
    Code.UNKNOWN_SERVER_ERROR: "UnknownServerException",
    Code.CORRUPT_MESSAGE: "CorruptRecordException",
    Code.REQUEST_TIMED_OUT: "TimeoutException",
    Code.MESSAGE_TOO_LARGE: "RecordTooLargeException",
    Code.STALE_CONTROLLER_EPOCH: "ControllerMovedException",
    Code.OFFSET_METADATA_TOO_LARGE: "OffsetMetadataTooLarge",
    Code.RECORD_LIST_TOO_LARGE: "RecordBatchTooLargeException",
    Code.TOPIC_AUTHORIZATION_FAILED: "TopicAuthorizationException",
    Code.GROUP_AUTHORIZATION_FAILED: "GroupAuthorizationException",
    Code.CLUSTER_AUTHORIZATION_FAILED: "ClusterAuthorizationException",
    Code.TOPIC_ALREADY_EXISTS: "TopicExistsException",
    Code.INVALID_CONFIG: "InvalidConfigurationException",
    Code.OUT_OF_ORDER_SEQUENCE_NUMBER: "OutOfOrderSequenceException",
    Code.DUPLICATE_SEQUENCE_NUMBER: "DuplicateSequenceException",
    Code.INVALID_PRODUCER_ID_MAPPING: "InvalidPidMappingException",
    Code.INVALID_TRANSACTION_TIMEOUT: "InvalidTxnTimeoutException",
    Code.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "TransactionalIdAuthorizationException",
    Code.KAFKA_STORAGE_ERROR: "KafkaStorageException",
    Code.SASL_AUTHENTICATION_FAILED: "SaslAuthenticationException",
    Code.DELEGATION_TOKEN_AUTH_DISABLED: "DelegationTokenDisabledException",
    Code.DELEGATION_TOKEN_REQUEST_NOT_ALLOWED: "UnsupportedByAuthenticationException",
    Code.DELEGATION_TOKEN_AUTHORIZATION_FAILED: "DelegationTokenAuthorizationException",
    Code.NON_EMPTY_GROUP: "GroupNotEmptyException",
    Code.PRINCIPAL_DESERIALIZATION_FAILURE: "PrincipalDeserializationException",
    Code.FETCH_SESSION_TOPIC_ID_ERROR: "FetchSessionTopicIdException",
    Code.INVALID_REGULAR_EXPRESSION: "InvalidRegularExpression",
}

# The Java client's message for a code that the broker sends without one; those that the scripts meet.
_TEXTS: Final = {
    Code.OFFSET_OUT_OF_RANGE: "The requested offset is not within the range of offsets maintained by the server.",
    Code.UNKNOWN_TOPIC_OR_PARTITION: "This server does not host this topic-partition.",
    Code.INVALID_TOPIC_EXCEPTION: "The request attempted to perform an operation on an invalid topic.",
    Code.POLICY_VIOLATION: "Request parameters do not satisfy the configured policy.",
    Code.UNKNOWN_MEMBER_ID: "The coordinator is not aware of this member.",
    Code.GROUP_ID_NOT_FOUND: "The group id does not exist.",
    Code.NON_EMPTY_GROUP: "The group is not empty.",
    Code.GROUP_SUBSCRIBED_TO_TOPIC: (
        "Deleting offsets of a topic is forbidden while the consumer group is actively subscribed to it."
    ),
    Code.CLUSTER_AUTHORIZATION_FAILED: "Cluster authorization failed.",
    Code.TOPIC_AUTHORIZATION_FAILED: "Topic authorization failed.",
    Code.GROUP_AUTHORIZATION_FAILED: "Group authorization failed.",
}


def exception_class(code: Code) -> str:
    """The full name of the exception class that Java raises for a code."""
    camel = "".join(word.capitalize() for word in code.name.split("_"))
    default = camel if camel.endswith("Exception") else f"{camel}Exception"
    return _PACKAGE + _CLASSES.get(code, default)


def error_text(error: KafkaError) -> str:
    """What Java's ``getMessage`` gives: the broker's words, or the standing text of the code."""
    if error.message:
        return error.message
    return _TEXTS.get(error.code, f"{error.code.name} ({error.code.value})")


def error_line(error: KafkaError) -> str:
    """What Java's ``toString`` gives: class, then text."""
    return f"{exception_class(error.code)}: {error_text(error)}"


def hash_order(names: Iterable[str], *, capacity: int = 16) -> list[str]:
    """Sort names as a ``HashMap`` made for ``capacity`` entries walks them after taking them all in this order.

    The table has the smallest power of two of buckets that is at least ``capacity`` and doubles when it is more than
    three quarters full; a bucket keeps its entries in the order in which they came.
    """
    return _bucket_order(list(dict.fromkeys(names)), _string_hash, capacity)


def partition_order(places: Iterable[tuple[str, int]], *, capacity: int = 16) -> list[tuple[str, int]]:
    """The same for a ``HashMap`` whose keys are topic partitions."""
    return _bucket_order(list(dict.fromkeys(places)), _partition_hash, capacity)


def number_order(numbers: Iterable[int], *, capacity: int = 16) -> list[int]:
    """The same for a ``HashMap`` whose keys are 64-bit numbers."""
    return _bucket_order(list(dict.fromkeys(numbers)), lambda number: (number ^ (number >> 32)) & 0xFFFFFFFF, capacity)


def _bucket_order(keys: list[KeyT], hash_of: Callable[[KeyT], int], capacity: int) -> list[KeyT]:
    buckets = 1
    while buckets < capacity or len(keys) > buckets * 3 // 4:
        buckets *= 2
    return sorted(keys, key=lambda key: _spread(hash_of(key)) & (buckets - 1))


def _partition_hash(place: tuple[str, int]) -> int:
    """Java's ``TopicPartition.hashCode``."""
    topic, partition = place
    return (31 * (31 + partition) + _string_hash(topic)) & 0xFFFFFFFF


def _string_hash(text: str) -> int:
    """Java's ``String.hashCode``, over UTF-16 code units, as an unsigned number of 32 bits."""
    value = 0
    units = text.encode("utf-16-be")
    for position in range(0, len(units), 2):
        value = (value * 31 + int.from_bytes(units[position : position + 2], "big")) & 0xFFFFFFFF
    return value


def _spread(value: int) -> int:
    return value ^ (value >> 16)
