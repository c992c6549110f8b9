"""CRC-32C, the checksum of record batches.

Responsible for: which library computes it. Must not depend on: batches.
"""

from __future__ import annotations

from crc32c import crc32c

__all__ = ["crc32c"]
