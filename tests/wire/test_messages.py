"""Message classes, and the stub that tells type checkers about them."""

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from kwire.types import ZERO_UUID
from kwire.wire import messages, spec
from kwire.wire.messages import (
    AddPartitionsToTxnRequest,
    ConsumerGroupMemberMetadataValue,
    FetchRequest,
    FetchResponse,
    NoOpRecord,
    TopicRecord,
)

ROOT = Path(__file__).resolve().parents[2]


def test_fields_are_keyword_arguments_with_the_defaults_of_the_spec():
    request = FetchRequest(max_wait_ms=500)
    assert (request.max_wait_ms, request.max_bytes, request.session_epoch) == (500, 0x7FFFFFFF, -1)
    assert (request.cluster_id, request.topics, request.rack_id) == (None, [], "")
    assert FetchRequest.FetchPartition().high_watermark == 2**63 - 1
    assert TopicRecord().topic_id == ZERO_UUID
    assert NoOpRecord() == NoOpRecord()


def test_positional_and_unknown_arguments_are_refused():
    with pytest.raises(TypeError):
        FetchRequest(None)
    with pytest.raises(TypeError):
        FetchRequest(topic="a")
    with pytest.raises(AttributeError):
        FetchRequest().topic = "a"


def test_lists_and_structs_are_not_shared_between_messages():
    first, second = FetchRequest(), FetchRequest()
    first.topics.append(FetchRequest.FetchTopic())
    first.replica_state.replica_id = 7
    assert (second.topics, second.replica_state.replica_id) == ([], -1)


def test_structs_hang_off_their_message_however_deep():
    assert FetchResponse.PartitionData.__qualname__ == "FetchResponse.PartitionData"
    assert FetchResponse.AbortedTransaction.FIELDS[0].name == "producer_id"
    # The same struct stands in two places, with different versions.
    assert AddPartitionsToTxnRequest.AddPartitionsToTxnTopic(name="a").partitions == []


def test_classes_tell_their_key_and_versions():
    assert (FetchRequest.NAME, FetchRequest.KEY, tuple(FetchRequest.VERSIONS), FetchRequest.FLEXIBLE_FROM) == (
        "FetchRequest",
        1,
        (4, 18),
        12,
    )
    assert (TopicRecord.KEY, TopicRecord.KIND) == (2, "record")
    assert messages.OffsetDeleteRequest.FLEXIBLE_FROM is None
    assert messages.LeaderChangeMessage.KEY == -1


def test_messages_are_equal_by_fields_and_have_no_hash():
    assert TopicRecord(name="a") == TopicRecord(name="a")
    assert TopicRecord(name="a") != TopicRecord(name="b")
    assert TopicRecord() != messages.RemoveTopicRecord()
    with pytest.raises(TypeError):
        hash(TopicRecord())


def test_repr_reads_like_the_constructor():
    record = ConsumerGroupMemberMetadataValue.ClassicMemberMetadata(session_timeout_ms=3)
    assert repr(record) == (
        "ConsumerGroupMemberMetadataValue.ClassicMemberMetadata(session_timeout_ms=3, supported_protocols=[])"
    )


def test_a_deep_copy_shares_nothing_with_its_original():
    original = FetchRequest(topics=[FetchRequest.FetchTopic(topic="a")])
    twin = copy.deepcopy(original)
    twin.topics[0].topic = "b"
    assert original.topics[0].topic == "a"
    assert copy.copy(original) == original
    assert pickle.loads(pickle.dumps(TopicRecord(name="a"))) == TopicRecord(name="a")


def test_an_unknown_message_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no message 'FerryRequest'"):
        messages.FerryRequest  # noqa: B018
    assert set(spec.names()) < set(dir(messages))


def test_a_class_is_made_once():
    assert messages.FetchRequest is FetchRequest


def test_importing_the_codec_reads_no_spec_and_leaves_construct_alone():
    program = (
        "import sys; from kwire.wire import codec, messages, spec;"
        "assert spec._blocks.cache_info().currsize == 0; assert 'construct' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


def test_the_stub_is_fresh():
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        import write_stub
    finally:
        sys.path.pop(0)
    assert write_stub.STUB.read_text("utf-8") == write_stub.stub_text(), "run python tools/write_stub.py"
