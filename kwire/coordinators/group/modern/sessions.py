"""The sessions of the members of one kind of group.

Responsible for: when a member that sends no heartbeat is removed, with one timer for each member, which a heartbeat
does not set again. Must not depend on: any kind of group.

Sessions are soft state: they restart when the machine is loaded. A heartbeat moves the deadline in place; the timer
fires at or before it and is set again for the rest. A session begins and ends through the timeline, so that a refused
append undoes it.
"""

from __future__ import annotations

from collections.abc import Hashable

from kwire.coordinators.machine import Effects
from kwire.coordinators.timeline import Table, Timeline


class _Session:
    """``deadline_ms`` moves; ``timer_ms`` is when the timer fires, at or before it."""

    __slots__ = ("deadline_ms", "timer_ms")

    def __init__(self, deadline_ms: int, timer_ms: int) -> None:
        self.deadline_ms = deadline_ms
        self.timer_ms = timer_ms


class Sessions:
    """The timers have the keys ``(kind, "session", group id, member id)``."""

    def __init__(self, kind: str, timeline: Timeline) -> None:
        self._kind = kind
        self._sessions: Table[tuple[str, str], _Session] = Table(timeline)

    def timer_key(self, group_id: str, member_id: str) -> Hashable:
        return (self._kind, "session", group_id, member_id)

    def extend(self, group_id: str, member_id: str, timeout_ms: int, *, now_ms: int, effects: Effects) -> None:
        """The member is alive: its session ends after ``timeout_ms``. Sets a timer only if none fires by then."""
        deadline_ms = now_ms + timeout_ms
        session = self._sessions.get((group_id, member_id))
        if session is not None and session.timer_ms <= deadline_ms:
            session.deadline_ms = deadline_ms
            return
        self._sessions[group_id, member_id] = _Session(deadline_ms, deadline_ms)
        effects.set_timer(self.timer_key(group_id, member_id), deadline_ms)

    def end(self, group_id: str, member_id: str, effects: Effects) -> None:
        """The member left, or has no session any more."""
        if self._sessions.pop((group_id, member_id)) is not None:
            effects.set_timer(self.timer_key(group_id, member_id), None)

    def has_expired(self, group_id: str, member_id: str, *, now_ms: int, effects: Effects) -> bool:
        """Whether the session has ended when its timer fires; if not, the timer is set again.

        The session stays until ``end``, as the append of the member's removal may be refused.
        """
        session = self._sessions.get((group_id, member_id))
        if session is None:
            return False
        if now_ms >= session.deadline_ms:
            return True
        self._sessions[group_id, member_id] = _Session(session.deadline_ms, session.deadline_ms)
        effects.set_timer(self.timer_key(group_id, member_id), session.deadline_ms)
        return False

    def clock_stepped(self, by_ms: int) -> None:
        """The clock was set: sessions last as long as before; see ``Machine.clock_stepped``."""
        for session in self._sessions.values():
            session.deadline_ms += by_ms
            session.timer_ms += by_ms
