"""KIP-447: one producer for all partitions of a consumer; the group fences a former member."""

import pytest
from transactional import OLD, Producer, committed

from kwire.errors import Code
from kwire.wire import messages as m


@pytest.fixture
async def producer(client):
    await client.create_topic("t")
    one = Producer(client, "tx")
    assert await one.init() is Code.NONE
    return one


async def join(client, group="g"):
    request = m.JoinGroupRequest
    wish = {
        "group_id": group,
        "session_timeout_ms": 10_000,
        "rebalance_timeout_ms": 10_000,
        "protocol_type": "consumer",
        "protocols": [request.JoinGroupRequestProtocol(name="range", metadata=b"")],
    }
    first = await client.call(5, request(**wish, member_id=""))
    joined = await client.call(5, request(**wish, member_id=first.member_id))
    sync = m.SyncGroupRequest
    await client.call(
        3,
        sync(
            group_id=group,
            generation_id=joined.generation_id,
            member_id=joined.member_id,
            assignments=[sync.SyncGroupRequestAssignment(member_id=joined.member_id, assignment=b"")],
        ),
    )
    return {"member_id": joined.member_id, "generation_id_or_member_epoch": joined.generation_id}


async def test_a_member_of_the_present_generation_may_commit(client, producer):
    assert await producer.offsets("g", "t", 3, **await join(client)) is Code.NONE
    await producer.commit()
    assert await committed(client, "g", "t") == 3


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"generation_id_or_member_epoch": 9}, Code.ILLEGAL_GENERATION),
        ({"member_id": "unknown"}, Code.UNKNOWN_MEMBER_ID),
        ({"group_instance_id": "another"}, Code.UNKNOWN_MEMBER_ID),
    ],
)
async def test_a_member_of_another_generation_is_fenced(client, producer, change, code):
    member = await join(client)
    assert await producer.offsets("g", "t", 3, **{**member, **change}) is code
    await producer.commit()
    assert await committed(client, "g", "t") == -1


@pytest.mark.parametrize(("version", "code"), [(5, Code.ILLEGAL_GENERATION), (6, Code.GROUP_ID_NOT_FOUND)])
async def test_a_member_of_a_group_that_is_not_there_is_fenced(client, producer, version, code):
    who = {"member_id": "one", "generation_id_or_member_epoch": 1}
    assert await producer.offsets("nowhere", "t", 3, version=version, **who) is code


async def test_earlier_versions_name_no_cluster_and_are_served(client):
    await client.create_topic("t")
    producer = Producer(client, "tx", speaks=OLD)
    await producer.init()
    await join(client)
    assert await producer.offsets("g", "t", 3, version=2) is Code.NONE


async def test_a_fetch_of_stable_offsets_waits_for_the_end(client, producer):
    await producer.offsets("g", "t", 3)
    assert await committed(client, "g", "t", stable=True) is Code.UNSTABLE_OFFSET_COMMIT
    assert await committed(client, "g", "t", stable=False) == -1
    await producer.commit()
    assert await committed(client, "g", "t", stable=True) == 3
