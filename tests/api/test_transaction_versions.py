"""One transaction, each of its requests at every version that is advertised."""

import pytest
from peer import all_apis
from transactional import OLD, Producer, committed, seen, state

from kwire.errors import Code
from kwire.wire import messages as m

# What is asked for when another request of the transaction is looked at: the last versions before KIP-890.
BEFORE = {"InitProducerId": 4, "AddPartitionsToTxn": 3, "AddOffsetsToTxn": 3, "TxnOffsetCommit": 4, "EndTxn": 4}
BY_BROKERS_SINCE = 4  # AddPartitionsToTxn
NEW_EPOCH_SINCE = 5  # EndTxn


def each_version(*names):
    table = {api.name: api.served for api in all_apis().values()}
    return [(name, version) for name in names for version in range(table[name][0], table[name][1] + 1)]


class Story:
    """A transaction that writes to a partition and commits an offset."""

    def __init__(self, client, **versions):
        self.client = client
        self.versions = {**BEFORE, **versions}
        self.who = {"transactional_id": "tx"}

    async def ask(self, name, request):
        return await self.client.call(self.versions[name], request)

    async def begin(self):
        await self.client.create_topic("t", 2)
        answer = await self.ask(
            "InitProducerId", m.InitProducerIdRequest(transactional_id="tx", transaction_timeout_ms=60_000)
        )
        assert answer.error_code == 0
        self.who |= {"producer_id": answer.producer_id, "producer_epoch": answer.producer_epoch}
        assert await self.add("t", 0) is Code.NONE
        assert await self.add("t", 0, verify_only=True) is Code.NONE
        writer = Producer(self.client, "tx", speaks=OLD)
        writer.producer_id, writer.epoch = answer.producer_id, answer.producer_epoch
        assert (await writer.send("t", b"x")).error_code == 0
        assert (await self.ask("AddOffsetsToTxn", m.AddOffsetsToTxnRequest(**self.who, group_id="g"))).error_code == 0
        assert await self.commit_offset(**self.who) is Code.NONE

    async def add(self, topic, partition, *, verify_only=False, **other):
        request = m.AddPartitionsToTxnRequest
        topics = [request.AddPartitionsToTxnTopic(name=topic, partitions=[partition])]
        who = {**self.who, **other}
        if self.versions["AddPartitionsToTxn"] >= BY_BROKERS_SINCE:
            one = request.AddPartitionsToTxnTransaction(**who, verify_only=verify_only, topics=topics)
            answer = await self.ask("AddPartitionsToTxn", request(transactions=[one]))
            (found,) = answer.results_by_transaction[0].topic_results
        else:
            old = {f"v3_and_below_{name}": value for name, value in who.items()}
            answer = await self.ask("AddPartitionsToTxn", request(**old, v3_and_below_topics=topics))
            (found,) = answer.results_by_topic_v3_and_below
        return Code(found.results_by_partition[0].partition_error_code)

    async def commit_offset(self, **who):
        request = m.TxnOffsetCommitRequest
        part = request.TxnOffsetCommitRequestPartition(partition_index=0, committed_offset=7, committed_metadata="")
        topic_id = self.client.broker.image.topics["t"].id
        topic = request.TxnOffsetCommitRequestTopic(name="t", topic_id=topic_id, partitions=[part])
        answer = await self.ask("TxnOffsetCommit", request(**who, group_id="g", topics=[topic]))
        return Code(answer.topics[0].partitions[0].error_code)

    async def end(self, *, commit, **other):
        return await self.ask("EndTxn", m.EndTxnRequest(**{**self.who, **other}, committed=commit))


@pytest.mark.parametrize("commit", [True, False])
@pytest.mark.parametrize(
    ("name", "version"),
    each_version("InitProducerId", "AddPartitionsToTxn", "AddOffsetsToTxn", "TxnOffsetCommit", "EndTxn"),
)
async def test_a_transaction_ends_with_the_result_of_end_txn(client, name, version, commit):
    story = Story(client, **{name: version})
    await story.begin()
    assert await seen(client, "t") == []
    answer = await story.end(commit=commit)
    assert answer.error_code == 0
    if (name, version) == ("EndTxn", NEW_EPOCH_SINCE):
        assert (answer.producer_id, answer.producer_epoch) == (story.who["producer_id"], 1)
    assert await seen(client, "t") == ([b"x"] if commit else [])
    assert await committed(client, "g", "t") == (7 if commit else -1)
    assert await state(client, "tx") == ("CompleteCommit" if commit else "CompleteAbort")


