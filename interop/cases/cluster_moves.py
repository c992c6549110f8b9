"""Partitions move between a broker of the target and a Java broker, and back, while clients use them."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Sequence

import confluent_kafka

from interop.case import Run, case
from interop.cluster import run as cluster_run
from interop.cluster.history import History
from interop.cluster.rig import APACHE, Rig

OURS, JAVA = 1, 2
INTERNAL = ("__consumer_offsets", "__transaction_state")
# The last state has both, so that the replicas can be compared.
STATES = ([OURS], [JAVA], [OURS], [JAVA, OURS])
_STAY_S = 5.0
_PROGRESS_S = 60.0


@case("cluster", "moves", "all partitions move to Java and back, internal topics too")
def there_and_back(run: Run) -> None:
    """Plain, idempotent and transactional writers, a group and a copier go on; then every promise is checked."""
    rig = Rig(
        run.folder,
        brokers=(run.target, APACHE),
        controllers=(APACHE,),
        replication_factor=1,
        settings={"min.insync.replicas": "1"},
    )
    with rig:

        def disturb(history: History) -> None:
            for replicas in STATES:
                before, started = history.acknowledged, time.monotonic()
                move(run, rig, replicas)
                took = time.monotonic() - started
                time.sleep(_STAY_S)  # clients use the new leaders
                deadline = time.monotonic() + _PROGRESS_S
                while (count := history.acknowledged - before) == 0 and time.monotonic() < deadline:
                    time.sleep(0.1)  # a poll, bounded above
                print(f"moved to {replicas} in {took:.1f} s, {count} records acknowledged meanwhile")
                assert count > 0, f"nothing was acknowledged\n{rig.tails()}"

        outcome = cluster_run.run_during(rig, disturb, seed=5)
        assert outcome.is_good, [*outcome.failures, *map(str, outcome.violations)][:20]
        print(outcome.counts)


def move(run: Run, rig: Rig, replicas: Sequence[int], timeout_s: float = 90) -> None:
    """Reassign every partition to these brokers with the official tool, and wait until they lead and are in sync."""
    wanted = [
        {"topic": name, "partition": index, "replicas": list(replicas)}
        for name, topic in rig.admin().list_topics(timeout=10).topics.items()
        for index in topic.partitions
    ]
    topics = {str(one["topic"]) for one in wanted}
    assert topics >= {*INTERNAL, *cluster_run.TOPICS}, topics
    plan = run.folder / "move.json"
    plan.write_text(json.dumps({"version": 1, "partitions": wanted}))
    run.tool(
        "reassign-partitions", "--bootstrap-server", rig.bootstrap, "--reassignment-json-file", str(plan), "--execute"
    ).ok()
    deadline, missing = time.monotonic() + timeout_s, ["no answer"]
    while time.monotonic() < deadline:
        with contextlib.suppress(confluent_kafka.KafkaException):
            missing = [
                f"{name}-{index} leader {partition.leader} replicas {partition.replicas} isr {partition.isrs}"
                for name, topic in rig.admin().list_topics(timeout=10).topics.items()
                for index, partition in topic.partitions.items()
                if partition.leader not in replicas
                or set(partition.replicas) != set(replicas)
                or set(partition.isrs) != set(replicas)
            ]
            if not missing:
                return
        time.sleep(0.3)  # a poll, bounded above
    raise AssertionError(f"not moved to {replicas} in {timeout_s} s: {missing}\n{rig.tails()}")
