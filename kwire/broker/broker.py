"""One running broker: a record of its parts.

Responsible for: which parts a broker has. Must not depend on: sockets, what a single API does. ``start`` makes it.

There are no globals: ten brokers in one process are ten values of ``Broker``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from kwire.broker.background.file_remover import FileRemover
from kwire.broker.background.housekeeping import Housekeeping
from kwire.broker.clock import Clock
from kwire.broker.controller.auto_topics import auto_create_topic
from kwire.broker.controller.embedded import EmbeddedController
from kwire.broker.controller.interface import Controller
from kwire.broker.coordination.groups import Groups
from kwire.broker.coordination.markers import MarkerWriter
from kwire.broker.coordination.metadata_view import MetadataView
from kwire.broker.coordination.producer_ids import ProducerIds
from kwire.broker.coordination.runtime import RuntimeParts
from kwire.broker.coordination.transactions import Transactions
from kwire.broker.endpoint import Endpoint
from kwire.broker.partitions.fetch_sessions import FetchSessions
from kwire.broker.partitions.flusher import Flusher
from kwire.broker.partitions.log_dirs import LogDirs
from kwire.broker.partitions.moves import Moves
from kwire.broker.partitions.partitions import Partitions
from kwire.broker.requests.hooks import Hooks
from kwire.broker.requests.quotas import Quotas
from kwire.broker.requests.response_cache import ResponseCache
from kwire.broker.storage_failures import StorageFailures
from kwire.broker.watchdog import Watchdog
from kwire.errors import StorageFailure
from kwire.metadata.effective import EffectiveConfigs
from kwire.metadata.image import MetadataImage
from kwire.security.authorizer import Authorizer


class Broker:
    """One running broker. Made by ``start.open_broker``.

    ``endpoints`` are the listeners as clients see them; ``configs`` gives every effective
    setting. Handlers reach everything they need from here.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        configs: EffectiveConfigs,
        dirs: LogDirs,
        controller: EmbeddedController,
        storage_failures: StorageFailures,
        endpoints: Sequence[Endpoint],
    ) -> None:
        self.clock = clock
        self.configs = configs
        self.dirs = dirs
        self.controller: Controller = controller
        self.image: MetadataImage = controller.image
        self.storage_failures = storage_failures
        self.endpoints = tuple(endpoints)
        self.watchdog = Watchdog()
        self.flusher = Flusher(clock, dirs)
        self.file_remover = FileRemover(files=dirs.files, clock=clock, storage_failures=storage_failures)
        self.partitions = Partitions(
            node_id=configs.node_id,
            image=self.image,
            configs=configs,
            dirs=dirs,
            clock=clock,
            remove_later=self.file_remover.remove_when_due,
            flush=self.flusher.flush,
        )
        slots_max = configs.broker["max.incremental.fetch.session.cache.slots"]
        self.fetch_sessions = FetchSessions(slots_max, clock.random_bytes)
        self.moves = Moves(
            node_id=configs.node_id,
            partitions=self.partitions,
            dirs=dirs,
            clock=clock,
            controller=controller,
            remove_later=self.file_remover.remove_when_due,
            storage_failures=storage_failures,
        )
        self.housekeeping = Housekeeping(
            partitions=self.partitions,
            dirs=dirs,
            clock=clock,
            configs=configs,
            flusher=self.flusher,
            file_remover=self.file_remover,
            storage_failures=storage_failures,
            watchdog=self.watchdog,
        )
        self.hooks = Hooks()
        self.responses = ResponseCache(self.image)
        # None allows everything.
        self.authorizer: Authorizer | None = None
        self.quotas = Quotas(self.image, configs, clock, self.hooks)
        self.producer_ids = ProducerIds(controller, configs.node_id)
        coordination = RuntimeParts(
            clock=clock,
            partitions=self.partitions,
            metadata=MetadataView(self.image, configs),
            create_topic=partial(auto_create_topic, controller, configs),
            storage_failed=storage_failures.report,
        )
        self.groups = Groups(coordination, configs=configs)
        self.markers = MarkerWriter(
            find=self.partitions.get, now_ms=clock.now_ms, offsets_marker_appended=self.groups.marker_appended
        )
        self.transactions = Transactions(
            coordination, configs=configs, producer_ids=self.producer_ids, markers=self.markers
        )
        controller.subscribe(self.partitions.on_metadata_delta)
        controller.subscribe(self.groups.on_metadata_delta)
        controller.subscribe(self.transactions.on_metadata_delta)
        controller.subscribe(self.quotas.on_metadata_delta)

    @property
    def node_id(self) -> int:
        return self.configs.node_id

    @property
    def cluster_id(self) -> str:
        return self.dirs.cluster_id

    @property
    def rack(self) -> str | None:
        return self.configs.broker["broker.rack"]

    @property
    def fetch_max_bytes(self) -> int:
        return self.configs.broker["fetch.max.bytes"]

    def storage_failed(self, failure: StorageFailure) -> None:
        """Log a storage failure; see ``StorageFailures.report``."""
        self.storage_failures.report(failure)
