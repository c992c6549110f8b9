"""Brokers that come and go under one controller: decisions, as records applied to an image."""

from dataclasses import replace

import pytest
from cluster_cases import CONTROLLER, ClusterCase, directory

from kwire.errors import Code, KafkaError
from kwire.limits import METADATA_STEP_RECORDS
from kwire.metadata.cluster import leadership
from kwire.metadata.cluster.alter_partition import ProposedReplica
from kwire.metadata.cluster.directories import ReplicaDirectory, assign_directories
from kwire.metadata.cluster.elections import PREFERRED, UNCLEAN, bump_leader_epoch, elect_leaders
from kwire.metadata.cluster.heartbeat import State, check_epoch
from kwire.metadata.cluster.leadership import (
    elect_preferred_in_steps,
    elect_unclean_in_steps,
    leave_in_steps,
    unregister,
)
from kwire.metadata.cluster.reassignment import Reassignment, alter_reassignments
from kwire.metadata.decisions.alter_configs import ConfigChange, alter_configs_incrementally
from kwire.metadata.decisions.decision import DONE
from kwire.metadata.decisions.placement import place
from kwire.metadata.decisions.topics import delete_topics
from kwire.metadata.entities import DIRECTORY_UNASSIGNED, Resource, ResourceType, VersionRange
from kwire.metadata.features import SERVED
from kwire.types import TopicPartition
from kwire.wire.messages import ConfigRecord

T0 = TopicPartition("t", 0)


def cluster_of(*broker_ids, **options):
    case = ClusterCase(**options)
    case.start(*broker_ids)
    return case


def state_of(case, name="t", index=0):
    partition = case.partition(name, index)
    return partition.leader, partition.isr, partition.leader_epoch, partition.partition_epoch


# --- registration ---


def without(name):
    return {key: levels for key, levels in SERVED.items() if key != name}


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"cluster_id": "another"}, Code.INCONSISTENT_CLUSTER_ID),
        ({"features": without("metadata.version")}, Code.INVALID_REGISTRATION),
        ({"features": {}}, Code.INVALID_REGISTRATION),
        ({"features": {**SERVED, "metadata.version": VersionRange(7, 29)}}, Code.UNSUPPORTED_VERSION),
        ({"features": without("eligible.leader.replicas.version")}, Code.UNSUPPORTED_VERSION),
        ({"features": without("kraft.version")}, Code.UNSUPPORTED_VERSION),
        ({"log_dirs": []}, Code.INVALID_REGISTRATION),
        ({"log_dirs": [directory(1), directory(1)]}, Code.INVALID_REGISTRATION),
        ({"log_dirs": [directory(2)]}, Code.INVALID_REGISTRATION),
        ({"log_dirs": [(99).to_bytes(16, "big")]}, Code.INVALID_REGISTRATION),
        ({"is_migrating_zk_broker": True}, Code.BROKER_ID_NOT_REGISTERED),
        ({"broker_id": CONTROLLER}, Code.INVALID_REGISTRATION),
        ({"broker_id": -2}, Code.INVALID_REGISTRATION),
        ({"endpoints": []}, Code.INVALID_REGISTRATION),
    ],
)
def test_a_registration_that_cannot_work_is_refused(changed, code):
    case = cluster_of(2)
    with pytest.raises(KafkaError) as refused:
        case.register(1, **changed)
    assert refused.value.code is code
    assert set(case.image.brokers) == {2}


@pytest.mark.parametrize(
    "changed",
    [
        {"features": {**SERVED, "metadata.version": VersionRange(30, 40)}},
        {"features": {**SERVED, "another.version": VersionRange(0, 9)}},
        {"log_dirs": [(100).to_bytes(16, "big")]},
    ],
)
def test_a_registration_with_more_than_is_needed_is_accepted(changed):
    case = cluster_of()
    case.register(1, **changed)
    assert case.image.brokers[1].fenced


