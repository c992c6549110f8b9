"""The audit log: logins, failed logins and refused operations, at a logger of their own.

Responsible for: the logger ``kwire.audit``, and names of clients as log lines show them. Must not depend on: what is
logged.
"""

from __future__ import annotations

from typing import Final

from kwire.broker.logs import Logger

AUDIT: Final = Logger("kwire.audit")
_SHOWN_MAX: Final = 200


def shown(name: str) -> str:
    """Return a name that a client has chosen, without control characters, which could forge log lines."""
    text = name if len(name) <= _SHOWN_MAX else name[:_SHOWN_MAX] + "..."
    return text if text.isprintable() else ascii(text)[1:-1]
