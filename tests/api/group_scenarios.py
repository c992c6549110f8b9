"""What is asked of groups, of Apache Kafka (``record_group_answers.py``) and of us alike.

A scenario is an async function of a stage and of the group id that it may use. It asks by ``stage.ask(label, version,
request, who)``, where ``who`` names a connection; ``send`` and ``answer`` are the two halves of it, for requests that
are parked meanwhile.
"""

from group_requests import (
    commit,
    delete,
    describe,
    fetch,
    fetch_one,
    find,
    find_one,
    forget,
    heartbeat,
    join,
    leave,
    leave_one,
    list_groups,
    subscription,
    sync,
)

from kwire.errors import Code
from kwire.wire import messages as m

# What both brokers are started with.
SETTINGS = {
    "offsets.topic.num.partitions": "3",
    "offsets.topic.replication.factor": "1",
    "group.initial.rebalance.delay.ms": "0",
    "num.partitions": "2",
    "group.max.size": "3",
}

JOIN_VERSIONS = range(10)
STRANGE_ID = b"z" * 16
UNKNOWN_TOPIC = "tz"


async def apply_for(stage, group, who, version=9, **values):
    """Join with an id and without waiting for the answer."""
    first = await stage.ask("an id", version, join(group, **values), who)
    assert first.error_code == Code.MEMBER_ID_REQUIRED, first
    await stage.send(version, join(group, first.member_id, **values), who)
    return first.member_id


async def lead(stage, group, who="one", version=9, instance=None, **values):
    """Make a group whose only member is stable; returns its id."""
    if instance is None:
        await apply_for(stage, group, who, version, **values)
        joined = await stage.answer("alone", who)
    else:
        joined = await stage.ask("alone", version, join(group, instance=instance, **values), who)
    synced = sync(
        group,
        joined.generation_id,
        joined.member_id,
        instance=instance,
        give=[(joined.member_id, b"A")],
        kind=values.get("kind", "consumer"),
        protocol=joined.protocol_name,
    )
    await stage.ask("stable", 5, synced, who)
    return joined.member_id


async def join_errors(stage, group):
    for version in JOIN_VERSIONS:
        await stage.ask("no group id", version, join(""))
        await stage.ask("no group id, a member", version, join("", "x"))
        await stage.ask("session too short", version, join(group, session_ms=10))
        await stage.ask("session too long", version, join(group, session_ms=2_000_000_000))
        await stage.ask("session too short, a member", version, join(group, "me", session_ms=10))
        await stage.ask("no protocols", version, join(group, protocols=()))
        await stage.ask("no type", version, join(group, kind=""))
        await stage.ask("a member of no group", version, join(group, "me"))
        if version >= 5:
            await stage.ask("no type, static", version, join(group, kind="", instance="i"))
            await stage.ask("a static member of no group", version, join(group, "me", instance="i"))
        await stage.ask("describe", 6, describe(group))


async def errors_of_the_others(stage, group):
    await stage.ask("make the group", 9, join(group))
    nowhere = group + "-nowhere"
    for version in range(6):
        await stage.ask("sync without group id", version, sync("", 1, "m"))
        await stage.ask("sync nowhere", version, sync(nowhere, 1, "m"))
    await stage.ask("sync without type", 5, sync(group, 1, "m", kind=None))
    await stage.ask("sync without protocol", 5, sync(group, 1, "m", protocol=None))
    await stage.ask("sync without anything", 5, sync("", 1, "m", kind=None))
    for version in range(5):
        await stage.ask("heartbeat without group id", version, heartbeat("", 1, "m"))
        await stage.ask("heartbeat nowhere", version, heartbeat(nowhere, 1, "m"))
        await stage.ask("heartbeat without member id", version, heartbeat(group, 1, ""))
    for version in range(4):
        await stage.ask("delete", version, delete("", nowhere, group + "-2", nowhere))
        await stage.ask("delete none", version, delete())
    for version in range(7):
        await stage.ask("describe", version, describe("", nowhere, nowhere, operations=version >= 3))
        await stage.ask("describe none", version, describe())


