"""The blocking producer: partitions, batches, and what it does when a broker refuses or is gone."""

import pytest
from fake_broker import CLOSE, SILENT, fake_broker

from kwire.cli.connections import client
from kwire.cli.connections.client import Cluster
from kwire.cli.connections.connection import ConnectionLost, parse_address
from kwire.cli.records import producer
from kwire.cli.records.producer import NoSuchTopic, Producer, ProducerConfig
from kwire.errors import Code, KafkaError
from kwire.wire.batches.batch import read_batch_header
from kwire.wire.batches.compression import Codec
from kwire.wire.batches.records import read_records
from kwire.wire.messages import InitProducerIdResponse, MetadataResponse, ProduceResponse
from kwire.wire.partitioner import murmur2

PRODUCE, METADATA, INIT_PRODUCER_ID = 0, 3, 22
VERSIONS = {18: (0, 4), PRODUCE: (3, 13), METADATA: (0, 13), INIT_PRODUCER_ID: (0, 5)}


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(client.time, "sleep", lambda _: None)
    monkeypatch.setattr(producer.time, "sleep", lambda _: None)


@pytest.fixture
def broker():
    with fake_broker(VERSIONS) as fake:
        fake.answers[METADATA] = topic_of(fake, 1)
        fake.answers[INIT_PRODUCER_ID] = InitProducerIdResponse(producer_id=77, producer_epoch=0)
        fake.answers[PRODUCE] = answered()
        yield fake


def topic_of(fake, count, code=0):
    partition = MetadataResponse.MetadataResponsePartition
    return MetadataResponse(
        brokers=[MetadataResponse.MetadataResponseBroker(node_id=1, host="127.0.0.1", port=fake.port)],
        controller_id=1,
        topics=[
            MetadataResponse.MetadataResponseTopic(
                error_code=code,
                name="t",
                partitions=[partition(partition_index=index, leader_id=1) for index in range(count)],
            )
        ],
    )


def answered(code=0, partitions=(0,), message=None):
    item = ProduceResponse.PartitionProduceResponse
    return ProduceResponse(
        responses=[
            ProduceResponse.TopicProduceResponse(
                name="t",
                partition_responses=[item(index=index, error_code=code, error_message=message) for index in partitions],
            )
        ]
    )


class Sending:
    """A producer on a fake broker, with the records that it did not send."""

    def __init__(self, broker, **config):
        self.broker = broker
        self.lost = []
        self.cluster = Cluster([parse_address(broker.address)], timeout_s=150)
        self.producer = Producer(self.cluster, ProducerConfig(**config), lambda *lost: self.lost.append(lost))

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.cluster.close()

    def send(self, *values, key=None, **how):
        for value in values:
            self.producer.send("t", key, value, **how)

    def batches(self):
        """Every batch that reached the broker: partition, header, values."""
        return [
            (item.index, read_batch_header(item.records), [record.value for record in read_records(item.records)])
            for key, _, request in self.broker.requests
            if key == PRODUCE
            for topic in request.topic_data
            for item in topic.partition_data
        ]


def test_records_of_a_partition_go_in_one_batch(broker):
    with Sending(broker) as sending:
        sending.send(b"a", b"b", None)
        sending.producer.flush()
        [(partition, header, values)] = sending.batches()
    assert (partition, values) == (0, [b"a", b"b", None])
    assert (header.producer_id, header.base_sequence, header.record_count) == (77, 0, 3)


def test_sequence_numbers_continue_from_batch_to_batch(broker):
    with Sending(broker) as sending:
        for value in (b"a", b"b", b"c"):
            sending.send(value)
            sending.producer.flush()
        assert [header.base_sequence for _, header, _ in sending.batches()] == [0, 1, 2]


def test_a_full_batch_is_sent_before_the_next_record_is_taken(broker):
    with Sending(broker, batch_bytes=200) as sending:
        sending.send(b"x" * 100, b"y" * 100)
        assert [values for _, _, values in sending.batches()] == [[b"x" * 100]]


