"""Short ways to write the requests of groups."""

import struct

from kwire.wire import messages as m


def subscription(*topics):
    names = b"".join(struct.pack(">h", len(topic)) + topic.encode() for topic in topics)
    return struct.pack(">hi", 0, len(topics)) + names + struct.pack(">i", -1)


READS_A = (("range", subscription("ta")),)


def find(*keys, kind=0):
    return m.FindCoordinatorRequest(key_type=kind, coordinator_keys=list(keys))


def find_one(key, kind=0):
    return m.FindCoordinatorRequest(key_type=kind, key=key)


def join(group, member="", *, instance=None, protocols=READS_A, kind="consumer", session_ms=10000, rebalance_ms=60000):
    protocol = m.JoinGroupRequest.JoinGroupRequestProtocol
    return m.JoinGroupRequest(
        group_id=group,
        session_timeout_ms=session_ms,
        rebalance_timeout_ms=rebalance_ms,
        member_id=member,
        group_instance_id=instance,
        protocol_type=kind,
        protocols=[protocol(name=name, metadata=metadata) for name, metadata in protocols],
    )


def sync(group, generation, member, *, instance=None, give=(), kind="consumer", protocol="range"):
    assignment = m.SyncGroupRequest.SyncGroupRequestAssignment
    return m.SyncGroupRequest(
        group_id=group,
        generation_id=generation,
        member_id=member,
        group_instance_id=instance,
        protocol_type=kind,
        protocol_name=protocol,
        assignments=[assignment(member_id=each, assignment=what) for each, what in give],
    )


def heartbeat(group, generation, member, instance=None):
    return m.HeartbeatRequest(group_id=group, generation_id=generation, member_id=member, group_instance_id=instance)


def leave(group, *members):
    """Members as (id, instance id)."""
    identity = m.LeaveGroupRequest.MemberIdentity
    return m.LeaveGroupRequest(
        group_id=group, members=[identity(member_id=member, group_instance_id=instance) for member, instance in members]
    )


def leave_one(group, member):
    return m.LeaveGroupRequest(group_id=group, member_id=member)


def commit(
    group, *offsets, generation=-1, member="", instance=None, metadata="m", ids=None, leader_epoch=3, retention_ms=-1
):
    """Offsets as (topic, partition, offset); ``ids`` gives the ids of topics, for versions that go by them."""
    request = m.OffsetCommitRequest
    topics = {}
    for topic, partition, offset in offsets:
        topics.setdefault(topic, []).append(
            request.OffsetCommitRequestPartition(
                partition_index=partition,
                committed_offset=offset,
                committed_leader_epoch=leader_epoch,
                committed_metadata=metadata,
            )
        )
    return request(
        group_id=group,
        generation_id_or_member_epoch=generation,
        member_id=member,
        group_instance_id=instance,
        retention_time_ms=retention_ms,
        topics=[
            request.OffsetCommitRequestTopic(
                name="" if ids else topic, topic_id=ids[topic] if ids else bytes(16), partitions=partitions
            )
            for topic, partitions in topics.items()
        ],
    )


def fetch_one(group, topics, *, stable=False):
    """Before version 8. Topics as (name, partitions), or None for all."""
    request = m.OffsetFetchRequest
    wanted = None
    if topics is not None:
        wanted = [request.OffsetFetchRequestTopic(name=name, partition_indexes=list(each)) for name, each in topics]
    return request(group_id=group, topics=wanted, require_stable=stable)


def fetch(*groups, stable=False, ids=None, member=None, epoch=-1):
    """Since version 8. Groups as (id, topics)."""
    request = m.OffsetFetchRequest

    def wanted(topics):
        if topics is None:
            return None
        return [
            request.OffsetFetchRequestTopics(
                name="" if ids else name, topic_id=ids[name] if ids else bytes(16), partition_indexes=list(each)
            )
            for name, each in topics
        ]

    return request(
        require_stable=stable,
        groups=[
            request.OffsetFetchRequestGroup(group_id=group, member_id=member, member_epoch=epoch, topics=wanted(topics))
            for group, topics in groups
        ],
    )


def describe(*groups, operations=False):
    return m.DescribeGroupsRequest(groups=list(groups), include_authorized_operations=operations)


def list_groups(*, states=(), types=()):
    return m.ListGroupsRequest(states_filter=list(states), types_filter=list(types))


def delete(*groups):
    return m.DeleteGroupsRequest(groups_names=list(groups))


def forget(group, *topics):
    """Topics as (name, partitions)."""
    request = m.OffsetDeleteRequest
    return request(
        group_id=group,
        topics=[
            request.OffsetDeleteRequestTopic(
                name=name,
                partitions=[request.OffsetDeleteRequestPartition(partition_index=each) for each in partitions],
            )
            for name, partitions in topics
        ],
    )