async def every_version(stage, group):
    await stage.topic("ta")
    for version in JOIN_VERSIONS:
        await one_version(stage, f"{group}-{version}", version)


async def one_version(stage, group, version):
    joined = await stage.ask("join", version, join(group))
    member = joined.member_id
    if version >= 4:
        await stage.ask("join with id", version, join(group, member))
    await stage.ask("describe while completing", 6, describe(group, operations=True))
    await stage.ask("list while completing", 5, list_groups(states=["CompletingRebalance"]))
    await stage.ask("heartbeat", min(version, 4), heartbeat(group, 1, member))
    await stage.ask("heartbeat of a wrong generation", min(version, 4), heartbeat(group, 7, member))
    sync_version = min(version, 5)
    await stage.ask("sync", sync_version, sync(group, 1, member, give=[(member, b"assigned")]))
    await stage.ask("sync again", sync_version, sync(group, 1, member))
    await stage.ask("sync of a wrong generation", sync_version, sync(group, 2, member))
    await stage.ask("sync of an unknown member", sync_version, sync(group, 1, "unknown"))
    await stage.ask("describe", min(version, 6), describe(group, operations=version >= 3))
    await stage.ask("join with another protocol", version, join(group, member, protocols=[("other", b"x")]))
    await stage.ask("join with another type", version, join(group, member, kind="connect"))
    await stage.ask("join of an unknown member", version, join(group, "unknown"))
    if version >= 5:
        await stage.ask("join of an unknown static member", version, join(group, "unknown", instance="i"))
    if version < 3:
        await stage.ask("leave of an unknown member", version, leave_one(group, "unknown"))
        await stage.ask("leave", version, leave_one(group, member))
        await stage.ask("leave again", version, leave_one(group, member))
        await stage.ask("leave nowhere", version, leave_one(group + "-none", member))
        await stage.ask("leave without group id", version, leave_one("", member))
    else:
        leaving = leave(group, ("unknown", None), (member, None), (member, "i"), ("", "i"))
        await stage.ask("leave", min(version, 5), leaving)
        await stage.ask("leave nowhere", min(version, 5), leave(group + "-none", (member, None), ("", "i")))
        await stage.ask("leave without group id", min(version, 5), leave("", (member, None)))
        await stage.ask("leave of none", min(version, 5), leave(group))
    await stage.ask("describe empty", 5, describe(group))
    await stage.ask("delete", min(version, 3), delete(group))


async def names_of_members(stage, group):
    for who, client_id in (("none", None), ("empty", ""), ("own", "Käfer")):
        stage.client_ids[who] = client_id
        await stage.ask("join", 5, join(group), who)
    await stage.ask("join static", 5, join(group + "-i", instance="inst"))
    await stage.ask("describe", 5, describe(group, group + "-i"))


async def coordinators(stage, group):
    for version in range(4):
        await stage.ask("find", version, find_one(group))
        await stage.ask("find no key", version, find_one(""))
    for version in range(4, 7):
        await stage.ask("find", version, find(group, group + "-2", ""))
        await stage.ask("find nothing", version, find())