def test_the_id_of_a_broker_in_contact_is_refused_to_another_incarnation():
    case = cluster_of(1)
    with pytest.raises(KafkaError) as refused:
        case.register(1)
    assert refused.value.code is Code.DUPLICATE_BROKER_REGISTRATION
    case.now_ms += 9000
    assert case.register(1) == case.image.brokers[1].epoch


def test_a_session_begins_with_the_first_heartbeat():
    case = cluster_of()
    first = case.register(1)
    assert case.register(1) > first


def test_the_same_incarnation_keeps_its_epoch():
    case = cluster_of()
    epoch = case.register(1, incarnation_id=bytes(16))
    case.beat(1)
    assert case.register(1, incarnation_id=bytes(16), rack="a") == epoch
    broker = case.image.brokers[1]
    assert (broker.rack, broker.fenced) == ("a", False)


# --- heartbeats ---


def test_a_broker_is_unfenced_once_it_has_applied_its_registration():
    case = cluster_of()
    epoch = case.register(1)
    assert case.beat(1, offset=epoch - 1) is State.FENCED
    assert case.beat(1, want_fence=True) is State.FENCED
    assert case.beat(1, offset=epoch) is State.UNFENCED


def test_another_epoch_is_stale():
    case = cluster_of(1)
    epoch = case.image.brokers[1].epoch
    case.now_ms += 9000
    case.register(1)
    for broker_id in (1, 7):
        with pytest.raises(KafkaError) as refused:
            check_epoch(case.image, broker_id, epoch)
        assert refused.value.code is Code.STALE_BROKER_EPOCH


def test_a_controlled_shutdown_hands_leaderships_over_and_waits_for_the_others():
    case = cluster_of(1, 2)
    case.create("t", [1, 2])
    assert case.beat(1, want_shut_down=True) is State.SHUTTING_DOWN
    assert state_of(case) == (2, (2,), 1, 1)
    assert case.image.brokers[1].in_controlled_shutdown
    assert not case.image.brokers[1].fenced
    case.beat(2, offset=case.offset - 2)
    assert case.beat(1, want_shut_down=True) is State.SHUTTING_DOWN
    case.beat(2)
    assert case.beat(1, want_shut_down=True) is State.MAY_SHUT_DOWN
    assert case.image.brokers[1].fenced


@pytest.mark.parametrize("fenced", [True, False])
def test_a_broker_that_leads_nothing_may_shut_down_at_once(fenced):
    case = cluster_of(1)
    if fenced:
        case.fence(1)
    assert case.beat(1, want_shut_down=True) is State.MAY_SHUT_DOWN


def test_cordoned_directories_are_recorded_when_they_change():
    case = cluster_of()
    case.register(1)
    case.beat(1, cordoned_dirs=())
    before = case.offset
    case.beat(1, cordoned_dirs=())
    assert case.offset == before
    case.beat(1, cordoned_dirs=(directory(1),))
    assert case.image.brokers[1].cordoned_log_dirs == (directory(1),)


def test_replicas_in_a_directory_that_fails_leave_the_in_sync_set():
    case = cluster_of(2)
    case.register(1, log_dirs=[directory(1, 1), directory(1, 2)])
    case.beat(1)
    case.create("t", [1, 2], [1, 2])
    for index in (0, 1):
        one = ReplicaDirectory(case.partition("t").topic_id, index, directory(1, index + 1))
        assigned = assign_directories(case.image, case.configs, case.image.brokers[1], [one])
        assert assigned.codes == [Code.NONE]
        case.apply(assigned.records)
    case.beat(1, offline_dirs=(directory(1, 2),))
    assert state_of(case)[:2] == (1, (1, 2))
    assert state_of(case, index=1)[:2] == (2, (2,))
    assert case.image.brokers[1].log_dirs == (directory(1, 1),)


def case_with_a_failing_directory(monkeypatch):
    """Broker 1 has the only replicas of two partitions in a directory that it reports as offline."""
    monkeypatch.setattr(leadership, "METADATA_STEP_RECORDS", 1)
    case = cluster_of(2, elr=False)
    case.register(1, log_dirs=[directory(1, 1), directory(1, 2)])
    case.beat(1)
    case.create("t", [1], [1])
    replicas = [ReplicaDirectory(case.partition("t").topic_id, index, directory(1, 2)) for index in (0, 1)]
    case.apply(assign_directories(case.image, case.configs, case.image.brokers[1], replicas).records)
    case.beat(1, offline_dirs=(directory(1, 2),), in_steps=True)
    case.step()
    return case


