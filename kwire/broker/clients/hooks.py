"""Hooks around the handling of requests, and where replies leave a connection.

Responsible for: which hooks are registered for which API. Must not depend on: what a hook does, connections, the
broker.

Quotas, the request log, metrics and injected faults are hooks. One call registers a hook, another removes it;
while none is registered for an API, its requests pay for one lookup in an empty dict. Shortcuts that answer requests
without decoding them step aside for an API that has a hook (``Hooks.hooked``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Hashable, Sequence
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import trio

from kwire.broker.clients.client import Client
from kwire.broker.clock import Clock
from kwire.broker.waits import Waits
from kwire.wire.codec import RequestHeader, api_keys

H = TypeVar("H")


# ``await hook(context, request, proceed) -> response``: ``await proceed()`` runs the hooks registered later, and the
# handler. A hook may change the request before and the response after, answer by itself, or raise as a handler does.
DispatchHook: TypeAlias = Callable[[Any, Any, Callable[[], Awaitable[Any]]], Awaitable[Any]]


class CutOff(BaseException):
    """Raised by a dispatch hook: neither this request nor a later one of its connection is handled or answered.

    The connection stays open until the peer closes, unless the hook has dropped it. Not an Exception, so that no
    handler catches it.
    """


class HookedConnection(Protocol):
    """The part of a connection that hooks use."""

    @property
    def closing(self) -> dict[Hashable, Callable[[], None]]:
        """What is called when the connection has closed; each is plain and quick."""
        ...

    def drop(self, why: str, *, reset: bool = False) -> None:
        """Close the connection at once, without what is pending; ``reset``: with a reset (RST)."""
        ...


class HookedRequest(Protocol):
    """The context of a request for hooks: a broker's ``Context``, or that of a proxy."""

    throttle_ms: int

    @property
    def api_key(self) -> int: ...

    @property
    def api_version(self) -> int: ...

    @property
    def client_id(self) -> str | None: ...

    @property
    def correlation_id(self) -> int: ...

    @property
    def connection(self) -> HookedConnection: ...

    @property
    def client(self) -> Client: ...

    async def wait(self, event: trio.Event, timeout_ms: float) -> bool:
        """See ``waits.Waits``."""
        ...


class HookedServer(Protocol):
    """A server with hooks: a broker, or a proxy in front of brokers."""

    @property
    def hooks(self) -> Hooks: ...

    @property
    def clock(self) -> Clock: ...

    def topic_name(self, topic_id: bytes) -> str | None:
        """Give the name of a topic id, None for one that is not known."""
        ...


class Outgoing(Protocol):
    """One encoded reply on its way out. ``parts`` are what is sent, size first; a hook may replace them."""

    parts: Sequence[Any]

    @property
    def header(self) -> RequestHeader:
        """The header of the request that this answers."""
        ...

    @property
    def client(self) -> Client: ...

    @property
    def throttle_ms(self) -> int: ...

    @property
    def waits(self) -> Waits:
        """The connection, for a hook that delays the reply."""
        ...


# ``await hook(outgoing, send)``: ``await send()`` runs the hooks registered later and sends the reply, so that time
# can be taken around it. A hook that does not call it drops the reply.
ReplyHook: TypeAlias = Callable[[Outgoing, Callable[[], Awaitable[None]]], Awaitable[None]]


class _Registry(Generic[H]):
    """Hooks by API key, in the order in which they were registered."""

    def __init__(self) -> None:
        self.by_key: dict[int, tuple[H, ...]] = {}

    def add(self, hook: H, keys: Collection[int] | None) -> Callable[[], None]:
        chosen = list(api_keys() if keys is None else keys)
        for key in chosen:
            self.by_key[key] = (*self.by_key.get(key, ()), hook)

        def remove() -> None:
            for key in chosen:
                left = list(self.by_key.get(key, ()))
                if hook in left:
                    left.remove(hook)
                self.by_key[key] = tuple(left)
                if not left:
                    del self.by_key[key]

        return remove


class Hooks:
    """The hooks of one broker. ``dispatch`` and ``replies`` hold them by API key; both are empty by default."""

    def __init__(self) -> None:
        self._dispatch: _Registry[DispatchHook] = _Registry()
        self._replies: _Registry[ReplyHook] = _Registry()
        self.dispatch = self._dispatch.by_key
        self.replies = self._replies.by_key
        self._observers: set[DispatchHook] = set()

    def around_dispatch(
        self, hook: DispatchHook, *, api_keys: Collection[int] | None = None, observes: bool = False
    ) -> Callable[[], None]:
        """Call ``hook`` around the handler of these APIs, None for all; returns what removes it.

        A hook that ``observes`` always proceeds, and changes neither the request nor the response.
        """
        remove = self._dispatch.add(hook, api_keys)
        if not observes:
            return remove
        self._observers.add(hook)

        def remove_observer() -> None:
            remove()
            self._observers.discard(hook)

        return remove_observer

    def around_reply(self, hook: ReplyHook, *, api_keys: Collection[int] | None = None) -> Callable[[], None]:
        """Call ``hook`` where replies of these APIs, None for all, leave a connection; returns what removes it."""
        return self._replies.add(hook, api_keys)

    def only_observed(self, api_key: int) -> bool:
        """Whether no hook around the handler of an API may change its requests and responses."""
        return all(hook in self._observers for hook in self.dispatch.get(api_key, ()))

    def hooked(self, api_key: int) -> bool:
        """Whether anything is registered for an API."""
        return api_key in self.dispatch or api_key in self.replies