@pytest.mark.parametrize("codec", list(Codec))
def test_batches_are_compressed_as_asked(broker, codec):
    with Sending(broker, codec=codec) as sending:
        sending.send(b"a" * 500)
        sending.producer.flush()
        [(_, header, values)] = sending.batches()
    assert header.codec == codec
    assert values == [b"a" * 500]


def test_without_idempotence_no_producer_id_is_asked_for(broker):
    with Sending(broker, acks=1) as sending:
        sending.send(b"a")
        sending.producer.flush()
        [(_, header, _)] = sending.batches()
    assert header.producer_id == -1
    assert INIT_PRODUCER_ID not in [key for key, _, _ in broker.requests]


def test_acks_0_waits_for_no_answer(broker):
    broker.answers[PRODUCE] = SILENT
    with Sending(broker, acks=0) as sending:
        sending.send(b"a")
        sending.producer.flush()
        sending.cluster.metadata([])  # in order behind it
        assert [values for _, _, values in sending.batches()] == [[b"a"]]


def test_a_batch_that_is_sent_again_keeps_its_bytes(broker):
    answers = [answered(Code.NOT_ENOUGH_REPLICAS), answered(Code.NOT_LEADER_OR_FOLLOWER), answered()]
    broker.answers = _InTurn(broker.answers, answers)
    with Sending(broker) as sending:
        sending.send(b"a")
        sending.producer.flush()
        sent = sending.batches()
    assert len(sent) == 3
    assert len({header.crc for _, header, _ in sent}) == 1
    assert sending.lost == []


def test_a_lost_connection_is_replaced_and_the_batch_is_sent_again(broker):
    broker.answers = _InTurn(broker.answers, [CLOSE, answered()])
    with Sending(broker) as sending:
        sending.send(b"a")
        sending.producer.flush()
        assert [header.base_sequence for _, header, _ in sending.batches()] == [0, 0]
    assert sending.lost == []


def test_a_duplicate_is_delivered(broker):
    broker.answers = _InTurn(broker.answers, [answered(Code.DUPLICATE_SEQUENCE_NUMBER), answered()])
    with Sending(broker) as sending:
        sending.send(b"a")
        sending.producer.flush()
        sending.send(b"b")
        sending.producer.flush()
        assert [header.base_sequence for _, header, _ in sending.batches()] == [0, 1]
    assert sending.lost == []


def test_a_record_that_is_refused_for_good_fails_with_the_broker_s_message(broker):
    broker.answers[PRODUCE] = answered(Code.INVALID_RECORD, message="One or more records have been rejected")
    with Sending(broker) as sending:
        sending.send(b"a", b"b")
        sending.producer.flush()
    assert [(topic, record.value) for topic, record, _ in sending.lost] == [("t", b"a"), ("t", b"b")]
    assert str(sending.lost[0][2]) == "INVALID_RECORD: One or more records have been rejected"


def test_after_a_failed_batch_sequences_start_under_a_new_producer_id(broker):
    broker.answers = _InTurn(broker.answers, [answered(), answered(Code.INVALID_RECORD), answered()])
    with Sending(broker) as sending:
        for value in (b"a", b"b", b"c"):
            sending.send(value)
            sending.producer.flush()
        assert [header.base_sequence for _, header, _ in sending.batches()] == [0, 1, 0]
    assert [key for key, _, _ in broker.requests].count(INIT_PRODUCER_ID) == 2


def test_retries_are_bounded(broker):
    broker.answers[PRODUCE] = answered(Code.NOT_ENOUGH_REPLICAS)
    with Sending(broker, retries=2) as sending:
        sending.send(b"a")
        sending.producer.flush()
        assert len(sending.batches()) == 3
    assert sending.lost[0][2].code is Code.NOT_ENOUGH_REPLICAS


def test_a_batch_that_is_too_large_is_sent_in_halves(broker):
    too_large = answered(Code.MESSAGE_TOO_LARGE)
    broker.answers = _InTurn(broker.answers, [too_large, answered(), too_large, answered(), too_large])
    with Sending(broker) as sending:
        sending.send(b"a", b"b", b"c", b"d")
        sending.producer.flush()
        assert [values for _, _, values in sending.batches()] == [
            [b"a", b"b", b"c", b"d"],
            [b"a", b"b"],
            [b"c", b"d"],
            [b"c"],
            [b"d"],
        ]
    assert [record.value for _, record, _ in sending.lost] == [b"d"]


