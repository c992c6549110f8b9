"""Replicas that crash over a network that delays, loses and repeats: no committed record is lost, logs become equal.

Each seed is one schedule of events. What must come in order to go deep, such as a whole round of a fetch, is a single
step, so that a few hundred steps hold many elections, truncations and ISR changes.
"""

from random import Random

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_cluster import LAG_TIME_MAX_MS, REPLICAS, Cluster, Node

STEPS = 250


class Schedule:
    """Chooses what happens next, and checks after each step what must hold."""

    def __init__(self, seed, min_insync_replicas):
        self.random = Random(seed)
        self.cluster = Cluster(min_insync_replicas)
        self.shown = {}
        self.steps = [
            (self.produce, 12),
            (self.consume, 4),
            (self.fetch_and_copy, 20),
            (self.fetch, 8),
            (self.deliver, 16),
            (self.deliver_again, 4),
            (self.lose, 3),
            (self.apply_metadata, 10),
            (self.time_passes, 3),
            (self.check_lag, 5),
            (self.resend, 4),
            (self.fence, 2),
            (self.kill, 2),
            (self.start, 6),
            (self.checkpoint, 2),
        ]

    def run(self):
        # Each schedule has more of some events and fewer of others: that reaches more than a mixture of all.
        weights = [weight * self.random.choice((0.1, 1, 1, 4)) for _, weight in self.steps]
        chosen = self.random.choices([step for step, _ in self.steps], weights, k=STEPS)
        for step in chosen:
            step(self.cluster.nodes[self.random.choice(REPLICAS)])
            self.cluster.check()
            self.check_watermarks()
        self.cluster.settle()
        self.cluster.check()

    def check_watermarks(self):
        """A leader never moves its high watermark back."""
        for node in self.cluster.nodes.values():
            if node.leader is not None:
                before = self.shown.get(node.id)
                assert before is None or before[0] is not node.leader or before[1] <= node.log.high_watermark
                self.shown[node.id] = (node.leader, node.log.high_watermark)

    def produce(self, node: Node):
        leaders = [each for each in self.cluster.nodes.values() if each.leader is not None]
        if leaders:
            for _ in range(self.random.randint(1, 3)):
                self.cluster.produce(self.random.choice(leaders))

    def consume(self, node: Node):
        if node.running:
            self.cluster.read(node)

    def fetch(self, node: Node):
        if node.running:
            self.cluster.fetch(node)

    def fetch_and_copy(self, node: Node):
        if not node.running:
            return
        before = len(self.cluster.network)
        self.cluster.fetch(node)
        for _ in range(2):
            if len(self.cluster.network) > before:
                self.cluster.deliver(len(self.cluster.network) - 1, repeat=False)

    def deliver(self, node: Node, *, repeat=False):
        if self.cluster.network:
            self.cluster.deliver(self.random.randrange(len(self.cluster.network)), repeat=repeat)

    def deliver_again(self, node: Node):
        self.deliver(node, repeat=True)

    def lose(self, node: Node):
        if self.cluster.network:
            self.cluster.network.pop(self.random.randrange(len(self.cluster.network)))

    def apply_metadata(self, node: Node):
        if node.running:
            self.cluster.apply_next(node)

    def time_passes(self, node: Node):
        self.cluster.now_ms += self.random.choice((1, LAG_TIME_MAX_MS + 1))

    def check_lag(self, node: Node):
        if node.running:
            self.cluster.check_lag(node)

    def resend(self, node: Node):
        if node.running:
            self.cluster.resend(node)

    def fence(self, node: Node):
        self.cluster.controller.fence(node.id)

    def kill(self, node: Node):
        if node.running:
            self.cluster.kill(node)

    def start(self, node: Node):
        fenced = node.running and node.id not in self.cluster.controller.now.alive
        if fenced:
            self.cluster.unfence(node)
        elif not node.running:
            self.cluster.start(node, lost_records=self.random.choice((0, 0, 1, 3)))

    def checkpoint(self, node: Node):
        node.log.checkpointed = node.log.high_watermark


@pytest.mark.parametrize("min_insync_replicas", [1, 2])
@settings(max_examples=examples(100), deadline=None, derandomize=True, database=None)
@given(seed=st.integers(0, 2**32))
def test_no_committed_record_is_lost_and_logs_become_equal(min_insync_replicas, seed):
    Schedule(seed, min_insync_replicas).run()


def test_schedules_reach_elections_truncations_and_isr_changes():
    """What the schedules above are worth: they hold each kind of event many times."""
    clusters = []
    for seed in range(20):
        schedule = Schedule(seed, 1 + seed % 2)
        schedule.run()
        clusters.append(schedule.cluster)
    assert sum(cluster.controller.now.leader_epoch for cluster in clusters) > 20
    assert sum(cluster.truncations for cluster in clusters) > 5
    assert sum(cluster.controller.now.partition_epoch for cluster in clusters) > 100
    assert sum(len(cluster.committed) for cluster in clusters) > 100
