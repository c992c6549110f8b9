"""Client quotas: what each client has used, and the throttle time of a client that exceeds its quota.

Responsible for: the meters of bytes produced, bytes fetched, time spent on requests, partitions
created and deleted, connections opened. Must not depend on: how a quota is found or a throttle time computed
(``security.quotas``), how a connection is muted (``Context.throttle_ms``).

The response is sent at once and names the throttle time, during which the connection is not read (KIP-219). A fetch is
limited to what the quota allows in all its windows, so that no throttle time is longer than that. Requests are measured
by a dispatch hook that is registered while any quota exists.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from kwire.broker.clients.hooks import Hooks
from kwire.broker.clock import Clock
from kwire.broker.watchdog import measured
from kwire.errors import Code, KafkaError
from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.metadata.image import Delta, MetadataImage
from kwire.security.principal import Principal
from kwire.security.quotas import (
    CONSUMER_BYTE_RATE,
    CONTROLLER_MUTATION_RATE,
    PRODUCER_BYTE_RATE,
    REQUEST_PERCENTAGE,
    Limit,
    Meter,
    TokenBucket,
    Windows,
    find_address_limit,
    find_limit,
)

if TYPE_CHECKING:  # a start without quotas does not make these classes
    from kwire.wire.messages import FetchRequest, ShareFetchRequest

K = TypeVar("K")

# Meters, and buckets: a client may invent any number of client ids.
_KNOWN_MAX: Final = 10_000

# Names of the messages whose records are counted.
_FETCH_REQUESTS: Final = ("FetchRequest", "ShareFetchRequest")
_FETCH_RESPONSES: Final = ("FetchResponse", "ShareFetchResponse")
_PRODUCE_REQUEST: Final = "ProduceRequest"


class Requester(Protocol):
    """The part of a request's context that quotas use. ``throttle_ms`` is raised by a quota that is exceeded."""

    throttle_ms: int

    @property
    def principal(self) -> Principal: ...

    @property
    def client_id(self) -> str | None: ...


