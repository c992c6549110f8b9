"""The audit log: authorization decisions, and logins and failed logins (``AUDIT``), at a logger of their own.

Responsible for: the logger ``kwire.audit``, its lines on authorization, at INFO for a refusal and at DEBUG for what is
allowed, and names of clients as log lines show them. Must not depend on: how a decision is made, requests.

A client that is refused usually tries again at once, so an equal refusal is logged once in ``limits.AUDIT_REPEAT_MS``;
the next line has ``repeated``, the number of those that were not logged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from kwire.broker import logs
from kwire.broker.logs import Logger
from kwire.limits import AUDIT_KNOWN_MAX, AUDIT_REPEAT_MS
from kwire.security.operations import Operation, ResourceType
from kwire.security.principal import Principal

AUDIT: Final = Logger("kwire.audit")
_SHOWN_MAX: Final = 200


class Access(NamedTuple):
    """One authorization: client, host, operation, resource and API."""

    principal: Principal
    host: str
    operation: Operation
    kind: ResourceType
    name: str
    api: str


class AuditLog:
    """The audit log of one broker. ``now_ms`` is a clock that only goes forward."""

    def __init__(self, now_ms: Callable[[], float]) -> None:
        self._now_ms = now_ms
        # When each refusal was logged, and how many were not since then.
        self._logged: dict[Access, tuple[float, int]] = {}

    @property
    def logs_allowed(self) -> bool:
        """Whether what is allowed is logged too."""
        return logs.writes("debug")

    def log(self, access: Access, *, allowed: bool, why: Callable[[], str]) -> None:
        """Write the line of a decision. ``why`` says what decided; it is not called if nothing is written."""
        if not logs.writes("debug" if allowed else "info"):
            return
        if allowed:
            AUDIT.debug("access allowed", **_values(access), why=why())
            return
        repeated = self._repeated(access)
        if repeated is not None:
            AUDIT.info("access denied", **_values(access), why=why(), **({"repeated": repeated} if repeated else {}))

    def _repeated(self, access: Access) -> int | None:
        """Count a refusal: None if it is not to be logged, else how many equal ones were not logged before it."""
        now_ms = self._now_ms()
        last = self._logged.get(access)
        if last is not None and now_ms - last[0] < AUDIT_REPEAT_MS:
            self._logged[access] = (last[0], last[1] + 1)
            return None
        if last is None and len(self._logged) >= AUDIT_KNOWN_MAX:
            self._logged.clear()
        self._logged[access] = (now_ms, 0)
        return 0 if last is None else last[1]


def shown(name: str) -> str:
    """Return a name that a client has chosen, without control characters, which could forge log lines."""
    text = name if len(name) <= _SHOWN_MAX else name[:_SHOWN_MAX] + "..."
    return text if text.isprintable() else ascii(text)[1:-1]


def _values(access: Access) -> dict[str, object]:
    return {
        "principal": str(access.principal),
        "host": access.host,
        "operation": access.operation.name,
        "resource": f"{access.kind.name}:{access.name}",
        "api": access.api,
    }