def test_an_election_between_the_steps_of_a_failed_directory_does_not_last(monkeypatch):
    case = case_with_a_failing_directory(monkeypatch)
    assert [case.partition("t", index).leader for index in (0, 1)] == [-1, 1]
    case.apply_steps(elect_preferred_in_steps(case.image, case.configs))
    assert case.partition("t").leader == 1
    while case.going_on:
        case.step()
    assert [case.partition("t", index).leader for index in (0, 1)] == [-1, -1]
    assert case.image.brokers[1].log_dirs == (directory(1, 1),)


def test_a_failed_directory_that_is_reported_twice_leaves_the_registration_once(monkeypatch):
    case = case_with_a_failing_directory(monkeypatch)
    case.beat(1, offline_dirs=(directory(1, 2),), in_steps=True)
    before, records_of_leaving = case.offset, 1
    while case.going_on:
        case.step()
    assert case.image.brokers[1].log_dirs == (directory(1, 1),)
    assert case.offset - before == records_of_leaving + 1


def test_sessions_end_some_time_after_the_last_heartbeat():
    case = cluster_of(1, 2)
    case.now_ms += 5000
    case.beat(2)
    case.now_ms += 4000
    assert case.sessions.expired(case.now_ms) == [1]
    assert case.sessions.next_expiry_ms() == 9000


# --- leaders and in-sync sets ---


def test_a_fenced_leader_is_replaced_from_the_in_sync_set():
    case = cluster_of(1, 2, 3)
    case.create("t", [1, 2, 3], [2, 3, 1])
    case.fence(1)
    assert state_of(case) == (2, (2, 3), 1, 1)
    assert state_of(case, index=1) == (2, (2, 3), 0, 1)


def test_a_broker_leaves_many_in_sync_sets_in_steps_and_fencing_it_has_the_rest():
    count = 3 * METADATA_STEP_RECORDS
    both = [cluster_of(1, 2, 3), cluster_of(1, 2, 3)]
    for case in both:
        for name, replicas in (("large", [1, 2, 3]), ("of-others", [2, 3]), ("small", [3, 1])):
            case.create(name, *[replicas] * (10 if name == "small" else count))
    at_once, in_steps = both
    at_once.fence(1)
    steps = [len(in_steps.apply(records)) for records in leave_in_steps(in_steps.image, in_steps.configs, 1)]
    assert steps == [METADATA_STEP_RECORDS] * 3 + [10]
    in_steps.fence(1)
    assert in_steps.image.topics == at_once.image.topics
    assert in_steps.image.brokers[1].fenced


def test_a_broker_leaves_in_steps_while_others_delete_topics_and_none_visits_too_many(monkeypatch):
    monkeypatch.setattr(leadership, "METADATA_STEP_VISITS", 10)
    case = cluster_of(1, 2)
    for name in ("a", "b", "c"):
        case.create(name, *[[2]] * 25)
    steps = leave_in_steps(case.image, case.configs, 1)
    assert next(steps) == []
    case.apply(delete_topics(case.image, [case.image.topics["b"].id]).records)
    assert list(steps) == [[]] * 4  # 50 partitions in all


def test_a_leader_epoch_is_bumped_on_each_shrink_before_3_6():
    case = cluster_of(1, 2, elr=False, metadata_version=11)
    case.create("t", [1, 2])
    case.fence(2)
    assert state_of(case) == (1, (1,), 1, 1)


def test_the_last_in_sync_replica_stays_listed_without_eligible_leader_replicas():
    case = cluster_of(1, 2, elr=False)
    case.create("t", [1, 2])
    case.fence(2)
    case.fence(1)
    assert state_of(case)[:2] == (-1, (1,))
    case.beat(2)
    assert state_of(case)[:2] == (-1, (1,))
    case.beat(1)
    assert state_of(case)[:2] == (1, (1,))