class Quotas:
    """The quotas of one broker. ``any`` is False while none is set, and then nothing is measured."""

    def __init__(self, image: MetadataImage, configs: EffectiveConfigs, clock: Clock, hooks: Hooks) -> None:
        self._quotas = image.quotas
        self._clock = clock
        self._hooks = hooks
        self._remove_hook: Callable[[], None] | None = None
        settings = configs.broker
        self._windows = Windows(settings["quota.window.num"], settings["quota.window.size.seconds"] * 1000)
        self._mutation_windows = Windows(
            settings["controller.quota.window.num"], settings["controller.quota.window.size.seconds"] * 1000
        )
        self._meters: dict[tuple[str, tuple[str, str]], Meter] = {}
        self._buckets: dict[tuple[str, str], TokenBucket] = {}
        self._register()

    @property
    def any(self) -> bool:
        return bool(self._quotas)

    def on_metadata_delta(self, delta: Delta) -> None:
        """Register the hook when the first quota is set, and remove it with the last."""
        if delta.quotas_changed:
            self._register()

    def _register(self) -> None:
        if self._quotas and self._remove_hook is None:
            self._remove_hook = self._hooks.around_dispatch(self._metered)
        elif not self._quotas and self._remove_hook is not None:
            self._remove_hook()
            self._remove_hook = None

    async def _metered(self, context: Requester, request: Any, proceed: Callable[[], Awaitable[Any]]) -> Any:
        """Handle a request, count what it has used, and set the throttle time of its connection."""
        if type(request).__name__ in _FETCH_REQUESTS:
            self._cut_fetch(context, request)
        steps_s: list[float] = []
        answer = await measured(proceed(), steps_s.append)
        throttle_ms = max(
            self._charge(context, REQUEST_PERCENTAGE, sum(steps_s) * 100),
            self._charge(context, PRODUCER_BYTE_RATE, _produced_bytes(request)),
            self._charge(context, CONSUMER_BYTE_RATE, _fetched_bytes(answer)),
            context.throttle_ms,
        )
        if throttle_ms:
            context.throttle_ms = throttle_ms
            if hasattr(answer, "throttle_time_ms"):
                answer.throttle_time_ms = throttle_ms
        return answer

    def _cut_fetch(self, context: Requester, request: FetchRequest | ShareFetchRequest) -> None:
        """Reduce ``max_bytes`` to what the quota allows in all its windows."""
        limit = self._limit(context, CONSUMER_BYTE_RATE)
        if limit is not None:
            allowed = limit.per_second * self._windows.count * self._windows.size_ms / 1000
            request.max_bytes = int(min(request.max_bytes, allowed))

    def take_mutations(self, context: Requester, count: int, *, strict: bool) -> None:
        """Count partitions created or deleted, before they are (KIP-599).

        Raises KafkaError(THROTTLING_QUOTA_EXCEEDED) for a client that is to be refused (``strict``) and has used up
        what it may; an older client is let through and pauses afterwards.
        """
        limit = self._limit(context, CONTROLLER_MUTATION_RATE) if self._quotas else None
        if limit is None:
            return
        now_ms = self._now_ms()
        bucket = self._buckets.get(limit.shared_by)
        if bucket is None:
            _make_room(self._buckets)
            bucket = self._buckets[limit.shared_by] = TokenBucket(limit.per_second, self._mutation_windows, now_ms)
        exceeded = strict and bucket.is_exceeded(limit.per_second, now_ms)
        if not exceeded:
            bucket.take(count, limit.per_second, now_ms)
        if exceeded or not strict:
            context.throttle_ms = max(context.throttle_ms, bucket.throttle_ms(limit.per_second, now_ms))
        if exceeded:
            raise KafkaError(Code.THROTTLING_QUOTA_EXCEEDED, "The throttling quota has been exceeded.")

    def refusal(self, address: str) -> str | None:
        """The reason why an address may not connect now, or None, which also counts the connection (KIP-612)."""
        if not self._quotas:
            return None
        limit = find_address_limit(self._quotas, address)
        if limit is None:
            return None
        meter = self._meter(("ip", (address, "")))
        now_ms = self._now_ms()
        if meter.throttle_ms(limit, now_ms):
            return f"more than {limit:g} connections a second from there"
        meter.record(1, now_ms)
        return None

    def _charge(self, context: Requester, key: str, amount: float) -> int:
        """Count use of one kind; gives how long the client must pause, 0 for not at all."""
        if not amount:
            return 0
        limit = self._limit(context, key)
        if limit is None:
            return 0
        meter = self._meter((key, limit.shared_by))
        now_ms = self._now_ms()
        meter.record(amount, now_ms)
        throttle_ms = meter.throttle_ms(limit.per_second, now_ms)
        # Kafka bounds the throttle time for request time by one window.
        return min(throttle_ms, self._windows.size_ms) if key == REQUEST_PERCENTAGE else throttle_ms

    def _limit(self, context: Requester, key: str) -> Limit | None:
        return find_limit(self._quotas, key, context.principal.name, context.client_id or "")

    def _meter(self, name: tuple[str, tuple[str, str]]) -> Meter:
        meter = self._meters.get(name)
        if meter is None:
            _make_room(self._meters)
            meter = self._meters[name] = Meter(self._windows)
        return meter

    def _now_ms(self) -> int:
        return int(self._clock.monotonic_ms())


def _make_room(known: dict[K, Meter] | dict[K, TokenBucket]) -> None:
    """Remove the least recently used half, once there are too many."""
    if len(known) >= _KNOWN_MAX:
        for name in sorted(known, key=lambda name: known[name].last_ms)[: len(known) // 2]:
            del known[name]


def _produced_bytes(request: Any) -> int:
    if type(request).__name__ != _PRODUCE_REQUEST:
        return 0
    return sum(len(one.records or b"") for topic in request.topic_data for one in topic.partition_data)


def _fetched_bytes(response: Any) -> int:
    if type(response).__name__ not in _FETCH_RESPONSES:
        return 0
    return sum(len(one.records or b"") for topic in response.responses for one in topic.partitions)