def test_an_unreachable_broker_fails_the_records(broker):
    with Sending(broker, retries=1) as sending:
        sending.send(b"a")
        broker.answers[PRODUCE] = CLOSE
        sending.producer.flush()
    assert isinstance(sending.lost[0][2], ConnectionLost)


def test_a_topic_that_does_not_appear_in_time_fails_its_record(broker):
    broker.answers[METADATA] = topic_of(broker, 0, Code.UNKNOWN_TOPIC_OR_PARTITION)
    with Sending(broker, max_block_ms=0) as sending:
        sending.send(b"a")
    [(_, _, error)] = sending.lost
    assert isinstance(error, NoSuchTopic)
    assert str(error) == "Topic t not present in metadata after 0 ms."


def test_a_topic_is_waited_for_and_may_be_auto_created(broker):
    missing = topic_of(broker, 0, Code.UNKNOWN_TOPIC_OR_PARTITION)
    broker.answers = _InTurn(broker.answers, [missing, topic_of(broker, 1)], METADATA)
    with Sending(broker) as sending:
        sending.send(b"a")
        sending.producer.flush()
    assert sending.lost == []
    assert all(request.allow_auto_topic_creation for key, _, request in broker.requests if key == METADATA)


def test_a_partition_that_is_missing_in_the_answer_is_not_delivered(broker):
    broker.answers[PRODUCE] = answered(partitions=[7])
    with Sending(broker) as sending:
        sending.send(b"a")
        sending.producer.flush()
    assert "does not contain the partition" in str(sending.lost[0][2])


def test_an_invalid_topic_is_refused_at_once(broker):
    broker.answers[METADATA] = topic_of(broker, 0, Code.INVALID_TOPIC_EXCEPTION)
    with Sending(broker) as sending:
        sending.send(b"a")
    assert str(sending.lost[0][2]) == "INVALID_TOPIC_EXCEPTION: Invalid topics: [t]"


def test_an_unknown_partition_is_refused(broker):
    with Sending(broker) as sending:
        sending.send(b"a", partition=5)
    assert isinstance(sending.lost[0][2], KafkaError)
    assert "there is no partition 5 of topic t, which has one partition, 0" in str(sending.lost[0][2])


# ---- which partition


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_keys_are_hashed_as_the_java_producer_hashes_them(key, expected):
    assert murmur2(key) == expected & 0xFFFFFFFF


def test_a_key_keeps_its_partition(broker):
    broker.answers[METADATA] = topic_of(broker, 10)
    broker.answers[PRODUCE] = answered(partitions=range(10))
    with Sending(broker) as sending:
        sending.send(b"a", b"b", key=b"21")
        sending.producer.flush()
        [(partition, _, values)] = sending.batches()
    assert partition == (-973932308 & 0x7FFFFFFF) % 10
    assert values == [b"a", b"b"]


def test_records_without_a_key_stay_together_until_a_batch_is_full(broker):
    broker.answers[METADATA] = topic_of(broker, 1000)
    broker.answers[PRODUCE] = answered(partitions=range(1000))
    with Sending(broker, batch_bytes=1000) as sending:
        for _ in range(40):
            sending.send(b"x" * 68)  # 100 bytes each as the producer counts
        sending.producer.flush()
        counts = [header.record_count for _, header, _ in sending.batches()]
    assert sum(counts) == 40
    assert max(counts) == 10
    assert len(counts) <= 5


class _InTurn(dict):
    """Answers for one API that change from request to request; the last one stays."""

    def __init__(self, answers, turns, key=PRODUCE):
        super().__init__(answers)
        self.key = key
        self.turns = list(turns)

    def get(self, wanted, default=None):
        if wanted == self.key and self.turns:
            return self.turns.pop(0) if len(self.turns) > 1 else self.turns[0]
        return super().get(wanted, default)
