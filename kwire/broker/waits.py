"""The wait of code below the request handlers, on behalf of a request.

Responsible for: the protocol ``Waits``. Must not depend on: requests, connections, the broker.
"""

from __future__ import annotations

from typing import Protocol

import trio


class Waits(Protocol):
    """Implemented by ``requests.context.Context`` and by the tests' connection."""

    async def wait(self, event: trio.Event, timeout_ms: float) -> bool:
        """Wait on the broker's clock; True when the event was set in time.

        Pending replies of the connection are sent first. Ends early, by an exception that only the connection
        handles, when the peer closes or the broker stops.
        """
        ...


class Patient:
    """The ``Waits`` of tasks that no client waits for."""

    async def wait(self, event: trio.Event, timeout_ms: float) -> bool:
        """Wait until the event is set, whatever the timeout."""
        del timeout_ms
        await event.wait()
        return True
