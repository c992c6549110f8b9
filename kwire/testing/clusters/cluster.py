"""Several brokers for a test: processes on free ports, which a test may kill and pause, empty and copy.

Responsible for: ``kafka_cluster``, and what a test may do to the cluster as a whole. Must not depend on: a test
framework, how a process is started.

    with kafka_cluster(brokers=3, topics={"orders": 3}) as cluster:
        producer = Producer({"bootstrap.servers": cluster.bootstrap_servers, "acks": "all"})
        cluster.kill(1)
        cluster.start_node(1)
        cluster.reset()
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Unpack

from kwire.control.conditions import ConditionKeys, read_condition
from kwire.control.seeding.seeds import load_document, read_seed
from kwire.control.state import StateError
from kwire.errors import Code, KafkaError
from kwire.metadata.decisions.topics import NewTopic
from kwire.testing.arguments import Config, Topics, broker_texts, checked_users, new_topic, new_topics
from kwire.testing.clusters import state as cluster_state
from kwire.testing.clusters.control import ClusterBroker, ClusterFaults, ClusterRequests, spread
from kwire.testing.clusters.local_cluster import LocalCluster
from kwire.testing.clusters.node_forker import NodeForker
from kwire.testing.clusters.nodes import APACHE, KWIRE, ClusterError, ClusterNode
from kwire.testing.clusters.requests import ask
from kwire.testing.waiting import never_happened
from kwire.wire.message import Message
from kwire.wire.messages import CreateTopicsRequest, ElectLeadersRequest, MetadataRequest, MetadataResponse
from kwire.wire.partitioner import partition_of_key

_BROKERS: Final = 3
_CONTROL_PACKAGES: Final = ("hypercorn", "starlette", "prometheus_client")
_READY_S: Final = 120.0
_POLL_S: Final = 0.02
_CREATE_TOPICS_VERSION: Final = 5
_METADATA_VERSION: Final = 12
_ELECT_LEADERS_VERSION: Final = 2
_PREFERRED: Final = 0
_TIMEOUT_MS: Final = 30_000


class KafkaCluster(LocalCluster):
    """A cluster of processes, and its state. ``topics`` are made again after a reset.

    With the control interface (``control=True``) ``faults`` and ``requests`` are those of all brokers, and
    ``broker(2)`` has the methods of ``ClusterBroker`` for one of them; without it these raise ClusterError.
    """

    def __init__(
        self, folder: Path, nodes: Sequence[ClusterNode], *, kafka_home: str | None = None, secured: bool = False
    ) -> None:
        super().__init__(folder, nodes, kafka_home=kafka_home, secured=secured)
        self.topics: Sequence[NewTopic] = ()
        self.users: Mapping[str, str] = {}
        self.faults = ClusterFaults(self._controlled_brokers)
        self.requests = ClusterRequests(self._controlled_brokers)

    # --- the state of all nodes

    def reset(self) -> None:
        """Empty every node: topics, groups, transactions, configs, users. Clients see a cluster that was restarted.

        Nodes are killed, and started with the same ports and ids; those that did not run are started too. Snapshots
        stay, and producer ids are not given out a second time. Raises ClusterError.
        """
        self._check_controller()
        with self.restarting():
            self.kill_all()
            cluster_state.clear(self)
            self.start_all()

    def snapshot(self, name: str = "default") -> None:
        """Keep the state under a name, in place of one of that name. Every process halts for the copy.

        The copy is what the disks would hold if all machines lost their processes at this moment. Raises StateError.
        """
        folder = cluster_state.snapshot_folder(self, name)
        half = folder.with_suffix(".half")
        shutil.rmtree(half, ignore_errors=True)
        self._copy(half)
        shutil.rmtree(folder, ignore_errors=True)
        half.rename(folder)

    def restore(self, name: str = "default") -> None:
        """Make the state that of a snapshot; every node runs then. Clients see a cluster that was restarted.

        Raises StateError if there is no snapshot of that name, ClusterError.
        """
        folder = cluster_state.snapshot_folder(self, name)
        if not folder.is_dir():
            known = ", ".join(self.snapshots) or "none"
            raise StateError(f"there is no snapshot {name!r}; there are: {known}")
        self._replace(folder)

    @property
    def snapshots(self) -> list[str]:
        """The names of the snapshots."""
        return cluster_state.snapshot_names(self)

    def remove_snapshot(self, name: str) -> None:
        """Remove a snapshot. Raises StateError if there is none of that name."""
        folder = cluster_state.snapshot_folder(self, name)
        if not folder.is_dir():
            raise StateError(f"there is no snapshot {name!r}")
        shutil.rmtree(folder)

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Copy the data directory of each node to a folder that does not exist. Raises StateError."""
        target = Path(directory).absolute()
        if target.exists():
            raise StateError(f"{target} exists")
        self._copy(target)

    def load(self, directory: str | os.PathLike[str]) -> None:
        """Make the state that of a folder that ``save`` wrote, from a cluster with the same nodes.

        Raises StateError, ClusterError.
        """
        source = Path(directory).absolute()
        cluster_state.check_nodes(self, source)
        self._replace(source)

    @contextmanager
    def fork(self) -> Iterator[KafkaCluster]:
        """Run a second cluster with the present state within the block: other ports, files in a temporary directory.

        Raises StateError for a secured cluster, whose certificates name its own nodes.
        """
        self._check_controller()
        if self.is_secured:
            raise StateError("a secured cluster cannot be forked: make a snapshot")
        with tempfile.TemporaryDirectory(prefix="kwire-cluster-") as folder, ExitStack() as stack:
            settings = self.own_settings(self.controller)
            other = KafkaCluster.create(Path(folder), brokers=len(self.brokers), settings=settings)
            copied = Path(folder) / "copied"
            self._copy(copied)
            cluster_state.replace_data(other, copied)
            shutil.rmtree(copied)
            other.topics, other.spawn = self.topics, self.spawn
            if self.controller.control_port:
                other.serve_control(0)
            stack.callback(other.kill_all)
            other.start_all()
            other.settle()
            yield other

    def _check_controller(self) -> None:
        """Refuse what would write to the metadata log of Apache Kafka. Raises StateError."""
        if self.controller.kind == APACHE:
            raise StateError("the state of a cluster with controllers of Apache Kafka cannot be kept or replaced")

    def _copy(self, target: Path) -> None:
        self._check_controller()
        halted = self.pause_all()
        try:
            cluster_state.copy_data(self, target)
        finally:
            for node in halted:
                self.resume(node.id)

    def _replace(self, source: Path) -> None:
        self._check_controller()
        with self.restarting():
            self.kill_all()
            cluster_state.replace_data(self, source)
            self.start_all()
            self.settle()

    def start_all(self) -> None:
        """Start what does not run, wait until the nodes know each other, and make the topics. Raises ClusterError."""
        for _node in self.start():
            pass
        self.wait_for_brokers()
        if self.users:
            self.store_users(self.users)
        known = self._topics_of(self._some_broker())
        self._create([topic for topic in self.topics if topic.name not in known])

    def settle(self) -> None:
        """Wait until every replica is in sync, and let each partition be led by its preferred leader."""
        self._wait_for(_is_in_sync)
        elect = ElectLeadersRequest(election_type=_PREFERRED, topic_partitions=None, timeout_ms=_TIMEOUT_MS)
        self._ask(self._some_broker(), elect, _ELECT_LEADERS_VERSION, timeout_s=_TIMEOUT_MS / 1000)
        self._wait_for(_is_in_sync)

    # --- topics and records

    def create_topic(self, name: str, partitions: int = 1, **config: str | float | bool) -> None:
        """Create a topic, and wait until each broker that runs knows it.

        Names of its configs are Kafka's with underscores for dots. Raises BrokerConfigError, KafkaError.
        """
        self._create([new_topic(name, partitions, {key.replace("_", "."): value for key, value in config.items()})])

    def _create(self, topics: Sequence[NewTopic]) -> None:
        """Create topics, and wait until each broker that runs knows them. Raises KafkaError."""
        if not topics:
            return
        request = CreateTopicsRequest
        wanted = [
            request.CreatableTopic(
                name=topic.name,
                num_partitions=topic.partitions,
                replication_factor=-1,
                configs=[request.CreatableTopicConfig(name=key, value=value) for key, value in topic.configs.items()],
            )
            for topic in topics
        ]
        made = request(topics=wanted, timeout_ms=_TIMEOUT_MS)
        created = self._ask(self._some_broker(), made, _CREATE_TOPICS_VERSION, timeout_s=_TIMEOUT_MS / 1000)
        for topic in created.topics:
            if topic.error_code:
                raise KafkaError(Code(topic.error_code), f"cannot create topic {topic.name}: {topic.error_message}")
        self._wait_for(_is_led, {topic.name for topic in topics})

    def _wait_for(
        self, is_ready: Callable[[MetadataResponse.MetadataResponseTopic], bool], names: Collection[str] | None = None
    ) -> None:
        """Wait until these topics, or all, are ready as each broker that runs sees them. Raises ClusterError."""
        deadline = time.monotonic() + _READY_S
        while True:
            known = [self._topics_of(node) for node in self._running_brokers()]
            wanted = set().union(*known) if names is None else names
            missing = {name for each in known for name in wanted if name not in each or not is_ready(each[name])}
            if not missing:
                return
            if time.monotonic() > deadline:
                what = "not led" if is_ready is _is_led else "not in sync"
                raise ClusterError(f"after {_READY_S:g} s partitions are {what}: {', '.join(sorted(missing))}")
            time.sleep(_POLL_S)

    def _topics_of(self, node: ClusterNode) -> dict[str, MetadataResponse.MetadataResponseTopic]:
        """Ask a broker for all topics, by name."""
        response = self._ask(node, MetadataRequest(topics=None), _METADATA_VERSION)
        return {topic.name: topic for topic in response.topics}

    def _ask(self, node: ClusterNode, request: Message, version: int, *, timeout_s: float = 5.0) -> Any:
        return ask(node.nodes_port, request, version=version, tls=self._tls, timeout_s=timeout_s)

    def _some_broker(self) -> ClusterNode:
        running = self._running_brokers()
        if not running:
            raise ClusterError("no broker runs")
        return running[0]

    def seed(self, document: Mapping[str, Any] | str | os.PathLike[str]) -> None:
        """Create topics, configs, users and ACLs, and write records, as ``KafkaBroker.seed``; needs ``control=True``.

        Raises SeedError for an invalid seed, KafkaError for what is refused.
        """
        given = dict(document) if isinstance(document, Mapping) else load_document(os.fspath(document))
        seed = read_seed(given)
        first = self.broker(self._some_broker().id)
        topics = given.get("topics", {})
        bare = {
            name: {key: value for key, value in topic.items() if key != "records"} if isinstance(topic, dict) else topic
            for name, topic in topics.items()
        }
        first.seed({**given, "topics": bare})
        self._wait_for(_is_led, {topic.name for topic in seed.topics})
        for topic in seed.topics:
            if topic.records:
                described = self._topics_of(self._some_broker())[topic.name]
                leaders = {each.partition_index: each.leader_id for each in described.partitions}
                turns = itertools.cycle(sorted(leaders))
                placed = [
                    {**raw, "partition": _choose(record.partition, record.key, len(leaders), turns)}
                    for raw, record in zip(topics[topic.name]["records"], topic.records, strict=True)
                ]
                for node_id, records in spread(topic.name, placed, leaders).items():
                    self.broker(node_id).write(topic.name, records)

    # --- the control interface

    def broker(self, node_id: int) -> ClusterBroker:
        """One node by its control interface: faults, requests, clock and views of it. Raises ClusterError."""
        node = self.node(node_id)
        if node.control_url is None:
            raise ClusterError("the nodes serve no control interface: use kafka_cluster(control=True)")
        return ClusterBroker(node.control_url)

    def _controlled_brokers(self) -> dict[int, ClusterBroker]:
        self._some_broker()
        return {node.id: self.broker(node.id) for node in self._running_brokers()}

    def advance(self, milliseconds: float) -> None:
        """Move the clocks of the brokers that run. That of the controller, which ends their sessions, stays."""
        for broker in self._controlled_brokers().values():
            broker.advance(milliseconds)

    def wait_until(self, timeout: float = 10.0, **condition: Unpack[ConditionKeys]) -> None:
        """Return once a condition holds at any broker; see ``KafkaBroker.wait_until``.

        Raises NeverHappened after ``timeout`` seconds, ConditionError for an unknown condition.
        """
        text = read_condition(condition).text
        deadline = time.monotonic() + timeout
        while True:
            holds, seen = self._evaluate(condition)
            if holds:
                return
            if time.monotonic() > deadline:
                raise never_happened(text, timeout, seen)
            time.sleep(_POLL_S)

    def _evaluate(self, condition: ConditionKeys) -> tuple[bool, str]:
        brokers = list(self._controlled_brokers().values())
        if "topic" in condition:
            count = _record_count(brokers, condition["topic"])
            return count >= condition.get("records", 0), f"it has {count}"
        if "group" in condition:
            # Brokers other than its coordinator do not have the group.
            group = condition["group"]
            brokers = [broker for broker in brokers if broker.has_group(group)] or brokers[:1]
        answers = [broker.evaluate(condition) for broker in brokers]
        return any(holds for holds, _ in answers), "; ".join(dict.fromkeys(seen for _, seen in answers))