async def offsets(stage, group):
    ids = {"ta": await stage.topic("ta"), "tb": await stage.topic("tb"), UNKNOWN_TOPIC: STRANGE_ID}
    for version in range(2, 11):
        by_id = ids if version >= 10 else None
        one = f"{group}-{version}"
        none = f"{one}-none"
        mixed = [("ta", 0, 5), ("ta", 7, 5), (UNKNOWN_TOPIC, 0, 1), ("tb", 1, 9), ("ta", 1, -1)]
        await stage.ask("commit", version, commit(one, *mixed, ids=by_id))
        await stage.ask("commit a strange partition", version, commit(one, ("ta", -1, 5), ids=by_id))
        await stage.ask("commit a strange topic", version, commit(one, (UNKNOWN_TOPIC, 0, 5), ids=by_id))
        await stage.ask("commit nothing", version, commit(one))
        first = ("ta", 0, 5)
        await stage.ask("commit as an unknown member", version, commit(one, first, member="x", ids=by_id))
        await stage.ask("commit of a generation", version, commit(one, first, generation=3, member="x", ids=by_id))
        await stage.ask("commit nowhere", version, commit(none, first, generation=3, member="x", ids=by_id))
        await stage.ask("commit nowhere, no generation", version, commit(none, first, member="x", ids=by_id))
        await stage.ask("commit null metadata", version, commit(one, ("tb", 0, 8), metadata=None, ids=by_id))
        await stage.ask("commit much metadata", version, commit(one, ("tb", 1, 8), metadata="x" * 4097, ids=by_id))
        await stage.ask("commit metadata", version, commit(one, ("tb", 1, 10), metadata="é" * 4096, ids=by_id))
        if version >= 7:
            await stage.ask("commit as instance", version, commit(one, first, instance="i", ids=by_id))
        await stage.ask("describe", 6, describe(one))
    await stage.ask("list", 5, list_groups())
    await fetches(stage, f"{group}-6", ids)


async def fetches(stage, group, ids):
    none = group + "-unknown"
    wanted = [("ta", [0, 1, 5]), (UNKNOWN_TOPIC, [0]), ("tb", [0, 1])]
    for version in range(1, 8):
        await stage.ask("fetch", version, fetch_one(group, wanted, stable=version >= 7))
        await stage.ask("fetch nowhere", version, fetch_one(none, wanted))
        await stage.ask("fetch none", version, fetch_one(group, []))
        if version >= 2:
            await stage.ask("fetch all", version, fetch_one(group, None))
            await stage.ask("fetch all nowhere", version, fetch_one(none, None))
    some = [("ta", [0])]
    for version in range(8, 11):
        by_id = ids if version >= 10 else None
        several = [(group, wanted), (none, some), (group, None), (none, None)]
        await stage.ask("fetch several", version, fetch(*several, ids=by_id))
        await stage.ask("fetch stable", version, fetch((group, some), ids=by_id, stable=True))
        await stage.ask("fetch no group", version, fetch())
        await stage.ask("fetch none", version, fetch((group, [])))
        if version >= 9:
            await stage.ask("fetch as an unknown member", version, fetch(*several, ids=by_id, member="x", epoch=5))
            await stage.ask(
                "fetch as an unknown member without epoch", version, fetch((none, some), ids=by_id, member="x")
            )
            await stage.ask("fetch by an epoch", version, fetch((none, some), ids=by_id, epoch=5))


async def offsets_of_members(stage, group):
    await stage.topic("ta")
    await stage.topic("tb")
    await stage.ask("forget nowhere", 0, forget(group, ("ta", [0])))
    await stage.ask("forget without group id", 0, forget("", ("ta", [0])))
    await stage.ask("forget nothing nowhere", 0, forget(group))
    await stage.ask("commit", 5, commit(group, ("ta", 0, 5), ("tb", 0, 6)))
    await stage.ask("forget", 0, forget(group, ("ta", [0, 1, 9]), (UNKNOWN_TOPIC, [0])))
    await stage.ask("forget nothing", 0, forget(group))
    await stage.ask("fetch", 5, fetch_one(group, None))
    await stage.ask("forget the last", 0, forget(group, ("tb", [0])))
    await stage.ask("fetch", 5, fetch_one(group, None))
    await stage.ask("list", 5, list_groups())
    member = (await stage.ask("join", 3, join(group))).member_id
    both = [("ta", 0, 5), ("tb", 0, 6)]
    await stage.ask("commit while completing", 5, commit(group, *both, generation=1, member=member))
    await stage.ask("forget while completing", 0, forget(group, ("tb", [0]), ("ta", [0])))
    await stage.ask("sync", 3, sync(group, 1, member))
    await stage.ask("commit", 5, commit(group, *both, generation=1, member=member))
    first = ("ta", 0, 5)
    await stage.ask("commit without member", 5, commit(group, first))
    await stage.ask("commit of no generation", 5, commit(group, first, member=member))
    await stage.ask("commit as an unknown member", 5, commit(group, first, generation=1, member="x"))
    await stage.ask("commit of a wrong generation", 5, commit(group, first, generation=4, member=member))
    await stage.ask("commit as instance", 7, commit(group, first, generation=1, member=member, instance="x"))
    await stage.ask("forget", 0, forget(group, ("tb", [0]), ("ta", [0, 1, 9]), (UNKNOWN_TOPIC, [0])))
    await stage.ask("fetch", 5, fetch_one(group, None))
    await stage.ask("delete", 2, delete(group))
    connect = group + "-connect"
    member = (await stage.ask("join connect", 3, join(connect, kind="connect"))).member_id
    await stage.ask("sync connect", 3, sync(connect, 1, member, kind="connect"))
    await stage.ask("commit connect", 5, commit(connect, first, generation=1, member=member))
    await stage.ask("forget connect", 0, forget(connect, ("ta", [0])))
    await stage.ask("describe connect", 6, describe(connect))
    await stage.ask("list", 5, list_groups())


