"""Streams groups through dispatch: heartbeats, tasks, internal topics, static members, restarts."""

import pytest
from streaming import Endpoint, StreamsPeer, Subtopology, TaskIds, TopicInfo, counting, stateless, topology
from test_authorization import deny

from kwire.errors import Code
from kwire.security.operations import Operation, ResourceType
from kwire.wire.messages import (
    ConsumerGroupHeartbeatRequest,
    DeleteGroupsRequest,
    DeleteTopicsRequest,
    IncrementalAlterConfigsRequest,
    MetadataRequest,
    StreamsGroupDescribeRequest,
    StreamsGroupTopologyDescriptionUpdateRequest,
)

pytestmark = pytest.mark.usefixtures("mock_clock")

ALL = {"active": {"0": [0, 1]}, "standby": {}, "warmup": {}}
NO_DELAY = {"group.streams.initial.rebalance.delay.ms": "0", "group.streams.assignment.interval.ms": "0"}


def statuses(answer):
    return [(each.status_code, each.status_detail) for each in answer.status]


async def test_a_member_gets_all_tasks_once_the_changelog_exists(broker):
    member = StreamsPeer(broker)
    await member.create("t", 2)
    first = await member.join(counting())
    assert first.error_code == Code.NONE, first
    assert statuses(first) == [
        (5, "Assignment delayed due to the configured initial rebalance delay."),
        (3, "Internal topics are missing: app-counts-changelog"),
    ]
    assert first.heartbeat_interval_ms == 100
    answer = await member.settle()
    assert (member.owned, statuses(answer), answer.heartbeat_interval_ms) == (ALL, [], 5000)
    group = await member.described()
    assert (group.group_state, group.assignor_name, group.topology.epoch) == ("Stable", "sticky", 0)
    (changelog,) = group.topology.subtopologies[0].state_changelog_topics
    assert (changelog.name, changelog.partitions) == ("app-counts-changelog", 2)


SUBTOPOLOGY = Subtopology(
    subtopology_id="0",
    source_topics=["t"],
    repartition_sink_topics=["app-sink-repartition"],
    repartition_source_topics=[TopicInfo(name="app-source-repartition", partitions=1)],
    state_changelog_topics=[TopicInfo(name="app-counts-changelog")],
)


@pytest.mark.parametrize(
    "hidden", ["t", "app-sink-repartition", "app-source-repartition", "app-counts-changelog", "other"]
)
async def test_a_group_is_described_if_each_topic_of_its_topology_may_be(broker, hidden):
    member = StreamsPeer(broker)
    await member.create("t")
    await member.join(SUBTOPOLOGY)
    broker.authorizer = deny(Operation.DESCRIBE, ResourceType.TOPIC, hidden)
    group = await member.described()
    if hidden == "other":
        assert (group.error_code, len(group.members)) == (Code.NONE, 1)
    else:
        assert (group.error_code, group.members) == (Code.TOPIC_AUTHORIZATION_FAILED, [])


async def test_a_description_of_the_topology_is_not_stored(broker):
    member = StreamsPeer(broker)
    await member.create("t")
    await member.join(stateless())
    request = StreamsGroupDescribeRequest(group_ids=["g", "nosuch"], include_topology_description=True)
    asked, missing = (await member.call(1, request)).groups
    assert (asked.topology_description_status, asked.topology_description) == (1, None)
    assert (missing.error_code, missing.topology_description_status) == (Code.GROUP_ID_NOT_FOUND, 0)
    assert (await member.described()).topology_description_status == 0


async def test_a_task_moves_after_its_owner_has_given_it_up(start_broker):
    async with start_broker(**NO_DELAY) as broker:
        first, second = StreamsPeer(broker, "m1"), StreamsPeer(broker, "m2", process_id="q")
        await first.create("t", 2)
        await first.join(stateless())
        await first.settle(2)
        await second.join(stateless())
        assert second.owned["active"] == {}
        revoking = first.epoch
        await first.beat()
        assert (first.owned["active"], first.epoch) == ({"0": [0]}, revoking)
        await second.beat()
        assert second.owned["active"] == {}
        await first.beat()
        assert first.epoch == revoking + 1
        await second.beat()
        assert second.owned["active"] == {"0": [1]}
        assert (await first.described()).group_state == "Stable"


