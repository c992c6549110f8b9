"""A model test of the controller's decisions: whatever happens to brokers and partitions, these rules hold."""

import pytest
from cluster_cases import ClusterCase
from effort import examples
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kwire.errors import Code, KafkaError
from kwire.metadata.cluster import leadership
from kwire.metadata.cluster.elections import PREFERRED, UNCLEAN, elect_leaders
from kwire.metadata.cluster.heartbeat import State
from kwire.metadata.cluster.leadership import elect_preferred_in_steps, unregister
from kwire.metadata.cluster.partition_changes import RECOVERING
from kwire.metadata.cluster.reassignment import Reassignment, alter_reassignments
from kwire.metadata.cluster.replica_counts import ReplicaCounts
from kwire.metadata.decisions.decision import is_active
from kwire.metadata.decisions.topics import delete_topics
from kwire.metadata.image import MetadataImage
from kwire.metadata.log.snapshot import snapshot_records
from kwire.types import TopicPartition

BROKERS = st.integers(1, 4)
REPLICAS = st.lists(BROKERS, min_size=1, max_size=3, unique=True)


class Controller(RuleBasedStateMachine):
    """Random commands; a refusal is as good as success, as long as the invariants hold."""

    @initialize(elr=st.booleans(), min_isr=st.integers(1, 2), unclean=st.booleans())
    def begin(self, elr, min_isr, unclean):
        allows = {"unclean.leader.election.enable": "true"} if unclean else {}
        self.case = ClusterCase(elr=elr, min_isr=min_isr, settings=allows)
        self.unclean = unclean
        self.case.start(1, 2, 3)
        self.created = 0
        self.before = {}
        self.replayed = MetadataImage()

    def allowed(self, call):
        try:
            return call()
        except KafkaError as refusal:
            return refusal

    def some_partition(self, number):
        found = [
            TopicPartition(topic.name, one.index)
            for topic in self.case.image.topics.values()
            for one in topic.partitions
        ]
        return found[number % len(found)] if found else None

    @rule(broker=BROKERS, clean=st.booleans(), session_ended=st.booleans())
    def register(self, broker, clean, session_ended):
        if session_ended:
            self.case.now_ms += 9000
            self.fence_expired()
        known = self.case.image.brokers.get(broker)
        self.allowed(lambda: self.case.register(broker, previous_epoch=known.epoch if known and clean else -1))

    def fence_expired(self):
        for broker in self.case.sessions.expired(self.case.now_ms):
            self.case.fence(broker)

    @rule(broker=BROKERS, fence=st.booleans(), stop=st.booleans(), behind=st.integers(0, 3), in_steps=st.booleans())
    def beat(self, broker, fence, stop, behind, in_steps):
        if broker in self.case.image.brokers:
            offset = self.case.offset - behind
            self.case.beat(broker, want_fence=fence, want_shut_down=stop, offset=offset, in_steps=in_steps)

    @rule(broker=BROKERS, in_steps=st.booleans())
    def unfence(self, broker, in_steps):
        if broker in self.case.image.brokers:
            self.case.beat(broker, in_steps=in_steps)

    @rule(count=st.integers(1, 3))
    def step(self, count):
        for _ in range(count):
            if self.case.going_on:
                self.case.step()

    def teardown(self):
        if hasattr(self, "case"):
            while self.case.going_on:
                self.case.step()
            self.a_broker_that_is_not_there_is_in_no_in_sync_set()
            self.a_partition_with_a_live_replica_that_has_everything_has_a_leader()

    @rule(milliseconds=st.sampled_from([1000, 4000, 9000]))
    def time_passes(self, milliseconds):
        self.case.now_ms += milliseconds
        self.fence_expired()

    @rule(broker=BROKERS)
    def unregister(self, broker):
        known = self.case.image.brokers.get(broker)
        if known is not None:
            self.case.apply(unregister(self.case.image, self.case.configs, known, self.case.counts))
            self.case.sessions.unregistered(broker)

    @rule(rows=st.lists(REPLICAS, min_size=1, max_size=2))
    def create(self, rows):
        if len({len(row) for row in rows}) == 1:
            self.created += 1
            self.case.create(f"t{self.created}", *rows)

    @rule(number=st.integers(0, 100))
    def delete(self, number):
        chosen = self.some_partition(number)
        if chosen is not None:
            self.case.apply(delete_topics(self.case.image, [self.case.image.topics[chosen.topic].id]).records)

    @rule(number=st.integers(0, 100), isr=REPLICAS, from_leader=st.booleans())
    def alter_partition(self, number, isr, from_leader):
        chosen = self.some_partition(number)
        if chosen is None:
            return
        partition = self.case.image.partition(*chosen)
        if from_leader and partition.leader >= 0:
            isr = [one for one in partition.replicas if one in {*isr, partition.leader}]
        if all(one in self.case.image.brokers for one in isr):
            self.case.alter(partition.leader, self.case.proposal(chosen.topic, *isr, index=chosen.partition))

    @rule(number=st.integers(0, 100), replicas=st.none() | REPLICAS)
    def reassign(self, number, replicas):
        chosen = self.some_partition(number)
        if chosen is not None:
            wanted = [Reassignment(chosen, None if replicas is None else tuple(replicas))]
            self.case.apply(alter_reassignments(self.case.image, self.case.configs, wanted).records)

    @rule(number=st.integers(0, 100), election=st.sampled_from([PREFERRED, UNCLEAN]))
    def elect(self, number, election):
        chosen = self.some_partition(number)
        if chosen is not None:
            self.case.apply(elect_leaders(self.case.image, self.case.configs, election, [chosen]).records)

    @rule()
    def balance(self):
        self.case.apply_steps(elect_preferred_in_steps(self.case.image, self.case.configs))

    def partitions(self):
        return [(topic.name, one) for topic in self.case.image.topics.values() for one in topic.partitions]

    @invariant()
    def a_leader_is_in_sync_and_there(self):
        leaving = self.brokers_that_leave()
        for name, one in self.partitions():
            if one.leader >= 0:
                assert one.leader in one.isr, (name, one)
                assert one.leader in leaving or is_active(self.case.image.brokers[one.leader]), (name, one)

    @invariant()
    def a_broker_that_is_not_there_is_in_no_in_sync_set(self):
        leaving = self.brokers_that_leave()
        for name, one in self.partitions():
            gone = [broker for broker in one.isr if not self.is_live(broker) and broker not in leaving]
            # Without eligible leader replicas the last in-sync one stays listed; with them, the first replica of a
            # reassignment that was reverted.
            stays = len(one.isr) == 1 and one.leader < 0
            assert not gone or stays, (name, one)

    @invariant()
    def in_sync_and_eligible_replicas_are_replicas_and_not_both(self):
        for name, one in self.partitions():
            assert set(one.isr) <= set(one.replicas), (name, one)
            assert len(set(one.isr)) == len(one.isr)
            assert set(one.eligible_leader_replicas) <= set(one.replicas), (name, one)
            assert not set(one.isr) & set(one.eligible_leader_replicas), (name, one)
            assert len(one.directories) == len(one.replicas)

    @invariant()
    def a_partition_with_a_live_replica_that_has_everything_has_a_leader(self):
        for name, one in self.partitions():
            has_all = one.isr or one.eligible_leader_replicas
            live = [broker for broker in has_all if self.is_live(broker)]
            assert one.leader >= 0 or not live or self.case.going_on, (name, one)

    def brokers_that_leave(self):
        """Those whose controlled shutdown has begun, and goes on in steps."""
        return {broker for _, broker, _, state in self.case.going_on if state is State.SHUTTING_DOWN}

    def is_live(self, broker):
        known = self.case.image.brokers.get(broker)
        return known is not None and is_active(known)

    @invariant()
    def every_replica_of_a_finished_reassignment_is_wanted(self):
        for name, one in self.partitions():
            assert set(one.adding_replicas) <= set(one.replicas), (name, one)
            assert set(one.removing_replicas) <= set(one.replicas), (name, one)
            done = set(one.replicas) - set(one.removing_replicas) <= set(one.isr) - set(one.removing_replicas)
            # After an unclean election the leader's report that its log is recovered completes it.
            may_wait = one.leader_recovery_state == RECOVERING
            finished = done and set(one.isr) - set(one.removing_replicas)
            assert not (one.is_reassigning and finished) or may_wait, (name, one)

    @invariant()
    def counts_are_those_of_the_image(self):
        assert vars(self.case.counts) == vars(ReplicaCounts.of(self.case.image))

    @invariant()
    def epochs_only_grow(self):
        now = {}
        for name, one in self.partitions():
            key = (name, one.index)
            now[key] = one
            before = self.before.get(key)
            if before is None:
                continue
            assert one.leader_epoch >= before.leader_epoch
            assert one.partition_epoch >= before.partition_epoch
            if one.leader != before.leader:
                assert one.leader_epoch > before.leader_epoch
            if one != before:
                assert one.partition_epoch > before.partition_epoch
        self.before = now

    @invariant()
    def a_snapshot_gives_the_same_image(self):
        copy = MetadataImage()
        copy.apply(snapshot_records(self.case.image))
        assert copy.topics == self.case.image.topics
        assert copy.brokers == self.case.image.brokers


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch):
    """A step has one record."""
    monkeypatch.setattr(leadership, "METADATA_STEP_RECORDS", 1)


Controller.TestCase.settings = settings(max_examples=examples(60), stateful_step_count=30, deadline=None)
TestController = Controller.TestCase


def test_refusals_are_kafka_errors_only():
    case = ClusterCase()
    case.start(1)
    refusal = case.create("t", [9])
    assert isinstance(refusal, KafkaError)
    assert refusal.code is Code.INVALID_REPLICA_ASSIGNMENT
