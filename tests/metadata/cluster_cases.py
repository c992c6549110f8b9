"""A cluster in memory for tests of decisions: an image, its sessions, and commands that are applied at once."""

from metadata_cases import effective_of, uuids

from kwire.metadata.cluster.alter_partition import Proposal, ProposedReplica, alter_partition
from kwire.metadata.cluster.heartbeat import Heartbeat, State, decide_heartbeat
from kwire.metadata.cluster.leadership import fence
from kwire.metadata.cluster.partition_changes import PartitionChanges
from kwire.metadata.cluster.registration import BrokerRegistration, check_registration, register
from kwire.metadata.cluster.replica_counts import ReplicaCounts
from kwire.metadata.cluster.sessions import BrokerSessions
from kwire.metadata.decisions.topics import NewTopic, create_topics
from kwire.metadata.entities import Endpoint
from kwire.metadata.features import SERVED
from kwire.metadata.image import MetadataImage
from kwire.wire.messages import FeatureLevelRecord

CLUSTER_ID = "cluster"
CONTROLLER = 3000


def directory(broker_id, number=1):
    return bytes([broker_id, number]) * 8


class ClusterCase:
    """Commands as a controller carries them out. ``now_ms`` is moved by the test."""

    def __init__(self, *, elr=True, min_isr=1, settings=None, metadata_version=33):
        self.image = MetadataImage()
        self.image.apply([FeatureLevelRecord(name="metadata.version", feature_level=metadata_version)])
        if elr:
            self.image.apply([FeatureLevelRecord(name="eligible.leader.replicas.version", feature_level=1)])
        self.configs = effective_of(self.image, {"min.insync.replicas": str(min_isr), **(settings or {})})
        self.sessions = BrokerSessions(9000)
        self.counts = ReplicaCounts()
        self.now_ms = 0.0
        self.offset = 100
        self.incarnation = 0
        self.uuid = uuids()
        # Changes of many partitions that are going on: their steps, whether they go on, and what comes after the last.
        self.going_on = []

    def apply(self, records):
        records = list(records)
        self.offset += len(records)
        self.counts.follow(self.image.apply(records))
        return records

    def apply_steps(self, steps):
        return [record for records in steps for record in self.apply(records)]

    def registration(self, broker_id, /, **changed):
        self.incarnation += 1
        fields = {
            "broker_id": broker_id,
            "cluster_id": CLUSTER_ID,
            "incarnation_id": self.incarnation.to_bytes(16, "big"),
            "endpoints": [Endpoint("PLAINTEXT", "localhost", 9000 + broker_id, 0)],
            "features": dict(SERVED),
            "rack": None,
            "log_dirs": [directory(broker_id)],
        }
        return BrokerRegistration(**{**fields, **changed})

    def register(self, broker_id, /, **changed):
        registration = self.registration(broker_id, **changed)
        check_registration(
            self.image,
            registration,
            cluster_id=CLUSTER_ID,
            kraft_version=1,
            voters={CONTROLLER},
            has_session=self.sessions.has_session(broker_id, self.now_ms),
        )
        registered = register(self.image, self.configs, registration, counts=self.counts, epoch=self.offset)
        self.apply(registered.records)
        broker = self.image.brokers[broker_id]
        self.sessions.registered(broker_id, registered.epoch, fenced=broker.fenced)
        return registered.epoch

    def beat(self, broker_id, *, want_fence=False, want_shut_down=False, offset=None, in_steps=False, **more):
        """Send a heartbeat; by default of a broker that has applied everything.

        ``in_steps``: changes of many partitions only begin; ``step`` goes on with them.
        """
        beat = Heartbeat(
            broker_id=broker_id,
            broker_epoch=self.image.brokers[broker_id].epoch,
            metadata_offset=self.offset if offset is None else offset,
            want_fence=want_fence,
            want_shut_down=want_shut_down,
            **more,
        )
        decision = decide_heartbeat(self.image, self.configs, self.sessions, self.counts, beat)
        self.apply(decision.records)
        fenced = decision.state in {State.FENCED, State.MAY_SHUT_DOWN}
        self.sessions.touch(broker_id, fenced=fenced, metadata_offset=beat.metadata_offset, now_ms=self.now_ms)
        if decision.state is State.SHUTTING_DOWN:
            self.sessions.begin_shutdown(broker_id)
        if decision.steps is not None:
            self.going_on.append((decision.steps(), broker_id, beat.broker_epoch, decision.state))
        if not in_steps:
            while self.going_on:
                self.step()
        return decision.state

    def step(self):
        """Take one step of the change that began first, as a controller does between other requests."""
        steps, broker_id, epoch, state = self.going_on[0]
        known = self.image.brokers.get(broker_id)
        records = next(steps, None) if known is not None and known.epoch == epoch else None
        if records is not None:
            self.apply(records)
            return
        del self.going_on[0]
        if state is State.SHUTTING_DOWN:
            self.sessions.handed_over(broker_id, epoch, self.offset - 1)

    def start(self, *broker_ids):
        for broker_id in broker_ids:
            self.register(broker_id)
            self.beat(broker_id)

    def fence(self, broker_id):
        """End the session of a broker."""
        records = self.apply(fence(self.image, self.configs, self.image.brokers[broker_id], self.counts))
        self.sessions.fence(broker_id)
        return records

    def create(self, name, *rows, **configs):
        """Create a topic with these replicas for its partitions, or with one of its own choice."""
        assignments = tuple(enumerate(map(tuple, rows)))
        topic = NewTopic(
            name, assignments=assignments, configs={key.replace("_", "."): str(v) for key, v in configs.items()}
        )
        decision = create_topics(self.image, self.configs, [topic], uuid=self.uuid)
        self.apply(decision.records)
        return decision.results[0]

    def partition(self, name, index=0):
        return self.image.topics[name].partitions[index]

    def proposal(self, name, *isr, index=0, **changed):
        partition = self.partition(name, index)
        fields = {
            "topic_id": partition.topic_id,
            "index": index,
            "leader_epoch": partition.leader_epoch,
            "partition_epoch": partition.partition_epoch,
            "isr": tuple(ProposedReplica(one, self.image.brokers[one].epoch) for one in isr),
        }
        return Proposal(**{**fields, **changed})

    def alter(self, leader_id, proposal):
        record, refusal = alter_partition(self.image, PartitionChanges(self.image, self.configs), leader_id, proposal)
        self.apply([] if record is None else [record])
        return None if refusal is None else refusal.code
