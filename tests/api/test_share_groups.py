"""Share groups through dispatch: heartbeats, assignments, offsets, deletion, restarts."""

import pytest
import trio
import trio.testing
from sharing import SharePeer, acquired, write

from kwire.coordinators.share.acknowledgement import ACCEPT
from kwire.errors import Code
from kwire.wire.messages import (
    AlterShareGroupOffsetsRequest,
    DeleteGroupsRequest,
    DeleteShareGroupOffsetsRequest,
    DescribeShareGroupOffsetsRequest,
    ListGroupsRequest,
    OffsetFetchRequest,
    ShareGroupDescribeRequest,
    ShareGroupHeartbeatRequest,
)

pytestmark = pytest.mark.usefixtures("mock_clock")


async def beat(peer, epoch, topics=None, **more):
    request = ShareGroupHeartbeatRequest(
        group_id=peer.group_id, member_id=peer.member_id, member_epoch=epoch, subscribed_topic_names=topics, **more
    )
    return await peer.call(1, request)


async def join(peer, *topics):
    """Join, and beat until the group has settled; gives the last answer that named an assignment, and the epoch."""
    answer = await beat(peer, 0, list(topics))
    assert answer.error_code == Code.NONE, answer
    assignment = answer.assignment
    for _ in range(6):
        await trio.testing.wait_all_tasks_blocked()
        peer.broker.clock.advance(1000)
        answer = await beat(peer, answer.member_epoch)
        assignment = answer.assignment or assignment
    return assigned(assignment), answer.member_epoch


def assigned(assignment):
    return {each.topic_id: each.partitions for each in assignment.topic_partitions}


async def test_the_first_member_gets_all_partitions_once_they_have_a_state(broker):
    member = SharePeer(broker)
    topic_id = await member.create_topic("t", 3)
    first = await beat(member, 0, ["t"])
    assert (first.member_epoch, assigned(first.assignment)) == (2, {})
    assert first.heartbeat_interval_ms < 1000
    await trio.testing.wait_all_tasks_blocked()
    broker.clock.advance(1000)
    second = await beat(member, 2)
    assert (second.member_epoch, assigned(second.assignment)) == (3, {topic_id: [0, 1, 2]})
    third = await beat(member, 3)
    assert (third.member_epoch, third.assignment, third.heartbeat_interval_ms) == (3, None, 5000)


async def test_the_assignment_epoch_of_an_empty_group_is_that_of_the_group(broker):
    member = SharePeer(broker)
    await member.create_topic("t")
    await join(member, "t")
    await beat(member, -1)
    (group,) = (await member.call(1, ShareGroupDescribeRequest(group_ids=["g"]))).groups
    assert (group.group_epoch, group.assignment_epoch) == (4, 4)


async def test_a_group_that_was_created_by_its_offsets_has_the_epoch_one(broker):
    member = SharePeer(broker)
    await member.create_topic("t")
    await alter(member, "t", {0: 0})
    (group,) = (await member.call(1, ShareGroupDescribeRequest(group_ids=["g"]))).groups
    assert (group.group_epoch, group.assignment_epoch) == (1, 1)


async def test_an_administrator_reads_no_offsets_of_a_share_group(broker):
    member = SharePeer(broker)
    await member.create_topic("t")
    await join(member, "t")
    wanted = OffsetFetchRequest.OffsetFetchRequestGroup(group_id="g", topics=None)
    (group,) = (await member.call(9, OffsetFetchRequest(groups=[wanted]))).groups
    assert (group.error_code, group.topics) == (Code.NONE, [])


async def test_two_members_share_the_partitions(broker):
    first, second = SharePeer(broker, "m1"), SharePeer(broker, "m2")
    topic_id = await first.create_topic("t", 4)
    _, epoch = await join(first, "t")
    theirs, _ = await join(second, "t")
    answer = await beat(first, epoch)
    mine = assigned(answer.assignment)
    assert sorted(mine[topic_id] + theirs[topic_id]) == [0, 1, 2, 3]
    assert len(mine[topic_id]) == 2


async def test_more_members_than_partitions_have_a_partition_together(broker):
    members = [SharePeer(broker, f"m{number}") for number in range(3)]
    topic_id = await members[0].create_topic("t")
    for member in members:
        theirs, _ = await join(member, "t")
        assert theirs == {topic_id: [0]}