@pytest.mark.parametrize(("name", "version"), each_version("AddPartitionsToTxn", "TxnOffsetCommit", "EndTxn"))
async def test_an_unknown_producer_id_is_refused(client, name, version):
    story = Story(client, **{name: version})
    await story.begin()
    unknown = story.who["producer_id"] + 1000
    assert await story.add("t", 1, producer_id=unknown) is Code.INVALID_PRODUCER_ID_MAPPING
    assert await story.commit_offset(**{**story.who, "producer_id": unknown}) is Code.INVALID_PRODUCER_ID_MAPPING
    assert (await story.end(commit=True, producer_id=unknown)).error_code == Code.INVALID_PRODUCER_ID_MAPPING
    assert await state(client, "tx") == "Ongoing"


@pytest.mark.parametrize(("_", "version"), each_version("AddPartitionsToTxn")[BY_BROKERS_SINCE:])
async def test_verification_adds_no_partition(client, _, version):
    story = Story(client, AddPartitionsToTxn=version)
    await story.begin()
    assert await story.add("t", 1, verify_only=True) is Code.TRANSACTION_ABORTABLE
    assert await story.add("t", 1, verify_only=True) is Code.TRANSACTION_ABORTABLE
    assert await story.add("t", 1) is Code.NONE
    assert await story.add("t", 1, verify_only=True) is Code.NONE


@pytest.mark.parametrize("commit", [True, False])
@pytest.mark.parametrize(("_", "version"), each_version("WriteTxnMarkers"))
async def test_a_marker_of_another_coordinator_ends_the_transaction_in_its_partition(client, _, version, commit):
    story = Story(client)
    await story.begin()
    request = m.WriteTxnMarkersRequest
    marker = request.WritableTxnMarker(
        producer_id=story.who["producer_id"],
        producer_epoch=story.who["producer_epoch"],
        transaction_result=commit,
        topics=[request.WritableTxnMarkerTopic(name="t", partition_indexes=[0, 9])],
    )
    answer = await client.call(version, request(markers=[marker]))
    codes = [each.error_code for each in answer.markers[0].topics[0].partitions]
    assert codes == [Code.NONE, Code.UNKNOWN_TOPIC_OR_PARTITION]
    assert await seen(client, "t") == ([b"x"] if commit else [])


@pytest.mark.parametrize(
    ("name", "version"), each_version("DescribeTransactions", "ListTransactions", "DescribeProducers")
)
async def test_a_transaction_is_described(client, name, version):
    story = Story(client)
    await story.begin()
    who = story.who
    match name:
        case "DescribeTransactions":
            answer = await client.call(version, m.DescribeTransactionsRequest(transactional_ids=["tx"]))
            (one,) = answer.transaction_states
            assert (one.transaction_state, one.producer_id) == ("Ongoing", who["producer_id"])
        case "ListTransactions":
            answer = await client.call(version, m.ListTransactionsRequest(state_filters=["Ongoing"]))
            assert [each.transactional_id for each in answer.transaction_states] == ["tx"]
        case "DescribeProducers":
            topic = m.DescribeProducersRequest.TopicRequest(name="t", partition_indexes=[0])
            answer = await client.call(version, m.DescribeProducersRequest(topics=[topic]))
            (one,) = answer.topics[0].partitions[0].active_producers
            assert (one.producer_id, one.current_txn_start_offset) == (who["producer_id"], 0)


async def test_every_stable_version_of_kafka_is_served():
    served = {name: (low, high) for name, low, high in _ranges()}
    assert served == {
        "InitProducerId": (0, 5),
        "AddPartitionsToTxn": (0, 5),
        "AddOffsetsToTxn": (0, 4),
        "EndTxn": (0, 5),
        "WriteTxnMarkers": (1, 2),
        "TxnOffsetCommit": (0, 6),
        "DescribeProducers": (0, 0),
        "DescribeTransactions": (0, 0),
        "ListTransactions": (0, 2),
    }


def _ranges():
    for key in (22, 24, 25, 26, 27, 28, 61, 65, 66):
        api = all_apis()[key]
        yield api.name, *api.served
