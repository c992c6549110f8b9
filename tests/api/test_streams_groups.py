"""Streams groups through dispatch: heartbeats, tasks, internal topics, static members, restarts."""

from streaming import StreamsPeer, counting

from kwire.errors import Code


async def test_a_member_gets_all_tasks_once_the_changelog_exists(broker):
    member = StreamsPeer(broker)
    await member.create("t", 2)
    first = await member.join(counting())
    assert first.error_code == Code.NONE, first
    assert [(each.status_code, each.status_detail) for each in first.status] == [
        (5, "Assignment delayed due to the configured initial rebalance delay."),
        (3, "Internal topics are missing: app-counts-changelog"),
    ]
    await member.settle()
    assert member.owned == {"active": {"0": [0, 1]}, "standby": {}, "warmup": {}}
    group = await member.described()
    assert (group.group_state, group.assignor_name) == ("Stable", "sticky")
