"""Connections to the other brokers of the cluster, by node id.

Responsible for: the address of a broker on the listener for brokers, as the image has it now, and one connection for
each broker and purpose. Must not depend on: what is requested.
"""

from __future__ import annotations

from kwire.broker.outbound.connection import NodeConnection
from kwire.broker.outbound.interface import Address, Dialer, Disconnected, Node
from kwire.metadata.image import Delta, MetadataImage


class Peers:
    """``listener`` is the name of the listener that brokers use among themselves (``inter.broker.listener.name``)."""

    def __init__(self, *, image: MetadataImage, dialer: Dialer, listener: str, timeout_ms: float = 30_000) -> None:
        self._image = image
        self._dialer = dialer
        self._listener = listener
        self._timeout_ms = timeout_ms
        self._connections: dict[tuple[int, str], NodeConnection] = {}

    def address(self, node_id: int) -> Address:
        """Return where a broker listens for brokers. Raises Disconnected if it is not registered with that listener."""
        broker = self._image.brokers.get(node_id)
        if broker is None:
            raise Disconnected(f"broker {node_id} is not registered")
        for point in broker.endpoints:
            if point.listener == self._listener:
                return Address(point.host, point.port)
        raise Disconnected(f"broker {node_id} has no listener {self._listener}")

    def connection(self, node_id: int, *, client_id: str) -> Node:
        """Return the connection of this purpose; one that led to an earlier address of the broker is closed.

        Raises Disconnected as ``address`` does. Connecting happens at the first request.
        """
        address = self.address(node_id)
        known = self._connections.get((node_id, client_id))
        if known is not None:
            if known.address == address:
                return known
            known.close()
        made = self._connections[node_id, client_id] = NodeConnection(
            address, dialer=self._dialer, client_id=client_id, timeout_ms=self._timeout_ms
        )
        return made

    def drop(self, node_id: int, *, client_id: str) -> None:
        """Close the connection of this purpose, if there is one."""
        known = self._connections.pop((node_id, client_id), None)
        if known is not None:
            known.close()

    def on_metadata_delta(self, delta: Delta) -> None:
        """Close the connections to brokers that are registered no more."""
        if not delta.brokers_changed:
            return
        for key in [key for key in self._connections if key[0] not in self._image.brokers]:
            self._connections.pop(key).close()

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()
