"""Broker sessions: which brokers were in contact lately, and how far each has applied the metadata.

Responsible for: the soft state of heartbeats, which a controller loses when it stops. Must not depend on: the image,
clocks: ``now_ms`` is monotonic time given by the caller.

A session begins with the first heartbeat of a registration, or for an unfenced broker with the controller's start, and
ends ``broker.session.timeout.ms`` after the last heartbeat.
"""

from __future__ import annotations

from dataclasses import dataclass

_NO_CONTACT = float("-inf")


@dataclass(slots=True)
class Session:
    """The session of one registered broker. ``shutdown_offset``: see ``BrokerSessions``."""

    epoch: int
    fenced: bool
    contact_ms: float = _NO_CONTACT
    metadata_offset: int = -1
    shutdown_offset: float | None = None


class BrokerSessions:
    """The sessions of all registered brokers."""

    def __init__(self, timeout_ms: float) -> None:
        self.timeout_ms = timeout_ms
        self._sessions: dict[int, Session] = {}

    def registered(self, broker_id: int, epoch: int, *, fenced: bool) -> None:
        """Follow a registration. Another incarnation has no session until its first heartbeat."""
        session = self._sessions.get(broker_id)
        if session is None or session.epoch != epoch:
            self._sessions[broker_id] = Session(epoch, fenced)

    def assume(self, broker_id: int, epoch: int, *, fenced: bool, now_ms: float) -> None:
        """Add a broker of the replayed metadata log; an unfenced one gets a full session timeout."""
        self._sessions[broker_id] = Session(epoch, fenced, _NO_CONTACT if fenced else now_ms)

    def unregistered(self, broker_id: int) -> None:
        self._sessions.pop(broker_id, None)

    def has_session(self, broker_id: int, now_ms: float) -> bool:
        """Tell whether the broker was in contact within the session's time."""
        session = self._sessions.get(broker_id)
        return session is not None and now_ms - session.contact_ms < self.timeout_ms

    def touch(self, broker_id: int, *, fenced: bool, metadata_offset: int, now_ms: float) -> None:
        """Note a heartbeat. A broker that is fenced is in controlled shutdown no more."""
        session = self._sessions[broker_id]
        session.contact_ms = now_ms
        session.fenced = fenced
        session.metadata_offset = metadata_offset
        if fenced:
            session.shutdown_offset = None

    def fence(self, broker_id: int) -> None:
        """Note that a broker was fenced because its session ended."""
        session = self._sessions[broker_id]
        session.fenced, session.contact_ms, session.shutdown_offset = True, _NO_CONTACT, None

    def begin_shutdown(self, broker_id: int) -> None:
        """Note that a broker is in controlled shutdown, and has partitions to hand over."""
        session = self._sessions[broker_id]
        if session.shutdown_offset is None:
            session.shutdown_offset = float("inf")

    def handed_over(self, broker_id: int, epoch: int, offset: int) -> None:
        """Note the offset that the other brokers must have applied before this one may shut down."""
        session = self._sessions.get(broker_id)
        if session is not None and session.epoch == epoch and session.shutdown_offset is not None:
            session.shutdown_offset = offset

    def extend(self, by_ms: float) -> None:
        """Extend every session by the time in which the controller itself could not read heartbeats."""
        for session in self._sessions.values():
            session.contact_ms += by_ms

    def shutdown_offset(self, broker_id: int) -> float | None:
        """Return the offset of ``handed_over``, inf before; None for a broker that is not in controlled shutdown."""
        session = self._sessions.get(broker_id)
        return None if session is None else session.shutdown_offset

    def lowest_active_offset(self) -> float:
        """Return the lowest applied offset of the brokers that are unfenced and not shutting down."""
        active = (one for one in self._sessions.values() if not one.fenced and one.shutdown_offset is None)
        return min((one.metadata_offset for one in active), default=float("inf"))

    def expired(self, now_ms: float) -> list[int]:
        """List the unfenced brokers whose session ended, the one that ended first first."""
        ended = [
            (session.contact_ms, broker_id)
            for broker_id, session in self._sessions.items()
            if not session.fenced and now_ms - session.contact_ms >= self.timeout_ms
        ]
        return [broker_id for _, broker_id in sorted(ended)]

    def next_expiry_ms(self) -> float:
        """Return when the next session of an unfenced broker ends, unless a heartbeat comes; inf without one."""
        live = (one.contact_ms for one in self._sessions.values() if not one.fenced)
        return min(live, default=float("inf")) + self.timeout_ms
