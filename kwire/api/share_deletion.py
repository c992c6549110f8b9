"""Deleting states of a share group in the share coordinator.

Responsible for: the deletion after the group has written which topics lose their states, and the record that it is
done. Must not depend on: the requests that ask for it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from kwire.broker.requests.context import Context
from kwire.coordinators.share.state import SharePartitionKey
from kwire.errors import KafkaError
from kwire.types import Uuid


async def delete_states(
    context: Context, group_id: str, partitions: Mapping[Uuid, Collection[int]]
) -> dict[Uuid, KafkaError]:
    """Delete the states of these partitions by topic id; the refusal of each topic that has one.

    A topic that was refused stays among those that the group deletes, so that the request can be sent again.
    """
    broker = context.broker
    failed: dict[Uuid, KafkaError] = {}
    for topic_id, indexes in partitions.items():
        for index in sorted(indexes):
            try:
                await broker.share_persister.delete(context, SharePartitionKey(group_id, topic_id, index))
            except KafkaError as refusal:
                failed.setdefault(topic_id, refusal)
    done = [topic_id for topic_id in partitions if topic_id not in failed]
    if done:
        await broker.groups.submit(
            context,
            group_id,
            lambda machine, ticket, now_ms: machine.share.deleted(group_id, done, ticket=ticket, now_ms=now_ms),
        )
    return failed