async def lists(stage, group):
    member = (await stage.ask("join", 3, join(group))).member_id
    for version in range(6):
        await stage.ask("list", version, list_groups())
    states = (["Stable"], ["stable", "EMPTY"], ["CompletingRebalance"], ["completingrebalance"], ["no"], [""], ["Dead"])
    for version in (4, 5):
        for wanted in states:
            await stage.ask(f"list {wanted}", version, list_groups(states=wanted))
    for wanted in (["classic"], ["Classic", "consumer"], ["consumer"], ["no"], ["unknown"], [""], ["share"]):
        await stage.ask(f"list {wanted}", 5, list_groups(types=wanted))
    await stage.ask("leave", 3, leave(group, (member, None)))
    for wanted in (["Empty"], ["empty"]):
        await stage.ask(f"list {wanted}", 5, list_groups(states=wanted))


async def two_members(stage, group):
    one = await lead(stage, group)
    two = await apply_for(stage, group, "two")
    await stage.on_append_result()
    await stage.ask("heartbeat", 4, heartbeat(group, 1, one))
    await stage.ask("describe", 6, describe(group))
    await stage.ask("sync too late", 5, sync(group, 1, one))
    await stage.ask("leave of an unknown member", 5, leave(group, ("x", None)))
    await stage.send(9, join(group, one), "one")
    await stage.answers("joined", "one", "two")
    await stage.send(5, sync(group, 2, two), "two")
    await stage.on_append_result()
    await stage.ask("describe", 6, describe(group))
    await stage.ask("heartbeat", 4, heartbeat(group, 2, two))
    await stage.ask("sync of a wrong generation", 5, sync(group, 1, one))
    await stage.ask("sync by another protocol", 5, sync(group, 2, one, protocol="other"))
    await stage.ask("sync of another type", 5, sync(group, 2, one, kind="connect"))
    await stage.send(5, sync(group, 2, one, give=[(one, b"1"), (two, b"2"), ("unknown", b"3")]), "one")
    await stage.answers("synced", "one", "two")
    await stage.ask("describe", 6, describe(group))
    await stage.ask("a follower joins again", 9, join(group, two), "two")
    await stage.ask("describe", 6, describe(group))
    await stage.send(9, join(group, one), "one")
    await stage.on_append_result()
    await stage.ask("heartbeat after the leader", 4, heartbeat(group, 2, two))
    await stage.send(9, join(group, two, protocols=[("range", subscription("tb"))]), "two")
    await stage.answers("joined again", "one", "two")
    await stage.ask("leave", 5, leave(group, (two, None)))
    await stage.ask("heartbeat", 4, heartbeat(group, 3, one))
    await stage.ask("sync in vain", 5, sync(group, 3, one, give=[(one, b"x")]))
    await stage.ask("join alone", 9, join(group, one), "one")
    await stage.ask("sync alone", 5, sync(group, 4, one, give=[(one, b"x")]))
    await stage.ask("leave", 5, leave(group, (one, None)))
    await stage.ask("describe", 6, describe(group))


