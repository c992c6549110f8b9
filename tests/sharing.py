"""Share consumers for tests of handlers: sessions, fetches and acknowledgements as a client sends them."""

from peer import Peer

from kwire.api import api_table
from kwire.coordinators.share.state import SharePartitionKey
from kwire.metadata.features import SHARE_VERSION
from kwire.wire.batches.records import Record, build_batch
from kwire.wire.messages import ShareAcknowledgeRequest, ShareFetchRequest


class SharePeer(Peer):
    """A member of a share group, without the group: the state of its partitions is initialized by ``share``."""

    def __init__(self, broker, member_id="m1", group_id="g"):
        super().__init__(broker)
        levels = {**broker.controller.finalized_features.levels, SHARE_VERSION: 1}
        self.apis = api_table(broker.configs.broker, levels)
        self.member_id = member_id
        self.group_id = group_id
        self.epoch = 0
        self.acknowledged = None  # the last ShareAcknowledgeResponse

    async def share(self, topic_id, partitions=1, start_offset=0, state_epoch=0):
        """Initialize the state of a topic's partitions."""
        for index in range(partitions):
            key = SharePartitionKey(self.group_id, topic_id, index)
            await self.broker.share_states.initialize(self, key, state_epoch, start_offset)

    async def fetch(self, topic_id=None, partitions=(0,), *, version=2, epoch=None, acks=(), forget=(), **more):
        """A ShareFetch with the next epoch of the session, or with ``epoch``."""
        fields = {"max_wait_ms": 0, "min_bytes": 1, "max_bytes": 1 << 20, "max_records": 500, "batch_size": 500} | more
        topics = []
        if topic_id is not None:
            topics = [
                ShareFetchRequest.FetchTopic(
                    topic_id=topic_id,
                    partitions=[
                        ShareFetchRequest.FetchPartition(
                            partition_index=index,
                            acknowledgement_batches=[
                                ShareFetchRequest.AcknowledgementBatch(
                                    first_offset=first, last_offset=last, acknowledge_types=list(types)
                                )
                                for partition, first, last, *types in acks
                                if partition == index
                            ],
                        )
                        for index in partitions
                    ],
                )
            ]
        request = ShareFetchRequest(
            group_id=self.group_id,
            member_id=self.member_id,
            share_session_epoch=self.epoch if epoch is None else epoch,
            topics=topics,
            forgotten_topics_data=[ShareFetchRequest.ForgottenTopic(topic_id=each, partitions=[0]) for each in forget],
            **fields,
        )
        response = await self.call(version, request)
        if not response.error_code and epoch is None:
            self.epoch += 1
        return response

    async def acknowledge(self, topic_id, *acks, version=2, epoch=None, is_renew_ack=False):
        """A ShareAcknowledge of ``(partition, first, last, type...)``; gives error codes by partition."""
        by_partition = {}
        for partition, first, last, *types in acks:
            by_partition.setdefault(partition, []).append(
                ShareAcknowledgeRequest.AcknowledgementBatch(
                    first_offset=first, last_offset=last, acknowledge_types=list(types)
                )
            )
        request = ShareAcknowledgeRequest(
            group_id=self.group_id,
            member_id=self.member_id,
            share_session_epoch=self.epoch if epoch is None else epoch,
            is_renew_ack=is_renew_ack,
            topics=[
                ShareAcknowledgeRequest.AcknowledgeTopic(
                    topic_id=topic_id,
                    partitions=[
                        ShareAcknowledgeRequest.AcknowledgePartition(
                            partition_index=index, acknowledgement_batches=each
                        )
                        for index, each in by_partition.items()
                    ],
                )
            ]
            if acks
            else [],
        )
        response = self.acknowledged = await self.call(version, request)
        if not response.error_code and epoch is None:
            self.epoch += 1
        if response.error_code:
            return response.error_code
        return {one.partition_index: one.error_code for topic in response.responses for one in topic.partitions}


def write(broker, topic, *values, partition=0):
    """Append one batch of these values."""
    batch = build_batch([Record(index, 0, None, value, ()) for index, value in enumerate(values)])
    return broker.partitions.get(topic, partition).append_own(batch)


def acquired(response):
    """What a response gave, as (partition, first, last, delivery count)."""
    return [
        (one.partition_index, each.first_offset, each.last_offset, each.delivery_count)
        for topic in response.responses
        for one in topic.partitions
        for each in one.acquired_records
    ]


def errors(response):
    return {one.partition_index: one.error_code for topic in response.responses for one in topic.partitions}