async def test_standby_tasks_are_on_other_processes_and_become_active_at_once(start_broker):
    async with start_broker(**NO_DELAY, **{"group.streams.num.standby.replicas": "1"}) as broker:
        first, second = StreamsPeer(broker, "m1"), StreamsPeer(broker, "m2", process_id="q")
        await first.create("t", 2)
        await first.join(counting())
        await second.join(counting())
        for _ in range(4):
            await first.settle(1)
            await second.settle(1)
        owned = (first.owned["active"], second.owned["standby"], second.owned["active"], first.owned["standby"])
        assert owned == ({"0": [0]}, {"0": [0]}, {"0": [1]}, {"0": [1]})
        await first.beat(member_epoch=-1)
        await second.beat()
        assert second.owned["active"] == {"0": [0, 1]}


async def test_the_topics_of_a_topology_are_checked(start_broker):
    async with start_broker(**NO_DELAY) as broker:
        member = StreamsPeer(broker)
        answer = await member.join(stateless(source="missing"))
        assert statuses(answer) == [(1, "Source topics missing are missing.")]
        assert (await member.described()).group_state == "NotReady"
        await member.create("missing", 2)
        await member.settle(2)
        assert member.owned["active"] == {"0": [0, 1]}


async def test_repartition_topics_are_created_with_the_partitions_of_their_source(start_broker):
    async with start_broker(**NO_DELAY) as broker:
        member = StreamsPeer(broker)
        await member.create("t", 3)
        sink = Subtopology(subtopology_id="0", source_topics=["t"], repartition_sink_topics=["app-repartition"])
        source = Subtopology(
            subtopology_id="1",
            repartition_source_topics=[TopicInfo(name="app-repartition")],
            state_changelog_topics=[TopicInfo(name="app-store")],
        )
        await member.join(sink, source)
        names = [MetadataRequest.MetadataRequestTopic(name=name) for name in ("app-repartition", "app-store")]
        found = (await member.call(12, MetadataRequest(topics=names))).topics
        assert [len(topic.partitions) for topic in found] == [3, 3]
        await member.settle(2)
        assert member.owned["active"] == {"0": [0, 1, 2], "1": [0, 1, 2]}


async def test_a_static_member_returns_to_its_tasks(start_broker):
    async with start_broker(**NO_DELAY) as broker:
        member = StreamsPeer(broker, "m1", instance_id="one")
        await member.create("t", 2)
        await member.join(stateless())
        await member.settle(2)
        epoch = member.epoch
        await member.beat(member_epoch=-2)
        again = StreamsPeer(broker, "m2", instance_id="one")
        answer = await again.join(stateless())
        assert (again.owned["active"], answer.member_epoch) == ({"0": [0, 1]}, epoch)
        refused = await member.beat(member_epoch=epoch)
        assert refused.error_code == Code.FENCED_INSTANCE_ID
        third = StreamsPeer(broker, "m3", instance_id="one")
        assert (await third.join(stateless())).error_code == Code.UNRELEASED_INSTANCE_ID


async def test_a_member_without_heartbeats_is_removed_and_its_tasks_move(start_broker):
    async with start_broker(**NO_DELAY) as broker:
        first, second = StreamsPeer(broker, "m1"), StreamsPeer(broker, "m2", process_id="q")
        await first.create("t", 2)
        await first.join(stateless())
        await second.join(stateless())
        for _ in range(60):
            await second.settle(1)
        assert second.owned["active"] == {"0": [0, 1]}
        assert (await first.beat()).error_code == Code.UNKNOWN_MEMBER_ID


async def test_a_member_that_does_not_revoke_tasks_in_time_is_removed(start_broker):
    async with start_broker(**NO_DELAY) as broker:
        first, second = StreamsPeer(broker, "m1"), StreamsPeer(broker, "m2", process_id="q")
        await first.create("t", 2)
        await first.join(stateless())
        await first.settle(2)
        await second.join(stateless())
        stubborn = [TaskIds(subtopology_id="0", partitions=[0, 1])]
        for _ in range(9):
            broker.clock.advance(10_000)
            answer = await first.beat(active_tasks=stubborn)
            await second.settle(1)
        assert answer.error_code == Code.UNKNOWN_MEMBER_ID
        assert second.owned["active"] == {"0": [0, 1]}


