"""A member of a streams group for tests that go through dispatch."""

import trio.testing
from peer import Peer

from kwire.wire.messages import (
    CreateTopicsRequest,
    ListGroupsRequest,
    StreamsGroupDescribeRequest,
    StreamsGroupHeartbeatRequest,
)

Topology = StreamsGroupHeartbeatRequest.Topology
Subtopology = StreamsGroupHeartbeatRequest.Subtopology
TopicInfo = StreamsGroupHeartbeatRequest.TopicInfo
TaskIds = StreamsGroupHeartbeatRequest.TaskIds
Endpoint = StreamsGroupHeartbeatRequest.Endpoint


def topology(*subtopologies, epoch=0):
    return Topology(epoch=epoch, subtopologies=list(subtopologies))


def counting(name="0", source="t", changelogs=("app-counts-changelog",)):
    """A subtopology with a store."""
    return Subtopology(
        subtopology_id=name,
        source_topics=[source],
        state_changelog_topics=[TopicInfo(name=each) for each in changelogs],
    )


def stateless(name="0", source="t"):
    return Subtopology(subtopology_id=name, source_topics=[source])


class StreamsPeer(Peer):
    """One member: it owns what the last answer gave it."""

    def __init__(self, broker, member_id="m", group_id="g", process_id="p", **fields):
        super().__init__(broker)
        self.member_id = member_id
        self.group_id = group_id
        self.process_id = process_id
        self.fields = fields
        self.epoch = 0
        self.owned = {"active": {}, "standby": {}, "warmup": {}}

    async def beat(self, version=1, **more):
        """A heartbeat; it takes what the answer gives."""
        request = StreamsGroupHeartbeatRequest(
            group_id=self.group_id,
            **{
                "member_id": self.member_id,
                "member_epoch": self.epoch,
                "process_id": self.process_id,
                **self._tasks(),
                **self.fields,
                **more,
            },
        )
        answer = await self.call(version, request)
        if not answer.error_code:
            self.epoch = answer.member_epoch
            self._take(answer)
        return answer

    async def join(self, *subtopologies, **more):
        self.epoch = 0
        self.owned = {"active": {}, "standby": {}, "warmup": {}}
        return await self.beat(topology=topology(*subtopologies), rebalance_timeout_ms=60_000, **more)

    async def settle(self, rounds=5, **more):
        """Beat a few times, each after a second."""
        for _ in range(rounds):
            self.broker.clock.advance(1000)
            await trio.testing.wait_all_tasks_blocked()
            answer = await self.beat(**more)
        return answer

    async def create(self, name, partitions=1):
        topic = CreateTopicsRequest.CreatableTopic(name=name, num_partitions=partitions, replication_factor=1)
        answer = await self.call(7, CreateTopicsRequest(topics=[topic], timeout_ms=1000))
        assert not answer.topics[0].error_code, answer

    async def described(self, version=1):
        answer = await self.call(version, StreamsGroupDescribeRequest(group_ids=[self.group_id]))
        return answer.groups[0]

    async def listed(self):
        return {each.group_id: each for each in (await self.call(5, ListGroupsRequest())).groups}

    def _tasks(self):
        return {
            f"{kind}_tasks": [TaskIds(subtopology_id=name, partitions=sorted(held)) for name, held in tasks.items()]
            for kind, tasks in self.owned.items()
        }

    def _take(self, answer):
        for kind in self.owned:
            tasks = getattr(answer, f"{kind}_tasks")
            if tasks is not None:
                self.owned[kind] = {each.subtopology_id: list(each.partitions) for each in tasks}
