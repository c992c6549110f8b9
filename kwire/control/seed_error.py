"""The error of a seed.

Responsible for: ``SeedError``. Must not depend on: what a seed is.
"""

from __future__ import annotations


class SeedError(ValueError):
    """A seed that cannot be; the message is one sentence."""
