"""The small text files, byte for byte as Apache Kafka 4.3.1 writes them."""

import pytest

from kwire.storage import checkpoints
from kwire.storage.epochs import UNDEFINED_EPOCH, EpochEnd, EpochStart, LeaderEpochs
from kwire.types import TopicPartition

OFFSETS = {TopicPartition("lat", 0): 740, TopicPartition("__transaction_state", 2): 0}


def test_offsets_are_lines_of_topic_partition_and_offset():
    content = b"0\n2\nlat 0 740\n__transaction_state 2 0\n"
    assert checkpoints.write_offsets(OFFSETS) == content
    assert checkpoints.read_offsets(content) == OFFSETS
    assert checkpoints.read_offsets(checkpoints.write_offsets({})) == {}


@pytest.mark.parametrize(
    "content",
    [None, b"", b"0\n", b"1\n0\n", b"0\n2\nlat 0 740\n", b"0\n1\nlat 0\n", b"0\n1\nlat x 1\n", b"\xff\0\n1\n"],
)
def test_damaged_offsets_are_none(content):
    assert checkpoints.read_offsets(content) is None


def test_epochs_are_lines_of_epoch_and_offset():
    epochs = [EpochStart(0, 0), EpochStart(3, 827)]
    assert checkpoints.write_epochs(epochs) == b"0\n2\n0 0\n3 827\n"
    assert checkpoints.read_epochs(b"0\n2\n0 0\n3 827\n") == epochs
    assert checkpoints.read_epochs(b"0\n2\n0 0\n") is None
    assert checkpoints.read_epochs(b"0\n1\n0\n") is None


def test_partition_metadata_has_the_topic_id():
    content = b"version: 0\ntopic_id: 673r2XMHTqCGROHqFU9SAw"
    topic_id = checkpoints.read_partition_metadata(content)
    assert topic_id is not None
    assert checkpoints.write_partition_metadata(topic_id) == content
    assert checkpoints.read_partition_metadata(b"version: 0\ntopic_id: x") is None
    assert checkpoints.read_partition_metadata(None) is None


def test_properties_are_read_as_java_writes_them():
    content = b"#\n#Mon Nov 23 06:55:15 UTC 2026\nnode.id=1\ndirectory.id=EpfgzW_K0VGIQJIBMhzZzQ\n"
    content += b"version=1\n\ncluster.id=a\\=b\n"
    assert checkpoints.read_properties(content) == {
        "node.id": "1",
        "directory.id": "EpfgzW_K0VGIQJIBMhzZzQ",
        "version": "1",
        "cluster.id": "a=b",
    }
    assert checkpoints.read_properties(None) is None


def test_properties_come_back_as_they_were_written():
    properties = {"cluster.id": "a=b:c#d!e\\f", "node.id": "1"}
    assert checkpoints.read_properties(checkpoints.write_properties(properties)) == properties


def test_a_clean_stop_leaves_the_broker_epoch():
    assert checkpoints.write_clean_shutdown(11) == b'{"version":0,"brokerEpoch":11}'


# --- leader epochs


@pytest.fixture
def epochs():
    return LeaderEpochs([EpochStart(1, 0), EpochStart(2, 10), EpochStart(5, 20)])


def test_the_end_of_an_epoch_is_the_start_of_the_next(epochs):
    assert epochs.end_of(1, 30) == EpochEnd(1, 10)
    assert epochs.end_of(2, 30) == EpochEnd(2, 20)
    assert epochs.end_of(5, 30) == EpochEnd(5, 30)


def test_an_epoch_without_records_is_answered_with_the_one_before(epochs):
    assert epochs.end_of(3, 30) == EpochEnd(2, 20)


def test_an_epoch_before_the_first_ends_where_that_begins(epochs):
    assert epochs.end_of(0, 30) == EpochEnd(0, 0)


@pytest.mark.parametrize("epoch", [6, UNDEFINED_EPOCH])
def test_epochs_that_are_unknown_have_no_end(epochs, epoch):
    assert epochs.end_of(epoch, 30) == EpochEnd(-1, -1)
    assert LeaderEpochs().end_of(epoch, 30) == EpochEnd(-1, -1)


def test_offsets_have_the_epoch_in_which_they_were_written(epochs):
    assert [epochs.epoch_of(offset) for offset in (0, 9, 10, 19, 20, 99)] == [1, 1, 2, 2, 5, 5]
    epochs.truncate_before(10)
    assert epochs.epoch_of(9) == -1


def test_only_a_higher_epoch_is_noted(epochs):
    epochs.assign(5, 25)
    epochs.assign(4, 25)
    assert not epochs.changed
    epochs.assign(6, 25)
    assert epochs.changed
    assert epochs.entries[-1] == EpochStart(6, 25)


def test_an_epoch_without_records_is_replaced(epochs):
    epochs.assign(6, 20)
    assert epochs.entries == [EpochStart(1, 0), EpochStart(2, 10), EpochStart(6, 20)]


def test_truncation_removes_epochs_that_begin_behind(epochs):
    epochs.truncate_to(20)
    assert epochs.entries == [EpochStart(1, 0), EpochStart(2, 10)]
    epochs.truncate_to(5)
    assert epochs.entries == [EpochStart(1, 0)]
    epochs.truncate_to(0)
    assert epochs.latest == UNDEFINED_EPOCH


def test_a_new_start_keeps_the_epoch_that_it_lies_in(epochs):
    epochs.truncate_before(15)
    assert epochs.entries == [EpochStart(2, 15), EpochStart(5, 20)]
    epochs.changed = False
    epochs.truncate_before(15)
    epochs.truncate_before(3)
    assert not epochs.changed
