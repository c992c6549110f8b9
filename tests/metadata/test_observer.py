"""The observer against recorded answers of official controllers, and against a model of a quorum."""

import hypothesis.strategies as st
import pytest
from effort import examples
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from metadata_leader import LeaderLog, response_of, transcript

from kwire.errors import Code, KafkaError, ProtocolViolation
from kwire.metadata.image import MetadataImage
from kwire.metadata.log.observer import ControllerAddress, LoadedSnapshot, MetadataDiverged, MetadataObserver
from kwire.wire import codec
from kwire.wire.messages import (
    AbortTransactionRecord,
    BeginTransactionRecord,
    EndTransactionRecord,
    FetchRequest,
    FetchResponse,
    FetchSnapshotRequest,
    FetchSnapshotResponse,
    TopicRecord,
)

BOOTSTRAP = ControllerAddress(None, "bootstrap", 9093)
CONTROLLERS = (3000, 3001, 3002)


def new_observer(*addresses, node_id=1):
    return MetadataObserver(
        node_id=node_id, directory_id=bytes(16), cluster_id="c", bootstrap=addresses or (BOOTSTRAP,)
    )


def applied(observer, response):
    """Apply what a response commits; returns the records of each change."""
    changes = []
    for change in observer.answered(response):
        changes.append([record for step in change.steps for record in step])
        observer.applied(change)
    return changes


def caught_up(log, observer=None):
    """An observer that has applied all that is committed in ``log``."""
    observer = observer or new_observer()
    while not observer.is_caught_up or observer.leader is None:
        applied(observer, log.answer(observer.next().message))
    return observer


@pytest.mark.parametrize("name", ["start", "snapshot", "three-controllers"])
def test_it_asks_as_a_recorded_broker_did_and_applies_what_is_committed(name):
    observer, image = new_observer(), MetadataImage()
    for exchange in transcript(name):
        message = observer.next().message
        wanted = exchange["request"]["topics"][0]["partitions"][0]
        (asked,) = message.topics[0].partitions
        assert exchange["api"] + "Request" == message.NAME
        assert asked.current_leader_epoch == wanted["currentLeaderEpoch"]
        if isinstance(message, FetchRequest):
            version = 18
            assert (asked.fetch_offset, asked.last_fetched_epoch) == (wanted["fetchOffset"], wanted["lastFetchedEpoch"])
            assert (asked.log_start_offset, asked.partition_max_bytes) == (
                wanted["logStartOffset"],
                wanted["partitionMaxBytes"],
            )
            assert (message.min_bytes, message.max_bytes) == (
                exchange["request"]["minBytes"],
                exchange["request"]["maxBytes"],
            )
        else:
            version = 1
            assert asked.position == wanted["position"]
        codec.encode(message, version)
        for records in applied(observer, response_of(exchange)):
            image.apply(records)
    assert image.metadata_version == 30
    assert image.controllers
    assert observer.quorum.kraft_version == 1
    assert observer.is_caught_up


def test_the_recorded_snapshot_replaces_what_came_before():
    observer = new_observer()
    changes = []
    for exchange in transcript("snapshot")[:3]:
        observer.next()
        changes += observer.answered(response_of(exchange))
    (loaded,) = changes
    assert isinstance(loaded, LoadedSnapshot)
    assert sum(map(len, loaded.steps))
    assert observer.applied_offset == -1
    observer.applied(loaded)
    assert loaded.offset == observer.applied_offset == 6292
    assert observer.high_watermark == 6293


def answer(leader_id, leader_epoch, *, error_code=0, **fields):
    """A controller's answer to Fetch with these fields of the partition."""
    leader = FetchResponse.LeaderIdAndEpoch(leader_id=leader_id, leader_epoch=leader_epoch)
    partition = FetchResponse.PartitionData(error_code=error_code, current_leader=leader, **fields)
    return FetchResponse(
        responses=[FetchResponse.FetchableTopicResponse(partitions=[partition])],
        node_endpoints=[
            FetchResponse.NodeEndpoint(node_id=node, host=str(node), port=9093)
            for node in CONTROLLERS
            if node == leader_id
        ],
    )


def test_the_leader_that_an_answer_names_is_asked_next():
    observer = new_observer()
    observer.next()
    observer.answered(answer(3000, 1, high_watermark=0))
    assert observer.next().target.node_id == 3000
    observer.answered(answer(3001, 2, high_watermark=0))
    assert observer.next().target.node_id == 3001


def test_a_leader_that_answers_again_is_the_leader_at_once():
    observer = new_observer()
    observer.next()
    observer.answered(answer(3000, 1, high_watermark=0))
    observer.next()
    observer.failed()
    assert observer.leader is None
    observer.next()
    observer.answered(answer(3000, 1, high_watermark=0))
    assert observer.leader_id == 3000


@pytest.mark.parametrize(("leader_id", "waits"), [(3000, False), (-1, True)])
def test_a_refusal_without_a_leader_is_followed_by_a_pause(leader_id, waits):
    observer = new_observer()
    observer.next()
    observer.answered(answer(leader_id, 1, error_code=Code.NOT_LEADER_OR_FOLLOWER))
    assert (observer.next().pause_ms > 0) is waits


