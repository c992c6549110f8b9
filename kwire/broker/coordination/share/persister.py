"""The interface to the states of share partitions (KIP-932).

Responsible for: the protocol ``SharePersister``. Must not depend on: where the states are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from kwire.broker.coordination.shard import Waiter
from kwire.broker.waits import Waits

if TYPE_CHECKING:  # loaded with the first share group
    from kwire.coordinators.share.coordinator import Write
    from kwire.coordinators.share.records import Snapshot
    from kwire.coordinators.share.state import SharePartitionKey


class SharePersister(Protocol):
    """``ShareStates`` is one for a broker without others, ``RemoteShareStates`` one for a broker of a cluster.

    The methods raise KafkaError as ``ShareStates`` does.
    """

    async def initialize(self, waits: Waits, key: SharePartitionKey, state_epoch: int, start_offset: int) -> None: ...

    async def read(self, waits: Waits, key: SharePartitionKey, leader_epoch: int) -> Snapshot: ...

    async def write(self, waits: Waits, key: SharePartitionKey, write: Write) -> None: ...

    def write_now(self, key: SharePartitionKey, write: Write) -> Waiter | None:
        """Write at once if the coordinator is here and loaded; see ``Runtime.submit_now``."""
        ...

    async def summary(self, waits: Waits, key: SharePartitionKey) -> Snapshot | None: ...

    async def delete(self, waits: Waits, key: SharePartitionKey) -> None: ...