async def a_third_member(stage, group):
    """A member joins while a SyncGroup is parked; a fourth is one too many."""
    one = await lead(stage, group)
    two = await apply_for(stage, group, "two")
    await stage.send(9, join(group, one), "one")
    await stage.answers("joined", "one", "two")
    await stage.send(5, sync(group, 2, two), "two")
    await stage.on_append_result()
    await apply_for(stage, group, "three")
    await stage.answers("sent away", "two")
    await stage.on_append_result()
    await stage.ask("heartbeat", 4, heartbeat(group, 2, one))
    await stage.ask("sync in vain", 5, sync(group, 2, one))
    await stage.ask("a fourth asks", 9, join(group), "four")
    await stage.send(9, join(group, one), "one")
    await stage.send(9, join(group, two), "two")
    await stage.pass_ms(10_200)  # the fourth has an id, and is waited for
    await stage.answers("joined", "one", "two", "three")
    for label, version, request in (
        ("a fourth", 9, join(group)),
        ("a fourth with an id", 9, join(group, "hello")),
        ("a static fourth", 9, join(group, instance="i")),
        ("an old fourth", 3, join(group)),
    ):
        await stage.ask(label, version, request, "four")


async def static_members(stage, group):
    await stage.topic("ta")
    for version in (5, 7, 8, 9):
        await static_version(stage, f"{group}-{version}", version)


async def static_version(stage, group, version):
    one = await lead(stage, group, version=version, instance="i1")
    await stage.ask("fenced heartbeat", 4, heartbeat(group, 1, "other", "i1"))
    await stage.ask("heartbeat of no instance", 4, heartbeat(group, 1, one, "i2"))
    await stage.ask("heartbeat without instance", 4, heartbeat(group, 1, one))
    fenced = commit(group, ("ta", 0, 1), generation=1, member="other", instance="i1")
    await stage.ask("fenced commit", 8, fenced)
    await stage.ask("fenced sync", 5, sync(group, 1, "other", instance="i1"))
    await stage.ask("fenced join", version, join(group, "other", instance="i1"))
    again = (await stage.ask("return", version, join(group, instance="i1"), "again")).member_id
    await stage.ask("heartbeat of the old", 4, heartbeat(group, 1, one, "i1"))
    await stage.ask("heartbeat of the old without instance", 4, heartbeat(group, 1, one))
    await stage.ask("heartbeat of the new", 4, heartbeat(group, 1, again, "i1"))
    await stage.ask("sync", 5, sync(group, 1, again, instance="i1", give=[(again, b"Z")]))
    await stage.ask("describe", 6, describe(group))
    other = [("roundrobin", b"r")]
    changed = await stage.ask("return with another protocol", version, join(group, instance="i1", protocols=other), "x")
    one = changed.member_id
    await stage.ask("sync", 5, sync(group, 2, one, instance="i1", give=[(one, b"Y")], protocol="roundrobin"))
    await stage.ask("describe", 6, describe(group))
    await stage.send(version, join(group, instance="i2", protocols=other), "two")
    await stage.on_append_result()
    await stage.send(version, join(group, one, instance="i1", protocols=other), "one")
    _, joined = await stage.answers("joined", "one", "two")
    await stage.ask("leave", 5, leave(group, ("x", "i1"), ("", "i1"), ("", "i3"), (one, None)))
    await stage.ask("describe", 6, describe(group))
    two = joined.member_id
    await stage.ask("join alone", version, join(group, two, instance="i2", protocols=other), "two")
    again = await stage.ask("return while completing", version, join(group, instance="i2", protocols=other), "again")
    generation, member = again.generation_id, again.member_id
    await stage.ask("sync of the old", 5, sync(group, generation, two, instance="i2", protocol="roundrobin"))
    await stage.ask("sync of the new", 5, sync(group, generation, member, instance="i2", protocol="roundrobin"))
    await stage.ask("leave", 5, leave(group, (member, "i2")))
    await stage.ask("delete", 2, delete(group))