def test_eligible_leader_replicas_as_in_apache_kafka():
    """Transcript 15: min.insync.replicas 2, kill -9 of one of two, then of the other, and their return."""
    case = cluster_of(1, 2)
    case.create("t", [1, 2], min_insync_replicas=2)
    case.fence(2)
    partition = case.partition("t")
    assert (partition.isr, partition.eligible_leader_replicas, partition.leader) == ((1,), (2,), 1)
    case.beat(1, want_shut_down=True)
    partition = case.partition("t")
    assert (partition.isr, partition.eligible_leader_replicas, partition.leader) == ((), (1, 2), -1)
    assert partition.last_known_elr == (1,)
    epoch = case.image.brokers[1].epoch
    case.fence(1)
    case.now_ms += 9000
    case.register(2)  # previous epoch -1: it did not stop cleanly
    assert case.partition("t").eligible_leader_replicas == (1,)
    case.beat(2)
    assert case.partition("t").leader == -1
    case.register(1, previous_epoch=epoch)
    case.beat(1)
    partition = case.partition("t")
    assert (partition.isr, partition.leader, partition.last_known_elr) == ((1,), 1, ())
    assert partition.eligible_leader_replicas == ()


def test_the_last_leader_returns_by_an_unclean_election_when_no_replica_is_eligible():
    case = cluster_of(1)
    case.create("t", [1])
    case.fence(1)
    assert case.partition("t").eligible_leader_replicas == (1,)
    case.now_ms += 9000
    case.register(1)
    assert case.partition("t").eligible_leader_replicas == ()
    case.beat(1)
    partition = case.partition("t")
    assert (partition.leader, partition.isr, partition.leader_recovery_state) == (1, (1,), 1)


def test_an_unclean_election_is_held_only_where_the_topic_allows_it():
    case = cluster_of(1, 2, elr=False)
    case.create("t", [1, 2])
    case.create("u", [1, 2], unclean_leader_election_enable="true")
    for broker_id in (2, 1):
        case.fence(broker_id)
    case.beat(2)
    assert case.partition("t").leader == -1
    partition = case.partition("u")
    assert (partition.leader, partition.isr, partition.leader_recovery_state) == (2, (2,), 1)


@pytest.mark.parametrize("elr", [False, True])
@pytest.mark.parametrize("returns", [(), (1,), (2,)])
def test_a_reassignment_is_reverted_after_only_new_replicas_were_in_sync(returns, elr):
    """The first replica from before counts as in sync then, as in Apache Kafka; without it another one is elected."""
    case = cluster_of(1, 2, 3, elr=elr, settings={"unclean.leader.election.enable": "true"})
    case.create("t", [1, 2])
    case.apply(alter_reassignments(case.image, case.configs, [Reassignment(T0, (3,))]).records)
    for broker_id in (1, 2):
        case.fence(broker_id)
    case.apply(elect_leaders(case.image, case.configs, UNCLEAN, [T0]).records)
    assert state_of(case)[:2] == (3, (3,))
    for broker_id in returns:
        case.beat(broker_id)
    reverted = alter_reassignments(case.image, case.configs, [Reassignment(T0, None)])
    assert reverted.results == [DONE]
    case.apply(reverted.records)
    partition = case.partition("t")
    assert partition.replicas == (1, 2)
    assert (partition.leader, partition.isr) == ((returns[0], returns) if returns else (-1, (1,)))


def test_the_last_leader_is_not_elected_where_it_is_no_replica_any_more():
    case = cluster_of(1, 2, settings={"unclean.leader.election.enable": "true"})
    case.create("t", [1])
    case.apply(alter_reassignments(case.image, case.configs, [Reassignment(T0, (2,))]).records)
    case.fence(1)
    case.apply(elect_leaders(case.image, case.configs, UNCLEAN, [T0]).records)
    assert case.partition("t").leader == 2
    case.fence(2)
    case.apply(alter_reassignments(case.image, case.configs, [Reassignment(T0, None)]).records)
    case.beat(2)
    assert case.partition("t").replicas == (1,)
    assert case.partition("t").leader == -1
    case.beat(1)
    assert case.partition("t").leader == 1


