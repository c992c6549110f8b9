"""The lifecycle of a broker as its controller has it: registration, heartbeats, fencing, controlled shutdown (KIP-631).

Responsible for: which request to send next and when, and the changes of state by responses. Must not depend on:
connections, clocks (``now_ms`` is an argument), threads, the metadata log.

    REGISTERING     BrokerRegistration until it is accepted
    CATCHING_UP     heartbeats that want to stay fenced, until the broker has applied its own registration
    FENCED          the same, until the broker is ready to serve (``become_ready``)
    UNFENCING       heartbeats that want to be unfenced
    RUNNING         heartbeats every interval; a broker that was fenced meanwhile keeps asking to be unfenced
    SHUTTING_DOWN   heartbeats that want to shut down, until the controller has moved the leaders elsewhere
    STOPPED         nothing more is sent; ``refusal`` says why, if the controller refused the broker
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from kwire.errors import Code, code_of
from kwire.metadata.entities import Endpoint
from kwire.metadata.features import SERVED
from kwire.types import Uuid
from kwire.wire.message import Message
from kwire.wire.messages import BrokerHeartbeatRequest, BrokerRegistrationRequest

NO_EPOCH: Final = -1

_QUICK_BEAT_MS: Final = 10  # while the controller is waited for
_SHUTDOWN_BEAT_MS: Final = 100
_RETRY_MS: Final = 60
_DUPLICATE_RETRY_MS: Final = 500  # another process with this id was alive a moment ago


class LifeState(Enum):
    """The state of a broker."""

    REGISTERING = "registering"
    CATCHING_UP = "catching up"
    FENCED = "fenced"
    UNFENCING = "unfencing"
    RUNNING = "running"
    SHUTTING_DOWN = "shutting down"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The fields of a registration. ``incarnation_id`` is new for each process."""

    broker_id: int
    cluster_id: str
    incarnation_id: Uuid
    endpoints: Sequence[Endpoint]
    rack: str | None
    log_dirs: Sequence[Uuid]
    previous_epoch: int = NO_EPOCH


@dataclass(slots=True, kw_only=True)
class Timing:
    """``broker.heartbeat.interval.ms``, ``broker.session.timeout.ms``, ``initial.broker.registration.timeout.ms``."""

    heartbeat_interval_ms: int
    session_timeout_ms: int
    registration_timeout_ms: int


