"""The background of coordinators: their tasks, and loading what is stored.

Responsible for: beginning it for each kind of coordinator, when the broker starts. Must not depend on: what a
coordinator does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from kwire.broker.coordination.groups import Groups
from kwire.broker.coordination.share.share_states import ShareStates
from kwire.broker.coordination.transactions.transactions import Transactions


def begin_coordinators(
    nursery: trio.Nursery,
    watch: Callable[..., Awaitable[None]],
    groups: Groups,
    transactions: Transactions,
    share_states: ShareStates,
) -> None:
    """Run the tasks of coordinators in ``nursery``, and load what is stored; ``watch`` is that of the watchdog."""
    for name, runtime in (
        ("group coordinator", groups),
        ("transaction coordinator", transactions),
        ("share coordinator", share_states),
    ):
        runtime.begin(nursery)
        if runtime.has_partitions:
            nursery.start_soon(watch, name, runtime.load_stored)