async def static_and_parked(stage, group):
    one = await lead(stage, group)
    await stage.send(9, join(group, instance="s"), "two")
    await stage.on_append_result()
    await stage.send(9, join(group, instance="s"), "three")
    await stage.answers("the first is fenced", "two")
    await stage.send(9, join(group, one), "one")
    _, joined = await stage.answers("joined", "one", "three")
    await stage.send(5, sync(group, 2, joined.member_id, instance="s"), "three")
    await stage.on_append_result()
    await stage.send(9, join(group, instance="s"), "four")
    await stage.answers("the sync is fenced", "three")
    await stage.send(9, join(group, one), "one")
    await stage.answers("joined", "one", "four")
    await stage.ask("leave by version 1", 1, leave_one(group, one))
    await stage.ask("describe", 6, describe(group))


async def static_returns(stage, group):
    one = await lead(stage, group, instance="a")
    await stage.send(9, join(group, instance="b"), "two")
    await stage.on_append_result()
    await stage.send(9, join(group, one, instance="a"), "one")
    _, joined = await stage.answers("joined", "one", "two")
    two = joined.member_id
    await stage.send(5, sync(group, 2, two, instance="b"), "two")
    await stage.send(5, sync(group, 2, one, instance="a", give=[(one, b"1"), (two, b"2")]), "one")
    await stage.answers("synced", "one", "two")
    for instance in ("b", "a"):
        for version in (5, 9):
            again = await stage.ask(f"return of {instance}", version, join(group, instance=instance), "x")
            await stage.ask("sync", 5, sync(group, 2, again.member_id, instance=instance))
    new = [("range", subscription("tb"))]
    await stage.ask("return with another subscription", 9, join(group, instance="a", protocols=new), "x")
    await stage.ask("describe", 6, describe(group))


async def protocols(stage, group):
    ab = [("a", b"1"), ("b", b"2")]
    ba = [("b", b"2"), ("a", b"1")]
    one = await lead(stage, group, protocols=ab)
    await stage.ask("nothing in common", 9, join(group, protocols=[("c", b"")]), "two")
    await stage.ask("another type", 9, join(group, kind="connect", protocols=ab), "two")
    two = await apply_for(stage, group, "two", protocols=ba)
    await stage.send(9, join(group, one, protocols=[("b", b"9")]), "one")
    await stage.answers("joined", "one", "two")
    await stage.ask("sync", 5, sync(group, 2, one, protocol="b", give=[(one, b"x")]))
    await stage.ask("sync by another protocol", 5, sync(group, 2, two, protocol="a"))
    await stage.ask("sync by the same", 5, sync(group, 2, two, protocol="b"))
    await stage.ask("describe", 6, describe(group))
    await stage.ask("one who speaks the wrong one", 9, join(group, protocols=[("a", b"1")]), "three")
    await stage.ask("twice the same", 9, join(group + "-2", protocols=[("a", b"1"), ("a", b"2")]), "three")


async def no_sync_within_rebalance_timeout(stage, group):
    one = await lead(stage, group, session_ms=6000, rebalance_ms=1000)
    two = await apply_for(stage, group, "two", session_ms=6000, rebalance_ms=1500)
    await stage.pass_ms(1800)
    await stage.answers("joined alone", "two")
    await stage.ask("heartbeat", 4, heartbeat(group, 1, one))
    await stage.pass_ms(2500)
    await stage.ask("describe", 6, describe(group))
    await stage.ask("heartbeat", 4, heartbeat(group, 2, two))


async def silence(stage, group):
    one = await lead(stage, group, session_ms=6000, rebalance_ms=1000)
    await stage.pass_ms(4000)
    await stage.ask("heartbeat", 4, heartbeat(group, 1, one))
    await stage.pass_ms(4000)
    await stage.ask("describe", 6, describe(group))
    await stage.pass_ms(2700)
    await stage.ask("describe", 6, describe(group))
    await stage.ask("heartbeat", 4, heartbeat(group, 1, one))
    pending = await stage.ask("join", 9, join(group, session_ms=6000))
    await stage.pass_ms(6700)
    await stage.ask("join too late", 9, join(group, pending.member_id, session_ms=6000))