@pytest.mark.parametrize(
    ("epoch", "topics", "member_id", "code"),
    [
        (0, [], "m", Code.INVALID_REQUEST),
        (0, None, "m", Code.INVALID_REQUEST),
        (0, ["t"], "", Code.INVALID_REQUEST),
        (0, ["t"], "m" * 37, Code.INVALID_REQUEST),
        (-2, None, "m", Code.INVALID_REQUEST),
        (1, None, "m", Code.GROUP_ID_NOT_FOUND),
        (-1, None, "m", Code.GROUP_ID_NOT_FOUND),
    ],
)
async def test_invalid_heartbeats_are_refused(broker, epoch, topics, member_id, code):
    assert (await beat(SharePeer(broker, member_id), epoch, topics)).error_code == code


async def test_members_with_a_wrong_epoch_are_fenced(broker):
    member = SharePeer(broker)
    await member.create_topic("t")
    _, epoch = await join(member, "t")
    assert (await beat(member, epoch + 1)).error_code == Code.FENCED_MEMBER_EPOCH
    assert (await beat(member, epoch - 1)).error_code == Code.NONE
    assert (await beat(SharePeer(broker, "x"), epoch)).error_code == Code.UNKNOWN_MEMBER_ID


async def test_a_member_without_heartbeats_is_removed(broker):
    member = SharePeer(broker)
    await member.create_topic("t")
    _, epoch = await join(member, "t")
    broker.clock.advance(46_000)
    await trio.testing.wait_all_tasks_blocked()
    assert (await beat(member, epoch)).error_code == Code.UNKNOWN_MEMBER_ID
    (group,) = (await member.call(1, ShareGroupDescribeRequest(group_ids=["g"]))).groups
    assert (group.group_state, group.members) == ("Empty", [])


async def test_a_group_is_full(start_broker):
    async with start_broker(**{"group.share.max.size": "1"}) as broker:
        member = SharePeer(broker)
        await member.create_topic("t")
        await join(member, "t")
        assert (await beat(SharePeer(broker, "m2"), 0, ["t"])).error_code == Code.GROUP_MAX_SIZE_REACHED


async def test_a_group_is_described_and_listed(broker):
    member = SharePeer(broker)
    topic_id = await member.create_topic("t", 2)
    await join(member, "t")
    (group,) = (await member.call(1, ShareGroupDescribeRequest(group_ids=["g"]))).groups
    assert (group.group_state, group.assignor_name) == ("Stable", "simple")
    (described,) = group.members
    assert (described.member_id, described.client_id, described.client_host) == ("m1", "test", "/test")
    (topic,) = described.assignment.topic_partitions
    assert (topic.topic_id, topic.topic_name, topic.partitions) == (topic_id, "t", [0, 1])
    (missing,) = (await member.call(1, ShareGroupDescribeRequest(group_ids=["no"]))).groups
    assert missing.error_code == Code.GROUP_ID_NOT_FOUND
    (listed,) = (await member.call(5, ListGroupsRequest(types_filter=["share"]))).groups
    assert (listed.group_id, listed.group_state, listed.group_type, listed.protocol_type) == (
        "g",
        "Stable",
        "share",
        "share",
    )


async def test_a_member_and_its_records_survive_a_restart(start_broker):
    async with start_broker() as broker:
        member = SharePeer(broker)
        topic_id = await member.create_topic("t")
        await member.share(topic_id)
        _, epoch = await join(member, "t")
        write(broker, "t", b"a", b"b")
        await member.fetch(topic_id)
    async with start_broker() as broker:
        member = SharePeer(broker)
        assert (await beat(member, epoch)).error_code == Code.NONE


async def offsets_of(peer, topics=None):
    request = DescribeShareGroupOffsetsRequest(
        groups=[
            DescribeShareGroupOffsetsRequest.DescribeShareGroupOffsetsRequestGroup(
                group_id="g",
                topics=None
                if topics is None
                else [
                    DescribeShareGroupOffsetsRequest.DescribeShareGroupOffsetsRequestTopic(
                        topic_name=name, partitions=partitions
                    )
                    for name, partitions in topics.items()
                ],
            )
        ]
    )
    (group,) = (await peer.call(1, request)).groups
    return {
        (topic.topic_name, one.partition_index): (one.start_offset, one.lag)
        for topic in group.topics
        for one in topic.partitions
    }


async def alter(peer, topic, starts):
    request = AlterShareGroupOffsetsRequest(
        group_id="g",
        topics=[
            AlterShareGroupOffsetsRequest.AlterShareGroupOffsetsRequestTopic(
                topic_name=topic,
                partitions=[
                    AlterShareGroupOffsetsRequest.AlterShareGroupOffsetsRequestPartition(
                        partition_index=index, start_offset=offset
                    )
                    for index, offset in starts.items()
                ],
            )
        ],
    )
    response = await peer.call(0, request)
    if response.error_code:
        return response.error_code
    return {one.partition_index: one.error_code for each in response.responses for one in each.partitions}


