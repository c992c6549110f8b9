"""The context of a request: its client, connection and broker.

Responsible for: ``Context``, and the part of a connection that it uses (``Connection``). Must not depend on: sockets,
single APIs.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Protocol

import trio

from kwire.broker.broker import Broker
from kwire.broker.clients.audit import Access
from kwire.broker.clients.client import Client
from kwire.broker.endpoint import Endpoint
from kwire.broker.requests.table import ApiTable
from kwire.metadata import entities
from kwire.metadata.entities import SECURITY_PROTOCOLS
from kwire.metadata.listener_view import ListenerView
from kwire.security.authorizer import Authorizer, denied
from kwire.security.operations import CLUSTER_NAME, Operation, ResourceType, bit_field
from kwire.security.principal import Principal
from kwire.wire.codec import api_name


class Connection(Protocol):
    """The server's side of a context. ``client`` is replaced when more is known about the client."""

    client: Client

    @property
    def apis(self) -> ApiTable:
        """What is served on this connection."""
        ...

    checked_batches: int
    """How many batches that this connection produced had their records checked, up to ``limits.CHECKED_BATCHES``."""

    @property
    def closing(self) -> dict[Hashable, Callable[[], None]]:
        """What is called when the connection has closed; each is plain and quick."""
        ...

    async def send_pending(self) -> None:
        """Send the replies that are pending; called before anything that takes time."""
        ...

    async def wait(self, event: trio.Event, timeout_ms: float) -> bool:
        """See ``waits.Waits``."""
        ...

    async def in_thread(self, call: Callable[[], None]) -> None:
        """Send pending replies, then run ``call`` in one of a few threads: opening and compressing large batches."""
        ...

    def drop(self, why: str, *, reset: bool = False) -> None:
        """Close the connection at once, without what is pending; ``reset``: with a reset (RST)."""
        ...

    async def yield_turn(self) -> None:
        """Let other connections run if this one has used up its turn (``limits.TURN_MS``)."""
        ...


@dataclass(slots=True)
class Context:
    """One request in flight. ``throttle_ms`` is how long the connection stays muted after the reply."""

    broker: Broker
    connection: Connection
    api_key: int
    api_version: int
    client_id: str | None
    correlation_id: int
    throttle_ms: int = 0

    @property
    def client(self) -> Client:
        return self.connection.client

    @property
    def principal(self) -> Principal:
        return self.connection.client.principal

    @property
    def endpoint(self) -> Endpoint:
        """The listener that the request came in by."""
        return self.connection.client.endpoint

    def cluster_view(self) -> ListenerView:
        """Make a view of the cluster as clients of this listener see it."""
        endpoint = self.connection.client.endpoint
        own = entities.Endpoint(
            endpoint.name, endpoint.host, endpoint.port, SECURITY_PROTOCOLS[endpoint.security_protocol]
        )
        return ListenerView(self.broker.image, self.broker.node_id, own)

    def authorize(self, operation: Operation, kind: ResourceType, name: str) -> None:
        """Raise KafkaError with the code of the resource type if the client may not do this to the resource."""
        if self.broker.authorizer is not None and not self.may(operation, kind, name):
            raise denied(kind)

    def authorize_cluster(self, operation: Operation) -> None:
        """Raise KafkaError(CLUSTER_AUTHORIZATION_FAILED) if the client may not do this to the cluster."""
        self.authorize(operation, ResourceType.CLUSTER, CLUSTER_NAME)

    def may(self, operation: Operation, kind: ResourceType, name: str, *, audited: bool = True) -> bool:
        """Tell whether the client may do this to the resource.

        ``audited`` False: the client has not asked for this resource, so a refusal only hides it and is not logged.
        """
        authorizer = self.broker.authorizer
        if authorizer is None:
            return True
        client = self.connection.client
        allowed = authorizer.allows(client.principal, client.acl_host, operation, kind, name)
        if audited and (not allowed or self.broker.audit.logs_allowed):
            self._audit(
                authorizer, Access(client.principal, client.acl_host, operation, kind, name, self._api), allowed
            )
        return allowed

    def may_cluster(self, operation: Operation, *, audited: bool = True) -> bool:
        """Tell whether the client may do this to the cluster."""
        return self.may(operation, ResourceType.CLUSTER, CLUSTER_NAME, audited=audited)

    def may_any(self, operation: Operation, kind: ResourceType) -> bool:
        """Tell whether the client may do this to at least one resource of the type (KIP-679)."""
        authorizer = self.broker.authorizer
        if authorizer is None:
            return True
        client = self.connection.client
        return authorizer.allows_any(client.principal, client.acl_host, operation, kind)

    def allowed_operations(self, kind: ResourceType, name: str, known: int) -> int:
        """Return the bit field of allowed operations on a resource (KIP-430); ``known`` is that of all operations."""
        if self.broker.authorizer is None:
            return known
        return bit_field(
            *(each for each in Operation if known >> each & 1 and self.may(each, kind, name, audited=False))
        )

    @property
    def _api(self) -> str:
        return api_name(self.api_key)

    def _audit(self, authorizer: Authorizer, access: Access, allowed: bool) -> None:
        def why() -> str:
            return authorizer.why(access.principal, access.host, access.operation, access.kind, access.name)

        self.broker.audit.log(access, allowed=allowed, why=why)

    async def wait(self, event: trio.Event, timeout_ms: float) -> bool:
        """The only way for a handler to wait: see ``waits.Waits``."""
        if event.is_set():
            return True
        return await self.connection.wait(event, timeout_ms)

    async def yield_turn(self) -> None:
        """Called in loops whose length grows with the broker's state or the request's claims.

        Lets other connections run once the turn is used up, so state may have changed when it returns: iterate over a
        copy.
        """
        await self.connection.yield_turn()
