"""One broker after another on the same sockets.

Responsible for: the step between them, and whether the second broker serves. Must not depend on: brokers,
sockets.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from kwire.broker.clock import Clock


class Reopening:
    """What happens between two brokers of one server. ``done`` is set when the second one serves."""

    def __init__(
        self,
        between: Callable[[], None],
        undo: Callable[[], None] | None,
        clock: Clock,
        cluster_id: str | None,
    ) -> None:
        self.between = between
        self.undo = undo
        self.clock = clock
        self.cluster_id = cluster_id
        self.done = trio.Event()
        self.failure: Exception | None = None

    def failed(self, failure: Exception) -> bool:
        """Restore the state before the step; False if that is not possible."""
        undo, self.undo = self.undo, None
        if undo is None:
            return False
        self.failure = failure
        self.cluster_id = None
        undo()
        return True