@dataclass(slots=True)
class BrokerLifecycle:
    """One broker's life. ``due_ms`` is when the next request is due; ``next`` gives it."""

    identity: Identity
    timing: Timing
    state: LifeState = LifeState.REGISTERING
    epoch: int = NO_EPOCH
    refusal: Code | None = None
    refusal_reason: str = ""
    is_fenced: bool = True
    is_stale: bool = False
    due_ms: float = float("-inf")
    applied_offset: int = -1
    offline_log_dirs: set[Uuid] = field(default_factory=set)
    # The part of these that was reported to the controller.
    known_offline: set[Uuid] = field(default_factory=set)
    cordoned_log_dirs: tuple[Uuid, ...] = ()
    # Whether the metadata has cordoned directories (KIP-1066): controllers before 4.3 do not know the field.
    reports_cordoned: bool = False
    _registers_again: bool = False
    _answered_ms: float = float("-inf")
    _began_ms: float = float("inf")

    @property
    def has_stopped(self) -> bool:
        """Whether nothing more is sent."""
        return self.state is LifeState.STOPPED

    # --- what the broker reports ---

    def begin(self, now_ms: float) -> None:
        """Begin to register; the timeout of the registration starts now."""
        self._began_ms = now_ms

    def note_applied(self, offset: int) -> None:
        """Note the offset of the last metadata record that the broker has applied."""
        self.applied_offset = max(self.applied_offset, offset)

    def become_ready(self) -> None:
        """Ask to be unfenced from the next heartbeat on: logs are recovered and clients are accepted."""
        if self.state is LifeState.FENCED:
            self._enter(LifeState.UNFENCING)

    def shut_down(self, now_ms: float) -> None:
        """Begin the controlled shutdown. A broker that has not registered stops at once."""
        if self.state is LifeState.REGISTERING:
            self._enter(LifeState.STOPPED)
        elif self.state is not LifeState.STOPPED:
            self._answered_ms = now_ms
            self._enter(LifeState.SHUTTING_DOWN)

    def change_log_dirs(self, *, offline: Sequence[Uuid] = (), cordoned: Sequence[Uuid] | None = None) -> None:
        """Report directories that failed, and those that take no new partitions, in a heartbeat at once."""
        self.offline_log_dirs.update(offline)
        if cordoned is not None:
            self.cordoned_log_dirs = tuple(cordoned)
        self.due_ms = float("-inf")

    def register_again(self) -> None:
        """Send the registration again, at once: the cluster has begun to record what it did not record before."""
        if self.epoch != NO_EPOCH and not self.has_stopped:
            self._registers_again = True
            self.due_ms = float("-inf")

    # --- requests ---

    def next(self, now_ms: float) -> Message | None:
        """Return the request to send now; None before ``due_ms``, and when the broker has stopped."""
        self._check_patience(now_ms)
        if self.state is LifeState.STOPPED or now_ms < self.due_ms:
            return None
        registers = self._registers_again or self.state is LifeState.REGISTERING
        return self._registration() if registers else self._heartbeat()

    def answered(self, request: Message, response: Any, now_ms: float) -> None:
        """Take the response to ``request``."""
        code = code_of(response.error_code)
        if isinstance(request, BrokerRegistrationRequest) and self.epoch != NO_EPOCH:
            # A refused broker keeps the registration that it has.
            self._registers_again = code is not Code.NONE and code not in _FINAL_REFUSALS
            self._wait(now_ms, _RETRY_MS if self._registers_again else 0)
        elif isinstance(request, BrokerRegistrationRequest):
            self._take_registration(code, response.broker_epoch, now_ms)
        elif code is Code.NONE:
            assert isinstance(request, BrokerHeartbeatRequest)
            self.known_offline.update(request.offline_log_dirs)
            self._take_heartbeat(response, now_ms)
        else:
            # The other fields of a refusal are defaults, such as is_fenced, and must not be read.
            self.is_stale = code is Code.STALE_BROKER_EPOCH
            self._wait(now_ms, self.timing.heartbeat_interval_ms if self.is_stale else _RETRY_MS)

    def failed(self, now_ms: float) -> None:
        """Note that no response arrived, or that no controller can be asked."""
        self._wait(now_ms, _RETRY_MS)

    # --- inside ---

    def _registration(self) -> BrokerRegistrationRequest:
        identity = self.identity
        return BrokerRegistrationRequest(
            broker_id=identity.broker_id,
            cluster_id=identity.cluster_id,
            incarnation_id=identity.incarnation_id,
            listeners=[
                BrokerRegistrationRequest.Listener(
                    name=point.listener, host=point.host, port=point.port, security_protocol=point.security_protocol
                )
                for point in identity.endpoints
            ],
            features=[
                BrokerRegistrationRequest.Feature(
                    name=name, min_supported_version=levels.lowest, max_supported_version=levels.highest
                )
                for name, levels in SERVED.items()
            ],
            rack=identity.rack,
            log_dirs=list(identity.log_dirs),
            previous_broker_epoch=identity.previous_epoch,
        )

    def _heartbeat(self) -> BrokerHeartbeatRequest:
        wants_fence = self.state in {LifeState.CATCHING_UP, LifeState.FENCED}
        return BrokerHeartbeatRequest(
            broker_id=self.identity.broker_id,
            broker_epoch=self.epoch,
            current_metadata_offset=self.applied_offset,
            want_fence=wants_fence,
            want_shut_down=self.state is LifeState.SHUTTING_DOWN,
            offline_log_dirs=sorted(self.offline_log_dirs),
            cordoned_log_dirs=list(self.cordoned_log_dirs) if self.reports_cordoned and not wants_fence else None,
        )

    def _take_registration(self, code: Code, epoch: int, now_ms: float) -> None:
        if code is Code.NONE:
            self.epoch = epoch
            self._answered_ms = now_ms
            if self.state is LifeState.REGISTERING:
                self._enter(LifeState.CATCHING_UP)
        elif code is Code.DUPLICATE_BROKER_REGISTRATION:
            self._wait(now_ms, _DUPLICATE_RETRY_MS)
            self.refusal_reason = "another process with this node id is alive, or was until a moment ago"
        elif code in _FINAL_REFUSALS:
            self.refusal = code
            self._enter(LifeState.STOPPED)
        else:
            self._wait(now_ms, _RETRY_MS)

    def _take_heartbeat(self, response: Any, now_ms: float) -> None:
        self.is_stale = False
        self.is_fenced = response.is_fenced
        self._answered_ms = now_ms
        match self.state:
            case LifeState.CATCHING_UP if response.is_caught_up:
                self._enter(LifeState.FENCED)
                self._wait(now_ms, self.timing.heartbeat_interval_ms)
            case LifeState.CATCHING_UP:
                self._wait(now_ms, _QUICK_BEAT_MS)
            case LifeState.UNFENCING if not response.is_fenced:
                self._enter(LifeState.RUNNING)
                self._wait(now_ms, self.timing.heartbeat_interval_ms)
            case LifeState.UNFENCING:
                self._wait(now_ms, _QUICK_BEAT_MS)
            case LifeState.SHUTTING_DOWN if response.should_shut_down:
                self._enter(LifeState.STOPPED)
            case LifeState.SHUTTING_DOWN:
                self._wait(now_ms, _SHUTDOWN_BEAT_MS)
            case _:
                self._wait(now_ms, self.timing.heartbeat_interval_ms)

    def _check_patience(self, now_ms: float) -> None:
        """Abandon a registration that takes too long, and a shutdown that no controller answers."""
        if self.state is LifeState.REGISTERING and now_ms >= self._began_ms + self.timing.registration_timeout_ms:
            self.refusal = Code.REQUEST_TIMED_OUT
            self._enter(LifeState.STOPPED)
        elif self.state is LifeState.SHUTTING_DOWN and now_ms >= self._answered_ms + self.timing.session_timeout_ms:
            # The session has ended, so the controller has fenced this broker and moved its leaders.
            self._enter(LifeState.STOPPED)

    def _enter(self, state: LifeState) -> None:
        self.state = state
        self.due_ms = float("-inf")

    def _wait(self, now_ms: float, delay_ms: float) -> None:
        self.due_ms = now_ms + delay_ms


# Refusals that the same request would get again.
_FINAL_REFUSALS: Final = frozenset(
    {
        Code.UNSUPPORTED_VERSION,
        Code.INCONSISTENT_CLUSTER_ID,
        Code.INVALID_REGISTRATION,
        Code.CLUSTER_AUTHORIZATION_FAILED,
        Code.INVALID_REQUEST,
    }
)