async def test_all_members_get_the_request_to_shut_down_until_the_group_is_empty(start_broker):
    async with start_broker(**NO_DELAY) as broker:
        first, second = StreamsPeer(broker, "m1"), StreamsPeer(broker, "m2", process_id="q")
        await first.create("t", 2)
        await first.join(stateless())
        await second.join(stateless())
        answer = await first.beat(shutdown_application=True)
        text = "Streams group member m1 encountered a fatal error and requested a shutdown for the entire application."
        assert statuses(answer)[-1] == (4, text)
        assert statuses(await second.beat())[-1] == (4, text)
        await first.beat(member_epoch=-1)
        await second.beat(member_epoch=-1)
        assert statuses(await second.join(stateless())) == []


async def test_the_partitions_of_all_endpoints_are_given_when_they_change(start_broker):
    async with start_broker(**NO_DELAY) as broker:
        first = StreamsPeer(broker, "m1", user_endpoint=Endpoint(host="a", port=1))
        second = StreamsPeer(broker, "m2", process_id="q", user_endpoint=Endpoint(host="b", port=2))
        await first.create("t", 2)
        await first.join(stateless())
        await first.settle(2)
        await second.join(stateless())
        for _ in range(3):
            await first.settle(1)
            await second.settle(1)
        answer = await first.beat(endpoint_information_epoch=-1)
        found = {
            each.user_endpoint.host: [(topic.topic, topic.partitions) for topic in each.active_partitions]
            for each in answer.partitions_by_user_endpoint
        }
        assert found == {"a": [("t", [0])], "b": [("t", [1])]}
        known = await first.beat(endpoint_information_epoch=answer.endpoint_information_epoch)
        assert known.partitions_by_user_endpoint is None


async def test_a_deleted_source_topic_takes_the_tasks_away(start_broker):
    async with start_broker(**NO_DELAY) as broker:
        member = StreamsPeer(broker, user_endpoint=Endpoint(host="a", port=1))
        await member.create("t", 2)
        await member.join(stateless())
        await member.settle(2)
        await member.call(5, DeleteTopicsRequest(topic_names=["t"], timeout_ms=1000))
        answer = await member.beat(endpoint_information_epoch=-1)
        assert (answer.error_code, statuses(answer)) == (Code.NONE, [(1, "Source topics t are missing.")])
        await member.settle(2)
        assert member.owned["active"] == {}
        assert (await member.described()).group_state == "NotReady"


async def test_a_group_has_settings_of_its_own(broker):
    member = StreamsPeer(broker)
    await member.create("t", 2)
    configs = {
        "streams.initial.rebalance.delay.ms": "0",
        "streams.heartbeat.interval.ms": "6000",
        "streams.rack.aware.assignment.tags": "zone",
    }
    resource = IncrementalAlterConfigsRequest.AlterConfigsResource(
        resource_type=32,
        resource_name="g",
        configs=[
            IncrementalAlterConfigsRequest.AlterableConfig(name=name, config_operation=0, value=value)
            for name, value in configs.items()
        ],
    )
    await member.call(1, IncrementalAlterConfigsRequest(resources=[resource]))
    answer = await member.join(stateless())
    missing = (
        "Missing required client tags for rack-aware standby assignment: [zone]. "
        "Configure them via 'client.tag.<tagKey>' in your Streams config."
    )
    assert (answer.heartbeat_interval_ms, statuses(answer)) == (6000, [(6, missing)])
    assert member.owned["active"] == {"0": [0, 1]}
    assert statuses(await member.beat(version=0)) == []


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"member_id": ""}, Code.INVALID_REQUEST),
        ({"rack_id": " "}, Code.INVALID_REQUEST),
        ({"rebalance_timeout_ms": -1}, Code.INVALID_REQUEST),
        ({"topology": None}, Code.INVALID_REQUEST),
        ({"active_tasks": [TaskIds(subtopology_id="0", partitions=[0])]}, Code.INVALID_REQUEST),
        ({"standby_tasks": None}, Code.INVALID_REQUEST),
        ({"member_epoch": -2, "topology": None}, Code.INVALID_REQUEST),
        ({"member_epoch": -3, "topology": None}, Code.INVALID_REQUEST),
        ({"member_epoch": 1}, Code.INVALID_REQUEST),
        ({"member_epoch": 1, "topology": None}, Code.GROUP_ID_NOT_FOUND),
        ({"member_epoch": -1, "topology": None}, Code.GROUP_ID_NOT_FOUND),
        ({"topology": topology(stateless(source="__consumer_offsets"))}, Code.STREAMS_INVALID_TOPOLOGY),
        ({"topology": topology(stateless(source="a b"))}, Code.STREAMS_INVALID_TOPOLOGY),
        ({"topology": topology(stateless(), stateless())}, Code.UNKNOWN_SERVER_ERROR),
        ({"topology": topology(Subtopology(subtopology_id="0", source_topic_regex=["a"]))}, Code.INVALID_REQUEST),
    ],
)
async def test_invalid_heartbeats_are_refused(broker, fields, code):
    member = StreamsPeer(broker)
    request = {"topology": topology(stateless()), "rebalance_timeout_ms": 1000, "member_epoch": 0, **fields}
    assert (await member.beat(**request)).error_code == code


