"""Timers of members other than their sessions, such as the time to give up revoked partitions.

Responsible for: when each fires; a heartbeat may replace or cancel it. Must not depend on: any kind of group, what
a timer means.

Deadlines are soft state, but they are set and cancelled through the timeline, so that a refused append undoes it.
"""

from __future__ import annotations

from kwire.coordinators.machine import Effects
from kwire.coordinators.timeline import Table, Timeline


class Deadlines:
    """The timers have the keys ``(kind, name, group id, member id)``."""

    def __init__(self, kind: str, timeline: Timeline) -> None:
        self._kind = kind
        self._deadlines: Table[tuple[str, ...], int] = Table(timeline)

    def set(self, name: str, group_id: str, member_id: str, deadline_ms: int, effects: Effects) -> None:
        key = (self._kind, name, group_id, member_id)
        self._deadlines[key] = deadline_ms
        effects.set_timer(key, deadline_ms)

    def cancel(self, name: str, group_id: str, member_id: str, effects: Effects) -> None:
        key = (self._kind, name, group_id, member_id)
        if self._deadlines.pop(key) is not None:
            effects.set_timer(key, None)

    def is_set(self, name: str, group_id: str, member_id: str) -> bool:
        return (self._kind, name, group_id, member_id) in self._deadlines

    def fired(self, name: str, group_id: str, member_id: str) -> None:
        """The timer fired; it is not set any more."""
        self._deadlines.pop((self._kind, name, group_id, member_id))
