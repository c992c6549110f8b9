"""The error of a seed.

Responsible for: ``SeedError``. Must not depend on: the content of seeds.
"""

from __future__ import annotations


class SeedError(ValueError):
    """An invalid seed; the message is one sentence."""