async def test_a_wrong_epoch_and_unknown_tasks_are_refused(start_broker):
    async with start_broker(**NO_DELAY) as broker:
        member = StreamsPeer(broker)
        await member.create("t", 2)
        await member.join(stateless())
        await member.settle(2)
        assert (await member.beat(member_epoch=member.epoch + 1)).error_code == Code.FENCED_MEMBER_EPOCH
        unknown = [TaskIds(subtopology_id="0", partitions=[2])]
        assert (await member.beat(active_tasks=unknown)).error_code == Code.INVALID_REQUEST
        other = StreamsPeer(broker, "x")
        assert (await other.beat(member_epoch=member.epoch)).error_code == Code.UNKNOWN_MEMBER_ID
        changed = await other.join(stateless(source="u"))
        assert (changed.error_code, changed.error_message) == (
            Code.INVALID_REQUEST,
            "Topology updates are not supported yet.",
        )


async def test_the_previous_epoch_is_accepted_with_the_tasks_of_the_member(start_broker):
    async with start_broker(**NO_DELAY) as broker:
        first, second = StreamsPeer(broker, "m1"), StreamsPeer(broker, "m2", process_id="q")
        await first.create("t", 2)
        await first.join(stateless())
        await first.settle(2)
        await second.join(stateless())
        before = first.epoch
        await first.beat()
        await first.beat()
        assert first.epoch == before + 1
        kept = [TaskIds(subtopology_id="0", partitions=[0])]
        both = [TaskIds(subtopology_id="0", partitions=[0, 1])]

        async def answer(epoch, active_tasks):
            others = None if active_tasks is None else []
            tasks = {"active_tasks": active_tasks, "standby_tasks": others, "warmup_tasks": others}
            return (await first.beat(member_epoch=epoch, **tasks)).error_code

        assert await answer(before, None) == Code.FENCED_MEMBER_EPOCH
        assert await answer(before, both) == Code.FENCED_MEMBER_EPOCH
        assert await answer(before - 1, kept) == Code.FENCED_MEMBER_EPOCH
        assert await answer(before, kept) == Code.NONE


async def test_a_group_is_full(start_broker):
    async with start_broker(**NO_DELAY, **{"group.streams.max.size": "1"}) as broker:
        member = StreamsPeer(broker)
        await member.create("t", 1)
        await member.join(stateless())
        assert (await StreamsPeer(broker, "x").join(stateless())).error_code == Code.GROUP_MAX_SIZE_REACHED
        assert (await member.join(stateless())).error_code == Code.NONE


async def test_a_group_is_of_one_kind_and_deleted_when_it_is_empty(start_broker):
    async with start_broker(**NO_DELAY) as broker:
        member = StreamsPeer(broker)
        await member.create("t", 1)
        await member.join(stateless())
        await member.settle(1)
        assert ((await member.listed())["g"].group_type, (await member.listed())["g"].group_state) == (
            "streams",
            "Stable",
        )
        consumer = ConsumerGroupHeartbeatRequest(
            group_id="g", member_id="c", rebalance_timeout_ms=1000, subscribed_topic_names=["t"], topic_partitions=[]
        )
        assert (await member.call(1, consumer)).error_code == Code.GROUP_ID_NOT_FOUND
        deletion = DeleteGroupsRequest(groups_names=["g"])
        assert (await member.call(2, deletion)).results[0].error_code == Code.NON_EMPTY_GROUP
        await member.beat(member_epoch=-1)
        assert (await member.call(2, deletion)).results[0].error_code == Code.NONE
        assert (await member.described()).error_code == Code.GROUP_ID_NOT_FOUND


async def test_a_topology_description_update_is_unsupported(broker):
    request = StreamsGroupTopologyDescriptionUpdateRequest(group_id="g", member_id="m")
    answer = await StreamsPeer(broker).call(0, request)
    assert (answer.error_code, answer.error_message) == (
        Code.UNSUPPORTED_VERSION,
        "The broker has no streams group topology description plugin configured.",
    )
