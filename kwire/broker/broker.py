"""One running broker: a record of its parts.

Responsible for: which parts a broker has. Must not depend on: how they are made and connected (``start``), sockets,
what a single API does.

There are no globals: ten brokers in one process are ten values of ``Broker``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar, cast

from kwire.broker.background.file_remover import FileRemover
from kwire.broker.background.housekeeping import Housekeeping
from kwire.broker.clients.audit import AuditLog
from kwire.broker.clients.hooks import Hooks
from kwire.broker.clients.quotas import Quotas
from kwire.broker.clients.response_cache import ResponseCache
from kwire.broker.clock import Clock
from kwire.broker.controller.interface import Controller
from kwire.broker.coordination.groups import Groups
from kwire.broker.coordination.share.share_states import ShareStates
from kwire.broker.coordination.transactions.admission import Admission
from kwire.broker.coordination.transactions.markers import MarkerWriter
from kwire.broker.coordination.transactions.producer_ids import ProducerIds
from kwire.broker.coordination.transactions.transactions import Transactions
from kwire.broker.directories.log_dirs import LogDirs
from kwire.broker.endpoint import Endpoint
from kwire.broker.partitions.fetching.fetch_sessions import FetchSessions
from kwire.broker.partitions.flusher import Flusher
from kwire.broker.partitions.moves import Moves
from kwire.broker.partitions.partitions import Partitions
from kwire.broker.reconfiguration import Reconfiguration
from kwire.broker.share.share_partitions import SharePartitions
from kwire.broker.storage_failures import StorageFailures
from kwire.broker.telemetry.client_telemetry import ClientTelemetry
from kwire.broker.watchdog import Watchdog
from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.metadata.image import MetadataImage
from kwire.security.authorizer import Authorizer

if TYPE_CHECKING:  # not at run time: only a broker with logins, or a node of a cluster, loads these
    from kwire.broker.authentication import Authentication
    from kwire.broker.controller.cluster_controller import ClusterController
    from kwire.broker.coordination.share.persister import SharePersister
    from kwire.broker.coordination.transactions.remote import RemoteTransactions
    from kwire.broker.delegation_tokens import DelegationTokens
    from kwire.broker.node.member import ClusterMember
    from kwire.broker.outbound.peers import Peers
    from kwire.broker.partitions.fetching.replica_selector import RackAwareReplicaSelector
    from kwire.broker.replication.replication import Replication


T = TypeVar("T")


@dataclass(eq=False, kw_only=True)
class Broker:
    """The parts that handlers, connections and tests use. ``start.open_broker`` makes it.

    ``endpoints`` are the listeners as clients see them. ``configs`` gives the effective value of every setting.
    ``authorizer`` None allows everything. ``cluster_controller`` is there where other brokers can join this node.
    """

    clock: Clock
    configs: EffectiveConfigs
    endpoints: Sequence[Endpoint]
    watchdog: Watchdog
    # metadata
    controller: Controller
    image: MetadataImage
    cluster_controller: ClusterController | None = None
    # log directories and partitions
    dirs: LogDirs
    storage_failures: StorageFailures
    partitions: Partitions
    flusher: Flusher
    file_remover: FileRemover
    housekeeping: Housekeeping
    moves: Moves
    # coordinators
    groups: Groups
    transactions: Transactions
    producer_ids: ProducerIds
    markers: MarkerWriter
    admission: Admission
    share_states: ShareStates
    share_persister: SharePersister
    # share groups
    share_partitions: SharePartitions
    # requests
    make_delegation_tokens: Callable[[], DelegationTokens]
    make_authentication: Callable[[DelegationTokens], Authentication]
    hooks: Hooks
    quotas: Quotas
    fetch_sessions: FetchSessions
    responses: ResponseCache
    audit: AuditLog
    reconfiguration: Reconfiguration = field(default_factory=Reconfiguration)
    telemetry: ClientTelemetry
    authorizer: Authorizer | None = None
    # True when the data directories are about to be replaced: the stop need not flush.
    is_discarded: bool = False
    # None on a broker without others
    replication: Replication | None = None
    remote_transactions: RemoteTransactions | None = None
    member: ClusterMember | None = None
    peers: Peers | None = None
    # None: consumers read from leaders, unless they ask a follower.
    replica_selector: RackAwareReplicaSelector | None = None
    _states: dict[Callable[[Broker], Any], Any] = field(default_factory=dict, repr=False)

    @cached_property
    def delegation_tokens(self) -> DelegationTokens:
        """Made at first use, as ``authentication`` is: a broker without logins loads neither."""
        return self.make_delegation_tokens()

    @cached_property
    def authentication(self) -> Authentication:
        return self.make_authentication(self.delegation_tokens)

    def state(self, make: Callable[[Broker], T]) -> T:
        """What ``make(broker)`` returns, called at the first use: state of a few APIs, lost at a restart."""
        if make not in self._states:
            self._states[make] = make(self)
        return cast("T", self._states[make])

    @property
    def node_id(self) -> int:
        return self.configs.node_id

    @property
    def cluster_id(self) -> str:
        return self.dirs.cluster_id

    def topic_name(self, topic_id: bytes) -> str | None:
        """Give the name of the topic that has an id now, or None."""
        topic = self.image.topics_by_id.get(topic_id)
        return None if topic is None else topic.name
