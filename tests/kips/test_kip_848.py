"""KIP-848: what a change of a member's server-side assignor does to its group."""

from peer import Peer

from kwire.wire.messages import ConsumerGroupHeartbeatRequest


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
