"""The subscription of each client, and the checks of its pushes (KIP-714).

Responsible for: client instances, which subscriptions hold for each, the refusals of both requests. Must not depend on:
messages, the content of a push and where it goes.

A client instance is a client with an id that the broker has assigned. It is soft state: it is removed when its
connection closes, after a long time without a request, or when there are too many, and is made again at its next
request.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final, Protocol

from kwire.broker.clients.client import Client
from kwire.broker.clock import Clock
from kwire.broker.logs import Logger
from kwire.broker.telemetry.pushed_metrics import Point, PushedMetrics
from kwire.broker.telemetry.subscriptions import (
    Attributes,
    RequestedMetrics,
    Subscription,
    read_subscription,
    requested_metrics,
)
from kwire.errors import Code, KafkaError
from kwire.limits import CLIENT_INSTANCES_MAX, CLIENT_METRICS_KEPT_MAX
from kwire.metadata.configs.definitions import ConfigProblem
from kwire.metadata.entities import ResourceType
from kwire.metadata.image import Delta, MetadataImage
from kwire.types import METADATA_TOPIC_ID, ZERO_UUID, Uuid, uuid_text
from kwire.wire.batches.compression import Codec

log = Logger("kwire.telemetry")

# An instance is removed after this many push intervals without a request, but not before the time below.
_SILENT_INTERVALS: Final = 3
_SILENT_MS_MIN: Final = 60_000

_RESERVED_IDS: Final = frozenset({ZERO_UUID, METADATA_TOPIC_ID})
_CODECS: Final = frozenset(Codec)


class Requester(Protocol):
    """The part of a request's context that is needed here."""

    @property
    def client(self) -> Client: ...

    @property
    def client_id(self) -> str | None: ...

    @property
    def connection(self) -> object: ...


class ClientInstance:
    """What is known about one client instance. Times are of the monotonic clock, in ms."""

    __slots__ = (
        "attributes",
        "expires_ms",
        "got_ms",
        "id",
        "may_ask_again",
        "pushed_ms",
        "requested",
        "terminating",
        "version",
    )

    def __init__(self, instance_id: Uuid, attributes: Attributes, requested: RequestedMetrics, version: int) -> None:
        self.id = instance_id
        self.attributes = attributes
        self.requested = requested
        self.version = version  # of the subscriptions in ``requested``
        self.terminating = False
        self.may_ask_again = False  # at once: its last push did not match its subscription
        self.got_ms = float("-inf")
        self.pushed_ms = float("-inf")
        self.expires_ms = float("-inf")

    def may_get(self, now_ms: float) -> bool:
        """Whether the client may request its subscription now: once per push interval, or at once; notes the time."""
        if now_ms - max(self.got_ms, self.pushed_ms) < self.requested.interval_ms:
            return self.may_ask_again
        self.got_ms = now_ms
        return True

    def may_push(self, now_ms: float) -> bool:
        """Whether a push interval has passed since the last push; notes the time if so.

        The first push after a subscription may come at any time, because clients vary the interval before it.
        """
        if self.got_ms <= self.pushed_ms and now_ms - self.pushed_ms < self.requested.interval_ms:
            return False
        self.pushed_ms = now_ms
        return True


