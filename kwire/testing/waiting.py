"""Waiting until something holds: the error when it does not.

Responsible for: one exception. Must not depend on: what is waited for.
"""

from __future__ import annotations


class NeverHappened(AssertionError):
    """What was waited for did not hold in time. The message says what was there instead."""


def never_happened(text: str, timeout: float, seen: str) -> NeverHappened:
    """Make the error of a wait."""
    return NeverHappened(f"not within {timeout:g} s: {text}; {seen}")