async def test_a_group_with_members_refuses_offsets_even_of_unknown_topics(broker):
    member = SharePeer(broker)
    await member.create_topic("t")
    assert await alter(member, "none", {0: 1}) == {0: Code.UNKNOWN_TOPIC_OR_PARTITION}
    await beat(member, 0, ["t"])
    assert await alter(member, "none", {0: 1}) == Code.NON_EMPTY_GROUP
    assert await alter(member, "t", {7: 1}) == Code.NON_EMPTY_GROUP


async def test_offsets_are_described_with_their_lag(broker):
    member = SharePeer(broker)
    topic_id = await member.create_topic("t")
    assert await alter(member, "t", {0: 0, 7: 0}) == {0: Code.NONE, 7: Code.UNKNOWN_TOPIC_OR_PARTITION}
    write(broker, "t", *[b"v"] * 5)
    assert await offsets_of(member) == {("t", 0): (0, 5)}
    await member.fetch(topic_id)
    await member.acknowledge(topic_id, (0, 1, 2, ACCEPT))
    assert await offsets_of(member, {"t": [0, 3], "no": [0]}) == {
        ("t", 0): (0, 3),
        ("t", 3): (-1, -1),
        ("no", 0): (-1, -1),
    }
    await member.acknowledge(topic_id, (0, 0, 0, ACCEPT))
    # The start is written as it was before the change that moves it; the lag is right all the same.
    assert await offsets_of(member) == {("t", 0): (0, 2)}


async def test_offsets_are_altered_in_an_empty_group_only(broker):
    member = SharePeer(broker)
    topic_id = await member.create_topic("t")
    write(broker, "t", *[b"v"] * 5)
    _, epoch = await join(member, "t")
    assert await alter(member, "t", {0: 2}) == Code.NON_EMPTY_GROUP
    assert (await beat(member, -1)).error_code == Code.NONE
    assert await alter(member, "t", {0: 2}) == {0: Code.NONE}
    response = await member.fetch(topic_id)
    # The batch begins before the start.
    assert acquired(response) == [(0, 2, 4, 1)]
    assert epoch > 0


async def test_offsets_of_a_topic_are_deleted(broker):
    member = SharePeer(broker)
    await member.create_topic("t")
    await alter(member, "t", {0: 0})
    request = DeleteShareGroupOffsetsRequest(
        group_id="g",
        topics=[
            DeleteShareGroupOffsetsRequest.DeleteShareGroupOffsetsRequestTopic(topic_name=name) for name in ("t", "no")
        ],
    )
    response = await member.call(0, request)
    assert {one.topic_name: one.error_code for one in response.responses} == {
        "t": Code.NONE,
        "no": Code.UNKNOWN_TOPIC_OR_PARTITION,
    }
    assert await offsets_of(member) == {}
    again = {one.topic_name: one for one in (await member.call(0, request)).responses}["t"]
    assert again.error_message == "There is no offset information to delete."


async def test_a_group_is_deleted_with_its_states(broker):
    member = SharePeer(broker)
    topic_id = await member.create_topic("t")
    await join(member, "t")
    (result,) = (await member.call(2, DeleteGroupsRequest(groups_names=["g"]))).results
    assert result.error_code == Code.NON_EMPTY_GROUP
    await beat(member, -1)
    (result,) = (await member.call(2, DeleteGroupsRequest(groups_names=["g"]))).results
    assert result.error_code == Code.NONE
    (group,) = (await member.call(1, ShareGroupDescribeRequest(group_ids=["g"]))).groups
    assert group.error_code == Code.GROUP_ID_NOT_FOUND
    response = await member.fetch(topic_id)
    assert response.responses[0].partitions[0].error_code == Code.UNKNOWN_SERVER_ERROR


async def test_a_deleted_topic_leaves_the_group_and_the_share_coordinator(broker):
    member = SharePeer(broker)
    await member.create_topic("t")
    await alter(member, "t", {0: 0})
    from kwire.metadata.commands.topics import DeleteTopics

    topic_id = broker.image.topics["t"].id
    await broker.controller.submit(DeleteTopics([topic_id]))
    await trio.testing.wait_all_tasks_blocked()
    assert await offsets_of(member) == {}


async def test_offsets_of_a_share_group_without_a_name_cannot_be_deleted(client):
    answer = await client.call(0, DeleteShareGroupOffsetsRequest(group_id="", topics=[]))
    assert answer.error_code == Code.INVALID_GROUP_ID