def test_a_leader_of_an_earlier_epoch_is_not_followed():
    observer = new_observer()
    observer.next()
    observer.answered(answer(3000, 2, high_watermark=0))
    observer.next()
    observer.answered(answer(3001, 1, error_code=Code.NOT_LEADER_OR_FOLLOWER))
    assert (observer.leader, observer.leader_epoch) == (None, 2)
    assert observer.next().pause_ms > 0


def test_a_log_that_diverges_from_its_first_record_is_fetched_from_the_start():
    log = LeaderLog()
    observer = new_observer()
    while not observer.end_offset:
        observer.answered(log.answer(observer.next().message))
    diverging = FetchResponse.EpochEndOffset(epoch=0, end_offset=0)
    observer.next()
    assert observer.answered(answer(3000, 2, high_watermark=0, diverging_epoch=diverging)) == []
    assert observer.end_offset == 0


def downloading(end_offset=0, epoch=0):
    """An observer that has applied nothing and was referred to a snapshot."""
    observer = new_observer()
    observer.next()
    snapshot_id = FetchResponse.SnapshotId(end_offset=end_offset, epoch=epoch)
    observer.answered(answer(3000, 1, high_watermark=9, snapshot_id=snapshot_id))
    assert isinstance(observer.next().message, FetchSnapshotRequest)
    return observer


def piece(**fields):
    partition = FetchSnapshotResponse.PartitionSnapshot(**{"size": 100, "unaligned_records": b"x" * 60, **fields})
    return FetchSnapshotResponse(topics=[FetchSnapshotResponse.TopicSnapshot(partitions=[partition])])


def test_a_snapshot_is_fetched_in_pieces():
    observer = downloading()
    assert observer.answered(piece()) == []
    ask = observer.next()
    assert isinstance(ask.message, FetchSnapshotRequest)
    assert (ask.pause_ms, ask.message.topics[0].partitions[0].position) == (0, 60)


@pytest.mark.parametrize(
    "response",
    [
        FetchSnapshotResponse(error_code=Code.UNKNOWN_SERVER_ERROR),
        FetchSnapshotResponse(topics=[]),
        FetchSnapshotResponse(topics=[FetchSnapshotResponse.TopicSnapshot(partitions=[])]),
        piece(error_code=Code.SNAPSHOT_NOT_FOUND),
        piece(position=1),
        piece(unaligned_records=b""),
    ],
)
def test_a_snapshot_that_cannot_be_fetched_ends_in_a_fetch_after_a_pause(response):
    observer = downloading()
    assert observer.answered(response) == []
    ask = observer.next()
    assert isinstance(ask.message, FetchRequest)
    assert ask.pause_ms > 0


def test_records_above_the_high_watermark_are_not_returned():
    log = LeaderLog()
    log.commit()
    observer = caught_up(log)
    log.append("a")
    assert observer.answered(log.answer(observer.next().message)) == []
    assert observer.end_offset == log.end
    log.commit()
    (records,) = applied(observer, log.answer(observer.next().message))
    assert [record.name for record in records] == ["a"]


def test_uncommitted_records_that_a_new_leader_lacks_are_dropped():
    log = LeaderLog()
    log.commit()
    observer = caught_up(log)
    kept = log.end
    log.append("lost")
    observer.answered(log.answer(observer.next().message))
    log.elect(3001, keep_end=kept)
    log.append("kept")
    log.commit()
    found = []
    while observer.applied_offset + 1 < log.end:
        found += applied(observer, log.answer(observer.next().message))
    assert [record.name for records in found for record in records] == ["kept"]


def test_a_log_without_the_committed_records_is_refused():
    log = LeaderLog()
    log.append("a")
    log.commit()
    observer = caught_up(log)
    other = LeaderLog()
    other.elect(3000)
    other.commit()
    observer.answered(other.answer(observer.next().message))  # names the leader and its epoch
    answer = other.answer(observer.next().message)
    with pytest.raises(MetadataDiverged):
        observer.answered(answer)


def test_a_transaction_of_records_takes_effect_at_its_end_and_not_at_all_when_aborted():
    log = LeaderLog()
    log.commit()
    observer = caught_up(log)
    topic = TopicRecord(name="a", topic_id=bytes(16))
    for records in ([BeginTransactionRecord(name="x"), topic], [AbortTransactionRecord(reason="y")]):
        log.append_records(records)
    log.append_records([BeginTransactionRecord(name="x"), topic])
    log.commit()
    assert applied(observer, log.answer(observer.next().message)) == [[], [], []]
    log.append_records([EndTransactionRecord()])
    log.commit()
    (records,) = applied(observer, log.answer(observer.next().message))
    assert [record.name for record in records] == ["a"]