def test_a_reassignment_is_completed_by_the_election_of_the_only_replica_that_stays():
    case = cluster_of(1, 2, min_isr=2)
    case.create("t", [1, 2])
    for broker_id in (1, 2):
        case.fence(broker_id)
    assert case.partition("t").eligible_leader_replicas == (1, 2)
    case.apply(alter_reassignments(case.image, case.configs, [Reassignment(T0, (2,))]).records)
    case.beat(2)
    partition = case.partition("t")
    assert (partition.replicas, partition.removing_replicas) == ((2,), ())
    assert state_of(case)[:2] == (2, (2,))
    assert partition.eligible_leader_replicas == ()


def test_a_leaderless_partition_is_given_a_leader_when_its_topic_comes_to_allow_unclean_elections():
    case = cluster_of(1, 2, elr=False, settings={"unclean.leader.election.enable": "true"})
    case.create("t", [1, 2], unclean_leader_election_enable="false")
    for broker_id in (2, 1):
        case.fence(broker_id)
    case.beat(2)
    assert case.apply_steps(elect_unclean_in_steps(case.image, case.configs)) == []
    case.apply([ConfigRecord(resource_type=2, resource_name="t", name="unclean.leader.election.enable", value="true")])
    case.apply_steps(elect_unclean_in_steps(case.image, case.configs))
    assert case.partition("t").leader == 2


def test_preferred_leaders_return():
    case = cluster_of(1, 2)
    case.create("t", [1, 2])
    case.fence(1)
    case.beat(1)
    assert case.alter(2, case.proposal("t", 1, 2)) is None
    assert len(list(elect_preferred_in_steps(case.image, case.configs))) == 1
    case.apply(elect_leaders(case.image, case.configs, PREFERRED, [T0]).records)
    assert state_of(case)[:2] == (1, (1, 2))
    assert list(elect_preferred_in_steps(case.image, case.configs)) == []
    again = elect_leaders(case.image, case.configs, PREFERRED, [T0]).results[0]
    assert again.code is Code.ELECTION_NOT_NEEDED
    assert elect_leaders(case.image, case.configs, UNCLEAN, [T0]).results[0].code is Code.ELECTION_NOT_NEEDED


def test_an_unregistered_broker_is_in_no_set():
    case = cluster_of(1, 2)
    case.create("t", [1, 2], min_insync_replicas=2)
    case.create("own", [1])
    case.apply(unregister(case.image, case.configs, case.image.brokers[1]))
    partition = case.partition("t")
    assert (partition.leader, partition.isr, partition.eligible_leader_replicas) == (2, (2,), ())
    assert case.partition("own").leader == -1
    assert case.partition("own").isr == ()


def test_a_fenced_broker_has_no_session_that_could_end():
    case = cluster_of(1, 2)
    case.now_ms = 5000
    case.beat(2, offset=50)
    case.sessions.begin_shutdown(1)
    case.fence(1)
    assert case.sessions.expired(9000) == []
    assert case.sessions.next_expiry_ms() == 14_000
    assert case.sessions.shutdown_offset(1) is None
    assert case.sessions.lowest_active_offset() == 50
    assert not case.sessions.has_session(1, 5000)


def test_a_leader_epoch_is_bumped_where_there_is_a_leader():
    case = cluster_of(1)
    case.create("t", [1])
    case.apply(bump_leader_epoch(case.image, "t", 0))
    assert state_of(case) == (1, (1,), 1, 1)
    case.fence(1)
    codes = []
    for topic, index in (("t", 0), ("t", 1), ("u", 0)):
        with pytest.raises(KafkaError) as refused:
            bump_leader_epoch(case.image, topic, index)
        codes.append(refused.value.code)
    assert codes == [Code.LEADER_NOT_AVAILABLE, Code.UNKNOWN_TOPIC_OR_PARTITION, Code.UNKNOWN_TOPIC_OR_PARTITION]


