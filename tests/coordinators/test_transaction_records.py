"""Records of ``__transaction_state``: what Kafka 4.3.1 wrote is read, and written again with the same bytes."""

import pytest

from kwire.coordinators.transaction.records import read_record, tombstone, transaction_record
from kwire.coordinators.transaction.transaction import State, Transaction
from kwire.types import TopicPartition

TOPIC = "o-aborted-transactions-of-a-fetch-x-bare"
NAME = f"{TOPIC}-3"
KEY = bytes.fromhex("0000002a") + NAME.encode()
BEGAN_MS = 1795822081890

# Values, with a bar for the topic's name, and when each was written.
WRITTEN = {
    State.EMPTY: (
        "0001000000000000000c00000000ea600000000001a21f565760ffffffffffffffff010008000000000000000c",
        1795822081888,
    ),
    State.ONGOING: (
        "0001000000000000000c00000000ea60010229|020000000000000001a21f565762000001a21f565762010008000000000000000c",
        1795822081890,
    ),
    State.PREPARE_ABORT: (
        "0001000000000000000c00000000ea60030229|020000000000000001a21f5657b9000001a21f565762010008000000000000000c",
        1795822081977,
    ),
    State.COMPLETE_ABORT: (
        "0001000000000000000c00000000ea600501000001a21f5657ba000001a21f565762010008000000000000000c",
        1795822081978,
    ),
}


def value_of(state):
    return bytes.fromhex(WRITTEN[state][0].replace("|", TOPIC.encode().hex()))


@pytest.mark.parametrize("state", WRITTEN)
def test_kafkas_records_are_read_and_written(state):
    is_open = state in (State.ONGOING, State.PREPARE_ABORT)
    transaction = Transaction(
        producer_id=12,
        producer_epoch=0,
        previous_producer_id=12,
        timeout_ms=60_000,
        state=state,
        partitions=frozenset({TopicPartition(TOPIC, 0)} if is_open else ()),
        start_ms=-1 if state is State.EMPTY else BEGAN_MS,
        update_ms=WRITTEN[state][1],
    )
    assert read_record(KEY, value_of(state)) == (NAME, transaction)
    assert transaction_record(NAME, transaction, 2) == (KEY, value_of(state))


def test_at_transaction_version_0_nothing_is_written_that_older_brokers_cannot_read():
    transaction = read_record(KEY, value_of(State.ONGOING)).transaction
    key, value = transaction_record(NAME, transaction, 0)
    assert value[:2] == b"\0\0"
    again = read_record(key, value).transaction
    assert again.partitions == transaction.partitions
    assert (again.previous_producer_id, again.client_version) == (-1, 0)


def test_without_a_value_an_id_is_forgotten():
    assert tombstone(NAME) == (KEY, None)
    assert read_record(KEY, None) == (NAME, None)


@pytest.mark.parametrize("kind", [1, 2, -1])
def test_unknown_record_types_and_versions_are_skipped(kind):
    later = kind.to_bytes(2, "big", signed=True)
    assert read_record(later + KEY[2:], value_of(State.EMPTY)) is None
    if kind != 1:
        assert read_record(KEY, later + value_of(State.EMPTY)[2:]) is None
