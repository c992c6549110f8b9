"""The error of a wait whose condition did not become true.

Responsible for: one exception. Must not depend on: conditions.
"""

from __future__ import annotations


class NeverHappened(AssertionError):
    """A condition did not become true in time. The message has the state at the end."""


def never_happened(text: str, timeout: float, seen: str) -> NeverHappened:
    """Make the error of a wait."""
    return NeverHappened(f"not within {timeout:g} s: {text}; {seen}")