def test_after_the_leader_is_lost_the_others_are_asked_until_they_name_another():
    log = LeaderLog()
    log.commit()
    addresses = [ControllerAddress(None, str(node), 9093) for node in CONTROLLERS]
    observer = caught_up(log, new_observer(*addresses))
    assert observer.leader == ControllerAddress(3000, "3000", 9093)
    observer.failed()
    asked = []
    for _ in range(12):
        ask = observer.next()
        asked.append(ask.target.host)
        if ask.target.host == "3000":
            observer.failed()  # the process is gone
        else:
            observer.answered(log.answer(ask.message, asked=int(ask.target.host)))
    assert set(asked) == {"3000", "3001", "3002"}
    log.elect(3001)
    log.commit()
    for _ in range(4):
        ask = observer.next()
        observer.answered(log.answer(ask.message, asked=int(ask.target.host)))
    assert observer.leader == ControllerAddress(3001, "3001", 9093)


def test_another_cluster_id_is_a_refusal_that_lasts():
    observer = new_observer()
    observer.next()
    with pytest.raises(KafkaError) as refused:
        observer.answered(FetchResponse(error_code=Code.INCONSISTENT_CLUSTER_ID))
    assert refused.value.code is Code.INCONSISTENT_CLUSTER_ID


def test_a_controller_whose_disk_fails_is_asked_again():
    observer = new_observer()
    observer.next()
    assert observer.answered(FetchResponse(error_code=Code.KAFKA_STORAGE_ERROR)) == []
    assert observer.next().pause_ms > 0


def test_an_answer_without_the_partition_is_a_violation():
    observer = new_observer()
    observer.next()
    with pytest.raises(ProtocolViolation):
        observer.answered(FetchResponse())


def test_a_batch_out_of_order_or_damaged_is_refused():
    log = LeaderLog()
    log.append("a")
    log.commit()
    for damage in (
        lambda records: records[:70] + b"\xff" + records[71:],
        lambda records: records[len(log.batches[0]) :],
    ):
        observer = new_observer()
        observer.answered(log.answer(observer.next().message))
        response = log.answer(observer.next().message)
        partition = response.responses[0].partitions[0]
        partition.records = damage(partition.records)
        with pytest.raises(ProtocolViolation):
            observer.answered(response)


class QuorumMachine(RuleBasedStateMachine):
    """Leaders change, uncommitted records are lost, answers are lost: an observer applies the committed ones alone."""

    @initialize()
    def begin(self):
        self.log = LeaderLog()
        self.observer = new_observer(*(ControllerAddress(None, str(node), 9093) for node in CONTROLLERS))
        self.applied = []
        self.count = 0

    @rule(batch=st.integers(1, 3))
    def append(self, batch):
        names = [f"t{self.count + index}" for index in range(batch)]
        self.count += batch
        self.log.append(*names)

    @rule(data=st.data())
    def commit(self, data):
        self.log.commit(data.draw(st.sampled_from(self.log.boundaries() or [self.log.committed_end])))

    @precondition(lambda self: self.log.boundaries())
    @rule(data=st.data(), leader=st.sampled_from(CONTROLLERS))
    def elect(self, data, leader):
        self.log.elect(leader, keep_end=data.draw(st.sampled_from(self.log.boundaries())))

    @rule(answers=st.integers(1, 4), lost=st.booleans())
    def fetch(self, answers, lost):
        for _ in range(answers):
            ask = self.observer.next()
            if lost:
                self.observer.failed()
                lost = False
            else:
                self._apply(applied(self.observer, self.log.answer(ask.message, asked=int(ask.target.host))))

    def _apply(self, changes):
        for records in changes:
            self.applied += [record.name for record in records if isinstance(record, TopicRecord)]

    @invariant()
    def only_committed_records_are_applied(self):
        committed = self.log.committed_topics()
        assert self.applied == committed[: len(self.applied)]

    def teardown(self):
        self.log.commit()
        for _ in range(30):
            ask = self.observer.next()
            self._apply(applied(self.observer, self.log.answer(ask.message, asked=int(ask.target.host))))
        assert self.applied == self.log.committed_topics()


QuorumMachine.TestCase.settings = settings(max_examples=examples(60), stateful_step_count=25)
TestQuorum = QuorumMachine.TestCase


def test_a_snapshot_that_is_applied_already_is_not_fetched_and_the_leader_is_asked_after_a_pause():
    log = LeaderLog()
    log.append("a", "b")
    log.commit()
    observer = caught_up(log)
    for end_offset in (observer.applied_offset, observer.applied_offset + 1):
        ask = observer.next()
        response = log.answer(ask.message)
        partition = response.responses[0].partitions[0]
        partition.snapshot_id = FetchResponse.SnapshotId(end_offset=end_offset, epoch=log.epoch)
        assert observer.answered(response) == []
        again = observer.next()
        assert isinstance(again.message, FetchRequest)
        assert again.pause_ms > 0


def test_a_snapshot_beyond_the_applied_records_is_fetched():
    log = LeaderLog()
    log.commit()
    for end_offset, wanted in ((1, FetchRequest), (2, FetchSnapshotRequest)):
        observer = caught_up(log)
        assert observer.applied_offset == 0
        observer.next()
        snapshot_id = FetchResponse.SnapshotId(end_offset=end_offset, epoch=log.epoch)
        observer.answered(answer(log.leader_id, log.epoch, high_watermark=2, snapshot_id=snapshot_id))
        assert isinstance(observer.next().message, wanted)