class ClientTelemetry:
    """The client instances of one broker, and the subscriptions that hold for them."""

    def __init__(self, image: MetadataImage, clock: Clock, *, bytes_max: int) -> None:
        self._image = image
        self._clock = clock
        self._bytes_max = bytes_max
        self._subscriptions = self._read_subscriptions()
        self._version = 0
        self._instances: OrderedDict[Uuid, ClientInstance] = OrderedDict()  # the one used last is at the end
        self._by_connection: dict[object, Uuid] = {}
        self.pushed = PushedMetrics(CLIENT_METRICS_KEPT_MAX)

    @property
    def bytes_max(self) -> int:
        """How many bytes one push may have, compressed (``telemetry.max.bytes``)."""
        return self._bytes_max

    def on_metadata_delta(self, delta: Delta) -> None:
        """Read the subscriptions again when one has changed; each instance follows at its next request."""
        if any(resource.type is ResourceType.CLIENT_METRICS for resource in delta.configs_changed):
            self._subscriptions = self._read_subscriptions()
            self._version += 1

    def connection_closed(self, connection: object) -> None:
        """Forget the instance of a connection."""
        instance_id = self._by_connection.pop(connection, None)
        if instance_id is not None:
            self._forget(instance_id)

    def instance_of(self, connection: object) -> ClientInstance | None:
        """Give the client instance of a connection, if it asked for a subscription there."""
        instance_id = self._by_connection.get(connection)
        return None if instance_id is None else self._instances.get(instance_id)

    def take_metrics(self, instance: ClientInstance, points: Iterable[Point]) -> None:
        """Keep what an instance has pushed, unless it was forgotten while its push was read."""
        if instance.id in self._instances:
            self.pushed.add(instance.id, points)

    def _forget(self, instance_id: Uuid) -> None:
        self._instances.pop(instance_id, None)
        self.pushed.forget(instance_id)

    def subscribe(self, requester: Requester, client_instance_id: Uuid) -> ClientInstance:
        """Return the subscription of a client. An id of zeros requests a new id.

        Raises KafkaError(THROTTLING_QUOTA_EXCEEDED) for a client that asks again before its push interval has passed,
        unless the subscriptions have changed meanwhile or its last push was refused for its subscription or its codec.
        """
        if client_instance_id == ZERO_UUID:
            client_instance_id = self._clock.uuid()
        instance = self._instance(requester, client_instance_id)
        if not instance.may_get(self._clock.monotonic_ms()):
            raise KafkaError(Code.THROTTLING_QUOTA_EXCEEDED)
        instance.may_ask_again = False
        return instance

    def admit_push(
        self,
        requester: Requester,
        client_instance_id: Uuid,
        *,
        subscription_id: int,
        terminating: bool,
        compression_type: int,
        size_bytes: int,
    ) -> ClientInstance:
        """Check a push before its metrics are read, in the order of Apache Kafka's checks.

        Raises KafkaError: INVALID_REQUEST for a reserved id, or after a push that was the last one;
        THROTTLING_QUOTA_EXCEEDED before the push interval has passed, unless it is the last one;
        UNKNOWN_SUBSCRIPTION_ID when the subscriptions have changed; UNSUPPORTED_COMPRESSION_TYPE; TELEMETRY_TOO_LARGE.
        """
        if client_instance_id in _RESERVED_IDS:
            raise KafkaError(Code.INVALID_REQUEST)
        instance = self._instance(requester, client_instance_id)
        was_terminating, instance.terminating = instance.terminating, terminating
        instance.may_ask_again = False
        if was_terminating:
            raise KafkaError(Code.INVALID_REQUEST)
        if not instance.may_push(self._clock.monotonic_ms()) and not terminating:
            raise KafkaError(Code.THROTTLING_QUOTA_EXCEEDED)
        if subscription_id != instance.requested.subscription_id:
            instance.may_ask_again = True
            raise KafkaError(Code.UNKNOWN_SUBSCRIPTION_ID)
        if compression_type not in _CODECS:
            instance.may_ask_again = True
            raise KafkaError(Code.UNSUPPORTED_COMPRESSION_TYPE)
        if size_bytes > self._bytes_max:
            raise KafkaError(Code.TELEMETRY_TOO_LARGE)
        return instance

    def _instance(self, requester: Requester, instance_id: Uuid) -> ClientInstance:
        now_ms = self._clock.monotonic_ms()
        known = self._instances.get(instance_id)
        if known is not None and known.expires_ms <= now_ms:
            known = None
        if known is None or known.version < self._version:
            attributes = _attributes(requester, instance_id) if known is None else known.attributes
            requested = requested_metrics(self._subscriptions, attributes, instance_id)
            known = self._instances[instance_id] = ClientInstance(instance_id, attributes, requested, self._version)
            self._by_connection[requester.connection] = instance_id
        self._instances.move_to_end(instance_id)
        if len(self._instances) > CLIENT_INSTANCES_MAX:
            self._forget(next(iter(self._instances)))
        known.expires_ms = now_ms + max(_SILENT_MS_MIN, _SILENT_INTERVALS * known.requested.interval_ms)
        return known

    def _read_subscriptions(self) -> list[Subscription]:
        found = []
        for resource, configs in self._image.configs.items():
            if resource.type is not ResourceType.CLIENT_METRICS:
                continue
            try:
                found.append(read_subscription(configs))
            except (ConfigProblem, re.error) as problem:
                # Apache Kafka has written it with a pattern that Python's regular expressions do not have.
                log.warning("client metrics subscription ignored", name=resource.name, why=str(problem))
        return found


def _attributes(requester: Requester, instance_id: Uuid) -> Attributes:
    """The attributes of a client that selectors match."""
    client = requester.client
    return {
        "client_instance_id": uuid_text(instance_id),
        "client_id": requester.client_id,
        "client_software_name": client.software_name,
        "client_software_version": client.software_version,
        "client_source_address": client.host,
        "client_source_port": str(client.port),
    }
