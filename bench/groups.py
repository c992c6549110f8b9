"""Members of a classic consumer group as raw requests, so that the broker is measured and not a client's 3 s heartbeat.

Each member does what a consumer does, on its own connection: it finds the coordinator, joins (twice, because the first
answer is MEMBER_ID_REQUIRED), assigns the partitions if it is the leader, sends a heartbeat every 50 ms, rejoins on
REBALANCE_IN_PROGRESS, and fetches the committed offsets of its partitions.
"""

import threading
import time

from bench.raw import RawClient
from kwire.errors import Code
from kwire.wire import codec
from kwire.wire import messages as m

_HEARTBEAT_S = 0.05
_RETRY_S = 0.02
_SETTLE_S = 60
_NOT_YET = {Code.COORDINATOR_NOT_AVAILABLE, Code.NOT_COORDINATOR, Code.COORDINATOR_LOAD_IN_PROGRESS}
_JOIN_AGAIN = {Code.REBALANCE_IN_PROGRESS, Code.ILLEGAL_GENERATION, Code.UNKNOWN_MEMBER_ID}


def group(*, bootstrap: str, topic: str, group_id: str, members: int, partitions: int) -> dict[str, float]:
    """Members join at once; until every one is in the same generation and all partitions are among them."""
    everybody = [Member(bootstrap, topic, group_id, partitions) for _ in range(members)]
    settled = threading.Event()
    threads = [threading.Thread(target=member.run, args=(settled,), daemon=True) for member in everybody]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    while not _is_settled(everybody, partitions):
        assert time.perf_counter() < started + _SETTLE_S, [member.state for member in everybody]
        time.sleep(0.001)
    seconds = max(member.since for member in everybody) - started
    settled.set()
    for thread in threads:
        thread.join()
    return {"seconds": seconds}


def _is_settled(everybody, partitions):
    states = [member.state for member in everybody]
    if None in states or len({generation for generation, _ in states}) != 1:
        return False
    return sum(count for _, count in states) == partitions and all(count for _, count in states)


class Member:
    """One member. ``state`` is (generation, how many partitions it has) once it is in order, ``since`` when."""

    def __init__(self, bootstrap: str, topic: str, group_id: str, partitions: int) -> None:
        self._client = RawClient(bootstrap)
        self._topic = topic
        self._group_id = group_id
        self._partitions = partitions
        self._member_id = ""
        self.state: tuple[int, int] | None = None
        self.since = 0.0

    def run(self, settled: threading.Event) -> None:
        self._find_coordinator()
        generation = self.join()
        while not settled.wait(_HEARTBEAT_S):
            beat = m.HeartbeatRequest(group_id=self._group_id, generation_id=generation, member_id=self._member_id)
            code = self._client.ask(12, 4, beat).error_code
            if code in _JOIN_AGAIN:
                self.state = None
                generation = self.join()
            else:
                assert code == 0, Code(code)
        self._client.socket.close()

    def _find_coordinator(self) -> None:
        wanted = m.FindCoordinatorRequest(key_type=0, coordinator_keys=[self._group_id])
        while code := self._client.ask(10, 4, wanted).coordinators[0].error_code:
            assert code in _NOT_YET, Code(code)
            time.sleep(_RETRY_S)

    def join(self) -> int:
        """Join until there is an assignment; gives the generation."""
        while True:
            joined = self._join_once()
            shares = self._divide(joined) if joined.leader == joined.member_id else []
            sync = m.SyncGroupRequest(
                group_id=self._group_id,
                generation_id=joined.generation_id,
                member_id=self._member_id,
                protocol_type="consumer",
                protocol_name="range",
                assignments=shares,
            )
            synced = self._client.ask(14, 5, sync)
            if synced.error_code:
                assert synced.error_code in _JOIN_AGAIN | _NOT_YET, Code(synced.error_code)
                continue
            mine = codec.decode(m.ConsumerProtocolAssignment, 3, synced.assignment[2:]).assigned_partitions
            indexes = [index for one in mine for index in one.partitions]
            self._fetch_offsets(indexes)
            self.since = time.perf_counter()
            self.state = (joined.generation_id, len(indexes))
            return joined.generation_id

    def _join_once(self):
        subscription = m.ConsumerProtocolSubscription(topics=[self._topic])
        request = m.JoinGroupRequest
        while True:
            wanted = request(
                group_id=self._group_id,
                session_timeout_ms=45_000,
                rebalance_timeout_ms=300_000,
                member_id=self._member_id,
                protocol_type="consumer",
                protocols=[
                    request.JoinGroupRequestProtocol(name="range", metadata=b"\0\3" + codec.encode(subscription, 3))
                ],
            )
            joined = self._client.ask(11, 9, wanted)
            if joined.error_code == 0:
                return joined
            if joined.error_code == Code.MEMBER_ID_REQUIRED:
                self._member_id = joined.member_id
            elif joined.error_code in _NOT_YET:
                time.sleep(_RETRY_S)
            else:
                assert joined.error_code in _JOIN_AGAIN, Code(joined.error_code)
                if joined.error_code == Code.UNKNOWN_MEMBER_ID:
                    self._member_id = ""

    def _divide(self, joined):
        """The range assignor over one topic."""
        ids = sorted(member.member_id for member in joined.members)
        each, more = divmod(self._partitions, len(ids))
        shares, first = [], 0
        for number, member_id in enumerate(ids):
            count = each + (number < more)
            partition = m.ConsumerProtocolAssignment.TopicPartition(
                topic=self._topic, partitions=list(range(first, first + count))
            )
            assignment = m.ConsumerProtocolAssignment(assigned_partitions=[partition])
            shares.append(
                m.SyncGroupRequest.SyncGroupRequestAssignment(
                    member_id=member_id, assignment=b"\0\3" + codec.encode(assignment, 3)
                )
            )
            first += count
        return shares

    def _fetch_offsets(self, indexes) -> None:
        request = m.OffsetFetchRequest
        topics = [request.OffsetFetchRequestTopics(name=self._topic, partition_indexes=indexes)]
        wanted = request(
            groups=[request.OffsetFetchRequestGroup(group_id=self._group_id, topics=topics)], require_stable=True
        )
        while code := self._client.ask(9, 8, wanted).groups[0].error_code:
            assert code in _NOT_YET, Code(code)
            time.sleep(_RETRY_S)
