"""Two brokers or more with the same metadata, and a controller of a few lines: replication without sockets.

Each broker has a metadata log of its own; a change is committed in all of them that are reachable.
"""

import contextlib

import trio
from peer import Peer

from kwire.broker.outbound.interface import Disconnected
from kwire.broker.replication.replication import Replication
from kwire.broker.start import open_broker
from kwire.errors import Code
from kwire.metadata.configs.effective import BrokerSettings
from kwire.testing.memory.files import MemoryFiles
from kwire.wire.messages import (
    AlterPartitionResponse,
    ConfigRecord,
    PartitionChangeRecord,
    PartitionRecord,
    RegisterBrokerRecord,
    RemoveTopicRecord,
    TopicRecord,
)

TOPIC_ID = bytes(15) + b"\x09"


class Link:
    """A connection from one broker to another: requests go through dispatch."""

    def __init__(self, cluster, target):
        self.cluster = cluster
        self.target = target
        self.peer = None

    async def request(self, message, *, version=None, timeout_ms=None):
        await trio.lowlevel.checkpoint()
        node = self.cluster.nodes.get(self.target)
        if node is None or self.target in self.cluster.cut:
            raise Disconnected(f"broker {self.target} is away")
        if self.peer is None or self.peer.broker is not node.broker:
            self.peer = Peer(node.broker, "fetcher")
        self.cluster.requests.append((self.target, message))
        highest = self.peer.apis[message.KEY].served[1] if version is None else version
        return await self.peer.call(highest, message)


class Node:
    def __init__(self, broker, scope):
        self.broker = broker
        self.scope = scope
        self.stopped = trio.Event()
        self.replication = None

    def partition(self, index=0):
        return self.broker.partitions.of_topic("t")[index]

    @property
    def log(self):
        return self.partition().log


class ReplicatedBrokers:
    def __init__(self, nursery, count, settings):
        self.nursery = nursery
        self.settings = settings
        self.files = {node_id: MemoryFiles() for node_id in range(1, count + 1)}
        self.nodes = {}
        self.cut = set()
        self.behind = set()
        self.requests = []
        self.links = {}
        self.alter_code = Code.NONE
        self.altered = []

    async def start(self, node_id):
        ready = trio.Event()
        self.nursery.start_soon(self._serve, node_id, ready)
        await ready.wait()
        return self.nodes[node_id]

    async def stop(self, node_id):
        node = self.nodes.pop(node_id)
        node.scope.cancel()
        await node.stopped.wait()

    async def _serve(self, node_id, ready):
        settings = BrokerSettings({"log.dirs": "data", "node.id": str(node_id)} | self.settings)
        async with open_broker(settings, self.files[node_id], endpoints=[Peer.endpoint]) as broker:
            with trio.CancelScope() as scope:
                node = self.nodes[node_id] = Node(broker, scope)
                others = [one for one in self.files if one not in broker.image.brokers]
                broker.controller.commit(
                    [
                        RegisterBrokerRecord(
                            broker_id=one,
                            broker_epoch=one,
                            fenced=False,
                            end_points=[RegisterBrokerRecord.BrokerEndpoint(name="PLAINTEXT", host="node", port=one)],
                        )
                        for one in others
                    ]
                )
                node.replication = Replication(
                    image=broker.image,
                    configs=broker.configs,
                    partitions=broker.partitions,
                    connect=lambda target, client_id: Link(self, target),
                    disconnect=lambda target, client_id: None,
                    clock=broker.clock,
                    broker_epoch=lambda: node_id,
                    ask_controller=self.alter_partition,
                    write_high_watermarks=broker.housekeeping.write_high_watermarks,
                    storage_failures=broker.storage_failures,
                )
                broker.controller.subscribe(node.replication.alive.on_metadata_delta)
                broker.controller.subscribe(node.replication.on_metadata_delta)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(node.replication.run)
                    ready.set()
        node.stopped.set()

    def commit(self, *records):
        for node_id, node in self.nodes.items():
            if node_id not in self.behind:
                node.broker.controller.commit(list(records))

    def create_topic(self, replicas, *, isr=None, leader=None, name="t", **configs):
        topic_id = TOPIC_ID if name == "t" else name.encode().rjust(16)
        names = {name.replace("_", "."): str(value) for name, value in configs.items()}
        self.commit(
            TopicRecord(name=name, topic_id=topic_id),
            *[ConfigRecord(resource_type=2, resource_name=name, name=key, value=value) for key, value in names.items()],
            PartitionRecord(
                partition_id=0,
                topic_id=topic_id,
                replicas=list(replicas),
                isr=list(replicas if isr is None else isr),
                leader=replicas[0] if leader is None else leader,
                leader_epoch=0,
                partition_epoch=0,
            ),
        )

    def delete_topic(self):
        self.commit(RemoveTopicRecord(topic_id=TOPIC_ID))

    def change(self, **fields):
        self.commit(PartitionChangeRecord(partition_id=0, topic_id=TOPIC_ID, **fields))

    async def alter_partition(self, request):
        """A controller that accepts what has the right partition epoch."""
        await trio.lowlevel.checkpoint()
        self.altered.append(request)
        topics = []
        for topic in request.topics:
            answers = []
            for one in topic.partitions:
                known = self.nodes[request.broker_id].broker.image.partition("t", one.partition_index)
                code = self.alter_code or (
                    Code.NONE if one.partition_epoch == known.partition_epoch else Code.INVALID_UPDATE_VERSION
                )
                isr = [each.broker_id for each in one.new_isr_with_epochs]
                if not code:
                    self.change(isr=isr)
                answers.append(
                    AlterPartitionResponse.PartitionData(
                        partition_index=one.partition_index,
                        error_code=code,
                        leader_id=request.broker_id,
                        leader_epoch=one.leader_epoch,
                        isr=isr,
                        partition_epoch=one.partition_epoch + 1,
                    )
                )
            topics.append(AlterPartitionResponse.TopicData(topic_id=topic.topic_id, partitions=answers))
        return AlterPartitionResponse(topics=topics)


@contextlib.asynccontextmanager
async def replicated_brokers(count, **settings):
    async with trio.open_nursery() as nursery:
        cluster = ReplicatedBrokers(
            nursery, count, {name.replace("_", "."): str(value) for name, value in settings.items()}
        )
        for node_id in cluster.files:
            await cluster.start(node_id)
        yield cluster
        for node_id in list(cluster.nodes):
            await cluster.stop(node_id)


async def until(condition, *, seconds=60):
    """Wait on the jumping clock; fails if it takes longer than ``seconds`` of it."""
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 (what is waited for has no event)
            await trio.sleep(0.005)
