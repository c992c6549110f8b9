"""A controller for tests of observers: recorded answers as messages, and a small log that is fetched from."""

import base64
import gzip
import json
from pathlib import Path

from kwire.metadata.log.frames import decode_record
from kwire.metadata.log.log_format import LEADER_CHANGE, control_batch, data_batch
from kwire.types import METADATA_TOPIC_ID
from kwire.wire import codec, messages
from kwire.wire.batches.batch import read_batch_header
from kwire.wire.batches.records import Record, build_batch, read_records
from kwire.wire.messages import FetchResponse, FetchSnapshotResponse, LeaderChangeMessage, NoOpRecord, TopicRecord
from kwire.wire.varint import encode_unsigned_varint

_CONTROLS = {
    "LEADER_CHANGE": (2, "LeaderChangeMessage"),
    "SNAPSHOT_HEADER": (3, "SnapshotHeaderRecord"),
    "SNAPSHOT_FOOTER": (4, "SnapshotFooterRecord"),
    "KRAFT_VERSION": (5, "KRaftVersionRecord"),
    "KRAFT_VOTERS": (6, "VotersRecord"),
}


def transcript(name):
    """Requests and responses that an official controller and an observer exchanged, by their names of JSON."""
    path = Path(__file__).parent / "observer_transcripts.json.gz"
    with gzip.open(path, "rt") as file:
        return json.load(file)[name]


def response_of(exchange):
    """The response message of one recorded exchange."""
    body = exchange["response"]
    topics = body.get("responses") or body["topics"]
    for topic in topics:
        for partition in topic["partitions"]:
            partition["errorCode"] = int(str(partition["errorCode"]).split(" ", 1)[0])
            for field in ("records", "unalignedRecords"):
                if field in partition:
                    batches = b"".join(_batches(partition[field] or (), partition.get("highWatermark", 0)))
                    partition[field] = base64.b64encode(batches).decode()
    cls, version = (FetchResponse, 18) if exchange["api"] == "Fetch" else (FetchSnapshotResponse, 1)
    return codec.from_json(cls, version, body)


def _batches(recorded, end):
    """The batches up to ``end``; the recordings leave out those that hold one NoOpRecord each."""
    offset = recorded[0]["baseOffset"] if recorded else end
    left_out = any(isinstance(one, str) for one in recorded)
    for one in [one for one in recorded if isinstance(one, dict)]:
        yield from (_no_op(each, one["leaderEpoch"]) for each in range(offset, one["baseOffset"]))
        yield _batch(one)
        offset, epoch = one["lastOffset"] + 1, one["leaderEpoch"]
    if left_out:
        yield from (_no_op(each, epoch) for each in range(offset, end))


def _no_op(offset, epoch):
    no_op = {"offset": offset, "record": "NoOpRecord", "version": 0}
    return _batch({"baseOffset": offset, "leaderEpoch": epoch, "records": [no_op]})


def _batch(recorded):
    records = []
    for record in recorded["records"]:
        fields = {key: value for key, value in record.items() if key not in {"offset", "record", "control", "version"}}
        if "control" in record:
            kind, name = _CONTROLS[record["control"]]
            value = codec.encode(codec.from_json(getattr(messages, name), 0, fields), 0)
            records.append(Record(record["offset"], 0, bytes(2) + kind.to_bytes(2, "big"), value, ()))
            continue
        cls, version = getattr(messages, record["record"]), record["version"]
        frame = b"".join(encode_unsigned_varint(number) for number in (1, cls.KEY, version))
        value = frame + codec.encode(codec.from_json(cls, version, fields), version)
        records.append(Record(record["offset"], 0, None, value, ()))
    return build_batch(
        records,
        base_offset=recorded["baseOffset"],
        leader_epoch=recorded["leaderEpoch"],
        control="control" in recorded["records"][0],
    )


class LeaderLog:
    """The log of a quorum as its leader has it: batches, a committed end, an epoch."""

    def __init__(self):
        self.batches = []
        self.epoch = 0
        self.leader_id = 3000
        self.committed_end = 0
        self.elect(3000)

    @property
    def end(self):
        return read_batch_header(self.batches[-1]).last_offset + 1 if self.batches else 0

    def elect(self, leader_id, *, keep_end=None):
        """A new leader, whose log ends at ``keep_end``: what came after was never committed."""
        keep_end = self.end if keep_end is None else keep_end
        assert keep_end >= self.committed_end
        self.batches = [batch for batch in self.batches if read_batch_header(batch).last_offset < keep_end]
        self.epoch += 1
        self.leader_id = leader_id
        change = LeaderChangeMessage(leader_id=leader_id)
        self.batches.append(control_batch([(LEADER_CHANGE, change)], offset=self.end, epoch=self.epoch, now_ms=0))

    def append(self, *names):
        records = [TopicRecord(name=name, topic_id=name.encode().ljust(16, b".")) for name in names] or [NoOpRecord()]
        self.batches.append(data_batch(records, 30, offset=self.end, epoch=self.epoch, now_ms=0))

    def append_records(self, records):
        self.batches.append(data_batch(records, 30, offset=self.end, epoch=self.epoch, now_ms=0))

    def commit(self, end=None):
        self.committed_end = self.end if end is None else max(self.committed_end, end)

    def boundaries(self):
        """The offsets between two batches, from the committed end on."""
        ends = [read_batch_header(batch).last_offset + 1 for batch in self.batches]
        return [end for end in ends if end >= self.committed_end]

    def committed_topics(self):
        """The names of the topics of committed records, in order."""
        return self._topics(self.committed_end)

    def _topics(self, end):
        names = []
        for batch in self.batches:
            header = read_batch_header(batch)
            if header.last_offset < end and not header.is_control:
                found = [decode_record(record.value) for record in read_records(memoryview(batch))]
                names += [record.name for record in found if isinstance(record, TopicRecord)]
        return names

    def answer(self, request, *, asked=None):
        """The response of a controller to a fetch: of the leader, or of another one (``asked``)."""
        (topic,) = request.topics
        (wanted,) = topic.partitions
        asked = self.leader_id if asked is None else asked
        partition = FetchResponse.PartitionData(
            high_watermark=-1,
            current_leader=FetchResponse.LeaderIdAndEpoch(leader_id=self.leader_id, leader_epoch=self.epoch),
            aborted_transactions=[],
        )
        if wanted.current_leader_epoch < self.epoch:
            partition.error_code = 74
        elif asked != self.leader_id:
            partition.error_code = 6
        else:
            self._fill(partition, wanted)
        return FetchResponse(
            responses=[FetchResponse.FetchableTopicResponse(topic_id=METADATA_TOPIC_ID, partitions=[partition])],
            node_endpoints=[FetchResponse.NodeEndpoint(node_id=self.leader_id, host=str(self.leader_id), port=9093)],
        )

    def _fill(self, partition, wanted):
        partition.high_watermark = self.committed_end
        headers = [read_batch_header(batch) for batch in self.batches]
        known = [header for header in headers if header.leader_epoch <= wanted.last_fetched_epoch]
        end_of_epoch = known[-1].last_offset + 1 if known else 0
        epoch = known[-1].leader_epoch if known else 0
        if wanted.fetch_offset and (epoch != wanted.last_fetched_epoch or wanted.fetch_offset > end_of_epoch):
            partition.diverging_epoch = FetchResponse.EpochEndOffset(epoch=epoch, end_offset=end_of_epoch)
            return
        partition.records = b"".join(
            batch
            for batch, header in zip(self.batches, headers, strict=True)
            if header.base_offset >= wanted.fetch_offset
        )