async def silent_static_member(stage, group):
    one = await lead(stage, group, instance="a", session_ms=6000, rebalance_ms=1000)
    await apply_for(stage, group, "two", session_ms=6000, rebalance_ms=1000)
    await stage.pass_ms(1500)
    await stage.answers("joined", "two")
    await stage.ask("describe", 6, describe(group))
    await stage.ask("heartbeat", 4, heartbeat(group, 2, one, "a"))
    await stage.ask("heartbeat of the old generation", 4, heartbeat(group, 1, one, "a"))


async def gone_while_parked(stage, group):
    one = await lead(stage, group, rebalance_ms=2000)
    two = await apply_for(stage, group, "two", rebalance_ms=2000)
    await stage.on_append_result()
    await stage.hang_up("two")
    await stage.on_append_result()
    await stage.ask("join", 9, join(group, one, rebalance_ms=2000), "one")
    await stage.ask("sync", 5, sync(group, 2, one, give=[(one, b"1"), (two, b"2")]), "one")
    await stage.ask("describe", 6, describe(group))
    await stage.ask("back again", 9, join(group, two), "three")
    await stage.ask("sync", 5, sync(group, 2, two), "three")


async def deletion(stage, group):
    await stage.topic("ta")
    pending = await stage.ask("join", 9, join(group))
    await stage.ask("delete while a member id is pending", 2, delete(group))
    await stage.ask("join", 9, join(group, pending.member_id))
    other = group + "-2"
    one = await lead(stage, other)
    await stage.ask("commit", 8, commit(other, ("ta", 0, 4), generation=1, member=one))
    await stage.ask("delete", 2, delete(other))
    await stage.ask("leave", 5, leave(other, (one, None)))
    await stage.ask("delete", 2, delete(other))
    await stage.ask("fetch", 8, fetch((other, [("ta", [0])])))
    await stage.ask("describe", 6, describe(other))


async def deleted_topic(stage, group):
    name = group + "-t"
    topic_id = await stage.topic(name)
    await stage.topic("ta")
    alone = group + "-2"
    await stage.ask("commit", 9, commit(group, (name, 0, 7), (name, 1, 8), ("ta", 0, 3)))
    await stage.ask("commit", 9, commit(alone, (name, 0, 7)))
    state = m.DeleteTopicsRequest.DeleteTopicState
    await stage.ask("delete", 6, m.DeleteTopicsRequest(topics=[state(name=None, topic_id=topic_id)], timeout_ms=5000))
    await stage.on_append_result()
    await stage.ask("fetch", 9, fetch((group, None), (alone, None)))
    await stage.ask("fetch", 10, fetch((group, None), (alone, None)))
    await stage.ask("describe", 6, describe(alone))


async def too_much(stage, group):
    """What does not fit in a batch of ``__consumer_offsets``."""
    await stage.topic("ta")
    many = [("ta", index % 2, index) for index in range(400)]
    await stage.ask("commit", 8, commit(group, *many, metadata="x" * 4000))
    joined = await stage.ask("join", 9, join(group, instance="i"), "one")
    big = sync(group, 1, joined.member_id, instance="i", give=[(joined.member_id, b"s" * 1_200_000)])
    await stage.ask("sync", 5, big, "one")
    await stage.ask("describe", 6, describe(group))
    other = group + "-2"
    await lead(stage, other, instance="s")
    await stage.ask("return", 9, join(other, instance="s", protocols=[("range", b"m" * 1_200_000)]), "x")
    await stage.ask("describe", 6, describe(other))


SCENARIOS = [
    join_errors,
    errors_of_the_others,
    every_version,
    names_of_members,
    coordinators,
    offsets,
    offsets_of_members,
    lists,
    two_members,
    a_third_member,
    static_members,
    static_and_parked,
    static_returns,
    protocols,
    no_sync_within_rebalance_timeout,
    silence,
    silent_static_member,
    gone_while_parked,
    deletion,
    deleted_topic,
    too_much,
]