def test_an_election_that_is_not_possible_says_why():
    case = cluster_of(1, 2, elr=False)
    case.create("t", [1, 2])
    case.fence(1)
    wanted = [T0, TopicPartition("t", 1), TopicPartition("u", 0)]
    results = elect_leaders(case.image, case.configs, PREFERRED, wanted).results
    assert [one.code for one in results] == [
        Code.PREFERRED_LEADER_NOT_AVAILABLE,
        Code.UNKNOWN_TOPIC_OR_PARTITION,
        Code.UNKNOWN_TOPIC_OR_PARTITION,
    ]
    case.fence(2)
    results = elect_leaders(case.image, case.configs, UNCLEAN, [T0]).results
    assert [one.code for one in results] == [Code.ELIGIBLE_LEADERS_NOT_AVAILABLE]


# --- AlterPartition ---


@pytest.mark.parametrize(
    ("isr", "recovery_state", "code"),
    [((2,), 1, None), ((1, 2), 1, Code.INVALID_REQUEST), ((1, 2), 0, None), ((2,), 0, None)],
)
def test_a_leader_that_recovers_is_alone_in_sync(isr, recovery_state, code):
    case = cluster_of(1, 2, elr=False)
    case.create("t", [1, 2], unclean_leader_election_enable="true")
    for broker_id in (2, 1):
        case.fence(broker_id)
    case.beat(2)
    case.beat(1)
    assert case.partition("t").leader_recovery_state == 1
    assert case.alter(2, case.proposal("t", *isr, recovery_state=recovery_state)) is code
    assert case.partition("t").leader_recovery_state == (1 if code or recovery_state else 0)


def test_a_leader_that_has_recovered_does_not_recover_again():
    case = cluster_of(1, 2)
    case.create("t", [1, 2])
    assert case.alter(1, case.proposal("t", 1, recovery_state=1)) is Code.INVALID_REQUEST


def test_an_in_sync_set_grows_and_shrinks():
    case = cluster_of(1, 2)
    case.create("t", [2, 1])
    assert case.alter(2, case.proposal("t", 2)) is None
    assert state_of(case) == (2, (2,), 0, 1)
    assert case.alter(2, case.proposal("t", 1, 2)) is None
    assert state_of(case) == (2, (1, 2), 0, 2)


def test_a_proposal_that_changes_nothing_is_accepted_without_a_record():
    case = cluster_of(1, 2)
    case.create("t", [1, 2])
    before = case.offset
    assert case.alter(1, case.proposal("t", 1, 2)) is None
    assert case.offset == before


@pytest.mark.parametrize(
    ("leader", "changed", "code"),
    [
        (1, {"topic_id": bytes(15) + b"\xff"}, Code.UNKNOWN_TOPIC_ID),
        (1, {"index": 7}, Code.UNKNOWN_TOPIC_OR_PARTITION),
        (1, {"leader_epoch": 9}, Code.NOT_CONTROLLER),
        (1, {"partition_epoch": 9}, Code.NOT_CONTROLLER),
        (1, {"leader_epoch": -1}, Code.FENCED_LEADER_EPOCH),
        (2, {}, Code.INVALID_REQUEST),
        (1, {"partition_epoch": -1}, Code.INVALID_UPDATE_VERSION),
        (1, {"isr": ()}, Code.INVALID_REQUEST),
        (1, {"recovery_state": 1}, Code.INVALID_REQUEST),
        (1, {"recovery_state": 5}, Code.INVALID_REQUEST),
    ],
)
def test_a_proposal_that_does_not_fit_is_refused(leader, changed, code):
    case = cluster_of(1, 2)
    case.create("t", [1, 2])
    index = changed.pop("index", None)
    proposal = case.proposal("t", 1, 2, **changed)
    if index is not None:
        proposal = replace(proposal, index=index)
    assert case.alter(leader, proposal) is code
    assert state_of(case) == (1, (1, 2), 0, 0)


