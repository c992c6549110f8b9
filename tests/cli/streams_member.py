"""A member of a streams group over a real connection: it joins, takes the tasks that it gets, and leaves."""

from kwire.cli.admin.groups import commit_offsets
from kwire.cli.connections.client import Cluster, check
from kwire.cli.connections.connection import parse_addresses
from kwire.wire.messages import StreamsGroupHeartbeatRequest, StreamsGroupHeartbeatResponse

TaskIds = StreamsGroupHeartbeatRequest.TaskIds
TopicInfo = StreamsGroupHeartbeatRequest.TopicInfo


class StreamsMember:
    """Counts the records of a topic: one subtopology with a changelog."""

    def __init__(self, bootstrap, group, topic, changelogs=()):
        self.group = group
        self.topic = topic
        self.changelogs = changelogs
        self._cluster = Cluster(parse_addresses(bootstrap), client_id="counter")
        self._epoch = 0
        self._active = []

    def join(self):
        """Beat until the member has tasks."""
        topology = StreamsGroupHeartbeatRequest.Topology(
            epoch=3,
            subtopologies=[
                StreamsGroupHeartbeatRequest.Subtopology(
                    subtopology_id="0",
                    source_topics=[self.topic],
                    state_changelog_topics=[TopicInfo(name=name) for name in self.changelogs],
                )
            ],
        )
        self._beat(topology=topology, rebalance_timeout_ms=60_000, process_id="a-process", active_tasks=[],
                   standby_tasks=[], warmup_tasks=[])  # fmt: skip
        for _ in range(1000):
            if self._active:
                break
            self.beat()
        else:
            raise AssertionError(f"member of {self.group} got no tasks")
        self.beat()

    def beat(self):
        self._beat(active_tasks=self._active, standby_tasks=[], warmup_tasks=[])

    def leave(self, committed=None):
        """Leave; then the group has ``committed`` for partition 0, where that is not None. Once."""
        if self._epoch < 0:
            return
        self._epoch = -1
        self._beat()
        if committed is not None:
            assert commit_offsets(self._cluster, self.group, {(self.topic, 0): committed}) == {(self.topic, 0): None}
        self._cluster.close()

    def _beat(self, **fields):
        request = StreamsGroupHeartbeatRequest(
            group_id=self.group, member_id="member-1", member_epoch=self._epoch, **fields
        )
        answer = self._cluster.call_on(self._cluster.coordinator(self.group), request, StreamsGroupHeartbeatResponse)
        check(answer.error_code, answer.error_message)
        self._epoch = answer.member_epoch
        if answer.active_tasks is not None:
            self._active = [
                TaskIds(subtopology_id=each.subtopology_id, partitions=each.partitions) for each in answer.active_tasks
            ]