def _is_led(topic: MetadataResponse.MetadataResponseTopic) -> bool:
    return all(each.leader_id >= 0 for each in topic.partitions)


def _is_in_sync(topic: MetadataResponse.MetadataResponseTopic) -> bool:
    return _is_led(topic) and all(len(each.isr_nodes) == len(each.replica_nodes) for each in topic.partitions)


def _record_count(brokers: Sequence[ClusterBroker], topic: str) -> int:
    """Count the records of a topic, of which each broker has some partitions."""
    ends: dict[int, int] = {}
    starts: dict[int, int] = {}
    for broker in brokers:
        for partition, start, end in broker.partition_offsets(topic):
            if end >= ends.get(partition, 0):
                starts[partition], ends[partition] = start, end
    return sum(ends.values()) - sum(starts.values())


def _choose(partition: int | None, key: bytes | None, count: int, turns: Iterator[int]) -> int:
    if partition is not None:
        return partition
    return next(turns) if key is None else partition_of_key(key, count)


@contextmanager
def kafka_cluster(
    brokers: int | None = None,
    *,
    topics: Topics | None = None,
    config: Config | None = None,
    data: str | os.PathLike[str] | None = None,
    port: int = 0,
    controllers: str | None = None,
    controller_count: int | None = None,
    kafka_home: str | os.PathLike[str] | None = None,
    users: Mapping[str, str] | None = None,
    control: bool = False,
) -> Iterator[KafkaCluster]:
    """Run ``brokers`` brokers (3) and a controller within the block; they know each other when it begins.

    ``topics``: names to numbers of partitions, or names alone, created unless they exist. ``config``: settings of all
    nodes under Kafka's names. ``data``: a directory for their files, whose cluster, if it
    has one, is started again; without one they are in a temporary directory, which is deleted. ``port``: that of broker
    1, the others and the controller follow; 0 takes free ones. ``controllers``: "kwire", or "apache" for
    ``controller_count`` (1) controllers of Apache Kafka, which need Java and the distribution in ``kafka_home`` (or
    KAFKA_HOME). ``users``: names to passwords; with users the cluster is secured: ACLs, TLS between nodes, and
    SASL_SSL with SCRAM for clients, which must trust ``ca_file``. These users are super users. ``control``: each node
    of kwire serves the control interface (needs ``kwire[control]``; every request is decoded then).

    On Linux the nodes end when the process that runs the block ends, also when it is killed.

    Raises BrokerConfigError for invalid settings, nodes.ClusterError for nodes that do not start, for missing
    Java, and for arguments that the cluster of ``data`` contradicts.
    """
    if brokers is not None and brokers < 1:
        raise ValueError(f"a cluster needs a broker, not {brokers}")
    if controllers not in {None, KWIRE, APACHE}:
        raise ValueError(f"controllers={controllers!r} is neither {KWIRE!r} nor {APACHE!r}")
    named, wanted = checked_users(users), new_topics(topics)
    options: dict[str, Any] = {
        "port": port,
        "settings": broker_texts(config),
        "kafka_home": kafka_home,
        "secure": bool(named),
        "users": named,
    }
    if control and not all(map(find_spec, _CONTROL_PACKAGES)):
        raise ClusterError("control=True needs more packages: pip install 'kwire[control]'")
    with ExitStack() as stack:
        if data is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kwire-cluster-")))
        else:
            folder = Path(data).absolute()
        if KafkaCluster.is_in(folder):
            cluster = KafkaCluster.open(folder)
            cluster.check_options(
                brokers=brokers, controllers=controllers, controller_count=controller_count, **options
            )
        else:
            cluster = KafkaCluster.create(
                folder,
                brokers=brokers or _BROKERS,
                controllers=controllers or KWIRE,
                controller_count=controller_count or 1,
                **options,
            )
        cluster.topics, cluster.users = wanted, named
        cluster.serve_control(0 if control else None)
        if NodeForker.is_possible():
            forker = NodeForker(folder, temporary=data is None, with_control=control)
            cluster.spawn = stack.enter_context(forker).fork
        # Nodes in a temporary directory need no clean stop.
        stack.callback(cluster.kill_all if data is None else cluster.stop)
        cluster.start_all()
        yield cluster
