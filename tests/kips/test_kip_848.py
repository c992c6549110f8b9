"""KIP-848: a member's server-side assignor changes; a member of the classic protocol sends what is no subscription."""

import pytest
from peer import Peer

from kwire.errors import Code
from kwire.wire.messages import ConsumerGroupHeartbeatRequest, JoinGroupRequest


async def beat(peer, epoch, **more):
    request = ConsumerGroupHeartbeatRequest(group_id="g", member_id="m", member_epoch=epoch, **more)
    answer = await peer.call(1, request)
    assert not answer.error_code, answer
    return answer.member_epoch


async def test_another_preferred_assignor_raises_the_epoch(broker):
    member = Peer(broker)
    await member.create_topic("t", 1)
    first = {"subscribed_topic_names": ["t"], "rebalance_timeout_ms": 5000, "topic_partitions": []}
    epoch = await beat(member, 0, **first)
    assert await beat(member, epoch, server_assignor="uniform") == epoch
    assert await beat(member, epoch, server_assignor="range") == epoch + 1
    assert await beat(member, epoch + 1, server_assignor="range") == epoch + 1


@pytest.mark.parametrize("metadata", [b"", b"\0", b"\0\0\0", b"\0\0\0\0\0\5", b"\xff\xff\0\0\0\0"])
async def test_a_subscription_that_cannot_be_read_is_refused_in_a_consumer_group(broker, metadata):
    member = Peer(broker)
    await member.create_topic("t", 1)
    await beat(member, 0, subscribed_topic_names=["t"], rebalance_timeout_ms=5000, topic_partitions=[])
    protocol = JoinGroupRequest.JoinGroupRequestProtocol(name="range", metadata=metadata)
    request = JoinGroupRequest(
        group_id="g",
        session_timeout_ms=10_000,
        rebalance_timeout_ms=10_000,
        protocol_type="consumer",
        protocols=[protocol],
    )
    joining = Peer(broker)
    request.member_id = (await joining.call(9, request)).member_id
    assert (await joining.call(9, request)).error_code == Code.INCONSISTENT_GROUP_PROTOCOL


async def test_an_instance_id_belongs_to_a_member_until_it_leaves_for_a_while(broker):
    peer = Peer(broker)
    await peer.create_topic("t", 1)

    async def code_of_beat(member_id, epoch):
        request = ConsumerGroupHeartbeatRequest(
            group_id="g",
            member_id=member_id,
            instance_id="i",
            member_epoch=epoch,
            rebalance_timeout_ms=5000,
            subscribed_topic_names=["t"],
            topic_partitions=[],
        )
        return (await peer.call(1, request)).error_code

    assert await code_of_beat("m", 0) == Code.NONE
    assert await code_of_beat("n", 0) == Code.UNRELEASED_INSTANCE_ID
    assert await code_of_beat("m", -2) == Code.NONE
    assert await code_of_beat("n", 0) == Code.NONE