@pytest.mark.parametrize("how", ["fenced", "shutting down", "another epoch", "unregistered"])
def test_a_replica_that_is_not_there_is_ineligible(how):
    case = cluster_of(1, 2, 3)
    case.create("t", [1, 2, 3])
    case.create("other", [2, 1])
    case.alter(1, case.proposal("t", 1, 3))
    epoch = case.image.brokers[2].epoch
    if how == "fenced":
        case.fence(2)
    elif how == "shutting down":
        case.beat(2, want_shut_down=True)
    elif how == "another epoch":
        epoch += 1
    else:
        case.apply(unregister(case.image, case.configs, case.image.brokers[2]))
    isr = (ProposedReplica(1), ProposedReplica(2, epoch))
    assert case.alter(1, case.proposal("t", isr=isr)) is Code.INELIGIBLE_REPLICA


# --- reassignments ---


def reassign(case, *replicas, topic="t"):
    wanted = [Reassignment(TopicPartition(topic, 0), replicas or None)]
    decision = alter_reassignments(case.image, case.configs, wanted)
    case.apply(decision.records)
    result = decision.results[0]
    return result.code if isinstance(result, KafkaError) else None


def test_a_reassignment_ends_when_the_new_replicas_are_in_sync():
    """Transcript 13."""
    case = cluster_of(1, 2, 3)
    case.create("t", [1, 2])
    assert reassign(case, 2, 3) is None
    partition = case.partition("t")
    assert (partition.replicas, partition.adding_replicas, partition.removing_replicas) == ((2, 3, 1), (3,), (1,))
    assert partition.directories == (directory(2), directory(3), directory(1))
    assert case.alter(1, case.proposal("t", 1, 2, 3)) is Code.NEW_LEADER_ELECTED
    partition = case.partition("t")
    assert (partition.replicas, partition.isr, partition.leader) == ((2, 3), (2, 3), 2)
    assert not partition.is_reassigning
    assert partition.directories == (directory(2), directory(3))


def test_another_order_of_the_same_replicas_is_complete_at_once():
    case = cluster_of(1, 2)
    case.create("t", [1, 2])
    assert reassign(case, 2, 1) is None
    assert (case.partition("t").replicas, case.partition("t").leader) == ((2, 1), 1)


def test_fewer_replicas_are_complete_at_once_and_bump_the_leader_epoch():
    case = cluster_of(1, 2)
    case.create("t", [1, 2])
    assert reassign(case, 1) is None
    assert (case.partition("t").replicas, state_of(case)) == ((1,), (1, (1,), 1, 1))


def test_a_reassignment_can_be_stopped():
    case = cluster_of(1, 2, 3)
    case.create("t", [1, 2])
    reassign(case, 3, 2)
    assert reassign(case) is None
    partition = case.partition("t")
    assert (sorted(partition.replicas), partition.is_reassigning) == ([1, 2], False)
    assert reassign(case) is Code.NO_REASSIGNMENT_IN_PROGRESS


def test_a_reassignment_is_not_stopped_when_only_new_replicas_are_in_sync():
    case = cluster_of(1, 2, 3, elr=False)
    case.create("t", [1, 2])
    case.create("u", [1, 2], unclean_leader_election_enable="true")
    for topic in ("t", "u"):
        assert reassign(case, 2, 3, topic=topic) is None
        assert case.alter(1, case.proposal(topic, 1, 3)) is None
    case.fence(1)
    assert state_of(case)[:2] == (3, (3,))
    assert reassign(case) is Code.INVALID_REPLICA_ASSIGNMENT
    assert case.partition("t").is_reassigning
    assert reassign(case, topic="u") is None
    assert not case.partition("u").is_reassigning


@pytest.mark.parametrize(("replicas", "refused"), [((3, 4), False), ((3,), True), ((1, 2, 3), True)])
def test_a_reassignment_may_be_asked_to_keep_the_replication_factor(replicas, refused):
    case = cluster_of(1, 2, 3, 4)
    case.create("t", [1, 2])
    reassign(case, 2, 3)  # the replicas that are added do not count
    decision = alter_reassignments(
        case.image, case.configs, [Reassignment(T0, replicas)], allow_replication_factor_change=False
    )
    codes = [one.code for one in decision.results if isinstance(one, KafkaError)]
    assert codes == ([Code.INVALID_REPLICATION_FACTOR] if refused else [])
    assert len(decision.records) == (0 if refused else 1)


