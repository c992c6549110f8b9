"""CRC-32C, the checksum of record batches.

Owns: which library computes it. May not know: what is summed.
"""

from __future__ import annotations

from crc32c import crc32c

__all__ = ["crc32c"]