def test_a_reassignment_to_a_broker_that_is_not_registered_is_refused():
    case = cluster_of(1)
    case.create("t", [1])
    assert reassign(case, 1, 9) is Code.INVALID_REPLICA_ASSIGNMENT


# --- placement and directories ---


def test_replicas_are_spread_over_racks():
    case = cluster_of()
    for broker_id, rack in ((1, "a"), (2, "a"), (3, "b"), (4, "b")):
        case.register(broker_id, rack=rack)
        case.beat(broker_id)
    racks = {1: "a", 2: "a", 3: "b", 4: "b"}
    rows = place(case.image, partitions=24, replication_factor=2, start=0)
    assert all(len({racks[one] for one in row}) == 2 for row in rows)
    assert {row[0] for row in rows} == {1, 2, 3, 4}


def test_a_fenced_broker_leads_no_new_partition_and_a_cordoned_one_holds_none():
    case = cluster_of(1, 2, 3)
    case.beat(3, cordoned_dirs=(directory(3),))
    case.fence(2)
    created = case.create("t")
    assert created.partitions == 1
    assert place(case.image, partitions=3, replication_factor=2, start=0) == [[1, 2]] * 3
    refused = case.create("by_hand", [3])
    assert (refused.code, refused.message) == (
        Code.INVALID_REPLICA_ASSIGNMENT,
        "The manual partition assignment includes broker 3, but all its log directories are cordoned.",
    )


def test_a_new_replica_of_a_broker_with_several_directories_is_unassigned():
    case = cluster_of()
    case.register(1, log_dirs=[directory(1, 1), directory(1, 2)])
    case.beat(1)
    case.create("t", [1])
    assert case.partition("t").directories == (DIRECTORY_UNASSIGNED,)
    assert bytes(15) + b"\x01" == DIRECTORY_UNASSIGNED


def test_directories_of_replicas_that_are_not_there_have_a_code_each():
    case = cluster_of(1, 2)
    case.create("t", [1])
    topic_id = case.partition("t").topic_id
    wanted = [
        ReplicaDirectory(bytes(15) + b"\xff", 0, directory(2)),
        ReplicaDirectory(topic_id, 9, directory(2)),
        ReplicaDirectory(topic_id, 0, directory(2)),
    ]
    assigned = assign_directories(case.image, case.configs, case.image.brokers[2], wanted)
    assert assigned.codes == [Code.UNKNOWN_TOPIC_ID, Code.UNKNOWN_TOPIC_OR_PARTITION, Code.NOT_LEADER_OR_FOLLOWER]
    assert assigned.records == []


@pytest.mark.parametrize("level", [29, 30])
def test_directories_are_cordoned_from_the_level_on_that_has_such_records(level):
    case = ClusterCase(metadata_version=level, elr=False)
    case.start(1)
    change, resource = ConfigChange("cordoned.log.dirs", 0, "*"), Resource(ResourceType.BROKER, "1")
    try:
        alter_configs_incrementally(case.image, case.configs, resource=resource, changes=[change])
        code = Code.NONE
    except KafkaError as refusal:
        code = refusal.code
    assert code is (Code.NONE if level >= 30 else Code.INVALID_CONFIG)
    case.beat(1, cordoned_dirs=(directory(1),))
    assert case.image.brokers[1].cordoned_log_dirs == ((directory(1),) if level >= 30 else None)


def test_configs_of_a_broker_that_is_not_registered_are_refused():
    case = cluster_of(1)
    change, resource = ConfigChange("log.retention.ms", 0, "1"), Resource(ResourceType.BROKER, "9")
    with pytest.raises(KafkaError, match="Unexpected broker id"):
        alter_configs_incrementally(case.image, case.configs, resource=resource, changes=[change])
